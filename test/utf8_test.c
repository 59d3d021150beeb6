#include "check.h"
#include "utf8.h"

/* Replace in memory whose ends are watched; compare with want. */
static bool replaced(const void *p, size_t n, const char *want)
{
	const uint8_t *in = guard(0, p, n);
	const size_t len = utf8_replaced_len(in, n);
	uint8_t *out = guard(1, NULL, len);

	utf8_replace(out, in, n);
	return len == strlen(want) && memcmp(out, want, len) == 0 && out[-1] == 0xa5 &&
	    utf8_valid(out, len);
}

#define R "\xef\xbf\xbd"

/* Unicode 15, 3.9: tables 3-8 to 3-11, and a few more. */
static void subparts(void)
{
	static const struct { const char *in, *out; } rows[] = {
		{ "\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", R R R R R R R R "A" },
		{ "\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", R R R R R R R R "A" },
		{ "\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", R R R R R "A" R R "B" },
		{ "\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", R R R R "A" },
		{ "\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64",
		  "a" R R R "b" R "c" R R "d" },
		{ "", "" }, { "plain", "plain" }, { "\xc3\xa9", "\xc3\xa9" },
		{ "\xe2\x82", R }, { "\xf0\x9f\x98", R }, { "\xf0\x9f", R }, { "\xf0", R },
		{ "\xe2\x82\xe2\x82\xac", R "\xe2\x82\xac" },
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
		{ "\xf8\x88\x80\x80\x80", R R R R R }, { "\xfe\xff", R R },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!CHECK(replaced(rows[i].in, strlen(rows[i].in), rows[i].out)))
			printf("\trow %zu\n", i);
}

static size_t put(uint8_t out[4], uint32_t c)
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	const size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (size_t i = n; i-- > 1; c >>= 6)
		out[i] = (uint8_t)(0x80 | (c & 63));
	out[0] = (uint8_t)((0xf00u >> n) | c);
	return n;
}

/* Every scalar value is right, every surrogate wrong; and no prefix of one is right. */
static void every_scalar(void)
{
	for (uint32_t c = 0; c < 0x110000; c++) {
		uint8_t in[4];
		const size_t n = put(in, c);
		const bool scalar = c < 0xd800 || c > 0xdfff;

		CHECK(utf8_valid(in, n) == scalar);
		for (size_t i = 1; i < n; i++)
			CHECK(!utf8_valid(in, i));
		if (scalar)
			CHECK(utf8_replaced_len(in, n) == n);
	}
}

/* Of all sequences of two, three and four bytes, as many are right as there are texts of
 * that length: which leaves none for overlong forms. Four bytes: led by 0xe0 and above,
 * for a few values of the last. */
