#include "explain.h"

#include <string.h>
#include <unistd.h>

#include "arg.h"
#include "text.h"

/* What each reason denies, in the order of the checks. */
#define STEPS(S) \
	S(TOKEN_MISSING,       "a token is given") \
	S(TOKEN_MALFORMED,     "three parts in base64url; header and payload are JSON objects") \
	S(ALG_NOT_ALLOWED,     "alg is the algorithm of the key") \
	S(KEY_UNKNOWN,         "there is a key for it") \
	S(SIGNATURE_INVALID,   "the signature was made with that key") \
	S(EXP_MISSING,         "exp is there") \
	S(CLAIM_INVALID,       "every claim has its form") \
	S(CLOCK_UNSET,         "this machine's clock is set") \
	S(TOKEN_EXPIRED,       "exp is not past") \
	S(TOKEN_NOT_YET_VALID, "nbf is past") \
	S(TTL_TOO_LONG,        "exp is no further off than --max-ttl") \
	S(ISSUER_MISMATCH,     "iss is --issuer") \
	S(AUDIENCE_MISMATCH,   "aud holds --audience") \
	S(SUBJECT_DENIED,      "it may read /")

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

static void put_rest(struct text *out, const struct jwt *jwt)
{
	text_str(out, "would be let in");
	if (jwt->once)
		text_all(out, ", once, unless the server has seen it", jwt->iat_ms == INT64_MAX ?
		    "; without iat a restart of the server forgets that it was used" :
		    " or was started after iat", NULL);
	text_str(out, "\n");
}

static int put_steps(struct text *out, enum why why)
{
	const char *text = texts;

	for (size_t i = 0; i < sizeof order; i++, text += strlen(text) + 1) {
		text_all(out, order[i] == why ? "no  " : "ok  ", text, "\n", NULL);
		if (order[i] != why)
			continue;
		text_str(out, "would be refused: ");
		text_num(out, (uint64_t)why_http(why), 1);
		text_all(out, " ", why_text(why), "\n", NULL);
		return 1;
	}
	return 0;
}

void explain_token(const struct admit *a, const char *token, int64_t now_ms)
{
	char line[TOKEN_MAX + 3], s[1024];
	struct text out = { s, sizeof s, 0 };
	struct jwt jwt;
	enum why why = WHY_TOKEN_MISSING;
	int status = 0;

	if (!a->open && !token)
		token = read_token(line, sizeof line);
	if (!a->open && *token)
		why = jwt_check(&jwt, token, strlen(token), &a->policy, &a->keys, now_ms);
	if (why == WHY_OK && !admit_covers(a, jwt.key, jwt.grants.s, jwt.grants.n, GRANT_SUB,
	    (const uint8_t *)"/", 1))
		why = WHY_SUBJECT_DENIED;
	if (a->open)
		text_str(&out, "would be let in: --no-auth looks at no token\n");
	else if ((status = put_steps(&out, why)) == 0)
		put_rest(&out, &jwt);
	args_answer(status, s, text_len(&out));
}
