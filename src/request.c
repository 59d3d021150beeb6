/* request.c - what HTTP requests are answered with. */

#include "conn.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "log.h"
#include "metrics.h"
#include "page.h"
#include "subject.h"
#include "text.h"

/* The page runs its own script, takes nothing else from anywhere and gives no address away. It may
 * ask any server, since a link's renew=URL is known to the browser alone; all it sends there is a GET
 * with that site's own cookies, whose reply it may read only if that site says so (CORS). */
#define PAGE_FIELDS \
	"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; " \
	"script-src 'unsafe-inline'; img-src data:; connect-src 'self' http: https:; " \
	"frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n" \
	"X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"

/* ---- replies ---- */

/* The reply is out; wait for the peer to read it and go, lest a reset overtake it. */
static void drain(struct conns *cs, struct conn *c)
{
	c->state = CONN_DRAIN;
	conn_buf_release(cs, c);
	conn_message_release(cs, c);
	transport_shut(&c->io);
	conn_deadline_set(cs, c, cs->mono_ms + LINGER_MS);
}

/* A reply always fits the empty buffer of a fresh socket; if not, that peer has lost it. */
static bool put(const struct conn *c, const void *p, size_t n, bool more)
{
	return n == 0 || transport_send(&c->io, p, n, more) == (ssize_t)n;
}

static void reply(struct conns *cs, struct conn *c, const char *head, size_t n, const void *body,
    size_t len)
{
	if (put(c, head, n, len > 0))
		put(c, body, len, false);
	drain(cs, c);
}

/* Of an origin that may know what it was told. */
static struct span cors(const struct conns *cs, const struct http_req *r)
{
	return r && admit_origin(cs->admit, r->origin) == WHY_OK ? r->origin : (struct span){ NULL, 0 };
}

void conn_refuse(struct conns *cs, struct conn *c, enum why why, const struct http_req *r,
    const struct jwt *jwt)
{
	char out[HTTP_REPLY_MAX];

	conn_log_reject(c, why, r ? r->path : (struct span){ NULL, 0 }, jwt);
	const size_t n = http_refusal(out, why, r && r->token.p, cors(cs, r));
	const size_t body = strlen(why_text(why)) + 1;		/* RFC 9110 9.3.2: not for a HEAD */

	reply(cs, c, out, r && r->method == HTTP_HEAD ? n - body : n, NULL, 0);
}

/* The request has been answered and the connection is kept: on to the next, whose first bytes may be here. */
static void next_request(struct conns *cs, struct conn *c, const uint8_t *rest, size_t n)
{
	memmove(conn_buf(cs, c), rest, n);
	c->head_len = (uint16_t)n;
	c->head_seen = 0;
	conn_wait_anew(cs, c);
}

/* A reply without a body, after which rest[0..n) is the next request. */
static void answer(struct conns *cs, struct conn *c, const char *head, size_t len, bool keep,
    const uint8_t *rest, size_t n)
{
	if (!keep)
		reply(cs, c, head, len, NULL, 0);
	else if (put(c, head, len, false))
		next_request(cs, c, rest, n);
	else
		drain(cs, c);		/* it does not read what it is told, and has lost it */
}

/* ---- what needs no token ---- */

