#include "b64.h"
#include "check.h"

static bool decode(const char *s, uint8_t *out, size_t *len)
{
	const size_t n = strlen(s);

	return b64url_decode(out, len, guard(0, s, n), n);
}

/* RFC 4648 10. */
static void rfc4648(void)
{
	static const struct { const char *plain, *b64; } rows[] = {
		{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const size_t n = strlen(rows[i].plain), padded = strlen(rows[i].b64);
		const size_t bare = strcspn(rows[i].b64, "=");
		uint8_t *in = guard(0, rows[i].plain, n), back[8];
		size_t len = 99;

		CHECK(B64_LEN(n) == padded && B64URL_LEN(n) == bare);

		char *out = (char *)guard(1, NULL, padded);

		b64_encode(out, in, n);
		CHECK_BYTES(out, rows[i].b64, padded);
		out = (char *)guard(1, NULL, bare);
		b64url_encode(out, in, n);
		CHECK_BYTES(out, rows[i].b64, bare);
		CHECK(b64url_decode(back, &len, (const uint8_t *)out, bare));
		CHECK(len == n && memcmp(back, rows[i].plain, n) == 0);
	}
}

/* RFC 7515 appendix C. */
static void rfc7515(void)
{
	static const uint8_t in[] = { 3, 236, 255, 224, 193 };
	uint8_t out[8];
	char text[8];
	size_t len = 0;

	b64url_encode(text, in, sizeof in);
	CHECK_BYTES(text, "A-z_4ME", 7);
	CHECK(decode("A-z_4ME", out, &len) && len == 5);
	CHECK_BYTES(out, in, 5);
	b64_encode(text, in, sizeof in);
	CHECK_BYTES(text, "A+z/4ME=", 8);
}

static void not_canonical(void)
{
	static const char *const rows[] = {
		"A", "AAAAA",			/* a length that no bytes have */
		"Zg==", "Zm8=", "Zm9v=", "=",	/* padding */
		"Zh", "Zv", "Zm9vYh",		/* trailing bits: four */
		"Zm9", "Zm-",			/* two */
		"A+z/", "Zm9v\n", "Zm 9", "Zm.9", "Z,8A", "\303\251AA",
	};
	uint8_t out[16];

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t len = 99;

		if (!CHECK(!decode(rows[i], out, &len)))
			printf("\t%s\n", rows[i]);
		CHECK(len == 99);
	}
}

/* Every byte at every place of a group: 64 of them decode, each to its own value. */
static void every_byte(void)
{
	static const char alphabet[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

	for (size_t at = 0; at < 4; at++) {
		for (unsigned c = 0; c < 256; c++) {
			const char *known = c == 0 ? NULL : strchr(alphabet, (int)c);
			uint8_t in[4] = { 'A', 'A', 'A', 'A' }, out[5];
			size_t len = 0;

			in[at] = (uint8_t)c;
			CHECK(b64url_decode(out, &len, in, 4) == (known != NULL));
			if (known == NULL)
				continue;

			const uint32_t v = (uint32_t)(known - alphabet) << (18 - 6 * at);

			CHECK(len == 3);
			CHECK(out[0] == v >> 16 && out[1] == (v >> 8 & 255) &&
			    out[2] == (v & 255));
		}
	}
}

/* Of all texts of two and of three characters, as many decode as there are bytes. */
static void one_form_each(void)
{
	unsigned two = 0, three = 0;

	for (uint32_t i = 0; i < 1u << 24; i++) {
		const uint8_t in[3] = { (uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16) };
		uint8_t out[4];
		size_t len;

		if (i < 1u << 16)
			two += b64url_decode(out, &len, in, 2);
		three += b64url_decode(out, &len, in, 3);
	}
	CHECK(two == 1u << 8);
	CHECK(three == 1u << 16);
}

static void round_trip(void)
{
	uint64_t seed = 1;
	uint8_t in[300];
	char text[400];

	for (size_t n = 0; n <= sizeof in; n++) {
		for (size_t i = 0; i < n; i++)
			in[i] = (uint8_t)check_random(&seed);
		b64url_encode(text, guard(0, in, n), n);

		/* In place, and to exactly the room that the header asks for. */
		const size_t tn = B64URL_LEN(n);
		uint8_t *same = guard(1, text, tn), *out = guard(2, NULL, tn / 4 * 3 + 2);
		size_t len = 0;

		CHECK(b64url_decode(out, &len, same, tn) && len == n);
		CHECK_BYTES(out, in, n);
		CHECK(b64url_decode(same, &len, same, tn) && len == n);
		CHECK_BYTES(same, in, n);
	}
}

CHECK_MAIN(b64, RUN(rfc4648) RUN(rfc7515) RUN(not_canonical) RUN(every_byte)
    RUN(one_form_each) RUN(round_trip))
