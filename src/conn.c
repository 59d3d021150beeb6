#include "conn.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "net.h"
#include "page.h"
#include "subject.h"
#include "utf8.h"
#include "ws.h"

#define READS_MAX 2	/* of one client before others have their turn */

/* Changes only, so that a client costs one epoll_ctl. A short read then means that there is no
 * more, but for the end, which EPOLLRDHUP tells. */
#define CONN_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
#define CONN_ENDED (EPOLLRDHUP | EPOLLHUP | EPOLLERR)

/* The page runs its own script, asks nobody else for anything and gives no address away. */
#define PAGE_FIELDS \
	"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; " \
	"script-src 'unsafe-inline'; img-src data:; connect-src 'self'; " \
	"frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n" \
	"X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"

/* ---- slots ---- */

uint32_t conns_slots(const struct conn_config *config)
{
	return config->max_clients + config->max_pending;
}

static void epoch_set(char epoch[9], uint32_t v)
{
	for (int i = 0; i < 8; i++, v >>= 4)
		epoch[i] = "0123456789abcdef"[v & 15];
}

void conns_init(struct conns *cs, const struct conn_config *config, struct admit *admit,
    struct wheel *wheel, int epfd, const uint32_t random[2])
{
	const uint32_t n = conns_slots(config);

	*cs = (struct conns){ .config = *config, .admit = admit, .wheel = wheel, .nslots = n,
		.oldest = CONN_NONE, .newest = CONN_NONE, .epfd = epfd, .held_ms = -1 };
	cs->slot = memory_take(n, sizeof *cs->slot);
	cs->cold = memory_take(n, sizeof *cs->cold);
	cs->buf = memory_take(config->max_pending, sizeof *cs->buf);
	cs->buf_free = memory_take(config->max_pending, sizeof *cs->buf_free);
	hub_init(&cs->hub, memory_take(1, hub_size(n, config->nsources)), n, config->nsources,
	    random[0], memory_take(1, config->buffer), config->buffer);
	epoch_set(cs->epoch, random[1]);
}

static uint32_t id_of(const struct conns *cs, const struct conn *c)
{
	return (uint32_t)(c - cs->slot);
}

static void buf_release(struct conns *cs, struct conn *c)
{
	if (c->buf != CONN_NONE)
		cs->buf_free[cs->nbuf_free++] = c->buf;
	c->buf = CONN_NONE;
}

static void pending_add(struct conns *cs, struct conn *c)
{
	const uint32_t id = id_of(cs, c);

	c->next = CONN_NONE;
	c->prev = cs->newest;
	if (cs->newest != CONN_NONE)
		cs->slot[cs->newest].next = id;
	else
		cs->oldest = id;
	cs->newest = id;
	cs->npending++;
}

static void pending_remove(struct conns *cs, struct conn *c)
{
	if (c->prev != CONN_NONE)
		cs->slot[c->prev].next = c->next;
	else
		cs->oldest = c->next;
	if (c->next != CONN_NONE)
		cs->slot[c->next].prev = c->prev;
	else
		cs->newest = c->prev;
	cs->npending--;
	buf_release(cs, c);
}

static void deadline(struct conns *cs, const struct conn *c, int64_t at_ms)
{
	wheel_set(cs->wheel, id_of(cs, c), at_ms);
}

static void log_peer(const struct conn_peer *p)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	char s[NET_NAME_MAX];
	struct text t = { s, sizeof s, 0 };

	if (p->family == AF_INET)
		net_put(&t, p->ip, 4, p->port);
	else if (p->family == AF_INET6 && memcmp(p->ip, mapped, sizeof mapped) == 0)
		net_put(&t, p->ip + 12, 4, p->port);
	else if (p->family == AF_INET6)
		net_put(&t, p->ip, 16, p->port);
	else
		text_str(&t, "unix");
	log_str("client", s, t.n);
}

static void log_conn(enum log_level level, const char *event, const struct conn *c)
{
	log_begin(level, event);
	log_peer(&c->peer);
}

