#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "limits.h"
#include "log.h"
#include "text.h"

static int fd = -1;

/* The variable's number, which is taken away; 0 where it is not there or none. */
static int64_t take_number(const char *name)
{
	const char *s = getenv(name);
	int64_t v;

	if (!s || !text_read(&v, s, strlen(s)))
		v = 0;
	unsetenv(name);
	return v;
}

/* ---- sockets that were handed over ---- */

static struct {
	bool read;
	unsigned n;
	const char *names;	/* with colons between; the environment's own, which stays */
} given;

unsigned notify_listeners(void)
{
	if (given.read)
		return given.n;
	const bool ours = take_number("LISTEN_PID") == getpid();
	const int64_t n = take_number("LISTEN_FDS");

	given.read = true;
	given.names = getenv("LISTEN_FDNAMES");
	unsetenv("LISTEN_FDNAMES");
	if (ours && n > LISTENERS_MAX)
		fatal(2, "LISTEN_FDS: too many sockets", NULL);
	given.n = ours ? (unsigned)n : 0;
	return given.n;
}

bool notify_listener_is(unsigned i, const char *name)
{
	const char *at = given.names;
	const size_t n = strlen(name);

	for (; i > 0 && at; i--)
		at = (at = strchr(at, ':')) ? at + 1 : NULL;
	return at && strncmp(at, name, n) == 0 && (at[n] == ':' || !at[n]);
}

/* ---- what we tell ---- */

/* A path, or after an @ a name in no file system, which begins with a NUL in its place. */
static bool connect_to(const char *where)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	const size_t n = strlen(where);

	if (n < 2 || n >= sizeof sun.sun_path || (where[0] != '/' && where[0] != '@')) {
		errno = EINVAL;
		return false;
	}
	memcpy(sun.sun_path, where, n);
	if (where[0] == '@')
		sun.sun_path[0] = 0;
	return connect(fd, (struct sockaddr *)&sun,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) == 0;
}

const char *notify_open(void)
{
	const struct timeval most = { .tv_sec = 1 };
	const char *where = getenv("NOTIFY_SOCKET"), *what = NULL;

	if (!where)
		return NULL;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most) != 0 ||
	    !connect_to(where)) {
		what = strerror(errno);
		close(fd);
		fd = -1;
	}
	unsetenv("NOTIFY_SOCKET");
	return what;
}

void notify_send(const char *state)
{
	if (fd >= 0)
		send(fd, state, strlen(state), MSG_NOSIGNAL);
}

/* Of the manager's own clock, so that it knows which of its requests this answers. */
void notify_reloading(void)
{
	char s[64];
	struct text t = { s, sizeof s - 1, 0 };
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	text_str(&t, "RELOADING=1\nMONOTONIC_USEC=");
	text_num(&t, (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000, 1);
	s[t.n] = 0;
	notify_send(s);
}

int64_t notify_watchdog_ms(void)
{
	const bool other = getenv("WATCHDOG_PID") && take_number("WATCHDOG_PID") != getpid();
	const int64_t usec = take_number("WATCHDOG_USEC");

	return other || usec == 0 ? 0 : usec < 2000 ? 1 : usec / 2000;
}
