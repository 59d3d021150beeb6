/* text.h - text put together in a fixed place, and numbers read from it.
 *
 * Pure. In place of printf, which takes a quarter of a megabyte of libc into memory when it is
 * first called. What does not fit is left out; n says how long it would have been. */

#ifndef TEXT_H
#define TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
	char  *s;
	size_t cap, n;
};

void text_put(struct text *t, const void *s, size_t n);
void text_str(struct text *t, const char *s);

/* Strings up to NULL. */
void text_all(struct text *t, ...) __attribute__((sentinel));
void text_list(struct text *t, va_list ap);

/* Decimal, with zeros in front up to digits. */
void text_num(struct text *t, uint64_t v, unsigned digits);

/* Read s[0..n), 1 to 18 digits and nothing else; false: it is not that. */
bool text_read(int64_t *out, const char *s, size_t n);

/* An address as users write it: 192.0.2.7, 2001:db8::1 (RFC 5952); ip has 4 or 16 bytes. */
void text_ip(struct text *t, const uint8_t *ip, size_t n);

/* What is there, at most cap bytes. */
static inline size_t text_len(const struct text *t)
{
	return t->n < t->cap ? t->n : t->cap;
}

#endif
