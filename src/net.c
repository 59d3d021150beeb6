#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "file.h"
#include "log.h"

#define BACKLOG 1024	/* a burst of dashboards after a power cut; the kernel has its own bound */

static const char *made[LISTENERS_MAX + 1 + SOURCES_MAX];	/* one for --metrics */
static unsigned nmade;

struct parts {
	char host[256];		/* empty: all addresses */
	const char *text;	/* of the port */
	in_port_t port;		/* in network order */
};

static const char *split(struct parts *p, const char *addr)
{
	const char *colon = strrchr(addr, ':'), *port = colon ? colon + 1 : addr;
	const char *host = addr;
	size_t n = colon ? (size_t)(colon - addr) : 0;
	int64_t v;

	if (n > 0 && host[0] == '[') {
		if (host[n - 1] != ']')
			return "an IPv6 address stands in brackets: [V6]:PORT";
		host++;
		n -= 2;
	} else if (n > 0 && memchr(host, ':', n)) {
		return "an IPv6 address stands in brackets: [V6]:PORT";
	}
	if (n >= sizeof p->host)
		return "the host is too long";
	if (!text_read(&v, port, strlen(port)) || v > 65535)
		return "wanted PORT, :PORT, HOST:PORT, [V6]:PORT or unix:PATH, with a port up to 65535";
	memcpy(p->host, host, n);
	p->host[n] = 0;
	p->text = port;
	p->port = htons((uint16_t)v);
	return NULL;
}

static const char *unix_path(const char *addr)
{
	return strncmp(addr, "unix:", 5) == 0 ? addr + 5 : NULL;
}

const char *net_check(const char *addr)
{
	const char *path = unix_path(addr);
	struct parts p;

	if (!path)
		return split(&p, addr);
	if (!*path)
		return "wanted unix:PATH";
	return strlen(path) < sizeof ((struct sockaddr_un *)0)->sun_path ? NULL :
	    "the path of a socket has at most 107 bytes";
}

/* All of it is inherited by what is accepted. */
static void tune(int fd)
{
	const int on = 1, sndbuf = CLIENT_SNDBUF;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof sndbuf);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);	/* not for unix: */
}

static int try_bind(int type, const struct sockaddr *sa, socklen_t len, bool both)
{
	const int fd = socket(sa->sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const int on = 1, off = 0;

	if (fd < 0)
		return -1;
	if (sa->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, both ? &off : &on, sizeof on);
	if (type == SOCK_STREAM) {	/* a datagram port could be taken away so */
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		tune(fd);
	}
	if (bind(fd, sa, len) == 0 && (type == SOCK_DGRAM || listen(fd, BACKLOG) == 0))
		return fd;
	const int e = errno;

	close(fd);
	errno = e;
	return -1;
}

/* A socket that nobody listens on any more is in the way, and is removed. */
static bool stale(const struct sockaddr_un *sun)
{
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const bool dead = fd >= 0 &&
	    connect(fd, (const struct sockaddr *)sun, sizeof *sun) != 0 && errno == ECONNREFUSED;

	if (fd >= 0)
		close(fd);
	return dead;
}

static int bind_unix(const char *path, int type)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct stat st;
	int fd;

	memcpy(sun.sun_path, path, strlen(path) + 1);
	fd = try_bind(type, (struct sockaddr *)&sun, sizeof sun, false);
	if (fd < 0 && errno == EADDRINUSE) {
		const bool is_socket = lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);

		if (is_socket && stale(&sun) && unlink(path) == 0)
			fd = try_bind(type, (struct sockaddr *)&sun, sizeof sun, false);
		else
			errno = is_socket ? EADDRINUSE : ENOTSOCK;
	}
	if (fd >= 0)
		made[nmade++] = path;
	return fd;
}

/* An address in digits needs no resolver, which takes a megabyte of libc with it. */
static bool numeric(struct net_addr *a, const char *host, in_port_t port)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = port };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = port };

	if (inet_pton(AF_INET, host, &in.sin_addr) == 1) {
		memcpy(&a->ss, &in, a->len = sizeof in);
		return true;
	}
	if (inet_pton(AF_INET6, host, &in6.sin6_addr) != 1)
		return false;
	memcpy(&a->ss, &in6, a->len = sizeof in6);
	return true;
}

