/* talk.c - what WebSocket clients say: control frames, messages, and the operations of sluice.v1. */

#include "conn.h"

#include <string.h>
#include <sys/socket.h>

#include "log.h"
#include "subject.h"
#include "utf8.h"

static const struct span none = { NULL, 0 };

/* It ends for what it has said; what it said before that goes out first. */
static void end(struct conns *cs, struct conn *c, enum why why)
{
	if (c->state == CONN_AUTH)
		conn_log_reject(c, why, none, NULL);
	conns_flush(cs);
	conn_close(cs, c, why);
}

/* ---- sluice.v1 ---- */

static void put_result(struct conns *cs, struct conn *c, struct span id, enum why why)
{
	uint8_t out[V1_REPLY_MAX];

	conn_out(cs, c, out, why == WHY_OK ? v1_ok(out, id) : v1_error(out, id, none, why));
}

static void put_ready(struct conns *cs, struct conn *c, struct span id)
{
	uint8_t out[V1_REPLY_MAX];

	conn_out(cs, c, out, v1_ready(out, id, conn_expires_s(cs, c)));
}

/* What the token in force no longer grants ends. */
static void end_ungranted(struct conns *cs, struct conn *c)
{
	struct hub *h = &cs->hub;
	const uint32_t id = conn_id(cs, c);

	for (uint32_t s = h->many[id].subs, next; s != HUB_NONE; s = next) {
		const struct hub_subject *e = &h->subject[h->sub[s].entry];

		next = h->sub[s].own_next;
		if (!conn_granted(cs, c, GRANT_SUB, (struct span){ (const char *)e->name, e->len }))
			hub_end(h, id, s);
	}
	cs->formed.head = 0;
}

enum why conn_auth(struct conns *cs, struct conn *c, struct jwt *jwt, struct span token, struct span id)
{
	struct session *s = conn_session(cs, c);
	const bool renews = c->state == CONN_OPEN;
	enum why why = conn_token(cs, jwt, token, ADMIT_SESSION, none);

	if (why == WHY_OK && renews && (jwt->key != c->key || memcmp(jwt->who, s->who, sizeof s->who) != 0))
		why = WHY_RENEWAL_MISMATCH;
	if (why == WHY_OK && ((!renews && cs->nopen >= cs->config.max_clients) ||
	    !conn_grants_fit(cs, c, jwt)))
		why = WHY_TOO_MANY_CLIENTS;
	if (why == WHY_OK)
		why = admit_take(cs->admit, jwt);
	if (why != WHY_OK)
		return why;
	conns_flush(cs);			/* before anything that it may see changes */
	if (!conn_lives(c) || c->state == CONN_CLOSING)
		return WHY_OK;
	conn_grants_set(cs, c, jwt);
	memcpy(s->who, jwt->who, sizeof s->who);
	conn_log(LOG_INFO, renews ? "renew" : "accept", c);
	conn_log_rest(none, jwt);
	if (renews) {
		conn_expire(cs, c, jwt);
		end_ungranted(cs, c);
	} else {
		conn_admit(cs, c, jwt);
		hub_open(&cs->hub, conn_id(cs, c));
		c->joined = true;
	}
	put_ready(cs, c, id);
	return WHY_OK;
}

static void op_auth(struct conns *cs, struct conn *c, const struct v1_op *op)
{
	struct jwt jwt;
	const enum why why = conn_auth(cs, c, &jwt, op->token, op->id);

	if (why == WHY_OK)
		return;
	conn_log_reject(c, why, none, &jwt);
	if (c->state == CONN_OPEN)
		put_result(cs, c, op->id, why);
	else
		conn_close(cs, c, why);
}

static bool is_pattern(struct span s)
{
	return memchr(s.p, '+', s.n) || memchr(s.p, '*', s.n);
}

static enum why op_sub(struct conns *cs, struct conn *c, const struct v1_op *op)
{
	struct hub_replay replay = { .count = op->replay >= 0 ? (uint64_t)op->replay : cs->config.replay };
	const uint32_t id = conn_id(cs, c);

