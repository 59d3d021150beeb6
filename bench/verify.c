/* verify.c - what one verification costs, beside OpenSSL: verify RUNS
 *
 * A line for each: NAME SLUICE OPENSSL, in nanoseconds of CPU; the two take turns. "hs256" is
 * the signature of a token of 250 bytes, with the key prepared by both, and "hs256-all" the
 * token: cut, decoded, verified, its claims read. OpenSSL has nothing for that. */

#define OPENSSL_SUPPRESS_DEPRECATED	/* HMAC_CTX is OpenSSL 3's faster way to a MAC */

#include <err.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "b64.h"
#include "jwt.h"

#define SLICE_NS 5e6
#define SLICES 20
#define NOW_MS 1800000000000

static const char header[] = "{\"alg\":\"HS256\",\"kid\":\"k1\"}";
static const char claims[] = "{\"iss\":\"bench\",\"sub\":\"client-0000001.bench.example\","
	"\"iat\":1800000000,\"exp\":1800000600,\"jti\":\"0123456789abcdef0123456789abcdef\"}";

static char token[251];
static size_t input_len;		/* of header.payload */
static uint8_t mac[SHA256_LEN];

static struct keyring keys;
static HMAC_CTX *hmac;

struct row {
	const char *name;
	bool (*verify[2])(void);	/* sluice, OpenSSL or NULL */
};

static bool hs256_sluice(void)
{
	return key_verify(&keys, token, input_len, mac, sizeof mac) == WHY_OK;
}

static bool hs256_openssl(void)
{
	uint8_t out[SHA256_LEN];

	return HMAC_Init_ex(hmac, NULL, 0, NULL, NULL) &&
	    HMAC_Update(hmac, (const uint8_t *)token, input_len) &&
	    HMAC_Final(hmac, out, NULL) && CRYPTO_memcmp(out, mac, sizeof mac) == 0;
}

static bool hs256_all(void)
{
	static const struct jwt_policy policy = { .issuer = "bench", .max_ttl_ms = 3600000 };
	static struct jwt jwt;

	return jwt_check(&jwt, token, strlen(token), &policy, &keys, "/", 1, NOW_MS) == WHY_OK;
}

/* The same secret to both, and a token that it has signed. */
static void prepare(void)
{
	static const uint8_t secret[] = "a secret of more than 32 bytes, as it should be";
	struct hmac_key key;
	size_t at = B64URL_LEN(sizeof header - 1);

	b64url_encode(token, (const uint8_t *)header, sizeof header - 1);
	token[at++] = '.';
	b64url_encode(token + at, (const uint8_t *)claims, sizeof claims - 1);
	input_len = at + B64URL_LEN(sizeof claims - 1);
	hmac_key_init(&key, secret, sizeof secret - 1);
	hmac_sign(&key, token, input_len, mac);
	token[input_len] = '.';
	b64url_encode(token + input_len + 1, mac, sizeof mac);
	if (strlen(token) != sizeof token - 1)
		errx(1, "the token has %zu bytes", strlen(token));

	key_set_secret(&keys, secret, sizeof secret - 1);
	hmac = HMAC_CTX_new();
	if (hmac == NULL || !HMAC_Init_ex(hmac, secret, sizeof secret - 1, EVP_sha256(), NULL))
		errx(1, "OpenSSL has no HMAC");
}

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double sample_ns(bool (*verify)(void), unsigned times)
{
	const double before = cpu_ns();

	for (unsigned i = 0; i < times; i++)
		if (!verify())
			errx(1, "a good token is refused");
	return cpu_ns() - before;
}

/* How often it takes to fill a slice; the first are for the caches. */
static unsigned fill(bool (*verify)(void))
{
	unsigned times = 1;

	while (sample_ns(verify, times) < SLICE_NS)
		times *= 2;
	return times;
}

/* In short slices, lest what else the machine does falls on one of the two alone. */
static void measure(const struct row *r)
{
	unsigned times[2] = { 0 };
	double ns[2] = { 0 };

	for (int i = 0; i < 2 && r->verify[i]; i++)
		times[i] = fill(r->verify[i]);
	for (int slice = 0; slice < SLICES; slice++)
		for (int i = 0; i < 2 && r->verify[i]; i++)
			ns[i] += sample_ns(r->verify[i], times[i]);
	printf("%s", r->name);
	for (int i = 0; i < 2 && r->verify[i]; i++)
		printf(" %.1f", ns[i] / times[i] / SLICES);
	putchar('\n');
}

int main(int argc, char **argv)
{
	static const struct row rows[] = {
		{ "hs256", { hs256_sluice, hs256_openssl } },
		{ "hs256-all", { hs256_all, NULL } },
	};
	const int runs = argc == 2 ? atoi(argv[1]) : 0;

	if (runs < 1)
		errx(2, "usage: verify RUNS");
	prepare();
	for (int run = 0; run < runs; run++)
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
			measure(&rows[i]);
	return 0;
}
