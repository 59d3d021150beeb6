/* limit.c - the least that a fan-out server can do: limit [PORT]
 *
 * Accepts, reads a request head, answers a fixed text, keeps the descriptor; reads stdin
 * in 64 KiB and sends what it read to everyone, as it is (`gen --frames` makes frames of
 * it). One poll over two descriptors, blocking sockets, no state but a list of numbers:
 * it waits for whoever is slow, so it loses nothing, and looks at nothing: no key, no
 * token, no path, no frame, no ping, no close. A server that does any of its work has to
 * do this too; what it needs beyond is its own.
 *
 * Not a server: a peer that connects and is silent stops it. */

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS 20000u
#define BACKLOG 4096
#define BLOCK 65536u

/* The Accept is that of the key in RFC 6455 1.3, which load sends. */
static const char answer[] =
    "HTTP/1.1 101 Switching Protocols\r\n"
    "Upgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static int client[CLIENTS];
static unsigned nclients;
static char block[BLOCK];

static int listen_on(unsigned port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons((unsigned short)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof a;
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
	    bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, BACKLOG) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		err(1, "listen");
	fprintf(stderr, "event=listening addr=127.0.0.1:%u\n", (unsigned)ntohs(a.sin_port));
	return fd;
}

/* Blocking, to the end of the head; false if the peer went away. */
static int read_head(int fd)
{
	size_t n = 0;

	for (;;) {
		const ssize_t got = recv(fd, block + n, BLOCK - n, 0);

		if (got <= 0)
			return 0;
		n += (size_t)got;
		if (n >= 4 && memcmp(block + n - 4, "\r\n\r\n", 4) == 0)
			return 1;
	}
}

static void accept_all(int listener)
{
	const int on = 1;
	int fd;

	while (nclients < CLIENTS && (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
		    read_head(fd) &&
		    send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL) > 0)
			client[nclients++] = fd;
		else
			close(fd);
	}
	if (errno != EAGAIN)
		err(1, "accept");
}

static int send_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		const ssize_t done = send(fd, p, n, MSG_NOSIGNAL);

		if (done < 0)
			return 0;
		p += done;
		n -= (size_t)done;
	}
	return 1;
}

/* False at the end of stdin. */
static int forward(void)
{
	const ssize_t n = read(0, block, BLOCK);

	if (n <= 0)
		return 0;
	for (unsigned i = 0; i < nclients; ) {
		if (send_all(client[i], block, (size_t)n)) {
			i++;
		} else {
			warn("a client went away");
			close(client[i]);
			client[i] = client[--nclients];
		}
	}
	return 1;
}

int main(int argc, char **argv)
{
	const int listener = listen_on(argc > 1 ? (unsigned)atoi(argv[1]) : 0);
	struct pollfd p[2] = {
		{ .fd = listener, .events = POLLIN },
		{ .fd = 0, .events = POLLIN },
	};

	while (poll(p, 2, -1) > 0) {
		if (p[0].revents)
			accept_all(listener);
		if (p[1].revents && !forward())
			p[1].fd = -1;
	}
	return 1;
}
