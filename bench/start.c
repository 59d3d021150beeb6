/* start.c - how long a server takes to listen: start CORE PORT COMMAND...
 *
 * Prints the microseconds from before fork to the first connect to 127.0.0.1:PORT that
 * succeeds, and ends the server. The server's stdin is an open pipe that
 * brings nothing, its stderr goes nowhere. PORT must not be an ephemeral one: a socket
 * can connect to itself there. */

#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GIVE_UP_US 10000000
#define DEAF_MS 3000

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static pid_t spawn(int core, char **argv)
{
	int in[2];
	pid_t pid;

	if (pipe(in) < 0 || (pid = fork()) < 0)
		err(1, "start");
	if (pid == 0) {
		const int null = open("/dev/null", O_WRONLY);
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET((unsigned)core, &set);
		if (sched_setaffinity(0, sizeof set, &set) < 0)
			warn("sched_setaffinity");
		dup2(in[0], 0);
		dup2(null, 1);
		dup2(null, 2);
		close(in[0]);
		close(in[1]);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(in[0]);
	return pid;
}

static int try_connect(unsigned port)
{
	const struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons((unsigned short)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ok;

	if (fd < 0)
		err(1, "socket");
	ok = connect(fd, (const struct sockaddr *)&a, sizeof a) == 0;
	close(fd);
	return ok;
}

/* By SIGTERM; some server may be deaf to it as yet. */
static void end(pid_t pid)
{
	kill(pid, SIGTERM);
	for (int i = 0; i < DEAF_MS; i++) {
		if (waitpid(pid, NULL, WNOHANG) != 0)
			return;
		usleep(1000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	unsigned port;
	int64_t begin, us;
	pid_t pid;

	if (argc < 4)
		errx(2, "usage: start CORE PORT COMMAND...");
	port = (unsigned)atoi(argv[2]);
	if (try_connect(port))
		errx(1, "port %u is taken", port);
	begin = now_us();
	pid = spawn(atoi(argv[1]), argv + 3);
	do
		us = now_us() - begin;
	while (!try_connect(port) && us < GIVE_UP_US && waitpid(pid, NULL, WNOHANG) == 0);
	us = now_us() - begin;
	if (kill(pid, 0) < 0)
		errx(1, "%s ended before it listened", argv[3]);
	end(pid);
	if (us >= GIVE_UP_US)
		errx(1, "%s did not listen", argv[3]);
	printf("%lld\n", (long long)us);
	return 0;
}
