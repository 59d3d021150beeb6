/* json_fuzz.c - whatever the input, the reader keeps its promises.
 *
 * Links json.c and utf8.c. */
#include "check.h"
#include "json.h"
#include "utf8.h"

#define MUST(e) do { \
	if (!(e)) { \
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #e); \
		abort(); \
	} \
} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* A string is as long as its text at most, UTF-8, and the same when it is quoted and
 * read again. */
static void string(const struct json *j)
{
	static char quoted[GUARD_MAX];
	uint8_t *out = guard(1, NULL, j->len), *back;
	size_t len = 0, again = 0;
	struct json k;

	MUST(json_string(j, out, j->len, &len) && len <= j->len);
	MUST(utf8_valid(out, len));
	MUST(len == 0 || !json_string(j, guard(2, NULL, len - 1), len - 1, &again));

	const size_t qn = json_quote(quoted, sizeof quoted, (const char *)out, len);

	if (qn > sizeof quoted)
		return;
	json_init(&k, quoted, qn);
	MUST(json_next(&k) == JSON_STRING);
	back = guard(2, NULL, len);
	MUST(json_string(&k, back, len, &again) && again == len);
	MUST(len == 0 || memcmp(out, back, len) == 0);
	MUST(json_next(&k) == JSON_DONE);

	/* As a C string it is itself, and nothing longer or shorter. */
	if (len == 0 || memchr(out, 0, len) != NULL || len == GUARD_MAX)
		return;
	char *s = (char *)guard(2, NULL, len + 1);

	memcpy(s, out, len);
	s[len] = '\0';
	MUST(json_is(j, s) && !json_is(j, s + 1));
	s[len - 1] = '\0';
	MUST(!json_is(j, s));
}

static void number(const struct json *j)
{
	int64_t v = 0;

	if (!json_milli(j, &v, true))
		return;
	MUST(v <= 0 || j->text[0] != '-');
	MUST(v >= 0 || j->text[0] == '-');
}

/* The value that e began is skipped if and only if reading on gets past it. */
static bool skips(const struct json *j, enum json_event e)
{
	struct json k = *j;
	const uint8_t depth = (uint8_t)(k.depth - (e == JSON_OBJECT || e == JSON_ARRAY));

	if (!json_skip(&k, e)) {
		MUST(json_next(&k) == JSON_BAD);
		return false;
	}
	MUST(k.depth == depth);
	return true;
}

static bool read_all(const uint8_t *in, size_t n)
{
	struct json j;
	unsigned depth = 0;
	bool skipped = true;
	enum json_event e;

	json_init(&j, in, n);
	while ((e = json_next(&j)) > JSON_DONE) {
		MUST(j.text == NULL || (j.text >= in && j.text + j.len <= in + n));
		if (e == JSON_NAME || e == JSON_STRING)
			string(&j);
		if (e == JSON_NUMBER)
			number(&j);
		depth += e == JSON_OBJECT || e == JSON_ARRAY;
		MUST(depth <= JSON_DEPTH);
		if (depth <= 2 && e != JSON_OBJECT_END && e != JSON_ARRAY_END)
			skipped &= skips(&j, e);
		if (e == JSON_OBJECT_END || e == JSON_ARRAY_END)
			MUST(depth-- > 0);
	}
	MUST(json_next(&j) == e);
	MUST(e != JSON_DONE || (depth == 0 && skipped));
	return e == JSON_DONE;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	if (n > 65536)
		return 0;

	const uint8_t *in = guard(0, p, n);

	/* What is accepted is UTF-8, and is so again with space around it; and cut
	 * anywhere it is not, unless what is cut off is space, or digits. */
	if (!read_all(in, n))
		return 0;
	MUST(utf8_valid(in, n));

	uint8_t *wide = guard(3, NULL, n + 2);

	wide[0] = ' ';
	memcpy(wide + 1, in, n);
	wide[n + 1] = '\n';
	MUST(read_all(wide, n + 2));
	if (strchr("}]\"el", in[n - 1]) != NULL)
		MUST(!read_all(guard(3, p, n - 1), n - 1));
	return 0;
}
