/* conn_fuzz.c - clients that write and read what, when and as little as the input says.
 *
 * Links conn and all below it but print, for what clients publish comes here. The sockets are real but for their buffers: send and SO_SNDBUF are ours. */
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "b64.h"
#include "check.h"
#include "conn.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "page.h"
#include "print.h"
#include "subject.h"
#include "utf8.h"
#include "ws.h"

#define MUST(e) do { \
	if (!(e)) { \
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #e); \
		abort(); \
	} \
} while (0)

#define PEERS 8u
#define SLOTS_MAX 8u
#define MESSAGES 256u
#define SUBJECTS 2u
#define TOKENS 6u
#define INBOX 65536u
#define START_MS 1700000000000

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

const uint8_t page[] = "<!doctype html>";
const size_t page_len = sizeof page - 1;

/* What is left of the input; zeros follow it. */
static struct {
	const uint8_t *p;
	size_t n;
} input;

static struct conns cs;
static struct admit admit;
static struct wheel wheel;
static struct wheel_timer timers[SLOTS_MAX + 1];	/* the last: conns_tick */
static int epfd, listener;
static struct sockaddr_un address;
static socklen_t address_len;
static char tokens[TOKENS][512];

/* What the socket of a slot takes. */
static struct wire {
	uint32_t gen;
	bool     used, begun;	/* by that generation; the reply is out */
	bool     owed;		/* it was full: the kernel owes an EPOLLOUT */
	size_t   room;
} wires[SLOTS_MAX];
static bool wide;		/* no socket is ever full */
static size_t raised;		/* the room that a raised SO_SNDBUF is */

static struct message {
	uint32_t subject;
	size_t   len;
	uint8_t *text;
} messages[MESSAGES];
static uint32_t nmessages, subjects[SUBJECTS];

enum phase { PHASE_HEAD, PHASE_FRAMES, PHASE_CLOSED, PHASE_OTHER };

static struct peer {
	int      fd;		/* or -1 */
	enum phase phase;
	uint32_t slot, gen;	/* on the other side, or CONN_NONE */
	uint32_t subject, last;	/* of the message that came last, or UINT32_MAX */
	bool     wrote_badly;	/* may have broken the framing, or ended */
	size_t   n;
	uint8_t  inbox[INBOX];
} peers[PEERS];

void print_message(struct span subject, const uint8_t *p, size_t n)
{
	(void)subject, (void)p, (void)n;
}

static uint8_t byte(void)
{
	if (input.n == 0)
		return 0;
	input.n--;
	return *input.p++;
}

/* ---- sockets ---- */

static struct wire *wire_of(int fd)
{
	for (uint32_t i = 0; i < cs.made; i++) {
		if (cs.slot[i].fd != fd || cs.slot[i].state == CONN_FREE)
			continue;
		if (!wires[i].used || wires[i].gen != cs.slot[i].gen)
			wires[i] = (struct wire){ .gen = cs.slot[i].gen, .used = true };
		return &wires[i];
	}
	abort();
}

ssize_t send(int fd, const void *p, size_t n, int flags)
{
	struct wire *w = wire_of(fd);
	const size_t room = wide || !w->begun ? n : w->room;
	ssize_t r = -1;

	errno = EAGAIN;
	if (room > 0)
		r = sendto(fd, p, room < n ? room : n, flags, NULL, 0);
	if (r > 0 && w->begun && !wide)
		w->room -= (size_t)r;
	w->begun = true;
	if (r < 0 ? errno == EAGAIN : (size_t)r < n)
		w->owed = true;
	return r;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	int n;

	if (level == SOL_SOCKET && name == SO_SNDBUF) {
		memcpy(&n, value, sizeof n);
		wire_of(fd)->room = n > CLIENT_SNDBUF ? raised : 0;
	}
	return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
}

/* ---- what must hold whenever nothing is going on ---- */

static void check_pending(void)
{
	uint32_t count = 0, prev = CONN_NONE;

	for (uint32_t id = cs.oldest; id != CONN_NONE; prev = id, id = cs.slot[id].next) {
		const struct conn *c = &cs.slot[id];

		MUST(id < cs.made && count++ < cs.npending && c->prev == prev);
		MUST(!c->admitted && c->state != CONN_FREE && c->state != CONN_OPEN);
	}
	MUST(count == cs.npending && cs.newest == prev && count <= cs.config.max_pending);
}

