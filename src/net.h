/* net.h - addresses as users write them, and sockets made from them.
 *
 * Resolves names, which may wait: before the loop only. */

#ifndef NET_H
#define NET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "limits.h"
#include "text.h"

struct net_addr {
	struct sockaddr_storage ss;
	socklen_t len;
};

#define NET_NAME_MAX 128u	/* "unix:" and a path of 107 bytes */

/* PORT, :PORT, HOST:PORT, [V6]:PORT or unix:PATH. The text of what is wrong, or NULL. */
const char *net_check(const char *addr);

/* Listen (SOCK_STREAM) or bind (SOCK_DGRAM) there; fatal if that cannot be, with a word of the option
 * and its value. Returns the number of sockets in fd, more than one where a name has several
 * addresses. Nonblocking. */
unsigned net_bind(int fd[ADDRS_MAX], const char *option, const char *value, const char *addr,
    int type);

/* Make a socket that was handed over like those of net_bind. False: it is no stream socket that
 * listens. */
bool net_adopt(int fd);

/* The addresses of HOST:PORT to connect to; fatal if there are none. */
unsigned net_resolve(struct net_addr out[ADDRS_MAX], const char *option, const char *value,
    const char *addr);

/* 192.0.2.7:8080 or [2001:db8::1]:8080; ip has n = 4 or 16 bytes. */
void net_put(struct text *t, const uint8_t *ip, size_t n, unsigned port);

/* Where a bound socket is: 127.0.0.1:8080, [::]:8080 or unix:PATH. */
void net_name(char out[NET_NAME_MAX], int fd);

/* The sockets in the file system that net_bind has made, by number; NULL: no more. */
const char *net_made(unsigned i);

/* Remove them. */
void net_unlink(void);

#endif
