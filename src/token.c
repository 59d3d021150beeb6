#include "token.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "arg.h"
#include "b64.h"
#include "ct.h"
#include "json.h"
#include "key.h"
#include "limits.h"
#include "log.h"
#include "secret.h"
#include "subject.h"
#include "text.h"
#include "utf8.h"

struct request {
	const char *secret_file, *kid, *subject, *issuer, *audience;
	struct arg_list sub, pub, all, claim;
	uint32_t ttl, session;		/* session 0: none */
	bool     allow_weak;
};

/* A row: its kind, its field, from, to, and the help. */
#define OPTIONS(O) \
	O(TEXT, secret_file, 0, 0, "secret-file FILE     the HMAC secret; or the variable SLUICE_SECRET") \
	O(FLAG, allow_weak, 0, 0, "allow-weak-secret    let it have less than 32 bytes") \
	O(NUMBER, ttl, 1, INT32_MAX, "ttl SECONDS          how long until it expires (10)") \
	O(TEXT, subject, 0, 0, "subject SUB          the sub claim: who it is for") \
	O(TEXT, issuer, 0, 0, "issuer S             the iss claim") \
	O(TEXT, audience, 0, 0, "audience S           the aud claim") \
	O(TEXT, kid, 0, 0, "kid ID               the name of the key, in the header") \
	O(NUMBER, session, 1, INT32_MAX, "session SECONDS      bound the life of the connection") \
	O(LIST, sub, 0, ARG_LIST_MAX, \
	  "allow-sub SUBJECT    grant reading; + and a last * are wildcards *") \
	O(LIST, pub, 0, ARG_LIST_MAX, "allow-pub SUBJECT    grant publishing *") \
	O(LIST, all, 0, ARG_LIST_MAX, "allow-all SUBJECT    grant both *") \
	O(LIST, claim, 0, ARG_LIST_MAX, "claim NAME=JSON      any other claim *") \
	O(HELP, kid, 0, 0, "help                 print this")

