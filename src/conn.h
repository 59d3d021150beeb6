/* conn.h - connection slots and their state machine: the one place that admits, sends and
 * closes.
 *
 * Owns the clients' sockets. All memory is taken in conns_init; a peer costs its slot.
 * In four files: conn.c is slots, time and the end; send.c what goes out; request.c HTTP;
 * talk.c what clients say once they are WebSocket clients. */

#ifndef CONN_H
#define CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "admit.h"
#include "body.h"
#include "form.h"
#include "http.h"
#include "hub.h"
#include "limits.h"
#include "log.h"
#include "proxy.h"
#include "transport.h"
#include "v1.h"
#include "wheel.h"
#include "why.h"
#include "ws.h"

/* What each state promises. A slot has one deadline at a time, and is either admitted, which is
 * counted in nopen, or in the pending list.
 *
 *   FREE     no socket; in the free list, or never used.
 *   HEAD     the request's head is not all here, or TLS's handshake is not finished. Pending. buf is
 *            set if some of the head is here.
 *            Deadline: the handshake timeout, anew for each request.
 *   BODY     the head of a POST is in buf, its body is not all here. Pending. The deadline is
 *            that of HEAD.
 *   AUTH     a sluice.v1 client whose token is not here yet. Pending. Deadline: that of HEAD.
 *   DRAIN    the reply is out and our side shut; what comes is thrown away until the peer
 *            ends. Pending. Deadline: LINGER_MS.
 *   OPEN     a reader in the hub; admitted. Deadline: the next ping, warning or its end.
 *   CLOSING  as OPEN or AUTH, but after the frame that has been begun only control goes out, our
 *            close frame last; joined ends with that frame. Deadline: LINGER_MS. */
enum conn_state { CONN_FREE, CONN_HEAD, CONN_BODY, CONN_AUTH, CONN_DRAIN, CONN_OPEN, CONN_CLOSING };

#define CONN_NONE UINT32_MAX

struct conn_peer {
	uint8_t  ip[16];		/* as in proxy.h */
	uint16_t port;			/* 0: unknown, of a proxy's client */
	bool     local;			/* a unix socket's: no address */
	bool     proxy;			/* its word, or that of who speaks for it, is taken */
};

/* In these three what is small and often asked for comes first, where short instructions reach it. */
struct conn {
	uint8_t  state;
	uint8_t  form;			/* enum form of what it gets; FORM_V1 from the upgrade on */
	bool     blocked;		/* the socket was full; EPOLLOUT will come */
	bool     joined;		/* a reader in the hub */
	bool     talking;		/* a message of its own has begun, see cold.message */
	uint8_t  why;			/* what ends it */
	uint8_t  in_len;		/* bytes of a frame not all here, in cold.in */
	uint8_t  key;			/* BODY, OPEN: of its token, in the keyring */
	bool     admitted : 1;
	bool     metrics : 1;		/* came in on --metrics */
	bool     kept : 1;		/* a request has been answered before */
	bool     slow : 1;		/* was overtaken, and has not caught up since */
	bool     deaf : 1;		/* the peer broke the framing: input means nothing more */
	bool     peer_closed : 1;	/* its close frame has come */
	bool     publishes : 1;		/* raw: may publish its subject */
	bool     by_session : 1;	/* end_ms is that of its session, not of its token */
	bool     held : 1;		/* has a message buffer, cold.message.buf, and not cold.small */
	bool     stashed : 1;		/* cold.small is input not looked at yet, until there is room in out */
	bool     starved : 1;		/* waits for a message buffer, unread */
	bool     late : 1;		/* pending, and has its turn after all others */
	uint16_t code;			/* close code for the log */
	struct transport io;
	uint32_t gen;			/* changes when the slot is freed */
	uint32_t next, prev;		/* pending list; next alone: free list, plus 1 */
	uint32_t buf;			/* pending: what has come of a head or an auth, or CONN_NONE */
	uint16_t head_len, head_seen;	/* bytes in buf; looked at, or taken */
	uint16_t out_len, out_off;	/* frames of its own that wait, in cold.out */
	uint32_t heard_ms, moved_ms;	/* last sign of life; last byte that its socket took */
	struct conn_peer peer;
	uint64_t left;			/* of a data frame's payload: still to come */
	int64_t  end_ms;		/* OPEN: when it must end, monotonic */
};

/* Frames of its own: one that was begun, a pong, a close, and for sluice.v1 two replies. */
#define OUT_MAX (3 * (2 + WS_CONTROL_MAX) + 2 * V1_REPLY_MAX)

/* Touched only by those who split a frame or a request, or leave one of our frames unread. */
struct conn_cold {
	struct {			/* what the client has begun to say */
		uint32_t buf, len;	/* the message buffer; bytes in that, or in small */
		uint8_t  mask[4];	/* of the frame, turned to the next byte */
		uint8_t  utf8;
		bool     fin;
	} message;
	uint32_t queued;		/* bytes that its socket held when last asked */
	struct body body;
	struct http_req req;		/* BODY: its spans point into buf */
	uint8_t in[6 + WS_CONTROL_MAX];	/* one short client frame */
	uint8_t out[OUT_MAX];
	uint8_t small[SMALL_SIZE];
};

