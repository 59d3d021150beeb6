/* conn.h - connection slots and their state machine: the one place that admits, sends and
 * closes.
 *
 * Owns the clients' sockets. All memory is taken in conns_init; a peer costs its slot. */

#ifndef CONN_H
#define CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "admit.h"
#include "hub.h"
#include "limits.h"
#include "wheel.h"
#include "why.h"

/* What each state promises. A slot has one deadline at a time.
 *
 *   FREE     no socket; in the free list, or never used.
 *   HEAD     the request's head is not all here. In the pending list. buf is set only if some
 *            of it is. Deadline: the handshake timeout.
 *   DRAIN    the reply is out and our side shut; what comes is thrown away until the peer
 *            ends. In the pending list. Deadline: LINGER_MS.
 *   OPEN     a reader in the hub; counted in nopen. Deadline: the next ping or its end.
 *   CLOSING  as OPEN, but after the frame that has been begun only control goes out, our close
 *            frame last; joined ends with that frame. Deadline: LINGER_MS. */
enum conn_state { CONN_FREE, CONN_HEAD, CONN_DRAIN, CONN_OPEN, CONN_CLOSING };

#define CONN_NONE UINT32_MAX

struct conn_peer {
	uint8_t  ip[16];
	uint16_t port, family;
};

struct conn {
	int      fd;
	uint32_t gen;			/* changes when the slot is freed */
	uint32_t next, prev;		/* pending list; next alone: free list, plus 1 */
	uint32_t buf;			/* HEAD: of the head so far, or CONN_NONE */
	uint16_t head_len, head_seen;
	uint8_t  state, why, end_why;	/* why: what ends it */
	uint8_t  in_len;		/* bytes of a frame not all here, in cold.in */
	uint16_t out_len, out_off;	/* control frames that wait, in cold.out */
	uint16_t code;			/* close code for the log */
	bool     metrics : 1;		/* came in on --metrics */
	bool     blocked : 1;		/* the socket was full; EPOLLOUT will come */
	bool     joined : 1;		/* a reader in the hub */
	bool     slow : 1;		/* was overtaken, and has not caught up since */
	bool     deaf : 1;			/* the peer broke the framing: input means nothing more */
	bool     peer_closed : 1;	/* its close frame has come */
	uint32_t heard_ms, moved_ms;	/* last sign of life; last byte that its socket took */
	uint32_t queued;		/* bytes that its socket held when last asked */
	uint64_t skip;			/* CLOSING: bytes of a payload still to throw away */
	int64_t  end_ms;		/* OPEN: when it must end, monotonic */
	struct conn_peer peer;
};

/* Touched only by those who split a frame or leave a control frame unread. */
struct conn_cold {
	uint8_t in[6 + 125];		/* one client control frame */
	uint8_t out[3 * (2 + 125)];	/* one that was begun, the latest pong, a close */
};

enum slow { SLOW_CLOSE, SLOW_SKIP, SLOW_WAIT };

struct conn_config {
	uint32_t max_clients, max_pending, nsources;
	size_t   buffer;		/* bytes of the ring */
	int64_t  handshake_ms, ping_ms;
	uint64_t replay;
	enum slow slow;
	bool     binary, page;
};

struct conns {
	struct conn_config config;
	struct admit *admit;
	struct hub hub;
	struct wheel *wheel;		/* ids below nslots are ours */
	struct conn *slot;
	struct conn_cold *cold;
	uint8_t (*buf)[HEAD_MAX];	/* max_pending of them */
	uint32_t *buf_free;
	uint32_t nbuf_free, nbuf_made;
	uint32_t nslots, made, free;	/* free: a slot plus 1 */
	uint32_t oldest, newest;	/* pending list */
	uint32_t npending, nopen;
	int      epfd;
	int64_t  mono_ms, wall_ms;	/* set before each round of events */
	int64_t  held_ms;		/* --slow wait: since when a source is held up, or -1 */
	bool     ending;
	bool     freed;			/* a descriptor was closed since main looked */
	char     epoch[9];		/* of message IDs: hexadecimal */
};

uint32_t conns_slots(const struct conn_config *config);

void conns_init(struct conns *cs, const struct conn_config *config, struct admit *admit,
    struct wheel *wheel, int epfd, const uint32_t random[2]);

/* Take what waits at a listener, at most BATCH_ACCEPTS. False: out of descriptors, errno says
 * which; the caller stops listening until conns.freed. */
bool conns_accept(struct conns *cs, int listener, bool metrics);

void conn_event(struct conns *cs, uint32_t id, uint32_t gen, uint32_t events);
void conn_deadline(struct conns *cs, uint32_t id);

/* Frame a message and store it. WHY_OK; WHY_MESSAGE_TOO_LARGE: it can never fit;
 * WHY_MORE: may_wait, and a slow client is to be waited for: again when conns_has_room. */
enum why conn_publish(struct conns *cs, uint32_t subject, const uint8_t *p, size_t n,
    bool may_wait);

/* Send to every reader what was published since the last time. */
void conns_flush(struct conns *cs);

/* --slow wait, while a source is held up, now and then: close those that make no progress. */
void conns_hold(struct conns *cs);

/* All that was published is in the kernel's hands. */
bool conns_delivered(const struct conns *cs);

/* Close every client for this reason; ending: let nobody in any more. */
void conns_close_all(struct conns *cs, enum why why, bool ending);
bool conns_empty(const struct conns *cs);

/* The time for that is over: those who are left are cut off. */
void conns_drop_all(struct conns *cs);

#endif