static void conn_free(struct conns *cs, struct conn *c)
{
	if (c->state == CONN_OPEN || c->state == CONN_CLOSING) {
		cs->nopen--;
		metrics.clients = cs->nopen;
		log_conn(LOG_INFO, "close", c);
		log_num("code", c->code);
		log_text("reason", why_text(c->why));
		log_end();
	} else {
		pending_remove(cs, c);
	}
	if (c->joined)
		hub_leave(&cs->hub, id_of(cs, c));
	wheel_clear(cs->wheel, id_of(cs, c));
	close(c->fd);
	c->state = CONN_FREE;
	c->gen++;
	c->next = cs->free;
	cs->free = id_of(cs, c) + 1;
	cs->freed = true;
}

/* ---- the end ---- */

/* Gone without a close frame of ours. */
static void conn_drop(struct conns *cs, struct conn *c, enum why why)
{
	if (c->state != CONN_CLOSING) {
		c->why = (uint8_t)why;
		c->code = (uint16_t)why_close(why);
	}
	conn_free(cs, c);
}

static void conn_push(struct conns *cs, struct conn *c);

/* Send a control frame, or keep it until there is room. One that waits and has not been begun
 * can only be a pong or a ping, and gives way: RFC 6455 5.5.3 asks for the latest pong. */
static void conn_control(struct conns *cs, struct conn *c, const uint8_t *p, size_t n)
{
	struct conn_cold *cold = &cs->cold[id_of(cs, c)];

	if (c->state == CONN_OPEN && c->out_len > 0)
		c->out_len = (uint16_t)(c->out_off ? 2 + cold->out[1] : 0);
	assert(c->out_len + n <= sizeof cold->out);
	memcpy(cold->out + c->out_len, p, n);
	c->out_len = (uint16_t)(c->out_len + n);
	conn_push(cs, c);
}

/* The one closer of a client that was let in: our close frame follows the frame that has been
 * begun, the rest is not sent. The slot may be free on return. */
static void conn_close(struct conns *cs, struct conn *c, enum why why)
{
	uint8_t frame[2 + WS_CONTROL_MAX];

	if (c->state != CONN_OPEN)
		return;
	c->state = CONN_CLOSING;
	c->why = (uint8_t)why;
	c->code = (uint16_t)why_close(why);
	deadline(cs, c, cs->mono_ms + (cs->ending ? SHUTDOWN_MS : LINGER_MS));
	conn_control(cs, c, frame, ws_close_write(frame, why));
}

/* Answer the peer's close frame (RFC 6455 5.5.1) with its own code and go. */
static void conn_close_back(struct conns *cs, struct conn *c, uint16_t code)
{
	uint8_t frame[4] = { 0x80 | WS_CLOSE, 2, (uint8_t)(code >> 8), (uint8_t)code };

	if (code == 1005)
		frame[1] = 0;
	c->peer_closed = true;
	if (c->state == CONN_OPEN) {
		c->state = CONN_CLOSING;
		c->why = WHY_PEER_CLOSED;
		c->code = code;
		deadline(cs, c, cs->mono_ms + LINGER_MS);
		conn_control(cs, c, frame, 2u + frame[1]);
	} else if (c->out_len == 0) {
		conn_free(cs, c);
	}
}

/* ---- sending ---- */

static void conn_ping_at(struct conns *cs, const struct conn *c)
{
	const int64_t at_ms = cs->mono_ms + cs->config.ping_ms;

	deadline(cs, c, at_ms < c->end_ms ? at_ms : c->end_ms);
}

