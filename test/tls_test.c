/* TLS for clients' sockets, against BearSSL's client at the other end of a socket pair.
 *
 * The kernel makes no records for sockets of this family; only what it would be told is looked at. */
#include "check.h"
#include "log.h"
#include "tls_peer.h"

#define STATES 8u
#define STREAM 65536u
#define CAP 4096u		/* of one tls_recv, where nothing else is said */
#define TURN 64u		/* recv(2) in one call: with more, others would wait */

static unsigned recvs;		/* recv(2), by the server */
static unsigned random_left = UINT32_MAX;	/* calls of getrandom that succeed */

static ssize_t wire_send(int fd, const void *p, size_t n, int flags)
{
	CHECK(flags == MSG_NOSIGNAL);
	return send(fd, p, n, flags);
}

static ssize_t wire_recv(int fd, void *p, size_t n, int flags)
{
	recvs++;
	return recv(fd, p, n, flags);
}

static int wire_shutdown(int fd, int how)
{
	return shutdown(fd, how);
}

static ssize_t wire_random(void *p, size_t n, unsigned flags)
{
	if (random_left == 0)
		return -1;
	random_left--;
	return getrandom(p, n, flags);
}

/* ---- a connection ---- */

struct link {
	struct client c;
	int fd, peer;			/* the server's end, the client's */
	uint16_t id;
	uint8_t got[STREAM], came[STREAM];	/* plaintext at the server's end, at the client's */
	size_t ngot, ncame;
	ssize_t last;			/* of tls_recv; below 0: */
	int error;
	bool fin;			/* the client has read the end */
};

static uint8_t stream[STREAM];

static const uint16_t one_suite[] = { BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 };

static void must_load(const struct pem *pem)
{
	const char *option, *what = identity_load(pem->cert, pem->key, &option);

	if (!CHECK(what == NULL))
		printf("\t%s: %s\n", option, what);
}

static void link_sockets(struct link *l)
{
	int fd[2];

	memset(l, 0, sizeof *l);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) != 0)
		abort();
	l->fd = fd[0];
	l->peer = fd[1];
	l->id = tls_open();
	l->last = -1;
	client_init(&l->c, 1);
	CHECK(l->id != TLS_NONE && tls_shaking(l->id) && !tls_more(l->id) && !tls_again(l->id) && !tls_full(l->id));
}

static void link_close(struct link *l)
{
	tls_close(l->id, l->fd);
	close(l->fd);
	if (l->peer >= 0)
		close(l->peer);
}

/* A call of tls_recv, and what is promised of each. */
static ssize_t server_recv_into(struct link *l, void *p, size_t n)
{
	const ssize_t before = (ssize_t)n;
	int error;

	memset(&ops, 0, sizeof ops);
	tls_worked();
	recvs = 0;
	errno = 0;
	l->last = tls_recv(l->id, l->fd, p, n);
	error = errno;
	CHECK(ops.sign + ops.mul <= 1);	/* a signature goes with the key that it signs */
	CHECK(tls_worked() == (ops.sign + ops.mul + ops.mulgen > 0) && !tls_worked());
	CHECK(recvs <= TURN && l->last <= before);
	if (l->last < before && !tls_again(l->id) && !tls_full(l->id)) {
		uint8_t one;

		CHECK(!tls_more(l->id));
		CHECK(recv(l->fd, &one, 1, MSG_PEEK) <= 0 || error == EPROTO || l->last == 0);
	}
	if (l->last < 0)
		l->error = error;
	return l->last;
}

static ssize_t server_recv(struct link *l, size_t n)
{
	const ssize_t r = server_recv_into(l, l->got + l->ngot, n < STREAM - l->ngot ? n : STREAM - l->ngot);

	if (r > 0)
		l->ngot += (size_t)r;
	return r;
}

/* Records of the client's, at most so many bytes; what has gone. */
static size_t client_write(struct link *l, size_t most)
{
	size_t sum = 0, n;

	while (sum < most) {
		const uint8_t *p = br_ssl_engine_sendrec_buf(&l->c.cc.eng, &n);

		if (!p || l->peer < 0)
			break;
		const ssize_t r = send(l->peer, p, n < most - sum ? n : most - sum, MSG_NOSIGNAL);

		if (r <= 0)
			break;
		br_ssl_engine_sendrec_ack(&l->c.cc.eng, (size_t)r);
		sum += (size_t)r;
	}
	return sum;
}

static void client_take(struct link *l)
{
	l->ncame += client_hear(&l->c, l->came + l->ncame, STREAM - l->ncame);
}

static size_t client_read(struct link *l, size_t most)
{
	size_t sum = 0, n;

	while (sum < most && l->peer >= 0) {
		uint8_t *p = br_ssl_engine_recvrec_buf(&l->c.cc.eng, &n), rest[256];
		const bool deaf = !p;

		if (deaf)
			p = rest, n = sizeof rest;
		const ssize_t r = recv(l->peer, p, n < most - sum ? n : most - sum, 0);

		l->fin |= r == 0;
		if (r <= 0)
			break;
		if (!deaf)
			br_ssl_engine_recvrec_ack(&l->c.cc.eng, (size_t)r);
		sum += (size_t)r;
		client_take(l);
	}
	return sum;
}

/* Both ends, until there is nothing more to do; a few bytes at a time if step is small. */
static void run(struct link *l, size_t step)
{
	size_t moved = 1;

	for (int round = 0; moved > 0 && CHECK(round < 100000); round++) {
		const size_t before = l->ngot;

		moved = client_write(l, step);
		if (l->last != 0 && l->error != EPROTO)
			do
				server_recv(l, CAP);
			while (l->last > 0 || tls_again(l->id));
		tls_flush(l->id, l->fd);
		moved += client_read(l, step) + (l->ngot - before);
	}
}

/* suites: how many of one_suite, or 0 for all that the client has. */
static void link_open(struct link *l, const br_ssl_session_parameters *old, size_t suites, size_t step)
{
	link_sockets(l);
	if (suites > 0)
		br_ssl_engine_set_suites(&l->c.cc.eng, one_suite, suites);
	client_hello(&l->c, old);
	run(l, step);
	CHECK(client_open(&l->c) && !tls_shaking(l->id) && !tls_full(l->id) && l->last == -1 && l->error == EAGAIN);
}

static struct link A, B;

static void client_says(struct link *l, size_t from, size_t n)
{
	CHECK(client_say(&l->c, stream + from, n) == n);
	br_ssl_engine_flush(&l->c.cc.eng, 0);
}

/* ---- handshakes and streams ---- */

