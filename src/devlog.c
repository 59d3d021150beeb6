#include "devlog.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

#define DAEMON 3		/* the facility */

static int fd = -1;
static pid_t pid;

static bool connected(void)
{
	static const struct sockaddr_un log = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };

	return connect(fd, (const struct sockaddr *)&log, sizeof log) == 0;
}

bool devlog_open(void)
{
	struct tm tm;

	/* The zone is read now, and then no more: later its file may be out of reach. */
	tzset();
	localtime_r(&(time_t){ 0 }, &tm);
	pid = getpid();
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return fd >= 0 && connected();
}

static void put_two(struct text *t, const char *before, int v, char pad)
{
	text_str(t, before);
	if (v < 10)
		text_put(t, &pad, 1);
	text_num(t, (uint64_t)v, 1);
}

/* RFC 3164 4.1.2: local time, and a day below 10 has a space in front. */
static void put_head(struct text *t, int severity)
{
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep",
		"Oct", "Nov", "Dec" };
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	text_str(t, "<");
	text_num(t, (uint64_t)(DAEMON * 8 + severity), 1);
	text_all(t, ">", months[tm.tm_mon], NULL);
	put_two(t, " ", tm.tm_mday, ' ');
	put_two(t, " ", tm.tm_hour, '0');
	put_two(t, ":", tm.tm_min, '0');
	put_two(t, ":", tm.tm_sec, '0');
	text_str(t, " sluice[");
	text_num(t, (uint64_t)pid, 1);
	text_str(t, "]: ");
}

bool devlog_send(int severity, const char *s, size_t n)
{
	char head[64];
	struct text t = { head, sizeof head, 0 };

	put_head(&t, severity);
	const struct iovec part[2] = { { head, t.n }, { (void *)(uintptr_t)s, n } };

	if (writev(fd, part, 2) >= 0)
		return true;
	/* When syslogd starts anew, it listens at another socket of that name. */
	return errno != EAGAIN && connected() && writev(fd, part, 2) >= 0;
}