	if (!subject_pattern_valid((const uint8_t *)op->subject.p, op->subject.n) ||
	    (op->since.p && (is_pattern(op->subject) || !conn_since(cs, &replay, op->since))))
		return WHY_BAD_REQUEST;
	if (!conn_granted(cs, c, GRANT_SUB, op->subject))
		return WHY_SUBJECT_DENIED;
	conn_room_for_subject(cs);
	if (c->state != CONN_OPEN)
		return WHY_TOO_SLOW;		/* it was in the way itself */
	cs->formed.head = 0;
	return hub_subscribe(&cs->hub, id, op->subject.p, op->subject.n, &replay) == HUB_OK ? WHY_OK :
	    WHY_TOO_MANY_SUBSCRIPTIONS;
}

static enum why op_unsub(struct conns *cs, struct conn *c, const struct v1_op *op)
{
	if (!subject_pattern_valid((const uint8_t *)op->subject.p, op->subject.n))
		return WHY_BAD_REQUEST;
	conns_flush(cs);			/* what it has published is still for it */
	if (c->state != CONN_OPEN)
		return WHY_TOO_SLOW;
	cs->formed.head = 0;
	hub_unsubscribe(&cs->hub, conn_id(cs, c), op->subject.p, op->subject.n);
	return WHY_OK;
}

static enum why op_pub(struct conns *cs, struct conn *c, const struct v1_op *op)
{
	if (!subject_valid((const uint8_t *)op->subject.p, op->subject.n))
		return WHY_BAD_REQUEST;
	if (cs->admit->open || !conn_granted(cs, c, GRANT_PUB, op->subject))
		return WHY_SUBJECT_DENIED;
	return conn_say(cs, op->subject, (const uint8_t *)op->data.p, op->data.n);
}

static void message_v1(struct conns *cs, struct conn *c, uint8_t *p, size_t n)
{
	struct v1_op op;
	enum why why = WHY_BAD_REQUEST;

	v1_read(&op, p, n);
	if (op.what == V1_AUTH) {
		op_auth(cs, c, &op);
		return;
	}
	if (c->state == CONN_AUTH) {
		end(cs, c, WHY_TOKEN_MISSING);
		return;
	}
	if (op.what == V1_SUB)
		why = op_sub(cs, c, &op);
	else if (op.what == V1_UNSUB)
		why = op_unsub(cs, c, &op);
	else if (op.what == V1_PUB)
		why = op_pub(cs, c, &op);
	if (why == WHY_SUBJECT_DENIED || why == WHY_TOO_MANY_SUBSCRIPTIONS)
		conn_log_reject(c, why, op.subject, NULL);
	if (c->state == CONN_OPEN)
		put_result(cs, c, op.id, why);
}

/* ---- messages ---- */

static void message(struct conns *cs, struct conn *c, uint8_t *p, size_t n)
{
	const struct hub *h = &cs->hub;

	if (c->form == FORM_V1) {
		message_v1(cs, c, p, n);
	} else {
		const struct hub_subject *s = &h->subject[h->reader[conn_id(cs, c)].subject];

		conn_say(cs, (struct span){ (const char *)s->name, s->len }, p, n);
	}
}

static size_t message_max(const struct conns *cs, const struct conn *c)
{
	return c->state == CONN_AUTH ? HEAD_MAX : cs->config.max_message;
}

static bool wants_text(const struct conns *cs, const struct conn *c)
{
	return c->form == FORM_V1 || !cs->config.binary;
}

/* A data frame begins: may it? */
static enum why data_check(struct conns *cs, const struct conn *c, const struct ws_head *h)
{
	const uint32_t have = c->talking ? conn_cold(cs, c)->message.len : 0;

	if ((h->op == 0) != c->talking)
		return WHY_WS_FRAGMENT;		/* RFC 6455 5.4 */
	if (c->form == FORM_FRAME && !c->publishes)
		return WHY_READ_ONLY;
	if (h->op && (h->op == WS_TEXT) != wants_text(cs, c))
		return c->state == CONN_AUTH ? WHY_TOKEN_MISSING : WHY_WS_TYPE;
	return h->len > message_max(cs, c) - have ? WHY_MESSAGE_TOO_LARGE : WHY_OK;
}