/* False: the connection is gone. *sent < n: the socket is full. */
static bool conn_send(struct conns *cs, struct conn *c, const uint8_t *p, size_t n, size_t *sent)
{
	const ssize_t r = send(c->fd, p, n, MSG_NOSIGNAL);

	*sent = r < 0 ? 0 : (size_t)r;
	metrics.sent_bytes += *sent;
	c->blocked = *sent < n;
	if (*sent > 0)
		c->moved_ms = (uint32_t)cs->mono_ms;
	if (r >= 0 || errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
		return true;
	conn_drop(cs, c, WHY_PEER_GONE);
	return false;
}

static bool push_control(struct conns *cs, struct conn *c)
{
	struct conn_cold *cold = &cs->cold[id_of(cs, c)];
	size_t sent;

	if (!conn_send(cs, c, cold->out + c->out_off, (size_t)(c->out_len - c->out_off), &sent))
		return false;
	c->out_off = (uint16_t)(c->out_off + sent);
	while (c->out_len > 0 && c->out_off >= 2 + cold->out[1]) {	/* a frame is through */
		const uint16_t first = (uint16_t)(2 + cold->out[1]);

		c->out_len = (uint16_t)(c->out_len - first);
		c->out_off = (uint16_t)(c->out_off - first);
		memmove(cold->out, cold->out + first, c->out_len);
	}
	if (c->out_len > 0)
		return true;
	if (c->state == CONN_CLOSING) {
		if (c->peer_closed) {
			conn_free(cs, c);
			return false;
		}
		if (c->deaf)
			shutdown(c->fd, SHUT_WR);	/* or the peer waits for us to go */
	}
	return true;
}

static bool push_run(struct conns *cs, struct conn *c, const struct ring_run *run)
{
	const uint32_t id = id_of(cs, c);
	size_t sent;

	if (!conn_send(cs, c, run->p, run->len, &sent))
		return false;
	if (sent)
		metrics.deliveries += hub_sent(&cs->hub, id, run, sent);
	if (c->blocked)
		hub_stick(&cs->hub, id);
	return true;
}

/* Send what is due until there is no more or the socket is full. Control frames go between
 * frames, before any that has not been begun. The slot may be free on return. */
static void conn_push(struct conns *cs, struct conn *c)
{
	const uint32_t id = id_of(cs, c);
	struct ring_run run;

	while (!c->blocked) {
		const bool only = c->out_len > 0 || c->state == CONN_CLOSING;

		if (c->joined && only && hub_begun(&cs->hub, id, &run)) {
			if (!push_run(cs, c, &run))
				return;
			continue;
		}
		if (c->joined && c->state == CONN_CLOSING) {
			hub_leave(&cs->hub, id);
			c->joined = false;
		}
		if (c->out_len > 0) {
			if (!push_control(cs, c))
				return;
		} else if (c->joined && hub_pending(&cs->hub, id, &run)) {
			if (!push_run(cs, c, &run))
				return;
		} else {
			c->slow = false;
			return;
		}
	}
	if (c->joined)
		hub_stick(&cs->hub, id);
}

void conns_flush(struct conns *cs)
{
	struct hub *h = &cs->hub;

	for (uint32_t s = h->dirty; s != HUB_NONE; s = h->subject[s].dirty_next) {
		for (uint32_t id = h->subject[s].readers, next; id != HUB_NONE; id = next) {
			next = h->reader[id].next;
			hub_wake(h, id);
			conn_push(cs, &cs->slot[id]);
		}
	}
	hub_flushed(h);
}

/* ---- clients that fall behind ---- */

static void send_buffer(const struct conn *c, int n)
{
	setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &n, sizeof n);
}

/* The record that a reader is stuck at is about to go. What is left of a frame that it has
 * begun is handed to the kernel, for which the send buffer is raised for the moment as far as
 * net.core.wmem_max allows, so that what the peer reads stays whole, and so does the close
 * frame behind it. */
static void conn_overtaken(struct conns *cs, struct conn *c)
{
	const uint32_t id = id_of(cs, c);
	const bool skip = cs->config.slow == SLOW_SKIP && c->state == CONN_OPEN;
	struct ring_run run;

	metrics.slow += c->state == CONN_OPEN;
	if (c->state == CONN_OPEN && !c->slow) {
		log_conn(LOG_WARN, "slow", c);
		log_text("action", skip ? "skip" : "close");
		log_end();
	}
	c->slow = true;
	const bool begun = hub_begun(&cs->hub, id, &run);

	send_buffer(c, INT32_MAX / 2);
	c->blocked = false;
	if (begun && !push_run(cs, c, &run))
		return;
	if (begun && c->blocked) {		/* more than wmem_max is left: it is cut off */
		c->why = WHY_TOO_SLOW;
		c->code = (uint16_t)why_close(WHY_PEER_GONE);
		conn_free(cs, c);
	} else if (skip) {
		send_buffer(c, CLIENT_SNDBUF);
		hub_skip(&cs->hub, id);
		c->blocked = true;
		hub_stick(&cs->hub, id);
	} else if (c->state == CONN_OPEN) {
		conn_close(cs, c, WHY_TOO_SLOW);
	} else {
		conn_push(cs, c);
	}
}