/* The same bytes both ways, in order; so many of each at a time. */
static void both_ways(struct link *l, size_t total, size_t say, size_t step)
{
	size_t said = 0, sent = 0;

	l->ngot = l->ncame = 0;
	for (int round = 0; (l->ngot < total || l->ncame < total) && CHECK(round < 100000); round++) {
		said += client_say(&l->c, stream + said, say < total - said ? say : total - said);
		br_ssl_engine_flush(&l->c.cc.eng, 0);
		if (sent < total) {
			const ssize_t r = tls_send(l->id, l->fd, stream + sent, say < total - sent ? say : total - sent,
			    false);

			CHECK(r >= 0 || errno == EAGAIN);
			sent += r > 0 ? (size_t)r : 0;
		}
		run(l, step);
	}
	CHECK(l->ngot == total && l->ncame == total);
	CHECK_BYTES(l->got, stream, total);
	CHECK_BYTES(l->came, stream, total);
}

static const struct pem *const pems[] = { &pem_rsa, &pem_p256, &pem_p384 };

static bool was_shown(const struct client *c, const struct pem *pem)
{
	uint8_t der[2048];
	const size_t n = pem_der(der, pem->cert);

	return c->seen.n == n && memcmp(c->seen.leaf, der, n) == 0;
}

static void handshakes(void)
{
	static const uint16_t suites[][2] = {
		{ BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 },
		{ BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 },
		{ BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 },
	};

	for (size_t i = 0; i < 3; i++) {
		must_load(pems[i]);
		tls_begin(STATES);
		for (size_t k = 0; k < 3; k++) {
			static const char *protocols[] = { "h2", "http/1.1" };

			link_sockets(&A);
			br_ssl_engine_set_suites(&A.c.cc.eng, suites[k], 2);
			br_ssl_engine_set_protocol_names(&A.c.cc.eng, protocols, 2);
			client_hello(&A.c, NULL);
			run(&A, SIZE_MAX);
			CHECK(client_open(&A.c) && was_shown(&A.c, pems[i]));
			CHECK(A.c.cc.eng.session.cipher_suite == suites[k][i > 0]);
			const char *protocol = br_ssl_engine_get_selected_protocol(&A.c.cc.eng);

			CHECK(protocol && strcmp(protocol, "http/1.1") == 0);
			both_ways(&A, 30000, 7000, SIZE_MAX);
			link_close(&A);
		}
		link_open(&A, NULL, 0, SIZE_MAX);	/* the server chooses */
		CHECK(A.c.cc.eng.session.cipher_suite == suites[br_aes_x86ni_ctr_get_vtable() ? 0 : 2][i > 0]);
		link_close(&A);
	}
}

/* Every byte comes alone, the handshake's too. */
static void byte_by_byte(void)
{
	must_load(&pem_p256);
	tls_begin(STATES);
	link_open(&A, NULL, 2, 1);
	both_ways(&A, 3000, 700, 1);
	link_open(&B, &A.c.cc.eng.session, 2, 1);
	both_ways(&B, 3000, 700, 1);
	link_close(&A);
	link_close(&B);
}

static void split_one(void *arg, const uint8_t *a, size_t an, const uint8_t *b, size_t bn)
{
	const size_t want = A.ngot + *(const size_t *)arg;

	if (an > 0)
		CHECK(send(A.peer, a, an, 0) == (ssize_t)an);
	server_recv(&A, CAP);
	CHECK(pairs_taken() == (an > 0 && bn > 0));
	if (bn > 0)
		CHECK(send(A.peer, b, bn, 0) == (ssize_t)bn && A.ngot < want);
	server_recv(&A, CAP);
	CHECK(A.ngot == want && A.last < (ssize_t)CAP && !tls_again(A.id));
	CHECK_BYTES(A.got + want - *(const size_t *)arg, stream, *(const size_t *)arg);
	CHECK(pairs_taken() == 0);
	A.ngot = 0;
}

/* A record in two parts, cut at every place. */
static void every_cut(void)
{
	static const size_t sizes[] = { 1, 100, 500 };
	static uint8_t record[RECORD_MAX];

	link_open(&A, NULL, 2, SIZE_MAX);
	for (size_t i = 0; i < 3; i++) {
		const size_t len = 5 + sizes[i] + 16;	/* ChaCha20-Poly1305 (RFC 7905) */

		for (size_t cut = 0; cut <= len; cut++) {
			size_t n = sizes[i];

			CHECK(client_record(&A.c, TYPE_DATA, stream, n, record) == len);
			split_one(&n, guard(0, record, cut), cut, guard(1, record + cut, len - cut), len - cut);
		}
	}
	link_close(&A);
}

/* Whatever the cap of one tls_recv. */
static void caps(void)
{
	static const size_t most[] = { 1, 2, 3, 7, 64, 4095, 4096, 4097, STREAM };
	uint64_t seed = 1;

	link_open(&A, NULL, 2, SIZE_MAX);
	for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
		size_t said = 0;

		for (A.ngot = 0; A.ngot < 40000 && CHECK(A.last != 0 && A.error != EPROTO);) {
			const size_t n = check_random(&seed) % 5000;

			said += client_say(&A.c, stream + said, n < 40000 - said ? n : 40000 - said);
			br_ssl_engine_flush(&A.c.cc.eng, 0);
			client_write(&A, SIZE_MAX);
			for (;;) {
				const bool more = tls_more(A.id);
				const ssize_t r = server_recv(&A, most[i]);

				CHECK(!more || r > 0);
				if (r < (ssize_t)(most[i] < STREAM - A.ngot ? most[i] : 0) && !tls_again(A.id))
					break;
			}
			CHECK(A.ngot == said);
		}
		CHECK_BYTES(A.got, stream, 40000);
		CHECK(!tls_more(A.id));
	}
	CHECK(tls_recv(A.id, A.fd, A.got, 0) == -1 && errno == EAGAIN);
	link_close(&A);
}

/* A socket with little room: bytes are taken, wait, and go on when the client has read. */
static void partial_writes(void)
{
	static const int least = 1;
	unsigned shorter = 0, full = 0;
	size_t sent = 0;

	link_open(&A, NULL, 2, SIZE_MAX);
	CHECK(setsockopt(A.fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least) == 0);
	CHECK(tls_send(A.id, A.fd, stream, 0, false) == 0 && !tls_full(A.id));
	while (A.ncame < STREAM && CHECK(A.last == -1)) {
		const ssize_t r = sent < STREAM ? tls_send(A.id, A.fd, stream + sent, STREAM - sent, false) : 0;

		CHECK(r > 0 || sent == STREAM || (r == -1 && errno == EAGAIN && tls_full(A.id)));
		sent += r > 0 ? (size_t)r : 0;
		shorter += sent < STREAM;
		if (tls_full(A.id)) {
			full++;
			CHECK(!tls_flush(A.id, A.fd) && tls_full(A.id) && pairs_taken() == 1);
			CHECK(tls_send(A.id, A.fd, stream + sent, 1, false) <= 0 || sent == STREAM);
		}
		for (int i = 0; tls_full(A.id) && CHECK(i < 1000); i++) {
			client_read(&A, 1000);
			CHECK(tls_flush(A.id, A.fd) == !tls_full(A.id));
		}
		while (client_read(&A, SIZE_MAX) > 0)
			CHECK(tls_flush(A.id, A.fd));
		CHECK(A.ncame == sent && pairs_taken() == 0);
	}
	CHECK(shorter > 3 && full > 3);
	CHECK_BYTES(A.came, stream, STREAM);
	link_close(&A);
}

