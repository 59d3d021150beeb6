/* notify_test.c - the variables of each protocol, and what arrives at a service manager's socket. */
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"
#include "notify.h"

static void set_number(const char *name, long v)
{
	char s[24];

	snprintf(s, sizeof s, "%ld", v);
	setenv(name, s, 1);
}

/* What the function returns in a process of its own, since all is read once; 2: fatal. */
static int in_child(int (*what)(void))
{
	int status;
	const pid_t pid = fork();

	if (pid == 0)
		_exit(what());
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- sockets that were handed over ---- */

static struct {
	const char *fds, *names;
	long pid;		/* 0: right; -1: not given */
} given;

static int listeners(void)
{
	if (given.pid >= 0)
		set_number("LISTEN_PID", given.pid ? given.pid : getpid());
	if (given.fds)
		setenv("LISTEN_FDS", given.fds, 1);
	if (given.names)
		setenv("LISTEN_FDNAMES", given.names, 1);
	const unsigned n = notify_listeners();

	if (getenv("LISTEN_PID") || getenv("LISTEN_FDS") || getenv("LISTEN_FDNAMES"))
		return 100;
	setenv("LISTEN_FDS", "7", 1);		/* it was read already */
	if (notify_listeners() != n)
		return 101;
	int tls = 0;

	for (unsigned i = 0; i < n; i++)
		tls |= notify_listener_is(i, "tls") << i;
	return tls ? 0x80 | tls : (int)n;
}

static void test_listeners(void)
{
	static const struct {
		long pid;
		const char *fds, *names;
		int want;
	} row[] = {
		{ -1, NULL, NULL, 0 }, { 0, NULL, NULL, 0 }, { -1, "1", NULL, 0 }, { 1, "1", NULL, 0 },
		{ 0, "1", NULL, 1 }, { 0, "0", NULL, 0 }, { 0, "-1", NULL, 0 }, { 0, "x", NULL, 0 },
		{ 0, "", NULL, 0 }, { 0, "4", "tls", 0x81 }, { 0, "4", "a:tls:tls2:tls", 0x8a },
		{ 0, "3", ":tl:tls", 0x84 }, { 0, "3", "stls::", 3 }, { 0, "3", "", 3 },
		{ 1, "1", "tls", 0 }, { 0, "16", NULL, 16 }, { 0, "17", NULL, 2 },
		{ 0, "999999999999", NULL, 2 },
	};

	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		given.pid = row[i].pid;
		given.fds = row[i].fds;
		given.names = row[i].names;
		if (!CHECK(in_child(listeners) == row[i].want))
			printf("  row %zu\n", i);
	}
}

/* ---- what we tell ---- */

static char dir[] = "/tmp/sluice-notify-XXXXXX";
static char path[64];

/* A manager's socket, named as NOTIFY_SOCKET names it. */
static int manager(const char *name)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	unlink(name);
	strncpy(sun.sun_path, name, sizeof sun.sun_path - 1);
	if (*name == '@')
		sun.sun_path[0] = 0;
	if (fd < 0 || bind(fd, (struct sockaddr *)&sun,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))) != 0)
		abort();
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static bool hears(int fd, const char *want)
{
	char s[128];
	const ssize_t n = recv(fd, s, sizeof s - 1, MSG_DONTWAIT);

	return n == (ssize_t)strlen(want) && memcmp(s, want, (size_t)n) == 0;
}

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void test_nobody(void)
{
	CHECK(notify_open() == NULL);
	notify_send("READY=1");
	notify_reloading();
}

static void test_bad_names(void)
{
	static const struct {
		const char *name;
		int error;
	} row[] = {
		{ "", EINVAL }, { "/", EINVAL }, { "@", EINVAL }, { "vsock:2:1", EINVAL },
		{ "relative", EINVAL }, { "/no/such/socket", ENOENT }, { "@sluice-no-such-socket", ECONNREFUSED },
		{ "/0123456789012345678901234567890123456789012345678901234567890123456789"
		  "0123456789012345678901234567890123456", EINVAL },
	};

	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		setenv("NOTIFY_SOCKET", row[i].name, 1);
		const char *what = notify_open();

		if (!CHECK(what && strcmp(what, strerror(row[i].error)) == 0))
			printf("  row %zu: %s\n", i, what ? what : "");
		CHECK(!getenv("NOTIFY_SOCKET"));
		notify_send("READY=1");		/* to nobody */
	}
}

static void test_tells(void)
{
	char abstract[64];

	snprintf(abstract, sizeof abstract, "@sluice-notify-%ld", (long)getpid());
	for (int i = 0; i < 2; i++) {
		const int fd = manager(i ? abstract : path);

		CHECK(notify_open() == NULL);
		CHECK(!getenv("NOTIFY_SOCKET"));
		notify_send("READY=1");
		CHECK(hears(fd, "READY=1"));
		notify_send("STOPPING=1");
		CHECK(hears(fd, "STOPPING=1"));
		CHECK(!hears(fd, ""));
		close(fd);
		notify_send("READY=1");		/* a manager that is gone is no harm */
	}
}

static void test_reloading(void)
{
	const char begin[] = "RELOADING=1\nMONOTONIC_USEC=";
	const int fd = manager(path);
	char s[128] = "";

	CHECK(notify_open() == NULL);
	const int64_t before = now_us();

	notify_reloading();
	CHECK(recv(fd, s, sizeof s - 1, MSG_DONTWAIT) > 0);
	CHECK(strncmp(s, begin, sizeof begin - 1) == 0);
	const int64_t said = atoll(s + sizeof begin - 1);

	CHECK(said >= before && said <= now_us());
	close(fd);
}

/* Once its queue is full, a second is lost and no more. */
static void test_manager_that_hangs(void)
{
	const int fd = manager(path);
	bool waited = false;

	CHECK(notify_open() == NULL);
	for (int sent = 0; sent < 100000 && !waited; sent++) {
		const int64_t before = now_us();

		notify_send("WATCHDOG=1");
		waited = now_us() - before >= 900000;
	}
	CHECK(waited);
	CHECK(hears(fd, "WATCHDOG=1"));
	close(fd);
}

static void test_watchdog(void)
{
	static const struct {
		const char *usec;
		long pid;		/* 0: ours; -1: none given */
		int64_t want;
	} row[] = {
		{ NULL, -1, 0 }, { "30000000", -1, 15000 }, { "30000000", 0, 15000 }, { "30000000", 1, 0 },
		{ "3000", -1, 1 }, { "1", -1, 1 }, { "0", -1, 0 }, { "-5", -1, 0 }, { "x", -1, 0 },
		{ NULL, 0, 0 }, { "4000001", 0, 2000 },
	};

	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		if (row[i].usec)
			setenv("WATCHDOG_USEC", row[i].usec, 1);
		if (row[i].pid >= 0)
			set_number("WATCHDOG_PID", row[i].pid ? row[i].pid : getpid());
		if (!CHECK(notify_watchdog_ms() == row[i].want))
			printf("  row %zu\n", i);
		CHECK(!getenv("WATCHDOG_USEC") && !getenv("WATCHDOG_PID"));
	}
}

int main(void)
{
	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof path, "%s/notify", dir);
	RUN(test_listeners)
	RUN(test_nobody)
	RUN(test_bad_names)
	RUN(test_tells)
	RUN(test_reloading)
	RUN(test_manager_that_hangs)
	RUN(test_watchdog)
	unlink(path);
	rmdir(dir);
	printf("notify: %u passed, %u failed\n", check_passed, check_failed);
	return check_failed > 0;
}