enum why conn_publish(struct conns *cs, uint32_t subject, const uint8_t *p, size_t n,
    bool may_wait)
{
	const bool replace = !cs->config.binary && !utf8_valid(p, n);
	const size_t len = replace ? utf8_replaced_len(p, n) : n;
	const size_t head = ws_head_len(len);
	uint32_t id;

	if (head + len > cs->hub.ring.size)
		return WHY_MESSAGE_TOO_LARGE;
	const uint32_t total = (uint32_t)(head + len);

	if (hub_must_flush(&cs->hub, total))
		conns_flush(cs);
	while ((id = hub_room(&cs->hub, total)) != HUB_NONE) {
		if (may_wait && cs->config.slow == SLOW_WAIT) {
			conns_flush(cs);
			if (cs->held_ms < 0)
				cs->held_ms = cs->mono_ms;
			return WHY_MORE;
		}
		conn_overtaken(cs, &cs->slot[id]);
	}
	uint8_t *out = hub_push(&cs->hub, subject, total);

	ws_head_write(out, cs->config.binary ? WS_BINARY : WS_TEXT, len);
	if (replace)
		utf8_replace(out + head, p, n);
	else if (n > 0)
		memcpy(out + head, p, n);
	metrics.messages++;
	return WHY_OK;
}

/* What have the peers of those who are stuck taken? EPOLLOUT comes only when a third of a send
 * buffer is free, so the bytes in it are asked for. */
static void look_at_stuck(struct conns *cs)
{
	const struct hub *h = &cs->hub;

	for (uint64_t i = h->ring.tail; i < h->ring.head; i++) {
		uint32_t id = ring_at(&h->ring, i)->first_stuck;

		for (; id != HUB_NONE; id = h->reader[id].stuck_next) {
			struct conn *c = &cs->slot[id];
			int queued = 0;

			ioctl(c->fd, SIOCOUTQ, &queued);
			if ((uint32_t)queued < c->queued)
				c->moved_ms = (uint32_t)cs->mono_ms;
			c->queued = (uint32_t)queued;
		}
	}
}

void conns_hold(struct conns *cs)
{
	uint32_t id, next;

	look_at_stuck(cs);
	if (cs->mono_ms - cs->held_ms < HOLD_MS)
		return;
	for (id = hub_first_stuck(&cs->hub); id != HUB_NONE && !hub_has_room(&cs->hub);) {
		struct conn *c = &cs->slot[id];

		next = cs->hub.reader[id].stuck_next;
		if ((uint32_t)cs->mono_ms - c->moved_ms >= HOLD_MS)
			conn_overtaken(cs, c);
		else if (next == HUB_NONE)
			return;			/* this record is still waited for */
		id = next != HUB_NONE ? next : hub_first_stuck(&cs->hub);
	}
}

bool conns_delivered(const struct conns *cs)
{
	return hub_first_stuck(&cs->hub) == HUB_NONE;
}

/* ---- requests ---- */

/* The reply is out; wait for the peer to read it and go, lest a reset overtake it. */
static void conn_drain(struct conns *cs, struct conn *c)
{
	c->state = CONN_DRAIN;
	buf_release(cs, c);
	shutdown(c->fd, SHUT_WR);
	deadline(cs, c, cs->mono_ms + LINGER_MS);
}

/* A reply always fits the empty buffer of a fresh socket; if not, that peer has lost it. */
static void reply(struct conns *cs, struct conn *c, const char *head, size_t n, const void *body,
    size_t len)
{
	if (send(c->fd, head, n, MSG_NOSIGNAL | (len ? MSG_MORE : 0)) == (ssize_t)n && len > 0)
		send(c->fd, body, len, MSG_NOSIGNAL);
	conn_drain(cs, c);
}

/* The end of a line: what was asked for, and by whom, as far as that is known. */
static void log_asked(const struct http_req *r, const struct jwt *jwt)
{
	if (r && r->path.p)
		log_str("subject", r->path.p, r->path.n);
	if (jwt && jwt->sub.n)
		log_str("sub", jwt->sub.s, jwt->sub.n);
	if (jwt && jwt->kid.n)
		log_str("kid", jwt->kid.s, jwt->kid.n);
	log_end();
}

