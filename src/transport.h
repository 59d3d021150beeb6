/* transport.h - a client's socket, plain or under TLS, in one shape.
 *
 * The socket is nonblocking and watched for changes; what is promised stands in tls.h. SLUICE_TLS is 0 in
 * a sluice that was built without BearSSL: there every socket is plain. */

#ifndef TRANSPORT_H
#define TRANSPORT_H

#include <sys/socket.h>
#include <unistd.h>

#include "tls.h"

struct transport {
	int fd;
	uint16_t tls;			/* TLS_NONE: plain */
};

static inline bool transport_tls(const struct transport *t)
{
	return SLUICE_TLS && t->tls != TLS_NONE;
}

/* For a new connection. False: of what it needs beside the descriptor all is taken, by those that are
 * transport_scarce. */
static inline bool transport_open(struct transport *t, int fd, bool tls)
{
	*t = (struct transport){ fd, SLUICE_TLS && tls ? tls_open() : TLS_NONE };
	return !SLUICE_TLS || !tls || t->tls != TLS_NONE;
}

static inline bool transport_scarce(const struct transport *t)
{
	return transport_tls(t);
}

static inline void transport_close(const struct transport *t)
{
	if (transport_tls(t))
		tls_close(t->tls, t->fd);
	close(t->fd);
}

static inline ssize_t transport_recv(const struct transport *t, void *p, size_t n)
{
	return transport_tls(t) ? tls_recv(t->tls, t->fd, p, n) : recv(t->fd, p, n, 0);
}

/* What was wrong when transport_recv said EPROTO, and a number for that; NULL: not of its kind. */
static inline const char *transport_error(const struct transport *t, int *number)
{
	return transport_tls(t) ? tls_error(t->tls, number) : NULL;
}

static inline ssize_t transport_send(const struct transport *t, const void *p, size_t n, bool more)
{
	return transport_tls(t) ? tls_send(t->tls, t->fd, p, n, more) :
	    send(t->fd, p, n, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
}

static inline bool transport_flush(const struct transport *t)
{
	return !transport_tls(t) || tls_flush(t->tls, t->fd);
}

static inline bool transport_full(const struct transport *t)
{
	return transport_tls(t) && tls_full(t->tls);
}

static inline bool transport_shaking(const struct transport *t)
{
	return transport_tls(t) && tls_shaking(t->tls);
}

static inline bool transport_more(const struct transport *t)
{
	return transport_tls(t) && tls_more(t->tls);
}

static inline bool transport_again(const struct transport *t)
{
	return transport_tls(t) && tls_again(t->tls);
}

static inline bool transport_worked(void)
{
	return SLUICE_TLS && tls_worked();
}

static inline void transport_shut(const struct transport *t)
{
	if (transport_tls(t))
		tls_shut(t->tls, t->fd);
	else
		shutdown(t->fd, SHUT_WR);
}

#endif
