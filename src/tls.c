#include "tls.h"

#include <bearssl.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cert.h"
#include "ct.h"
#include "loop.h"
#include "secret.h"

#define STEPS_MAX 32		/* reads for one connection's records before others have their turn, */
#define READ_MAX 16384u		/* and bytes of them */
#define SHAKE_MAX 16384u	/* bytes of a client's handshake: of a browser's some 2 KB, of others less */
#define SHAKE_FREE 512u		/* of them: more in one turn is work, since BearSSL takes them one by one */
#define NOTICE_MAX 64u		/* then, a record without data: an alert has 18 or 26 bytes */
#define SESSION_BYTES 100u	/* of br_ssl_session_cache_lru, for each session */
#define IN_BYTES (5 + 16384 + 325)	/* a record of a peer that ignores what we can take */
#define OUT_BYTES (4096 + 85)	/* longer records would save little, and each waits for its end */

/* The kernel's numbers (Documentation/networking/tls.rst). */
#define ULP 31			/* TCP_ULP */
#define SOL 282			/* SOL_TLS; of it: */
#define TX 1
#define SET_RECORD_TYPE 1
enum kernel_cipher { GCM_128 = 51, GCM_256 = 52, CHACHA = 54 };

#define DATA 23			/* RFC 5246 6.2.1 */
#define ALERT 21		/* the same; of it, 7.2: */
#define CLOSE_NOTIFY 0

struct tls {
	uint16_t pair;			/* plus 1; 0: it has none */
	uint16_t next;			/* free list: plus 1 */
	uint16_t shaken;		/* bytes that its handshake has brought */
	bool     open;			/* the handshake is finished */
	bool     again;			/* see tls_again */
	bool     shut;			/* nothing more is sent */
	bool     ended;			/* and the socket knows */
	bool     kernel;		/* records are made by the kernel, and not by the engine */
	br_ssl_server_context sc;
};

struct pair {
	uint8_t in[IN_BYTES], out[OUT_BYTES];
};

struct identity {
	struct cert cert;
	br_ssl_server_context ready;	/* each connection begins as a copy of this */
};

static struct identity identity[2];
static bool current;			/* which of them */
static struct tls *state;
static struct pair *pair;
static uint16_t *pair_free;
static uint32_t nstates, made, free_first, npairs_free, npairs_made;
static br_ssl_session_cache_lru sessions;
static bool worked, legacy;

/* ---- how it is set up ---- */

static br_ec_impl curves;		/* BearSSL's, but that they are noticed */

static size_t mulgen(unsigned char *r, const unsigned char *x, size_t n, int curve)
{
	worked = true;
	return br_ec_get_default()->mulgen(r, x, n, curve);
}

static uint32_t mul(unsigned char *g, size_t glen, const unsigned char *x, size_t n, int curve)
{
	worked = true;
	return br_ec_get_default()->mul(g, glen, x, n, curve);
}

/* AES in software, taking the same time for every key, is much slower than ChaCha20. */
static void set_suites(br_ssl_engine_context *e)
{
	static const uint16_t suites[] = {
		BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	};
	static const uint16_t old[] = {
		BR_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, BR_TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
		BR_TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384, BR_TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384,
		BR_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, BR_TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
		BR_TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, BR_TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	};
	uint16_t all[6 + sizeof old / sizeof *old];

	memcpy(all, suites + (br_aes_x86ni_ctr_get_vtable() ? 0 : 4), 6 * sizeof *all);
	memcpy(all + 6, old, sizeof old);
	br_ssl_engine_set_suites(e, all, legacy ? sizeof all / sizeof *all : 6);
}

static void set_algorithms(br_ssl_engine_context *e)
{
	curves = *br_ec_get_default();
	curves.mul = mul;
	curves.mulgen = mulgen;
	br_ssl_engine_set_ec(e, &curves);
	set_suites(e);
	br_ssl_engine_set_hash(e, br_sha256_ID, &br_sha256_vtable);
	br_ssl_engine_set_hash(e, br_sha384_ID, &br_sha384_vtable);
	br_ssl_engine_set_hash(e, br_sha512_ID, &br_sha512_vtable);
	br_ssl_engine_set_prf_sha256(e, &br_tls12_sha256_prf);
	br_ssl_engine_set_prf_sha384(e, &br_tls12_sha384_prf);
	br_ssl_engine_set_default_aes_gcm(e);
	br_ssl_engine_set_default_chapol(e);
	if (legacy) {
		br_ssl_engine_set_hash(e, br_sha1_ID, &br_sha1_vtable);
		br_ssl_engine_set_default_aes_cbc(e);
	}
}

