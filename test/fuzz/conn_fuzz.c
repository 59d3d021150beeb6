/* conn_fuzz.c - clients that write and read what, when and as little as the input says.
 *
 * Links conn and all below it but print, for what clients publish comes here. The sockets are real
 * but for their buffers: accept4, poll, send and SO_SNDBUF are ours, and so is word of what the hub is
 * asked for. model.h says what is to come to whom, peer.h looks whether it does. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "b64.h"
#include "check.h"
#include "conn.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "model.h"
#include "page.h"
#include "peer.h"
#include "print.h"

#define SLOTS_MAX 12u
#define LISTENER (-2)
#define WAITING 64u
#define LIVES 8192u
#define START_MS 1700000000000
#define NOBODY 0xfffffff0u	/* has a message buffer, and keeps it */

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
static int epfd;
static char tokens[TOKENS][VARIANTS][512];

/* Who has connected and is not accepted yet, and whose the accepted are. */
static struct { int fd; uint32_t life; } waiting[WAITING];
static uint32_t nwaiting, life;
static uint32_t life_of[1024];	/* by descriptor */
static struct {
	bool     junk;
	uint32_t last;		/* of sents that it has published, plus 1 */
} lives[LIVES];
static bool no_descriptor;	/* for the next accept */

/* What the socket of a slot takes. */
static struct wire {
	uint32_t gen, life;
	bool     used;
	bool     owed;		/* it was full: the kernel owes an EPOLLOUT */
	size_t   room;
	uint64_t total;		/* bytes that it took */
} wires[SLOTS_MAX];
static bool wide;		/* no socket is ever full */
static bool tight;		/* replies may find it full, too */
static bool abrupt;		/* all are dropped at the end */
static size_t raised;		/* the room that a raised SO_SNDBUF is */

static uint8_t byte(void)
{
	if (input.n == 0)
		return 0;
	input.n--;
	return *input.p++;
}

/* ---- sockets ---- */

static struct wire *wire_at(uint32_t id)
{
	if (!wires[id].used || wires[id].gen != cs.slot[id].gen)
		wires[id] = (struct wire){ .gen = cs.slot[id].gen, .used = true,
			.life = life_of[cs.slot[id].io.fd] };
	return &wires[id];
}

static uint32_t slot_of(int fd)
{
	for (uint32_t i = 0; i < cs.made; i++)
		if (cs.slot[i].io.fd == fd && cs.slot[i].state != CONN_FREE)
			return i;
	abort();
}

static struct peer *peer_of(const struct wire *w)
{
	for (uint32_t i = 0; i < PEERS; i++)
		if (peers[i].life == w->life)
			return &peers[i];
	return NULL;
}

/* One whose peer is gone fails as it may. */
static size_t room_of(const struct wire *w, const void *p, size_t n)
{
	const struct peer *peer = peer_of(w);

	if (wide || !peer || peer->fd < 0 || (!tight && n >= 9 && memcmp(p, "HTTP/1.1 ", 9) == 0))
		return n;
	return w->room;
}

ssize_t send(int fd, const void *p, size_t n, int flags)
{
	struct wire *w = wire_at(slot_of(fd));
	const size_t room = room_of(w, p, n);
	ssize_t r = -1;

	errno = EAGAIN;
	if (room > 0)
		r = sendto(fd, p, room < n ? room : n, flags, NULL, 0);
	if (r > 0)
		w->room -= (size_t)r < w->room ? (size_t)r : w->room;
	if (r > 0)
		w->total += (size_t)r;
	if (r < 0 ? errno == EAGAIN : (size_t)r < n)
		w->owed = true;
	return r;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	int n;

	if (level == SOL_SOCKET && name == SO_SNDBUF) {
		memcpy(&n, value, sizeof n);
		wire_at(slot_of(fd))->room = n > CLIENT_SNDBUF ? raised : 0;
	}
	return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
}

int accept4(int fd, __SOCKADDR_ARG addr, socklen_t *restrict len, int flags)
{
	MUST(fd == LISTENER && flags == (SOCK_NONBLOCK | SOCK_CLOEXEC));
	errno = no_descriptor ? EMFILE : EAGAIN;
	if (no_descriptor || nwaiting == 0) {
		no_descriptor = false;
		return -1;
	}
	const int got = waiting[0].fd;

	MUST((size_t)got < sizeof life_of / sizeof life_of[0]);
	life_of[got] = waiting[0].life;
	memmove(waiting, waiting + 1, --nwaiting * sizeof waiting[0]);
	addr.__sockaddr__->sa_family = life_of[got] % 3 == 0 ? AF_UNIX : life_of[got] % 3 == 1 ? AF_INET : AF_INET6;
	*len = sizeof(struct sockaddr_storage);
	return got;
}

int poll(struct pollfd *p, nfds_t n, int timeout)	/* of LISTENER, too */
{
	(void)p;
	MUST(n == 1 && timeout == 0);
	return nwaiting > 0;
}

/* ---- what the server does ---- */

uint64_t __real_hub_replay(struct hub *h, uint32_t id, const struct hub_replay *replay);
uint64_t __wrap_hub_replay(struct hub *h, uint32_t id, const struct hub_replay *replay);
enum hub_result __real_hub_subscribe(struct hub *h, uint32_t id, const void *name, size_t n,
    const struct hub_replay *replay);
enum hub_result __wrap_hub_subscribe(struct hub *h, uint32_t id, const void *name, size_t n,
    const struct hub_replay *replay);