static void check_free(void)
{
	uint32_t free_slots = 0, listed = 0;

	for (uint32_t i = 0; i < cs.made; i++)
		free_slots += cs.slot[i].state == CONN_FREE;
	for (uint32_t i = cs.free; i; i = cs.slot[i - 1].next) {
		MUST(i <= cs.made && cs.slot[i - 1].state == CONN_FREE);
		MUST(listed++ < free_slots);
	}
	MUST(listed == free_slots);
}

static void check_bufs(void)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i < cs.made; i++) {
		const struct conn *c = &cs.slot[i];

		if (c->state == CONN_FREE || c->buf == CONN_NONE)
			continue;
		used++;
		MUST(!c->admitted && c->state != CONN_DRAIN && c->buf < cs.nbuf_made);
		for (uint32_t k = 0; k < i; k++)
			MUST(cs.slot[k].state == CONN_FREE || cs.slot[k].buf != c->buf);
	}
	MUST(cs.nbuf_made <= cs.config.max_pending && cs.nbuf_made == used + cs.nbuf_free);
}

/* One that is open has all there is unless its socket is full, and then an event will come. */
static void check_live(uint32_t i)
{
	const struct conn *c = &cs.slot[i];
	const struct hub_reader *r = &cs.hub.reader[i];

	MUST(c->joined || c->state != CONN_OPEN);
	MUST(c->out_len <= sizeof cs.cold[i].out && c->in_len <= sizeof cs.cold[i].in);
	MUST(c->out_len ? c->out_off < c->out_len : c->out_off == 0);
	if (!c->blocked) {
		MUST(c->out_len == 0 && (!c->joined || r->record == RING_NONE));
		MUST(c->state != CONN_CLOSING || !c->joined);
		return;
	}
	MUST(wires[i].gen == c->gen && wires[i].owed);
	MUST(!c->joined || r->stuck == (r->record != RING_NONE));
	MUST(r->record == RING_NONE || !c->joined || (r->record >= cs.hub.ring.tail &&
	    r->record < cs.hub.ring.head));
}

static void check_all(void)
{
	uint32_t live = 0, pending = 0;

	for (uint32_t i = 0; i < cs.made; i++) {
		const struct conn *c = &cs.slot[i];
		const bool lives = conn_lives(c);

		live += c->state != CONN_FREE && c->admitted;
		pending += c->state != CONN_FREE && !c->admitted;
		MUST((timers[i].slot != 0) == (c->state != CONN_FREE));
		MUST(c->state == CONN_FREE || lives || !c->joined);
		if (lives)
			check_live(i);
	}
	MUST(live == cs.nopen && pending == cs.npending && metrics.clients == live);
	MUST(live <= cs.config.max_clients && cs.made <= cs.nslots);
	MUST(conns_empty(&cs) == (live + pending == 0));
	check_pending();
	check_free();
	check_bufs();
}

/* ---- the other side ---- */

static void message_came(struct peer *p, const uint8_t *text, size_t n)
{
	char digits[12] = "";

	MUST(n >= 2);
	memcpy(digits, text, n < sizeof digits - 1 ? n : sizeof digits - 1);
	const uint32_t i = (uint32_t)strtoul(digits, NULL, 10);
	const struct message *m = &messages[i];

	MUST(i < nmessages && m->len == n && memcmp(m->text, text, n) == 0);
	MUST(p->last == UINT32_MAX || (i > p->last && m->subject == p->subject));
	for (uint32_t k = p->last + 1; p->last != UINT32_MAX && k < i; k++)
		MUST(messages[k].subject != p->subject || cs.config.slow == SLOW_SKIP);
	p->last = i;
	p->subject = m->subject;
}

/* The frame at the front, if it is all there; its length, or 0. */
static size_t frame_came(struct peer *p)
{
	const uint8_t *in = p->inbox;
	const uint8_t op = in[0] & 0x0f;
	size_t head, len;

	MUST(p->n < 1 || (in[0] & 0xf0) == 0x80);
	if (p->n < 2)
		return 0;
	MUST(op == WS_CLOSE || op == WS_PING || op == WS_PONG ||
	    op == (cs.config.binary ? WS_BINARY : WS_TEXT));
	MUST(in[1] < 127 && (in[1] < 126 || !(op & 8)));	/* none is over 64 KiB here */
	head = in[1] == 126 ? 4 : 2;
	if (p->n < head)
		return 0;
	len = head == 2 ? in[1] : (size_t)(in[2] << 8 | in[3]);
	MUST(head == ws_head_len(len));
	if (p->n < head + len)
		return 0;
	if (op == WS_CLOSE) {
		uint16_t code;

		MUST(ws_close_read(&code, in + head, len) == WHY_OK);
		p->phase = PHASE_CLOSED;
	} else if (!(op & 8)) {
		message_came(p, in + head, len);
	}
	return head + len;
}