static void prepare(struct identity *id)
{
	static const char *protocols[] = { "http/1.1" };
	const struct cert *c = &id->cert;
	br_ssl_server_context *sc = &id->ready;

	br_ssl_server_zero(sc);
	br_ssl_engine_set_versions(&sc->eng, BR_TLS12, BR_TLS12);
	set_algorithms(&sc->eng);
	if (br_skey_decoder_key_type(&c->key) == BR_KEYTYPE_RSA)
		br_ssl_server_set_single_rsa(sc, c->chain, c->n, br_skey_decoder_get_rsa(&c->key),
		    BR_KEYTYPE_SIGN, NULL, br_rsa_pkcs1_sign_get_default());
	else
		br_ssl_server_set_single_ec(sc, c->chain, c->n, br_skey_decoder_get_ec(&c->key),
		    BR_KEYTYPE_SIGN, 0, &curves, br_ecdsa_sign_asn1_get_default());
	br_ssl_engine_set_all_flags(&sc->eng, BR_OPT_ENFORCE_SERVER_PREFERENCES | BR_OPT_NO_RENEGOTIATION |
	    BR_OPT_FAIL_ON_ALPN_MISMATCH);
	br_ssl_engine_set_protocol_names(&sc->eng, protocols, 1);
	br_ssl_server_set_cache(sc, &sessions.vtable);
	sc->eng.rng_os_rand_done = 1;		/* tls_open seeds each copy; it needs no file for that */
}

const char *tls_load(const char *cert, const char *key, int64_t now_s, const char **option)
{
	struct identity *old = &identity[current], *new = &identity[!current];
	const char *what;

	what = cert_read(&new->cert, cert, key, now_s, option);
	if (what) {
		ct_wipe(new, sizeof *new);
		return what;
	}
	prepare(new);
	current = !current;
	for (uint32_t i = 0; i < made; i++)	/* those that have not been told of a certificate yet */
		state[i].sc.policy_vtable = new->ready.policy_vtable;
	ct_wipe(old, sizeof *old);
	return NULL;
}

void tls_wipe(void)
{
	ct_wipe(identity, sizeof identity);
	if (sessions.store)
		ct_wipe(sessions.store, sessions.store_len);
}

/* Only root can have the kernel load its module for TLS: before root is given up, ask for it once. */
static void load_module(void)
{
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0) {
		setsockopt(fd, IPPROTO_TCP, ULP, "tls", 4);
		close(fd);
	}
}

void tls_init(uint32_t n, bool cbc_too)
{
	legacy = cbc_too;
	load_module();
	secret_guard(identity, sizeof identity);	/* both: SIGHUP finds the calls for that forbidden */
	nstates = n;
	state = memory_take(n, sizeof *state);
	pair = memory_take(n, sizeof *pair);
	pair_free = memory_take(n, sizeof *pair_free);
	br_ssl_session_cache_lru_init(&sessions, memory_take(n, SESSION_BYTES), n * SESSION_BYTES);
}

/* ---- states and buffers ---- */

static struct tls *of(uint16_t id)
{
	return &state[id - 1];
}

static bool is(const struct tls *t, unsigned what)	/* BR_SSL_CLOSED, ... */
{
	return br_ssl_engine_current_state(&t->sc.eng) & what;
}

static void pair_take(struct tls *t)
{
	br_ssl_engine_context *e = &t->sc.eng;

	if (t->pair)
		return;
	t->pair = npairs_free > 0 ? pair_free[--npairs_free] : (uint16_t)++npairs_made;
	e->ibuf = pair[t->pair - 1].in;
	e->obuf = pair[t->pair - 1].out;
}

static void pair_free_of(struct tls *t)
{
	pair_free[npairs_free++] = t->pair;
	t->pair = 0;
}

/* Between records the engine keeps nothing in its buffers: of input it waits for the five bytes of the next
 * header, of output it has nothing. Only its registers tell; their meaning is that of BearSSL 0.6. */
