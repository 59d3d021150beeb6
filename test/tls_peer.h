/* tls_peer.h - for tls_test.c and tls_fuzz.c: a client to talk to, and tls.c itself, seen from inside.
 *
 * Of tls.c, what it asks of the system and of BearSSL's dear operations goes through here; the wire_
 * functions are those of whoever includes this. */

#ifndef TLS_PEER_H
#define TLS_PEER_H

#include <bearssl.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls_pem.h"

/* ---- tls.c ---- */

static ssize_t wire_send(int fd, const void *p, size_t n, int flags);
static ssize_t wire_recv(int fd, void *p, size_t n, int flags);
static int wire_shutdown(int fd, int how);
static ssize_t wire_random(void *p, size_t n, unsigned flags);

/* Operations of the server since these were zeroed. A signature with ECDSA is a mulgen, too. */
static struct {
	unsigned mul, mulgen, sign;
} ops;

static uint32_t counted_mul(unsigned char *g, size_t glen, const unsigned char *x, size_t n, int curve)
{
	ops.mul++;
	return br_ec_get_default()->mul(g, glen, x, n, curve);
}

static size_t counted_mulgen(unsigned char *r, const unsigned char *x, size_t n, int curve)
{
	ops.mulgen++;
	return br_ec_get_default()->mulgen(r, x, n, curve);
}

static const br_ec_impl *counted_ec(void)
{
	static br_ec_impl ec;

	ec = *br_ec_get_default();
	ec.mul = counted_mul;
	ec.mulgen = counted_mulgen;
	return &ec;
}

static uint32_t counted_rsa_sign(const unsigned char *oid, const unsigned char *hash, size_t n,
    const br_rsa_private_key *sk, unsigned char *x)
{
	ops.sign++;
	return br_rsa_pkcs1_sign_get_default()(oid, hash, n, sk, x);
}

static br_rsa_pkcs1_sign counted_rsa(void)
{
	return counted_rsa_sign;
}

static size_t counted_ecdsa_sign(const br_ec_impl *ec, const br_hash_class *hash, const void *value,
    const br_ec_private_key *sk, void *sig)
{
	ops.sign++;
	return br_ecdsa_sign_asn1_get_default()(ec, hash, value, sk, sig);
}

static br_ecdsa_sign counted_ecdsa(void)
{
	return counted_ecdsa_sign;
}

#define br_ec_get_default counted_ec
#define br_rsa_pkcs1_sign_get_default counted_rsa
#define br_ecdsa_sign_asn1_get_default counted_ecdsa
#define send wire_send
#define recv wire_recv
#define shutdown wire_shutdown
#define getrandom wire_random
#include "tls.c"
#undef br_ec_get_default
#undef br_rsa_pkcs1_sign_get_default
#undef br_ecdsa_sign_asn1_get_default
#undef send
#undef recv
#undef shutdown
#undef getrandom

/* As at the start; what tls_init took before is lost. */
static inline void tls_begin(uint32_t n)
{
	made = free_first = npairs_free = npairs_made = 0;
	worked = false;
	tls_init(n, false);
}

static inline const char *identity_load(const char *cert, const char *key, const char **option)
{
	char cert_path[32], key_path[32];
	const int a = pem_file(cert_path, cert, strlen(cert)), b = pem_file(key_path, key, strlen(key));
	const char *what = tls_load(cert_path, key_path, -1, option);

	close(a);
	close(b);
	return what;
}

static inline uint32_t states_taken(void)
{
	uint32_t n = made;

	for (uint32_t id = free_first; id; id = state[id - 1].next)
		n--;
	return n;
}

static inline uint32_t pairs_taken(void)
{
	return npairs_made - npairs_free;
}

/* ---- a client ---- */

/* Believes every certificate, and keeps the first. */
struct believer {
	const br_x509_class *vtable;
	br_x509_decoder_context decoder;
	unsigned certs;
	uint8_t leaf[2048];
	size_t  n;
};

struct client {
	br_ssl_client_context cc;
	br_x509_minimal_context minimal;	/* br_ssl_client_init_full wants one */
	struct believer seen;
	uint8_t in[BR_SSL_BUFSIZE_INPUT], out[BR_SSL_BUFSIZE_OUTPUT];
};

static void believer_chain(const br_x509_class **ctx, const char *name)
{
	struct believer *b = (struct believer *)(void *)ctx;

	(void)name;
	b->certs = 0;
	b->n = 0;
}