#define ROW(kind, field, min, max, text) \
	{ ARG_##kind, offsetof(struct request, field), min, max },
#define TEXT(kind, field, min, max, text) "  --" text "\n"

static const struct arg rows[] = { OPTIONS(ROW) };

static const char help[] =
    "Usage: sluice token [OPTION...]\n"
    "\n"
    "Prints a token (RFC 7519) signed with HS256; it sets iat, exp and a random jti.\n"
    "* may be given several times.\n"
    "\n"
    OPTIONS(TEXT);

static const char *check(size_t at, const char *value)
{
	if (at != offsetof(struct request, sub) && at != offsetof(struct request, pub) &&
	    at != offsetof(struct request, all))
		return NULL;
	return subject_pattern_valid((const uint8_t *)value, strlen(value)) ? NULL :
	    "wanted a subject like /a/b, /a/+ or /a/*";
}

static void put_string(struct text *t, const char *s, size_t n)
{
	const size_t at = text_len(t);

	t->n += json_quote(t->s + at, t->cap - at, s, n);
}

static void put_member(struct text *t, const char *name, const char *value)
{
	if (!value)
		return;
	if (!utf8_valid((const uint8_t *)value, strlen(value)))
		fatal(2, name, ": not UTF-8", NULL);
	text_str(t, ",");
	put_string(t, name, strlen(name));
	text_str(t, ":");
	put_string(t, value, strlen(value));
}

static void put_grants(struct text *t, const char *name, const struct arg_list *l, bool *first)
{
	if (l->n == 0)
		return;
	text_str(t, *first ? ",\"permissions\":{" : ",");
	*first = false;
	put_string(t, name, strlen(name));
	text_str(t, ":[");
	for (unsigned i = 0; i < l->n; i++) {
		text_str(t, i ? "," : "");
		put_string(t, l->s[i], strlen(l->s[i]));
	}
	text_str(t, "]");
}

static void put_claim(struct text *t, const char *claim)
{
	const char *eq = strchr(claim, '=');
	struct json j;

	if (!eq || eq == claim || !utf8_valid((const uint8_t *)claim, (size_t)(eq - claim)))
		fatal(2, "--claim ", claim, ": wanted NAME=JSON", NULL);
	json_init(&j, eq + 1, strlen(eq + 1));
	if (!json_skip(&j, json_next(&j)) || json_next(&j) != JSON_DONE)
		fatal(2, "--claim ", claim, ": the value is no JSON (a string needs its quotes)", NULL);
	text_str(t, ",");
	put_string(t, claim, (size_t)(eq - claim));
	text_str(t, ":");
	text_str(t, eq + 1);
}

static void write_header(struct text *t, const struct request *r)
{
	text_str(t, "{\"alg\":\"HS256\",\"typ\":\"JWT\"");
	put_member(t, "kid", r->kid);
	text_str(t, "}");
}

static void write_payload(struct text *t, const struct request *r)
{
	struct timespec now;
	uint8_t random[16];
	char jti[B64URL_LEN(sizeof random)];
	bool first = true;

	if (getrandom(random, sizeof random, 0) != sizeof random)
		fatal(1, "no random bytes: ", strerror(errno), NULL);
	b64url_encode(jti, random, sizeof random);
	clock_gettime(CLOCK_REALTIME, &now);
	text_str(t, "{\"iat\":");
	text_num(t, (uint64_t)now.tv_sec, 1);
	text_str(t, ",\"exp\":");
	text_num(t, (uint64_t)now.tv_sec + r->ttl, 1);
	text_str(t, ",\"jti\":");
	put_string(t, jti, sizeof jti);
	put_member(t, "sub", r->subject);
	put_member(t, "iss", r->issuer);
	put_member(t, "aud", r->audience);
	if (r->session) {
		text_str(t, ",\"session\":");
		text_num(t, r->session, 1);
	}
	put_grants(t, "sub", &r->sub, &first);
	put_grants(t, "pub", &r->pub, &first);
	put_grants(t, "all", &r->all, &first);
	text_str(t, first ? "" : "}");
	for (unsigned i = 0; i < r->claim.n; i++)
		put_claim(t, r->claim.s[i]);
	text_str(t, "}");
}

/* Two members of one name are what our own reader refuses. */
static void check_names(const struct text *t)
{
	struct json j;

	json_init(&j, t->s, t->n);
	if (!json_skip(&j, json_next(&j)) || json_next(&j) != JSON_DONE)
		fatal(2, "--claim: a claim is there twice", NULL);
}

static void encode(struct text *token, const struct text *part)
{
	if (part->n > part->cap || token->n + B64URL_LEN(part->n) + 50 > token->cap)
		fatal(2, "the token is longer than the 4096 bytes that sluice takes", NULL);
	b64url_encode(token->s + token->n, (const uint8_t *)part->s, part->n);
	token->n += B64URL_LEN(part->n);
}

static void sign(struct text *token, const struct request *r)
{
	uint8_t secret[SECRET_MAX], mac[SHA256_LEN];
	struct hmac_key key;
	size_t n;
	const char *what = secret_read(secret, &n, r->secret_file, r->allow_weak);

	if (what)
		fatal(2, "--secret-file", r->secret_file ? " " : "", r->secret_file ? r->secret_file : "",
		    ": ", what, NULL);
	hmac_key_init(&key, secret, n);
	hmac_sign(&key, token->s, token->n, mac);
	ct_wipe(secret, sizeof secret);
	ct_wipe(&key, sizeof key);
	text_str(token, ".");
	b64url_encode(token->s + token->n, mac, sizeof mac);
	token->n += B64URL_LEN(sizeof mac);
}

void token_main(int argc, char **argv)
{
	struct request r = { .ttl = 10 };
	struct args args = { .help = help, .row = rows, .command = "sluice token", .check = check };
	char s[3][TOKEN_MAX];
	struct text header = { s[0], TOKEN_MAX, 0 }, payload = { s[1], TOKEN_MAX, 0 };
	struct text token = { s[2], TOKEN_MAX, 0 };

	args_read(&args, &r, argc, argv);
	write_header(&header, &r);
	write_payload(&payload, &r);
	encode(&token, &header);
	text_str(&token, ".");
	encode(&token, &payload);
	check_names(&payload);
	sign(&token, &r);
	text_str(&token, "\n");
	args_answer(0, token.s, token.n);
}
