/* conn.c - slots, time and the end. */

#include "conn.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ct.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "net.h"
#include "text.h"

/* Changes only, so that a client costs one epoll_ctl. A short read then means that there is no
 * more, but for the end, which EPOLLRDHUP tells. */
#define CONN_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
#define CONN_ENDED (EPOLLRDHUP | EPOLLHUP | EPOLLERR)

#define BLOCKS_EACH 8u		/* of grants, for each slot on the average */

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

/* The longest payload that the ring may hold: U+FFFD takes three bytes for one. */
static size_t payload_max(const struct conn_config *config)
{
	const size_t n = 3 * (size_t)config->max_message;

	return n < config->buffer ? n : config->buffer;
}

void conns_init(struct conns *cs, const struct conn_config *config, struct admit *admit,
    struct wheel *wheel, uint32_t tick_id, int epfd, const uint32_t random[2])
{
	const uint32_t n = conns_slots(config), nsubs = SUBSCRIPTIONS_EACH * n;

	*cs = (struct conns){ .config = *config, .admit = admit, .wheel = wheel, .nslots = n,
		.tick_id = tick_id, .oldest = CONN_NONE, .newest = CONN_NONE, .epfd = epfd,
		.held_ms = -1, .nmessage_free = MESSAGE_BUFS };
	cs->slot = memory_take(n, sizeof *cs->slot);
	cs->cold = memory_take(n, sizeof *cs->cold);
	cs->session = memory_take(n, sizeof *cs->session);
	cs->buf = memory_take(config->max_pending, sizeof *cs->buf);
	cs->buf_free = memory_take(config->max_pending, sizeof *cs->buf_free);
	cs->message = memory_take(MESSAGE_BUFS, config->max_message);
	for (uint32_t i = 0; i < MESSAGE_BUFS; i++)
		cs->message_buf[i].owner = CONN_NONE;
	cs->nblocks = BLOCKS_EACH * n + GRANTS_MAX / sizeof cs->block->s + 1;
	cs->block = memory_take(cs->nblocks, sizeof *cs->block);
	cs->formed.bytes = memory_take(1, FORMED_BYTES + form_max(payload_max(config), SUBJECT_MAX));
	hub_init(&cs->hub, memory_take(1, hub_size(n, config->nsources, nsubs)), n, config->nsources,
	    nsubs, random[0], memory_take(1, config->buffer), config->buffer);
	epoch_set(cs->epoch, random[1]);
}

uint8_t *conn_buf(struct conns *cs, struct conn *c)
{
	if (c->buf == CONN_NONE) {
		c->buf = cs->nbuf_free > 0 ? cs->buf_free[--cs->nbuf_free] : cs->nbuf_made++;
		assert(c->buf < cs->config.max_pending);	/* one for each that is pending */
	}
	return cs->buf[c->buf];
}

void conn_buf_release(struct conns *cs, struct conn *c)
{
	if (c->buf != CONN_NONE)
		cs->buf_free[cs->nbuf_free++] = c->buf;
	c->buf = CONN_NONE;
	c->head_len = c->head_seen = 0;
}

static void pending_add(struct conns *cs, struct conn *c)
{
	const uint32_t id = conn_id(cs, c);

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
	cs->nlate -= c->late;
	c->late = false;
	if (c->prev != CONN_NONE)
		cs->slot[c->prev].next = c->next;
	else
		cs->oldest = c->next;
	if (c->next != CONN_NONE)
		cs->slot[c->next].prev = c->prev;
	else
		cs->newest = c->prev;
	cs->npending--;
}

void conn_deadline_set(struct conns *cs, const struct conn *c, int64_t at_ms)
{
	wheel_set(cs->wheel, conn_id(cs, c), at_ms);
}

/* ---- peers ---- */

static void peer_set(const struct conns *cs, struct conn_peer *peer, const struct sockaddr_storage *ss)
{
	const struct proxies *trust = cs->config.proxies;

	*peer = (struct conn_peer){ .ip = { [10] = 0xff, [11] = 0xff } };
	if (ss->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)ss;

		memcpy(peer->ip + 12, &in->sin_addr, 4);
		peer->port = ntohs(in->sin_port);
	} else if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)ss;

		memcpy(peer->ip, &in6->sin6_addr, 16);
		peer->port = ntohs(in6->sin6_port);
	} else {
		peer->local = true;
	}
	peer->proxy = trust && (peer->local ? trust->local : proxy_trusted(trust, peer->ip));
}