static void request_metrics(struct conns *cs, struct conn *c, const struct http_req *r)
{
	char head[HTTP_REPLY_MAX], body[METRICS_MAX];
	size_t n;

	if (r->method != HTTP_GET && r->method != HTTP_HEAD) {
		conn_refuse(cs, c, WHY_METHOD_NOT_ALLOWED, r, NULL);
		return;
	}
	if (r->path.n == 8 && memcmp(r->path.p, "/metrics", 8) == 0) {
		metrics.used_tokens = cs->admit->used.n;
		n = metrics_write(body);
	} else if (r->path.n == 8 && memcmp(r->path.p, "/healthz", 8) == 0) {
		memcpy(body, "ok\n", n = 3);
	} else {
		conn_refuse(cs, c, WHY_NOT_FOUND, r, NULL);
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

/* A browser asks whether it may ask (WHATWG Fetch 3.2.5). */
static void request_preflight(struct conns *cs, struct conn *c, const struct http_req *r)
{
	char out[HTTP_REPLY_MAX];

	if (admit_origin(cs->admit, r->origin) != WHY_OK)
		conn_refuse(cs, c, WHY_ORIGIN_DENIED, r, NULL);
	else
		answer(cs, c, out, http_preflight(out, r->keep, r->origin), r->keep,
		    cs->buf[c->buf] + c->head_seen, (size_t)(c->head_len - c->head_seen));
}

/* ---- readers ---- */

/* EPOCH-N (contract 4). False: malformed. */
bool conn_since(const struct conns *cs, struct hub_replay *replay, struct span since)
{
	const char *dash = since.n ? memrchr(since.p, '-', since.n) : NULL, *end = since.p + since.n;
	int64_t n;

	if (!dash || dash == since.p || !text_read(&n, dash + 1, (size_t)(end - dash) - 1))
		return false;
	for (const char *p = since.p; p < dash; p++)
		if (!((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f')))
			return false;
	const size_t len = (size_t)(dash - since.p);

	replay->since = true;
	replay->after = len == strlen(cs->epoch) && memcmp(since.p, cs->epoch, len) == 0 ?
	    (uint64_t)n : HUB_UNKNOWN;
	return true;
}

/* All that a request must be before its token is looked at. */
static enum why check_subject(const struct conns *cs, const struct http_req *r, struct hub_replay *replay)
{
	if (!subject_valid((const uint8_t *)r->path.p, r->path.n))
		return WHY_BAD_REQUEST;
	replay->since = false;
	replay->count = r->replay >= 0 ? (uint64_t)r->replay : cs->config.replay;
	return r->since.p && !conn_since(cs, replay, r->since) ? WHY_BAD_REQUEST : WHY_OK;
}

static enum why check_client(const struct conns *cs, const struct http_req *r)
{
	const enum why why = admit_origin(cs->admit, r->origin);

	return why == WHY_OK && cs->nopen >= cs->config.max_clients ? WHY_TOO_MANY_CLIENTS : why;
}

/* From HEAD to OPEN, as a reader of one subject. How many messages of a since are gone. */
static uint64_t join(struct conns *cs, struct conn *c, enum form form, const struct http_req *r,
    const struct jwt *jwt, const struct hub_replay *replay)
{
	conns_flush(cs);			/* what it has posted */
	const uint32_t id = conn_id(cs, c), subject = conn_subject(cs, r->path);

	c->form = (uint8_t)form;
	c->publishes = form == FORM_FRAME && !cs->admit->open && admit_covers(cs->admit, jwt->key,
	    jwt->grants.s, jwt->grants.n, GRANT_PUB, (const uint8_t *)r->path.p, r->path.n);
	hub_join(&cs->hub, id, subject);
	c->joined = true;
	const uint64_t gone = hub_replay(&cs->hub, id, replay);

	conn_log(LOG_INFO, "accept", c);
	conn_log_rest(r->path, jwt);
	conn_admit(cs, c, jwt);
	return gone;
}

/* A dead peer of server-sent events says nothing, so the kernel is to notice when it takes nothing. */
static void watch_silent(const struct conns *cs, const struct conn *c)
{
	const int ms = (int)(2 * cs->config.ping_ms);

	setsockopt(c->io.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

static void put_gap(struct conns *cs, struct conn *c, uint64_t missed)
{
	char s[40];
	struct text t = { s, sizeof s, 0 };

	text_str(&t, ": gap ");
	if (missed == HUB_UNKNOWN)
		text_str(&t, "unknown");
	else
		text_num(&t, missed, 1);
	text_str(&t, "\n\n");
	conn_out(cs, c, (const uint8_t *)s, t.n);
}

static size_t put_switch(char *out, const struct http_req *r, const char *protocol)
{
	char accept[WS_ACCEPT_LEN];

	ws_accept(accept, r->key.p, r->key.n);
	return http_switch(out, accept, protocol);
}

/* A raw client, or server-sent events. */
static void request_read(struct conns *cs, struct conn *c, enum form form, const struct http_req *r)
{
	char out[HTTP_REPLY_MAX];
	struct hub_replay replay;
	struct jwt jwt;
	enum why why = check_subject(cs, r, &replay);

	if (why == WHY_OK && form == FORM_FRAME)
		why = http_upgrade_check(r);
	if (why == WHY_OK)
		why = check_client(cs, r);
	jwt.sub.n = jwt.kid.n = 0;
	if (why == WHY_OK)
		why = conn_token(cs, &jwt, r->token, ADMIT_READ, r->path);
	if (why == WHY_OK)
		why = admit_take(cs->admit, &jwt);
	if (why != WHY_OK) {
		conn_refuse(cs, c, why, r, &jwt);
		return;
	}
	const size_t n = form == FORM_SSE ? http_events(out, cors(cs, r)) :
	    put_switch(out, r, r->bearer ? "bearer" : NULL);
	const uint64_t gone = join(cs, c, form, r, &jwt, &replay);

	if (form == FORM_SSE)
		watch_silent(cs, c);
	if (!put(c, out, n, false))
		conn_drop(cs, c, WHY_PEER_GONE);
	else if (form == FORM_SSE && gone)
		put_gap(cs, c, gone);
	else
		conn_push(cs, c);
}

/* A sluice.v1 client; one that is refused is upgraded too, so that a browser can show why. */
static void request_v1(struct conns *cs, struct conn *c, const struct http_req *r)
{
	const struct span none = { NULL, 0 };
	const bool shown = r->token.p || cs->admit->open;
	char out[HTTP_REPLY_MAX];
	struct jwt jwt;
	const enum why origin = admit_origin(cs->admit, r->origin);
	enum why why = http_upgrade_check(r);

	if (why == WHY_OK && origin == WHY_OK)
		why = check_client(cs, r);	/* there is no slot to upgrade */
	if (why != WHY_OK) {
		conn_refuse(cs, c, why, r, NULL);
		return;
	}
	if (!put(c, out, put_switch(out, r, "sluice.v1"), false)) {
		conn_drop(cs, c, WHY_PEER_GONE);
		return;
	}
	c->state = CONN_AUTH;
	c->form = FORM_V1;
	c->head_len = c->head_seen = 0;
	*conn_session(cs, c) = (struct session){ .start_ms = cs->mono_ms, .session_ms = INT64_MAX };
	jwt.sub.n = jwt.kid.n = 0;
	why = origin;
	if (why == WHY_OK && shown)
		why = conn_auth(cs, c, &jwt, r->token, none);
	if (why != WHY_OK) {
		conn_log_reject(c, why, none, &jwt);
		conn_close(cs, c, why);
	}
}

/* ---- publishing ---- */

/* The whole body is here; what stands behind it is the next request's. */
static void posted(struct conns *cs, struct conn *c, uint8_t *rest, size_t nrest)
{
	const struct conn_cold *cold = conn_cold(cs, c);
	const bool keep = cold->req.keep;
	char out[HTTP_REPLY_MAX];
	const enum why why = conn_say(cs, cold->req.path, conn_message(cs, c), cold->message.len);

	conn_message_release(cs, c);
	if (why != WHY_OK)
		conn_refuse(cs, c, why, &cold->req, NULL);
	else
		answer(cs, c, out, http_posted(out, keep, cors(cs, &cold->req)), keep, rest, nrest);
}

/* Take the body from p[0..n), for which there is room; up to p + end is what has come. */
static void take_body(struct conns *cs, struct conn *c, uint8_t *p, size_t n, size_t end)
{
	struct conn_cold *cold = conn_cold(cs, c);
	size_t used, len = cold->message.len;
	const enum body_result r = body_read(&cold->body, p, n, &used, conn_message(cs, c), &len,
	    cs->config.max_message);

	cold->message.len = (uint32_t)len;
	conn_message_grows(cs, c);
	if (r == BODY_DONE)
		posted(cs, c, p + used, end - used);
	else if (r != BODY_MORE)
		conn_refuse(cs, c, r == BODY_BIG ? WHY_MESSAGE_TOO_LARGE : WHY_BAD_REQUEST, &cold->req, NULL);
}

static void request_post(struct conns *cs, struct conn *c, const struct http_req *r)
{
	struct conn_cold *cold = conn_cold(cs, c);
	struct hub_replay replay;
	struct jwt jwt;
	enum why why = check_subject(cs, r, &replay);

	jwt.sub.n = jwt.kid.n = 0;
	if (why == WHY_OK && r->length > (int64_t)cs->config.max_message)
		why = WHY_MESSAGE_TOO_LARGE;
	if (why == WHY_OK)
		why = admit_origin(cs->admit, r->origin);
	if (why == WHY_OK)
		why = conn_token(cs, &jwt, r->token, ADMIT_PUBLISH, r->path);
	if (why != WHY_OK) {
		conn_refuse(cs, c, why, r, &jwt);
		return;
	}
	conn_log(LOG_DEBUG, "publish", c);
	conn_log_rest(r->path, &jwt);
	c->state = CONN_BODY;
	c->key = jwt.key;
	cold->req = *r;
	cold->message.len = 0;
	body_init(&cold->body, r->chunked, r->length > 0 ? (uint64_t)r->length : 0);
	if (r->expect && c->head_len == c->head_seen)
		put(c, HTTP_CONTINUE, strlen(HTTP_CONTINUE), false);
}

/* ---- input ---- */

static void request(struct conns *cs, struct conn *c)
{
	uint8_t *head = cs->buf[c->buf], *rest = head + c->head_seen;
	const size_t nrest = (size_t)(c->head_len - c->head_seen);
	struct http_req r;

	if (http_parse(&r, head, c->head_seen) != WHY_OK) {
		conn_refuse(cs, c, WHY_BAD_REQUEST, NULL, NULL);
		return;
	}
	conn_forwarded(cs, c, &r);
	if (c->metrics)
		request_metrics(cs, c, &r);
	else if (r.method == HTTP_OPTIONS)
		request_preflight(cs, c, &r);
	else if (r.method == HTTP_POST)
		request_post(cs, c, &r);
	else if (r.upgrade && r.v1)
		request_v1(cs, c, &r);
	else if (!r.upgrade && r.events && r.method == HTTP_GET)
		request_read(cs, c, FORM_SSE, &r);
	else if (cs->config.page && !r.upgrade && r.method != HTTP_OTHER && r.path.n == 1)
		request_page(cs, c, &r);
	else
		request_read(cs, c, FORM_FRAME, &r);

	/* What follows the head of an upgrade are frames. The buffer may have been given back by
	 * now, but nobody else is served before they have been read. */
	if (conn_lives(c) && c->form != FORM_SSE && nrest > 0)
		conn_frames(cs, c, rest, nrest);
}

/* Do what can be done with what is here. */
static void advance(struct conns *cs, struct conn *c)
{
	while (c->buf != CONN_NONE) {
		uint8_t *buf = cs->buf[c->buf];
		const size_t n = (size_t)(c->head_len - c->head_seen);

		if (c->state == CONN_HEAD && n > 0 && conn_spent(cs)) {
			conn_put_off(cs, c);
			return;
		} else if (c->state == CONN_HEAD && n > 0) {
			size_t seen = c->head_seen;
			const enum why why = http_head_end(&seen, buf, c->head_len);

			c->head_seen = (uint16_t)seen;
			if (why == WHY_OK)
				request(cs, c);
			else if (why != WHY_MORE)
				conn_refuse(cs, c, why, NULL, NULL);
		} else if (c->state == CONN_BODY) {
			const size_t room = conn_message_room(cs, c), some = n < room ? n : room;

			if (room > 0)
				take_body(cs, c, buf + c->head_seen, some, n);
			if (c->state == CONN_BODY)
				c->head_seen = (uint16_t)(c->head_seen + some);
			if (c->state == CONN_BODY && (room == 0 || some == n))
				return;
		} else {
			return;
		}
	}
}

void conn_input_request(struct conns *cs, struct conn *c, bool ended)
{
	uint8_t body[INPUT_SIZE];
	bool more = true;

	for (int i = 0; (i < READS_MAX || transport_more(&c->io)) && more; i++) {
		size_t n;

		advance(cs, c);			/* it may have waited for a message buffer */
		if (c->starved || c->late || (c->state != CONN_HEAD && c->state != CONN_BODY))
			break;
		const bool head = c->state == CONN_HEAD;
		uint8_t *p = head ? conn_buf(cs, c) + c->head_len : body;
		size_t cap = head ? (size_t)(HEAD_MAX - c->head_len) : conn_message_room(cs, c);

		if (!head && cap > sizeof body)
			cap = sizeof body;
		if (cap == 0)
			break;
		if (!conn_recv(cs, c, p, cap, &n))
			return;
		if (head)
			c->head_len = (uint16_t)(c->head_len + n);
		else if (n > 0)
			take_body(cs, c, body, n, n);
		advance(cs, c);
		more = n == cap || (ended && n > 0);
	}
	if (c->state == CONN_HEAD && c->head_len == 0)
		conn_buf_release(cs, c);
	if (more && !c->starved && !c->late && c->state != CONN_FREE)
		conn_rearm(cs, c);
}
