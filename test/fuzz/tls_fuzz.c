/* tls_fuzz.c - connections under TLS whose bytes come and go when and as little as the input says.
 *
 * The wire between tls.c and the clients (tls_peer.h) is memory: an operation moves bytes onto it or off
 * it, bends what is on it, or asks one side for something. Whatever happens, what one side gets is the
 * beginning of what the other has said; and where nothing was bent, it is all of that in the end. Random
 * bytes are the same in each run, and most handshakes resume a session, for the others take ten times as
 * long. */
#include "check.h"
#include "log.h"
#include "tls_peer.h"

#define LINKS 4u
#define STATES 3u		/* one less, so that they run out */
#define SESSIONS 2u
#define PIPE ((size_t)1 << 16)
#define FD 100000		/* no descriptor of ours */
#define OPS_MAX 400
#define TURN 64u		/* recv(2) in one call of tls_recv */

#define MUST(e) do { \
	if (!(e)) { \
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #e); \
		abort(); \
	} \
} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct pipe {
	uint8_t b[PIPE];
	size_t  at, n;
	bool    end;			/* nothing comes behind */
};

static struct link {
	struct client c;
	struct pipe up, down;		/* to the server, to the client */
	uint16_t id;			/* TLS_NONE: no such connection */
	size_t said, got, sent, heard;	/* plaintext: of the client, of the server */
	size_t room, chunk;		/* that its socket takes; that one recv brings */
	bool reset;			/* by the client */
	bool bent;			/* somebody was in between, or the client broke the rules */
	bool loaded;			/* another certificate came while it shook hands */
	bool warned;			/* a warning of the client's, which one that is closing does not expect */
	bool shut, goodbye;		/* close_notify by the server, by the client */
	bool ended;			/* tls_recv has said so */
} links[LINKS];

/* What is left of the input; zeros follow it. */
static struct {
	const uint8_t *p;
	size_t n;
} input;

static uint64_t randomness = 1;
static unsigned recvs;
static size_t sent_total;
static br_ssl_session_parameters old[SESSIONS];
static struct {
	br_ssl_session_cache_lru cache;
	uint8_t store[STATES * SESSION_BYTES];
} kept;
static const struct pem *loaded;
static const struct pem *const pems[] = { &pem_p256, &pem_p384, &pem_rsa };

static const uint16_t quick[] = { BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 };

static uint8_t byte(void)
{
	if (input.n == 0)
		return 0;
	input.n--;
	return *input.p++;
}

/* Mostly few, at times many. */
static size_t amount(void)
{
	const uint8_t b = byte();

	return b < 64 ? b : b < 192 ? (b - 63u) * 16u : (b - 191u) * 512u;
}

/* ---- the wire ---- */

static size_t pipe_put(struct pipe *w, const void *p, size_t n)
{
	if (w->at > 0) {
		memmove(w->b, w->b + w->at, w->n);
		w->at = 0;
	}
	if (n > PIPE - w->n)
		n = PIPE - w->n;
	if (n > 0)
		memcpy(w->b + w->n, p, n);
	w->n += n;
	return n;
}

static size_t pipe_get(struct pipe *w, void *p, size_t n)
{
	if (n > w->n)
		n = w->n;
	memcpy(p, w->b + w->at, n);
	w->at += n;
	w->n -= n;
	return n;
}

static struct link *link_of(int fd)
{
	MUST(fd >= FD && fd < FD + (int)LINKS);
	return &links[fd - FD];
}

static int fd_of(const struct link *l)
{
	return FD + (int)(l - links);
}

static ssize_t wire_send(int fd, const void *p, size_t n, int flags)
{
	struct link *l = link_of(fd);

	MUST(flags == MSG_NOSIGNAL && n > 0);
	errno = l->reset ? EPIPE : EAGAIN;
	if (l->reset || l->down.end)
		return -1;
	n = pipe_put(&l->down, p, n < l->room ? n : l->room);
	l->room -= n;
	sent_total += n;
	return n > 0 ? (ssize_t)n : -1;
}

static ssize_t wire_recv(int fd, void *p, size_t n, int flags)
{
	struct link *l = link_of(fd);

	MUST(flags == 0 && n > 0);
	recvs++;
	errno = l->reset ? ECONNRESET : EAGAIN;
	if (l->reset || (l->up.n == 0 && !l->up.end))
		return -1;
	return (ssize_t)pipe_get(&l->up, p, n < l->chunk ? n : l->chunk);
}