bool __real_hub_unsubscribe(struct hub *h, uint32_t id, const void *name, size_t n);
bool __wrap_hub_unsubscribe(struct hub *h, uint32_t id, const void *name, size_t n);
void __real_hub_end(struct hub *h, uint32_t id, uint32_t sub);
void __wrap_hub_end(struct hub *h, uint32_t id, uint32_t sub);
void __real_hub_skip(struct hub *h, uint32_t id);
void __wrap_hub_skip(struct hub *h, uint32_t id);

static uint32_t subject_name(const struct hub *h, uint32_t entry)
{
	return name_find(h->subject[entry].name, h->subject[entry].len);
}

static void turn(uint32_t id, const struct turn *t)
{
	struct peer *p = peer_of(wire_at(id));

	if (p)
		reader_turn(&p->reader, t);
}

uint64_t __wrap_hub_replay(struct hub *h, uint32_t id, const struct hub_replay *replay)
{
	struct turn t = { .at = wire_at(id)->total, .what = TURN_SUB,
		.name = subject_name(h, h->reader[id].subject) };

	if (t.name != OTHER)
		turn_wanted(&t, h, replay);
	turn(id, &t);
	const uint64_t gone = __real_hub_replay(h, id, replay);

	MUST(t.name == OTHER || gone == t.missed);
	return gone;
}

enum hub_result __wrap_hub_subscribe(struct hub *h, uint32_t id, const void *name, size_t n,
    const struct hub_replay *replay)
{
	const struct hub_reader *r = &h->reader[id];
	struct turn t = { .at = wire_at(id)->total, .what = TURN_SUB, .name = name_find(name, n) };

	if (t.name != OTHER)
		turn_wanted(&t, h, replay);
	if (r->record != RING_NONE && r->off > 0) {
		struct hub_message m;

		hub_message(h, r->record, &m);
		const uint32_t s = subject_name(h, m.subject);

		if (s < SUBJECTS)
			t.due.sent[s] = m.number;
	}
	const enum hub_result result = __real_hub_subscribe(h, id, name, n, replay);

	if (result == HUB_OK && t.name >= SUBJECTS && t.name != OTHER && replay->count > 0)
		turn_as_of(&t, h, h->sub[h->many[id].subs].live, replay->count);
	if (result == HUB_OK)
		turn(id, &t);
	return result;
}

bool __wrap_hub_unsubscribe(struct hub *h, uint32_t id, const void *name, size_t n)
{
	if (!__real_hub_unsubscribe(h, id, name, n))
		return false;
	turn(id, &(struct turn){ .at = wire_at(id)->total, .what = TURN_UNSUB, .name = name_find(name, n) });
	return true;
}

void __wrap_hub_end(struct hub *h, uint32_t id, uint32_t sub)
{
	if (!h->sub[sub].ended)
		turn(id, &(struct turn){ .at = wire_at(id)->total, .what = TURN_END,
		    .name = subject_name(h, h->sub[sub].entry) });
	__real_hub_end(h, id, sub);
}

void __wrap_hub_skip(struct hub *h, uint32_t id)
{
	struct turn t = { .at = wire_at(id)->total, .what = TURN_SKIP };

	MUST(cs.config.slow == SLOW_SKIP);
	__real_hub_skip(h, id);
	turn_from(&t, h, h->reader[id].record);
	turn(id, &t);
}

/* What a peer has sent is published as it stands, once, in order; and raw, all of it. */
static void check_sent(uint32_t from, uint32_t subject, const uint8_t *p, size_t n)
{
	char digits[8] = "";

	memcpy(digits, p, n < sizeof digits - 1 ? n : sizeof digits - 1);
	const uint32_t i = (uint32_t)strtoul(digits, NULL, 10);
	struct sent *s = &sents[i < nsents ? i : 0];

	if (lives[from].junk)
		return;
	MUST(i < nsents && s->life == from && s->subject == subject && s->len == n);
	MUST(memcmp(s->text, p, n) == 0 && !s->published && !s->refused);
	for (uint32_t k = lives[from].last; k < i; k++)
		MUST(sents[k].life != from || !sents[k].must);
	MUST(lives[from].last <= i);
	lives[from].last = i + 1;
}

static uint32_t serving;	/* the life that an event is about */

void print_message(struct span subject, const uint8_t *p, size_t n)
{
	const uint32_t s = name_find(subject.p, subject.n);

	check_sent(serving, s, p, n);
	message_add(s, p, n, cs.config.binary);
	if (!lives[serving].junk)
		sents[lives[serving].last - 1].published = true;
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

		if (c->state == CONN_FREE || c->buf == CONN_NONE) {
			MUST(c->state == CONN_FREE || c->head_len == 0);
			continue;
		}
		used++;
		MUST(!c->admitted && c->state != CONN_DRAIN && c->buf < cs.nbuf_made);
		MUST(c->head_seen <= c->head_len && c->head_len <= HEAD_MAX);
		for (uint32_t k = 0; k < i; k++)
			MUST(cs.slot[k].state == CONN_FREE || cs.slot[k].buf != c->buf);
	}
	MUST(cs.nbuf_made <= cs.config.max_pending && cs.nbuf_made == used + cs.nbuf_free);
}