void conn_forwarded(const struct conns *cs, struct conn *c, const struct http_req *r)
{
	struct conn_peer client = { .proxy = true };

	if (c->peer.proxy && proxy_client(client.ip, cs->config.proxies, r))
		c->peer = client;
}

/* A proxy's next request may be for another. */
static void peer_anew(const struct conns *cs, struct conn *c)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof ss;

	if (c->peer.proxy && getpeername(c->io.fd, (struct sockaddr *)&ss, &len) == 0)
		peer_set(cs, &c->peer, &ss);
}

void conn_wait_anew(struct conns *cs, struct conn *c)
{
	peer_anew(cs, c);
	pending_remove(cs, c);
	pending_add(cs, c);
	c->state = CONN_HEAD;
	c->key = KEY_NONE;
	c->kept = true;
	conn_deadline_set(cs, c, cs->mono_ms + cs->config.handshake_ms);
}

/* ---- message buffers ---- */

uint8_t *conn_message(struct conns *cs, const struct conn *c)
{
	struct conn_cold *cold = conn_cold(cs, c);

	return c->held ? cs->message + cold->message.buf * (size_t)cs->config.max_message : cold->small;
}

static void message_take(struct conns *cs, struct conn *c)
{
	struct conn_cold *cold = conn_cold(cs, c);
	uint32_t i = 0;

	while (cs->message_buf[i].owner != CONN_NONE)
		i++;
	cs->nmessage_free--;
	cs->message_buf[i] = (struct message_buf){ conn_id(cs, c), cs->mono_ms, cs->mono_ms };
	cold->message.buf = i;
	c->held = true;
	memcpy(conn_message(cs, c), cold->small, cold->message.len);
}

/* What is longer than cold.small takes a message buffer: so those who say little, and they alone, need
 * nothing that others can use up. The whole of it is no longer than max_message. */
size_t conn_message_room(struct conns *cs, struct conn *c)
{
	const size_t len = conn_cold(cs, c)->message.len;

	if (!c->held && len < SMALL_SIZE)
		return SMALL_SIZE - len;
	if (!c->held && cs->nmessage_free > 0)
		message_take(cs, c);
	if (c->held)
		return SIZE_MAX;
	cs->nstarved += !c->starved;
	c->starved = true;
	wheel_set(cs->wheel, cs->tick_id, cs->mono_ms + TICK_MS);
	return 0;
}

/* One is free again: all who wait look again. */
static void wake_starved(struct conns *cs)
{
	for (uint32_t id = 0; id < cs->made && cs->nstarved > 0; id++) {
		struct conn *c = &cs->slot[id];

		if (c->starved) {
			c->starved = false;
			cs->nstarved--;
			conn_rearm(cs, c);
		}
	}
}

/* It has none, needs none and waits for none any more; what it left unread is to be read now. */
void conn_message_release(struct conns *cs, struct conn *c)
{
	if (c->state != CONN_FREE && (c->starved || c->stashed))
		conn_rearm(cs, c);
	cs->nstarved -= c->starved;
	c->starved = c->stashed = false;
	if (!c->held)
		return;
	cs->message_buf[conn_cold(cs, c)->message.buf].owner = CONN_NONE;
	cs->nmessage_free++;
	c->held = false;
	wake_starved(cs);
}

void conn_message_grows(struct conns *cs, const struct conn *c)
{
	if (c->held)
		cs->message_buf[conn_cold(cs, c)->message.buf].grown_ms = cs->mono_ms;
}

/* While others wait for a message buffer, nobody keeps one whose message does not grow, nor any for longer
 * than a handshake may take. */
