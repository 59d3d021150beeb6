/* body_fuzz.c - a body: however it is cut, the same; and what a simpler reader of the whole
 * makes of it.
 *
 * Links body.c, http.c and what that needs. The first two bytes are the room for the payload, the
 * third is a length, or 255: chunked. */
#include "check.h"
#include "body.h"

#define MUST(e) do { \
	if (!(e)) { \
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #e); \
		abort(); \
	} \
} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct outcome {
	enum body_result result;
	size_t used, len;
	uint8_t *out;
};

struct input {
	const uint8_t *p;
	size_t n, cap;
	uint64_t length;
	bool chunked;
};

/* In pieces of a random length up to most; 0: whole. */
static void feed(struct outcome *o, unsigned which, const struct input *in, size_t most)
{
	uint64_t seed = in->n * 77 + most + 1;
	struct body b;
	size_t used;

	*o = (struct outcome){ .result = BODY_MORE, .out = guard(which, NULL, in->cap) };
	body_init(&b, in->chunked, in->length);
	do {
		const size_t left = in->n - o->used;
		const size_t want = most ? check_random(&seed) % most + 1 : left;
		const size_t part = want < left ? want : left, before = o->len;

		o->result = body_read(&b, guard(0, in->p + o->used, part), part, &used, o->out, &o->len,
		    in->cap);
		MUST(used <= part && o->len >= before && o->len - before <= used && o->len <= in->cap);
		MUST(o->result != BODY_MORE || used == part);
		o->used += used;
	} while (o->result == BODY_MORE && o->used < in->n);
	if (o->result == BODY_MORE)
		return;
	const size_t len = o->len;

	MUST(body_read(&b, guard(0, "0\r\n", 3), 3, &used, o->out, &o->len, in->cap) == o->result);
	MUST(used == 0 && o->len == len);
}

static void same(const struct outcome *a, const struct outcome *b)
{
	MUST(a->result == b->result && a->used == b->used && a->len == b->len);
	MUST(a->len == 0 || memcmp(a->out, b->out, a->len) == 0);
}

/* What a whole chunked body holds, by its lines; it is known to be right. */
static void read_chunks(const struct input *in, const struct outcome *o)
{
	const uint8_t *p = in->p, *const end = p + o->used;
	size_t at = 0;

	for (;;) {
		const uint8_t *line = memmem(p, (size_t)(end - p), "\r\n", 2);
		char digits[9] = { 0 }, *rest;

		MUST(line != NULL);
		memcpy(digits, p, (size_t)(line - p) < 8 ? (size_t)(line - p) : 8);
		const size_t size = strtoul(digits, &rest, 16);

		MUST(rest > digits && (*rest == '\0' || *rest == ';'));
		p = line + 2;
		if (size == 0)
			break;
		MUST((size_t)(end - p) > size + 2 && memcmp(p + size, "\r\n", 2) == 0);
		MUST(at + size <= o->len && memcmp(o->out + at, p, size) == 0);
		at += size;
		p += size + 2;
	}
	MUST(at == o->len);
	while (memcmp(p, "\r\n", 2) != 0) {
		const uint8_t *line = memmem(p, (size_t)(end - p), "\r\n", 2);

		MUST(line != NULL && memchr(p, ':', (size_t)(line - p)) != NULL);
		p = line + 2;
	}
	MUST(p + 2 == end);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct outcome whole, parts;

	if (n < 3 || n > 65536)
		return 0;
	const struct input in = { p + 3, n - 3, (size_t)p[0] << 8 | p[1], p[2], p[2] == 255 };

	feed(&whole, 1, &in, 0);
	feed(&parts, 2, &in, 1);
	same(&whole, &parts);
	feed(&parts, 2, &in, 40);
	same(&whole, &parts);
	if (whole.result == BODY_DONE && in.chunked)
		read_chunks(&in, &whole);
	if (in.chunked)
		return 0;
	MUST(whole.result != BODY_BAD && (whole.result == BODY_BIG) == (in.length > in.cap));
	MUST(whole.result != BODY_DONE || (whole.used == in.length && whole.len == in.length));
	MUST(whole.len == 0 || memcmp(whole.out, in.p, whole.len) == 0);
	return 0;
}
