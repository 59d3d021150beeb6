#include "cert.h"

#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "ct.h"
#include "der.h"
#include "file.h"
#include "log.h"
#include "pem.h"
#include "pk.h"

static uint8_t file[PEM_MAX];

static const char *take_certificate(void *to, const char *label, const uint8_t *der, size_t n)
{
	struct cert *c = to;

	if (strcmp(label, "CERTIFICATE") != 0 && strcmp(label, "X509 CERTIFICATE") != 0)
		return NULL;
	if (c->n == CERT_CHAIN_MAX || n > CERT_BYTES - c->len)
		return "holds more than 8 certificates, or 16 KiB of them";
	memcpy(c->der + c->len, der, n);
	c->chain[c->n++] = (br_x509_certificate){ c->der + c->len, n };
	c->len += n;
	return NULL;
}

static const char *take_key(void *to, const char *label, const uint8_t *der, size_t n)
{
	struct cert *c = to;

	if (strcmp(label, "PRIVATE KEY") != 0 && strcmp(label, "RSA PRIVATE KEY") != 0 &&
	    strcmp(label, "EC PRIVATE KEY") != 0)
		return NULL;
	if (br_skey_decoder_key_type(&c->key))
		return "holds more than one private key";
	br_skey_decoder_init(&c->key);
	br_skey_decoder_push(&c->key, der, n);
	return br_skey_decoder_key_type(&c->key) ? NULL : "is no RSA or EC private key";
}

static const char *read_chain(struct cert *c, const char *path, int64_t now_s, struct der_certificate *leaf)
{
	size_t n = sizeof file;
	const char *what = file_read(path, file, &n, NULL);

	c->n = c->len = 0;
	if (!what)
		what = pem_read(file, n, take_certificate, c);
	if (!what && c->n == 0)
		what = "holds no certificate in PEM";
	if (what)
		return what;
	if (!der_certificate(leaf, c->chain[0].data, c->chain[0].data_len))
		return "its first certificate is damaged";
	if (now_s >= 0 && now_s < leaf->from_s)
		log_msg(LOG_WARN, "config", "--cert ", path, ": its first certificate is not valid yet", NULL);
	return now_s > leaf->to_s ? "its first certificate has expired" : NULL;
}

static const char *read_key(struct cert *c, const char *path)
{
	size_t n = sizeof file;
	mode_t mode;
	const char *what = file_read(path, file, &n, &mode);

	if (!what && S_ISREG(mode) && mode & S_IROTH)
		log_msg(LOG_WARN, "config", "--key ", path, ": everyone can read it; chmod 600 it", NULL);
	br_skey_decoder_init(&c->key);
	if (!what && memmem(file, n, "ENCRYPTED", 9))
		what = "is encrypted, and there is nobody to ask: openssl pkey -in FILE -out PLAIN";
	if (!what)
		what = pem_read(file, n, take_key, c);
	if (!what && !br_skey_decoder_key_type(&c->key))
		what = "holds no private key in PEM";
	ct_wipe(file, n);
	return what;
}

/* What the one does the other undoes. (BearSSL's modulus of a private key has no room for 4096 bits.) */
static bool is_pair(const br_rsa_private_key *sk, const struct der_key *pk)
{
	uint8_t one[512] = { 0 }, x[512];

	memset(one + 1, 1, pk->n - 1);
	memcpy(x, one, pk->n);
	return br_rsa_private_get_default()(x, sk) && memcmp(x, one, pk->n) != 0 &&
	    pk_rsa(x, pk->p, pk->n, pk->e, pk->e_len) && memcmp(x, one, pk->n) == 0;
}

static const char *check_rsa(const br_rsa_private_key *sk, const struct der_key *pk)
{
	if (sk->n_bitlen < 2048)
		return "has less than 2048 bits";
	if (sk->n_bitlen > 4096)
		return "has more than 4096 bits";
	return pk->kind == DER_RSA && pk->n == (sk->n_bitlen + 7) / 8 && is_pair(sk, pk) ? NULL :
	    "does not belong to the certificate";
}

static const char *check_ec(const br_ec_private_key *sk, const struct der_key *pk)
{
	uint8_t q[BR_EC_KBUF_PUB_MAX_SIZE];

	if (sk->curve != BR_EC_secp256r1 && sk->curve != BR_EC_secp384r1)
		return "its curve is not P-256 or P-384";
	return pk->kind == (sk->curve == BR_EC_secp256r1 ? DER_P256 : DER_P384) &&
	    br_ec_compute_pub(br_ec_get_default(), NULL, q, sk) == pk->n &&
	    memcmp(q, pk->p, pk->n) == 0 ? NULL : "does not belong to the certificate";
}

const char *cert_read(struct cert *c, const char *cert, const char *key, int64_t now_s,
    const char **option)
{
	struct der_certificate leaf;
	const char *what;

	*option = "cert";
	what = read_chain(c, cert, now_s, &leaf);
	if (what)
		return what;
	*option = "key";
	what = read_key(c, key);
	if (what)
		return what;
	return br_skey_decoder_key_type(&c->key) == BR_KEYTYPE_RSA ?
	    check_rsa(br_skey_decoder_get_rsa(&c->key), &leaf.key) :
	    check_ec(br_skey_decoder_get_ec(&c->key), &leaf.key);
}
