/* loop.h - what the loop and those it calls agree on: what an epoll event is about, and that
 * memory is taken before the loop only. */

#ifndef LOOP_H
#define LOOP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "log.h"

enum tag { TAG_LISTENER, TAG_CONN, TAG_SOURCE, TAG_SIGNAL, TAG_PRINT, TAG_CLOCK };

/* epoll data: gen is cut to 24 bits. */
static inline uint64_t tag_make(enum tag tag, uint32_t gen, uint32_t id)
{
	return (uint64_t)tag << 56 | (uint64_t)(gen & 0xffffff) << 32 | id;
}

/* Zeroed memory, of which only what is used is ever backed by pages; or fatal. */
static inline void *memory_take(size_t n, size_t size)
{
	size_t len;
	void *p = MAP_FAILED;

	if (!__builtin_mul_overflow(n, size, &len))
		p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		fatal(1, "not enough memory; a smaller --max-clients or --buffer takes less", NULL);
	return p;
}

#endif
