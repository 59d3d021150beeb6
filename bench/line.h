/* line.h - the message that the benchmarks send: 127 characters, made by gen, checked by load.
 *
 * Pure. On a line source a newline follows it, which makes 128 bytes. It begins with its
 * number, 16 digits, and ends with the last 8 of these, so that one that was cut, shifted
 * or put together from two is told from a whole one. */

#ifndef LINE_H
#define LINE_H

#include <stdint.h>
#include <string.h>

#define LINE_LEN 127u
#define LINE_DIGITS 16u
#define LINE_TAIL 8u

/* The digits of seq over the beginning and the end of a line; the rest stays. */
static inline void line_number(char *line, uint64_t seq)
{
	for (unsigned i = LINE_DIGITS; i-- > 0; seq /= 10)
		line[i] = (char)('0' + seq % 10);
	memcpy(line + LINE_LEN - LINE_TAIL, line + LINE_DIGITS - LINE_TAIL, LINE_TAIL);
}

/* Eight digits to their value, all at once; false if one is no digit. */
static inline int line_eight(const uint8_t *p, uint64_t *out)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	if (((v & 0xf0f0f0f0f0f0f0f0u) |
	    ((v + 0x0606060606060606u) & 0xf0f0f0f0f0f0f0f0u) >> 4) != 0x3333333333333333u)
		return 0;
	v = (v & 0x0f0f0f0f0f0f0f0fu) * (256 * 10 + 1) >> 8;
	v = (v & 0x00ff00ff00ff00ffu) * (65536 * 100 + 1) >> 16;
	*out = (v & 0x0000ffff0000ffffu) * (4294967296u * 10000 + 1) >> 32;
	return 1;
}

/* The number of a line; false if it is none. Little-endian machines only, like the rest
 * of bench/. */
static inline int line_read(const uint8_t *line, uint64_t *seq)
{
	uint64_t high, low;

	if (!line_eight(line, &high) || !line_eight(line + 8, &low) ||
	    memcmp(line + 8, line + LINE_LEN - LINE_TAIL, LINE_TAIL) != 0)
		return 0;
	*seq = high * 100000000u + low;
	return 1;
}

#endif