/* Who has a message buffer, and who waits for one. */
static void check_messages(void)
{
	uint32_t unowned = 0, held = 0, owned = 0, starved = 0;

	for (uint32_t i = 0; i < MESSAGE_BUFS; i++) {
		const uint32_t id = cs.message_buf[i].owner;

		unowned += id == CONN_NONE;
		if (id == CONN_NONE || id == NOBODY)
			continue;
		owned++;
		MUST(id < cs.made && cs.slot[id].state != CONN_FREE && cs.slot[id].held);
		MUST(cs.cold[id].message.buf == i && cs.message_buf[i].since_ms <= cs.mono_ms);
	}
	for (uint32_t i = 0; i < cs.made; i++) {
		const struct conn *c = &cs.slot[i];

		if (c->state == CONN_FREE)
			continue;
		held += c->held;
		starved += c->starved;
		MUST(!c->held || c->state == CONN_OPEN || c->state == CONN_BODY);
		MUST(!c->starved || (!c->held && (c->state == CONN_OPEN || c->state == CONN_BODY)));
		MUST(!c->stashed || (c->state == CONN_OPEN && !c->talking && c->form == FORM_V1));
		MUST(!c->talking || c->state == CONN_AUTH || c->state == CONN_OPEN);
		if (c->held)
			MUST(c->stashed || cs.cold[i].message.len <= cs.config.max_message);
		else if (c->stashed || (c->talking && c->state == CONN_OPEN))
			MUST(cs.cold[i].message.len <= SMALL_SIZE);
	}
	MUST(held == owned && unowned == cs.nmessage_free && starved == cs.nstarved);
	MUST(starved == 0 || (cs.nmessage_free == 0 && timers[cs.tick_id].slot != 0));
	MUST(cs.held_ms < 0 || timers[cs.tick_id].slot != 0);
}

static void check_grants(void)
{
	uint32_t used = 0, listed = 0;

	for (uint32_t i = 0; i < cs.made; i++) {
		const struct session *s = &cs.session[i];
		uint32_t n = 0;

		if (cs.slot[i].state == CONN_FREE || cs.slot[i].form != FORM_V1)
			continue;
		MUST(cs.slot[i].admitted || s->grants == 0);
		for (uint32_t b = s->grants; b; b = cs.block[b - 1].next)
			MUST(b <= cs.nblocks_made && n++ < cs.nblocks);
		MUST(!s->grants || n == (s->ngrants + sizeof cs.block->s - 1) / sizeof cs.block->s);
		used += n;
	}
	for (uint32_t b = cs.block_free; b; b = cs.block[b - 1].next)
		MUST(b <= cs.nblocks_made && listed++ < cs.nblocks);
	MUST(used == cs.nblocks_used && used + listed == cs.nblocks_made && cs.nblocks_made <= cs.nblocks);
}

/* One that is open has all there is unless its socket is full, and then an event will come. */
static void check_live(uint32_t i)
{
	const struct conn *c = &cs.slot[i];
	const struct hub_reader *r = &cs.hub.reader[i];

	MUST(c->state != CONN_OPEN || c->joined);
	MUST(c->state != CONN_AUTH || (!c->joined && c->form == FORM_V1));
	MUST(c->out_len <= sizeof cs.cold[i].out && c->in_len <= sizeof cs.cold[i].in);
	MUST(c->out_len ? c->out_off < c->out_len : c->out_off == 0);
	if (!c->blocked) {
		MUST(c->out_len == 0 && (!c->joined || r->record == RING_NONE) && !c->stashed);
		MUST(c->state != CONN_CLOSING || !c->joined);
		MUST(c->state != CONN_OPEN || c->form != FORM_V1 ||
		    (!cs.session[i].warning && hub_notice(&cs.hub, i) == HUB_NONE));
		return;
	}
	MUST(wire_at(i)->owed);
	MUST(!c->joined || r->stuck == (r->record != RING_NONE));
	MUST(r->record == RING_NONE || !c->joined || (r->record >= cs.hub.ring.tail &&
	    r->record < cs.hub.ring.head));
}

static void check_deadline(uint32_t i)
{
	const struct conn *c = &cs.slot[i];
	const int64_t left = timers[i].at_ms - cs.mono_ms;

	MUST((timers[i].slot != 0) == (c->state != CONN_FREE));
	if (c->state == CONN_HEAD || c->state == CONN_BODY || c->state == CONN_AUTH)
		MUST(left <= cs.config.handshake_ms);
	else if (c->state == CONN_DRAIN || c->state == CONN_CLOSING)
		MUST(left <= LINGER_MS);
	else if (c->state == CONN_OPEN)
		MUST(left <= cs.config.ping_ms && timers[i].at_ms <= c->end_ms);
	MUST(c->state == CONN_FREE || left > -2 * WHEEL_TICK_MS || (c->form == FORM_V1 && !cs.session[i].warned));
}

static void check_all(void)
{
	uint32_t live = 0, pending = 0;

	for (uint32_t i = 0; i < cs.made; i++) {
		const struct conn *c = &cs.slot[i];

		check_deadline(i);
		if (c->state == CONN_FREE)
			continue;
		live += c->admitted;
		pending += !c->admitted;
		MUST(c->state != CONN_OPEN || c->admitted);
		MUST(conn_lives(c) || !c->joined);
		if (conn_lives(c))
			check_live(i);
	}
	MUST(live == cs.nopen && pending == cs.npending && metrics.clients == live);
	MUST(live <= cs.config.max_clients && cs.made <= cs.nslots);
	MUST(conns_empty(&cs) == (live + pending == 0));
	check_pending();
	check_free();
	check_bufs();
	check_messages();
	check_grants();
}

