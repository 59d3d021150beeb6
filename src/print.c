#include "print.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "metrics.h"

static uint8_t *line;
static size_t cap, len;
static int fd = STDOUT_FILENO;

void print_init(uint8_t *mem, size_t n)
{
	line = mem;
	cap = n;
	if (isatty(fd)) {
		const int own = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

		fd = own >= 0 ? own : fd;
	}
}

/* O_NONBLOCK would be the shell's too; but where poll says so, a pipe has room for PIPE_BUF bytes. A
 * terminal says so when it has room for one, so it is opened anew. */
void print_flush(void)
{
	size_t done = 0;

	while (done < len) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		const size_t n = len - done < PIPE_BUF ? len - done : PIPE_BUF;

		if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLOUT))
			break;
		const ssize_t r = write(fd, line + done, n);

		if (r < 0 && errno == EPIPE) {	/* nobody reads it, ever */
			for (; done < len; done++)
				metrics.print_dropped += line[done] == '\n';
		}
		if (r <= 0)
			break;
		done += (size_t)r;
	}
	len -= done;
	if (done > 0)
		memmove(line, line + done, len);
}

static void put(uint8_t b)
{
	const char c = b == '\n' ? 'n' : b == '\r' ? 'r' : b == 0 ? '0' : 0;

	if (c)
		line[len++] = '\\';
	line[len++] = c ? (uint8_t)c : b;
}

void print_message(struct span subject, const uint8_t *p, size_t n)
{
	if (subject.n + 2 + 2 * n > cap - len)
		print_flush();
	if (subject.n + 2 + 2 * n > cap - len) {
		metrics.print_dropped++;
		return;
	}
	memcpy(line + len, subject.p, subject.n);
	len += subject.n;
	line[len++] = '\t';
	for (size_t i = 0; i < n; i++)
		put(p[i]);
	line[len++] = '\n';
	print_flush();
}