/* What follows at once goes into the same record, and what does not waits for nothing. */
static void records(void)
{
	static const struct { size_t n; bool more; unsigned records; } rows[] = {
		{ 10, false, 10 }, { 10, true, 1 }, { 4096, false, 10 }, { 4096, true, 10 }, { 4097, false, 20 },
		{ 5000, false, 20 }, { 5000, true, 13 },	/* 50000 / 4096 */
	};
	static uint8_t wire[2 * STREAM];

	link_open(&A, NULL, 2, SIZE_MAX);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t n = 0, at = 0;
		unsigned count = 0;

		for (unsigned k = 0; k < 10; k++)
			CHECK(tls_send(A.id, A.fd, stream, rows[i].n, rows[i].more && k < 9) == (ssize_t)rows[i].n &&
			    !tls_full(A.id));
		for (ssize_t r; (r = recv(A.peer, wire + n, sizeof wire - n, 0)) > 0;)
			n += (size_t)r;
		for (; at < n; count++)
			at += 5u + (size_t)(wire[at + 3] << 8 | wire[at + 4]);
		if (!CHECK(at == n && count == rows[i].records))
			printf("\t%zu: %u\n", i, count);
		CHECK(pairs_taken() == 0);
	}
	CHECK(tls_send(A.id, A.fd, stream, 10, true) == 10 && pairs_taken() == 1);
	CHECK(tls_send(A.id, A.fd, stream, 0, false) == 0 && pairs_taken() == 0);	/* none follows after all */
	CHECK(recv(A.peer, wire, sizeof wire, 0) == 5 + 10 + 16);
	link_close(&A);
}

/* One with short records (RFC 6066 4) gets no longer ones. */
static void short_records(void)
{
	static uint8_t wire[STREAM];
	size_t longest = 0;

	link_sockets(&A);
	br_ssl_engine_set_suites(&A.c.cc.eng, one_suite, 2);
	br_ssl_engine_set_buffers_bidi(&A.c.cc.eng, A.c.in, 512 + 325, A.c.out, 512 + 85);
	client_hello(&A.c, NULL);
	run(&A, SIZE_MAX);
	CHECK(client_open(&A.c));
	both_ways(&A, 20000, 1000, SIZE_MAX);
	CHECK(tls_send(A.id, A.fd, stream, 5000, false) == 5000);
	const ssize_t n = recv(A.peer, wire, sizeof wire, 0);

	for (size_t at = 0, len; (ssize_t)at < n; at += len) {
		len = 5u + (size_t)(wire[at + 3] << 8 | wire[at + 4]);
		longest = len > longest ? len : longest;
	}
	CHECK(n > 5000 && longest == 5 + 512 + 16);
	link_close(&A);
}

/* What the kernel would be told (Linux, uapi/linux/tls.h): a record that is made from that alone is the
 * next that the client expects. */
static void kernel_keys(void)
{
	static const struct { uint16_t suite, cipher; size_t salt, iv, key; } rows[] = {
		{ BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 51, 4, 8, 16 },
		{ BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, 52, 4, 8, 32 },
		{ BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, 54, 0, 12, 32 },
	};

	for (size_t i = 0; i < 3; i++) {
		uint8_t info[64], room[200];
		union {
			const br_sslrec_out_class *vtable;
			br_sslrec_gcm_context gcm;
			br_sslrec_chapol_context chapol;
		} out;
		size_t start = 5, end = sizeof room - 5, n = 50;
		uint64_t seq = 0;
		uint16_t head[2];

		link_sockets(&A);
		br_ssl_engine_set_suites(&A.c.cc.eng, &rows[i].suite, 1);
		client_hello(&A.c, NULL);
		run(&A, SIZE_MAX);
		for (size_t k = 0; k < i + 2; k++)
			CHECK(tls_send(A.id, A.fd, stream, 10, false) == 10);
		client_read(&A, SIZE_MAX);
		CHECK(A.ncame == 10 * (i + 2));
		const br_ssl_engine_context *e = &of(A.id)->sc.eng;
		const size_t len = kernel_info(e, info);
		const uint8_t *iv = info + 4, *key = iv + rows[i].iv, *salt = key + rows[i].key;

		memcpy(head, info, 4);
		CHECK(head[0] == 0x303 && head[1] == rows[i].cipher);
		CHECK(len == 4 + rows[i].iv + rows[i].key + rows[i].salt + 8);
		for (size_t k = len - 8; k < len; k++)
			seq = seq << 8 | info[k];
		CHECK(seq == i + 3);			/* Finished was the first */
		if (rows[i].salt) {
			br_sslrec_out_gcm_vtable.init(&out.gcm.vtable.out, e->iaes_ctr, key, rows[i].key, e->ighash, salt);
			out.gcm.seq = seq;
			CHECK_BYTES(iv, info + len - 8, 8);	/* never used before */
		} else {
			br_sslrec_out_chapol_vtable.init(&out.chapol.vtable.out, e->ichacha, e->ipoly, key, iv);
			out.chapol.seq = seq;
		}
		out.vtable->max_plaintext(&out.vtable, &start, &end);
		memcpy(room + start, stream, n);
		const uint8_t *record = out.vtable->encrypt(&out.vtable, TYPE_DATA, BR_TLS12, room + start, &n);

		A.ncame = 0;
		CHECK(send(A.fd, record, n, 0) == (ssize_t)n);
		client_read(&A, SIZE_MAX);
		CHECK(A.ncame == 50 && client_open(&A.c));
		CHECK_BYTES(A.came, stream, 50);
		close(A.peer);				/* the engine's numbers are behind now */
		A.peer = -1;
		link_close(&A);
	}
}

/* ---- work ---- */

