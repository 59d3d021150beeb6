#include "devlog.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
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
	pid = getpid();
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return fd >= 0 && connected();
}

/* RFC 3164 4.3.2: whoever takes it puts the time to it, in the zone that it knows. */
static void put_head(struct text *t, int severity)
{
	text_str(t, "<");
	text_num(t, (uint64_t)(DAEMON * 8 + severity), 1);
	text_str(t, ">sluice[");
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
