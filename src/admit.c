#include "admit.h"

#include <string.h>

enum why admit_origin(const struct admit *a, struct span origin)
{
	if (!origin.p || a->norigin == 0)
		return WHY_OK;
	for (unsigned i = 0; i < a->norigin; i++)
		if (http_origin_match(a->origin[i], origin))
			return WHY_OK;
	return WHY_ORIGIN_DENIED;
}

/* From when on the ring knows every token. If the clock was not set yet when it was asked for
 * that, the start is worked out from the clock as it is now. */
static int64_t known_since(const struct admit *a, int64_t now_ms)
{
	return a->used.since_ms >= a->policy.built_ms ? a->used.since_ms :
	    (now_ms - a->uptime_ms) / 1000 * 1000;
}

bool admit_covers(const struct admit *a, uint8_t key, const uint8_t *grants, size_t n,
    unsigned right, const uint8_t *p, size_t len)
{
	size_t most_n = 0;
	const uint8_t *most = key == KEY_NONE ? NULL : key_ceiling(&a->keys, key, &most_n);

	return grants_cover(grants, n, right, p, len) &&
	    (!most || grants_cover(most, most_n, right, p, len));
}

static void everyone(struct jwt *jwt)
{
	memset(jwt, 0, offsetof(struct jwt, sub));
	jwt->exp_ms = jwt->iat_ms = jwt->session_ms = INT64_MAX;
	jwt->key = KEY_NONE;
	jwt->sub.n = jwt->kid.n = 0;
	grants_everything(&jwt->grants);
}

enum why admit_token(struct admit *a, struct jwt *jwt, struct span token, enum admit_for what,
    struct span subject, int64_t now_ms)
{
	const unsigned right = what == ADMIT_PUBLISH ? GRANT_PUB : GRANT_SUB;
	enum why why = WHY_OK;

	if (a->open)
		everyone(jwt);
	else if (!token.p)
		why = WHY_TOKEN_MISSING;
	else
		why = jwt_check(jwt, token.p, token.n, &a->policy, &a->keys, now_ms);
	if (why != WHY_OK)
		return why;
	if (what != ADMIT_SESSION && !admit_covers(a, jwt->key, jwt->grants.s, jwt->grants.n, right,
	    (const uint8_t *)subject.p, subject.n))
		return WHY_SUBJECT_DENIED;
	if (a->open || !jwt->once || what == ADMIT_PUBLISH)
		return WHY_OK;
	used_expire(&a->used, now_ms - a->policy.leeway_ms);
	if (jwt->iat_ms < known_since(a, now_ms))
		return WHY_ISSUED_BEFORE_START;
	return used_check(&a->used, jwt->digest, jwt->exp_ms);
}

enum why admit_take(struct admit *a, const struct jwt *jwt)
{
	return a->open || !jwt->once ? WHY_OK : used_add(&a->used, jwt->digest, jwt->exp_ms);
}

int64_t admit_expiry_ms(const struct admit *a, const struct jwt *jwt, int64_t now_ms)
{
	int64_t left;

	if (a->open || (!a->enforce_expiry && jwt->once))
		return INT64_MAX;
	if (__builtin_add_overflow(jwt->exp_ms, a->policy.leeway_ms, &left) ||
	    __builtin_sub_overflow(left, now_ms, &left))
		return INT64_MAX;		/* beyond the end of time */
	return left;
}