static void operations(void)
{
	struct { unsigned signs, muls, turns; } sum = { 0, 0, 0 };

	for (size_t i = 0; i < 3; i++) {
		must_load(pems[i]);
		tls_begin(STATES);
		link_sockets(&A);
		client_hello(&A.c, NULL);
		for (int round = 0; tls_shaking(A.id) && CHECK(round < 10); round++) {
			client_write(&A, SIZE_MAX);
			do {
				server_recv(&A, CAP);
				CHECK(tls_again(A.id) == (ops.sign + ops.mul > 0));
				sum.signs += ops.sign;
				sum.muls += ops.mul;
				sum.turns++;
			} while (tls_again(A.id));
			client_read(&A, SIZE_MAX);
		}
		CHECK(sum.signs == i + 1 && sum.muls == i + 1 && sum.turns >= 4 * (i + 1));

		/* None for one who is known already. */
		link_sockets(&B);
		client_hello(&B.c, &A.c.cc.eng.session);
		for (int round = 0; (tls_shaking(B.id) || !client_open(&B.c)) && CHECK(round < 10); round++) {
			client_write(&B, SIZE_MAX);
			do {
				server_recv(&B, CAP);
				CHECK(ops.sign + ops.mul + ops.mulgen == 0 && !tls_again(B.id));
			} while (tls_again(B.id));
			client_read(&B, SIZE_MAX);
		}
		CHECK(memcmp(A.c.cc.eng.session.session_id, B.c.cc.eng.session.session_id, 32) == 0 &&
		    B.c.cc.eng.session.session_id_len == 32 && B.c.seen.certs == 0);
		both_ways(&B, 1000, 1000, SIZE_MAX);
		link_close(&A);
		link_close(&B);
	}
}

/* As many sessions are kept as there are states; the one not used for longest goes. */
static void sessions_kept(void)
{
	static br_ssl_session_parameters old[4];

	must_load(&pem_p256);
	tls_begin(3);
	for (size_t i = 0; i < 4; i++) {
		link_open(&A, NULL, 2, SIZE_MAX);
		br_ssl_engine_get_session_parameters(&A.c.cc.eng, &old[i]);
		link_close(&A);
	}
	for (size_t i = 4; i-- > 0;) {
		link_open(&A, &old[i], 2, SIZE_MAX);
		CHECK((A.c.seen.certs == 0) == (i > 0));
		link_close(&A);
	}
}

/* Two operations of two connections are not one's. */
static void worked_asked_late(void)
{
	must_load(&pem_p256);
	tls_begin(STATES);
	link_sockets(&A);
	client_hello(&A.c, NULL);
	client_write(&A, SIZE_MAX);
	CHECK(tls_recv(A.id, A.fd, A.got, CAP) == -1 && tls_again(A.id));
	link_sockets(&B);
	CHECK(tls_recv(B.id, B.fd, B.got, CAP) == -1 && !tls_again(B.id));	/* nothing has come */
	CHECK(tls_worked() && !tls_worked());
	link_close(&A);
	link_close(&B);
}

/* So is a long record of a handshake, whatever it says. */
static void worked_on_bytes(void)
{
	static const uint8_t requests[5 + 1024] = { 22, 3, 1, 4, 0 };	/* of type 0: RFC 5246 7.4.1.1 */

	link_sockets(&A);
	tls_worked();
	for (size_t from = 0, n = 400; from < sizeof requests; from += n, n = sizeof requests - from) {
		CHECK(send(A.peer, requests + from, n, 0) == (ssize_t)n);
		CHECK(tls_recv(A.id, A.fd, A.got, CAP) == -1 && tls_worked() == (from > 0));
	}
	link_close(&A);
}

/* Fill the server's socket; and take out again what filled it. */
static size_t stuff(struct link *l)
{
	static const uint8_t bytes[1024];
	size_t sum = 0;

	for (ssize_t r; (r = send(l->fd, bytes, sizeof bytes, 0)) > 0;)
		sum += (size_t)r;
	return sum;
}

static void unstuff(struct link *l, size_t n)
{
	uint8_t bytes[1024];
	ssize_t r = 1;

	for (; n > 0 && CHECK(r > 0); n -= r > 0 ? (size_t)r : 0)
		r = recv(l->peer, bytes, n < sizeof bytes ? n : sizeof bytes, 0);
}

/* The last that the server says in a handshake may find the socket full: it is finished all the same when
 * that has gone out, with no more to come in. */
static void finished_by_flush(void)
{
	size_t held;

	must_load(&pem_p256);
	tls_begin(STATES);
	link_sockets(&A);
	br_ssl_engine_set_suites(&A.c.cc.eng, one_suite, 2);
	client_hello(&A.c, NULL);
	client_write(&A, SIZE_MAX);
	while (server_recv(&A, CAP) > 0 || tls_again(A.id))
		;
	client_read(&A, SIZE_MAX);
	client_write(&A, SIZE_MAX);			/* its last, but the server cannot answer */
	held = stuff(&A);
	while (server_recv(&A, CAP) > 0 || tls_again(A.id))
		;
	CHECK(tls_full(A.id) && tls_shaking(A.id));
	unstuff(&A, held);
	CHECK(tls_flush(A.id, A.fd) && !tls_full(A.id));
	client_read(&A, SIZE_MAX);
	CHECK(client_open(&A.c));
	CHECK(!tls_shaking(A.id) && pairs_taken() == 0);
	CHECK(tls_send(A.id, A.fd, stream, 10, false) == 10);
	link_close(&A);
}

/* ---- ends ---- */

static void shut_by_us(void)
{
	link_open(&A, NULL, 2, SIZE_MAX);
	client_says(&A, 0, 100);
	client_write(&A, SIZE_MAX);		/* comes too late to be read */
	CHECK(tls_send(A.id, A.fd, stream, 50, true) == 50);
	tls_shut(A.id, A.fd);
	CHECK(!tls_full(A.id) && tls_send(A.id, A.fd, stream, 50, false) == -1);
	client_read(&A, SIZE_MAX);
	CHECK(A.ncame == 50 && A.fin && !client_open(&A.c));
	CHECK_BYTES(A.came, stream, 50);
	tls_shut(A.id, A.fd);			/* once is enough */
	client_write(&A, SIZE_MAX);		/* its close_notify */
	CHECK(client_closed(&A.c) && client_error(&A.c) == BR_ERR_OK);
	for (int i = 0; i < 10 && server_recv(&A, CAP) < 0 && A.error == EAGAIN; i++)
		;
	CHECK(A.last == 0 && A.ngot == 0 && server_recv(&A, CAP) == 0);
	CHECK(pairs_taken() == 0);
	link_close(&A);
}

/* What was read off the socket, but by nobody, is not in the way of the peer's close_notify. */
static void shut_with_unread(void)
{
	link_open(&A, NULL, 2, SIZE_MAX);
	client_says(&A, 0, 4000);
	client_write(&A, SIZE_MAX);
	CHECK(server_recv(&A, 10) == 10 && tls_more(A.id));
	tls_shut(A.id, A.fd);
	CHECK(!tls_more(A.id));
	client_read(&A, SIZE_MAX);
	client_write(&A, SIZE_MAX);
	CHECK(server_recv(&A, CAP) == 0 && A.ngot == 10);
	link_close(&A);
}

