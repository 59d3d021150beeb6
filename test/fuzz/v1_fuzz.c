/* v1_fuzz.c - an operation is what the JSON says, read another way; replies are whole frames.
 *
 * Links v1.c, json.c, text.c, ws.c and what that needs. */
#include "check.h"
#include "json.h"
#include "limits.h"
#include "utf8.h"
#include "v1.h"

#define MUST(e) do { \
	if (!(e)) { \
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #e); \
		abort(); \
	} \
} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void within(struct span s, const uint8_t *text, size_t n)
{
	const uintptr_t at = (uintptr_t)s.p, from = (uintptr_t)text;

	MUST(s.p != NULL || s.n == 0);
	MUST(s.p == NULL || (at >= from && at <= from + n && s.n <= from + n - at));
}

/* A number or string and nothing else. */
static void check_id(struct span id)
{
	struct json j;

	if (id.p == NULL)
		return;
	json_init(&j, id.p, id.n);
	const enum json_event e = json_next(&j);

	MUST(id.n > 0 && id.n <= V1_ID_MAX && (e == JSON_NUMBER || e == JSON_STRING));
	MUST(json_next(&j) == JSON_DONE);
}

/* The member of that name in the text as it came is what was read. */
static void check_string(const uint8_t *p, size_t n, const char *name, struct span got)
{
	bool found = false;
	size_t len = 0;
	struct json j;

	json_init(&j, p, n);
	MUST(json_next(&j) == JSON_OBJECT);
	while (json_next(&j) == JSON_NAME) {
		if (!json_is(&j, name)) {
			MUST(json_skip(&j, JSON_NAME));
			continue;
		}
		found = true;
		MUST(json_next(&j) == JSON_STRING);
		uint8_t *want = guard(3, NULL, j.len);

		MUST(json_string(&j, want, j.len, &len));
		MUST(got.p != NULL && len == got.n && memcmp(want, got.p, len) == 0);
		MUST(utf8_valid(want, len));
	}
	MUST(found == (got.p != NULL));
	MUST(json_next(&j) == JSON_DONE);
}

/* One text frame with one JSON object in it, whose op is that. */
static void check_reply(const uint8_t *out, size_t n, const char *op)
{
	const size_t head = out[1] < 126 ? 2 : 4;
	const size_t len = head == 2 ? out[1] : (size_t)out[2] << 8 | out[3];
	struct json j;

	MUST(n <= V1_REPLY_MAX && out[0] == 0x81 && out[1] <= 126 && len == n - head);
	json_init(&j, out + head, len);
	MUST(json_next(&j) == JSON_OBJECT && json_next(&j) == JSON_NAME && json_is(&j, "op"));
	MUST(json_next(&j) == JSON_STRING && json_is(&j, op));
	while (json_next(&j) == JSON_NAME)
		MUST(json_skip(&j, JSON_NAME));
	MUST(json_next(&j) == JSON_DONE);
}

static void replies(const struct v1_op *op, size_t n)
{
	const enum why why = (enum why)(n % WHY_COUNT);
	uint8_t *out = guard(2, NULL, V1_REPLY_MAX);
	const struct span subject = op->what == V1_BAD ? op->id : op->subject;

	check_reply(out, v1_ok(out, op->id), "ok");
	check_reply(out, v1_error(out, op->id, subject, why), "error");
	check_reply(out, v1_ready(out, op->id, op->replay), "ready");
	check_reply(out, v1_gap(out, subject, n), "gap");
	check_reply(out, v1_expiring(out, (int64_t)n), "expiring");
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct v1_op op;

	if (n > 65536)
		return 0;
	uint8_t *text = guard(1, p, n);

	v1_read(&op, text, n);
	within(op.id, text, n);
	check_id(op.id);
	replies(&op, n);
	if (op.what == V1_BAD)
		return 0;
	within(op.token, text, n);
	within(op.subject, text, n);
	within(op.data, text, n);
	within(op.since, text, n);
	check_string(p, n, "token", op.token);
	check_string(p, n, "subject", op.subject);
	check_string(p, n, "data", op.data);
	check_string(p, n, "since", op.since);
	MUST(op.replay >= -1 && (op.what == V1_AUTH ? op.token.p : op.subject.p) != NULL);
	MUST(op.what != V1_PUB || op.data.p != NULL);
	return 0;
}
