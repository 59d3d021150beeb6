#include "check.h"
#include "sha256.h"

static void whole(const void *p, size_t n, uint8_t out[SHA256_LEN])
{
	struct sha256 s;

	sha256_init(&s);
	sha256_write(&s, p, n);
	sha256_end(&s, out);
}

/* FIPS 180-4's examples (NIST, "Examples with Intermediate Values"), and the empty one. */
static void fips180(void)
{
	static const struct { const char *in, *hex; } rows[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc",
		  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
		{ "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
		  "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
		  "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const size_t n = strlen(rows[i].in);
		uint8_t want[SHA256_LEN], got[SHA256_LEN];

		unhex(want, rows[i].hex);
		whole(guard(0, rows[i].in, n), n, got);
		CHECK_BYTES(got, want, SHA256_LEN);
	}
}

static void million(void)
{
	uint8_t a[1000], want[SHA256_LEN], got[SHA256_LEN];
	struct sha256 s;

	memset(a, 'a', sizeof a);
	sha256_init(&s);
	for (int i = 0; i < 1000; i++)
		sha256_write(&s, a, sizeof a);
	sha256_end(&s, got);
	unhex(want, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	CHECK_BYTES(got, want, SHA256_LEN);
}

/* Every way to fill the last block: the digest of the digests of 0 to 199 bytes 'a', as
 * coreutils' sha256sum has it. */
static void every_length(void)
{
	uint8_t in[200], all[200 * SHA256_LEN], want[SHA256_LEN], got[SHA256_LEN];

	memset(in, 'a', sizeof in);
	for (size_t n = 0; n < 200; n++)
		whole(guard(0, in, n), n, all + n * SHA256_LEN);
	whole(all, sizeof all, got);
	unhex(want, "752c007f38611cfbf5fa42cb1cea3d8e086491c844d0cc4defd632cb81423506");
	CHECK_BYTES(got, want, SHA256_LEN);
}

static void feed(void *arg, const uint8_t *a, size_t an, const uint8_t *b, size_t bn)
{
	uint8_t got[SHA256_LEN];
	struct sha256 s, copy;

	sha256_init(&s);
	sha256_write(&s, a, an);
	copy = s;
	sha256_write(&copy, b, bn);
	sha256_end(&copy, got);
	CHECK_BYTES(got, arg, SHA256_LEN);
}

static void incremental(void)
{
	uint8_t in[200], want[SHA256_LEN], got[SHA256_LEN];
	struct sha256 s;

	for (size_t i = 0; i < sizeof in; i++)
		in[i] = (uint8_t)(i * 7 + 1);
	for (size_t n = 0; n <= sizeof in; n++) {
		whole(in, n, want);
		every_split(in, n, feed, want);
		sha256_init(&s);
		for (size_t i = 0; i < n; i++)
			sha256_write(&s, in + i, 1);
		sha256_end(&s, got);
		CHECK_BYTES(got, want, SHA256_LEN);
	}
}

static void hmac(const void *key, size_t kn, const void *in, size_t n, const char *hex,
    size_t len)
{
	uint8_t want[SHA256_LEN], got[SHA256_LEN];
	struct hmac_key k;

	unhex(want, hex);
	hmac_key_init(&k, guard(0, key, kn), kn);
	for (int twice = 0; twice < 2; twice++) {
		hmac_sign(&k, guard(1, in, n), n, got);
		CHECK_BYTES(got, want, len);
	}
}

/* RFC 4231 4.2 to 4.8. */
static void rfc4231(void)
{
	uint8_t key[131], data[152];

	memset(key, 0x0b, 20);
	hmac(key, 20, "Hi There", 8,
	    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7", 32);
	hmac("Jefe", 4, "what do ya want for nothing?", 28,
	    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", 32);
	memset(key, 0xaa, sizeof key);
	memset(data, 0xdd, 50);
	hmac(key, 20, data, 50,
	    "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe", 32);
	for (uint8_t i = 0; i < 25; i++)
		key[i] = (uint8_t)(i + 1);
	memset(data, 0xcd, 50);
	hmac(key, 25, data, 50,
	    "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b", 32);
	memset(key, 0x0c, 20);
	hmac(key, 20, "Test With Truncation", 20, "a3b6167473100ee06e0c796c2955552b", 16);
	memset(key, 0xaa, sizeof key);
	hmac(key, 131, "Test Using Larger Than Block-Size Key - Hash Key First", 54,
	    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54", 32);
	memcpy(data, "This is a test using a larger than block-size key and a larger t"
	    "han block-size data. The key needs to be hashed before being used by the"
	    " HMAC algorithm.", 152);
	hmac(key, 131, data, 152,
	    "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2", 32);
}

/* A key of 64 bytes is used as it is; one of 65 is the same as its digest; a shorter one
 * the same as itself with zeros behind it (RFC 2104 2). */
static void key_lengths(void)
{
	uint8_t key[65] = {0}, digest[SHA256_LEN], a[SHA256_LEN], b[SHA256_LEN];
	struct hmac_key k;

	memset(key, 0x42, 40);
	hmac_key_init(&k, key, 40);
	hmac_sign(&k, "x", 1, a);
	hmac_key_init(&k, key, 64);
	hmac_sign(&k, "x", 1, b);
	CHECK_BYTES(a, b, SHA256_LEN);
	hmac_key_init(&k, key, 65);
	hmac_sign(&k, "x", 1, a);
	CHECK(memcmp(a, b, SHA256_LEN) != 0);
	whole(key, 65, digest);
	hmac_key_init(&k, digest, SHA256_LEN);
	hmac_sign(&k, "x", 1, b);
	CHECK_BYTES(a, b, SHA256_LEN);
	hmac_key_init(&k, NULL, 0);
	hmac_sign(&k, NULL, 0, a);
	unhex(b, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
	CHECK_BYTES(a, b, SHA256_LEN);
}

CHECK_MAIN(sha256, RUN(fips180) RUN(million) RUN(every_length) RUN(incremental) RUN(rfc4231)
    RUN(key_lengths))
