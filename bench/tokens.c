/* tokens.c - many tokens at once: tokens SECRET-FILE COUNT [TTL]
 *
 * HS256, of about 250 bytes, each with a jti of its own, one a line. Made with sluice's
 * own sha256.c and b64.c: `sluice token` makes one a process, which takes too long for
 * twenty thousand. TTL is in seconds, 600 if not given. */

#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "b64.h"
#include "sha256.h"

#define SECRET_MAX 4096u
#define CLAIMS_MAX 256u

static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";

/* The file's bytes less one final newline, as sluice reads it. */
static void read_secret(struct hmac_key *key, const char *path)
{
	uint8_t secret[SECRET_MAX];
	size_t n;
	FILE *f = fopen(path, "rb");

	if (f == NULL)
		err(1, "%s", path);
	n = fread(secret, 1, sizeof secret, f);
	fclose(f);
	if (n > 0 && secret[n - 1] == '\n')
		n--;
	hmac_key_init(key, secret, n);
}

static void print_token(const struct hmac_key *key, const char *claims, size_t n)
{
	char text[B64URL_LEN(sizeof header) + B64URL_LEN(CLAIMS_MAX) + 1];
	char sig[B64URL_LEN(SHA256_LEN)];
	uint8_t mac[SHA256_LEN];
	size_t at = B64URL_LEN(sizeof header - 1);

	b64url_encode(text, (const uint8_t *)header, sizeof header - 1);
	text[at++] = '.';
	b64url_encode(text + at, (const uint8_t *)claims, n);
	at += B64URL_LEN(n);
	hmac_sign(key, text, at, mac);
	b64url_encode(sig, mac, sizeof mac);
	printf("%.*s.%.*s\n", (int)at, text, (int)sizeof sig, sig);
}

int main(int argc, char **argv)
{
	struct hmac_key key;
	unsigned long count;
	long long now = (long long)time(NULL), ttl;
	uint64_t random[2];

	if (argc < 3)
		errx(2, "usage: tokens SECRET-FILE COUNT [TTL]");
	read_secret(&key, argv[1]);
	count = strtoul(argv[2], NULL, 10);
	ttl = argc > 3 ? atoll(argv[3]) : 600;
	if (getrandom(random, sizeof random, 0) != sizeof random)
		err(1, "getrandom");
	for (unsigned long i = 0; i < count; i++) {
		char claims[CLAIMS_MAX];
		const int n = snprintf(claims, sizeof claims,
		    "{\"iss\":\"bench\",\"sub\":\"client-%05lu.bench.example\",\"iat\":%lld,\"exp\":%lld,"
		    "\"jti\":\"%016llx%016llx\"}", i % 100000, now, now + ttl,
		    (unsigned long long)random[0], (unsigned long long)random[1] + i);

		print_token(&key, claims, (size_t)n);
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
