/* send.c - what goes out to clients: frames of their own, messages, and messages in the forms of
 * sluice.v1 and server-sent events. */

#include "conn.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "log.h"
#include "metrics.h"
#include "print.h"
#include "utf8.h"

#define GONE SIZE_MAX

/* How much of it was sent: less than n, the socket is full; or GONE, with the connection. */
static size_t conn_send(struct conns *cs, struct conn *c, const uint8_t *p, size_t n)
{
	const ssize_t r = transport_send(&c->io, p, n, false);
	const int e = errno;
	const size_t sent = r < 0 ? 0 : (size_t)r;

	if (r < 0 && e != EAGAIN && e != ENOBUFS && e != ENOMEM) {
		conn_drop(cs, c, WHY_PEER_GONE);
		return GONE;
	}
	metrics.sent_bytes += sent;
	c->blocked = sent < n || transport_full(&c->io);
	if (sent > 0)
		c->moved_ms = (uint32_t)cs->mono_ms;
	return sent;
}

/* ---- messages in another form ---- */

static size_t form_one(struct conns *cs, enum form form, uint64_t record, uint8_t *out)
{
	struct hub_message m;

	hub_message(&cs->hub, record, &m);
	const struct hub_subject *s = &cs->hub.subject[m.subject];
	const size_t head = m.frame[1] < 126 ? 2 : m.frame[1] == 126 ? 4 : 10;

	return form_write(out, form, &(struct form_message){ cs->epoch, m.number, s->name, s->len,
	    m.frame + head, m.len - head });
}

/* Put the messages that this reader gets next into cs->formed, unless they are there. What has come
 * since the last flush is the same for all who have kept up. One that is longer than a socket takes
 * at a time is the same for all who have begun it, whatever else has come. */
static void form_next(struct conns *cs, const struct conn *c, uint64_t record, bool begun)
{
	struct formed *f = &cs->formed;
	const struct hub *h = &cs->hub;
	const uint32_t id = conn_id(cs, c);
	const bool shared = c->form == FORM_SSE || (hub_fresh(h) && record >= h->batch);
	const bool same = f->count > 0 && f->record[0] == record && f->form == c->form;
	size_t n = 0;

	if (same && f->head == h->ring.head && f->reader == (shared ? HUB_NONE : id))
		return;
	f->head = h->ring.head;
	f->form = c->form;
	f->reader = shared ? HUB_NONE : id;
	f->record[0] = record;
	f->count = 0;
	if (same && begun) {
		f->count = 1;
		f->record[1] = hub_after(h, id, record);
		return;
	}
	while (record != RING_NONE && n < FORMED_BYTES && f->count < FORMED_COUNT) {
		n += form_one(cs, c->form, record, f->bytes + n);
		f->end[f->count++] = (uint32_t)n;
		record = hub_after(h, id, record);
		f->record[f->count] = record;
	}
}

/* n bytes from off on were sent: how many messages became complete. */
static uint32_t formed_sent(struct conns *cs, const struct conn *c, size_t off, size_t n)
{
	const struct formed *f = &cs->formed;
	uint32_t i = 0;

	while (i < f->count && off + n >= f->end[i])
		i++;
	hub_at(&cs->hub, conn_id(cs, c), f->record[i],
	    (uint32_t)(off + n - (i > 0 ? f->end[i - 1] : 0)));
	return i;
}

/* Messages to be sent, in one piece. */
struct piece {
	struct ring_run run;
	size_t off;			/* in cs->formed, for other forms than the ring's */
};

/* The next, or with begun only the rest of one that has been begun. False: there is none. */
static bool piece_next(struct conns *cs, const struct conn *c, bool begun, struct piece *piece)
{
	const uint32_t id = conn_id(cs, c);
	const struct hub_reader *r = &cs->hub.reader[id];

	if (c->form == FORM_FRAME)
		return hub_pending(&cs->hub, id, begun, &piece->run);
	if (r->record == RING_NONE || (begun && r->off == 0))
		return false;
	form_next(cs, c, r->record, r->off > 0);
	const struct formed *f = &cs->formed;

	piece->off = r->off;
	piece->run.p = f->bytes + r->off;
	piece->run.len = f->end[begun ? 0 : f->count - 1] - r->off;
	return true;
}

/* False: the connection is gone. */
static bool piece_send(struct conns *cs, struct conn *c, const struct piece *piece)
{
	const uint32_t id = conn_id(cs, c);
	const size_t sent = conn_send(cs, c, piece->run.p, piece->run.len);

	if (sent == GONE)
		return false;
	if (sent)
		metrics.deliveries += c->form == FORM_FRAME ? hub_sent(&cs->hub, id, &piece->run, sent) :
		    formed_sent(cs, c, piece->off, sent);
	if (c->blocked)
		hub_stick(&cs->hub, id);
	return true;
}

/* ---- frames of its own ---- */

