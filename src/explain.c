#include "explain.h"

#include <string.h>
#include <unistd.h>

#include "arg.h"
#include "text.h"

/* What each reason denies, in the order of the checks. */
#define STEPS(S) \
	S(TOKEN_MISSING,       "a token is given") \
	S(TOKEN_MALFORMED,     "three parts in base64url; header and payload are JSON objects") \
	S(ALG_NOT_ALLOWED,     "alg is known, and the algorithm of a key that may have signed it") \
	S(KEY_UNKNOWN,         "there is one such key") \
	S(SIGNATURE_INVALID,   "the signature was made with that key") \
	S(EXP_MISSING,         "exp is there") \
	S(CLAIM_INVALID,       "every claim has its form") \
	S(CLOCK_UNSET,         "this machine's clock is set") \
	S(TOKEN_EXPIRED,       "exp is not past") \
	S(TOKEN_NOT_YET_VALID, "nbf is past") \
	S(TTL_TOO_LONG,        "exp is no further off than --max-ttl") \
	S(ISSUER_MISMATCH,     "iss is --issuer, or what its key says") \
	S(AUDIENCE_MISMATCH,   "aud holds --audience") \
	S(SUBJECT_DENIED,      "it grants something")

#define STEP_WHY(why, text) WHY_##why,
#define STEP_TEXT(why, text) text "\0"

static const uint8_t order[] = { STEPS(STEP_WHY) };
static const char texts[] = STEPS(STEP_TEXT);

static const char *read_token(char *line, size_t cap)
{
	size_t n = 0;
	ssize_t r;

	while (n < cap - 1 && !memchr(line, '\n', n) &&
	    (r = read(STDIN_FILENO, line + n, cap - 1 - n)) > 0)
		n += (size_t)r;
	line[n] = 0;
	line[strcspn(line, "\r\n")] = 0;
	return line;
}

static void put_grants(struct text *out, const char *head, const uint8_t *s, size_t n)
{
	text_all(out, "    ", head, n ? "" : " nothing", NULL);
	for (const uint8_t *end = s + n; s < end; s += 2 + s[1]) {
		text_str(out, s[0] == GRANT_SUB ? " sub " : s[0] == GRANT_PUB ? " pub " : " all ");
		text_put(out, s + 2, s[1]);
	}
	text_str(out, "\n");
}

/* The end of the segment that begins at i. */
static size_t segment(const uint8_t *p, size_t n, size_t i)
{
	const uint8_t *slash = memchr(p + i, '/', n - i);

	return slash ? (size_t)(slash - p) : n;
}

/* There is a subject that both patterns match. */
static bool meet(const uint8_t *p, size_t pn, const uint8_t *q, size_t qn)
{
	size_t i = 1, j = 1;

	if (pn == 1 || qn == 1)
		return pn == qn;
	while (i <= pn && j <= qn) {
		const size_t ie = segment(p, pn, i), je = segment(q, qn, j);

		if (p[i] == '*' || q[j] == '*')
			return true;
		if (p[i] != '+' && q[j] != '+' && (ie - i != je - j || memcmp(p + i, q + j, ie - i) != 0))
			return false;
		i = ie + 1;
		j = je + 1;
	}
	return i > pn && j > qn;
}

/* Of all that the token grants, something is within its key's ceiling. */
static bool grants_anything(const struct grants *g, const uint8_t *most, size_t n)
{
	for (size_t i = 0; i < g->n; i += 2u + g->s[i + 1])
		for (size_t j = 0; most && j < n; j += 2u + most[j + 1])
			if (g->s[i] & most[j] && meet(g->s + i + 2, g->s[i + 1], most + j + 2, most[j + 1]))
				return true;
	return !most && g->n > 0;
}

/* ... and nothing of it is beyond. */
static bool within(const struct grants *g, const uint8_t *most, size_t n)
{
	for (size_t i = 0; i < g->n; i += 2u + g->s[i + 1])
		for (unsigned right = GRANT_SUB; right <= GRANT_PUB; right <<= 1)
			if (g->s[i] & right && !grants_cover(most, n, right, g->s + i + 2, g->s[i + 1]))
				return false;
	return true;
}

static void put_key(struct text *out, const struct keyring *k, uint8_t key)
{
	size_t n;
	const uint8_t *kid = key_kid(k, key, &n);

	text_str(out, ": ");
	if (kid)
		text_put(out, kid, n);
	else
		text_str(out, "the one without a name");
	text_all(out, ", ", key_alg_name(k->key[key].alg), NULL);
}

static void put_bounds(struct text *out, const struct admit *a, const struct jwt *jwt)
{
	size_t n;
	const uint8_t *most = key_ceiling(&a->keys, jwt->key, &n);

	put_grants(out, "it grants", jwt->grants.s, jwt->grants.n);
	if (!most)
		return;
	put_grants(out, "its key allows at most", most, n);
	text_str(out, within(&jwt->grants, most, n) ? "    so all of it holds\n" :
	    "    so no more holds than is in both\n");
}

static void put_rest(struct text *out, const struct jwt *jwt)
{
	text_str(out, "would be let in");
	if (jwt->once)
		text_all(out, ", once, unless the server has seen it", jwt->iat_ms == INT64_MAX ?
		    "; without iat a restart of the server forgets that it was used" :
		    " or was started after iat", NULL);
	text_str(out, "\n");
}

static int put_steps(struct text *out, const struct admit *a, const struct jwt *jwt, enum why why)
{
	const char *text = texts;

	for (size_t i = 0; i < sizeof order; i++, text += strlen(text) + 1) {
		text_all(out, order[i] == why ? "no  " : "ok  ", text, NULL);
		if (order[i] == WHY_KEY_UNKNOWN && why != WHY_KEY_UNKNOWN)
			put_key(out, &a->keys, jwt->key);
		text_str(out, "\n");
		if (order[i] == WHY_SUBJECT_DENIED)
			put_bounds(out, a, jwt);
		if (order[i] != why)
			continue;
		text_str(out, "would be refused: ");
		text_num(out, (uint64_t)why_http(why), 1);
		text_all(out, " ", why_text(why), "\n", NULL);
		return 1;
	}
	return 0;
}

static enum why judge(const struct admit *a, struct jwt *jwt, const char *token, int64_t now_ms)
{
	const uint8_t *most;
	size_t n;
	const enum why why = *token ? jwt_check(jwt, token, strlen(token), &a->policy, &a->keys,
	    now_ms) : WHY_TOKEN_MISSING;

	if (why != WHY_OK)
		return why;
	most = key_ceiling(&a->keys, jwt->key, &n);
	return grants_anything(&jwt->grants, most, n) ? WHY_OK : WHY_SUBJECT_DENIED;
}

void explain_token(const struct admit *a, const char *token, int64_t now_ms)
{
	static char s[65536];		/* for a thousand short grants, and as many of its key */
	char line[TOKEN_MAX + 3];
	struct text out = { s, sizeof s, 0 };
	struct jwt jwt;
	enum why why;
	int status;

	if (a->open) {
		text_str(&out, "would be let in: --no-auth looks at no token\n");
		args_answer(0, s, text_len(&out));
	}
	why = judge(a, &jwt, token ? token : read_token(line, sizeof line), now_ms);
	status = put_steps(&out, a, &jwt, why);
	if (status == 0)
		put_rest(&out, &jwt);
	args_answer(status, s, text_len(&out));
}
