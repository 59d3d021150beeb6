/* sandbox_test.c - each row in a child that has entered a sandbox: what the loop does still works,
 * what it does not do ends the process, files and ports are those that were named.
 *
 * Built with a sanitizer, or where the kernel has no filter, there is nothing to see. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

#include "check.h"
#include "sandbox.h"

static char dir[] = "/tmp/sluice-sandbox-XXXXXX";
static char inside[64], outside[64], sock[64];
static unsigned port;		/* that may be connected to */

static void enter(void)
{
	struct sandbox b;

	sandbox_begin(&b, true);
	sandbox_path(&b, inside, SANDBOX_READ);
	sandbox_path(&b, sock, SANDBOX_REMOVE);
	sandbox_path(&b, "/dev/ptmx", SANDBOX_DEVICE);
	sandbox_connect(&b, port);
	sandbox_enter(&b);
}

/* How the child ends: its status, or minus the signal. */
static int in_child(void (*what)(void))
{
	int status;
	const pid_t pid = fork();

	if (pid == 0) {
		enter();
		what();
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

#define MUST(e) do { \
	if (!(e)) \
		_exit(__LINE__ % 200 + 1); \
} while (0)

/* ---- what ends it ---- */

static void execs(void)		{ execl("/bin/true", "true", (char *)NULL); }
static void forks(void)		{ fork(); }
static void kills(void)		{ kill(getppid(), 0); }
static void traces(void)	{ ptrace(PTRACE_TRACEME, 0, NULL, NULL); }
static void writes(void)	{ open(inside, O_WRONLY | O_CLOEXEC); }
static void makes(void)		{ open("/tmp/never-made", O_RDONLY | O_CREAT, 0600); }
static void links(void)		{ if (symlink(inside, "/tmp/never-made") != 0) abort(); }
static void modes(void)		{ chmod(inside, 0666); }
static void binds(void)		{ bind(0, NULL, 0); }
static void privileges(void)	{ if (setuid(0) != 0) abort(); }
static void packets(void)	{ socket(AF_PACKET, SOCK_RAW, 0); }
static void locals(void)	{ socket(AF_UNIX, SOCK_STREAM, 0); }
static void types(void)		{ ioctl(0, TIOCSTI, "x"); }
static void controls(void)	{ prctl(PR_SET_DUMPABLE, 1); }
static void unknown(void)	{ syscall(100000); }

static void code(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void to_code(void)
{
	mprotect((void *)((uintptr_t)inside & ~(uintptr_t)4095), 4096, PROT_READ | PROT_EXEC);
}

#if defined __x86_64__ && defined __LP64__
static void other_abi(void)	/* read(0, ...) in x32's numbers */
{
	syscall(0x40000000);
}

static void other_machine(void)	/* i386's 20 is getpid; here it is writev, which is allowed */
{
	long r = 20;

	__asm__ __volatile__("int $0x80" : "+a"(r) : : "memory", "r8", "r9", "r10", "r11");
}
#endif

static void forbidden(void)
{
	static const struct { const char *name; void (*what)(void); } rows[] = {
		{ "execve", execs }, { "fork", forks }, { "kill", kills }, { "ptrace", traces },
		{ "open for writing", writes }, { "open, creating", makes }, { "symlink", links },
		{ "chmod", modes }, { "bind", binds }, { "setuid", privileges },
		{ "socket of packets", packets },
		{ "socket of files", locals }, { "ioctl TIOCSTI", types }, { "prctl", controls },
		{ "unknown", unknown }, { "mmap of code", code }, { "mprotect", to_code },
#if defined __x86_64__ && defined __LP64__
		{ "x32", other_abi }, { "i386", other_machine },
#endif
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const int how = in_child(rows[i].what);

#ifdef __i386__
		if (rows[i].what == binds || rows[i].what == packets || rows[i].what == locals)
			continue;		/* glibc's socketcall cannot be looked into */
#endif
		if (!CHECK(how == -SIGSYS))
			printf("\t%s: %d\n", rows[i].name, how);
	}
}

/* ---- what the loop does ---- */

static void waits(void)
{
	struct epoll_event e = { .events = EPOLLIN };
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
	struct timespec ts;
	const int fd = 3;		/* from the parent, below */

	MUST(epoll_ctl(fd, EPOLL_CTL_ADD, 4, &e) == 0 && epoll_ctl(fd, EPOLL_CTL_MOD, 4, &e) == 0);
	MUST(epoll_wait(fd, &e, 1, 0) == 0 && epoll_ctl(fd, EPOLL_CTL_DEL, 4, NULL) == 0);
	MUST(poll(&p, 1, 0) >= 0);
	MUST(clock_gettime(CLOCK_MONOTONIC, &ts) == 0 && clock_gettime(CLOCK_REALTIME, &ts) == 0);
#ifdef SYS_clock_gettime
	MUST(syscall(SYS_clock_gettime, CLOCK_REALTIME, &ts) == 0);
#endif
}

/* 4 listens at this port. */
static void talks(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	char s[8];
	int on = 1;
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	MUST(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0);
	MUST(connect(fd, (struct sockaddr *)&in, sizeof in) == 0);
	const int peer = accept4(4, (struct sockaddr *)&ss, &len, SOCK_CLOEXEC);

	MUST(peer >= 0 && send(fd, "abc", 3, MSG_NOSIGNAL) == 3 && ioctl(fd, TIOCOUTQ, &on) == 0);
	MUST(recv(peer, s, 2, 0) == 2 && read(peer, s, 1) == 1 && write(peer, "x", 1) == 1);
	len = sizeof ss;
	MUST(getsockname(peer, (struct sockaddr *)&ss, &len) == 0);
	MUST(getpeername(peer, (struct sockaddr *)&ss, &len) == 0);
	len = sizeof on;
	MUST(getsockopt(peer, SOL_SOCKET, SO_ERROR, &on, &len) == 0);
	MUST(shutdown(peer, SHUT_WR) == 0 && close(peer) == 0);
	MUST(socket(AF_INET6, SOCK_STREAM, 0) >= 0 || errno == EAFNOSUPPORT);
}

static void reads(void)
{
	struct stat st;
	char s[8];
	const int fd = open(inside, O_RDONLY | O_CLOEXEC);

	MUST(fd >= 0 && read(fd, s, sizeof s) == 6 && fstat(fd, &st) == 0 && st.st_size == 6);
	MUST(stat(outside, &st) == 0 && stat("/nowhere", &st) != 0);
	MUST(pwrite(5, "x", 1, 0) == 1);
}

static void sets_terminal(void)
{
	struct termios t;
	const int fd = open("/dev/ptmx", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	MUST(fd >= 0 && tcgetattr(fd, &t) == 0 && tcsetattr(fd, TCSANOW, &t) == 0);
}

static void says_errors(void)
{
	for (int e = 0; e < 200; e++)
		MUST(strerror(e));
}

static void ends(void)
{
	exit(0);
}

static void allowed(void)
{
	static const struct { const char *name; void (*what)(void); } rows[] = {
		{ "waits", waits }, { "talks", talks }, { "reads", reads },
		{ "sets_terminal", sets_terminal }, { "says_errors", says_errors }, { "ends", ends },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const int how = in_child(rows[i].what);

		if (!CHECK(how == 0))
			printf("\t%s: %d\n", rows[i].name, how);
	}
}

static void fails(void)
{
	const bool here = false;

	assert(here);
}

/* The library's words come out before it is ended. */
static void assertion(void)
{
	const int was = dup(STDERR_FILENO);
	char s[512] = "";
	int said[2];

	if (was < 0 || pipe(said) != 0 || dup2(said[1], STDERR_FILENO) < 0)
		abort();
	CHECK(in_child(fails) < 0);
	dup2(was, STDERR_FILENO);
	close(was);
	close(said[1]);
	CHECK(read(said[0], s, sizeof s - 1) > 0 && strstr(s, "here"));
	close(said[0]);
}

/* ---- Landlock ---- */

static void elsewhere(void)
{
	MUST(open(outside, O_RDONLY) < 0 && errno == EACCES);
	MUST(open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES);
	MUST(open("/", O_RDONLY | O_DIRECTORY) < 0 && errno == EACCES);
	MUST(unlink(inside) < 0 && errno == EACCES);
	MUST(unlink(sock) == 0);
}

static void other_port(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port + 1),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const int fd = socket(AF_INET, SOCK_STREAM, 0);

	MUST(connect(fd, (struct sockaddr *)&in, sizeof in) < 0 && errno == EACCES);
}

static void files(void)
{
#ifdef SYS_landlock_create_ruleset
	const long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

	if (abi >= 1)
		CHECK(in_child(elsewhere) == 0);
	if (abi >= 4)
		CHECK(in_child(other_port) == 0);
#endif
}

/* ---- */

static int make(char out[64], const char *sub, const char *name)
{
	snprintf(out, 64, "%s/%s", dir, sub);
	mkdir(out, 0700);
	snprintf(out, 64, "%s/%s/%s", dir, sub, name);
	const int fd = open(out, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, "secret", 6) != 6)
		abort();
	return fd;
}

static void remove_all(void)
{
	const char *const all[] = { "a/secret", "b/other", "c/sock", "a", "b", "c", "" };
	char path[96];

	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, all[i]);
		remove(path);
	}
}