_Static_assert(sizeof((struct conn_cold *)0)->in + INPUT_SIZE <= SMALL_SIZE, "one read can be stashed");

/* Of a sluice.v1 client. */
struct session {
	uint8_t  who[16];		/* jwt.who */
	uint32_t grants, ngrants;	/* first block, plus 1; bytes */
	int64_t  start_ms;		/* monotonic */
	int64_t  session_ms;		/* its session claim, from then on */
	bool     warned, warning;	/* is told that it expires; is still to be told */
};

/* Grants are kept in blocks, so that they cost what they are long. */
struct block {
	uint32_t next;			/* plus 1 */
	uint8_t  s[60];
};

/* Where long messages of clients are put together. */
struct message_buf {
	uint32_t owner;			/* or CONN_NONE */
	int64_t  since_ms, grown_ms;
};

/* Messages in another form than the ring's, for all that get the same. */
#define FORMED_COUNT 64u
#define FORMED_BYTES 32768u

struct formed {
	uint8_t *bytes;			/* FORMED_BYTES and one message more */
	uint64_t record[FORMED_COUNT + 1];	/* the last: what follows */
	uint32_t end[FORMED_COUNT], count;
	uint32_t reader;		/* whose they are, or HUB_NONE: of every reader there */
	uint64_t head;			/* the ring's when this was made; 0: never */
	uint8_t  form;
};

enum slow { SLOW_CLOSE, SLOW_SKIP, SLOW_WAIT };

struct conn_config {
	uint32_t max_clients, max_pending, nsources, max_message;
	size_t   buffer;		/* bytes of the ring */
	int64_t  handshake_ms, ping_ms;
	uint64_t replay;
	enum slow slow;
	bool     binary, page, print;	/* print: --publish-to - */
	const struct proxies *proxies;	/* NULL: none */
};

struct conns {
	struct conn *slot;
	struct conn_cold *cold;
	struct session *session;
	struct wheel *wheel;		/* ids below nslots are ours, and tick_id */
	struct admit *admit;
	int64_t  mono_ms, wall_ms;	/* set before each round of events */
	int64_t  held_ms;		/* --slow wait: since when a source is held up, or -1 */
	uint32_t nslots, made, free;	/* free: a slot plus 1 */
	uint32_t oldest, newest;	/* pending list */
	uint32_t npending, nopen, nlate;
	uint32_t tick_id;
	int      epfd;
	bool     ending;
	bool     spent;			/* a public-key operation was done in this turn of the loop */
	bool     freed;			/* a descriptor was closed since main looked */
	char     epoch[9];		/* of message IDs: hexadecimal */
	struct conn_config config;
	uint8_t (*buf)[HEAD_MAX];	/* max_pending of them */
	uint32_t *buf_free;
	uint32_t nbuf_free, nbuf_made;
	uint32_t nmessage_free, nstarved;
	uint8_t *message;		/* MESSAGE_BUFS of max_message */
	struct block *block;
	uint32_t block_free, nblocks, nblocks_made, nblocks_used;	/* block_free: plus 1 */
	struct message_buf message_buf[MESSAGE_BUFS];
	struct formed formed;
	struct hub hub;
};

uint32_t conns_slots(const struct conn_config *config);

void conns_init(struct conns *cs, const struct conn_config *config, struct admit *admit,
    struct wheel *wheel, uint32_t tick_id, int epfd, const uint32_t random[2]);

/* Take what waits at a listener, at most BATCH_ACCEPTS. False: out of descriptors, errno says
 * which; the caller stops listening until conns.freed. */
bool conns_accept(struct conns *cs, int listener, bool metrics, bool tls);

void conn_event(struct conns *cs, uint32_t id, uint32_t gen, uint32_t events);
void conn_deadline(struct conns *cs, uint32_t id);

/* At tick_id's deadline: those who hold up others go. */
void conns_tick(struct conns *cs);

/* Frame a message and store it. WHY_OK; WHY_MESSAGE_TOO_LARGE: it can never fit;
 * WHY_MORE: may_wait, and a slow client is to be waited for: again when conns_has_room. */
enum why conn_publish(struct conns *cs, uint32_t subject, const uint8_t *p, size_t n,
    bool may_wait);

/* At the end of each turn of the loop: one of those who want a public-key operation before they are let
 * in. True: more wait, and the next turn is not to sleep. */
bool conns_late(struct conns *cs);

/* Send to every reader what was published since the last time. */
void conns_flush(struct conns *cs);

/* All that was published is in the kernel's hands. */
bool conns_delivered(const struct conns *cs);

/* Close every client for this reason; ending: let nobody in any more. */
void conns_close_all(struct conns *cs, enum why why, bool ending);
bool conns_empty(const struct conns *cs);

/* The keyring is another: map as of keys_map. Those whose key is gone are closed. */
void conns_rekey(struct conns *cs, const uint8_t map[KEYS_MAX]);

/* The time for that is over: those who are left are cut off. */
void conns_drop_all(struct conns *cs);

