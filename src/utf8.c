/* utf8.c - RFC 3629 4; the ranges are those of Unicode 15, table 3-7. */
#include <string.h>

#include "utf8.h"

/* The length of the sequence that begins at p, or, with *ok false, of the maximal
 * subpart of one: at least 1. p < end. */
static size_t take(const uint8_t *p, const uint8_t *end, bool *ok)
{
	const size_t room = (size_t)(end - p);
	const uint8_t c = p[0];
	size_t len;

	*ok = c < 0x80;
	if (c < 0xc2 || c > 0xf4 || room < 2)
		return 1;
	len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

	/* The second byte tells overlong forms, surrogates and what is over
	 * U+10FFFF. */
	const uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
	const uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;

	if (p[1] < low || p[1] > high)
		return 1;
	for (size_t i = 2; i < len; i++)
		if (i == room || (p[i] & 0xc0) != 0x80)
			return i;
	*ok = true;
	return len;
}

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

bool utf8_valid(const uint8_t *p, size_t n)
{
	const uint8_t *const end = n > 0 ? p + n : p;
	bool ok = true;

	while (ok && (p = skip_ascii(p, end)) < end)
		do
			p += take(p, end, &ok);
		while (ok && p < end && *p >= 0x80);
	return ok;
}

size_t utf8_replaced_len(const uint8_t *in, size_t n)
{
	size_t len = 0, i = 0;

	while (i < n) {
		bool ok;
		const size_t k = take(in + i, in + n, &ok);

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
		const size_t k = take(in + i, in + n, &ok);

		memcpy(out, ok ? in + i : (const uint8_t *)"\xef\xbf\xbd", ok ? k : 3);
		out += ok ? k : 3;
		i += k;
	}
}