/* Where the parts of a message are put together. */
static uint8_t *parts(struct conns *cs, struct conn *c)
{
	return c->state == CONN_AUTH ? conn_buf(cs, c) : conn_message(cs, c);
}

/* The frame that has begun is all here. */
static void data_end(struct conns *cs, struct conn *c)
{
	struct conn_cold *cold = conn_cold(cs, c);

	if (!cold->message.fin)
		return;
	if (cold->message.utf8 != 0) {
		end(cs, c, WHY_WS_UTF8);	/* it ends within a character */
		return;
	}
	c->talking = false;
	message(cs, c, parts(cs, c), cold->message.len);
	if (c->state == CONN_OPEN)
		conn_message_release(cs, c);
}

/* Some of a data frame's payload. */
static void data_take(struct conns *cs, struct conn *c, uint8_t *p, size_t n)
{
	struct conn_cold *cold = conn_cold(cs, c);
	uint8_t *mask = cold->message.mask;

	ws_mask(p, n, mask);
	for (size_t turns = n & 3; turns > 0; turns--) {
		const uint8_t first = mask[0];

		memmove(mask, mask + 1, 3);
		mask[3] = first;
	}
	if (wants_text(cs, c) && !utf8_step(&cold->message.utf8, p, n)) {
		end(cs, c, WHY_WS_UTF8);	/* RFC 6455 8.1, at the first bad byte */
		return;
	}
	if (c->state == CONN_OPEN && conn_message_room(cs, c) < n) {
		end(cs, c, WHY_TOO_SLOW);	/* only right behind an upgrade: else there is room */
		return;
	}
	memmove(parts(cs, c) + cold->message.len, p, n);	/* an auth may stand in the same buffer */
	cold->message.len += (uint32_t)n;
	conn_message_grows(cs, c);
	if (c->left == 0)
		data_end(cs, c);
}

/* A data frame begins; n bytes of its payload are at p. */
static void data_begin(struct conns *cs, struct conn *c, const struct ws_head *h, uint8_t *p, size_t n)
{
	struct conn_cold *cold = conn_cold(cs, c);
	uint8_t utf8 = 0;

	if (!c->talking && h->fin && n == h->len) {	/* as most are: nothing is to be kept */
		ws_mask(p, n, h->mask);
		if (wants_text(cs, c) && (!utf8_step(&utf8, p, n) || utf8 != 0))
			end(cs, c, WHY_WS_UTF8);
		else
			message(cs, c, p, n);
		return;
	}
	if (!c->talking)
		cold->message.len = cold->message.utf8 = 0;
	c->talking = true;
	cold->message.fin = h->fin;
	memcpy(cold->message.mask, h->mask, sizeof h->mask);
	data_take(cs, c, p, n);
}

/* ---- frames ---- */

/* The peer's framing can no longer be followed. */
static void protocol_error(struct conns *cs, struct conn *c, enum why why)
{
	c->deaf = true;
	if (c->state != CONN_CLOSING)
		end(cs, c, why);
	else if (!c->joined && c->out_len == 0)
		transport_shut(&c->io);		/* our close frame is out */
}

/* A whole control frame, unmasked. */
static void control_frame(struct conns *cs, struct conn *c, const struct ws_head *h,
    const uint8_t *payload)
{
	uint8_t pong[2 + WS_CONTROL_MAX];
	uint16_t code;
	enum why why;

	if (h->op == WS_PING && c->state != CONN_CLOSING) {
		ws_head_write(pong, WS_PONG, h->len);
		memcpy(pong + 2, payload, (size_t)h->len);
		conn_control(cs, c, pong, 2 + (size_t)h->len);
	} else if (h->op == WS_CLOSE) {
		why = ws_close_read(&code, payload, (size_t)h->len);
		conns_flush(cs);
		if (why != WHY_OK)
			protocol_error(cs, c, why);
		else if (conn_lives(c))
			conn_close_back(cs, c, code);
	}
}

/* A frame whose header is at p, n bytes in all; returns how many of them are done with, 0: the frame
 * is to be kept until there is more. */
