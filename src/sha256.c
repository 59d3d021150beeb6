/* sha256.c - section numbers without a name are of FIPS 180-4. */
#include <string.h>

#include "ct.h"
#include "sha256.h"
#include "sha256_hw.h"

/* 4.2.2 */
static const uint32_t K[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5,
	0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
	0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
	0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
	0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
	0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
	0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5,
	0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* 5.3.3 */
static const uint32_t H[8] = {
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
	0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static inline uint32_t ror(uint32_t x, unsigned n)
{
	return x >> n | x << (32 - n);
}

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	    (uint32_t)p[2] << 8 | p[3];
}

static inline void put32(uint8_t *p, uint32_t x)
{
	p[0] = (uint8_t)(x >> 24);
	p[1] = (uint8_t)(x >> 16);
	p[2] = (uint8_t)(x >> 8);
	p[3] = (uint8_t)x;
}

/* One step of 6.2.2; eight of them rename the variables back to where they were, so
 * that nothing is moved. */
#define STEP(a, b, c, d, e, f, g, h, i) do { \
	h += (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + (g ^ (e & (f ^ g))) + \
	    k[i] + w[i]; \
	d += h; \
	h += (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) | (c & (a | b))); \
} while (0)

/* The next sixteen words of the schedule, over the last (6.2.2, step 1). */
static inline void schedule(uint32_t w[16])
{
	for (size_t i = 0; i < 16; i++) {
		const uint32_t x = w[(i + 1) & 15], y = w[(i + 14) & 15];

		w[i] += w[(i + 9) & 15] +
		    (ror(x, 7) ^ ror(x, 18) ^ x >> 3) +
		    (ror(y, 17) ^ ror(y, 19) ^ y >> 10);
	}
}

static void compress_one(uint32_t s[8], const uint8_t *p)
{
	uint32_t w[16];
	uint32_t a = s[0], b = s[1], c = s[2], d = s[3];
	uint32_t e = s[4], f = s[5], g = s[6], h = s[7];

	for (size_t i = 0; i < 16; i++)
		w[i] = get32(p + 4 * i);
	for (const uint32_t *k = K; k < K + 64; k += 16) {
		if (k > K)
			schedule(w);
		for (size_t i = 0; i < 16; i += 8) {
			STEP(a, b, c, d, e, f, g, h, i);
			STEP(h, a, b, c, d, e, f, g, i + 1);
			STEP(g, h, a, b, c, d, e, f, i + 2);
			STEP(f, g, h, a, b, c, d, e, i + 3);
			STEP(e, f, g, h, a, b, c, d, i + 4);
			STEP(d, e, f, g, h, a, b, c, i + 5);
			STEP(c, d, e, f, g, h, a, b, i + 6);
			STEP(b, c, d, e, f, g, h, a, i + 7);
		}
	}
	s[0] += a, s[1] += b, s[2] += c, s[3] += d;
	s[4] += e, s[5] += f, s[6] += g, s[7] += h;
}

static void compress(uint32_t s[8], const uint8_t *p, size_t n)
{
	if (sha256_hw(s, p, n, K))
		return;
	for (; n > 0; n--, p += 64)
		compress_one(s, p);
}

void sha256_init(struct sha256 *s)
{
	memcpy(s->h, H, sizeof H);
	s->n = 0;
}

void sha256_write(struct sha256 *s, const void *p, size_t n)
{
	const uint8_t *in = p;
	const size_t held = (size_t)(s->n % 64);

	if (n == 0)
		return;
	s->n += n;
	if (held) {
		const size_t take = n < 64 - held ? n : 64 - held;

		memcpy(s->block + held, in, take);
		if (held + take < 64)
			return;
		compress(s->h, s->block, 1);
		in += take;
		n -= take;
	}
	compress(s->h, in, n / 64);
	memcpy(s->block, in + n / 64 * 64, n % 64);
}

void sha256_end(struct sha256 *s, uint8_t out[SHA256_LEN])
{
	const uint64_t bits = s->n * 8;
	size_t held = (size_t)(s->n % 64);

	/* 5.1.1: a one bit, zeros, the length in bits. */
	s->block[held++] = 0x80;
	if (held > 56) {
		memset(s->block + held, 0, 64 - held);
		compress(s->h, s->block, 1);
		held = 0;
	}
	memset(s->block + held, 0, 56 - held);
	put32(s->block + 56, (uint32_t)(bits >> 32));
	put32(s->block + 60, (uint32_t)bits);
	compress(s->h, s->block, 1);
	for (size_t i = 0; i < 8; i++)
		put32(out + 4 * i, s->h[i]);
}

static void pad(uint32_t h[8], const uint8_t key[64], uint8_t with)
{
	uint8_t block[64];

	for (size_t i = 0; i < 64; i++)
		block[i] = key[i] ^ with;
	memcpy(h, H, sizeof H);
	compress(h, block, 1);
	ct_wipe(block, sizeof block);
}

void hmac_key_init(struct hmac_key *k, const void *key, size_t n)
{
	uint8_t block[64] = {0};
	struct sha256 s;

	if (n > 64) {
		sha256_init(&s);
		sha256_write(&s, key, n);
		sha256_end(&s, block);
		ct_wipe(&s, sizeof s);
	} else if (n > 0) {
		memcpy(block, key, n);
	}
	pad(k->inner, block, 0x36);
	pad(k->outer, block, 0x5c);
	ct_wipe(block, sizeof block);
}

void hmac_sign(const struct hmac_key *k, const void *p, size_t n,
    uint8_t out[SHA256_LEN])
{
	struct sha256 s;

	memcpy(s.h, k->inner, sizeof s.h);
	s.n = 64;
	sha256_write(&s, p, n);
	sha256_end(&s, out);
	memcpy(s.h, k->outer, sizeof s.h);
	s.n = 64;
	sha256_write(&s, out, SHA256_LEN);
	sha256_end(&s, out);
	ct_wipe(&s, sizeof s);
}
