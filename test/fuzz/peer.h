/* peer.h - for conn_fuzz.c: the other side of a connection.
 *
 * What a peer has asked is remembered, and all that comes is held against it: HTTP replies in order,
 * frames, the replies of sluice.v1 in order, messages as model.h says, server-sent events. One that
 * writes junk is believed only what the server did with it. */

#ifndef PEER_H
#define PEER_H

#include <errno.h>
#include <unistd.h>

#include "json.h"
#include "model.h"
#include "subject.h"
#include "why.h"
#include "ws.h"

#define PEERS 8u
#define INBOX (128u * 1024u)
#define OUTBOX 65536u
#define ASKED 64u
#define SAID 256u
#define SENT 1024u
#define NOTHING UINT32_MAX

/* ---- what peers mean to publish ---- */

static struct sent {
	uint32_t life, subject;
	size_t   len;
	uint8_t *text;
	bool     must;			/* before what the same life publishes after it */
	bool     published, refused;
} sents[SENT];
static uint32_t nsents;

/* ---- tokens ---- */

enum { TOKEN_ALL = 6, TOKENS = 10, VARIANTS = 4 };

/* What names a token may subscribe to, and which subjects it may publish to: a bit each. */
static const struct {
	const char *payload;		/* without its end */
	uint8_t sub, pub;
} rights[TOKENS] = {
	{ "{\"exp\":1700000010", 0x01, 0x00 },
	{ "{\"exp\":1700000900,\"session\":2.5", 0x01, 0x00 },
	{ "{\"exp\":1700000900,\"permissions\":{\"all\":[\"/*\"]}", 0xfe, 0x0e },
	{ "{\"exp\":1", 0x00, 0x00 },
	{ "{\"exp\":1700000900,\"sub\":\"me\",\"permissions\":{\"sub\":[\"/\",\"/b\"],\"pub\":[\"/\"]}", 0x03, 0x01 },
	{ "{\"exp\":1700000020,\"nbf\":1700000003", 0x01, 0x00 },
	{ "{\"exp\":1700000900,\"permissions\":{\"all\":[\"/\",\"/*\"]}", 0xff, 0x0f },
	{ "{\"exp\":1700000900,\"permissions\":{\"sub\":[\"/c/+\"],\"pub\":[\"/c/d\"]}", 0x8c, 0x04 },
	{ "{\"exp\":1700000900,\"session\":100,\"permissions\":{\"all\":[\"/*\",\"/\"]}", 0xff, 0x0f },
	{ "{\"exp\":1700000120,\"permissions\":{\"sub\":[\"/*\"],\"pub\":[\"/b\",\"/\"]}", 0xfe, 0x03 },
};

/* ---- peers ---- */

enum ask { ASK_POST, ASK_OPTIONS, ASK_RAW, ASK_V1, ASK_EVENTS, ASK_OTHER };

struct asked {
	enum ask what;
	uint32_t subject, sent, token;
	bool     bad;			/* 400 is right */
};

enum say { SAY_AUTH, SAY_SUB, SAY_UNSUB, SAY_PUB };

struct said {
	enum say what;
	uint32_t name, sent, token;
};

enum phase { PHASE_HTTP, PHASE_RAW, PHASE_V1, PHASE_EVENTS, PHASE_CLOSED, PHASE_OTHER };

static struct peer {
	int      fd;			/* or -1 */
	uint32_t life;			/* of this connection, unlike any other */
	enum phase phase;
	bool     junk;			/* has written what is not remembered, or ended */
	bool     doomed;		/* has said what must end it */
	bool     ended;			/* the end has been read */
	uint32_t publishes;		/* raw: to this subject, or NOTHING */
	uint32_t token;			/* in force: sluice.v1 */
	struct asked asked[ASKED];
	struct said said[SAID];
	uint32_t nasked, answered, nsaid, replied;
	struct reader reader;
	size_t   nout;
	uint8_t  out[OUTBOX];		/* said, and not written yet */
	uint64_t taken;			/* bytes that are no longer in the inbox */
	size_t   left;			/* PHASE_OTHER: of a body */
	size_t   n;
	uint8_t  inbox[INBOX];
} peers[PEERS];