static void refuse(struct conns *cs, struct conn *c, enum why why, const struct http_req *r,
    const struct jwt *jwt)
{
	char out[HTTP_REPLY_MAX];

	metrics.rejects[why]++;
	log_conn(LOG_INFO, "reject", c);
	log_text("reason", why_text(why));
	log_asked(r, jwt);
	const size_t n = http_refusal(out, why, r && r->token.p, (struct span){ NULL, 0 });
	const size_t body = strlen(why_text(why)) + 1;		/* RFC 9110 9.3.2: not for a HEAD */

	reply(cs, c, out, r && r->method == HTTP_HEAD ? n - body : n, NULL, 0);
}

static void request_metrics(struct conns *cs, struct conn *c, const struct http_req *r)
{
	char head[HTTP_REPLY_MAX], body[METRICS_MAX];
	size_t n;

	if (r->method > HTTP_HEAD) {
		refuse(cs, c, WHY_METHOD_NOT_ALLOWED, r, NULL);
		return;
	}
	if (r->path.n == 8 && memcmp(r->path.p, "/metrics", 8) == 0) {
		metrics.used_tokens = cs->admit->used.n;
		n = metrics_write(body);
	} else if (r->path.n == 8 && memcmp(r->path.p, "/healthz", 8) == 0) {
		memcpy(body, "ok\n", n = 3);
	} else {
		refuse(cs, c, WHY_NOT_FOUND, r, NULL);
		return;
	}
	reply(cs, c, head, http_ok(head, n == 3 ? "text/plain" : "text/plain; version=0.0.4", n, ""),
	    body, r->method == HTTP_HEAD ? 0 : n);
}

static void request_page(struct conns *cs, struct conn *c, const struct http_req *r)
{
	char head[HTTP_REPLY_MAX];

	reply(cs, c, head, http_ok(head, "text/html; charset=utf-8", page_len, PAGE_FIELDS), page,
	    r->method == HTTP_HEAD ? 0 : page_len);
}