static void pair_give(struct tls *t)
{
	const br_ssl_engine_context *e = &t->sc.eng;
	const bool idle = t->open && e->ixa == 0 && e->ixb == 0 && e->ixc == 5 && e->oxa == e->oxc &&
	    e->oxa != e->oxb;

	if (t->pair && (idle || is(t, BR_SSL_CLOSED)))
		pair_free_of(t);
}

uint16_t tls_open(void)
{
	uint8_t seed[32];
	struct tls *t;

	if (free_first == 0 && made == nstates)
		return TLS_NONE;
	const uint16_t id = (uint16_t)(free_first ? free_first : ++made);

	t = of(id);
	if (free_first)
		free_first = t->next;
	*t = (struct tls){ .sc = identity[current].ready };
	if (getrandom(seed, sizeof seed, 0) == sizeof seed)	/* so few bytes always come whole */
		br_ssl_engine_inject_entropy(&t->sc.eng, seed, sizeof seed);
	ct_wipe(seed, sizeof seed);
	pair_take(t);
	br_ssl_engine_set_buffers_bidi(&t->sc.eng, t->sc.eng.ibuf, IN_BYTES, t->sc.eng.obuf, OUT_BYTES);
	br_ssl_server_reset(&t->sc);
	t->sc.eng.version_out = BR_TLS12;	/* of an alert before one is agreed upon; BearSSL would say 0.0 */
	return id;
}

void tls_close(uint16_t id, int fd)
{
	struct tls *t = of(id);

	if (t->open && !t->shut)
		tls_shut(id, fd);
	if (t->pair)
		pair_free_of(t);
	ct_wipe(t, sizeof *t);
	t->next = (uint16_t)free_first;
	free_first = id;
}

/* ---- the pump ---- */

/* As BearSSL's own, which is not for others; it knows a failed engine by this. */
static void fail(br_ssl_engine_context *e, int error)
{
	e->iomode = 0;
	e->err = error;
}

/* close_notify, as a record that the kernel makes. */
static ssize_t kernel_close_notify(int fd)
{
	uint8_t alert[2] = { 1, CLOSE_NOTIFY };
	union {
		struct cmsghdr head;
		uint8_t space[CMSG_SPACE(1)];
	} c = { .head = { .cmsg_len = CMSG_LEN(1), .cmsg_level = SOL, .cmsg_type = SET_RECORD_TYPE } };
	struct iovec v = { alert, sizeof alert };
	const struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c };

	*CMSG_DATA(&c.head) = ALERT;
	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

/* Hand records to the socket. True: there is no more. Where the kernel makes them, all that the engine still
 * has to say is close_notify: see NOTICE_MAX. */
static bool flush(struct tls *t, int fd)
{
	br_ssl_engine_context *e = &t->sc.eng;
	uint8_t *p;
	size_t n;

	while ((p = br_ssl_engine_sendrec_buf(e, &n)) != NULL) {
		ssize_t r;

		if (!t->kernel)
			r = send(fd, p, n, MSG_NOSIGNAL);
		else if (kernel_close_notify(fd) > 0)
			r = (ssize_t)n;
		else
			r = -1;
		if (r > 0)
			br_ssl_engine_sendrec_ack(e, (size_t)r);
		else if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
			return false;
		else
			fail(e, BR_ERR_OK);	/* the peer is gone: nothing will ever wait for it */
	}
	return true;
}

static void number(uint8_t out[8], uint64_t n)
{
	for (int i = 8; i-- > 0; n >>= 8)
		out[i] = (uint8_t)n;
}

/* What the kernel is to know of our side: struct tls12_crypto_info_*. The keys are cut from the key block
 * once more (RFC 5246 6.3); before them of each direction's key stands the client's. Its length. */
