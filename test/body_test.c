/* Section numbers are of RFC 9112. */
#include "check.h"
#include "body.h"

#define CHUNKED UINT64_MAX	/* in place of a length */

struct outcome {
	enum body_result result;
	size_t used, len;
	uint8_t out[4096];
};

static void begin(struct body *b, uint64_t length)
{
	body_init(b, length == CHUNKED, length == CHUNKED ? 0 : length);
}

/* In pieces as long as step, 0: at random; the room for the payload ends at an unmapped page. */
static void feed(struct outcome *o, uint64_t length, const void *p, size_t n, size_t step, size_t cap)
{
	uint64_t seed = n * 2 + 1;
	uint8_t *out = guard(1, NULL, cap);
	struct body b;
	size_t used;

	begin(&b, length);
	*o = (struct outcome){ .result = BODY_MORE };
	o->result = body_read(&b, guard(0, NULL, 0), 0, &used, out, &o->len, cap);
	CHECK(used == 0);
	while (o->result == BODY_MORE && o->used < n) {
		const size_t left = n - o->used, want = step ? step : check_random(&seed) % 9 + 1;
		const size_t part = want < left ? want : left;

		o->result = body_read(&b, guard(0, (const uint8_t *)p + o->used, part), part, &used, out,
		    &o->len, cap);
		CHECK(used <= part && (o->result != BODY_MORE || used == part));
		o->used += used;
	}
	CHECK(o->len <= cap && out[-1] == 0xa5);
	memcpy(o->out, out, o->len);

	if (o->result != BODY_MORE) {
		CHECK(body_read(&b, guard(0, "5\r\n", 3), 3, &used, out, &o->len, cap) == o->result);
		CHECK(used == 0);
	}
}

static void same_in_pieces(const struct outcome *whole, uint64_t length, const void *p, size_t n,
    size_t cap)
{
	for (size_t step = 0; step <= n && step < 400; step++) {
		struct outcome o;

		feed(&o, length, p, n, step, cap);
		CHECK(o.result == whole->result && o.used == whole->used && o.len == whole->len);
		CHECK_BYTES(o.out, whole->out, o.len);
	}
}

static bool body_is(uint64_t length, const char *in, size_t n, size_t cap, enum body_result result,
    const char *want, size_t used)
{
	struct outcome whole;

	feed(&whole, length, in, n, n ? n : 1, cap);
	same_in_pieces(&whole, length, in, n, cap);
	return whole.result == result && (result != BODY_DONE || whole.used == used) &&
	    (want == NULL || (whole.len == strlen(want) && memcmp(whole.out, want, whole.len) == 0));
}

static void lengths(void)
{
	CHECK(body_is(5, "helloGET /", 10, 100, BODY_DONE, "hello", 5));
	CHECK(body_is(5, "hello", 5, 5, BODY_DONE, "hello", 5));
	CHECK(body_is(5, "hell", 4, 5, BODY_MORE, "hell", 4));
	CHECK(body_is(5, "", 0, 5, BODY_MORE, "", 0));
	CHECK(body_is(5, "hello", 5, 4, BODY_BIG, "", 0));
	CHECK(body_is(0, "GET /", 5, 100, BODY_DONE, "", 0));
	CHECK(body_is(0, "", 0, 0, BODY_DONE, "", 0));
	CHECK(body_is(1, "", 0, 0, BODY_BIG, "", 0));
	CHECK(body_is(UINT64_MAX - 1, "", 0, 100, BODY_BIG, "", 0));
	CHECK(body_is(INT64_MAX, "x", 1, 100, BODY_BIG, "", 0));

	struct body b;		/* without any room */
	size_t used = 7, len = 0;

	body_init(&b, false, 0);
	CHECK(body_read(&b, NULL, 0, &used, NULL, &len, 0) == BODY_DONE && used == 0);
	body_init(&b, true, 0);
	CHECK(body_read(&b, (const uint8_t *)"0\r\n\r\nG", 6, &used, NULL, &len, 0) == BODY_DONE);
	CHECK(used == 5 && len == 0);
}

