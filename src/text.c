#include "text.h"

#include <string.h>

void text_put(struct text *t, const void *s, size_t n)
{
	const size_t room = t->cap - text_len(t);

	memcpy(t->s + text_len(t), s, n < room ? n : room);
	t->n += n;
}

void text_str(struct text *t, const char *s)
{
	text_put(t, s, strlen(s));
}

void text_list(struct text *t, va_list ap)
{
	const char *s;

	while ((s = va_arg(ap, const char *)))
		text_str(t, s);
}

void text_all(struct text *t, ...)
{
	va_list ap;

	va_start(ap, t);
	text_list(t, ap);
	va_end(ap);
}

void text_num(struct text *t, uint64_t v, unsigned digits)
{
	char s[20];
	size_t i = sizeof s;

	do
		s[--i] = (char)('0' + v % 10);
	while ((v /= 10) || sizeof s - i < digits);
	text_put(t, s + i, sizeof s - i);
}

bool text_read(int64_t *out, const char *s, size_t n)
{
	if (n < 1 || n > 18)
		return false;
	for (*out = 0; n > 0; s++, n--) {
		if (*s < '0' || *s > '9')
			return false;
		*out = *out * 10 + (*s - '0');
	}
	return true;
}

static void put_group(struct text *t, unsigned v)
{
	static const char hex[] = "0123456789abcdef";
	int shift = 12;

	while (shift > 0 && !(v >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		text_put(t, &hex[v >> shift & 15], 1);
}

/* The longest run of two or more zero groups, the first of equals; *len is 0 without one. */
static unsigned longest_zeros(const uint8_t *ip, unsigned *len)
{
	unsigned best = 0, run = 0;

	*len = 1;
	for (unsigned i = 0; i < 8; i++) {
		run = ip[2 * i] | ip[2 * i + 1] ? 0 : run + 1;
		if (run > *len) {
			*len = run;
			best = i + 1 - run;
		}
	}
	*len = *len > 1 ? *len : 0;
	return best;
}

void text_ip(struct text *t, const uint8_t *ip, size_t n)
{
	unsigned len = 0, zeros;

	if (n == 4) {
		for (size_t i = 0; i < 4; i++) {
			text_put(t, ".", i > 0);
			text_num(t, ip[i], 1);
		}
		return;
	}
	zeros = longest_zeros(ip, &len);
	for (unsigned i = 0; i < 8; i++) {
		if (len > 0 && i == zeros) {
			text_put(t, "::", 2);
			i += len - 1;
			continue;
		}
		text_put(t, ":", i > 0 && !(len > 0 && i == zeros + len));
		put_group(t, (unsigned)ip[2 * i] << 8 | ip[2 * i + 1]);
	}
}