static void parse(struct peer *p)
{
	size_t n = 1;

	if (p->phase == PHASE_HEAD) {
		const uint8_t *end = memmem(p->inbox, p->n, "\r\n\r\n", 4);

		MUST(memcmp(p->inbox, "HTTP/1.1 ", p->n < 9 ? p->n : 9) == 0);
		if (!end)
			return;
		p->phase = memcmp(p->inbox + 9, "101 ", 4) == 0 ? PHASE_FRAMES : PHASE_OTHER;
		n = (size_t)(end + 4 - p->inbox);
		memmove(p->inbox, p->inbox + n, p->n -= n);
	}
	while (p->phase == PHASE_FRAMES && p->n > 0 && n > 0) {
		n = frame_came(p);
		memmove(p->inbox, p->inbox + n, p->n -= n);
	}
	MUST(p->phase != PHASE_CLOSED || p->n == 0);
	if (p->phase == PHASE_OTHER)
		p->n = 0;
}

/* Read at most so many bytes, a few at a time. False: the end. */
static bool peer_read(struct peer *p, size_t most)
{
	ssize_t r = 0;

	while (p->fd >= 0 && most > 0) {
		const size_t room = INBOX - p->n;

		r = read(p->fd, p->inbox + p->n, most < room ? most : room);
		if (r <= 0)
			return r < 0 && errno == EAGAIN;
		p->n += (size_t)r;
		most -= (size_t)r;
		parse(p);
	}
	return true;
}

static void peer_write(struct peer *p, const void *s, size_t n)
{
	if (p->fd >= 0 && n > 0 && write(p->fd, s, n) != (ssize_t)n)
		p->wrote_badly = true;
}

static void peer_close(struct peer *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

static void peer_connect(struct peer *p)
{
	peer_close(p);
	p->phase = PHASE_HEAD;
	p->slot = CONN_NONE;
	p->last = UINT32_MAX;
	p->wrote_badly = false;
	p->n = 0;
	p->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	MUST(p->fd >= 0);
	if (connect(p->fd, (const struct sockaddr *)&address, address_len) != 0)
		peer_close(p);
}

/* ---- what may happen ---- */

static void poll_events(void)
{
	struct epoll_event e[32];
	const int n = epoll_wait(epfd, e, 32, 0);

	for (int i = 0; i < n; i++) {
		const uint32_t id = (uint32_t)e[i].data.u64;

		MUST(e[i].data.u64 >> 56 == TAG_CONN && id < cs.made);
		if (e[i].events & EPOLLOUT)
			wires[id].owed = false;
		conn_event(&cs, id, (uint32_t)(e[i].data.u64 >> 32) & 0xffffff, e[i].events);
	}
}

static void op_connect(struct peer *p)
{
	const uint8_t how = byte();

	peer_connect(p);
	if (how & 1)
		return;				/* it waits in the backlog, with others */
	MUST(conns_accept(&cs, listener, how % 8 == 2));
	if (how % 8 == 4 && p->fd >= 0 && cs.newest != CONN_NONE) {
		p->slot = cs.newest;
		p->gen = cs.slot[p->slot].gen;
	}
}

static void op_write(struct peer *p)
{
	const size_t most = byte(), n = most < input.n ? most : input.n;

	p->wrote_badly = true;
	peer_write(p, input.p, n);
	input.p += n;
	input.n -= n;
}

static void op_request(struct peer *p)
{
	static const char *const targets[] = { "/", "/b", "/?replay=3", "/b?replay=100",
		"/?since=%s-2", "/b?since=%s-0", "/?since=1-1", "/healthz", "/metrics", "/?since=%s-x",
		"/b?since=1", "/?since=-1", "/a//b", "/?since=g-1", "/%%62", "/*" };
	char target[64], head[1024];
	const uint8_t what = byte(), token = byte() % (TOKENS + 2), split = byte();

	snprintf(target, sizeof target, targets[what % 16], cs.epoch);
	const int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: x\r\n%s"
	    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s%s\r\n",
	    what & 64 ? "HEAD" : "GET", target,
	    what & 32 ? "" : "Upgrade: websocket\r\nConnection: Upgrade\r\n",
	    token < TOKENS ? "Authorization: Bearer " : "", token < TOKENS ? tokens[token] : "",
	    token < TOKENS ? "\r\n" : "");
	const size_t first = split * 2u < (size_t)n ? split * 2u : (size_t)n;

	if (p->phase != PHASE_HEAD)
		p->wrote_badly = true;
	peer_write(p, head, first);
	if (what & 128)
		poll_events();
	peer_write(p, head + first, (size_t)n - first);
}