/* All that was taken goes out before close_notify, however slowly; then the end. */
static void shut_behind_data(void)
{
	static const int least = 1;
	size_t sent;

	link_open(&A, NULL, 2, SIZE_MAX);
	CHECK(setsockopt(A.fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least) == 0);
	sent = (size_t)tls_send(A.id, A.fd, stream, STREAM, false);
	CHECK(sent > 4096 && sent < STREAM && tls_full(A.id));
	tls_shut(A.id, A.fd);
	CHECK(tls_full(A.id));
	for (int i = 0; !A.fin && CHECK(i < 1000); i++) {
		client_read(&A, 500);
		tls_flush(A.id, A.fd);
	}
	CHECK(A.ncame == sent && !client_open(&A.c) && client_error(&A.c) == BR_ERR_OK && !tls_full(A.id));
	CHECK_BYTES(A.came, stream, sent);
	link_close(&A);
}

static void shut_by_peer(void)
{
	for (int again = 0; again < 2; again++) {
		uint8_t record[RECORD_MAX];

		link_open(&A, NULL, 2, SIZE_MAX);
		client_says(&A, 0, 3000);
		client_write(&A, SIZE_MAX);
		br_ssl_engine_close(&A.c.cc.eng);
		client_write(&A, SIZE_MAX);
		const size_t n = again ? client_record(&A.c, TYPE_DATA, stream, 100, record) : 0;

		CHECK(send(A.peer, record, n, 0) == (ssize_t)n);	/* behind the end nothing is read */
		CHECK(server_recv(&A, CAP) == 3000 && tls_again(A.id));
		CHECK(server_recv(&A, CAP) == 0 && server_recv(&A, CAP) == 0);
		CHECK_BYTES(A.got, stream, 3000);
		CHECK(tls_send(A.id, A.fd, stream, 1, false) == -1 && errno == EPIPE);
		client_read(&A, SIZE_MAX);		/* our close_notify in return */
		CHECK(client_closed(&A.c) && client_error(&A.c) == BR_ERR_OK);
		link_close(&A);
	}
}

/* The end of the handshake, all of the data and the end of it in one call. */
static void all_at_once(void)
{
	br_ssl_session_parameters old;

	link_open(&A, NULL, 2, SIZE_MAX);
	br_ssl_engine_get_session_parameters(&A.c.cc.eng, &old);
	link_close(&A);
	link_sockets(&A);
	client_hello(&A.c, &old);
	client_write(&A, SIZE_MAX);
	server_recv(&A, CAP);
	client_read(&A, SIZE_MAX);
	client_write(&A, SIZE_MAX);
	CHECK(client_open(&A.c) && tls_shaking(A.id));
	client_says(&A, 0, 100);
	client_write(&A, SIZE_MAX);
	br_ssl_engine_close(&A.c.cc.eng);
	client_write(&A, SIZE_MAX);
	CHECK(server_recv(&A, CAP) == 100 && tls_again(A.id) && !tls_shaking(A.id));
	CHECK(server_recv(&A, CAP) == 0);
	link_close(&A);
}

/* An end of the stream with no close_notify before it, anywhere. */
static void fin_by_peer(void)
{
	for (size_t cut = 0; cut <= 5 + 100 + 16; cut += 11) {
		link_open(&A, NULL, 2, SIZE_MAX);
		client_says(&A, 0, 100);
		client_write(&A, cut);
		shutdown(A.peer, SHUT_WR);
		const ssize_t r = server_recv(&A, CAP);

		CHECK(r == (cut == 5 + 100 + 16 ? 100 : 0));
		CHECK(r == 0 || server_recv(&A, CAP) == 0);
		CHECK(tls_send(A.id, A.fd, stream, 10, false) == 10);	/* it may still read */
		client_read(&A, SIZE_MAX);
		CHECK(A.ncame == 10);
		link_close(&A);
	}
}

static void reset_by_peer(void)
{
	for (int early = 0; early < 2; early++) {
		if (early) {
			link_sockets(&A);
			client_hello(&A.c, NULL);
			client_write(&A, 100);
			CHECK(send(A.fd, "x", 1, 0) == 1);
		} else {
			link_open(&A, NULL, 2, SIZE_MAX);
			client_says(&A, 0, 100);
			client_write(&A, 20);
			CHECK(tls_send(A.id, A.fd, stream, 10, false) == 10);
		}
		close(A.peer);			/* with something unread */
		A.peer = -1;
		CHECK(server_recv(&A, CAP) == -1 && A.error == ECONNRESET);
		CHECK(early || tls_send(A.id, A.fd, stream, 10, false) == 10 || errno == EPIPE || errno == EAGAIN);
		tls_shut(A.id, A.fd);
		link_close(&A);
		CHECK(states_taken() == 0 && pairs_taken() == 0);
	}
}

/* Of one whose handshake goes on: no alert, but an end. */
static void shut_while_shaking(void)
{
	uint8_t one;

	link_sockets(&A);
	client_hello(&A.c, NULL);
	client_write(&A, 50);
	server_recv(&A, CAP);
	tls_shut(A.id, A.fd);
	CHECK(recv(A.peer, &one, 1, 0) == 0 && tls_shaking(A.id));
	client_write(&A, SIZE_MAX);
	server_recv(&A, CAP);
	link_close(&A);
	CHECK(states_taken() == 0 && pairs_taken() == 0);
}

static void closed_by_us(void)
{
	link_open(&A, NULL, 2, SIZE_MAX);
	CHECK(tls_send(A.id, A.fd, stream, 10, false) == 10);
	tls_close(A.id, A.fd);
	client_read(&A, SIZE_MAX);
	CHECK(A.ncame == 10 && A.fin && !client_open(&A.c) && client_error(&A.c) == BR_ERR_OK);
	CHECK(fcntl(A.fd, F_GETFD) >= 0);	/* the descriptor stays */
	close(A.fd);
	close(A.peer);
}

/* ---- what is wrong ---- */

static int number_of(const struct link *l)
{
	int n;

	CHECK(tls_error(l->id, &n) != NULL);
	return n;
}