/* epoll has no more to say: all that has come is read, but by those who are to wait. */
static void check_quiet(void)
{
	for (uint32_t i = 0; i < cs.made; i++) {
		const struct conn *c = &cs.slot[i];
		const struct peer *p = c->state != CONN_FREE ? peer_of(wire_at(i)) : NULL;
		int unread = 0;

		if (c->state == CONN_FREE || c->starved || c->stashed)
			continue;
		MUST(ioctl(c->io.fd, FIONREAD, &unread) == 0 && unread == 0);
		MUST(p && p->fd >= 0);		/* or its end would have been read, too */
	}
}

/* ---- what may happen ---- */

static void serve(uint32_t id, uint32_t gen, uint32_t events)
{
	if (cs.slot[id].state != CONN_FREE)
		serving = wire_at(id)->life;
	conn_event(&cs, id, gen & 0xffffff, events);
}

static bool poll_events(void)
{
	struct epoll_event e[32];
	const int n = epoll_wait(epfd, e, 32, 0);

	for (int i = 0; i < n; i++) {
		const uint32_t id = (uint32_t)e[i].data.u64;

		MUST(e[i].data.u64 >> 56 == TAG_CONN && id < cs.made);
		if (e[i].events & EPOLLOUT)
			wires[id].owed = false;
		serve(id, (uint32_t)(e[i].data.u64 >> 32), e[i].events);
	}
	if (n == 0)
		check_quiet();
	return n > 0;
}

static void peer_close(struct peer *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

static void peer_connect(struct peer *p)
{
	int fd[2];

	peer_close(p);
	if (nwaiting == WAITING || life + 1 == LIVES)
		return;
	p->life = ++life;
	lives[life].junk = false;
	lives[life].last = 0;
	p->phase = PHASE_HTTP;
	p->junk = p->doomed = p->ended = false;
	p->publishes = NOTHING;
	p->token = TOKEN_ALL;
	p->nasked = p->answered = p->nsaid = p->replied = 0;
	reader_begin(&p->reader);
	p->n = p->nout = 0;
	p->taken = 0;
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0);
	p->fd = fd[0];
	waiting[nwaiting].fd = fd[1];
	waiting[nwaiting++].life = life;
}

static void peer_junk(struct peer *p)
{
	p->junk = true;
	lives[p->life].junk = true;
}

static void op_connect(struct peer *p)
{
	const uint8_t how = byte();

	peer_connect(p);
	if (!(how & 1))				/* or it waits, with others */
		MUST(conns_accept(&cs, LISTENER, how % 16 == 2, false));
	if (how % 16 == 2)
		peer_junk(p);
}

/* ---- requests ---- */

static void ask(struct peer *p, const char *head, const struct asked *a)
{
	peer_put(p, head, strlen(head));
	if (p->phase != PHASE_HTTP || (p->nasked > 0 && p->asked[p->nasked - 1].what >= ASK_RAW))
		peer_junk(p);			/* no frames */
	p->asked[p->nasked++] = *a;
}

static const char *token_field(char out[600], uint32_t *token)
{
	const uint8_t b = byte();

	*token = b & 1 ? TOKEN_ALL : (b >> 1) % (TOKENS + 1u);
	if (*token == TOKENS) {
		*token = 3;			/* as good as none */
		return "";
	}
	snprintf(out, 600, "Authorization: Bearer %s\r\n", tokens[*token][(b >> 5) % VARIANTS]);
	return out;
}

static void op_get(struct peer *p)
{
	static const char *const queries[] = { "", "?replay=3", "?replay=100", "?since=%s-2", "?since=%s-0",
		"?since=1-1", "?since=%s-9", "?replay=1&since=%s-1" };
	static const char *const others[] = { "/", "/b", "/metrics", "/healthz" };
	static const char *const odd[] = { "/a//b", "/?since=g-1", "/?since=-1", "/*" };
	char target[64], head[1024], field[600];
	const uint8_t what = byte(), how = byte();
	struct asked a = { .what = what % 4 == 0 ? ASK_RAW : what % 4 == 1 ? ASK_EVENTS : ASK_V1,
		.subject = what >> 2 & 3, .sent = NOTHING };
	size_t n;

	if (!peer_room(p, sizeof head))
		return;
	n = (size_t)snprintf(target, sizeof target, "%s", names[a.subject]);
	snprintf(target + n, sizeof target - n, queries[what >> 4 & 7], cs.epoch);
	if (how % 32 == 31) {
		a.bad = a.what != ASK_V1;
		snprintf(target, sizeof target, "%s", odd[how >> 5 & 3]);
	}
	if (how % 32 == 30) {
		a.what = ASK_OTHER;
		snprintf(target, sizeof target, "%s", others[how >> 5 & 3]);
	}
	snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: x\r\n%s%s\r\n", target,
	    token_field(field, &a.token), a.what == ASK_EVENTS ? "Accept: text/event-stream\r\n" :
	    a.what == ASK_OTHER ? "" : a.what == ASK_V1 ?
	    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
	    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sluice.v1\r\n" :
	    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
	    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
	ask(p, head, &a);
}

/* Something to publish: its place in sents, by which it begins, and all kinds of bytes. */
static uint32_t sent_new(const struct peer *p, uint32_t subject, bool any)
{
	static const char *const parts[] = { "x", "\"", "\\", "\n", "\r\n", "\r", "\x01", "\xc3\xa9",
		"\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xff", "\xe2\x82" };
	const uint8_t how = byte();
	const size_t len = how & 1 ? byte() : how & 2 ? byte() * 16u : byte() % 16;
	struct sent *s = &sents[nsents];
	unsigned step = how >> 2;

	*s = (struct sent){ .life = p->life, .subject = subject, .text = malloc(len + 20) };
	MUST(s->text != NULL);
	s->len = (size_t)sprintf((char *)s->text, "%u ", nsents);
	while (s->len < len) {
		const char *part = how & 128 ? parts[step % (any ? 12u : 10u)] : "x";

		memcpy(s->text + s->len, part, strlen(part));
		s->len += strlen(part);
		step += 5;
	}
	return nsents++;
}