static void op_frame(struct peer *p)
{
	static const uint8_t ops[] = { 0x89, 0x8a, 0x88, 0x81, 0x89, 0x01, 0x09, 0xc1 };
	uint8_t frame[6 + 125] = { 0 };
	const uint8_t what = byte(), len = byte() % 126;
	const size_t cut = what & 0x80 ? byte() % sizeof frame : 6u + len;

	frame[0] = ops[what % 8];
	frame[1] = 0x80 | len;
	for (unsigned i = 0; i < len && i < 4 && what & 0x40; i++)
		frame[6 + i] = byte();
	if (what % 8 > 1 || what & 0x80)
		p->wrote_badly = true;
	peer_write(p, frame, cut < 6u + len ? cut : 6u + len);
}

/* More than one turn's worth of pings. */
static void op_flood(struct peer *p)
{
	static uint8_t frames[1024][6 + 125];
	const size_t n = (size_t)(byte() + 1) * 4;

	for (size_t i = 0; i < n; i++) {
		frames[i][0] = 0x89;
		frames[i][1] = 0x80 | 125;
	}
	peer_write(p, frames, n * sizeof frames[0]);
}

static void op_room(uint32_t id)
{
	struct conn *c = &cs.slot[id];
	const uint8_t much = byte();

	if (c->state == CONN_FREE)
		return;
	struct wire *w = wire_of(c->fd);

	w->room += much < 128 ? much : (much - 127u) * 64u;
	if (w->owed && w->room > 0) {
		w->owed = false;
		conn_event(&cs, id, c->gen & 0xffffff, EPOLLOUT);
	}
}

static void publish_one(void)
{
	const uint8_t what = byte(), len = byte();
	uint8_t text[16 + 255 * 16];
	size_t n;

	if (nmessages == MESSAGES)
		return;
	n = (size_t)snprintf((char *)text, sizeof text, "%u ", nmessages);
	memset(text + n, 'x', sizeof text - n);
	for (unsigned i = 0; i < 3 && what & 2; i++)
		text[n + i] = byte() | 0x80;
	n += what & 4 ? len * 16u : len;

	const bool replace = !cs.config.binary && !utf8_valid(text, n);
	struct message *m = &messages[nmessages];

	m->subject = subjects[what % SUBJECTS];
	m->len = replace ? utf8_replaced_len(text, n) : n;
	const enum why why = conn_publish(&cs, m->subject, text, n, what & 8);

	MUST((why == WHY_MESSAGE_TOO_LARGE) == (ws_head_len(m->len) + m->len > cs.hub.ring.size));
	MUST(why != WHY_MORE || (what & 8 && cs.config.slow == SLOW_WAIT && cs.held_ms >= 0));
	if (why != WHY_OK)
		return;
	m->text = malloc(m->len);
	MUST(m->text != NULL);
	if (replace)
		utf8_replace(m->text, text, n);
	else
		memcpy(m->text, text, n);
	nmessages++;
}

static void op_publish(void)
{
	for (unsigned n = byte() % 8; n != UINT32_MAX; n--)
		publish_one();
	conns_flush(&cs);
}

static void advance(int64_t ms)
{
	uint32_t id;

	cs.mono_ms += ms;
	cs.wall_ms += ms;
	while ((id = wheel_pop(&wheel, cs.mono_ms)) != WHEEL_NONE) {
		if (id == cs.tick_id)
			conns_tick(&cs);
		else
			conn_deadline(&cs, id);
	}
}

/* Events that come late, for a slot's earlier life, or for no reason. */
static void op_stray(uint32_t id)
{
	const uint8_t what = byte();
	const uint32_t gen = cs.slot[id].gen - (what & 1);

	conn_event(&cs, id, gen & 0xffffff, (what & 2 ? EPOLLIN : 0) | (what & 4 ? EPOLLHUP : 0) |
	    (what & 8 ? EPOLLERR : 0) | (what & 16 ? EPOLLOUT : 0));
}