/* A record with one bit that is another: all that came before it, then an error. */
static void tampered(void)
{
	static uint8_t record[RECORD_MAX];
	const size_t len = 5 + 40 + 16;
	br_ssl_session_parameters old;

	must_load(&pem_p256);
	tls_begin(STATES);
	link_open(&A, NULL, 2, SIZE_MAX);
	br_ssl_engine_get_session_parameters(&A.c.cc.eng, &old);
	link_close(&A);
	for (size_t bit = 0; bit < 8 * len; bit++) {
		const size_t at = bit / 8;

		link_open(&A, &old, 2, SIZE_MAX);
		client_says(&A, 0, 100);
		client_write(&A, SIZE_MAX);
		CHECK(client_record(&A.c, TYPE_DATA, stream, 40, record) == len);
		record[at] ^= (uint8_t)(1 << bit % 8);
		CHECK(send(A.peer, record, len, 0) == (ssize_t)len);
		CHECK(client_record(&A.c, TYPE_DATA, stream, 16384, record) == 5 + 16384 + 16);
		CHECK(send(A.peer, record, 5 + 16384 + 16, 0) > 0);	/* should the length be wrong */
		CHECK(server_recv(&A, CAP) == 100 && A.ngot == 100 &&
		    (tls_again(A.id) || at == 3 || at == 4));
		for (int i = 0; i < 100 && server_recv(&A, CAP) == -1 && A.error == EAGAIN && tls_again(A.id); i++)
			;
		const int want = at == 1 ? BR_ERR_UNSUPPORTED_VERSION : at == 2 ? BR_ERR_BAD_VERSION :
		    bit == 30 || bit == 31 ? BR_ERR_BAD_LENGTH : BR_ERR_BAD_MAC;	/* over 16400 bytes */

		if (!CHECK(A.last == -1 && A.error == EPROTO && number_of(&A) == want && A.ngot == 100))
			printf("\tbit %zu: %zd %d %d\n", bit, A.last, A.error, number_of(&A));
		CHECK(server_recv(&A, CAP) == -1 && A.error == EPROTO && pairs_taken() == 0);
		CHECK(tls_send(A.id, A.fd, stream, 1, false) == -1 && errno == EPIPE);
		link_close(&A);
	}
}

/* One that is there twice, or not at all. */
static void replayed(void)
{
	static uint8_t record[RECORD_MAX];

	for (int twice = 0; twice < 2; twice++) {
		link_open(&A, NULL, 2, SIZE_MAX);
		size_t n = client_record(&A.c, TYPE_DATA, stream, 40, record);

		if (twice) {
			CHECK(send(A.peer, record, n, 0) == (ssize_t)n && server_recv(&A, CAP) == 40);
		} else {
			n = client_record(&A.c, TYPE_DATA, stream, 40, record);
		}
		CHECK(send(A.peer, record, n, 0) == (ssize_t)n);
		CHECK(server_recv(&A, CAP) == -1 && A.error == EPROTO && number_of(&A) == BR_ERR_BAD_MAC);
		link_close(&A);
	}
}