/* One socket for both families where there is IPv6, else one for IPv4. */
static int bind_all(in_port_t port, int type)
{
	struct net_addr a;
	int fd;

	numeric(&a, "::", port);
	fd = try_bind(type, (struct sockaddr *)&a.ss, a.len, true);
	if (fd < 0 && errno != EADDRINUSE && errno != EACCES) {
		numeric(&a, "0.0.0.0", port);
		fd = try_bind(type, (struct sockaddr *)&a.ss, a.len, false);
	}
	return fd;
}

bool net_adopt(int fd)
{
	int type = 0, listens = 0;
	socklen_t len = sizeof type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_STREAM ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 || !listens)
		return false;
	tune(fd);
	return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
}

static _Noreturn void refuse(const char *option, const char *value, const char *what)
{
	fatal(1, "--", option, " ", value, ": ", what, NULL);
}

unsigned net_resolve(struct net_addr out[ADDRS_MAX], const char *option, const char *value,
    const char *addr)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list;
	struct parts p;
	unsigned n = 0;
	int e;

	split(&p, addr);
	if (numeric(&out[0], p.host, p.port))
		return 1;
	e = getaddrinfo(p.host, p.text, &hints, &list);
	if (e != 0)
		refuse(option, value, e == EAI_SYSTEM ? strerror(errno) : gai_strerror(e));
	for (const struct addrinfo *a = list; a && n < ADDRS_MAX; a = a->ai_next, n++) {
		memcpy(&out[n].ss, a->ai_addr, a->ai_addrlen);
		out[n].len = a->ai_addrlen;
	}
	freeaddrinfo(list);
	return n;
}

static unsigned bind_host(int fd[ADDRS_MAX], const char *option, const char *value, const char *addr,
    int type)
{
	struct net_addr list[ADDRS_MAX];
	const unsigned count = net_resolve(list, option, value, addr);
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++) {
		fd[n] = try_bind(type, (const struct sockaddr *)&list[i].ss, list[i].len, false);
		if (fd[n] >= 0)
			n++;
		else if (errno != EADDRNOTAVAIL)	/* localhost without ::1 */
			break;
	}
	return n == count || (n > 0 && errno == EADDRNOTAVAIL) ? n : 0;
}

unsigned net_bind(int fd[ADDRS_MAX], const char *option, const char *value, const char *addr, int type)
{
	const char *path = unix_path(addr);
	struct parts p;
	unsigned n;

	if (!path && (split(&p, addr), *p.host)) {
		n = bind_host(fd, option, value, addr, type);
	} else {
		fd[0] = path ? bind_unix(path, type) : bind_all(p.port, type);
		n = fd[0] >= 0;
	}
	if (n == 0)
		refuse(option, value, errno == ENOTSOCK ? "is there and is no socket" : strerror(errno));
	return n;
}

void net_put(struct text *t, const uint8_t *ip, size_t n, unsigned port)
{
	text_str(t, n == 16 ? "[" : "");
	text_ip(t, ip, n);
	text_str(t, n == 16 ? "]:" : ":");
	text_num(t, port, 1);
}

void net_name(char out[NET_NAME_MAX], int fd)
{
	union {
		struct sockaddr_storage ss;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	} u = { .ss.ss_family = AF_UNSPEC };
	socklen_t len = sizeof u;
	struct text t = { out, NET_NAME_MAX, 0 };

	getsockname(fd, (struct sockaddr *)&u, &len);
	if (u.ss.ss_family == AF_INET) {
		net_put(&t, (const uint8_t *)&u.in.sin_addr, 4, ntohs(u.in.sin_port));
	} else if (u.ss.ss_family == AF_INET6) {
		net_put(&t, u.in6.sin6_addr.s6_addr, 16, ntohs(u.in6.sin6_port));
	} else {
		text_all(&t, "unix:", u.un.sun_path, NULL);
	}
	out[t.n] = 0;
}

const char *net_made(unsigned i)
{
	return i < nmade ? made[i] : NULL;
}

void net_unlink(void)
{
	for (unsigned i = 0; i < nmade; i++)
		unlink(file_path(made[i]));
}