/* ---- between conn.c, send.c, request.c and talk.c ---- */

static inline uint32_t conn_id(const struct conns *cs, const struct conn *c)
{
	return (uint32_t)(c - cs->slot);
}

static inline struct conn_cold *conn_cold(struct conns *cs, const struct conn *c)
{
	return &cs->cold[conn_id(cs, c)];
}

static inline struct session *conn_session(struct conns *cs, const struct conn *c)
{
	return &cs->session[conn_id(cs, c)];
}

/* It talks WebSocket: AUTH, OPEN or CLOSING. After anything that may end it, ask. */
static inline bool conn_lives(const struct conn *c)
{
	return c->state == CONN_OPEN || c->state == CONN_CLOSING || c->state == CONN_AUTH;
}

/* conn.c */
uint8_t *conn_buf(struct conns *cs, struct conn *c);		/* its pending buffer, taken if need be */
void conn_buf_release(struct conns *cs, struct conn *c);
size_t conn_message_room(struct conns *cs, struct conn *c);	/* for bytes more; 0: none, and it is starved */
void conn_message_release(struct conns *cs, struct conn *c);	/* or no longer wait for one */
void conn_message_grows(struct conns *cs, const struct conn *c);
uint8_t *conn_message(struct conns *cs, const struct conn *c);
void conn_admit(struct conns *cs, struct conn *c, const struct jwt *jwt);
void conn_expire(struct conns *cs, struct conn *c, const struct jwt *jwt);	/* its end, as of this token */
bool conn_grants_fit(const struct conns *cs, const struct conn *c, const struct jwt *jwt);	/* in place of its own */
void conn_grants_set(struct conns *cs, const struct conn *c, const struct jwt *jwt);
bool conn_granted(struct conns *cs, const struct conn *c, unsigned right, struct span subject);
void conn_wait_anew(struct conns *cs, struct conn *c);		/* for a request, behind all who wait */
void conn_deadline_set(struct conns *cs, const struct conn *c, int64_t at_ms);
void conn_forwarded(const struct conns *cs, struct conn *c, const struct http_req *r);	/* who a proxy speaks for */
void conn_log(enum log_level level, const char *event, const struct conn *c);
void conn_log_rest(struct span subject, const struct jwt *jwt);	/* and the end of the line */
void conn_log_reject(const struct conn *c, enum why why, struct span subject, const struct jwt *jwt);
void conn_free(struct conns *cs, struct conn *c);
void conn_drop(struct conns *cs, struct conn *c, enum why why);	/* without a close frame of ours */

/* The one closer: our close frame follows the frame that has been begun, the rest is not sent.
 * The slot may be free on return. */
void conn_close(struct conns *cs, struct conn *c, enum why why);
void conn_close_back(struct conns *cs, struct conn *c, uint16_t code);	/* answers the peer's */
void conn_rearm(const struct conns *cs, const struct conn *c);	/* let epoll say again that there is input */

/* False: the connection is gone, or was before. *n > 0 bytes were read into p, or 0: no more. */
bool conn_recv(struct conns *cs, struct conn *c, uint8_t *p, size_t cap, size_t *n);

/* As admit_token. With public keys it is one in a turn: first ask conn_spent, and if so put it off. */
enum why conn_token(struct conns *cs, struct jwt *jwt, struct span token, enum admit_for what,
    struct span subject);
bool conn_spent(const struct conns *cs);
void conn_put_off(struct conns *cs, struct conn *c);	/* pending: until the end of the turn */

/* send.c */
void conn_push(struct conns *cs, struct conn *c);
void conn_out(struct conns *cs, struct conn *c, const uint8_t *p, size_t n);	/* there is room */
void conn_control(struct conns *cs, struct conn *c, const uint8_t *p, size_t n);
bool conn_out_room(const struct conn *c, size_t n);		/* for n bytes and a reply */
void conn_room_for_subject(struct conns *cs);			/* in the hub's table, for one more */
void conns_hold(struct conns *cs);				/* --slow wait, while a source is held up */
uint32_t conn_subject(struct conns *cs, struct span name);	/* the hub's, made if it is new */
enum why conn_say(struct conns *cs, struct span subject, const uint8_t *p, size_t n);	/* a client publishes */

/* request.c */
void conn_input_request(struct conns *cs, struct conn *c, bool ended);	/* HEAD, BODY */
void conn_refuse(struct conns *cs, struct conn *c, enum why why, const struct http_req *r,
    const struct jwt *jwt);
bool conn_since(const struct conns *cs, struct hub_replay *replay, struct span since);

/* talk.c */
bool conn_frames(struct conns *cs, struct conn *c, uint8_t *p, size_t n);
void conn_input_frames(struct conns *cs, struct conn *c, bool ended);	/* AUTH, OPEN, CLOSING */
void conn_unstash(struct conns *cs, struct conn *c);

/* sluice.v1: let it in with this token, or renew; then "ready". Else why not, and nothing has changed. */
enum why conn_auth(struct conns *cs, struct conn *c, struct jwt *jwt, struct span token, struct span id);
int64_t conn_expires_s(const struct conns *cs, const struct conn *c);

#endif