static size_t frame(struct conns *cs, struct conn *c, uint8_t *p, size_t n)
{
	struct ws_head h;
	size_t used;
	enum why why = ws_head_read(&h, &used, p, n);
	const bool data = why == WHY_OK && !(h.op & 8);

	if (why == WHY_MORE || (why == WHY_OK && !data && n - used < h.len))
		return 0;
	if (data && c->state != CONN_CLOSING)
		why = data_check(cs, c, &h);
	if (why == WHY_WS_FRAGMENT || (why != WHY_OK && !data)) {
		protocol_error(cs, c, why);
		return n;
	}
	if (why != WHY_OK)
		end(cs, c, why);
	const size_t here = n - used < h.len ? n - used : (size_t)h.len;

	if (!data) {
		ws_mask(p + used, (size_t)h.len, h.mask);
		control_frame(cs, c, &h, p + used);
		return used + here;
	}
	c->left = h.len - here;
	if (c->state == CONN_OPEN || c->state == CONN_AUTH)
		data_begin(cs, c, &h, p + used, here);
	return used + here;
}

/* Keep input until there is room for the replies to it, and time. */
static void stash(struct conns *cs, struct conn *c, const uint8_t *p, size_t n)
{
	struct conn_cold *cold = conn_cold(cs, c);

	memmove(cold->small, p, n);		/* n: one read, or what came with a head */
	cold->message.len = (uint32_t)n;
	c->stashed = true;
}

/* Take frames from p[0..n); what is kept for the next time is the beginning of a short frame. False: the
 * connection is gone. */
bool conn_frames(struct conns *cs, struct conn *c, uint8_t *p, size_t n)
{
	while (n > 0 && !c->deaf) {
		size_t used = c->left < n ? (size_t)c->left : n;

		if (used > 0) {
			c->left -= used;
			if (c->state != CONN_CLOSING)
				data_take(cs, c, p, used);
		} else if (c->form == FORM_V1 && c->state == CONN_OPEN && !c->talking &&
		    (!conn_out_room(c, 0) || conn_spent(cs))) {
			stash(cs, c, p, n);
			if (!c->blocked)
				conn_rearm(cs, c);	/* it may be a renewal: in the next turn */
			return true;
		} else if ((used = frame(cs, c, p, n)) == 0) {
			memcpy(conn_cold(cs, c)->in, p, n);
			c->in_len = (uint8_t)n;
			return true;
		}
		if (!conn_lives(c))
			return false;
		p += used;
		n -= used;
	}
	return true;
}

/* How much may be read: what then has come of a message has its place, and its turn. */
static size_t input_room(struct conns *cs, struct conn *c)
{
	size_t n = INPUT_SIZE;

	if (c->stashed)
		return 0;
	if (c->form == FORM_V1 && c->state == CONN_OPEN && conn_spent(cs)) {
		conn_rearm(cs, c);		/* it may be the end of a renewal */
		return 0;
	}
	if (c->state == CONN_OPEN && c->talking)
		n = conn_message_room(cs, c);
	return n < INPUT_SIZE ? n : INPUT_SIZE;
}

void conn_input_frames(struct conns *cs, struct conn *c, bool ended)
{
	struct conn_cold *cold = conn_cold(cs, c);
	uint8_t in[sizeof cold->in + INPUT_SIZE];

	for (int i = 0; i < READS_MAX || transport_more(&c->io); i++) {
		const size_t kept = c->in_len, room = input_room(cs, c);
		size_t n;

		if (room == 0 || !conn_recv(cs, c, in + kept, room, &n) || n == 0)
			return;
		if (kept)
			memcpy(in, cold->in, kept);
		c->heard_ms = (uint32_t)cs->mono_ms;
		c->in_len = 0;
		if (!conn_frames(cs, c, in, kept + n) || (n < room && !ended))
			return;
	}
	conn_rearm(cs, c);
}

/* There is room in out again. What is kept of the input, or put together from it, comes to stand before
 * what has not been looked at. */
void conn_unstash(struct conns *cs, struct conn *c)
{
	struct conn_cold *cold = conn_cold(cs, c);

	if (!conn_out_room(c, 0))
		return;
	c->stashed = false;
	if (conn_frames(cs, c, cold->small, cold->message.len) && !c->stashed)
		conn_rearm(cs, c);
}