/* since=EPOCH-N (contract 4). *number is UINT64_MAX where the epoch is another. False: malformed. */
static bool since_read(const struct conns *cs, struct span since, uint64_t *number)
{
	const char *dash = memrchr(since.p, '-', since.n), *end = since.p + since.n;
	int64_t n;

	if (!dash || dash == since.p || !text_read(&n, dash + 1, (size_t)(end - dash) - 1))
		return false;
	for (const char *p = since.p; p < dash; p++)
		if (!((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f')))
			return false;
	const bool ours = (size_t)(dash - since.p) == strlen(cs->epoch) &&
	    memcmp(since.p, cs->epoch, strlen(cs->epoch)) == 0;

	*number = ours ? (uint64_t)n : UINT64_MAX;
	return true;
}

/* How many messages a new reader gets first; the hub bounds it by what it has. */
static uint64_t replay_count(const struct conns *cs, const struct http_req *r,
    const struct hub_subject *s)
{
	uint64_t number;

	if (r->since.p && since_read(cs, r->since, &number))
		return number <= s->number ? s->number - number : UINT64_MAX;
	return r->replay >= 0 ? (uint64_t)r->replay : cs->config.replay;
}

/* From HEAD to OPEN; the 101 is out. */
static void conn_open(struct conns *cs, struct conn *c, const struct http_req *r,
    const struct jwt *jwt)
{
	const uint32_t id = id_of(cs, c), subject = hub_subject(&cs->hub, r->path.p, r->path.n);
	enum why end_why;
	const int64_t life_ms = admit_life_ms(cs->admit, jwt, cs->wall_ms, &end_why);

	pending_remove(cs, c);
	c->state = CONN_OPEN;
	c->end_why = (uint8_t)end_why;
	c->end_ms = life_ms > INT64_MAX / 2 ? INT64_MAX : cs->mono_ms + life_ms;
	c->heard_ms = c->moved_ms = (uint32_t)cs->mono_ms;
	metrics.clients = ++cs->nopen;
	metrics.accepts++;
	hub_join(&cs->hub, id, subject);
	c->joined = true;
	hub_replay(&cs->hub, id, replay_count(cs, r, &cs->hub.subject[subject]));
	conn_ping_at(cs, c);

	log_conn(LOG_INFO, "accept", c);
	log_asked(r, jwt);
}

/* All that a request must be before its token is looked at. */
static enum why request_check(const struct conns *cs, const struct http_req *r)
{
	uint64_t number;
	enum why why = WHY_OK;

	if (!subject_valid((const uint8_t *)r->path.p, r->path.n) ||
	    (r->since.p && !since_read(cs, r->since, &number)))
		why = WHY_BAD_REQUEST;
	if (why == WHY_OK)
		why = http_upgrade_check(r);
	if (why == WHY_OK)
		why = admit_origin(cs->admit, r->origin);
	if (why == WHY_OK && cs->nopen >= cs->config.max_clients)
		why = WHY_TOO_MANY_CLIENTS;
	return why;
}

static void request_upgrade(struct conns *cs, struct conn *c, const struct http_req *r)
{
	char out[HTTP_REPLY_MAX], accept[WS_ACCEPT_LEN];
	struct jwt jwt;
	enum why why = request_check(cs, r);

	jwt.sub.n = jwt.kid.n = 0;
	jwt.session_ms = INT64_MAX;
	if (why == WHY_OK)
		why = admit_token(cs->admit, &jwt, r->token, r->path, cs->wall_ms);
	if (why == WHY_OK)
		why = admit_take(cs->admit, &jwt);
	if (why != WHY_OK) {
		refuse(cs, c, why, r, why > WHY_SIGNATURE_INVALID ? &jwt : NULL);
		return;
	}
	ws_accept(accept, r->key.p, r->key.n);
	const size_t n = http_switch(out, accept, r->bearer ? "bearer" : NULL);

	conn_open(cs, c, r, &jwt);
	if (send(c->fd, out, n, MSG_NOSIGNAL) != (ssize_t)n)
		conn_drop(cs, c, WHY_PEER_GONE);
	else
		conn_push(cs, c);
}

static void request(struct conns *cs, struct conn *c, uint8_t *head, size_t n)
{
	struct http_req r;

	if (http_parse(&r, head, n) != WHY_OK)
		refuse(cs, c, WHY_BAD_REQUEST, NULL, NULL);
	else if (c->metrics)
		request_metrics(cs, c, &r);
	else if (cs->config.page && !r.upgrade && r.method <= HTTP_HEAD && r.path.n == 1)
		request_page(cs, c, &r);
	else
		request_upgrade(cs, c, &r);
}

/* ---- input ---- */

/* Let epoll say again what it has said: there is more than one turn's worth. */
static void rearm(const struct conns *cs, const struct conn *c)
{
	struct epoll_event e = { .events = CONN_EVENTS,
		.data.u64 = tag_make(TAG_CONN, c->gen, id_of(cs, c)) };

	epoll_ctl(cs->epfd, EPOLL_CTL_MOD, c->fd, &e);
}

/* False: the connection is gone, or was before. *n > 0 bytes were read into p, or 0: no more. */
static bool conn_recv(struct conns *cs, struct conn *c, uint8_t *p, size_t cap, size_t *n)
{
	const ssize_t r = recv(c->fd, p, cap, 0);

	*n = r < 0 ? 0 : (size_t)r;
	if (r > 0 || (r < 0 && (errno == EAGAIN || errno == EINTR)))
		return true;
	conn_drop(cs, c, WHY_PEER_GONE);
	return false;
}

static bool conn_lives(const struct conn *c)
{
	return c->state == CONN_OPEN || c->state == CONN_CLOSING;
}

/* The peer's framing can no longer be followed. */
static void protocol_error(struct conns *cs, struct conn *c, enum why why)
{
	c->deaf = true;
	if (c->state == CONN_OPEN)
		conn_close(cs, c, why);
	else if (!c->joined && c->out_len == 0)
		shutdown(c->fd, SHUT_WR);	/* our close frame is out */
}

/* A whole control frame, unmasked. */
static void control_frame(struct conns *cs, struct conn *c, const struct ws_head *h,
    const uint8_t *payload)
{
	uint8_t pong[2 + WS_CONTROL_MAX];
	uint16_t code;
	enum why why;

	if (h->op == WS_PING && c->state == CONN_OPEN) {
		ws_head_write(pong, WS_PONG, h->len);
		memcpy(pong + 2, payload, h->len);
		conn_control(cs, c, pong, 2 + h->len);
	} else if (h->op == WS_CLOSE) {
		why = ws_close_read(&code, payload, h->len);
		if (why == WHY_OK)
			conn_close_back(cs, c, code);
		else
			protocol_error(cs, c, why);
	}
}

/* Take frames from p[0..n); the beginning of a control frame is kept for the next time. False:
 * the connection is gone. */
static bool conn_frames(struct conns *cs, struct conn *c, uint8_t *p, size_t n)
{
	while (n > 0 && !c->deaf) {
		struct ws_head h;
		size_t used;
		const size_t skip = c->skip < n ? (size_t)c->skip : n;

		p += skip;
		n -= skip;
		c->skip -= skip;
		if (n == 0)
			break;
		enum why why = ws_head_read(&h, &used, p, n);

		if (why == WHY_OK && h.op & 8 && n - used < h.len)
			why = WHY_MORE;
		if (why == WHY_MORE) {
			memcpy(cs->cold[id_of(cs, c)].in, p, n);
			c->in_len = (uint8_t)n;
			break;
		}
		if (why != WHY_OK) {
			protocol_error(cs, c, why);
			return conn_lives(c);
		}
		if (!(h.op & 8)) {
			c->skip = h.len;
			h.len = 0;
			conn_close(cs, c, WHY_READ_ONLY);
		} else {
			ws_mask(p + used, h.len, h.mask);
			control_frame(cs, c, &h, p + used);
		}
		if (!conn_lives(c))
			return false;
		p += used + h.len;
		n -= used + h.len;
	}
	return true;
}

static void input_frames(struct conns *cs, struct conn *c, bool ended)
{
	struct conn_cold *cold = &cs->cold[id_of(cs, c)];
	uint8_t in[sizeof cold->in + INPUT_SIZE];
	size_t n;

	for (int i = 0; i < READS_MAX; i++) {
		const size_t kept = c->in_len;

		if (!conn_recv(cs, c, in + kept, INPUT_SIZE, &n) || n == 0)
			return;
		if (kept)
			memcpy(in, cold->in, kept);
		c->heard_ms = (uint32_t)cs->mono_ms;
		c->in_len = 0;
		if (!conn_frames(cs, c, in, kept + n) || (n < INPUT_SIZE && !ended))
			return;
	}
	rearm(cs, c);
}

static void input_drain(struct conns *cs, struct conn *c)
{
	uint8_t in[INPUT_SIZE];
	size_t n;

	for (int i = 0; i < READS_MAX; i++)
		if (!conn_recv(cs, c, in, sizeof in, &n) || n == 0)
			return;
	rearm(cs, c);
}

/* Keep the part of a head that has come in a buffer of the pool, which has one for each
 * pending connection. */
static void head_keep(struct conns *cs, struct conn *c, const uint8_t *in, size_t n)
{
	if (c->buf == CONN_NONE) {
		c->buf = cs->nbuf_free > 0 ? cs->buf_free[--cs->nbuf_free] : cs->nbuf_made++;
		assert(c->buf < cs->config.max_pending);
		memcpy(cs->buf[c->buf], in, n);
	}
	c->head_len = (uint16_t)n;
}

static void input_head(struct conns *cs, struct conn *c, bool ended)
{
	uint8_t in[HEAD_MAX], *p = c->buf == CONN_NONE ? in : cs->buf[c->buf];
	size_t n, seen = c->head_seen;

	if (!conn_recv(cs, c, p + c->head_len, HEAD_MAX - c->head_len, &n) || n == 0)
		return;
	n += c->head_len;
	const enum why why = http_head_end(&seen, p, n);

	c->head_seen = (uint16_t)seen;
	if (why == WHY_MORE) {
		head_keep(cs, c, p, n);
		if (ended)
			conn_drop(cs, c, WHY_PEER_GONE);
		return;
	}
	if (why != WHY_OK) {
		refuse(cs, c, why, NULL, NULL);
		return;
	}
	/* What follows the head stays where it is: the pool's buffer is given back by then, but
	 * nobody else is served before it has been read. */
	request(cs, c, p, seen);
	if (conn_lives(c) && conn_frames(cs, c, p + seen, n - seen) && (n == HEAD_MAX || ended))
		input_frames(cs, c, ended);
}

void conn_event(struct conns *cs, uint32_t id, uint32_t gen, uint32_t events)
{
	struct conn *c = &cs->slot[id];

	if ((c->gen & 0xffffff) != gen || c->state == CONN_FREE)
		return;				/* freed earlier in this round */
	if (events & EPOLLOUT && c->blocked) {
		c->blocked = false;
		c->heard_ms = (uint32_t)cs->mono_ms;
		conn_push(cs, c);
	}
	const bool ended = events & CONN_ENDED, head = c->state == CONN_HEAD;

	if (!(events & EPOLLIN) && !ended)
		return;
	if (head)
		input_head(cs, c, ended);
	else if (conn_lives(c))
		input_frames(cs, c, ended);
	if (c->state == CONN_DRAIN && (ended || !head))
		input_drain(cs, c);
}

/* ---- time ---- */

void conn_deadline(struct conns *cs, uint32_t id)
{
	static const uint8_t ping[2] = { 0x80 | WS_PING, 0 };
	struct conn *c = &cs->slot[id];

	if (c->state == CONN_HEAD) {
		refuse(cs, c, WHY_HANDSHAKE_TIMEOUT, NULL, NULL);
	} else if (c->state != CONN_OPEN) {
		conn_drop(cs, c, WHY_PEER_GONE);
	} else if (cs->mono_ms >= c->end_ms) {
		conn_close(cs, c, c->end_why);
	} else if ((uint32_t)cs->mono_ms - c->heard_ms >= 2 * cs->config.ping_ms) {
		conn_drop(cs, c, WHY_PING_TIMEOUT);
	} else {
		conn_ping_at(cs, c);
		if (!c->blocked)
			conn_control(cs, c, ping, sizeof ping);
	}
}

/* ---- from and to nothing ---- */

static void conn_new(struct conns *cs, int fd, const struct sockaddr_storage *ss, bool is_metrics)
{
	const uint32_t id = cs->free ? cs->free - 1 : cs->made++;
	struct conn *c = &cs->slot[id];
	struct epoll_event e = { .events = CONN_EVENTS };

	assert(id < cs->nslots);
	if (cs->free)
		cs->free = c->next;
	*c = (struct conn){ .fd = fd, .gen = c->gen, .buf = CONN_NONE, .state = CONN_HEAD,
		.metrics = is_metrics, .peer.family = ss->ss_family };
	if (ss->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)ss;

		memcpy(c->peer.ip, &in->sin_addr, 4);
		c->peer.port = ntohs(in->sin_port);
	} else if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)ss;

		memcpy(c->peer.ip, &in6->sin6_addr, 16);
		c->peer.port = ntohs(in6->sin6_port);
	}
	pending_add(cs, c);
	deadline(cs, c, cs->mono_ms + cs->config.handshake_ms);
	e.data.u64 = tag_make(TAG_CONN, c->gen, id);
	if (epoll_ctl(cs->epfd, EPOLL_CTL_ADD, fd, &e) != 0)
		conn_free(cs, c);
}