static int wire_shutdown(int fd, int how)
{
	MUST(how == SHUT_WR && link_of(fd)->shut);
	link_of(fd)->down.end = true;
	return 0;
}

static ssize_t wire_random(void *p, size_t n, unsigned flags)
{
	uint8_t *to = p;

	MUST(flags == 0);
	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)check_random(&randomness);
	return (ssize_t)n;
}

/* ---- plaintext: each byte tells whose it is, and where it stands ---- */

static uint8_t text_at(const struct link *l, bool up, size_t i)
{
	return (uint8_t)(i * 7 + (i >> 8) * 13 + (size_t)(l - links) * 31 + up);
}

static const uint8_t *text(const struct link *l, bool up, size_t from, size_t n)
{
	static uint8_t b[PIPE];

	MUST(n <= sizeof b);
	for (size_t i = 0; i < n; i++)
		b[i] = text_at(l, up, from + i);
	return b;
}

/* ---- what the client does ---- */

static void client_hears(struct link *l)
{
	uint8_t b[1024];
	size_t n;

	while ((n = client_hear(&l->c, b, sizeof b)) > 0) {
		MUST(n <= l->sent - l->heard && memcmp(b, text(l, false, l->heard, n), n) == 0);
		l->heard += n;
	}
}

static size_t client_writes(struct link *l, size_t most)
{
	size_t sum = 0, n;
	const uint8_t *p;

	while (sum < most && !l->up.end && (p = br_ssl_engine_sendrec_buf(&l->c.cc.eng, &n)) != NULL) {
		n = pipe_put(&l->up, p, n < most - sum ? n : most - sum);
		if (n == 0)
			break;
		br_ssl_engine_sendrec_ack(&l->c.cc.eng, n);
		sum += n;
	}
	return sum;
}

static size_t client_reads(struct link *l, size_t most)
{
	size_t sum = 0, n;

	while (sum < most && l->down.n > 0) {
		uint8_t *p = br_ssl_engine_recvrec_buf(&l->c.cc.eng, &n), nobody[512];
		const bool deaf = !p;

		if (deaf && !client_closed(&l->c))
			break;			/* it has something to send first */
		if (deaf)
			p = nobody, n = sizeof nobody;
		n = pipe_get(&l->down, p, n < most - sum ? n : most - sum);
		if (!deaf)
			br_ssl_engine_recvrec_ack(&l->c.cc.eng, n);
		sum += n;
		client_hears(l);
	}
	return sum;
}

static void client_says(struct link *l, size_t n, bool flush_it)
{
	for (size_t k = 1; n > 0 && k > 0 && !l->goodbye; n -= k) {
		k = client_say(&l->c, text(l, true, l->said, n), n);
		l->said += k;
		client_writes(l, k > 0 && n > k ? SIZE_MAX : 0);
	}
	if (flush_it)
		br_ssl_engine_flush(&l->c.cc.eng, 0);
}

/* A record that is no data, or none that is any use. */
static void client_mutters(struct link *l, uint8_t what)
{
	static const uint8_t warning[] = { 1, 41 };
	static uint8_t record[RECORD_MAX];
	const uint8_t type = what & 2 ? TYPE_DATA : TYPE_ALERT;
	size_t n;

	if (!client_open(&l->c) || l->up.end || br_ssl_engine_sendrec_buf(&l->c.cc.eng, &n) != NULL ||
	    PIPE - l->up.n < 20 * 256u)
		return;
	for (unsigned i = 0; i <= (what >> 4) * 5u; i++) {
		if (what & 1) {
			const size_t most = byte() & 15;
			const size_t some = most < input.n ? most : input.n;
			const int odd = 19 + (what >> 2 & 7);

			n = client_record(&l->c, odd == TYPE_DATA ? 0 : odd, input.p, some, record);
			l->bent = true;
		} else {
			n = client_record(&l->c, type, warning, type == TYPE_ALERT ? what >> 2 & 1 ? 1 : 2 : 0, record);
			l->warned |= type == TYPE_ALERT;
			l->bent |= type == TYPE_ALERT && what >> 2 & 1 && i % 2 == 0;	/* cut in two */
		}
		MUST(pipe_put(&l->up, record, n) == n);
	}
}

