#include "token.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

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

#define LIST_MAX 32

struct list {
	const char *s[LIST_MAX];
	unsigned n;
};

struct request {
	const char *secret_file, *kid, *ttl, *subject, *issuer, *audience, *session;
	struct list sub, pub, all, claim;
	bool allow_weak;
};

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
		fatal(2, "token: %s: not UTF-8", name);
	text_str(t, ",");
	put_string(t, name, strlen(name));
	text_str(t, ":");
	put_string(t, value, strlen(value));
}

static uint64_t seconds(const char *option, const char *s)
{
	char *end;
	const uint64_t v = strtoull(s, &end, 10);

	if (*s < '0' || *s > '9' || *end || v < 1 || v > INT32_MAX)
		fatal(2, "token: --%s %s: wanted seconds, 1 or more", option, s);
	return v;
}

static void put_grants(struct text *t, const char *name, const struct list *l, bool *first)
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
		fatal(2, "token: --claim %s: wanted NAME=JSON", claim);
	json_init(&j, eq + 1, strlen(eq + 1));
	if (!json_skip(&j, json_next(&j)) || json_next(&j) != JSON_DONE)
		fatal(2, "token: --claim %s: the value is no JSON (a string needs its quotes)", claim);
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
	const uint64_t now = (uint64_t)time(NULL);
	uint8_t random[16];
	char jti[B64URL_LEN(sizeof random)];
	bool first = true;

	if (getrandom(random, sizeof random, 0) != sizeof random)
		fatal(1, "token: no random bytes: %s", strerror(errno));
	b64url_encode(jti, random, sizeof random);
	text_str(t, "{\"iat\":");
	text_num(t, now, 1);
	text_str(t, ",\"exp\":");
	text_num(t, now + (r->ttl ? seconds("ttl", r->ttl) : 10), 1);
	text_str(t, ",\"jti\":");
	put_string(t, jti, sizeof jti);
	put_member(t, "sub", r->subject);
	put_member(t, "iss", r->issuer);
	put_member(t, "aud", r->audience);
	if (r->session) {
		text_str(t, ",\"session\":");
		text_num(t, seconds("session", r->session), 1);
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
		fatal(2, "token: --claim: a claim is there twice");
}

static void encode(struct text *token, const struct text *part)
{
	if (part->n > part->cap || token->n + B64URL_LEN(part->n) + 50 > token->cap)
		fatal(2, "token: longer than the 4096 bytes that sluice takes");
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
		fatal(2, "token: --secret-file%s%s: %s", r->secret_file ? " " : "",
		    r->secret_file ? r->secret_file : "", what);
	hmac_key_init(&key, secret, n);
	hmac_sign(&key, token->s, token->n, mac);
	ct_wipe(secret, sizeof secret);
	ct_wipe(&key, sizeof key);
	text_str(token, ".");
	b64url_encode(token->s + token->n, mac, sizeof mac);
	token->n += B64URL_LEN(sizeof mac);
}

static const char help[] =
    "Usage: sluice token [OPTION...]\n"
    "\n"
    "Prints a token (RFC 7519) signed with HS256; it sets iat, exp and a random jti.\n"
    "* may be given several times.\n"
    "\n"
    "  --secret-file FILE     the HMAC secret; or the variable SLUICE_SECRET\n"
    "  --allow-weak-secret    let it have less than 32 bytes\n"
    "  --ttl SECONDS          how long until it expires (10)\n"
    "  --subject SUB          the sub claim: who it is for\n"
    "  --issuer S             the iss claim\n"
    "  --audience S           the aud claim\n"
    "  --kid ID               the name of the key, in the header\n"
    "  --session SECONDS      bound the life of the connection\n"
    "  --allow-sub SUBJECT    grant reading; + and a last * are wildcards *\n"
    "  --allow-pub SUBJECT    grant publishing *\n"
    "  --allow-all SUBJECT    grant both *\n"
    "  --claim NAME=JSON      any other claim *\n";

static void add(struct list *l, const char *option, const char *value)
{
	if (l->n == LIST_MAX)
		fatal(2, "token: --%s %s: too many of them", option, value);
	l->s[l->n++] = value;
}

static void add_pattern(struct list *l, const char *option, const char *value)
{
	if (!subject_pattern_valid((const uint8_t *)value, strlen(value)))
		fatal(2, "token: --%s %s: wanted a subject like /a/b, /a/+ or /a/*", option, value);
	add(l, option, value);
}

static void set(struct request *r, const char *option, const char *value)
{
	const struct { const char *name; const char **field; struct list *list; } table[] = {
		{ "secret-file", &r->secret_file, NULL }, { "kid", &r->kid, NULL },
		{ "ttl", &r->ttl, NULL }, { "subject", &r->subject, NULL },
		{ "issuer", &r->issuer, NULL }, { "audience", &r->audience, NULL },
		{ "session", &r->session, NULL }, { "claim", NULL, &r->claim },
		{ "allow-sub", NULL, &r->sub }, { "allow-pub", NULL, &r->pub },
		{ "allow-all", NULL, &r->all },
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		if (strcmp(option, table[i].name) != 0)
			continue;
		if (!value)
			fatal(2, "token: --%s: wants a value", option);
		if (table[i].field)
			*table[i].field = value;
		else if (table[i].list == &r->claim)
			add(table[i].list, option, value);
		else
			add_pattern(table[i].list, option, value);
		return;
	}
	fatal(2, "token: --%s: no such option; see sluice token --help", option);
}

static void read_arguments(struct request *r, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char *name = argv[i], *eq = strchr(name, '=');

		if (strncmp(name, "--", 2) != 0)
			fatal(2, "token: %s: no such option; see sluice token --help", name);
		name += 2;
		if (strcmp(name, "help") == 0) {
			fputs(help, stdout);
			exit(fflush(stdout) == 0 ? 0 : 1);
		}
		if (strcmp(name, "allow-weak-secret") == 0) {
			r->allow_weak = true;
			continue;
		}
		if (eq)
			*eq = 0;
		set(r, name, eq ? eq + 1 : i + 1 < argc ? argv[++i] : NULL);
	}
}

int token_main(int argc, char **argv)
{
	struct request r = { 0 };
	char s[3][TOKEN_MAX];
	struct text header = { s[0], TOKEN_MAX, 0 }, payload = { s[1], TOKEN_MAX, 0 };
	struct text token = { s[2], TOKEN_MAX, 0 };

	read_arguments(&r, argc, argv);
	write_header(&header, &r);
	write_payload(&payload, &r);
	encode(&token, &header);
	text_str(&token, ".");
	encode(&token, &payload);
	check_names(&payload);
	sign(&token, &r);
	text_str(&token, "\n");
	fwrite(token.s, 1, token.n, stdout);
	return fflush(stdout) == 0 ? 0 : 1;
}