/* A frame, or a comment among server-sent events. */
static size_t frame_len(const uint8_t *p)
{
	if (p[0] == ':')
		return (size_t)(strchr((const char *)p, '\n') - (const char *)p) + 2;
	return p[1] < 126 ? 2u + p[1] : 4u + (size_t)(p[2] << 8 | p[3]);
}

/* There is room for n bytes and a reply, and then still for a close frame. */
bool conn_out_room(const struct conn *c, size_t n)
{
	return c->out_len + n + V1_REPLY_MAX + 2 + WS_CONTROL_MAX <= OUT_MAX;
}

/* All is out of one that is closing. False: the connection is gone. */
static bool closed(struct conns *cs, struct conn *c)
{
	if (c->peer_closed && !transport_full(&c->io)) {
		conn_free(cs, c);
		return false;
	}
	if (c->deaf || c->peer_closed)
		transport_shut(&c->io);		/* or the peer waits for us to go */
	return true;
}

/* Nothing of a frame is kept if the socket takes it at once, so that an idle client stays small. False:
 * the connection is gone. */
static bool out_add(struct conns *cs, struct conn *c, const uint8_t *p, size_t n)
{
	size_t sent = 0;

	assert(c->out_len + n <= OUT_MAX);
	if (c->out_len == 0 && !c->blocked && (sent = conn_send(cs, c, p, n)) == GONE)
		return false;
	if (sent == n)
		return c->state != CONN_CLOSING || closed(cs, c);
	memcpy(conn_cold(cs, c)->out + c->out_len, p, n);
	c->out_off = c->out_len ? c->out_off : (uint16_t)sent;
	c->out_len = (uint16_t)(c->out_len + n);
	return true;
}

void conn_out(struct conns *cs, struct conn *c, const uint8_t *p, size_t n)
{
	if (out_add(cs, c, p, n))
		conn_push(cs, c);
}

/* A control frame. One that waits for a raw client and has not been begun can only be a pong or a
 * ping, and gives way: RFC 6455 5.5.3 asks for the latest pong. Nothing but a close frame takes the
 * room of a reply. */
void conn_control(struct conns *cs, struct conn *c, const uint8_t *p, size_t n)
{
	if (c->form == FORM_FRAME && c->out_len > 0)
		c->out_len = (uint16_t)(c->out_off ? frame_len(conn_cold(cs, c)->out) : 0);
	if (conn_out_room(c, n) || p[0] == (0x80 | WS_CLOSE))
		conn_out(cs, c, p, n);
}

static bool push_out(struct conns *cs, struct conn *c)
{
	uint8_t *out = conn_cold(cs, c)->out;
	size_t sent = conn_send(cs, c, out + c->out_off, (size_t)(c->out_len - c->out_off)), whole = 0;

	if (sent == GONE)
		return false;
	sent += c->out_off;
	while (whole < c->out_len && whole + frame_len(out + whole) <= sent)
		whole += frame_len(out + whole);
	c->out_len = (uint16_t)(c->out_len - whole);
	c->out_off = (uint16_t)(sent - whole);
	memmove(out, out + whole, c->out_len);
	return c->out_len > 0 || c->state != CONN_CLOSING || closed(cs, c);
}

/* What a sluice.v1 client is to be told between messages: gaps, the end of a subscription, and that it
 * expires. 0: nothing. */
static size_t notice(struct conns *cs, struct conn *c, uint8_t out[V1_REPLY_MAX])
{
	struct session *session = conn_session(cs, c);
	const uint32_t id = conn_id(cs, c);

	if (c->form != FORM_V1 || !c->joined || c->state != CONN_OPEN || cs->hub.reader[id].off > 0)
		return 0;
	if (session->warning) {
		session->warning = false;
		return v1_expiring(out, (c->end_ms - cs->mono_ms + 999) / 1000);
	}
	const uint32_t sub = hub_notice(&cs->hub, id);

	if (sub == HUB_NONE)
		return 0;
	const struct hub_sub *s = &cs->hub.sub[sub];
	const struct hub_subject *e = &cs->hub.subject[s->entry];
	const struct span name = { (const char *)e->name, e->len };
	const size_t n = s->ended ? v1_error(out, (struct span){ NULL, 0 }, name, WHY_SUBJECT_DENIED) :
	    v1_gap(out, name, s->missed);

	hub_noticed(&cs->hub, id, sub);
	return n;
}

/* Send what is due until there is no more or the socket is full. Frames of its own go between
 * messages, before any that has not been begun. The slot may be free on return. */