static void count(void)
{
	const uint32_t one = 128, two = 0x800 - 0x80, three = 0x10000 - 0x800 - 0x800;
	uint32_t n2 = 0, n3 = 0, n4 = 0;

	for (uint32_t i = 0; i < 1u << 24; i++) {
		const uint8_t in[4] = { (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i,
		    0x80 };

		if (i < 1u << 16)
			n2 += utf8_valid(in + 1, 2);
		n3 += utf8_valid(in, 3);
		if (in[0] >= 0xe0)
			n4 += utf8_valid(in, 4);
	}
	CHECK(n2 == one * one + two);
	CHECK(n3 == one * one * one + 2 * one * two + three);
	CHECK(n4 == 0x100000 / 64);
}

static void boundaries(void)
{
	static const struct { const char *in; bool valid; } rows[] = {
		{ "\x7f", true }, { "\x80", false }, { "\xbf", false },
		{ "\xc1\xbf", false }, { "\xc2\x7f", false }, { "\xc2\x80", true },
		{ "\xdf\xbf", true }, { "\xdf\xc0", false },
		{ "\xe0\x9f\xbf", false }, { "\xe0\xa0\x80", true },
		{ "\xed\x9f\xbf", true }, { "\xed\xa0\x80", false },
		{ "\xee\x80\x80", true }, { "\xef\xbf\xbf", true },
		{ "\xf0\x8f\xbf\xbf", false }, { "\xf0\x90\x80\x80", true },
		{ "\xf4\x8f\xbf\xbf", true }, { "\xf4\x90\x80\x80", false },
		{ "\xf5\x80\x80\x80", false }, { "\xff", false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const size_t n = strlen(rows[i].in);

		if (!CHECK(utf8_valid(guard(0, rows[i].in, n), n) == rows[i].valid))
			printf("\trow %zu\n", i);
	}
	CHECK(utf8_valid(guard(0, "a\0b", 3), 3));
	CHECK(utf8_valid(NULL, 0));
}

/* What is not ASCII, at every place of a text long enough for every stride, and every
 * prefix of that text. */
static void places(void)
{
	static const char *const good[] = { "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80" };
	static const char *const wrong[] = { "\x80", "\xe2\x82", "\xff" };
	uint8_t in[100];

	for (size_t at = 0; at < 90; at++) {
		for (size_t k = 0; k < 3; k++) {
			const size_t n = strlen(good[k]);

			memset(in, 'x', sizeof in);
			memcpy(in + at, good[k], n);
			for (size_t end = 0; end <= sizeof in; end++)
				CHECK(utf8_valid(guard(0, in, end), end) ==
				    (end <= at || end >= at + n));
			memset(in, 'x', sizeof in);
			memcpy(in + at, wrong[k], strlen(wrong[k]));
			for (size_t end = at + 1; end <= sizeof in; end++)
				CHECK(!utf8_valid(guard(0, in, end), end));
		}
	}
}

/* Random bytes: valid means that nothing is replaced; what is written is valid, and it
 * is its own replacement. */
static void properties(void)
{
	static const uint8_t bytes[] = { 'a', 0x80, 0xbf, 0xc2, 0xe0, 0xa0, 0xed, 0x9f, 0xf0,
	    0x90, 0xf4, 0x8f, 0xff, 0xe2, 0xc0, 0x00 };
	uint64_t seed = 7;

	for (int round = 0; round < 200000; round++) {
		uint8_t buf[24];
		const size_t n = check_random(&seed) % (sizeof buf + 1);

		for (size_t i = 0; i < n; i++)
			buf[i] = bytes[check_random(&seed) % sizeof bytes];

		const uint8_t *in = guard(0, buf, n);
		const size_t len = utf8_replaced_len(in, n);
		uint8_t *out = guard(1, NULL, len);

		utf8_replace(out, in, n);
		CHECK(utf8_valid(out, len) && utf8_replaced_len(out, len) == len);
		CHECK(len <= 3 * n);
		CHECK(utf8_valid(in, n) == (len == n && memcmp(in, out, n) == 0));
	}
}

/* Some text begins with these bytes: they are one, or one cut off within its last code point,
 * which some bytes then end. */
static bool may_go_on(const uint8_t *p, size_t n)
{
	static const char *const ends[] = { "", "\x80", "\xa0", "\x90", "\x80\x80", "\xa0\x80",
		"\x90\x80", "\x80\x80\x80", "\x90\x80\x80" };
	uint8_t in[32];

	memcpy(in, p, n);
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		memcpy(in + n, ends[i], strlen(ends[i]));
		if (utf8_valid(in, n + strlen(ends[i])))
			return true;
	}
	return false;
}

/* The first byte that cannot be right, or n: found a byte at a time. */
static size_t step_by_step(const uint8_t *p, size_t n, uint8_t *state)
{
	size_t i = 0;

	for (*state = 0; i < n && utf8_step(state, guard(0, p + i, 1), 1); i++)
		;
	return i;
}

/* However it is cut, a step fails in the piece with the first byte that is wrong, and after the
 * last the state tells a boundary. */
static void check_steps(const uint8_t *p, size_t n)
{
	uint8_t state, in_two;
	const size_t wrong = step_by_step(p, n, &state);

	CHECK(wrong == n || !may_go_on(p, wrong + 1));
	CHECK(may_go_on(p, wrong));
	CHECK((wrong == n && state == 0) == utf8_valid(p, n));
	for (size_t at = 0; at <= n; at++) {
		in_two = 0;
		CHECK(utf8_step(&in_two, guard(0, p, at), at) == (wrong >= at));
		if (wrong < at)
			continue;
		CHECK(utf8_step(&in_two, guard(0, p + at, n - at), n - at) == (wrong == n));
		CHECK(wrong < n || in_two == state);
	}
}

/* All of two bytes; of three and four, those at which anything changes. */
static void steps(void)
{
	static const uint8_t bytes[] = { 0x00, 'a', 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1,
	    0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff };
	const uint32_t k = sizeof bytes;
	uint8_t in[5];

	for (uint32_t i = 0; i < 1u << 16; i++) {
		in[0] = (uint8_t)(i >> 8);
		in[1] = (uint8_t)i;
		check_steps(in, 2);
	}
	for (uint32_t i = 0; i < k * k * k * k; i++) {
		in[0] = bytes[i % k];
		in[1] = bytes[i / k % k];
		in[2] = bytes[i / k / k % k];
		in[3] = bytes[i / k / k / k];
		check_steps(in, 4);
		if (i < k * k * k)
			check_steps(in, 3);
	}
}

static void random_steps(void)
{
	static const uint8_t bytes[] = { 'a', 0x80, 0xbf, 0xc2, 0xe0, 0xa0, 0xed, 0x9f, 0xf0,
	    0x90, 0xf4, 0x8f, 0xff, 0xe2, 0xc0, 0x00 };
	static const char *const good[] = { "a", "xxxxxxxxx", "\xc3\xa9", "\xe2\x82\xac", "\xed\x9f\xbf",
		"\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf" };
	uint64_t seed = 5;

	for (int round = 0; round < 20000; round++) {
		uint8_t in[24];
		size_t n = 0;

		while (n < 14) {
			const char *s = good[check_random(&seed) % (sizeof good / sizeof *good)];

			memcpy(in + n, s, strlen(s));
			n += strlen(s);
			if (check_random(&seed) % 8 == 0)
				in[n++] = bytes[check_random(&seed) % sizeof bytes];
		}
		check_steps(in, n);
	}
}

/* RFC 6455 8.1, Autobahn 6.4: at once, and not when the code point should have been whole. */
static void earliest(void)
{
	static const struct { const char *in; size_t wrong; } rows[] = {
		{ "\x80", 0 }, { "\xc0\x80", 0 }, { "\xc1", 0 }, { "\xf5", 0 }, { "a\xff", 1 },
		{ "\xc2\x41", 1 }, { "\xe0\x9f", 1 }, { "\xed\xa0\x80", 1 }, { "\xf0\x8f", 1 },
		{ "\xf4\x90\x80\x80", 1 }, { "\xe1\x80\x7f", 2 }, { "\xf1\x80\x80\xc0", 3 },
		{ "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80" "edited", 12 },
		{ "\xc3\xa9\xa9", 2 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint8_t state;

		if (!CHECK(step_by_step((const uint8_t *)rows[i].in, strlen(rows[i].in), &state) ==
		    rows[i].wrong))
			printf("\trow %zu\n", i);
	}

	uint8_t state = 0;

	CHECK(utf8_step(&state, NULL, 0) && state == 0);
	CHECK(utf8_step(&state, (const uint8_t *)"\xe2", 1) && state != 0);
	CHECK(utf8_step(&state, NULL, 0) && state != 0);
	CHECK(utf8_step(&state, (const uint8_t *)"\x82\xac", 2) && state == 0);
}

CHECK_MAIN(utf8, RUN(subparts) RUN(every_scalar) RUN(count) RUN(boundaries) RUN(places)
    RUN(properties) RUN(steps) RUN(random_steps) RUN(earliest))
