/* sha1.c - section numbers are of FIPS 180-4. */
#include <string.h>

#include "sha1.h"

static inline uint32_t rol(uint32_t x, unsigned n)
{
	return x << n | x >> (32 - n);
}

/* The function and the constant of step i (4.1.1, 4.2.1). */
static uint32_t mix(size_t i, uint32_t b, uint32_t c, uint32_t d)
{
	if (i < 20)
		return (d ^ (b & (c ^ d))) + 0x5a827999;
	if (i < 40)
		return (b ^ c ^ d) + 0x6ed9eba1;
	if (i < 60)
		return ((b & c) | (d & (b | c))) + 0x8f1bbcdc;
	return (b ^ c ^ d) + 0xca62c1d6;
}

static void compress(uint32_t h[5], const uint8_t *p)
{
	uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];

	for (size_t i = 0; i < 16; i++, p += 4)
		w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
		    (uint32_t)p[2] << 8 | p[3];
	for (size_t i = 16; i < 80; i++)
		w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	for (size_t i = 0; i < 80; i++) {
		const uint32_t t = rol(a, 5) + mix(i, b, c, d) + e + w[i];

		e = d;
		d = c;
		c = rol(b, 30);
		b = a;
		a = t;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
}

void sha1(const void *p, size_t n, uint8_t out[SHA1_LEN])
{
	uint32_t h[5] = {	/* 5.3.1 */
		0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0,
	};
	const uint8_t *in = p;
	uint8_t last[128] = {0};
	size_t left = n;

	for (; left >= 64; in += 64, left -= 64)
		compress(h, in);

	/* 5.1.1: what is left, a one bit, zeros, and the length in bits, which n's
	 * bound holds to 32 of its 64 bits: in one block or in two. */
	const size_t end = left < 56 ? 64 : 128;

	if (left > 0)
		memcpy(last, in, left);
	last[left] = 0x80;
	for (size_t i = 0; i < 4; i++)
		last[end - 1 - i] = (uint8_t)((uint64_t)n * 8 >> 8 * i);
	for (size_t i = 0; i < end; i += 64)
		compress(h, last + i);
	for (size_t i = 0; i < SHA1_LEN; i++)
		out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}
