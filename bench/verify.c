/* verify.c - what one verification costs, beside OpenSSL: verify RUNS
 *
 * A line for each: NAME SLUICE OPENSSL, in nanoseconds of CPU; the two take turns. "hs256",
 * "rs256" (2048 bits) and "es256" are the signature, over the header and claims of an HS256
 * token of 250 bytes. "hs256-all" is the whole token: cut, decoded, verified, its claims read;
 * OpenSSL has nothing for that. OpenSSL has its keys prepared, and an ECDSA signature in the
 * form that it wants, DER. */

#define OPENSSL_SUPPRESS_DEPRECATED	/* HMAC_CTX is OpenSSL 3's faster way to a MAC */

#include <err.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "b64.h"
#include "jwt.h"

#define SLICE_NS 5e6
#define SLICES 20
#define NOW_MS 1800000000000
#define SIGNATURE_MAX 256u

static const char claims[] = "{\"iss\":\"bench\",\"sub\":\"client-0000001.bench.example\","
	"\"iat\":1800000000,\"exp\":1800000600,\"jti\":\"0123456789abcdef0123456789abcdef\"}";

struct token {
	char text[251];			/* header.payload */
	size_t len;
	uint8_t signature[SIGNATURE_MAX], der[SIGNATURE_MAX];	/* RFC 7518's and OpenSSL's */
	size_t signature_len, der_len;
	uint8_t key;			/* in the ring */
	EVP_MD_CTX *prepared;
};

static struct token hs256, rs256, es256;
static struct keyring keys;
static HMAC_CTX *hmac;
static EVP_MD_CTX *scratch;

struct row {
	const char *name;
	const struct token *token;
	bool (*verify[2])(const struct token *t);	/* sluice, OpenSSL or NULL */
};

static bool sluice(const struct token *t)
{
	return key_verify(&keys, t->key, t->text, t->len, t->signature, t->signature_len) == WHY_OK;
}

static bool sluice_all(const struct token *t)
{
	static const struct jwt_policy policy = { .issuer = "bench", .max_ttl_ms = 3600000 };
	static struct jwt jwt;

	return jwt_check(&jwt, t->text, strlen(t->text), &policy, &keys, NOW_MS) == WHY_OK;
}

static bool openssl_hmac(const struct token *t)
{
	uint8_t out[SHA256_LEN];

	return HMAC_Init_ex(hmac, NULL, 0, NULL, NULL) &&
	    HMAC_Update(hmac, (const uint8_t *)t->text, t->len) && HMAC_Final(hmac, out, NULL) &&
	    CRYPTO_memcmp(out, t->signature, sizeof out) == 0;
}

static bool openssl(const struct token *t)
{
	return EVP_MD_CTX_copy_ex(scratch, t->prepared) &&
	    EVP_DigestVerify(scratch, t->der, t->der_len, (const uint8_t *)t->text, t->len) == 1;
}

/* ---- tokens and keys ---- */

static void must(bool ok, const char *what)
{
	if (!ok)
		errx(1, "%s", what);
}

/* header.payload; alg is HS, RS or ES, and the name of the key too. */
static void write_token(struct token *t, const char *alg)
{
	char header[] = "{\"alg\":\"..256\",\"kid\":\"..\"}";
	size_t at = B64URL_LEN(sizeof header - 1);

	memcpy(header + 8, alg, 2);
	memcpy(header + 22, alg, 2);
	b64url_encode(t->text, (const uint8_t *)header, sizeof header - 1);
	t->text[at++] = '.';
	b64url_encode(t->text + at, (const uint8_t *)claims, sizeof claims - 1);
	t->len = at + B64URL_LEN(sizeof claims - 1);
}

static void add_key(struct token *t, const char *alg, struct key_spec spec)
{
	const char *error;

	spec.kid = (const uint8_t *)alg;
	spec.kid_len = 2;
	t->key = (uint8_t)keys.n;
	error = key_add(&keys, &spec);
	must(error == NULL, error);
}

static void prepare_hs256(void)
{
	static const uint8_t secret[] = "a secret of more than 32 bytes, as it should be";
	struct hmac_key key;

	write_token(&hs256, "HS");
	add_key(&hs256, "HS", (struct key_spec){ .alg = KEY_HS256, .p = secret,
	    .n = sizeof secret - 1 });
	hmac_key_init(&key, secret, sizeof secret - 1);
	hmac_sign(&key, hs256.text, hs256.len, hs256.signature);
	hs256.signature_len = SHA256_LEN;
	hs256.text[hs256.len] = '.';
	b64url_encode(hs256.text + hs256.len + 1, hs256.signature, SHA256_LEN);
	must(strlen(hs256.text) == 250, "the token has not 250 bytes");

	hmac = HMAC_CTX_new();
	must(hmac && HMAC_Init_ex(hmac, secret, sizeof secret - 1, EVP_sha256(), NULL), "HMAC");
}

