/* jwt.h - a JSON Web Token (RFC 7519) in compact JWS form (RFC 7515 7.1), checked.
 *
 * Pure: the time is an argument, no tables are kept, nothing is allocated. */

#ifndef JWT_H
#define JWT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "grants.h"
#include "key.h"
#include "limits.h"
#include "sha256.h"
#include "why.h"

/* Times are Unix milliseconds. */
struct jwt_policy {
	const char *issuer, *audience;	/* NULL: any; a key's own issuer goes first */
	int64_t max_ttl_ms;		/* 0: no bound */
	int64_t leeway_ms;
	int64_t built_ms;		/* an earlier clock is not set yet */
	bool    once;			/* --token-use, for keys that do not say */
};

struct jwt_text {
	size_t  n;
	uint8_t s[CLAIM_MAX];		/* unescaped, cut at CLAIM_MAX */
};

struct jwt {
	uint8_t digest[SHA256_LEN];	/* of header.payload: what the token is */
	uint8_t who[16];		/* of its iss and sub, present or not: who a renewal must be for */
	int64_t exp_ms;
	int64_t iat_ms;			/* INT64_MAX: not given */
	int64_t session_ms;		/* INT64_MAX: not given */
	uint8_t key;			/* index in the keyring, or KEY_NONE: none was picked */
	bool    once;			/* of the key's token_use, or the policy's */
	struct jwt_text sub, kid;
	struct grants grants;		/* grants_default where it has no permissions */
};

/* Check a token, in the order of the reasons in why.h, from WHY_TOKEN_MALFORMED to
 * WHY_AUDIENCE_MISMATCH. jwt is filled as far as was got; only on WHY_OK is what it says
 * proven. */
enum why jwt_check(struct jwt *jwt, const char *token, size_t n, const struct jwt_policy *policy,
    const struct keyring *keys, int64_t now_ms);

#endif