/* ---- what the server does ---- */

static size_t server_recvs(struct link *l, size_t cap)
{
	static uint8_t b[PIPE];
	uint8_t *end = b + sizeof b;
	const bool more = tls_more(l->id);

	memset(&ops, 0, sizeof ops);
	recvs = 0;
	errno = 0;
	const ssize_t r = tls_recv(l->id, fd_of(l), end - cap, cap);
	const int e = errno;

	MUST(r <= (ssize_t)cap && recvs <= TURN && ops.sign + ops.mul <= 1);
	MUST((ops.sign + ops.mul + ops.mulgen > 0) == tls_worked());
	MUST(!more || r > 0);
	if (r > 0) {
		MUST((size_t)r <= l->said - l->got);
		MUST(memcmp(end - cap, text(l, true, l->got, (size_t)r), (size_t)r) == 0);
		l->got += (size_t)r;
	}
	if (r == 0)
		MUST(l->up.end || l->goodbye || l->bent || (l->shut && client_closed(&l->c)));
	if (r < 0)
		MUST(e == EAGAIN || (e == ECONNRESET && l->reset) ||
		    (e == EPROTO && (l->bent || l->loaded || (l->warned && l->shut))));
	l->ended |= r == 0 || (r < 0 && e != EAGAIN);
	if (r < (ssize_t)cap && !tls_again(l->id) && !tls_full(l->id))
		MUST(!tls_more(l->id) && (l->up.n == 0 || l->ended || l->reset));
	return r > 0 ? (size_t)r : 0;
}

static void server_sends(struct link *l, size_t n, bool more)
{
	const ssize_t r = tls_send(l->id, fd_of(l), text(l, false, l->sent, n), n, more);

	MUST(r <= (ssize_t)n && (r >= 0 || errno == EAGAIN || errno == EPIPE));
	MUST(r <= 0 || (!l->shut && !tls_shaking(l->id)));
	if (r < (ssize_t)n)
		MUST(tls_full(l->id) || tls_shaking(l->id) || l->shut || errno == EPIPE);
	l->sent += r > 0 ? (size_t)r : 0;
}

static void server_flushes(struct link *l)
{
	const bool full = tls_full(l->id);
	const size_t before = sent_total;
	const bool done = tls_flush(l->id, fd_of(l));

	MUST(done == !tls_full(l->id));
	MUST(full || sent_total == before);
	MUST(done || l->room == 0 || l->reset || l->down.end || l->down.n == PIPE);
}

static void server_shuts(struct link *l)
{
	l->shut = true;
	tls_shut(l->id, fd_of(l));
	MUST(!tls_more(l->id));
}

static void server_closes(struct link *l)
{
	const struct tls *t = of(l->id);
	static const struct tls zero;

	l->shut = true;
	tls_close(l->id, fd_of(l));
	MUST(memcmp(&t->sc, &zero.sc, sizeof zero.sc) == 0 && t->pair == 0);
	l->id = TLS_NONE;
}

static void load(const struct pem *pem, bool good)
{
	const char *option;

	if (good) {
		MUST(identity_load(pem->cert, pem->key, &option) == NULL);
		loaded = pem;
	} else {
		MUST(identity_load(pem->cert, pem == &pem_rsa ? pem_p256.key : pem_rsa.key, &option) != NULL);
		MUST(strcmp(option, "key") == 0);
	}
	for (struct link *l = links; l < links + LINKS && good; l++)
		l->loaded |= l->id != TLS_NONE && tls_shaking(l->id);
}

/* ---- a connection ---- */

static void connect_link(struct link *l, uint8_t how)
{
	if (l->id != TLS_NONE)
		server_closes(l);
	const uint32_t taken = states_taken();

	l->up.n = l->down.n = l->said = l->got = l->sent = l->heard = 0;
	l->up.end = l->down.end = false;
	l->reset = l->bent = l->loaded = l->warned = l->shut = l->goodbye = l->ended = false;
	l->room = l->chunk = SIZE_MAX;
	l->id = tls_open();
	MUST((l->id == TLS_NONE) == (taken == STATES && states_taken() == STATES));
	if (l->id == TLS_NONE)
		return;
	client_init(&l->c, (uint32_t)(l - links));
	const uint32_t session = (how & 3) == 3 ? SESSIONS : how & 1;

	if (session == 0 || (session == SESSIONS && !(how & 4)))
		br_ssl_engine_set_suites(&l->c.cc.eng, quick, 2);
	if (how & 8)
		br_ssl_engine_set_buffers_bidi(&l->c.cc.eng, l->c.in, 512 + 325, l->c.out, 512 + 85);
	client_hello(&l->c, session < SESSIONS ? &old[session] : NULL);
}

