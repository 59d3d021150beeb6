#include "token.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "arg.h"
#include "b64.h"
#include "json.h"
#include "keys.h"
#include "limits.h"
#include "log.h"
#include "secret.h"
#include "subject.h"
#include "text.h"
#include "utf8.h"

struct request {
	const char *secret_file, *keys, *kid, *subject, *issuer, *audience;
	struct arg_list sub, pub, all, claim;
	uint32_t ttl, session;		/* session 0: none */
	bool     allow_weak;
};

/* A row: its kind, its field, from, to, and the help. */
#define OPTIONS(O) \
	O(TEXT, secret_file, 0, 0, "secret-file FILE     the HMAC secret; or the variable SLUICE_SECRET") \
	O(TEXT, keys, 0, 0, "keys FILE            or the oct key that --kid names, of a JWK Set") \
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
    "Prints a signed token (RFC 7519); it sets iat, exp and a random jti.\n"
    "* may be given several times.\n"
    "\n"
    OPTIONS(TEXT);

static const char *check(size_t at, const char *value)
{
	const uint8_t *s = (const uint8_t *)value;
	const size_t n = strlen(value);

	switch (at) {
	case offsetof(struct request, keys):
		return keys_check(value);
	case offsetof(struct request, subject):
	case offsetof(struct request, issuer):
	case offsetof(struct request, audience):
	case offsetof(struct request, kid):
		return utf8_valid(s, n) ? NULL : "wanted UTF-8";
	case offsetof(struct request, sub):
	case offsetof(struct request, pub):
	case offsetof(struct request, all):
		return subject_pattern_valid(s, n) ? NULL : "wanted a subject like /a/b, /a/+ or /a/*";
	default:
		return NULL;
	}
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

static void write_header(struct text *t, const struct request *r, enum key_alg alg)
{
	text_all(t, "{\"alg\":\"", key_alg_name(alg), "\",\"typ\":\"JWT\"", NULL);
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
		fatal(2, "--claim: a claim is there twice; sluice sets iat, exp and jti itself", NULL);
}

static void encode(struct text *token, const struct text *part)
{
	if (part->n > part->cap || token->n + B64URL_LEN(part->n) + 2 + B64URL_LEN(KEY_MAC_MAX) > token->cap)
		fatal(2, "the token is longer than the 4096 bytes that sluice takes", NULL);
	b64url_encode(token->s + token->n, (const uint8_t *)part->s, part->n);
	token->n += B64URL_LEN(part->n);
}

/* The key to sign with: the secret, or with --keys the one that --kid names. */
static uint8_t find_key(struct keyring *k, const struct request *r)
{
	const struct arg_list files = { .s = { r->keys }, .n = r->keys != NULL };
	const struct keys_from from = { .secret_file = r->secret_file, .files = &files,
		.allow_weak = r->allow_weak, .files_only = r->keys && !r->secret_file };
	struct keys_bad bad;
	uint8_t key = 0;

	if (r->keys && (r->secret_file || !r->kid))
		fatal(2, "--keys: goes with --kid, and not with --secret-file", NULL);
	if (!r->keys && !r->secret_file && !secret_in_environment())
		fatal(2, "--secret-file: wanted, or --keys and --kid, or the variable SLUICE_SECRET",
		    NULL);
	if (!keys_read(k, &from, NULL, &bad))
		fatal(2, "--", bad.option, bad.value ? " " : "", bad.value ? bad.value : "", ": ", bad.what,
		    NULL);
	if (r->keys)
		key = key_find(k, (const uint8_t *)r->kid, strlen(r->kid));
	if (key == KEY_NONE)
		fatal(2, "--kid ", r->kid, ": no such key in --keys", NULL);
	if (!key_is_secret(k, key))
		fatal(2, "--kid ", r->kid, ": is no oct key, and so cannot sign", NULL);
	return key;
}

static void sign(struct text *token, const struct keyring *k, uint8_t key)
{
	uint8_t mac[KEY_MAC_MAX];
	const size_t n = key_sign(k, key, token->s, token->n, mac);

	text_str(token, ".");
	b64url_encode(token->s + token->n, mac, n);
	token->n += B64URL_LEN(n);
}

void token_main(int argc, char **argv)
{
	static struct keyring keys;
	struct request r = { .ttl = 10 };
	struct args args = { .help = help, .row = rows, .command = "sluice token", .check = check };
	char s[3][TOKEN_MAX];
	struct text header = { s[0], TOKEN_MAX, 0 }, payload = { s[1], TOKEN_MAX, 0 };
	struct text token = { s[2], TOKEN_MAX, 0 };

	args_read(&args, &r, argc, argv);
	const uint8_t key = find_key(&keys, &r);

	write_header(&header, &r, keys.key[key].alg);
	write_payload(&payload, &r);
	encode(&token, &header);
	text_str(&token, ".");
	encode(&token, &payload);
	check_names(&payload);
	sign(&token, &keys, key);
	key_wipe(&keys);
	text_str(&token, "\n");
	args_answer(0, token.s, token.n);
}
