#include "log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The longest line; at most PIPE_BUF, so that poll's word that a pipe is writable means that
 * the whole line fits. */
#define LINE_MAX_LEN 2048u

static enum log_level level_most = LOG_INFO;
static bool may_block;
static uint64_t dropped;
static char line[LINE_MAX_LEN];
static size_t len;
static bool on;

void log_init(enum log_level most)
{
	struct stat st;

	level_most = most;
	may_block = fstat(STDERR_FILENO, &st) != 0 || !S_ISREG(st.st_mode);
}

static void put(const char *s, size_t n)
{
	if (n > sizeof line - 1 - len)		/* room for the newline */
		n = sizeof line - 1 - len;
	memcpy(line + len, s, n);
	len += n;
}

static void put_time(void)
{
	struct timespec ts;
	struct tm tm;
	char s[48];

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	put(s, (size_t)snprintf(s, sizeof s, "ts=%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
	    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
	    tm.tm_sec, (int)(ts.tv_nsec / 1000000)));
}

void log_begin(enum log_level level, const char *event)
{
	static const char *const name[] = { "error", "warn", "info", "debug" };

	on = level <= level_most;
	len = 0;
	if (!on)
		return;
	put_time();
	log_text("level", name[level]);
	log_text("event", event);
}

static bool plain(const uint8_t *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] >= 0x7f || s[i] == '"' || s[i] == '=' || s[i] == '\\')
			return false;
	return n > 0;
}

static void put_escaped(uint8_t b)
{
	static const char hex[] = "0123456789abcdef";
	const char x[4] = { '\\', 'x', hex[b >> 4], hex[b & 15] };

	if (b == '"' || b == '\\')
		put((const char[2]){ '\\', (char)b }, 2);
	else if (b < ' ' || b >= 0x7f)
		put(x, 4);
	else
		put((const char *)&b, 1);
}

void log_str(const char *name, const void *s, size_t n)
{
	if (!on)
		return;
	put(" ", 1);
	put(name, strlen(name));
	put("=", 1);
	if (plain(s, n)) {
		put(s, n);
		return;
	}
	put("\"", 1);
	for (size_t i = 0; i < n && len < sizeof line - 8; i++)
		put_escaped(((const uint8_t *)s)[i]);
	put("\"", 1);
}

void log_text(const char *name, const char *s)
{
	log_str(name, s, strlen(s));
}

void log_num(const char *name, int64_t v)
{
	char s[24];

	if (on)
		log_str(name, s, (size_t)snprintf(s, sizeof s, "%lld", (long long)v));
}

static bool write_line(void)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };

	if (may_block && (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT)))
		return false;
	line[len++] = '\n';
	return write(STDERR_FILENO, line, len) >= 0;
}

void log_end(void)
{
	if (!on)
		return;
	if (dropped)
		log_num("dropped", (int64_t)dropped);
	if (write_line())
		dropped = 0;
	else
		dropped++;
}

void log_msg(enum log_level level, const char *event, const char *fmt, ...)
{
	char s[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s, sizeof s, fmt, ap);
	va_end(ap);
	log_begin(level, event);
	log_text("msg", s);
	log_end();
}

void fatal(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("sluice: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(status);
}
