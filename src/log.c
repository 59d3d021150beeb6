#include "log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "devlog.h"
#include "text.h"

/* The longest line: room for the longest subject, sub and kid, every byte of them escaped. At most
 * PIPE_BUF, so that poll's word that a pipe is writable means that the whole line fits. */
#define LINE_MAX_LEN 4096u

/* Of limited lines: what a fault of one's own may cause while it is looked at, and what a flood may
 * write to a router's flash. */
#define BURST 1000
#define EACH_MS 100
#define SETTLE_MS 1000

static enum log_level level_most = LOG_INFO;
static bool may_block;
static uint64_t dropped;
static char bytes[LINE_MAX_LEN];
static struct text line = { bytes, sizeof bytes - 1, 0 };	/* one byte less: the newline */
static bool on;
static enum log_level level_now;
static bool to_system;

static struct {
	const char *event;
	int64_t  paid_ms;	/* a line costs EACH_MS of the time since then */
	int64_t  said_ms;
	uint64_t left_out;
} limited = { .paid_ms = INT64_MIN };

void log_init(enum log_level most)
{
	struct stat st;

	level_most = most;
	may_block = fstat(STDERR_FILENO, &st) != 0 || !S_ISREG(st.st_mode);
}

void log_to_system(void)
{
	if (!devlog_open())
		log_msg(LOG_WARN, "config", "--syslog: /dev/log: ", strerror(errno),
		    "; lines are dropped until it is there", NULL);
	to_system = true;
}

/* RFC 3339, in UTC. The date is worked out here: gmtime reads the zone's file first. Days are
 * counted from 1 March 0000, so that a leap day ends a year. */
static void put_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	const uint64_t t = ts.tv_sec > 0 ? (uint64_t)ts.tv_sec : 0, second = t % 86400;
	const uint64_t days = t / 86400 + 719468, era = days / 146097, of_era = days % 146097;
	const uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	const uint64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	const uint64_t month = (5 * of_year + 2) / 153;		/* 0: March */
	const struct { char sep; uint8_t digits; uint64_t v; } part[] = {
		{ '=', 4, era * 400 + year + (month >= 10) }, { '-', 2, (month + 2) % 12 + 1 },
		{ '-', 2, of_year - (153 * month + 2) / 5 + 1 }, { 'T', 2, second / 3600 },
		{ ':', 2, second / 60 % 60 }, { ':', 2, second % 60 },
		{ '.', 3, (uint64_t)ts.tv_nsec / 1000000 },
	};

	text_str(&line, "ts");
	for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
		text_put(&line, &part[i].sep, 1);
		text_num(&line, part[i].v, part[i].digits);
	}
	text_str(&line, "Z");
}

void log_begin(enum log_level level, const char *event)
{
	static const char name[][6] = { "error", "warn", "info", "debug" };

	on = level <= level_most;
	level_now = level;
	line.n = 0;
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

	if (b < ' ' || b >= 0x7f) {
		text_put(&line, x, sizeof x);
		return;
	}
	if (b == '"' || b == '\\')
		text_put(&line, "\\", 1);
	text_put(&line, &b, 1);
}

static void put_name(const char *name)
{
	text_all(&line, " ", name, "=", NULL);
}

void log_str(const char *name, const void *s, size_t n)
{
	if (!on)
		return;
	put_name(name);
	if (plain(s, n)) {
		text_put(&line, s, n);
		return;
	}
	text_str(&line, "\"");
	for (size_t i = 0; i < n && line.n < sizeof bytes - 8; i++)
		put_escaped(((const uint8_t *)s)[i]);
	text_str(&line, "\"");
}

void log_text(const char *name, const char *s)
{
	log_str(name, s, strlen(s));
}

void log_num(const char *name, int64_t v)
{
	if (!on)
		return;
	put_name(name);
	if (v < 0)
		text_str(&line, "-");
	text_num(&line, v < 0 ? -(uint64_t)v : (uint64_t)v, 1);
}

static bool send_line(void)
{
	static const uint8_t severity[] = { 3, 4, 6, 7 };

	return devlog_send(severity[level_now], bytes, text_len(&line));
}

static bool write_line(void)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };

	if (to_system)
		return send_line();
	if (may_block && (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT)))
		return false;
	const size_t n = text_len(&line);

	bytes[n] = '\n';
	return write(STDERR_FILENO, bytes, n + 1) >= 0;
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

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void log_begin_limited(enum log_level level, const char *event)
{
	const int64_t now = now_ms(), least = now - BURST * EACH_MS;

	on = false;
	if (level > level_most)
		return;
	if (limited.paid_ms < least)
		limited.paid_ms = least;
	if (limited.paid_ms + EACH_MS <= now) {
		limited.paid_ms += EACH_MS;
		log_begin(level, event);
		return;
	}
	if (limited.left_out++ == 0)
		limited.said_ms = now;
	limited.event = event;
}

bool log_settle(bool now)
{
	if (limited.left_out == 0)
		return false;
	if (!now && now_ms() - limited.said_ms < SETTLE_MS)
		return true;
	log_begin(LOG_INFO, limited.event);
	log_num("left_out", (int64_t)limited.left_out);
	log_end();
	limited.left_out = 0;
	return false;
}

void log_msg(enum log_level level, const char *event, ...)
{
	char s[512];
	struct text t = { s, sizeof s, 0 };
	va_list ap;

	va_start(ap, event);
	text_list(&t, ap);
	va_end(ap);
	log_begin(level, event);
	log_str("msg", s, text_len(&t));
	log_end();
}

void fatal(int status, ...)
{
	va_list ap;

	line.n = 0;
	text_str(&line, "sluice: ");
	va_start(ap, status);
	text_list(&line, ap);
	va_end(ap);
	for (size_t i = 0; i < text_len(&line); i++)
		if ((uint8_t)bytes[i] < ' ')
			bytes[i] = '?';		/* one line, whatever was given */
	level_now = LOG_ERROR;
	if (to_system)
		send_line();
	may_block = to_system = false;
	write_line();			/* whoever starts it looks there */
	exit(status);
}
