#include "jwt.h"

#include <string.h>
#include <strings.h>

#include "b64.h"
#include "json.h"

/* A part of the token, decoded. */
#define PART_MAX (TOKEN_MAX / 4 * 3 + 2)

struct header {
	uint8_t alg[16];
	size_t  alg_len, kid_len;	/* kid_len: all of it, jwt_text has its beginning */
	bool    kid;
};

struct claims {
	int64_t exp_ms, nbf_ms;
	bool    nbf;
	bool    issuer, audience;	/* are as the policy wants them */
	bool    permissions;
	uint8_t who[2][SHA256_LEN];	/* of iss and sub; zeros: not given */
};

/* Header, payload and signature, decoded. Returns where the first two end, or NULL. */
static const char *split(uint8_t part[3][PART_MAX], size_t len[3], const char *token, size_t n)
{
	const char *const end = token + n, *at = token, *dot;

	for (int i = 0; n <= TOKEN_MAX; i++, at = dot + 1) {
		dot = i < 2 ? memchr(at, '.', (size_t)(end - at)) : end;
		if (!dot || dot == at ||
		    !b64url_decode(part[i], &len[i], (const uint8_t *)at, (size_t)(dot - at)))
			break;
		if (i == 2)
			return at - 1;
	}
	return NULL;
}

/* Returns how long all of it is. */
static size_t take_text(struct jwt_text *t, const struct json *j, uint8_t *digest)
{
	uint8_t all[PART_MAX];
	struct sha256 s;
	size_t n;

	if (!json_string(j, all, sizeof all, &n))
		n = 0;				/* unreachable: a part is no longer than all */
	if (digest) {
		sha256_init(&s);
		sha256_write(&s, all, n);
		sha256_end(&s, digest);
	}
	if (t) {
		t->n = n < sizeof t->s ? n : sizeof t->s;
		memcpy(t->s, all, t->n);
	}
	return n;
}

static bool typ_allowed(const struct json *j)
{
	uint8_t s[8];
	size_t n;

	if (!json_string(j, s, sizeof s, &n))
		return false;
	return (n == 3 && strncasecmp((const char *)s, "JWT", 3) == 0) ||
	    (n == 6 && strncasecmp((const char *)s, "at+jwt", 6) == 0);
}

/* One member of the header (RFC 7515 4). */
static bool header_member(struct header *h, struct jwt *jwt, struct json *j)
{
	enum { ALG, TYP, KID, CRIT, B64 };
	const unsigned what = json_which(j, "alg\0typ\0kid\0crit\0b64\0");
	const enum json_event e = json_next(j);

	if (what == CRIT || what == B64 || (what == TYP && (e != JSON_STRING || !typ_allowed(j))))
		return false;			/* 4.1.11: we understand no extension */
	if (what == ALG && (e != JSON_STRING || !json_string(j, h->alg, sizeof h->alg, &h->alg_len)))
		h->alg_len = 0;			/* none that we know */
	if (what == KID) {
		if (e != JSON_STRING)
			return false;		/* 4.1.4 */
		h->kid_len = take_text(&jwt->kid, j, NULL);
		h->kid = true;
	}
	return json_skip(j, e);
}

static bool read_header(struct header *h, struct jwt *jwt, const uint8_t *p, size_t n)
{
	struct json j;
	enum json_event e;

	json_init(&j, p, n);
	if (json_next(&j) != JSON_OBJECT)
		return false;
	while ((e = json_next(&j)) == JSON_NAME)
		if (!header_member(h, jwt, &j))
			return false;
	return e == JSON_OBJECT_END && json_next(&j) == JSON_DONE;
}

/* The payload is a JSON object; *exp: with such a member. */
static bool scan_payload(bool *exp, const uint8_t *p, size_t n)
{
	struct json j;
	enum json_event e;

	*exp = false;
	json_init(&j, p, n);
	if (json_next(&j) != JSON_OBJECT)
		return false;
	while ((e = json_next(&j)) == JSON_NAME) {
		*exp |= json_is(&j, "exp");
		if (!json_skip(&j, JSON_NAME))
			return false;
	}
	return e == JSON_OBJECT_END && json_next(&j) == JSON_DONE;
}

/* RFC 7519 4.1.3: one string, or an array of them. */
static bool read_audience(struct claims *c, const char *want, struct json *j, enum json_event e)
{
	if (e == JSON_STRING) {
		c->audience = want && json_is(j, want);
		return true;
	}
	if (e != JSON_ARRAY)
		return false;
	while ((e = json_next(j)) == JSON_STRING)
		c->audience |= want && json_is(j, want);
	return e == JSON_ARRAY_END;
}

static bool milli(int64_t *out, const struct json *j, enum json_event e, bool up)
{
	return e == JSON_NUMBER && json_milli(j, out, up);
}

/* One claim; false: it is not of its form. */
static bool claim(struct claims *c, struct jwt *jwt, const struct jwt_policy *policy,
    struct json *j)
{
	enum { EXP, NBF, IAT, SESSION, JTI, SUB, ISS, AUD, PERMISSIONS };
	const unsigned what =
	    json_which(j, "exp\0nbf\0iat\0session\0jti\0sub\0iss\0aud\0permissions\0");
	const enum json_event e = json_next(j);