/* Before the handshake has ended; what is said comes from a table. */
static void refused(void)
{
	static const struct { const char *hex; int error; const char *text; } rows[] = {
		{ "474554202f20485454502f312e310d0a", BR_ERR_UNSUPPORTED_VERSION, "that was not TLS" },
		{ "15030300020228", BR_ERR_RECV_FATAL_ALERT + 40, "the handshake failed" },
		{ "1503030002022a", BR_ERR_RECV_FATAL_ALERT + 42, "the client finds the certificate bad" },
		{ "1503030002022d", BR_ERR_RECV_FATAL_ALERT + 45, "for the client the certificate has expired" },
		{ "1503030002022e", BR_ERR_RECV_FATAL_ALERT + 46, "the client does not accept" },
		{ "15030300020230", BR_ERR_RECV_FATAL_ALERT + 48, "the client does not know who signed" },
		{ "160303ffff", BR_ERR_BAD_LENGTH, "the handshake failed" },
		{ "1703030001aa", BR_ERR_UNEXPECTED, "the handshake failed" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint8_t bytes[64];
		const size_t n = unhex(bytes, rows[i].hex);
		const char *text;
		int number;

		link_sockets(&A);
		CHECK(send(A.peer, bytes, n, 0) == (ssize_t)n);
		CHECK(server_recv(&A, CAP) == -1 && A.error == EPROTO);
		text = tls_error(A.id, &number);
		if (!CHECK(number == rows[i].error && strncmp(text, rows[i].text, strlen(rows[i].text)) == 0))
			printf("\t%s: %d %s\n", rows[i].hex, number, text);
		CHECK(tls_shaking(A.id) && pairs_taken() == 0);
		CHECK(tls_send(A.id, A.fd, stream, 1, false) == -1 && errno == EAGAIN);
		link_close(&A);
	}
}

/* A client that cannot agree is told so. */
static void disagreed(void)
{
	static const uint16_t cbc[] = { BR_TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256 };
	static const char *protocols[] = { "h2" };
	static const struct { int alert; const char *text; } rows[] = {
		{ 70, "the client has no TLS 1.2" }, { 40, "no cipher suite" }, { 120, "the client has no http/1.1" },
	};

	must_load(&pem_rsa);
	for (size_t i = 0; i < 3; i++) {
		int number;

		link_sockets(&A);
		if (i == 0)
			br_ssl_engine_set_versions(&A.c.cc.eng, BR_TLS10, BR_TLS11);
		if (i == 1)
			br_ssl_engine_set_suites(&A.c.cc.eng, cbc, 1);
		if (i == 2)
			br_ssl_engine_set_protocol_names(&A.c.cc.eng, protocols, 1);
		client_hello(&A.c, NULL);
		run(&A, SIZE_MAX);
		const char *text = tls_error(A.id, &number);

		CHECK(A.last == -1 && A.error == EPROTO && number == BR_ERR_SEND_FATAL_ALERT + rows[i].alert &&
		    strncmp(text, rows[i].text, strlen(rows[i].text)) == 0);
		CHECK(client_error(&A.c) == BR_ERR_RECV_FATAL_ALERT + rows[i].alert);
		link_close(&A);
	}
	must_load(&pem_p256);
}

static void no_random(void)
{
	random_left = 0;
	link_sockets(&A);
	random_left = UINT32_MAX;
	client_hello(&A.c, NULL);
	client_write(&A, SIZE_MAX);
	CHECK(server_recv(&A, CAP) == -1 && A.error == EPROTO && number_of(&A) == BR_ERR_NO_RANDOM);
	link_close(&A);
}

/* ---- floods ---- */

/* So many records that say nothing, then one that does: each call ends, and nothing is lost. */
static void flood(int type, const void *p, size_t n)
{
	static uint8_t record[RECORD_MAX];
	const unsigned many = 150;		/* what the socket holds */
	unsigned calls = 0;

	link_open(&A, NULL, 2, SIZE_MAX);
	for (unsigned i = 0; i < many; i++) {
		const size_t len = client_record(&A.c, type, p, n, record);

		CHECK(send(A.peer, record, len, 0) == (ssize_t)len);
	}
	const size_t len = client_record(&A.c, TYPE_DATA, stream, 200, record);

	CHECK(send(A.peer, record, len, 0) == (ssize_t)len);
	for (; A.ngot < 200 && CHECK(calls < many); calls++) {
		CHECK(server_recv(&A, CAP) > 0 || A.error == EAGAIN);
		CHECK(A.ngot == 200 || tls_again(A.id));
	}
	CHECK(calls > many / TURN && A.ngot == 200);
	CHECK_BYTES(A.got, stream, 200);
	CHECK(server_recv(&A, CAP) == -1 && A.error == EAGAIN && !tls_again(A.id) && pairs_taken() == 0);
	CHECK(tls_send(A.id, A.fd, stream, 10, false) == 10);
	link_close(&A);
}

static void floods(void)
{
	static const uint8_t warning[] = { 1, 41 };

	must_load(&pem_p256);
	tls_begin(STATES);
	flood(TYPE_ALERT, warning, 2);
	flood(TYPE_ALERT, warning, 1);	/* cut in two; 150 halves are 75 */
	flood(TYPE_DATA, NULL, 0);
	flood(TYPE_HANDSHAKE, NULL, 0);
}

/* Before there are any keys: empty records, and warnings. */
static void early_flood(void)
{
	static const uint8_t empty[] = { 22, 3, 1, 0, 0 }, warning[] = { 21, 3, 1, 0, 2, 1, 41 };

	for (int i = 0; i < 2; i++) {
		unsigned calls = 0;

		link_sockets(&A);
		for (int k = 0; k < 200; k++)
			CHECK(i ? send(A.peer, warning, sizeof warning, 0) > 0 : send(A.peer, empty, sizeof empty, 0) > 0);
		client_hello(&A.c, NULL);
		client_write(&A, SIZE_MAX);
		do
			CHECK(server_recv(&A, CAP) == -1 && A.error == EAGAIN && ++calls < 200);
		while (tls_again(A.id));
		CHECK(calls > 200 / TURN);
		run(&A, SIZE_MAX);
		CHECK(client_open(&A.c) && !tls_shaking(A.id));
		link_close(&A);
	}
}

/* A handshake that has no end is ended. */
static void long_handshake(void)
{
	static const uint8_t warning[] = { 21, 3, 1, 0, 2, 1, 41 };
	size_t sum = 0;

	link_sockets(&A);
	while (sum <= 20000 && A.error != EPROTO) {
		for (int k = 0; k < 50; k++)
			sum += (size_t)send(A.peer, warning, sizeof warning, 0);
		do
			CHECK(server_recv(&A, CAP) == -1);
		while (A.error == EAGAIN && tls_again(A.id));
	}
	CHECK(A.error == EPROTO && number_of(&A) == BR_ERR_TOO_LARGE && sum >= 16384 && sum < 17000);
	CHECK(pairs_taken() == 0);
	link_close(&A);
}

/* One turn takes few long records, however much it could give; and what was left of one is a turn. */
static void long_records(void)
{
	static uint8_t record[RECORD_MAX];

	link_open(&A, NULL, 2, SIZE_MAX);
	for (size_t i = 0; i < 4; i++) {
		const size_t n = i < 3 ? 16384 : 5000, len = client_record(&A.c, TYPE_DATA, stream + 16384 * i, n, record);

		CHECK(send(A.peer, record, len, 0) == (ssize_t)len);
	}
	CHECK(server_recv(&A, STREAM) == 16384 && tls_again(A.id));
	CHECK(server_recv(&A, 100) == 100 && tls_more(A.id));
	CHECK(server_recv(&A, STREAM) == 16384 - 100 && tls_again(A.id) && recvs == 0);
	CHECK(server_recv(&A, STREAM) == 16384 && tls_again(A.id));
	CHECK(server_recv(&A, STREAM) == 5000 && !tls_again(A.id));
	CHECK_BYTES(A.got, stream, 3 * 16384 + 5000);
	link_close(&A);
}

/* Many small records with something in them are all delivered, a turn's worth at a time. */
static void small_records(void)
{
	static uint8_t record[RECORD_MAX];

	link_open(&A, NULL, 2, SIZE_MAX);
	for (size_t i = 0; i < 150; i++) {
		const size_t len = client_record(&A.c, TYPE_DATA, stream + i, 1, record);

		CHECK(send(A.peer, record, len, 0) == (ssize_t)len);
	}
	for (int i = 0; A.ngot < 150 && CHECK(i < 150); i++)
		CHECK(server_recv(&A, CAP) > 0 && tls_again(A.id) == (A.ngot < 150));
	CHECK_BYTES(A.got, stream, 150);
	link_close(&A);
}

/* A renegotiation ends the connection, and costs no work. */
static void renegotiation(void)
{
	link_open(&A, NULL, 2, SIZE_MAX);
	CHECK(br_ssl_engine_renegotiate(&A.c.cc.eng));
	client_write(&A, SIZE_MAX);
	CHECK(server_recv(&A, CAP) == -1 && A.error == EPROTO && ops.sign + ops.mul + ops.mulgen == 0);
	link_close(&A);
}

/* ---- states and buffers ---- */

static void states(void)
{
	uint16_t id[STATES], freed;

	tls_begin(STATES);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < STATES; i++) {
			id[i] = tls_open();
			CHECK(id[i] != TLS_NONE && id[i] <= STATES);
			for (unsigned k = 0; k < i; k++)
				CHECK(id[k] != id[i]);
		}
		CHECK(tls_open() == TLS_NONE && tls_open() == TLS_NONE && states_taken() == STATES);
		CHECK(pairs_taken() == STATES);
		tls_close(id[3], -1);
		tls_close(id[5], -1);
		freed = tls_open();
		CHECK(freed == id[3] || freed == id[5]);
		CHECK(states_taken() == STATES - 1 && pairs_taken() == STATES - 1);
		for (unsigned i = 0; i < STATES; i++)
			if ((i != 3 && i != 5) || id[i] == freed)
				tls_close(id[i], -1);
		CHECK(states_taken() == 0 && pairs_taken() == 0);
	}
}

