/* b64.c - section numbers are of RFC 4648. */
#include "b64.h"

#define NO 0x80		/* no character of the alphabet; all others are below 64 */

/* The URL alphabet (5, table 2), by character. */
static const uint8_t value[128] = {
	NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
	NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
	NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, 62, NO, NO,
	52, 53, 54, 55, 56, 57, 58, 59, 60, 61, NO, NO, NO, NO, NO, NO,
	NO,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14,
	15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, NO, NO, NO, NO, 63,
	NO, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
	41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, NO, NO, NO, NO, NO,
};

/* What n characters say, six bits each; *seen gathers NO. A byte over 0x7f is foreign by
 * its own high bit. */
static inline uint32_t gather(const uint8_t *in, size_t n, uint8_t *seen)
{
	uint32_t v = 0;

	for (size_t i = 0; i < n; i++) {
		const uint8_t six = value[in[i] & 0x7f];

		*seen |= six | in[i];
		v = v << 6 | six;
	}
	return v;
}

bool b64url_decode(uint8_t *out, size_t *len, const uint8_t *in, size_t n)
{
	const size_t tail = n % 4, bytes = tail * 6 / 8;
	uint8_t seen = 0;
	uint32_t v;

	if (tail == 1)
		return false;			/* six bits make no byte */
	for (size_t i = 0; i < n / 4; i++) {
		v = gather(in + 4 * i, 4, &seen);
		out[3 * i] = (uint8_t)(v >> 16);
		out[3 * i + 1] = (uint8_t)(v >> 8);
		out[3 * i + 2] = (uint8_t)v;
	}
	v = gather(in + n - tail, tail, &seen) << (24 - 6 * tail);
	out += n / 4 * 3;
	for (size_t i = 0; i < bytes; i++, v <<= 8)
		out[i] = (uint8_t)(v >> 16);
	if (seen & NO || v & 0xffffff)
		return false;			/* 3.5: what is left over is zero */
	*len = n / 4 * 3 + bytes;
	return true;
}

/* Returns the number of characters, padding not counted. */
static size_t encode(char *out, const uint8_t *in, size_t n, const char *last)
{
	static const char first[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	size_t o = 0;

	for (size_t i = 0; i < n; i += 3) {
		const size_t have = n - i < 3 ? n - i : 3;
		uint32_t group = 0;

		for (size_t k = 0; k < 3; k++)
			group = group << 8 | (k < have ? in[i + k] : 0);
		for (size_t k = 0; k <= have; k++) {
			const uint32_t v = group >> (18 - 6 * k) & 63;

			out[o++] = v < 62 ? first[v] : last[v - 62];
		}
	}
	return o;
}

void b64url_encode(char *out, const uint8_t *in, size_t n)
{
	encode(out, in, n, "-_");
}

void b64_encode(char *out, const uint8_t *in, size_t n)
{
	size_t o = encode(out, in, n, "+/");

	while (o % 4 != 0)
		out[o++] = '=';
}