/* 3: an epoll; 4: a listener; 5: a file open for writing. */
static void prepare(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof in;
	const int epfd = epoll_create1(0), listener = socket(AF_INET, SOCK_STREAM, 0);

	if (!mkdtemp(dir) || bind(listener, (struct sockaddr *)&in, sizeof in) != 0 ||
	    listen(listener, 8) != 0 || getsockname(listener, (struct sockaddr *)&in, &len) != 0)
		abort();
	port = ntohs(in.sin_port);
	const int file = make(outside, "b", "other");

	close(make(inside, "a", "secret"));
	close(make(sock, "c", "sock"));
	if (dup2(file, 105) < 0 || dup2(listener, 104) < 0 || dup2(epfd, 103) < 0 ||
	    dup2(103, 3) < 0 || dup2(104, 4) < 0 || dup2(105, 5) < 0)
		abort();
}

int main(void)
{
	prepare();
	if (in_child(unknown) == 0) {
		printf("sandbox: no filter of system calls here, skipped\nsandbox: 1 passed, 0 failed\n");
	} else {
		RUN(forbidden) RUN(allowed) RUN(assertion) RUN(files)
		printf("sandbox: %u passed, %u failed\n", check_passed, check_failed);
	}
	remove_all();
	return check_failed > 0;
}