static struct {
	bool binary, skips, open;	/* as the server is set up */
	char epoch[9];
} rules;

/* ---- messages that come ---- */

static void text_same(const struct message *m, const uint8_t *text, size_t n)
{
	MUST(m->len == n && memcmp(m->text, text, n) == 0);
}

/* sluice.v1 and events are text, whatever the stream is. */
static void text_shown(const struct message *m, const uint8_t *text, size_t n)
{
	size_t len;
	uint8_t *want = replaced(m->text, m->len, &len);

	MUST(len == n && memcmp(want, text, n) == 0);
	free(want);
}

/* CR, LF and CRLF are all one to server-sent events. */
static void text_lines(const struct message *m, const uint8_t *text, size_t n)
{
	size_t len, k = 0;
	uint8_t *want = replaced(m->text, m->len, &len);

	for (size_t i = 0; i < len; i++) {
		if (want[i] == '\n' && i > 0 && want[i - 1] == '\r')
			continue;
		const uint8_t c = want[i] == '\r' ? '\n' : want[i];

		MUST(k < n && text[k++] == c);
	}
	MUST(k == n);
	free(want);
}

/* What comes without a number: the next that is due. */
static void message_raw(struct peer *p, const uint8_t *text, size_t n)
{
	if (p->reader.lost)
		return;
	uint32_t s = 0;

	while (s < SUBJECTS && reader_next(&p->reader, s) == 0)
		s++;
	MUST(s < SUBJECTS);			/* the one that it reads */
	text_same(reader_got(&p->reader, s, reader_next(&p->reader, s)), text, n);
}

/* EPOCH-N */
static uint64_t number_of(const uint8_t *id, size_t n)
{
	char s[40];

	MUST(n > 9 && n < sizeof s && memcmp(id, rules.epoch, 8) == 0 && id[8] == '-');
	memcpy(s, id + 9, n - 9);
	s[n - 9] = '\0';
	return strtoull(s, NULL, 10);
}

/* ---- sluice.v1 ---- */

enum { OP, SUBJECT, ID, DATA, REASON, STRINGS };

static const char *const members[STRINGS] = { "op", "subject", "id", "data", "reason" };

struct came {
	struct { uint8_t *s; size_t n; } text[STRINGS];
	int64_t number_id, missed, expires, in;		/* -1: null, -2: not there */
};

static uint8_t strings[INBOX];

static int64_t number_read(struct json *j, enum json_event e)
{
	int64_t v;

	if (e == JSON_NULL)
		return -1;
	MUST(e == JSON_NUMBER && json_milli(j, &v, false) && v >= 0);
	return v / 1000;
}

static void came_read(struct came *c, const uint8_t *in, size_t n)
{
	static struct json j;
	size_t at = 0;

	*c = (struct came){ .number_id = -2, .missed = -2, .expires = -2, .in = -2 };
	json_init(&j, in, n);
	MUST(json_next(&j) == JSON_OBJECT);
	while (json_next(&j) == JSON_NAME) {
		int64_t *number = json_is(&j, "missed") ? &c->missed : json_is(&j, "expires") ? &c->expires :
		    json_is(&j, "in") ? &c->in : &c->number_id;
		uint32_t i = 0;

		while (i < STRINGS && !json_is(&j, members[i]))
			i++;
		const enum json_event e = json_next(&j);

		if (e != JSON_STRING) {
			*number = number_read(&j, e);
			continue;
		}
		MUST(i < STRINGS);
		c->text[i].s = strings + at;
		MUST(json_string(&j, strings + at, sizeof strings - at, &c->text[i].n));
		at += c->text[i].n;
	}
	MUST(json_next(&j) == JSON_DONE && c->text[OP].s);
}

static bool came_is(const struct came *c, uint32_t i, const char *s)
{
	return c->text[i].n == strlen(s) && memcmp(c->text[i].s, s, strlen(s)) == 0;
}