static void believer_cert(const br_x509_class **ctx, uint32_t n)
{
	struct believer *b = (struct believer *)(void *)ctx;

	(void)n;
	if (b->certs++ == 0)
		br_x509_decoder_init(&b->decoder, NULL, NULL);
}

static void believer_append(const br_x509_class **ctx, const unsigned char *p, size_t n)
{
	struct believer *b = (struct believer *)(void *)ctx;

	if (b->certs > 1)
		return;
	br_x509_decoder_push(&b->decoder, p, n);
	if (n <= sizeof b->leaf - b->n)
		memcpy(b->leaf + b->n, p, n);
	b->n += n;
}

static void believer_end(const br_x509_class **ctx)
{
	(void)ctx;
}

static unsigned believer_verdict(const br_x509_class **ctx)
{
	struct believer *b = (struct believer *)(void *)ctx;

	return b->certs ? (unsigned)br_x509_decoder_last_error(&b->decoder) : BR_ERR_X509_EMPTY_CHAIN;
}

static const br_x509_pkey *believer_key(const br_x509_class *const *ctx, unsigned *usages)
{
	const struct believer *b = (const struct believer *)(const void *)ctx;

	if (usages)
		*usages = BR_KEYTYPE_KEYX | BR_KEYTYPE_SIGN;
	return b->decoder.decoded ? &b->decoder.pkey : NULL;
}

static const br_x509_class believes = {
	.context_size = sizeof(struct believer), .start_chain = believer_chain, .start_cert = believer_cert,
	.append = believer_append, .end_cert = believer_end, .end_chain = believer_verdict, .get_pkey = believer_key,
};

/* It is deterministic: its random bytes are made from seed. */
static inline void client_init(struct client *c, uint32_t seed)
{
	br_ssl_engine_context *e = &c->cc.eng;

	br_ssl_client_init_full(&c->cc, &c->minimal, NULL, 0);
	c->seen.vtable = &believes;
	br_ssl_engine_set_x509(e, &c->seen.vtable);
	e->rng_os_rand_done = 1;
	br_ssl_engine_inject_entropy(e, &seed, sizeof seed);
	br_ssl_engine_set_buffers_bidi(e, c->in, sizeof c->in, c->out, sizeof c->out);
}

/* old: a session to resume, or NULL. */
static inline void client_hello(struct client *c, const br_ssl_session_parameters *old)
{
	if (old)
		br_ssl_engine_set_session_parameters(&c->cc.eng, old);
	br_ssl_client_reset(&c->cc, "sluice.test", old != NULL);
}

static inline bool client_open(const struct client *c)
{
	return c->cc.eng.application_data == 1;
}

static inline bool client_closed(const struct client *c)
{
	return br_ssl_engine_current_state(&c->cc.eng) == BR_SSL_CLOSED;
}

static inline int client_error(const struct client *c)
{
	return br_ssl_engine_last_error(&c->cc.eng);
}

/* So many bytes of plaintext, or as many as the record that is being made has room for. */
static inline size_t client_say(struct client *c, const void *p, size_t n)
{
	size_t k;
	uint8_t *to = br_ssl_engine_sendapp_buf(&c->cc.eng, &k);

	if (!to || n == 0)
		return 0;
	if (k > n)
		k = n;
	memcpy(to, p, k);
	br_ssl_engine_sendapp_ack(&c->cc.eng, k);
	return k;
}

/* Plaintext that has come. */
static inline size_t client_hear(struct client *c, void *p, size_t n)
{
	return take(&c->cc.eng, p, n);
}

enum { TYPE_ALERT = 21, TYPE_HANDSHAKE, TYPE_DATA };	/* RFC 5246 6.2.1 */

#define RECORD_MAX (5 + 8 + 16384 + 16)

/* A record of any type, as it goes over the wire, behind what the client has sent; its length. */
static inline size_t client_record(struct client *c, int type, const void *p, size_t n, uint8_t out[RECORD_MAX])
{
	static uint8_t room[RECORD_MAX];
	br_ssl_engine_context *e = &c->cc.eng;
	size_t start = 5, end = sizeof room - start;

	e->out.vtable->max_plaintext(&e->out.vtable, &start, &end);
	if (n > 0)
		memcpy(room + start, p, n);
	const uint8_t *record = e->out.vtable->encrypt(&e->out.vtable, type, BR_TLS12, room + start, &n);

	memcpy(out, record, n);
	return n;
}

#endif