static void end_hoarders(struct conns *cs)
{
	uint32_t wanted = cs->nstarved;

	for (uint32_t i = 0; i < MESSAGE_BUFS && wanted > 0; i++) {
		const struct message_buf *b = &cs->message_buf[i];

		if (b->owner == CONN_NONE || (cs->mono_ms - b->grown_ms < STALL_MS &&
		    cs->mono_ms - b->since_ms < cs->config.handshake_ms))
			continue;
		struct conn *c = &cs->slot[b->owner];

		wanted--;
		if (c->state == CONN_BODY)
			conn_refuse(cs, c, WHY_HANDSHAKE_TIMEOUT, NULL, NULL);
		else
			conn_close(cs, c, WHY_TOO_SLOW);
	}
	if (cs->nstarved > 0)
		wheel_set(cs->wheel, cs->tick_id, cs->mono_ms + TICK_MS);
}

void conns_tick(struct conns *cs)
{
	if (cs->held_ms >= 0)
		conns_hold(cs);
	end_hoarders(cs);
}

/* ---- grants ---- */

static void grants_free(struct conns *cs, struct session *s)
{
	while (s->grants) {
		const uint32_t i = s->grants - 1;

		s->grants = cs->block[i].next;
		cs->block[i].next = cs->block_free;
		cs->block_free = i + 1;
		cs->nblocks_used--;
	}
}

static size_t blocks(size_t n)
{
	const size_t each = sizeof((struct block *)0)->s;

	return (n + each - 1) / each;
}

static uint32_t grants_copy(struct conns *cs, const struct grants *g)
{
	const size_t each = sizeof cs->block->s;
	uint32_t first = 0;

	/* From the end, so that each block is put in front of those that follow it. */
	for (size_t i = blocks(g->n); i-- > 0;) {
		const uint32_t b = cs->block_free ? cs->block_free - 1 : cs->nblocks_made++;
		const size_t n = g->n - i * each;

		if (cs->block_free)
			cs->block_free = cs->block[b].next;
		cs->block[b].next = first;
		memcpy(cs->block[b].s, g->s + i * each, n < each ? n : each);
		first = b + 1;
		cs->nblocks_used++;
	}
	return first;
}

bool conn_grants_fit(const struct conns *cs, const struct conn *c, const struct jwt *jwt)
{
	const struct session *s = &cs->session[conn_id(cs, c)];

	return cs->nblocks_used - blocks(s->grants ? s->ngrants : 0) + blocks(jwt->grants.n) <= cs->nblocks;
}

void conn_grants_set(struct conns *cs, const struct conn *c, const struct jwt *jwt)
{
	struct session *s = conn_session(cs, c);

	grants_free(cs, s);
	s->grants = grants_copy(cs, &jwt->grants);
	s->ngrants = (uint32_t)jwt->grants.n;
}

bool conn_granted(struct conns *cs, const struct conn *c, unsigned right, struct span subject)
{
	const struct session *s = conn_session(cs, c);
	const size_t each = sizeof cs->block->s;
	uint8_t all[GRANTS_MAX + sizeof cs->block->s];
	size_t n = 0;

	for (uint32_t b = s->grants; b && n < s->ngrants; b = cs->block[b - 1].next, n += each)
		memcpy(all + n, cs->block[b - 1].s, each);
	return admit_covers(cs->admit, c->key, all, s->ngrants, right, (const uint8_t *)subject.p,
	    subject.n);
}

/* ---- log ---- */

static void log_peer(const struct conn_peer *p)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	char s[NET_NAME_MAX];
	struct text t = { s, sizeof s, 0 };

	const size_t off = memcmp(p->ip, mapped, sizeof mapped) == 0 ? sizeof mapped : 0;
	const uint8_t *ip = p->ip + off;
	const size_t n = sizeof p->ip - off;

	if (p->local)
		text_str(&t, "unix");
	else if (p->port == 0)
		text_ip(&t, ip, n);
	else
		net_put(&t, ip, n, p->port);
	log_str("client", s, t.n);
}

void conn_log(enum log_level level, const char *event, const struct conn *c)
{
	log_begin(level, event);
	log_peer(&c->peer);
}