static void reply_error(struct peer *p, const struct said *s, const struct came *c)
{
	if (came_is(c, REASON, "subject_denied")) {
		MUST(s->what != SAY_AUTH);
		MUST(s->what != SAY_SUB || rules.open || !(rights[p->token].sub >> s->name & 1));
		MUST(s->what != SAY_PUB || rules.open || !(rights[p->token].pub >> s->name & 1));
		MUST(!rules.open || s->what == SAY_PUB);
	} else if (s->what == SAY_SUB) {
		MUST(came_is(c, REASON, "too_many_subscriptions"));
	} else if (s->what == SAY_PUB) {
		MUST(came_is(c, REASON, "message_too_large"));
	} else {
		MUST(s->what == SAY_AUTH && !rules.open);
	}
	if (s->what == SAY_PUB) {
		MUST(!sents[s->sent].published);
		sents[s->sent].refused = true;
	}
}

/* The reply to what was said longest ago. */
static void reply_came(struct peer *p, const struct came *c)
{
	MUST(p->replied < p->nsaid && c->number_id == p->replied);
	const struct said *s = &p->said[p->replied++];

	if (came_is(c, OP, "error")) {
		reply_error(p, s, c);
		return;
	}
	MUST((s->what == SAY_AUTH) == came_is(c, OP, "ready"));
	if (s->what == SAY_AUTH) {
		MUST(rules.open || s->token != 3);
		p->token = s->token;
	} else if (s->what == SAY_SUB) {
		MUST(rules.open || rights[p->token].sub >> s->name & 1);
	} else if (s->what == SAY_PUB) {
		MUST(!rules.open && rights[p->token].pub >> s->name & 1);
		MUST(sents[s->sent].published);
	}
}

static void msg_came(struct peer *p, const struct came *c)
{
	const uint32_t s = name_find(c->text[SUBJECT].s, c->text[SUBJECT].n);

	/* A pattern covers subjects too that the model does not know. */
	for (uint32_t i = SUBJECTS; i < NAMES && s >= SUBJECTS; i++)
		p->reader.lost |= subject_match((const uint8_t *)names[i], strlen(names[i]), c->text[SUBJECT].s,
		    c->text[SUBJECT].n);
	MUST(s < SUBJECTS || p->reader.lost);
	if (s < SUBJECTS)
		text_shown(reader_got(&p->reader, s, number_of(c->text[ID].s, c->text[ID].n)), c->text[DATA].s, c->text[DATA].n);
}

static void v1_came(struct peer *p, const uint8_t *in, size_t n)
{
	struct came c;

	came_read(&c, in, n);
	if (came_is(&c, OP, "msg")) {
		msg_came(p, &c);
	} else if (came_is(&c, OP, "gap")) {
		MUST(c.missed >= -1 && c.text[SUBJECT].s);
		reader_gap(&p->reader, c.missed >= 0, (uint64_t)c.missed);
	} else if (came_is(&c, OP, "expiring")) {
		MUST(c.in >= 0 && c.in <= 60);
	} else if (came_is(&c, OP, "error") && c.text[SUBJECT].s) {
		const uint32_t name = name_find(c.text[SUBJECT].s, c.text[SUBJECT].n);

		MUST(came_is(&c, REASON, "subject_denied") && (name == OTHER || p->reader.lost || p->reader.ended[name]-- > 0));
	} else if (came_is(&c, OP, "ready") && c.number_id == -2) {
		MUST(p->replied == 0 || p->junk);
	} else {
		MUST(came_is(&c, OP, "ok") || came_is(&c, OP, "error") || came_is(&c, OP, "ready"));
		if (!p->junk)
			reply_came(p, &c);
	}
}

/* ---- frames ---- */

/* A peer that has done nothing wrong is never told that it has. */
static void close_came(struct peer *p, const uint8_t *payload, size_t n)
{
	uint16_t code;

	MUST(ws_close_read(&code, payload, n) == WHY_OK);
	MUST(p->junk || p->doomed || code == 1001 || code == 1013 || code == 4401 ||
	    (code == 4403 && p->phase == PHASE_V1));
	p->phase = PHASE_CLOSED;
}

