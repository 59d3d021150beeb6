/* utf8.c - RFC 3629 4; the ranges are those of Unicode 15, table 3-7. */
#include <string.h>

#include "utf8.h"

/* Skip ASCII, to the first other byte or to the end. */
static const uint8_t *skip_ascii(const uint8_t *p, const uint8_t *end)
{
	const uint64_t high = 0x8080808080808080u;

	while (end - p >= 32) {
		uint64_t w[4];

		memcpy(w, p, sizeof w);
		if ((w[0] | w[1] | w[2] | w[3]) & high)
			break;
		p += sizeof w;
	}
	while (end - p >= 8) {
		uint64_t w;

		memcpy(&w, p, sizeof w);
		if (w & high)
			break;
		p += sizeof w;
	}
	while (p < end && *p < 0x80)
		p++;
	return p;
}

/* What may come next, and the state after that. 4 to 7 follow a first byte whose second tells
 * overlong forms, surrogates and what is over U+10FFFF. */
static const struct { uint8_t low, high, next; } steps[] = {
	{ 0, 0, 0 },		/* at a boundary: see first() */
	{ 0x80, 0xbf, 0 }, { 0x80, 0xbf, 1 }, { 0x80, 0xbf, 2 },
	{ 0xa0, 0xbf, 1 },	/* after E0 */
	{ 0x80, 0x9f, 1 },	/* ED */
	{ 0x90, 0xbf, 2 },	/* F0 */
	{ 0x80, 0x8f, 2 },	/* F4 */
};

/* The state after the first byte of a sequence of several, or 0. */
static uint8_t first(uint8_t c)
{
	if (c < 0xc2 || c > 0xf4)
		return 0;
	if (c < 0xe0)
		return 1;
	if (c < 0xf0)
		return c == 0xe0 ? 4 : c == 0xed ? 5 : 2;
	return c == 0xf0 ? 6 : c == 0xf4 ? 7 : 3;
}

size_t utf8_take(const uint8_t *p, size_t n, bool *ok)
{
	uint8_t s = first(p[0]);
	size_t i = 1;

	*ok = p[0] < 0x80;
	for (; s != 0; i++) {
		if (i == n || p[i] < steps[s].low || p[i] > steps[s].high)
			break;
		s = steps[s].next;
		*ok = s == 0;
	}
	return i;
}

bool utf8_step(uint8_t *state, const uint8_t *p, size_t n)
{
	const uint8_t *const end = n > 0 ? p + n : p;
	uint8_t s = *state;

	for (; p < end; p++) {
		if (s != 0) {
			if (*p < steps[s].low || *p > steps[s].high)
				return false;
			s = steps[s].next;
		} else if (*p >= 0x80) {
			if ((s = first(*p)) == 0)
				return false;
		} else {
			p = skip_ascii(p, end) - 1;
		}
	}
	*state = s;
	return true;
}

bool utf8_valid(const uint8_t *p, size_t n)
{
	uint8_t state = 0;

	return utf8_step(&state, p, n) && state == 0;
}

size_t utf8_replaced_len(const uint8_t *in, size_t n)
{
	size_t len = 0, i = 0;

	while (i < n) {
		bool ok;
		const size_t k = utf8_take(in + i, n - i, &ok);

		len += ok ? k : 3;
		i += k;
	}
	return len;
}

void utf8_replace(uint8_t *out, const uint8_t *in, size_t n)
{
	size_t i = 0;

	while (i < n) {
		bool ok;
		const size_t k = utf8_take(in + i, n - i, &ok);

		memcpy(out, ok ? in + i : (const uint8_t *)"\xef\xbf\xbd", ok ? k : 3);
		out += ok ? k : 3;
		i += k;
	}
}