static void op_end(struct peer *p)
{
	p->wrote_badly = true;
	if (byte() & 1)
		peer_close(p);
	else if (p->fd >= 0)
		shutdown(p->fd, SHUT_WR);
}

static void op(void)
{
	const uint8_t what = byte();
	struct peer *p = &peers[what >> 4 & 7];
	const uint32_t id = cs.made ? (uint32_t)(what >> 4 & 7) % cs.made : CONN_NONE;

	switch (what & 15) {
	case 0:
		op_connect(p);
		break;
	case 1:
		op_write(p);
		break;
	case 2: case 3:
		op_request(p);
		break;
	case 4: case 5:
		op_frame(p);
		break;
	case 6: case 7:
		if (id != CONN_NONE)
			op_room(id);
		break;
	case 8: case 9:
		op_publish();
		break;
	case 10:
		advance((int64_t)(what & 128 ? 1 : 97) * byte());
		break;
	case 11:
		peer_read(p, what & 128 ? INBOX : byte());
		break;
	case 12:
		op_end(p);
		break;
	case 13:
		if (id != CONN_NONE)
			op_stray(id);
		break;
	case 14:
		if (byte() % 8 == 0)
			conns_close_all(&cs, WHY_KEY_UNKNOWN, false);
		else
			conns_accept(&cs, listener, false);
		break;
	default:
		op_flood(p);
		break;
	}
	if (what < 128 || (what & 15) > 5)
		poll_events();
}

/* ---- a run ---- */

#define SECRET "a secret of thirty-two bytes ..."

static void token_make(char out[512], const char *payload)
{
	static const char head[] = "{\"alg\":\"HS256\"}";
	struct hmac_key key;
	uint8_t mac[SHA256_LEN];
	size_t n = B64URL_LEN(sizeof head - 1);

	b64url_encode(out, (const uint8_t *)head, sizeof head - 1);
	out[n++] = '.';
	b64url_encode(out + n, (const uint8_t *)payload, strlen(payload));
	n += B64URL_LEN(strlen(payload));
	hmac_key_init(&key, SECRET, strlen(SECRET));
	hmac_sign(&key, out, n, mac);
	out[n++] = '.';
	b64url_encode(out + n, mac, sizeof mac);
	out[n + B64URL_LEN(sizeof mac)] = '\0';
}

/* What stays from run to run. */
static void set_up(void)
{
	static const char *const payloads[TOKENS] = {
		"{\"exp\":1700000010,\"jti\":\"a\"}", "{\"exp\":1700000900,\"session\":2.5}",
		"{\"exp\":1700000900,\"permissions\":{\"all\":[\"/*\"]}}", "{\"exp\":1}",
		"{\"exp\":1700000900,\"sub\":\"me\",\"permissions\":{\"sub\":[\"/\",\"/b\"]}}",
		"{\"exp\":1700000020,\"nbf\":1700000003}",
	};

	signal(SIGPIPE, SIG_IGN);
	log_init(LOG_ERROR);
	key_set_secret(&admit.keys, (const uint8_t *)SECRET, strlen(SECRET));
	for (unsigned i = 0; i < TOKENS; i++)
		token_make(tokens[i], payloads[i]);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	address.sun_family = AF_UNIX;
	address_len = sizeof address;
	MUST(bind(listener, (const struct sockaddr *)&address, sizeof address.sun_family) == 0);
	MUST(getsockname(listener, (struct sockaddr *)&address, &address_len) == 0);
	MUST(listen(listener, 16) == 0);
	for (unsigned i = 0; i < PEERS; i++)
		peers[i].fd = -1;
}

/* Memory of the same size from the heap, whose ends a sanitizer watches. */
static void *watched(void *p, size_t n, size_t size)
{
	munmap(p, n * size);
	p = calloc(n, size);
	MUST(p != NULL);
	return p;
}

