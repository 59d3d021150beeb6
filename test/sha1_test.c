#include "check.h"
#include "sha1.h"

/* FIPS 180-4's examples, the empty one, and RFC 6455 1.3's. */
static void vectors(void)
{
	static const struct { const char *in, *hex; } rows[] = {
		{ "", "da39a3ee5e6b4b0d3255bfef95601890afd80709" },
		{ "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "84983e441c3bd26ebaae4aa1f95129e5e54670f1" },
		{ "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
		  "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
		  "a49b2446a02c645bf419f995b67091253a04a259" },
		{ "dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
		  "b37a4f2cc0624f1690f64606cf385945b2bec4ea" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const size_t n = strlen(rows[i].in);
		uint8_t want[SHA1_LEN], got[SHA1_LEN];

		unhex(want, rows[i].hex);
		sha1(guard(0, rows[i].in, n), n, got);
		CHECK_BYTES(got, want, SHA1_LEN);
	}
}

static void million(void)
{
	static uint8_t a[1000000];
	uint8_t want[SHA1_LEN], got[SHA1_LEN];

	memset(a, 'a', sizeof a);
	sha1(a, sizeof a, got);
	unhex(want, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
	CHECK_BYTES(got, want, SHA1_LEN);
}

/* Every way to fill the last block: the digest of the digests of 0 to 199 bytes 'a', as
 * coreutils' sha1sum has it. */
static void every_length(void)
{
	uint8_t in[200], all[200 * SHA1_LEN], want[SHA1_LEN], got[SHA1_LEN];

	memset(in, 'a', sizeof in);
	for (size_t n = 0; n < 200; n++)
		sha1(guard(0, in, n), n, all + n * SHA1_LEN);
	sha1(all, sizeof all, got);
	unhex(want, "8a18f04bac7c86cfcffa6a93e5cb21ae0159deac");
	CHECK_BYTES(got, want, SHA1_LEN);
}

CHECK_MAIN(sha1, RUN(vectors) RUN(million) RUN(every_length))
