/* ct.h - what touches secrets: comparison in constant time, and wiping.
 *
 * Pure. Inline, so that every room may use it without a link dependency. */

#ifndef CT_H
#define CT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* CT: time depends on n only. */
static inline bool ct_equal(const uint8_t *a, const uint8_t *b, size_t n)
{
	uint8_t d = 0;

	for (size_t i = 0; i < n; i++)
		d |= a[i] ^ b[i];
	return d == 0;
}

/* Zero n bytes in a way that the compiler may not leave out. */
static inline void ct_wipe(void *p, size_t n)
{
	memset(p, 0, n);
	__asm__ __volatile__("" : : "r"(p) : "memory");	/* reads it, for all it can tell */
}

#endif