/* The frame at the front, if it is all there; its length, or 0. */
static size_t frame_came(struct peer *p)
{
	const uint8_t *in = p->inbox;
	const uint8_t op = in[0] & 0x0f;
	size_t head, len;

	MUST((in[0] & 0xf0) == 0x80);
	if (p->n < 2)
		return 0;
	MUST(op == WS_CLOSE || op == WS_PING || op == WS_PONG ||
	    op == (rules.binary && p->phase == PHASE_RAW ? WS_BINARY : WS_TEXT));
	MUST(in[1] < 127 && (in[1] < 126 || !(op & 8)));	/* none is over 64 KiB here */
	head = in[1] == 126 ? 4 : 2;
	if (p->n < head)
		return 0;
	len = head == 2 ? in[1] : (size_t)(in[2] << 8 | in[3]);
	MUST(head == ws_head_len(len));
	if (p->n < head + len)
		return 0;
	reader_at(&p->reader, p->taken);
	if (op == WS_CLOSE)
		close_came(p, in + head, len);
	else if (!(op & 8) && p->phase == PHASE_RAW)
		message_raw(p, in + head, len);
	else if (!(op & 8))
		v1_came(p, in + head, len);
	return head + len;
}

/* ---- server-sent events ---- */

static void event_came(struct peer *p, uint8_t *in, const uint8_t *end)
{
	uint8_t *line = memchr(in, '\n', (size_t)(end - in)), *to = line;
	const uint8_t *from;
	uint64_t number;

	MUST(line && line - in > 4 && memcmp(in, "id: ", 4) == 0);
	number = number_of(in + 4, (size_t)(line - in) - 4);
	for (from = line; from < end;) {
		MUST(end - from >= 7 && memcmp(from, "\ndata: ", 7) == 0);
		if (from > line)
			*to++ = '\n';
		for (from += 7; from < end && *from != '\n';)
			*to++ = *from++;
	}
	for (uint32_t s = 0; s < SUBJECTS; s++)
		if (reader_next(&p->reader, s) && !p->reader.lost)
			text_lines(reader_got(&p->reader, s, number), line, (size_t)(to - line));
}

static void comment_came(struct peer *p, const uint8_t *in, size_t n)
{
	char s[40];

	if (n == 1)
		return;				/* a heartbeat */
	MUST(n > 6 && n < sizeof s && memcmp(in, ": gap ", 6) == 0);
	memcpy(s, in + 6, n - 6);
	s[n - 6] = '\0';
	reader_gap(&p->reader, strcmp(s, "unknown") != 0, strtoull(s, NULL, 10));
}

static size_t events_came(struct peer *p)
{
	uint8_t *end = memmem(p->inbox, p->n, "\n\n", 2);

	if (!end)
		return 0;
	reader_at(&p->reader, p->taken);
	if (memcmp(p->inbox, "retry: 3000\n\n", 13) == 0)
		return 13;
	if (p->inbox[0] == ':')
		comment_came(p, p->inbox, (size_t)(end - p->inbox));
	else
		event_came(p, p->inbox, end);
	return (size_t)(end - p->inbox) + 2;
}

/* ---- HTTP ---- */

static void refused(struct peer *p, int status)
{
	const struct asked *a = p->answered < p->nasked ? &p->asked[p->answered] : NULL;

	if (p->junk)
		return;
	MUST(status != 400 || (a && a->bad));
	MUST(status != 431 && (status != 413 || (a && a->what == ASK_POST)));
	if (!a || a->what != ASK_POST || status == 503)
		return;
	MUST(!sents[a->sent].published);
	sents[a->sent].refused = true;
}