/* Both sides do what they can, until nothing moves. */
static void settle(struct link *l, bool flush_it)
{
	size_t moved = 1;

	for (int round = 0; moved > 0; round++) {
		MUST(round < 10000);
		if (flush_it)
			br_ssl_engine_flush(&l->c.cc.eng, 0);
		moved = client_writes(l, SIZE_MAX);
		if (!l->ended)
			do
				moved += server_recvs(l, 4096);
			while (tls_again(l->id) && !l->ended);
		server_flushes(l);
		if (flush_it)
			server_sends(l, 0, false);
		moved += client_reads(l, SIZE_MAX);
	}
}

/* The end: nobody is in the way, and all is read. */
static void farewell(struct link *l)
{
	l->room = l->chunk = SIZE_MAX;
	settle(l, true);
	if (!l->bent && !l->loaded && !l->reset && !l->up.end) {
		MUST(client_open(&l->c) || client_closed(&l->c) || l->goodbye || l->shut);
		MUST((!tls_full(l->id) || (l->shut && tls_shaking(l->id))) && !tls_more(l->id));
		if (!l->shut && !l->goodbye)
			MUST(client_open(&l->c) && !tls_shaking(l->id) && !l->ended);
		if (!l->shut)
			MUST(l->got == l->said);
		if (!l->goodbye)
			MUST(l->heard == l->sent);
		if (!(l->shut && l->warned))
			MUST(l->ended == (l->goodbye || (l->shut && client_closed(&l->c))));
		MUST(of(l->id)->pair == 0 || tls_shaking(l->id));
	}
	const bool told = client_open(&l->c) && !tls_shaking(l->id) && !l->bent && !l->loaded && !l->reset &&
	    !l->shut;			/* while it shook hands, or the client would not be open */

	server_closes(l);
	client_reads(l, SIZE_MAX);
	MUST(!told || !client_open(&l->c));
}

/* ---- what must hold whenever nothing is going on ---- */

static void check_all(void)
{
	uint32_t taken = 0, with = 0;

	for (uint32_t i = 0; i < LINKS; i++) {
		if (links[i].id == TLS_NONE)
			continue;
		const struct tls *t = of(links[i].id);

		taken++;
		with += t->pair > 0;
		MUST(t->pair <= npairs_made && links[i].id <= made);
		for (uint32_t k = 0; k < npairs_free; k++)
			MUST(pair_free[k] != t->pair);
		for (uint32_t k = 0; k < i; k++)
			MUST(links[k].id == TLS_NONE || (links[k].id != links[i].id &&
			    (t->pair == 0 || of(links[k].id)->pair != t->pair)));
		MUST(!tls_shaking(links[i].id) || t->sc.eng.application_data != 1);
		MUST(t->pair > 0 || (!tls_full(links[i].id) && !tls_more(links[i].id)));
	}
	MUST(taken == states_taken() && with == pairs_taken() && npairs_made <= STATES);
}

/* ---- operations ---- */

static void op_bend(struct link *l)
{
	const uint8_t what = byte();
	struct pipe *w = what & 1 ? &l->up : &l->down;
	const size_t at = w->n > 0 ? w->at + amount() % w->n : 0, behind = w->at + w->n - at;

	if (w->n == 0)
		return;
	l->bent = true;
	switch (what >> 1 & 3) {
	case 0:
		w->b[at] ^= (uint8_t)(1 << (what >> 3 & 7));
		break;
	case 1:
		memmove(w->b + at, w->b + at + 1, behind - 1);
		w->n--;
		break;
	case 2:
		if (w->at + w->n == PIPE)
			return;
		memmove(w->b + at + 1, w->b + at, behind);
		w->b[at] = byte();
		w->n++;
		break;
	default:
		w->n = at - w->at;		/* what is behind is lost */
		break;
	}
}