void conn_log_rest(struct span subject, const struct jwt *jwt)
{
	if (subject.p)
		log_str("subject", subject.p, subject.n);
	if (jwt && jwt->sub.n)
		log_str("sub", jwt->sub.s, jwt->sub.n);
	if (jwt && jwt->kid.n)
		log_str("kid", jwt->kid.s, jwt->kid.n);
	log_end();
}

static void reject_begin(const struct conn *c, enum why why)
{
	metrics.rejects[why]++;
	log_begin_limited(LOG_INFO, "reject");
	log_peer(&c->peer);
	log_text("reason", why_text(why));
}

void conn_log_reject(const struct conn *c, enum why why, struct span subject, const struct jwt *jwt)
{
	reject_begin(c, why);
	conn_log_rest(subject, why > WHY_SIGNATURE_INVALID ? jwt : NULL);
}

/* ---- the end ---- */

void conn_free(struct conns *cs, struct conn *c)
{
	if (c->admitted) {
		cs->nopen--;
		metrics.clients = cs->nopen;
		conn_log(LOG_INFO, "close", c);
		log_num("code", c->code);
		log_text("reason", why_text(c->why));
		log_end();
	} else {
		pending_remove(cs, c);
		conn_buf_release(cs, c);
	}
	if (c->joined)
		hub_leave(&cs->hub, conn_id(cs, c));
	if (c->form == FORM_V1)
		grants_free(cs, conn_session(cs, c));
	wheel_clear(cs->wheel, conn_id(cs, c));
	transport_close(&c->io);
	c->state = CONN_FREE;
	c->gen++;
	c->next = cs->free;
	cs->free = conn_id(cs, c) + 1;
	cs->freed = true;
	conn_message_release(cs, c);
}

void conn_drop(struct conns *cs, struct conn *c, enum why why)
{
	if (c->state != CONN_CLOSING) {
		c->why = (uint8_t)why;
		c->code = (uint16_t)why_close(why);
	}
	conn_free(cs, c);
}

static void closing(struct conns *cs, struct conn *c, enum why why, uint16_t code)
{
	c->state = CONN_CLOSING;
	c->why = (uint8_t)why;
	c->code = code;
	c->talking = false;
	conn_message_release(cs, c);
	conn_deadline_set(cs, c, cs->mono_ms + (cs->ending ? SHUTDOWN_MS : LINGER_MS));
}

void conn_close(struct conns *cs, struct conn *c, enum why why)
{
	uint8_t frame[2 + WS_CONTROL_MAX];

	if (c->state != CONN_OPEN && c->state != CONN_AUTH)
		return;
	closing(cs, c, why, (uint16_t)why_close(why));
	if (c->form == FORM_SSE) {
		c->deaf = true;			/* its end is the end of the connection */
		conn_push(cs, c);
	} else {
		conn_control(cs, c, frame, ws_close_write(frame, why));
	}
}

/* RFC 6455 5.5.1: with the same code. */
void conn_close_back(struct conns *cs, struct conn *c, uint16_t code)
{
	uint8_t frame[4] = { 0x80 | WS_CLOSE, 2, (uint8_t)(code >> 8), (uint8_t)code };

	if (code == 1005)
		frame[1] = 0;
	c->peer_closed = true;
	if (c->state != CONN_CLOSING) {
		closing(cs, c, WHY_PEER_CLOSED, code);
		conn_control(cs, c, frame, 2u + frame[1]);
	} else if (c->out_len == 0 && !transport_full(&c->io)) {
		conn_free(cs, c);
	}
}

/* End what has not been let in. */
static void end_pending(struct conns *cs, struct conn *c, enum why why)
{
	if (c->state == CONN_AUTH) {
		conn_log_reject(c, why, (struct span){ NULL, 0 }, NULL);
		conn_close(cs, c, why);
	} else if (c->state == CONN_BODY || (c->state == CONN_HEAD && (!c->kept || c->head_len > 0))) {
		conn_refuse(cs, c, why, NULL, NULL);
	} else if (c->state == CONN_HEAD) {
		conn_drop(cs, c, WHY_PEER_GONE);	/* kept, and nothing asked */
	}
}

/* ---- admitted ---- */