static void sign(struct token *t, EVP_PKEY *key)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();

	t->der_len = sizeof t->der;
	must(key && c && EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key) &&
	    EVP_DigestSign(c, t->der, &t->der_len, (const uint8_t *)t->text, t->len), "signing");
	EVP_MD_CTX_free(c);
	t->prepared = EVP_MD_CTX_new();
	must(t->prepared && EVP_DigestVerifyInit(t->prepared, NULL, EVP_sha256(), NULL, key),
	    "verifying");
}

static size_t number(EVP_PKEY *key, const char *name, uint8_t *out, size_t max)
{
	BIGNUM *n = NULL;
	int len;

	must(EVP_PKEY_get_bn_param(key, name, &n) && (size_t)BN_num_bytes(n) <= max, name);
	len = BN_bn2bin(n, out);
	BN_free(n);
	return (size_t)len;
}

static void prepare_rs256(void)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	uint8_t n[256], e[8];

	write_token(&rs256, "RS");
	sign(&rs256, key);
	memcpy(rs256.signature, rs256.der, rs256.der_len);	/* RFC 7518 3.3: the same */
	rs256.signature_len = rs256.der_len;
	add_key(&rs256, "RS", (struct key_spec){ .alg = KEY_RS256,
	    .p = n, .n = number(key, OSSL_PKEY_PARAM_RSA_N, n, sizeof n),
	    .e = e, .e_len = number(key, OSSL_PKEY_PARAM_RSA_E, e, sizeof e) });
	EVP_PKEY_free(key);
}

static void prepare_es256(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	uint8_t point[65];
	size_t len;
	const uint8_t *der = es256.der;

	write_token(&es256, "ES");
	sign(&es256, key);

	ECDSA_SIG *rs = d2i_ECDSA_SIG(NULL, &der, (long)es256.der_len);

	must(rs && BN_bn2binpad(ECDSA_SIG_get0_r(rs), es256.signature, 32) == 32 &&
	    BN_bn2binpad(ECDSA_SIG_get0_s(rs), es256.signature + 32, 32) == 32, "r and s");
	ECDSA_SIG_free(rs);
	es256.signature_len = 64;
	must(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point,
	    &len) && len == sizeof point && point[0] == 4, "the point");
	add_key(&es256, "ES", (struct key_spec){ .alg = KEY_ES256, .p = point, .n = len });
	EVP_PKEY_free(key);
}

/* ---- measuring ---- */

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double slice_ns(const struct row *r, int who, unsigned times)
{
	const double before = cpu_ns();

	for (unsigned i = 0; i < times; i++)
		must(r->verify[who](r->token), "a good token is refused");
	return cpu_ns() - before;
}

/* How often it takes to fill a slice; the first are for the caches. */
static unsigned fill(const struct row *r, int who)
{
	unsigned times = 1;

	while (slice_ns(r, who, times) < SLICE_NS)
		times *= 2;
	return times;
}

/* In short slices, lest what else the machine does falls on one of the two alone. */
static void measure(const struct row *r)
{
	const int both = r->verify[1] ? 2 : 1;
	unsigned times[2];
	double ns[2] = { 0 };

	for (int who = 0; who < both; who++)
		times[who] = fill(r, who);
	for (int slice = 0; slice < SLICES; slice++)
		for (int who = 0; who < both; who++)
			ns[who] += slice_ns(r, who, times[who]);
	printf("%s", r->name);
	for (int who = 0; who < both; who++)
		printf(" %.1f", ns[who] / times[who] / SLICES);
	putchar('\n');
}

int main(int argc, char **argv)
{
	static const struct row rows[] = {
		{ "hs256", &hs256, { sluice, openssl_hmac } },
		{ "hs256-all", &hs256, { sluice_all, NULL } },
		{ "rs256", &rs256, { sluice, openssl } },
		{ "es256", &es256, { sluice, openssl } },
	};
	const int runs = argc == 2 ? atoi(argv[1]) : 0;

	if (runs < 1)
		errx(2, "usage: verify RUNS");
	scratch = EVP_MD_CTX_new();
	prepare_hs256();
	prepare_rs256();
	prepare_es256();
	for (int run = 0; run < runs; run++)
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
			measure(&rows[i]);
	return 0;
}