static size_t kernel_info(const br_ssl_engine_context *e, uint8_t info[64])
{
	const br_tls_prf_seed_chunk seed[] = { { e->server_random, 32 }, { e->client_random, 32 } };
	const br_tls_prf_impl prf[] = { br_tls12_sha256_prf, br_tls12_sha384_prf };
	const uint16_t suite = e->session.cipher_suite, version = BR_TLS12;
	const bool chacha = suite == BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 ||
	    suite == BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
	const bool aes128 = suite == BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 ||
	    suite == BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
	const uint16_t cipher = chacha ? CHACHA : aes128 ? GCM_128 : GCM_256;
	const size_t key = aes128 ? 16 : 32, salt = chacha ? 12 : 4;
	uint8_t block[2 * (32 + 12)], *at = info + 4;

	prf[cipher == GCM_256](block, 2 * (key + salt), e->session.master_secret, sizeof e->session.master_secret,
	    "key expansion", 2, seed);
	memcpy(info, &version, 2);
	memcpy(info + 2, &cipher, 2);
	if (!chacha) {
		number(at, e->out.gcm.seq);	/* the explicit part of the nonce */
		at += 8;
	} else {
		memcpy(at, block + 2 * key + salt, salt);
		at += salt;
	}
	memcpy(at, block + key, key);
	at += key;
	if (!chacha) {
		memcpy(at, block + 2 * key + salt, salt);
		at += salt;
	}
	number(at, chacha ? e->out.chapol.seq : e->out.gcm.seq);
	ct_wipe(block, sizeof block);
	return (size_t)(at + 8 - info);
}

/* Where the kernel has TLS, it makes our records from here on, straight from what is handed to it. */
static void to_kernel(struct tls *t, int fd)
{
	uint8_t info[64];

	if (t->sc.eng.session.cipher_suite < BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 ||	/* it has no CBC */
	    !flush(t, fd) || setsockopt(fd, IPPROTO_TCP, ULP, "tls", 4) != 0)
		return;
	const size_t n = kernel_info(&t->sc.eng, info);

	t->kernel = setsockopt(fd, SOL, TX, info, (socklen_t)n) == 0;
	ct_wipe(info, sizeof info);
}

/* The handshake is finished by what the peer has said last, or by what was said to it. */
static void finish(struct tls *t, int fd)
{
	if (t->open || t->sc.eng.application_data != 1)
		return;
	t->open = true;
	to_kernel(t, fd);
}

/* Some of what records have brought. */
static size_t take(br_ssl_engine_context *e, void *p, size_t n)
{
	size_t k;
	const uint8_t *data = br_ssl_engine_recvapp_buf(e, &k);

	if (!data)
		return 0;
	if (k > n)
		k = n;
	memcpy(p, data, k);
	br_ssl_engine_recvapp_ack(e, k);
	return k;
}

/* Some bytes of a record. Above 0, or as recv. */
static ssize_t fill(struct tls *t, int fd)
{
	br_ssl_engine_context *e = &t->sc.eng;
	size_t n;
	uint8_t *p = br_ssl_engine_recvrec_buf(e, &n);

	errno = EAGAIN;
	if (!p)
		return -1;			/* what is to be sent is in the way */
	const ssize_t r = recv(fd, p, n, 0);
	const int error = errno;

	if (r > 0) {
		if (!t->open && (t->shaken = (uint16_t)(t->shaken + r)) > SHAKE_MAX)
			fail(e, BR_ERR_TOO_LARGE);
		br_ssl_engine_recvrec_ack(e, (size_t)r);
		if (t->open && e->record_type_in != DATA && e->ixc > NOTICE_MAX)
			fail(e, BR_ERR_UNEXPECTED);
		flush(t, fd);
		finish(t, fd);
	}
	errno = error;
	return r;
}

/* One public-key operation is enough for a turn: the next may take as long. And so is what a record has
 * brought of which some was left, or who sends without end would have all turns. */
ssize_t tls_recv(uint16_t id, int fd, void *p, size_t n)
{
	struct tls *t = of(id);
	const bool before = worked, left = tls_more(id);
	const uint16_t shaken = t->shaken;
	size_t got = 0, in = 0, k;
	ssize_t r = 1;

	pair_take(t);
	worked = t->again = false;
	for (int i = 0; got < n && r > 0 && !t->again; i++) {
		got += k = take(&t->sc.eng, (uint8_t *)p + got, n - got);
		t->again = k == 0 && (worked || left || in >= READ_MAX || i >= STEPS_MAX);
		if (k == 0 && !t->again && (r = fill(t, fd)) > 0)
			in += (size_t)r;
	}
	worked |= t->shaken - shaken > (int)SHAKE_FREE;
	const int e = r > 0 ? EAGAIN : errno;

	flush(t, fd);
	finish(t, fd);
	const bool end = is(t, BR_SSL_CLOSED);

	pair_give(t);
	worked |= before;
	if (got > 0) {
		t->again |= end;
		return (ssize_t)got;
	}
	errno = end ? EPROTO : e;
	return end ? -(br_ssl_engine_last_error(&t->sc.eng) != BR_ERR_OK) : r > 0 ? -1 : r;
}