/* The next ping, the word that it expires, or its end. */
static void next_deadline(struct conns *cs, struct conn *c)
{
	int64_t at_ms = cs->mono_ms + cs->config.ping_ms;

	if (c->form == FORM_V1 && !conn_session(cs, c)->warned && c->end_ms - EXPIRING_MS < at_ms)
		at_ms = c->end_ms - EXPIRING_MS;
	conn_deadline_set(cs, c, at_ms < c->end_ms ? at_ms : c->end_ms);
}

static int64_t later(int64_t from_ms, int64_t ms)
{
	return ms > INT64_MAX / 2 ? INT64_MAX : from_ms + ms;
}

void conn_expire(struct conns *cs, struct conn *c, const struct jwt *jwt)
{
	const int64_t expiry_ms = later(cs->mono_ms, admit_expiry_ms(cs->admit, jwt, cs->wall_ms));
	int64_t session_ms = later(cs->mono_ms, jwt->session_ms);

	if (c->form == FORM_V1) {
		struct session *s = conn_session(cs, c);

		if (jwt->session_ms != INT64_MAX)
			s->session_ms = jwt->session_ms;
		session_ms = later(s->start_ms, s->session_ms);
		s->warned = s->warning = false;
	}
	c->by_session = session_ms <= expiry_ms;
	c->end_ms = c->by_session ? session_ms : expiry_ms;
	next_deadline(cs, c);
}

int64_t conn_expires_s(const struct conns *cs, const struct conn *c)
{
	return c->end_ms == INT64_MAX ? -1 : (c->end_ms - cs->mono_ms + cs->wall_ms) / 1000;
}

enum why conn_token(struct conns *cs, struct jwt *jwt, struct span token, enum admit_for what,
    struct span subject)
{
	cs->spent |= cs->admit->keys.npublic > 0;
	return admit_token(cs->admit, jwt, token, what, subject, cs->wall_ms);
}

/* From pending to OPEN. */
void conn_admit(struct conns *cs, struct conn *c, const struct jwt *jwt)
{
	pending_remove(cs, c);
	conn_buf_release(cs, c);
	c->state = CONN_OPEN;
	c->admitted = true;
	c->key = jwt->key;
	c->heard_ms = c->moved_ms = (uint32_t)cs->mono_ms;
	metrics.clients = ++cs->nopen;
	metrics.accepts++;
	conn_expire(cs, c, jwt);
}

static void expiring(struct conns *cs, struct conn *c)
{
	struct session *s = conn_session(cs, c);

	s->warned = s->warning = true;
	next_deadline(cs, c);
	conn_push(cs, c);
}

static void heartbeat(struct conns *cs, struct conn *c)
{
	static const uint8_t ping[2] = { 0x80 | WS_PING, 0 }, comment[3] = { ':', '\n', '\n' };

	if (c->blocked)
		return;
	if (c->form == FORM_SSE)
		conn_out(cs, c, comment, sizeof comment);
	else
		conn_control(cs, c, ping, sizeof ping);
}

static void open_deadline(struct conns *cs, struct conn *c)
{
	const bool silent = !c->starved &&	/* else nobody listens */
	    (uint32_t)cs->mono_ms - c->heard_ms >= 2 * cs->config.ping_ms;

	if (cs->mono_ms >= c->end_ms) {
		conn_close(cs, c, c->by_session ? WHY_SESSION_ENDED : WHY_TOKEN_EXPIRED);
	} else if (silent && c->form != FORM_SSE) {	/* there TCP_USER_TIMEOUT tells */
		conn_drop(cs, c, WHY_PING_TIMEOUT);
	} else if (c->form == FORM_V1 && !conn_session(cs, c)->warned &&
	    cs->mono_ms >= c->end_ms - EXPIRING_MS) {
		expiring(cs, c);
	} else {
		next_deadline(cs, c);
		heartbeat(cs, c);
	}
}

void conn_deadline(struct conns *cs, uint32_t id)
{
	struct conn *c = &cs->slot[id];

	if (c->state == CONN_OPEN)
		open_deadline(cs, c);
	else if (c->state == CONN_DRAIN || c->state == CONN_CLOSING)
		conn_drop(cs, c, WHY_PEER_GONE);
	else
		end_pending(cs, c, WHY_HANDSHAKE_TIMEOUT);
}

