/* cut_fuzz.c - whatever the bytes, and in whatever pieces they come, each message is where it
 * should be and the results are the same.
 *
 * Links cut.c. The first four bytes are the framing, the limit (two) and the pieces. */
#include "check.h"
#include "cut.h"

#define MUST(e) do { \
	if (!(e)) { \
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #e); \
		abort(); \
	} \
} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* The stream, and how far what came out of it reaches. */
struct stream {
	const uint8_t *p;
	size_t  n, at;
	size_t  fed;
	enum framing framing;
	size_t  max;
	bool    ended;		/* within a message that says how long it is */
};

/* The delimited message at s->at: its length, and where the next one begins. */
static size_t delimited(const struct stream *s, size_t *next)
{
	const uint8_t *from = s->p + s->at;
	const int delimiter = s->framing == FRAMING_LINES ? '\n' : 0;
	const uint8_t *end = memchr(from, delimiter, s->n - s->at);
	size_t len = end ? (size_t)(end - from) : s->n - s->at;

	*next = s->at + len + (end != NULL);
	if (end && delimiter && len > 0 && from[len - 1] == '\r')
		len--;
	return len;
}

static uint64_t said_len(const struct stream *s)
{
	const uint8_t *p = s->p + s->at;

	return (uint64_t)p[0] << 24 | (uint64_t)p[1] << 16 | (uint64_t)p[2] << 8 | p[3];
}

static void message(struct stream *s, const uint8_t *p, size_t n)
{
	const uint8_t *want = s->p + s->at;
	size_t next = s->at + n;

	MUST(n <= s->max && !s->ended);
	if (s->framing == FRAMING_LEN32) {
		MUST(s->n - s->at >= 4 && said_len(s) == n);
		want += 4;
		next += 4;
	} else {
		MUST(s->at < s->n && delimited(s, &next) == n);
	}
	MUST(next <= s->fed);
	MUST(n == 0 || memcmp(p, want, n) == 0);
	s->at = next;
}

static void too_large(struct stream *s)
{
	size_t next;

	MUST(!s->ended && s->at < s->fed);
	if (s->framing == FRAMING_LEN32) {
		MUST(s->n - s->at >= 4 && said_len(s) > s->max);
		const uint64_t len = said_len(s);

		s->ended = len > s->n - s->at - 4;
		next = s->ended ? s->n : s->at + 4 + (size_t)len;
	} else {
		MUST(delimited(s, &next) > s->max);
	}
	s->at = next;
}

static void truncated(struct stream *s, const struct cut *c)
{
	MUST(s->framing == FRAMING_LEN32 && c->eof);
	if (!s->ended) {
		const size_t left = s->n - s->at;

		MUST(left > 0 && (left < 4 || said_len(s) > left - 4));
	}
	s->ended = false;
	s->at = s->n;
}

static void take(struct stream *s, struct cut *c)
{
	const uint8_t *p, *again;
	size_t n, m;
	enum cut_result r;

	while ((r = cut_next(c, &p, &n)) != CUT_MORE) {
		if (r == CUT_TOO_LARGE) {
			too_large(s);
		} else if (r == CUT_TRUNCATED) {
			truncated(s, c);
		} else {
			MUST(cut_next(c, &again, &m) == CUT_MESSAGE && again == p && m == n);
			message(s, p, n);
			cut_done(c);
		}
	}
	MUST(cut_next(c, &p, &n) == CUT_MORE);
}

static void stream(const uint8_t *p, size_t n, enum framing framing, size_t max, uint64_t seed)
{
	struct stream s = { .p = p, .n = n, .framing = framing, .max = max };
	struct cut c;

	cut_init(&c, guard(1, NULL, cut_size(max)), framing, max);
	while (s.fed < n) {
		size_t room, part = check_random(&seed) % (seed & 1 ? 4 : 5000) + 1;
		uint8_t *to = cut_room(&c, &room);

		MUST(room > 0);
		part = part < room ? part : room;
		part = part < n - s.fed ? part : n - s.fed;
		memcpy(to, p + s.fed, part);
		cut_read(&c, part);
		s.fed += part;
		take(&s, &c);
	}
	cut_end(&c);
	take(&s, &c);
	MUST(s.at == n && !s.ended);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	if (n < 4)
		return 0;

	const enum framing framing = (enum framing)(p[0] % FRAMING_CHUNK);
	const size_t max = 1u + p[1] + (p[0] & 0x80 ? (size_t)p[2] << 10 : 0);

	stream(p + 4, n - 4, framing, max, p[3] + 1u);
	stream(p + 4, n - 4, framing, max, p[3] * 77u + 1000003u);
	return 0;
}