	switch (what) {
	case EXP:
		return milli(&c->exp_ms, j, e, true);
	case NBF:
		return c->nbf = milli(&c->nbf_ms, j, e, true);
	case IAT:
		return milli(&jwt->iat_ms, j, e, false);
	case SESSION:
		return milli(&jwt->session_ms, j, e, true) && jwt->session_ms > 0;
	case JTI:
		return e == JSON_STRING;
	case SUB:
		if (e == JSON_STRING)
			take_text(&jwt->sub, j, c->who[1]);
		return e == JSON_STRING;
	case ISS:
		if (e == JSON_STRING)
			take_text(NULL, j, c->who[0]);
		c->issuer = e == JSON_STRING && policy->issuer && json_is(j, policy->issuer);
		return e == JSON_STRING;
	case AUD:
		return read_audience(c, policy->audience, j, e);
	case PERMISSIONS:
		c->permissions = true;
		return grants_read(&jwt->grants, j, e);
	default:
		return json_skip(j, e);
	}
}

/* The payload is JSON by now; false: a claim is not of its form. */
static bool read_claims(struct claims *c, struct jwt *jwt, const struct jwt_policy *policy,
    const uint8_t *p, size_t n)
{
	struct json j;

	json_init(&j, p, n);
	json_next(&j);
	while (json_next(&j) == JSON_NAME)
		if (!claim(c, jwt, policy, &j))
			return false;
	return true;
}

/* a + b, held within 64 bits. */
static int64_t add(int64_t a, int64_t b)
{
	int64_t sum;

	return !__builtin_add_overflow(a, b, &sum) ? sum : b < 0 ? INT64_MIN : INT64_MAX;
}

static enum why check_times(const struct claims *c, const struct jwt_policy *p, int64_t now_ms)
{
	if (now_ms < p->built_ms)
		return WHY_CLOCK_UNSET;
	if (now_ms >= add(c->exp_ms, p->leeway_ms))
		return WHY_TOKEN_EXPIRED;	/* RFC 7519 4.1.4 */
	if (c->nbf && now_ms < add(c->nbf_ms, -p->leeway_ms))
		return WHY_TOKEN_NOT_YET_VALID;	/* RFC 7519 4.1.5 */
	if (p->max_ttl_ms && c->exp_ms > add(now_ms, p->max_ttl_ms))
		return WHY_TTL_TOO_LONG;
	return WHY_OK;
}

static void identify(struct jwt *jwt, const struct claims *c)
{
	uint8_t all[SHA256_LEN];
	struct sha256 s;

	sha256_init(&s);
	sha256_write(&s, c->who, sizeof c->who);
	sha256_end(&s, all);
	memcpy(jwt->who, all, sizeof jwt->who);
}

static enum why check_payload(struct jwt *jwt, const struct jwt_policy *policy,
    const uint8_t *p, size_t n, int64_t now_ms)
{
	struct claims c = { 0 };
	bool exp;

	if (!scan_payload(&exp, p, n))
		return WHY_TOKEN_MALFORMED;
	if (!exp)
		return WHY_EXP_MISSING;
	if (!read_claims(&c, jwt, policy, p, n))
		return WHY_CLAIM_INVALID;
	jwt->exp_ms = c.exp_ms;
	identify(jwt, &c);
	if (!c.permissions)
		grants_default(&jwt->grants);

	const enum why why = check_times(&c, policy, now_ms);

	if (why != WHY_OK)
		return why;
	if (policy->issuer && !c.issuer)
		return WHY_ISSUER_MISMATCH;
	return policy->audience && !c.audience ? WHY_AUDIENCE_MISMATCH : WHY_OK;
}

/* The signature is right: the token is what it is. What its key says goes before the policy. */
static enum why check_signed(struct jwt *jwt, const char *token, size_t signed_len,
    const struct jwt_policy *policy, const struct keyring *keys, const uint8_t *payload, size_t n,
    int64_t now_ms)
{
	const enum key_use use = key_token_use(keys, jwt->key);
	const char *issuer = key_issuer(keys, jwt->key);
	struct jwt_policy own = *policy;
	struct sha256 s;

	sha256_init(&s);
	sha256_write(&s, token, signed_len);
	sha256_end(&s, jwt->digest);
	jwt->once = use == KEY_USE_UNSAID ? policy->once : use == KEY_USE_ONCE;
	if (issuer)
		own.issuer = issuer;
	return check_payload(jwt, &own, payload, n, now_ms);
}

enum why jwt_check(struct jwt *jwt, const char *token, size_t n, const struct jwt_policy *policy,
    const struct keyring *keys, int64_t now_ms)
{
	uint8_t part[3][PART_MAX];
	size_t len[3];
	struct header h = { .alg_len = 0 };
	enum why why;

	memset(jwt, 0, offsetof(struct jwt, sub));
	jwt->iat_ms = jwt->session_ms = INT64_MAX;
	jwt->key = KEY_NONE;
	jwt->sub.n = jwt->kid.n = jwt->grants.n = 0;
	const char *const end = split(part, len, token, n);

	if (!end || !read_header(&h, jwt, part[0], len[0]))
		return WHY_TOKEN_MALFORMED;
	why = key_pick(keys, &jwt->key, h.kid ? jwt->kid.s : NULL, h.kid_len, h.alg, h.alg_len);
	if (why != WHY_OK)
		return why;
	why = key_verify(keys, jwt->key, token, (size_t)(end - token), part[2], len[2]);
	return why != WHY_OK ? why :
	    check_signed(jwt, token, (size_t)(end - token), policy, keys, part[1], len[1], now_ms);
}