/* ---- input ---- */

static bool watch(const struct conns *cs, const struct conn *c, int op)
{
	struct epoll_event e = { .events = CONN_EVENTS,
		.data.u64 = tag_make(TAG_CONN, c->gen, conn_id(cs, c)) };

	return epoll_ctl(cs->epfd, op, c->io.fd, &e) == 0;
}

void conn_rearm(const struct conns *cs, const struct conn *c)
{
	watch(cs, c, EPOLL_CTL_MOD);
}

static void transport_failed(struct conns *cs, struct conn *c, const char *what, int error)
{
	if (!c->admitted) {
		reject_begin(c, WHY_TLS_FAILED);
		log_text("what", what);
		log_num("error", error);
		log_end();
	}
	conn_drop(cs, c, WHY_TLS_FAILED);
}

bool conn_recv(struct conns *cs, struct conn *c, uint8_t *p, size_t cap, size_t *n)
{
	const ssize_t r = transport_recv(&c->io, p, cap);
	const int e = errno;
	const char *what = NULL;
	int error;

	*n = r < 0 ? 0 : (size_t)r;
	cs->spent |= transport_worked();
	if (transport_again(&c->io))
		conn_rearm(cs, c);
	if (r > 0 || (r < 0 && (e == EAGAIN || e == EINTR)))
		return true;
	if (r < 0 && e == EPROTO && c->state != CONN_DRAIN)
		what = transport_error(&c->io, &error);
	if (what)
		transport_failed(cs, c, what, error);
	else
		conn_drop(cs, c, r == 0 && c->form == FORM_SSE ? WHY_PEER_CLOSED : WHY_PEER_GONE);
	return false;
}

/* What comes means nothing. */
static void input_drain(struct conns *cs, struct conn *c)
{
	uint8_t in[INPUT_SIZE];
	size_t n;

	for (int i = 0; i < READS_MAX; i++)
		if (!conn_recv(cs, c, in, sizeof in, &n) || n == 0)
			return;
	conn_rearm(cs, c);
}

static void input(struct conns *cs, struct conn *c, bool ended)
{
	if (c->state == CONN_HEAD || c->state == CONN_BODY)
		conn_input_request(cs, c, ended);
	else if (c->state == CONN_DRAIN || c->form == FORM_SSE)
		input_drain(cs, c);
	else
		conn_input_frames(cs, c, ended);
}

bool conn_spent(const struct conns *cs)
{
	return cs->spent && cs->admit->keys.npublic > 0;
}

void conn_put_off(struct conns *cs, struct conn *c)
{
	cs->nlate += !c->late;
	c->late = true;
}

/* Those who may want a public-key operation, and are not let in yet, wait for all others. */
static void input_or_late(struct conns *cs, struct conn *c, bool ended)
{
	const bool shows = c->state == CONN_HEAD || c->state == CONN_AUTH;

	if (transport_shaking(&c->io) || (shows && cs->admit->keys.npublic > 0))
		conn_put_off(cs, c);
	else
		input(cs, c, ended);
}

bool conns_late(struct conns *cs)
{
	uint32_t next;

	cs->spent = false;
	for (uint32_t id = cs->oldest; id != CONN_NONE && cs->nlate > 0 && !cs->spent; id = next) {
		struct conn *c = &cs->slot[id];

		next = c->next;
		if (!c->late)
			continue;
		cs->nlate--;
		c->late = false;
		input(cs, c, true);
	}
	conns_flush(cs);
	cs->spent = false;
	return cs->nlate > 0;
}