void conn_push(struct conns *cs, struct conn *c)
{
	uint8_t out[V1_REPLY_MAX];
	struct piece piece;
	size_t n;

	while (!c->blocked) {
		const bool begun = c->out_len > 0 || c->state == CONN_CLOSING;

		if (c->joined && begun && piece_next(cs, c, true, &piece)) {
			if (!piece_send(cs, c, &piece))
				return;
			continue;
		}
		if (c->joined && c->state == CONN_CLOSING) {
			hub_leave(&cs->hub, conn_id(cs, c));
			c->joined = false;
			if (c->form == FORM_SSE && c->out_len == 0 && !closed(cs, c))
				return;
		}
		if (c->out_len > 0) {
			if (!push_out(cs, c))
				return;
		} else if ((n = notice(cs, c, out)) > 0) {
			if (!out_add(cs, c, out, n))
				return;
		} else if (c->joined && piece_next(cs, c, false, &piece)) {
			if (!piece_send(cs, c, &piece))
				return;
		} else {
			c->slow = false;
			return;
		}
	}
	if (c->joined)
		hub_stick(&cs->hub, conn_id(cs, c));
}

void conns_flush(struct conns *cs)
{
	struct hub_walk walk;
	uint32_t id;

	if (!hub_fresh(&cs->hub))
		return;
	hub_batch(&cs->hub, &walk);
	while ((id = hub_batch_next(&cs->hub, &walk)) != HUB_NONE)
		conn_push(cs, &cs->slot[id]);
	hub_flushed(&cs->hub);
}

/* ---- clients that fall behind ---- */

static void send_buffer(const struct conn *c, int n)
{
	setsockopt(c->io.fd, SOL_SOCKET, SO_SNDBUF, &n, sizeof n);
}

/* The record that a reader is stuck at is about to go. What is left of a frame that it has
 * begun is handed to the kernel, for which the send buffer is raised for the moment as far as
 * net.core.wmem_max allows, so that what the peer reads stays whole, and so does the close
 * frame behind it. */
static void conn_overtaken(struct conns *cs, struct conn *c)
{
	const uint32_t id = conn_id(cs, c);
	const bool skip = cs->config.slow == SLOW_SKIP && c->state == CONN_OPEN;
	struct piece piece;

	metrics.slow += c->state == CONN_OPEN;
	if (c->state == CONN_OPEN && !c->slow) {
		conn_log(LOG_WARN, "slow", c);
		log_text("action", skip ? "skip" : "close");
		log_end();
	}
	c->slow = true;
	const bool begun = piece_next(cs, c, true, &piece);

	send_buffer(c, INT32_MAX / 2);
	c->blocked = false;
	if (begun && !piece_send(cs, c, &piece))
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
	bool *const pinned = &cs->hub.subject[subject].pinned, was = *pinned;

	/* With neither reader nor message it might be forgotten with those whose messages go. */
	hub_pin(&cs->hub, subject);
	if (hub_must_flush(&cs->hub, subject, total))
		conns_flush(cs);
	while ((id = hub_room(&cs->hub, total)) != HUB_NONE) {
		if (may_wait && cs->config.slow == SLOW_WAIT) {
			conns_flush(cs);
			if (cs->held_ms < 0)
				cs->held_ms = cs->mono_ms;
			wheel_set(cs->wheel, cs->tick_id, cs->mono_ms + TICK_MS);
			return WHY_MORE;	/* to a source, whose subject stays pinned */
		}
		conn_overtaken(cs, &cs->slot[id]);
	}
	uint8_t *out = hub_push(&cs->hub, subject, total);

	*pinned = was;
	ws_head_write(out, cs->config.binary ? WS_BINARY : WS_TEXT, len);
	if (replace)
		utf8_replace(out + head, p, n);
	else if (n > 0)
		memcpy(out + head, p, n);
	metrics.messages++;
	return WHY_OK;
}

void conn_room_for_subject(struct conns *cs)
{
	uint32_t id;

	conns_flush(cs);
	while ((id = hub_subject_room(&cs->hub)) != HUB_NONE)
		conn_overtaken(cs, &cs->slot[id]);
}

uint32_t conn_subject(struct conns *cs, struct span name)
{
	uint32_t subject = hub_find(&cs->hub, name.p, name.n);

	if (subject == HUB_NONE) {
		conn_room_for_subject(cs);
		subject = hub_subject(&cs->hub, name.p, name.n);
	}
	return subject;
}

enum why conn_say(struct conns *cs, struct span subject, const uint8_t *p, size_t n)
{
	const enum why why = conn_publish(cs, conn_subject(cs, subject), p, n, false);

	if (why == WHY_OK && cs->config.print)
		print_message(subject, p, n);
	return why;
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

			ioctl(c->io.fd, SIOCOUTQ, &queued);
			if ((uint32_t)queued < cs->cold[id].queued)
				c->moved_ms = (uint32_t)cs->mono_ms;
			cs->cold[id].queued = (uint32_t)queued;
		}
	}
}

void conns_hold(struct conns *cs)
{
	uint32_t id, next;

	look_at_stuck(cs);
	wheel_set(cs->wheel, cs->tick_id, cs->mono_ms + TICK_MS);
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
	if (hub_first_stuck(&cs->hub) != HUB_NONE)
		return false;
	for (uint32_t id = 0; SLUICE_TLS && id < cs->made; id++)
		if (cs->slot[id].state == CONN_OPEN && transport_full(&cs->slot[id].io))
			return false;
	return true;
}
