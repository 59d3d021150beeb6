#include "explain.h"

#include <stdio.h>
#include <string.h>

/* What each reason denies, in the order of the checks. */
static const struct { enum why why; const char *text; } steps[] = {
	{ WHY_TOKEN_MISSING,       "a token is given" },
	{ WHY_TOKEN_MALFORMED,     "three parts in base64url; header and payload are JSON objects" },
	{ WHY_ALG_NOT_ALLOWED,     "alg is the algorithm of the key" },
	{ WHY_KEY_UNKNOWN,         "there is a key for it" },
	{ WHY_SIGNATURE_INVALID,   "the signature was made with that key" },
	{ WHY_EXP_MISSING,         "exp is there" },
	{ WHY_CLAIM_INVALID,       "every claim has its form" },
	{ WHY_CLOCK_UNSET,         "this machine's clock is set" },
	{ WHY_TOKEN_EXPIRED,       "exp is not past" },
	{ WHY_TOKEN_NOT_YET_VALID, "nbf is past" },
	{ WHY_TTL_TOO_LONG,        "exp is no further off than --max-ttl" },
	{ WHY_ISSUER_MISMATCH,     "iss is --issuer" },
	{ WHY_AUDIENCE_MISMATCH,   "aud holds --audience" },
	{ WHY_SUBJECT_DENIED,      "it may read /" },
};

static const char *read_token(char *line, int cap)
{
	if (!fgets(line, cap, stdin))
		return "";
	line[strcspn(line, "\r\n")] = 0;
	return line;
}

static void explain_rest(const struct admit *a, const struct jwt *jwt)
{
	printf("would be let in");
	if (a->once)
		printf(", once, unless the server has seen it%s", jwt->iat_ms == INT64_MAX ?
		    "; without iat a restart of the server forgets that it was used" :
		    " or was started after iat");
	putchar('\n');
}

int explain_token(const struct admit *a, const char *token, int64_t now_ms)
{
	char line[TOKEN_MAX + 3];
	struct jwt jwt;
	enum why why = WHY_TOKEN_MISSING;

	if (a->open) {
		puts("would be let in: --no-auth looks at no token");
		return 0;
	}
	if (!token)
		token = read_token(line, sizeof line);
	if (*token)
		why = jwt_check(&jwt, token, strlen(token), &a->policy, &a->keys, "/", 1, now_ms);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		if (steps[i].why == why) {
			printf("no  %s\nwould be refused: %d %s\n", steps[i].text, why_http(why),
			    why_text(why));
			return 1;
		}
		printf("ok  %s\n", steps[i].text);
	}
	explain_rest(a, &jwt);
	return 0;
}