void conn_event(struct conns *cs, uint32_t id, uint32_t gen, uint32_t events)
{
	struct conn *c = &cs->slot[id];

	if ((c->gen & 0xffffff) != gen || c->state == CONN_FREE)
		return;				/* freed earlier in this round */
	if (events & EPOLLOUT && transport_flush(&c->io) && c->blocked) {
		c->blocked = false;
		c->heard_ms = (uint32_t)cs->mono_ms;
		conn_push(cs, c);
	}
	if (c->state == CONN_OPEN && c->stashed && !c->blocked)
		conn_unstash(cs, c);
	/* A body that waited for a message buffer may be all here, and so may what came under TLS: conn_rearm
	 * brings EPOLLOUT then. */
	if (c->state != CONN_FREE && (c->state == CONN_BODY || events & (EPOLLIN | CONN_ENDED) ||
	    transport_shaking(&c->io) || transport_more(&c->io)))
		input_or_late(cs, c, events & CONN_ENDED);
	conns_flush(cs);
}

/* ---- from and to nothing ---- */

static void conn_new(struct conns *cs, struct transport io, const struct sockaddr_storage *ss, bool is_metrics)
{
	const uint32_t id = cs->free ? cs->free - 1 : cs->made++;
	struct conn *c = &cs->slot[id];

	assert(id < cs->nslots);
	if (cs->free)
		cs->free = c->next;
	*c = (struct conn){ .io = io, .gen = c->gen, .buf = CONN_NONE, .state = CONN_HEAD,
		.key = KEY_NONE, .metrics = is_metrics };
	peer_set(cs, &c->peer, ss);
	pending_add(cs, c);
	conn_deadline_set(cs, c, cs->mono_ms + cs->config.handshake_ms);
	if (!watch(cs, c, EPOLL_CTL_ADD))
		conn_free(cs, c);
}

/* The pending connection that has waited longest makes room; scarce: among those that hold what
 * transport_open lacks. False: there is none. */
static bool drop_oldest(struct conns *cs, bool scarce)
{
	uint32_t id = cs->oldest;

	while (id != CONN_NONE && scarce && !transport_scarce(&cs->slot[id].io))
		id = cs->slot[id].next;
	if (id == CONN_NONE)
		return false;
	struct conn *c = &cs->slot[id];

	end_pending(cs, c, WHY_PENDING_FULL);
	if (c->state != CONN_FREE)
		conn_free(cs, c);
	return true;
}

/* A new connection takes its place. */
static void take_place(struct conns *cs, int fd, const struct sockaddr_storage *ss, bool is_metrics, bool tls)
{
	struct transport io;

	if (!transport_open(&io, fd, tls) && !(drop_oldest(cs, true) && transport_open(&io, fd, tls))) {
		struct conn c = { .key = KEY_NONE };

		peer_set(cs, &c.peer, ss);
		conn_log_reject(&c, WHY_TOO_MANY_CLIENTS, (struct span){ NULL, 0 }, NULL);
		close(fd);
		return;
	}
	if (cs->npending == cs->config.max_pending)
		drop_oldest(cs, false);
	conn_new(cs, io, ss, is_metrics);
}

bool conns_accept(struct conns *cs, int listener, bool is_metrics, bool tls)
{
	struct pollfd waiting = { .fd = listener, .events = POLLIN };

	for (int i = 0; i < BATCH_ACCEPTS; i++) {
		struct sockaddr_storage ss = { 0 };
		socklen_t len = sizeof ss;
		const int fd = accept4(listener, (struct sockaddr *)&ss, &len,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			take_place(cs, fd, &ss, is_metrics, tls);
		} else if (errno == EAGAIN || poll(&waiting, 1, 0) == 0) {
			return true;		/* accept4 finds that out after a lack of descriptors */
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			if (!drop_oldest(cs, false))
				return false;
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
		else if (c->state != CONN_FREE && ending)
			end_pending(cs, c, why);
	}
}

void conns_rekey(struct conns *cs, const uint8_t map[KEYS_MAX])
{
	for (uint32_t id = 0; id < cs->made; id++) {
		struct conn *c = &cs->slot[id];

		if (c->state == CONN_FREE || c->key == KEY_NONE)
			continue;
		c->key = map[c->key];
		if (c->key == KEY_NONE && c->state == CONN_BODY)
			conn_refuse(cs, c, WHY_KEY_UNKNOWN, &conn_cold(cs, c)->req, NULL);
		else if (c->key == KEY_NONE)
			conn_close(cs, c, WHY_KEY_UNKNOWN);
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
