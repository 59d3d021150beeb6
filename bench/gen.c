/* gen.c - write numbered lines to stdout: gen [--frames] MESSAGES [RATE]
 *
 * As fast as stdout takes them, in blocks of 64 KiB; or RATE a second, one write each.
 * --frames puts the WebSocket header of a server's text frame (RFC 6455 5.2) in the place
 * of the newline, for a program that forwards bytes as they are. */

#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "line.h"

#define BLOCK 65536u
#define HEAD 4u		/* 127 bytes do not fit the short form */

static char block[BLOCK];

static void write_all(const char *p, size_t n)
{
	while (n > 0) {
		const ssize_t done = write(1, p, n);

		if (done < 0)
			err(1, "write");
		p += done;
		n -= (size_t)done;
	}
}

/* Fill the block with lines, all but their numbers. Returns the size of one. */
static size_t prepare(int frames)
{
	const size_t each = LINE_LEN + (frames ? HEAD : 1);
	const uint8_t head[HEAD] = { 0x81, 126, 0, LINE_LEN };

	memset(block, 'x', sizeof block);
	for (size_t at = 0; at + each <= BLOCK; at += each) {
		char *line = block + at;

		if (frames) {
			memcpy(line, head, HEAD);
			line += HEAD;
		} else {
			line[LINE_LEN] = '\n';
		}
		line[LINE_DIGITS] = ' ';
		line[LINE_LEN - LINE_TAIL - 1] = ' ';
	}
	return each;
}

static void sleep_until(struct timespec *t, uint64_t ns)
{
	ns += (uint64_t)t->tv_nsec;
	t->tv_sec += (time_t)(ns / 1000000000u);
	t->tv_nsec = (long)(ns % 1000000000u);
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, t, NULL);
}

int main(int argc, char **argv)
{
	const int frames = argc > 1 && strcmp(argv[1], "--frames") == 0;
	struct timespec due;
	uint64_t messages, rate;
	size_t each, per_write;

	argc -= frames;
	argv += frames;
	if (argc < 2 || argc > 3)
		errx(2, "usage: gen [--frames] MESSAGES [RATE]");
	messages = strtoull(argv[1], NULL, 10);
	rate = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;

	each = prepare(frames);
	per_write = rate ? 1 : BLOCK / each;
	clock_gettime(CLOCK_MONOTONIC, &due);
	for (uint64_t seq = 0; seq < messages; ) {
		size_t n;

		for (n = 0; n < per_write && seq < messages; n++, seq++)
			line_number(block + n * each + (frames ? HEAD : 0), seq);
		write_all(block, n * each);
		if (rate)
			sleep_until(&due, 1000000000u / rate);
	}
	return 0;
}
