/* cert_fuzz.c - a certificate chain and a private key in PEM, from files that hold anything.
 *
 * The first two bytes say where the one ends and the other begins, and whether one of them is a real one
 * instead, or both are; then bytes of it are changed as the input says. What is accepted lies within
 * struct cert and belongs together. */
#include "cert.h"
#include "check.h"
#include "log.h"
#include "tls_pem.h"

#define MUST(e) do { \
	if (!(e)) { \
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #e); \
		abort(); \
	} \
} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static const struct pem *const pems[] = { &pem_p256, &pem_rsa, &pem_p384 };

/* A real file, with some bytes changed: each change is a place and a byte. */
static size_t bent(uint8_t out[4096], const char *real, const uint8_t *p, size_t n)
{
	const size_t len = strlen(real);

	memcpy(out, real, len);
	for (; n >= 3; p += 3, n -= 3)
		out[(size_t)(p[0] << 8 | p[1]) % len] = p[2];
	return len;
}

static void check(const struct cert *c)
{
	MUST(c->n >= 1 && c->n <= CERT_CHAIN_MAX && c->len <= CERT_BYTES);
	for (size_t i = 0, at = 0; i < c->n; at += c->chain[i++].data_len)
		MUST(c->chain[i].data == c->der + at && c->chain[i].data_len <= c->len - at);
	if (br_skey_decoder_key_type(&c->key) == BR_KEYTYPE_RSA) {
		const br_rsa_private_key *k = br_skey_decoder_get_rsa(&c->key);

		MUST(k->n_bitlen >= 2048 && k->n_bitlen <= 4096);
	} else {
		const br_ec_private_key *k = br_skey_decoder_get_ec(&c->key);

		MUST(k->curve == BR_EC_secp256r1 || k->curve == BR_EC_secp384r1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct cert c;
	static uint8_t real[2][4096];
	char path[2][32];
	const char *option = NULL;

	log_init(LOG_ERROR);
	if (n < 2)
		return 0;
	const uint8_t how = p[0];
	size_t len[2] = { p[1] * (n - 2) / 255, 0 };
	const uint8_t *file[2] = { p + 2, p + 2 + len[0] };
	const struct pem *pem = pems[(how >> 2 & 3) % 3];

	len[1] = n - 2 - len[0];
	for (unsigned i = 0; i < 2; i++) {
		if (!(how >> i & 1))
			continue;
		len[i] = bent(real[i], i ? pem->key : pem->cert, file[i], len[i]);
		file[i] = real[i];
	}
	const int fd[2] = { pem_file(path[0], file[0], len[0]), pem_file(path[1], file[1], len[1]) };
	const char *what = cert_read(&c, path[0], path[1], how & 16 ? 1800000000 : -1, &option);

	MUST(option && (strcmp(option, "cert") == 0 || strcmp(option, "key") == 0));
	if (!what)
		check(&c);
	memset(&c, 0xa5, sizeof c);
	close(fd[0]);
	close(fd[1]);
	return 0;
}