ssize_t tls_send(uint16_t id, int fd, const void *p, size_t n, bool more)
{
	struct tls *t = of(id);
	br_ssl_engine_context *e = &t->sc.eng;
	size_t done = 0, k;

	if (!t->open || t->shut) {		/* the engine takes more until its close_notify is written */
		errno = t->shut ? EPIPE : EAGAIN;
		return -1;
	}
	if (t->kernel)
		return send(fd, p, n, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
	pair_take(t);
	while (done < n) {
		uint8_t *to = br_ssl_engine_sendapp_buf(e, &k);

		if (!to && (!flush(t, fd) || !(to = br_ssl_engine_sendapp_buf(e, &k))))
			break;
		k = k < n - done ? k : n - done;
		memcpy(to, (const uint8_t *)p + done, k);
		br_ssl_engine_sendapp_ack(e, k);
		done += k;
	}
	if (!more)
		br_ssl_engine_flush(e, 0);
	flush(t, fd);
	const bool end = is(t, BR_SSL_CLOSED);

	pair_give(t);
	errno = end ? EPIPE : EAGAIN;
	return !end && (done > 0 || n == 0) ? (ssize_t)done : -1;
}

bool tls_flush(uint16_t id, int fd)
{
	struct tls *t = of(id);
	const bool done = !t->pair || flush(t, fd);

	finish(t, fd);
	pair_give(t);
	if (done && t->shut && !t->ended) {	/* each time is an event */
		t->ended = true;
		shutdown(fd, SHUT_WR);
	}
	return done;
}

void tls_shut(uint16_t id, int fd)
{
	struct tls *t = of(id);
	br_ssl_engine_context *e = &t->sc.eng;
	size_t unread;

	if (t->shut)
		return;
	t->shut = true;
	pair_take(t);
	if (t->open) {
		while (br_ssl_engine_recvapp_buf(e, &unread))	/* the peer's close_notify is behind it */
			br_ssl_engine_recvapp_ack(e, unread);
		br_ssl_engine_flush(e, 0);
		br_ssl_engine_close(e);
	}
	tls_flush(id, fd);
}

/* ---- what is asked of it ---- */

bool tls_shaking(uint16_t id)
{
	return !of(id)->open;
}

bool tls_more(uint16_t id)
{
	const struct tls *t = of(id);

	return t->pair && is(t, BR_SSL_RECVAPP);
}

bool tls_again(uint16_t id)
{
	return of(id)->again;
}

bool tls_full(uint16_t id)
{
	const struct tls *t = of(id);

	return t->pair && is(t, BR_SSL_SENDREC);
}

const char *tls_error(uint16_t id, int *number)
{
	static const struct {
		int number;
		const char *text;
	} known[] = {
		{ BR_ERR_UNSUPPORTED_VERSION, "that was not TLS; a client of http:// or ws://?" },
		{ BR_ERR_SEND_FATAL_ALERT + 40, "no cipher suite, curve and signature that both have" },
		{ BR_ERR_SEND_FATAL_ALERT + 70, "the client has no TLS 1.2" },
		{ BR_ERR_SEND_FATAL_ALERT + 120, "the client has no http/1.1 (ALPN)" },
		{ BR_ERR_RECV_FATAL_ALERT + 42, "the client finds the certificate bad" },
		{ BR_ERR_RECV_FATAL_ALERT + 45, "for the client the certificate has expired" },
		{ BR_ERR_RECV_FATAL_ALERT + 46, "the client does not accept the certificate" },
		{ BR_ERR_RECV_FATAL_ALERT + 48, "the client does not know who signed the certificate" },
	};

	*number = br_ssl_engine_last_error(&of(id)->sc.eng);
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (known[i].number == *number)
			return known[i].text;
	return "the handshake failed";
}

bool tls_worked(void)
{
	const bool yes = worked;

	worked = false;
	return yes;
}