static void put_chunks(struct peer *p, const uint8_t *s, size_t n)
{
	char size[40];

	while (n > 0) {
		const size_t most = 1u + byte() * 8u, part = most < n ? most : n;

		peer_put(p, size, (size_t)sprintf(size, part & 1 ? "%zx\r\n" : "%zX;a=b\r\n", part));
		peer_put(p, s, part);
		peer_put(p, "\r\n", 2);
		s += part;
		n -= part;
	}
	peer_put(p, "0\r\nA: b\r\n\r\n", 11);
}

static void op_post(struct peer *p)
{
	char head[1024], field[600], length[64];
	const uint8_t what = byte();
	struct asked a = { .what = what & 64 ? ASK_OPTIONS : ASK_POST, .subject = what & 3, .sent = NOTHING };

	if (!peer_room(p, 24576))
		return;
	if (a.what == ASK_OPTIONS) {
		snprintf(head, sizeof head, "OPTIONS %s HTTP/1.1\r\nHost: x\r\nOrigin: http://o\r\n"
		    "Access-Control-Request-Method: POST\r\n\r\n", names[a.subject]);
		ask(p, head, &a);
		return;
	}
	a.sent = sent_new(p, a.subject, true);
	const struct sent *s = &sents[a.sent];

	snprintf(length, sizeof length, "Content-Length: %zu", s->len);
	snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: x\r\n%s%s%s%s\r\n\r\n", names[a.subject],
	    token_field(field, &a.token), what & 8 ? "Expect: 100-continue\r\n" : "",
	    what & 16 ? "Connection: close\r\n" : "", what & 4 ? "Transfer-Encoding: chunked" : length);
	ask(p, head, &a);
	if (what & 32) {
		peer_flush(p, OUTBOX);
		poll_events();
	}
	if (what & 4)
		put_chunks(p, s->text, s->len);
	else
		peer_put(p, s->text, s->len);
}

/* ---- frames ---- */

static void put_frame(struct peer *p, uint8_t first, const uint8_t *s, size_t n)
{
	uint8_t head[8];
	const uint8_t mask = byte();
	size_t at = 2;

	head[0] = first;
	head[1] = (uint8_t)(0x80 | (n < 126 ? n : 126));
	if (n >= 126) {
		head[at++] = (uint8_t)(n >> 8);
		head[at++] = (uint8_t)n;
	}
	for (uint8_t i = 0; i < 4; i++)
		head[at++] = (uint8_t)(mask + 5 * i);
	peer_put(p, head, at);
	peer_put(p, s, n);
	ws_mask(p->out + p->nout - n, n, head + at - 4);
}

/* A message in parts, with pings among them. */
static void put_message(struct peer *p, uint8_t op, const uint8_t *s, size_t n, bool whole)
{
	while (!whole && n > 0) {
		const uint8_t how = byte();
		const size_t part = how % 64 * (how & 64 ? 16u : 1u);

		if (part >= n || OUTBOX - p->nout < n + 8192)
			break;
		put_frame(p, op, s, part);
		for (uint8_t i = how & 128 ? byte() % 32 : 0; i > 0; i--)
			put_frame(p, 0x80 | WS_PING, s, n < 125 ? n : 125);
		op = 0;
		s += part;
		n -= part;
	}
	put_frame(p, 0x80 | op, s, n);
	p->doomed |= p->phase != PHASE_HTTP && n > cs.config.max_message;
}

/* What the last request was, if it is the last: what it is to become. */
static enum ask becomes(const struct peer *p)
{
	return p->nasked == 0 ? ASK_OTHER : p->asked[p->nasked - 1].what;
}

/* A raw client publishes. */
static void op_publish_raw(struct peer *p)
{
	const uint8_t what = byte();

	if (!peer_room(p, 16384) || becomes(p) != ASK_RAW)
		return;
	const struct asked *a = &p->asked[p->nasked - 1];
	const uint32_t i = sent_new(p, a->subject, cs.config.binary);

	sents[i].must = ws_head_len(sents[i].len) + sents[i].len <= cs.hub.ring.size;
	p->doomed |= sents[i].len > cs.config.max_message || admit.open ||
	    !(rights[a->token].pub >> a->subject & 1) || what == 255;
	put_message(p, (what == 255) != cs.config.binary ? WS_BINARY : WS_TEXT, sents[i].text, sents[i].len,
	    what & 1);
}

/* ---- sluice.v1 ---- */

/* Now and then as long as it may be. */
static void id_make(char id[V1_ID_MAX + 1], uint32_t i)
{
	const int n = sprintf(id, "%u", i);

	if (i % 4 == 3)
		sprintf(id + n, ".%0*u", (int)V1_ID_MAX - n - 1, 0);
}