/* What follows is the next request's. */
static void chunks(void)
{
#define NEXT "GET / HTTP/1.1\r\n"
	static const struct { const char *in, *want; } rows[] = {
		{ "0\r\n\r\n", "" }, { "000\r\n\r\n", "" }, { "00000000\r\n\r\n", "" },
		{ "5\r\nhello\r\n0\r\n\r\n", "hello" }, { "00000005\r\nhello\r\n0\r\n\r\n", "hello" },
		{ "a\r\n0123456789\r\n0\r\n\r\n", "0123456789" },
		{ "A\r\n0123456789\r\n00\r\n\r\n", "0123456789" },
		{ "1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n", "abcdef" },
		{ "2\r\n\r\n\r\n2\r\n0\r\r\n0\r\n\r\n", "\r\n0\r" },
		{ "7\r\n0\r\n\r\nGE\r\n0\r\n\r\n", "0\r\n\r\nGE" },
		/* 7.1.1 */
		{ "1;\r\na\r\n0;\r\n\r\n", "a" }, { "1;x\r\na\r\n0\r\n\r\n", "a" },
		{ "1;x=y;z=\"a\\\" b\t\xe9\"\r\na\r\n0;x=y\r\n\r\n", "a" },
		{ "1; x\r\na\r\n0\r\n\r\n", "a" },
		/* 7.1.2 */
		{ "0\r\nA: b\r\n\r\n", "" }, { "1\r\na\r\n0\r\nA:\r\nx-Y!: \t\xe9:b \r\n\r\n", "a" },
		{ "0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n", "" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char in[200];
		const size_t n = strlen(rows[i].in);
		const int all = snprintf(in, sizeof in, "%s" NEXT, rows[i].in);

		if (!CHECK(body_is(CHUNKED, in, (size_t)all, 50, BODY_DONE, rows[i].want, n)))
			printf("\trow %zu\n", i);
		CHECK(body_is(CHUNKED, in, n, strlen(rows[i].want), BODY_DONE, rows[i].want, n));
		for (size_t k = 0; k < n; k++)
			CHECK(body_is(CHUNKED, in, k, 50, BODY_MORE, NULL, k));
	}
#undef NEXT
}

/* Nothing of these is ever a body; at: where that is known. */
static void bad_chunks(void)
{
	static const struct { const char *in; size_t at; } rows[] = {
		{ "\r\n", 1 }, { " 5\r\n", 1 }, { "+5\r\n", 1 }, { "-5\r\n", 1 }, { "0x5\r\n", 2 },
		{ "x\r\n", 1 }, { "5 \r\n", 2 }, { "5\t\r\n", 2 }, { "5 ;x\r\n", 2 }, { "5,\r\n", 2 },
		{ "5\n", 2 }, { "5\rh", 3 }, { "5\r\r\n", 3 }, { "5.0\r\n", 2 }, { "1_0\r\n", 2 },
		{ ";x\r\n", 1 }, { "g\r\n", 1 }, { "/\r\n", 1 }, { ":\r\n", 1 }, { "@\r\n", 1 },
		{ "`\r\n", 1 }, { "\xb5\r\n", 1 }, { "000000005\r\n", 9 }, { "0000000BA\r\n", 9 },
		{ "000000000\r\n", 9 },
		{ "5;x\n", 4 }, { "5;x\ry", 5 }, { "5;\x01\r\n", 3 }, { "5;\x7f\r\n", 3 },
		{ "1\r\nab\r\n", 5 }, { "1\r\na\n", 5 }, { "1\r\na0\r\n", 5 }, { "1\r\na\r0", 6 },
		{ "1\r\na\r\n\r\n", 7 }, { "1\r\n\r\n\r\n", 5 },
		{ "0\r\n\n", 4 }, { "0\r\n\r\r\n", 5 }, { "0\r\nA\r\n", 5 }, { "0\r\n: b\r\n", 4 },
		{ "0\r\n A: b\r\n", 4 }, { "0\r\nA : b\r\n", 5 }, { "0\r\nA: b\n", 8 },
		{ "0\r\nA: b\r\r\n", 9 }, { "0\r\nA: b\r\n c\r\n", 10 }, { "0\r\nA: \x01\r\n", 7 },
		{ "0\r\nA: \x7f\r\n", 7 }, { "0\r\n(: b\r\n", 4 }, { "0\r\n\xe9: b\r\n", 4 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *in = rows[i].in;
		struct outcome o;

		if (!CHECK(body_is(CHUNKED, in, strlen(in), 50, BODY_BAD, NULL, 0)))
			printf("\trow %zu\n", i);
		feed(&o, CHUNKED, in, strlen(in), 1, 50);
		if (!CHECK(o.used == rows[i].at))
			printf("\trow %zu: %zu\n", i, o.used);
	}
	CHECK(body_is(CHUNKED, "5;\0\r\n", 5, 50, BODY_BAD, NULL, 0));
	CHECK(body_is(CHUNKED, "\0", 1, 50, BODY_BAD, NULL, 0));
}

/* As soon as the digits say so, and over all chunks together. */
static void big_chunks(void)
{
	CHECK(body_is(CHUNKED, "5", 1, 4, BODY_BIG, "", 0));
	CHECK(body_is(CHUNKED, "5", 1, 5, BODY_MORE, "", 0));
	CHECK(body_is(CHUNKED, "10", 2, 15, BODY_BIG, "", 0));
	CHECK(body_is(CHUNKED, "ffffffff", 8, 100, BODY_BIG, "", 0));
	CHECK(body_is(CHUNKED, "3\r\nabc\r\n3", 9, 5, BODY_BIG, "abc", 0));
	CHECK(body_is(CHUNKED, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 20, 5, BODY_DONE, "abcde", 20));
	CHECK(body_is(CHUNKED, "3\r\nabc\r\n2\r\nde\r\n1", 16, 5, BODY_BIG, "abcde", 0));
	CHECK(body_is(CHUNKED, "1", 1, 0, BODY_BIG, "", 0));
}

/* Extensions over all chunks, and the trailer with its last line. */
static void bounds(void)
{
	char in[2000];
	struct outcome o;

	for (size_t n = BODY_EXT_MAX - 2; n <= BODY_EXT_MAX + 2; n++) {
		const int all = snprintf(in, sizeof in, "1;%0*d\r\na\r\n0;\r\n\r\n", (int)n, 0);

		feed(&o, CHUNKED, in, (size_t)all, (size_t)all, 9);
		CHECK(o.result == (n <= 256 ? BODY_DONE : BODY_BAD));
		const int two = snprintf(in, sizeof in, "1;%0*d\r\na\r\n0;%0*d\r\n\r\n", 56, 0, (int)n - 56, 0);

		feed(&o, CHUNKED, in, (size_t)two, (size_t)two, 9);
		CHECK(o.result == (n <= 256 ? BODY_DONE : BODY_BAD));
	}
	for (size_t n = BODY_TRAILER_MAX - 2; n <= BODY_TRAILER_MAX + 2; n++) {
		const int all = snprintf(in, sizeof in, "0\r\nA:%0*d\r\nB:\r\n\r\n", (int)n - 10, 0);

		feed(&o, CHUNKED, in, (size_t)all, (size_t)all, 9);
		CHECK(o.result == (n <= 1024 ? BODY_DONE : BODY_BAD));
		CHECK(o.result != BODY_DONE || o.used == 3 + n);
	}
}

/* A message cut into chunks at random comes out whole. */
static void random_chunks(void)
{
	uint64_t seed = 3;

	for (int round = 0; round < 300; round++) {
		char data[1000], in[8000];
		const size_t n = check_random(&seed) % sizeof data;
		size_t len = 0;
		struct outcome o;

		for (size_t i = 0; i < n; i++)
			data[i] = (char)check_random(&seed);
		for (size_t at = 0, part; at < n; at += part) {
			part = check_random(&seed) % 40 + 1;
			part = part < n - at ? part : n - at;
			len += (size_t)sprintf(in + len, "%zx\r\n", part);
			memcpy(in + len, data + at, part);
			memcpy(in + len + part, "\r\n", 2);
			len += part + 2;
		}
		len += (size_t)sprintf(in + len, "0\r\n\r\n");
		feed(&o, CHUNKED, in, len, round % 2 ? 0 : len, n);
		CHECK(o.result == BODY_DONE && o.used == len && o.len == n);
		CHECK_BYTES(o.out, data, n);
	}
}

/* A length beyond 32 bits, in a room that is not there. */
static void large(void)
{
	static uint8_t in[70000], out[66000];
	size_t used, len = 0;
	struct body b;

	memset(in, 'x', sizeof in);
	body_init(&b, false, 65536);
	CHECK(body_read(&b, in, 40000, &used, out, &len, 65536) == BODY_MORE && len == 40000);
	CHECK(body_read(&b, in, 40000, &used, out, &len, 65536) == BODY_DONE && used == 25536);
	body_init(&b, false, (uint64_t)1 << 32);
	len = 0;
	CHECK(body_read(&b, in, 1, &used, out, &len, 65536) == BODY_BIG && used == 0 && len == 0);
}

CHECK_MAIN(body, RUN(lengths) RUN(chunks) RUN(bad_chunks) RUN(big_chunks) RUN(bounds)
    RUN(random_chunks) RUN(large))