static void granted(struct peer *p, int status, enum phase phase)
{
	if (p->junk)
		return;
	MUST(p->answered < p->nasked);
	const struct asked *a = &p->asked[p->answered++];

	MUST(!a->bad && (status == 204) == (a->what == ASK_POST || a->what == ASK_OPTIONS));
	MUST((phase == PHASE_RAW) == (a->what == ASK_RAW) && (phase == PHASE_V1) == (a->what == ASK_V1) &&
	    (phase == PHASE_EVENTS) == (a->what == ASK_EVENTS));
	if (a->what == ASK_POST)
		MUST(sents[a->sent].published && !rules.open && rights[a->token].pub >> a->subject & 1);
	if (a->what == ASK_RAW || a->what == ASK_EVENTS)
		MUST(rules.open || rights[a->token].sub >> a->subject & 1);
	p->token = a->token;
	if (phase == PHASE_RAW && !rules.open && rights[a->token].pub >> a->subject & 1)
		p->publishes = a->subject;
}

static size_t length_of(const uint8_t *head, size_t n)
{
	static const char field[] = "Content-Length: ";
	const char *at = memmem(head, n, field, sizeof field - 1);

	return at ? strtoul(at + sizeof field - 1, NULL, 10) : 0;
}

/* The head at the front, if it is all there; its length, or 0. */
static size_t http_came(struct peer *p)
{
	const uint8_t *in = p->inbox, *end = memmem(in, p->n, "\r\n\r\n", 4);

	MUST(memcmp(in, "HTTP/1.1 ", p->n < 9 ? p->n : 9) == 0);
	if (!end)
		return 0;
	const size_t n = (size_t)(end + 4 - in);
	const int status = atoi((const char *)in + 9);

	if (status == 101)
		p->phase = memmem(in, n, "sluice.v1", 9) ? PHASE_V1 : PHASE_RAW;
	else if (status == 200 && memmem(in, n, "text/event-stream", 17))
		p->phase = PHASE_EVENTS;
	else if (status != 100 && status != 204)
		p->phase = PHASE_OTHER;
	if (status != 100 && status < 300)
		granted(p, status, p->phase);
	else if (status != 100)
		refused(p, status);
	p->left = length_of(in, n);
	return n;
}

static size_t rest_came(struct peer *p)
{
	MUST(p->n <= p->left);			/* the reply is the last */
	p->left -= p->n;
	return p->n;
}

static void parse(struct peer *p)
{
	size_t n = 1;

	while (p->n > 0 && n > 0) {
		MUST(p->phase != PHASE_CLOSED);
		n = p->phase == PHASE_HTTP ? http_came(p) : p->phase == PHASE_EVENTS ? events_came(p) :
		    p->phase == PHASE_OTHER ? rest_came(p) : frame_came(p);
		p->taken += n;
		memmove(p->inbox, p->inbox + n, p->n -= n);
	}
}

/* ---- reading and writing ---- */

/* Read at most so many bytes, a few at a time. */
static void peer_read(struct peer *p, size_t most)
{
	while (p->fd >= 0 && most > 0) {
		const size_t room = INBOX - p->n;
		const ssize_t r = read(p->fd, p->inbox + p->n, most < room ? most : room);

		p->ended |= r == 0 || (r < 0 && errno != EAGAIN);
		if (r <= 0)
			return;
		p->n += (size_t)r;
		most -= (size_t)r;
		parse(p);
	}
}

static void peer_flush(struct peer *p, size_t most)
{
	const size_t n = most < p->nout ? most : p->nout;

	if (p->fd < 0 || n == 0)
		return;
	const ssize_t r = write(p->fd, p->out, n);

	if (r > 0)
		memmove(p->out, p->out + r, p->nout -= (size_t)r);
}

static void peer_put(struct peer *p, const void *s, size_t n)
{
	MUST(p->nout + n <= OUTBOX);
	if (n > 0)
		memcpy(p->out + p->nout, s, n);
	p->nout += n;
}

static bool peer_room(const struct peer *p, size_t n)
{
	return p->fd >= 0 && OUTBOX - p->nout >= n && p->nasked < ASKED && p->nsaid < SAID && nsents < SENT;
}

#endif