static int op_json(char *out, size_t cap, struct said *s, uint8_t what, const struct peer *p)
{
	const uint8_t how = byte();
	char id[V1_ID_MAX + 1];
	size_t n;

	id_make(id, p->nsaid);
	if (s->what == SAY_AUTH) {
		s->token = how & 1 ? TOKEN_ALL : (how >> 1) % TOKENS;
		return snprintf(out, cap, "{\"op\":\"auth\",\"token\":\"%s\",\"id\":%s}",
		    tokens[s->token][(how >> 5) % VARIANTS], id);
	}
	if (s->what == SAY_PUB) {
		s->name %= SUBJECTS;
		s->sent = sent_new(p, s->name, false);
		n = (size_t)snprintf(out, cap, "{\"id\":%s,\"op\":\"pub\",\"subject\":\"%s\",\"data\":", id,
		    names[s->name]);
		n += json_quote(out + n, cap - n, (const char *)sents[s->sent].text, sents[s->sent].len);
		out[n++] = '}';
		return (int)n;
	}
	n = (size_t)snprintf(out, cap, "{\"op\":\"%s\",\"subject\":\"%s\"", s->what == SAY_SUB ? "sub" : "unsub",
	    names[s->name]);
	if (what & 64)
		n += (size_t)snprintf(out + n, cap - n, ",\"replay\":%u", how % 16);
	if (what & 128 && s->name < SUBJECTS && s->what == SAY_SUB)
		n += (size_t)snprintf(out + n, cap - n, ",\"since\":\"%s-%u\"", how & 128 ? "1" : cs.epoch,
		    how % 128 / 4);
	return (int)n + snprintf(out + n, cap - n, ",\"id\":%s}", id);
}

static void op_v1(struct peer *p)
{
	char text[30000];
	const uint8_t what = byte();
	struct said s = { .what = (what & 3) == 3 ? (what & 4 ? SAY_AUTH : SAY_UNSUB) :
		(what & 3) == 2 ? SAY_PUB : SAY_SUB, .name = what >> 3 & 7, .sent = NOTHING };

	if (!peer_room(p, 30000) || becomes(p) != ASK_V1)
		return;
	const int n = op_json(text, sizeof text, &s, what, p);

	p->said[p->nsaid++] = s;
	p->doomed |= (size_t)n > cs.config.max_message;
	put_message(p, WS_TEXT, (const uint8_t *)text, (size_t)n, what & 4);
}

static void op_control(struct peer *p)
{
	static const uint8_t bytes[125] = { 0x03, 0xe8, 'b', 'y', 'e' };
	const uint8_t what = byte(), len = byte() % 126;

	if (!peer_room(p, 40960 / 2) || becomes(p) < ASK_RAW || becomes(p) == ASK_OTHER)
		return;
	if (becomes(p) == ASK_EVENTS)
		peer_junk(p);
	if (what % 8 == 7) {
		p->doomed = true;
		put_frame(p, 0x80 | WS_CLOSE, bytes, len % 6);
		return;
	}
	for (unsigned i = 0; i <= (what & 8 ? what >> 4 : 0u) * 8u; i++)	/* one turn's worth and more */
		put_frame(p, what & 1 ? 0x80 | WS_PONG : 0x80 | WS_PING, bytes, len);
}

/* Bytes as they stand in the input, or what waits to be written with one of them changed. */
static void op_junk(struct peer *p)
{
	const size_t most = byte(), n = most < input.n ? most : input.n;

	if (!peer_room(p, 256))
		return;
	peer_junk(p);
	if (most & 1 && p->nout > 0) {
		p->out[byte() * 64u % p->nout] ^= byte();
		return;
	}
	peer_put(p, input.p, n);
	input.p += n;
	input.n -= n;
}

/* ---- the rest of the world ---- */

static void op_room(uint32_t id)
{
	const struct conn *c = &cs.slot[id];
	const uint8_t much = byte();

	if (c->state == CONN_FREE)
		return;
	struct wire *w = wire_at(id);

	w->room += much < 128 ? much : (much - 127u) * 64u;
	if (w->owed && w->room > 0) {
		w->owed = false;
		serve(id, c->gen, EPOLLOUT);
	}
}

static void publish_one(void)
{
	static const struct peer source = { .life = 0 };
	const uint8_t what = byte();

	if (nsents == SENT)
		return;
	const uint32_t s = what & 1, i = sent_new(&source, s, true);
	const struct sent *m = &sents[i];
	const size_t len = cs.config.binary || utf8_valid(m->text, m->len) ? m->len :
	    utf8_replaced_len(m->text, m->len);
	const bool wait = what & 8;
	const enum why why = conn_publish(&cs, hub_find(&cs.hub, names[s], strlen(names[s])), m->text, m->len,
	    wait);

	MUST((why == WHY_MESSAGE_TOO_LARGE) == (ws_head_len(len) + len > cs.hub.ring.size));
	MUST(why != WHY_MORE || (wait && cs.config.slow == SLOW_WAIT && cs.held_ms >= 0));
	if (why == WHY_OK)
		message_add(s, m->text, m->len, cs.config.binary);
	if (why == WHY_OK && wait)
		cs.held_ms = -1;
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
	for (uint32_t i = 0; i < cs.made && ms > 2 * WHEEL_TICK_MS; i++)
		MUST(cs.slot[i].state != CONN_OPEN || cs.slot[i].end_ms > cs.mono_ms - 2 * WHEEL_TICK_MS);
}

/* Events that come late, for a slot's earlier life, or for no reason. */
static void op_stray(uint32_t id)
{
	const uint8_t what = byte();

	serve(id, cs.slot[id].gen - (what & 1), (what & 2 ? EPOLLIN : 0) | (what & 4 ? EPOLLHUP : 0) |
	    (what & 8 ? EPOLLERR : 0) | (what & 16 ? EPOLLOUT : 0));
}

