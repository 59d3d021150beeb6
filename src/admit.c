#include "admit.h"

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

enum why admit_token(struct admit *a, struct jwt *jwt, struct span token, struct span subject,
    int64_t now_ms)
{
	if (a->open)
		return WHY_OK;
	if (!token.p)
		return WHY_TOKEN_MISSING;
	const enum why why = jwt_check(jwt, token.p, token.n, &a->policy, &a->keys, subject.p,
	    subject.n, now_ms);

	if (why != WHY_OK || !a->once)
		return why;
	used_expire(&a->used, now_ms - a->policy.leeway_ms);
	if (jwt->iat_ms < known_since(a, now_ms))
		return WHY_ISSUED_BEFORE_START;
	return used_check(&a->used, jwt->digest, jwt->exp_ms);
}

enum why admit_take(struct admit *a, const struct jwt *jwt)
{
	return a->open || !a->once ? WHY_OK : used_add(&a->used, jwt->digest, jwt->exp_ms);
}

int64_t admit_life_ms(const struct admit *a, const struct jwt *jwt, int64_t now_ms,
    enum why *why)
{
	int64_t left;

	*why = WHY_SESSION_ENDED;
	if (a->open)
		return INT64_MAX;
	if (!a->enforce_expiry && a->once)
		return jwt->session_ms;
	if (__builtin_add_overflow(jwt->exp_ms, a->policy.leeway_ms, &left) ||
	    __builtin_sub_overflow(left, now_ms, &left))
		return jwt->session_ms;		/* beyond the end of time */
	if (jwt->session_ms <= left)
		return jwt->session_ms;
	*why = WHY_TOKEN_EXPIRED;
	return left;
}