/* Who is idle has no buffers: one pair does for all that shake hands one after another. */
static void pairs(void)
{
	static struct link l[STATES];
	uint8_t one;

	tls_begin(STATES);
	for (unsigned i = 0; i < STATES; i++) {
		link_open(&l[i], NULL, 2, SIZE_MAX);
		CHECK(pairs_taken() == 0 && npairs_made == 1);
	}
	for (unsigned i = 0; i < STATES; i++) {
		client_says(&l[i], 0, 2000);
		client_write(&l[i], 5 + i);		/* a header, and some bytes */
		CHECK(server_recv(&l[i], CAP) == -1 && pairs_taken() == i + 1);
	}
	for (unsigned i = 0; i < STATES; i++) {
		client_write(&l[i], SIZE_MAX);
		CHECK(server_recv(&l[i], 1000) == 1000 && pairs_taken() == STATES - i && tls_more(l[i].id));
		CHECK(server_recv(&l[i], 1000) == 1000 && pairs_taken() == STATES - i - 1 && !tls_more(l[i].id));
		CHECK_BYTES(l[i].got, stream, 2000);
	}
	client_says(&l[0], 0, 1);
	client_write(&l[0], 3);				/* of a header */
	CHECK(server_recv(&l[0], CAP) == -1 && pairs_taken() == 1);
	both_ways(&l[1], 9000, 3000, SIZE_MAX);		/* with another's buffers */
	client_write(&l[0], SIZE_MAX);
	CHECK(server_recv_into(&l[0], &one, 1) == 1 && one == stream[0] && pairs_taken() == 0);
	for (unsigned i = 0; i < STATES; i++)
		link_close(&l[i]);
	CHECK(states_taken() == 0 && pairs_taken() == 0 && npairs_made == STATES);
}

static bool zero(const void *p, size_t n)
{
	const uint8_t *b = p;

	while (n > 0 && b[n - 1] == 0)
		n--;
	return n == 0;
}

static void wiped(void)
{
	const char *option;

	tls_begin(STATES);
	link_open(&A, NULL, 2, SIZE_MAX);
	const struct tls *t = of(A.id);

	CHECK(!zero(t, sizeof *t) && !zero(t->sc.eng.session.master_secret, 48));
	link_close(&A);
	CHECK(zero(&t->sc, sizeof t->sc));
	CHECK(!zero(&identity[current], sizeof identity[0]) && zero(&identity[!current], sizeof identity[0]));
	must_load(&pem_rsa);
	CHECK(!zero(&identity[current], sizeof identity[0]) && zero(&identity[!current], sizeof identity[0]));
	CHECK(identity_load(pem_p256.cert, pem_rsa.key, &option) != NULL);
	CHECK(!zero(&identity[current], sizeof identity[0]) && zero(&identity[!current], sizeof identity[0]));
	tls_wipe();
	CHECK(zero(identity, sizeof identity));
	must_load(&pem_p256);
}

/* ---- another certificate ---- */

/* Loaded when this many of the client's bytes have come. Who was told of the old one by then may fail; who
 * was not gets the new one. */
static void load_at(size_t bytes, const struct pem *from, const struct pem *to)
{
	must_load(from);
	link_sockets(&A);
	client_hello(&A.c, NULL);
	client_write(&A, bytes);
	while (server_recv(&A, CAP) > 0 || tls_again(A.id))
		;
	must_load(to);
	run(&A, SIZE_MAX);
	CHECK(client_open(&A.c) && !tls_shaking(A.id) && was_shown(&A.c, bytes < 100 ? to : from));
	both_ways(&A, 1000, 1000, SIZE_MAX);
	must_load(from);
	both_ways(&A, 1000, 1000, SIZE_MAX);
	link_close(&A);
}

static void loads(void)
{
	tls_begin(STATES);
	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < 3; k++) {
			load_at(0, pems[i], pems[k]);
			load_at(99, pems[i], pems[k]);		/* of a ClientHello with 200 */
			load_at(SIZE_MAX, pems[i], pems[k]);
		}
}

/* What is wrong changes nothing. */
static void bad_loads(void)
{
	const struct { const char *cert, *key, *option; } rows[] = {
		{ pem_rsa.cert, pem_p256.key, "key" }, { pem_p384.cert, pem_p256.key, "key" },
		{ pem_p256.cert, pem_rsa.key, "key" }, { pem_p256.key, pem_p256.key, "cert" },
		{ pem_p256.cert, pem_p256.cert, "key" }, { "", pem_p256.key, "cert" }, { pem_p256.cert, "", "key" },
	};

	must_load(&pem_rsa);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *option = NULL;

		link_sockets(&A);
		client_hello(&A.c, NULL);
		client_write(&A, 99);
		server_recv(&A, CAP);
		CHECK(identity_load(rows[i].cert, rows[i].key, &option) != NULL);
		CHECK(option != NULL && strcmp(option, rows[i].option) == 0);
		run(&A, SIZE_MAX);
		CHECK(client_open(&A.c) && was_shown(&A.c, &pem_rsa));
		link_close(&A);
	}
}

/* A chain longer than a record, whose second half waits for the socket while another is loaded: that
 * handshake may fail, but only so. */
static void load_within_flight(void)
{
	static char chain[8 * 1200 + 1];
	const char *option;
	size_t held;

	for (int i = 0; i < 8; i++)
		strcat(chain, pem_rsa.cert);
	for (int load = 0; load < 2; load++) {
		CHECK(identity_load(chain, pem_rsa.key, &option) == NULL);
		link_sockets(&A);
		client_hello(&A.c, NULL);
		client_write(&A, SIZE_MAX);
		held = stuff(&A);
		CHECK(server_recv(&A, CAP) == -1 && tls_full(A.id) && ops.sign == 0);
		if (load)
			must_load(&pem_p256);
		unstuff(&A, held);
		run(&A, SIZE_MAX);
		CHECK(client_open(&A.c) == !tls_shaking(A.id));
		CHECK(client_open(&A.c) || load);
		if (client_open(&A.c))
			CHECK(was_shown(&A.c, &pem_rsa) && A.c.seen.certs == 8);
		link_close(&A);
		link_open(&A, NULL, 2, SIZE_MAX);
		CHECK(was_shown(&A.c, load ? &pem_p256 : &pem_rsa));
		link_close(&A);
	}
}

static void set_up(void)
{
	uint64_t seed = 1;

	log_init(LOG_ERROR);
	for (size_t i = 0; i < STREAM; i++)
		stream[i] = (uint8_t)check_random(&seed);
	must_load(&pem_p256);
	tls_begin(STATES);
}

CHECK_MAIN(tls, set_up(); RUN(handshakes) RUN(byte_by_byte) RUN(every_cut) RUN(caps)
    RUN(partial_writes) RUN(records) RUN(short_records) RUN(kernel_keys) RUN(operations)
    RUN(sessions_kept) RUN(worked_asked_late) RUN(worked_on_bytes) RUN(finished_by_flush)
    RUN(shut_by_us) RUN(shut_with_unread) RUN(shut_behind_data) RUN(shut_by_peer) RUN(all_at_once)
    RUN(fin_by_peer) RUN(reset_by_peer) RUN(shut_while_shaking) RUN(closed_by_us) RUN(tampered)
    RUN(replayed) RUN(refused) RUN(disagreed) RUN(no_random) RUN(floods) RUN(early_flood)
    RUN(long_handshake) RUN(long_records) RUN(small_records) RUN(renegotiation) RUN(states)
    RUN(pairs) RUN(wiped) RUN(loads) RUN(bad_loads) RUN(load_within_flight))