static void op_end(struct peer *p)
{
	if (p->fd < 0)
		return;
	peer_junk(p);
	if (byte() & 1)
		peer_close(p);
	else
		shutdown(p->fd, SHUT_WR);
}

static void op_admin(void)
{
	uint8_t map[KEYS_MAX];
	const uint8_t what = byte();

	switch (what % 16) {
	case 0:
		conns_close_all(&cs, WHY_KEY_UNKNOWN, false);
		break;
	case 1:
		memset(map, KEY_NONE, sizeof map);
		conns_rekey(&cs, map);
		break;
	case 2: case 3:
		for (uint8_t i = 0; i < KEYS_MAX; i++)
			map[i] = i;
		conns_rekey(&cs, map);
		break;
	case 4:
		conns_tick(&cs);
		break;
	case 5:
		no_descriptor = true;
		conns_accept(&cs, LISTENER, false, false);
		break;
	default:
		conns_accept(&cs, LISTENER, false, false);
		break;
	}
}

/* ---- an operation ---- */

/* What a peer says; the rest of it may wait. */
static void op_say(struct peer *p, uint8_t what, bool later)
{
	if (what == 1)
		op_get(p);
	else if (what == 2)
		op_post(p);
	else if (what == 3 || what == 4)
		op_v1(p);
	else if (what == 5)
		op_publish_raw(p);
	else if (what == 6)
		op_control(p);
	else
		op_junk(p);
	if (!later)
		peer_flush(p, OUTBOX);
	poll_events();
}

static void op(void)
{
	const uint8_t what = byte();
	struct peer *p = &peers[what >> 4 & 7];
	const uint32_t id = cs.made ? (uint32_t)(what >> 4 & 7) % cs.made : CONN_NONE;
	const bool flag = what & 128;

	if ((what & 15) >= 1 && (what & 15) <= 7) {
		op_say(p, what & 15, flag);
		return;
	}
	switch (what & 15) {
	case 0:
		op_connect(p);
		break;
	case 8:
		if (id != CONN_NONE)
			op_room(id);
		break;
	case 9:
		op_publish();
		break;
	case 10:
		advance((int64_t)(flag ? 1 : 97) * byte());
		break;
	case 11:
		peer_read(p, flag ? INBOX : byte());
		break;
	case 12:
		op_end(p);
		break;
	case 13:
		if (id != CONN_NONE)
			op_stray(id);
		break;
	case 14:
		op_admin();
		break;
	default:
		peer_flush(p, flag ? byte() : byte() * 64u);
		break;
	}
	if ((what & 15) != 10 || !flag)
		poll_events();
}

/* ---- a run ---- */

#define SECRET "a secret of thirty-two bytes ..."

static struct hmac_key secret;

static void token_make(char out[512], const char *payload, uint32_t variant)
{
	static const char head[] = "{\"alg\":\"HS256\"}";
	char text[300];
	uint8_t mac[SHA256_LEN];
	size_t n = B64URL_LEN(sizeof head - 1);

	snprintf(text, sizeof text, "%s,\"jti\":\"%u\"}", payload, variant);
	b64url_encode(out, (const uint8_t *)head, sizeof head - 1);
	out[n++] = '.';
	b64url_encode(out + n, (const uint8_t *)text, strlen(text));
	n += B64URL_LEN(strlen(text));
	hmac_sign(&secret, out, n, mac);
	out[n++] = '.';
	b64url_encode(out + n, mac, sizeof mac);
	out[n + B64URL_LEN(sizeof mac)] = '\0';
}

/* What stays from run to run. */
static void set_up(void)
{
	signal(SIGPIPE, SIG_IGN);
	log_init(LOG_ERROR);
	key_set_secret(&admit.keys, (const uint8_t *)SECRET, strlen(SECRET));
	hmac_key_init(&secret, SECRET, strlen(SECRET));
	for (uint32_t i = 0; i < TOKENS; i++)
		for (uint32_t k = 0; k < VARIANTS; k++)
			token_make(tokens[i][k], rights[i].payload, k);
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
	cs.session = watched(cs.session, cs.nslots, sizeof *cs.session);
	cs.buf = watched(cs.buf, config->max_pending, sizeof *cs.buf);
	cs.buf_free = watched(cs.buf_free, config->max_pending, sizeof *cs.buf_free);
	cs.message = watched(cs.message, MESSAGE_BUFS, config->max_message);
	cs.block = watched(cs.block, cs.nblocks, sizeof *cs.block);
	hub_init(&cs.hub, watched(cs.hub.subject, 1, hub), cs.nslots, config->nsources, nsubs,
	    seed, watched(cs.hub.ring.record, 1, config->buffer), config->buffer);
}

/* All but a few message buffers are somebody's for good; those that are left are at the end of memory. */
static void hoard(uint32_t left)
{
	for (uint32_t i = 0; i < MESSAGE_BUFS - left; i++)
		cs.message_buf[i] = (struct message_buf){ .owner = NOBODY,
			.since_ms = INT64_MAX, .grown_ms = INT64_MAX };
	cs.nmessage_free = left;
}