/* The pending connection that has waited longest makes room. */
static void drop_oldest(struct conns *cs)
{
	struct conn *c = &cs->slot[cs->oldest];

	if (c->state == CONN_HEAD)
		refuse(cs, c, WHY_PENDING_FULL, NULL, NULL);
	conn_free(cs, c);
}

bool conns_accept(struct conns *cs, int listener, bool is_metrics)
{
	for (int i = 0; i < BATCH_ACCEPTS; i++) {
		struct sockaddr_storage ss = { 0 };
		socklen_t len = sizeof ss;
		const int fd = accept4(listener, (struct sockaddr *)&ss, &len,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			if (cs->npending == cs->config.max_pending)
				drop_oldest(cs);
			conn_new(cs, fd, &ss, is_metrics);
		} else if (errno == EAGAIN) {
			return true;
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			if (cs->npending == 0)
				return false;
			drop_oldest(cs);
		}
	}
	return true;
}

void conns_close_all(struct conns *cs, enum why why, bool ending)
{
	cs->ending |= ending;
	for (uint32_t id = 0; id < cs->made; id++) {
		struct conn *c = &cs->slot[id];

		if (c->state == CONN_OPEN)
			conn_close(cs, c, why);
		else if (c->state == CONN_HEAD && ending)
			refuse(cs, c, why, NULL, NULL);
	}
}

void conns_drop_all(struct conns *cs)
{
	for (uint32_t id = 0; id < cs->made; id++)
		if (cs->slot[id].state != CONN_FREE)
			conn_drop(cs, &cs->slot[id], WHY_SHUTDOWN);
}

bool conns_empty(const struct conns *cs)
{
	return cs->nopen == 0 && cs->npending == 0;
}