static void watch_memory(const struct conn_config *config)
{
	const uint32_t nsubs = cs.hub.nsubs;
	const size_t hub = hub_size(cs.nslots, config->nsources, nsubs);
	const uint32_t seed = cs.hub.seed;

	cs.slot = watched(cs.slot, cs.nslots, sizeof *cs.slot);
	cs.cold = watched(cs.cold, cs.nslots, sizeof *cs.cold);
	cs.buf = watched(cs.buf, config->max_pending, sizeof *cs.buf);
	cs.buf_free = watched(cs.buf_free, config->max_pending, sizeof *cs.buf_free);
	hub_init(&cs.hub, watched(cs.hub.subject, 1, hub), cs.nslots, config->nsources, nsubs,
	    seed, watched(cs.hub.ring.record, 1, config->buffer), config->buffer);
}

static void begin(void)
{
	const uint8_t a = byte(), b = byte(), c = byte();
	const struct conn_config config = { .max_clients = 1u + (b & 3), .max_pending = 1u + (b >> 2 & 3),
		.nsources = SUBJECTS, .buffer = 1024u + (b >> 4) * 256u, .max_message = 4096, .handshake_ms = 10000,
		.ping_ms = c & 1 ? 1000 : 30000, .replay = c & 2 ? 5 : 0,
		.slow = (enum slow)(a % 3), .binary = c & 4, .page = c & 8 };

	wide = false;
	raised = c & 16 ? 1 << 20 : a & 64 ? 100 : 0;
	admit.open = !(c & 32);
	
	admit.enforce_expiry = c & 128;
	admit.policy = (struct jwt_policy){ .max_ttl_ms = 3600000, .leeway_ms = a & 128 ? 1000 : 0,
		.once = c & 64 };
	used_init(&admit.used, calloc(1, used_size(2)), 2, INT64_MIN);
	memset(timers, 0, sizeof timers);
	memset(wires, 0, sizeof wires);
	memset(&metrics, 0, sizeof metrics);
	epfd = epoll_create1(EPOLL_CLOEXEC);
	wheel_init(&wheel, timers, 1000);
	conns_init(&cs, &config, &admit, &wheel, SLOTS_MAX, epfd, (const uint32_t[]){ 1, 2 });
	watch_memory(&config);
	cs.mono_ms = 1000;
	cs.wall_ms = START_MS;
	for (uint32_t i = 0; i < SUBJECTS; i++) {
		subjects[i] = hub_subject(&cs.hub, i ? "/b" : "/", 1 + i);
		hub_pin(&cs.hub, subjects[i]);
	}
	nmessages = 0;
}

/* Everybody reads and nobody is in the way: all go, and with a close frame. */
static void farewell(void)
{
	bool goodbye[PEERS];

	conns_accept(&cs, listener, false);
	for (unsigned i = 0; i < PEERS; i++) {
		const struct peer *p = &peers[i];

		goodbye[i] = p->fd >= 0 && !p->wrote_badly && p->slot != CONN_NONE &&
		    cs.slot[p->slot].gen == p->gen && cs.slot[p->slot].state == CONN_OPEN;
	}
	wide = true;
	conns_close_all(&cs, WHY_SHUTDOWN, true);
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < cs.made; i++)
			if (cs.slot[i].state != CONN_FREE && cs.slot[i].blocked)
				conn_event(&cs, i, cs.slot[i].gen & 0xffffff, EPOLLOUT);
		for (unsigned i = 0; i < PEERS; i++)
			peer_read(&peers[i], SIZE_MAX);
		poll_events();
	}
	check_all();
	for (unsigned i = 0; i < PEERS; i++)
		MUST(!goodbye[i] || peers[i].phase == PHASE_CLOSED);
	advance(LINGER_MS + WHEEL_TICK_MS);
	check_all();
	MUST(conns_empty(&cs) && hub_first_stuck(&cs.hub) == HUB_NONE && conns_delivered(&cs));
}

static void end(void)
{
	for (unsigned i = 0; i < PEERS; i++) {
		peer_read(&peers[i], SIZE_MAX);
		peer_close(&peers[i]);
		peers[i].slot = CONN_NONE;
		peers[i].n = 0;
	}
	while (nmessages > 0)
		free(messages[--nmessages].text);
	free(cs.slot);
	free(cs.cold);
	free(cs.buf);
	free(cs.buf_free);
	free(cs.hub.subject);
	free(cs.hub.ring.record);
	free(admit.used.entry);
	close(epfd);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static bool ready;

	if (!ready)
		set_up();
	ready = true;
	input.p = p;
	input.n = n < 4096 ? n : 4096;
	begin();
	while (input.n > 0) {
		op();
		check_all();
	}
	farewell();
	end();
	return 0;
}
