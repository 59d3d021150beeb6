/* check.h - what every unit test needs: checks, a main, memory that ends at an unmapped
 * page, and splits.
 *
 * A test is a static void function; its file ends in CHECK_MAIN(room, RUN(test) ...). */

#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned check_bad, check_passed, check_failed;

#define CHECK_SHOWN 20	/* failures printed; the others are counted only */

static inline bool check_at(bool ok, const char *file, int line, const char *what)
{
	if (!ok && check_bad++ < CHECK_SHOWN)
		printf("%s:%d: %s\n", file, line, what);
	return ok;
}

/* True if the expression is, so that a row can say which it was. */
#define CHECK(e) check_at((e), __FILE__, __LINE__, #e)

#define CHECK_BYTES(p, want, n) \
	check_at(memcmp((p), (want), (n)) == 0, __FILE__, __LINE__, #p " is " #want)

static inline void check_run(void (*test)(void), const char *name)
{
	const unsigned before = check_bad;

	test();
	if (check_bad == before) {
		check_passed++;
	} else {
		check_failed++;
		printf("FAILED: %s\n", name);
	}
}

#define RUN(test) check_run(test, #test);

#define CHECK_MAIN(name, ...) \
int main(void) \
{ \
	__VA_ARGS__ \
	printf("%s: %u passed, %u failed\n", #name, check_passed, check_failed); \
	return check_bad > 0;	/* those of no test, too */ \
}

#define GUARDS 4u
#define GUARD_MAX ((size_t)2 << 20)

/* n bytes that end at an unmapped page, a copy of p if that is not NULL; they hold until
 * the next use of the same guard (0 to 3). What is before them holds 0xa5. */
static inline uint8_t *guard(unsigned which, const void *p, size_t n)
{
	static uint8_t *base[GUARDS];

	if (which >= GUARDS || n > GUARD_MAX)
		abort();
	if (base[which] == NULL) {
		const size_t page = (size_t)sysconf(_SC_PAGESIZE);
		void *m = mmap(NULL, GUARD_MAX + page, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (m == MAP_FAILED)
			abort();
		base[which] = m;
		if (mprotect(base[which] + GUARD_MAX, page, PROT_NONE) < 0)
			abort();
	}

	uint8_t *at = base[which] + GUARD_MAX - n;
	const size_t before = GUARD_MAX - n < 64 ? GUARD_MAX - n : 64;

	memset(at - before, 0xa5, before);
	if (p != NULL && n > 0)
		memcpy(at, p, n);
	return at;
}

/* Feed p[0..n) in two parts, split at every place, the ends among them. Each part ends
 * at an unmapped page, so that one who reads on from the first to the second is caught. */
static inline void every_split(const void *p, size_t n,
    void (*feed)(void *arg, const uint8_t *a, size_t an, const uint8_t *b, size_t bn),
    void *arg)
{
	for (size_t i = 0; i <= n; i++)
		feed(arg, guard(0, p, i), i,
		    guard(1, (const uint8_t *)p + i, n - i), n - i);
}

/* The bytes that a string of hexadecimal digits says; returns their number. */
static inline size_t unhex(uint8_t *out, const char *hex)
{
	size_t n = 0;

	for (; hex[0] != '\0' && hex[1] != '\0'; hex += 2) {
		const char two[3] = { hex[0], hex[1], '\0' };

		out[n++] = (uint8_t)strtoul(two, NULL, 16);
	}
	return n;
}

/* A fixed sequence, so that a failure happens again (xorshift64*). */
static inline uint32_t check_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t)(*state * 0x2545f4914f6cdd1du >> 32);
}

#endif