static void begin(void)
{
	static const uint32_t sizes[] = { 64, 600, 4096, 6000 };
	const uint8_t a = byte(), b = byte(), c = byte(), d = byte();
	const struct conn_config config = { .max_clients = 1u + (b & 7), .max_pending = 1u + (b >> 3 & 3),
		.nsources = 2, .buffer = 1024u + (b >> 4) * 512u, .max_message = sizes[d & 3],
		.handshake_ms = 10000, .ping_ms = c & 1 ? 1000 : 30000, .replay = c & 2 ? 5 : 0,
		.slow = (enum slow)(a % 3), .binary = c & 4, .page = c & 8, .print = true };

	wide = false;
	tight = (a & 12) == 12;
	abrupt = (a & 48) == 48;
	raised = c & 16 ? 1 << 20 : a & 64 ? 100 : 0;
	admit.open = (d & 0xf0) == 0xf0;
	admit.enforce_expiry = c & 128;
	admit.policy = (struct jwt_policy){ .max_ttl_ms = 3600000, .leeway_ms = a & 128 ? 1000 : 0,
		.once = c & 64 };
	used_init(&admit.used, calloc(1, used_size(32)), 32, INT64_MIN);
	memset(timers, 0, sizeof timers);
	memset(wires, 0, sizeof wires);
	memset(&metrics, 0, sizeof metrics);
	epfd = epoll_create1(EPOLL_CLOEXEC);
	wheel_init(&wheel, timers, 1000);
	conns_init(&cs, &config, &admit, &wheel, SLOTS_MAX, epfd, (const uint32_t[]){ 1, 2 });
	watch_memory(&config);
	hoard(d & 4 ? 1 + (d >> 3 & 1) : 8);
	cs.mono_ms = 1000;
	cs.wall_ms = START_MS;
	rules.binary = config.binary;
	rules.skips = config.slow == SLOW_SKIP;
	rules.open = admit.open;
	memcpy(rules.epoch, cs.epoch, sizeof rules.epoch);
	for (uint32_t i = 0; i < 2; i++)
		hub_pin(&cs.hub, hub_subject(&cs.hub, names[i], strlen(names[i])));
	life = 0;
}

/* Everybody reads until there is no more. */
static void settle(void)
{
	bool more = true;

	for (int round = 0; more; round++) {
		MUST(round < 1000);
		more = false;
		for (uint32_t i = 0; i < cs.made; i++) {
			if (cs.slot[i].state == CONN_FREE || !cs.slot[i].blocked)
				continue;
			wire_at(i)->owed = false;
			serve(i, cs.slot[i].gen, EPOLLOUT);
			more = true;
		}
		for (unsigned i = 0; i < PEERS; i++) {
			const size_t left = peers[i].nout;

			peer_flush(&peers[i], OUTBOX);
			peer_read(&peers[i], SIZE_MAX);
			more |= peers[i].nout != left;
		}
		more |= poll_events();
		check_all();
	}
}

/* One who has said nothing wrong and is still there has got all that it was to get. */
static void check_peer(struct peer *p)
{
	const struct conn *c = NULL;

	for (uint32_t i = 0; i < cs.made; i++)
		if (cs.slot[i].state != CONN_FREE && wire_at(i)->life == p->life)
			c = &cs.slot[i];
	if (p->fd < 0 || p->ended || !c || p->phase == PHASE_CLOSED || p->phase == PHASE_OTHER)
		return;
	if (p->phase == PHASE_RAW || p->phase == PHASE_V1 || p->phase == PHASE_EVENTS) {
		MUST(c->state == CONN_OPEN || c->state == CONN_AUTH);
		MUST(p->n == 0);
		reader_at(&p->reader, p->taken);
		reader_check(&p->reader, p->phase == PHASE_V1);
	}
	if (p->junk || c->starved || c->stashed)
		return;
	MUST(p->nout == 0 && p->answered == p->nasked && p->replied == p->nsaid);
	for (uint32_t i = 0; i < nsents; i++)
		MUST(sents[i].life != p->life || sents[i].published || sents[i].refused ||
		    ws_head_len(sents[i].len) + 3 * sents[i].len > cs.hub.ring.size);
}

/* Everybody reads and nobody is in the way: all go, and with a close frame. */
static void farewell(void)
{
	bool goodbye[PEERS];

	wide = true;
	conns_accept(&cs, LISTENER, false, false);
	settle();
	for (unsigned i = 0; i < PEERS; i++) {
		struct peer *p = &peers[i];

		check_peer(p);
		goodbye[i] = !p->junk && p->fd >= 0 && !p->ended && (p->phase == PHASE_RAW || p->phase == PHASE_V1);
	}
	if (abrupt)
		conns_drop_all(&cs);
	else
		conns_close_all(&cs, WHY_SHUTDOWN, true);
	settle();
	for (unsigned i = 0; i < PEERS; i++)
		MUST(!goodbye[i] || abrupt || peers[i].phase == PHASE_CLOSED);
	advance(LINGER_MS + WHEEL_TICK_MS);
	check_all();
	MUST(conns_empty(&cs) && hub_first_stuck(&cs.hub) == HUB_NONE && conns_delivered(&cs));
	MUST(cs.nblocks_used == 0 && cs.nstarved == 0);
}

static void end(void)
{
	for (unsigned i = 0; i < PEERS; i++) {
		peer_read(&peers[i], SIZE_MAX);
		peer_close(&peers[i]);
		peers[i].life = 0;
		peers[i].nout = 0;
	}
	MUST(nwaiting == 0);
	messages_free();
	while (nsents > 0)
		free(sents[--nsents].text);
	free(cs.slot);
	free(cs.cold);
	free(cs.session);
	free(cs.buf);
	free(cs.buf_free);
	free(cs.message);
	free(cs.block);
	munmap(cs.formed.bytes, FORMED_BYTES + form_max(cs.config.buffer < 3 * (size_t)cs.config.max_message ?
	    cs.config.buffer : 3 * (size_t)cs.config.max_message, SUBJECT_MAX));
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