static void op_client_end(struct link *l)
{
	const uint8_t what = byte();

	if (what & 1) {
		l->goodbye |= client_open(&l->c);
		if (client_open(&l->c))
			br_ssl_engine_close(&l->c.cc.eng);
		if (what & 2)
			client_writes(l, SIZE_MAX);
	}
	if (what & 4)
		l->up.end = true;
	if (what & 8)
		l->reset = l->up.end = true;
	if (what & 16 && !l->bent) {
		l->bent = true;			/* a client of BearSSL ends when it is refused */
		br_ssl_engine_renegotiate(&l->c.cc.eng);
	}
}

static void op_room(struct link *l)
{
	const uint8_t what = byte();

	if (what & 1)
		l->room = what == 255 ? SIZE_MAX : (size_t)(what >> 1) * 16u;
	else
		l->chunk = what == 254 ? SIZE_MAX : 1u + (what >> 1);
}

static void op(void)
{
	static const size_t caps[] = { 1, 16, 4096, 20000 };
	const uint8_t what = byte();
	struct link *l = &links[what >> 4 & 3];
	const unsigned flag = what >> 6;

	if ((what & 15) == 0) {
		connect_link(l, byte());
		return;
	}
	if ((what & 15) == 14) {
		load(pems[byte() % 3], flag != 3);
		return;
	}
	if (l->id == TLS_NONE)
		return;
	switch (what & 15) {
	case 1:
		client_writes(l, flag ? SIZE_MAX : amount());
		break;
	case 2: case 3:
		server_recvs(l, caps[flag]);
		break;
	case 4:
		client_reads(l, flag ? SIZE_MAX : amount());
		break;
	case 5: case 6:
		client_says(l, amount(), flag & 1);
		break;
	case 7: case 8:
		server_sends(l, amount(), flag & 1);
		break;
	case 9:
		server_flushes(l);
		break;
	case 10:
		op_room(l);
		break;
	case 11:
		op_bend(l);
		break;
	case 12:
		if (flag == 0)
			server_shuts(l);
		else if (flag == 1)
			server_closes(l);
		else
			op_client_end(l);
		break;
	case 13:
		client_mutters(l, byte());
		break;
	default:
		settle(l, flag & 1);
		break;
	}
}

/* ---- a run ---- */

static void begin(void)
{
	made = free_first = npairs_free = npairs_made = 0;
	worked = false;
	memset(state, 0, STATES * sizeof *state);
	memset(pair, 0, STATES * sizeof *pair);
	if (loaded != &pem_p256)
		load(&pem_p256, true);
}

static void end(void)
{
	for (struct link *l = links; l < links + LINKS; l++)
		if (l->id != TLS_NONE)
			farewell(l);
	check_all();
	MUST(states_taken() == 0 && pairs_taken() == 0);
}

/* Memory from the heap, whose ends a sanitizer watches, and sessions that clients may resume. */
static void set_up(void)
{
	log_init(LOG_ERROR);
	nstates = STATES;
	state = malloc(STATES * sizeof *state);
	pair = malloc(STATES * sizeof *pair);
	pair_free = calloc(STATES, sizeof *pair_free);
	sessions.store = malloc(sizeof kept.store);
	MUST(state && pair && pair_free && sessions.store);
	begin();
	br_ssl_session_cache_lru_init(&sessions, sessions.store, sizeof kept.store);
	for (uint32_t i = 0; i < SESSIONS; i++) {
		connect_link(&links[i], i ? 7 : 3);	/* the second with all suites */
		settle(&links[i], true);
		br_ssl_engine_get_session_parameters(&links[i].c.cc.eng, &old[i]);
		MUST(client_open(&links[i].c) && old[i].session_id_len == 32);
	}
	kept.cache = sessions;
	memcpy(kept.store, sessions.store, sizeof kept.store);
	end();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static bool ready;
	int count = 0;

	if (!ready)
		set_up();
	ready = true;
	input.p = p;
	input.n = n;
	begin();
	randomness = 2;			/* not that of set_up, or new sessions would have the names of the old */
	sessions = kept.cache;
	memcpy(sessions.store, kept.store, sizeof kept.store);
	while (input.n > 0 && count++ < OPS_MAX) {
		op();
		check_all();
	}
	end();
	return 0;
}
