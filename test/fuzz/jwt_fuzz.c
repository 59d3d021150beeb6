/* jwt_fuzz.c - a token: nothing is let in without the key, and the same twice is the same.
 *
 * The input is a byte that chooses the policy, then a header and a payload with a NUL between
 * them, which are signed so that the claims are reached; and it is a token as it stands.
 *
 * Links jwt.c, key.c, grants.c, json.c, b64.c, subject.c, sha256.c, utf8.c and why.c. */
#include "b64.h"
#include "check.h"
#include "jwt.h"

#define MUST(e) do { \
	if (!(e)) { \
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #e); \
		abort(); \
	} \
} while (0)

#define NOW INT64_C(1700000000000)

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static const uint8_t secret[] = "sluice test key, 32 bytes or more";
static const uint8_t other[] = "sluice test key, 32 bytes or less";

struct asked {
	struct jwt_policy policy;
	const char *subject;
	int64_t now_ms;
};

static struct asked choose(uint8_t byte)
{
	return (struct asked){
		.policy = {
			.issuer = byte & 1 ? "i" : NULL,
			.audience = byte & 2 ? "a" : NULL,
			.max_ttl_ms = byte & 4 ? 3600000 : 0,
			.leeway_ms = byte & 8 ? 5000 : 0,
			.built_ms = byte & 16 ? NOW : 0,
		},
		.subject = byte & 32 ? "/a/b" : "/",
		.now_ms = NOW,
	};
}

static enum why check(struct jwt *jwt, const char *token, size_t n, const struct asked *a,
    const struct keyring *keys)
{
	const size_t sn = strlen(a->subject);

	memset(jwt, 0x5a, sizeof *jwt);
	const enum why why = jwt_check(jwt, (const char *)guard(0, token, n), n, &a->policy, keys,
	    a->now_ms);

	if (why != WHY_OK)
		return why;
	MUST(jwt->grants.n <= sizeof jwt->grants.s && jwt->key < keys->n);
	return grants_cover(jwt->grants.s, jwt->grants.n, GRANT_SUB, guard(1, a->subject, sn), sn) ?
	    WHY_OK : WHY_SUBJECT_DENIED;
}

static bool in_order(enum why why)
{
	return why == WHY_OK || (why >= WHY_TOKEN_MALFORMED && why <= WHY_SUBJECT_DENIED);
}

/* The signature is right, worked out here. */
static bool verifies(const char *token, size_t n)
{
	const char *dot = n > 0 ? memrchr(token, '.', n) : NULL;
	uint8_t mac[SHA256_LEN];
	char want[43];
	struct hmac_key k;

	if (dot == NULL || (size_t)(token + n - dot) != 1 + sizeof want)
		return false;
	hmac_key_init(&k, secret, sizeof secret - 1);
	hmac_sign(&k, token, (size_t)(dot - token), mac);
	b64url_encode(want, mac, sizeof mac);
	return memcmp(dot + 1, want, sizeof want) == 0;
}

/* One that is let in: all that must then hold. */
static void let_in(const struct jwt *jwt, char *token, size_t n, struct asked a,
    const struct keyring *keys)
{
	static struct keyring none, wrong;
	uint8_t digest[SHA256_LEN];
	struct sha256 s;
	struct jwt k;
	int64_t end;

	MUST(n <= TOKEN_MAX && verifies(token, n));
	sha256_init(&s);
	sha256_write(&s, token, n - 44);
	sha256_end(&s, digest);
	MUST(memcmp(jwt->digest, digest, sizeof digest) == 0);
	MUST(jwt->sub.n <= CLAIM_MAX && jwt->kid.n <= CLAIM_MAX && jwt->session_ms > 0);

	key_set_secret(&wrong, other, sizeof other - 1);
	MUST(check(&k, token, n, &a, &wrong) == WHY_SIGNATURE_INVALID);
	MUST(check(&k, token, n, &a, &none) == WHY_KEY_UNKNOWN);
	MUST(check(&k, token, n - 1, &a, keys) != WHY_OK);

	/* It holds until exp + leeway, if that is a time. */
	if (__builtin_add_overflow(jwt->exp_ms, a.policy.leeway_ms, &end))
		return;
	MUST(end > a.now_ms);
	a.now_ms = end;
	MUST(check(&k, token, n, &a, keys) == WHY_TOKEN_EXPIRED);
}

static void twice(char *token, size_t n, const struct asked *a, const struct keyring *keys)
{
	struct jwt first, second;
	const enum why why = check(&first, token, n, a, keys);

	MUST(in_order(why) && check(&second, token, n, a, keys) == why);
	if (why != WHY_OK) {
		MUST(n <= TOKEN_MAX || why == WHY_TOKEN_MALFORMED);
		return;
	}
	MUST(memcmp(first.digest, second.digest, sizeof first.digest) == 0);
	MUST(first.exp_ms == second.exp_ms && first.iat_ms == second.iat_ms);
	MUST(first.session_ms == second.session_ms);
	MUST(first.sub.n == second.sub.n && memcmp(first.sub.s, second.sub.s, first.sub.n) == 0);
	MUST(first.kid.n == second.kid.n && memcmp(first.kid.s, second.kid.s, first.kid.n) == 0);
	let_in(&first, token, n, *a, keys);
}

/* Returns the token's length. */
static size_t sign(char *out, const uint8_t *header, size_t hn, const uint8_t *payload, size_t pn)
{
	uint8_t mac[SHA256_LEN];
	struct hmac_key k;
	size_t n = B64URL_LEN(hn);

	b64url_encode(out, header, hn);
	out[n++] = '.';
	b64url_encode(out + n, payload, pn);
	n += B64URL_LEN(pn);
	hmac_key_init(&k, secret, sizeof secret - 1);
	hmac_sign(&k, out, n, mac);
	out[n++] = '.';
	b64url_encode(out + n, mac, sizeof mac);
	return n + 43;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const char usual[] = "{\"alg\":\"HS256\"}";
	static char token[12000];
	static struct keyring keys;

	if (n < 1 || n > 2 * TOKEN_MAX)
		return 0;
	key_set_secret(&keys, secret, sizeof secret - 1);

	const struct asked a = choose(p[0]);
	const uint8_t *nul = memchr(p + 1, 0, n - 1);

	memcpy(token, p, n);
	twice(token, n, &a, &keys);
	if (nul != NULL) {
		const size_t hn = (size_t)(nul - p) - 1;

		n = sign(token, p + 1, hn, nul + 1, n - hn - 2);
	} else {
		n = sign(token, (const uint8_t *)usual, sizeof usual - 1, p + 1, n - 1);
	}
	MUST(n <= sizeof token);
	twice(token, n, &a, &keys);
	return 0;
}
