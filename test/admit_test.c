/* In the JSON of this file ' stands for ". */
#include "admit.h"
#include "b64.h"
#include "check.h"

#define SECRET "sluice test key, 32 bytes or more"
#define NOW INT64_C(1700000000000)

static struct admit admit;
static struct jwt jwt;

/* As the server is by default, with room for cap tokens. */
static void begin(uint32_t cap)
{
	free(admit.used.entry);		/* the start of its memory */
	memset(&admit, 0, sizeof admit);
	admit.policy.once = true;
	key_set_secret(&admit.keys, (const uint8_t *)SECRET, strlen(SECRET));
	used_init(&admit.used, calloc(1, used_size(cap)), cap, 0);
}

static size_t put_part(char *out, const char *json)
{
	uint8_t plain[512];
	const size_t n = strlen(json);

	for (size_t i = 0; i < n; i++)
		plain[i] = json[i] == '\'' ? '"' : (uint8_t)json[i];
	b64url_encode(out, plain, n);
	return B64URL_LEN(n);
}

/* A token of these claims, that holds until the next but seven. */
static struct span token(const char *claims)
{
	static char ring[8][1024];
	static unsigned turn;
	char *out = ring[turn++ % 8];
	struct hmac_key k;
	uint8_t mac[SHA256_LEN];
	size_t n = put_part(out, "{'alg':'HS256'}");

	out[n++] = '.';
	n += put_part(out + n, claims);
	hmac_key_init(&k, SECRET, strlen(SECRET));
	hmac_sign(&k, out, n, mac);
	out[n++] = '.';
	b64url_encode(out + n, mac, sizeof mac);
	return (struct span){ out, n + 43 };
}

static struct span text(const char *s)
{
	return (struct span){ s, s == NULL ? 0 : strlen(s) };
}

static enum why ask(struct span t, int64_t now_ms)
{
	if (t.p != NULL)
		t.p = (const char *)guard(0, t.p, t.n);
	return admit_token(&admit, &jwt, t, ADMIT_READ, text("/"), now_ms);
}

/* Ask, and take it if it is let in. */
static enum why enter(struct span t, int64_t now_ms)
{
	const enum why why = ask(t, now_ms);

	return why == WHY_OK ? admit_take(&admit, &jwt) : why;
}

static void origins(void)
{
	static const char *const list[] = { "https://a.example", "*.b.example", "null" };
	static const struct { const char *origin; enum why any, listed; } rows[] = {
		{ NULL, WHY_OK, WHY_OK }, { "", WHY_OK, WHY_ORIGIN_DENIED },
		{ "https://a.example", WHY_OK, WHY_OK },
		{ "http://x.b.example:81", WHY_OK, WHY_OK },
		{ "null", WHY_OK, WHY_OK }, { "https://evil.example", WHY_OK, WHY_ORIGIN_DENIED },
		{ "https://b.example", WHY_OK, WHY_ORIGIN_DENIED },
		{ "http://a.example", WHY_OK, WHY_ORIGIN_DENIED },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		begin(1);
		CHECK(admit_origin(&admit, text(rows[i].origin)) == rows[i].any);
		admit.open = true;	/* tokens are not looked at, origins are */
		CHECK(admit_origin(&admit, text(rows[i].origin)) == rows[i].any);
		admit.origin = list;
		admit.norigin = 3;
		if (!CHECK(admit_origin(&admit, text(rows[i].origin)) == rows[i].listed))
			printf("\t%s\n", rows[i].origin);
	}
}

/* One connection, ever; and asking is not taking. */
static void once(void)
{
	const struct span t = token("{'exp':1700000010,'jti':'1'}");
	const struct span other = token("{'exp':1700000010,'jti':'2'}");

	begin(8);
	for (int i = 0; i < 3; i++)
		CHECK(ask(t, NOW) == WHY_OK);
	CHECK(admit.used.n == 0);
	CHECK(enter(t, NOW) == WHY_OK && admit.used.n == 1);
	for (int i = 0; i < 3; i++)
		CHECK(enter(t, NOW + i) == WHY_TOKEN_USED);
	CHECK(enter(other, NOW) == WHY_OK && enter(other, NOW) == WHY_TOKEN_USED);
	CHECK(enter(t, NOW + 9999) == WHY_TOKEN_USED);
	CHECK(enter(t, NOW + 10000) == WHY_TOKEN_EXPIRED);
	CHECK(admit.used.n == 2);	/* nothing was looked at */
	CHECK(ask(token("{'exp':1700000020}"), NOW + 10000) == WHY_OK && admit.used.n == 0);
}

static void many(void)
{
	const struct span t = token("{'exp':1700000010,'iat':1}");

	begin(1);
	admit.policy.once = false;
	admit.used.since_ms = NOW;
	for (int i = 0; i < 5; i++)
		CHECK(enter(t, NOW) == WHY_OK);
	CHECK(enter(token("{'exp':1700000010}"), NOW) == WHY_OK);
	CHECK(admit.used.n == 0 && enter(t, NOW + 10000) == WHY_TOKEN_EXPIRED);
}

static bool covers(unsigned right, const char *p)
{
	return admit_covers(&admit, jwt.key, jwt.grants.s, jwt.grants.n, right, (const uint8_t *)p,
	    strlen(p));
}

/* --no-auth: tokens are not looked at; everyone reads, nobody publishes. */
static void open_to_all(void)
{
	begin(1);
	admit.open = true;
	key_wipe(&admit.keys);
	CHECK(ask(text(NULL), NOW) == WHY_OK && admit_take(&admit, &jwt) == WHY_OK);
	CHECK(enter(text("garbage"), NOW) == WHY_OK && enter(text(""), NOW) == WHY_OK);
	CHECK(enter(token("{'exp':1}"), NOW) == WHY_OK && admit.used.n == 0);
	CHECK(jwt.key == KEY_NONE && jwt.sub.n == 0 && jwt.kid.n == 0);
	CHECK(jwt.session_ms == INT64_MAX);
	CHECK(covers(GRANT_SUB, "/") && covers(GRANT_SUB, "/*") && covers(GRANT_SUB, "/a/+/b"));
	CHECK(!covers(GRANT_PUB, "/") && !covers(GRANT_PUB, "/a"));
	CHECK(admit_token(&admit, &jwt, text(NULL), ADMIT_SESSION, text(NULL), NOW) == WHY_OK);
	CHECK(admit_token(&admit, &jwt, text(NULL), ADMIT_READ, text("/x/y"), NOW) == WHY_OK);
	CHECK(admit_token(&admit, &jwt, text(NULL), ADMIT_PUBLISH, text("/"), NOW) ==
	    WHY_SUBJECT_DENIED);
	admit.policy.once = false;
	admit.enforce_expiry = true;
	CHECK(admit_expiry_ms(&admit, &jwt, NOW) == INT64_MAX);
}

/* What a token is shown for decides which right it needs, and whether single use matters. */
static void purposes(void)
{
	const struct span t = token("{'exp':1700000010,'iat':1600000000,"
	    "'permissions':{'sub':['/r'],'pub':['/p']}}");
	static const struct { enum admit_for what; const char *subject; enum why want; } rows[] = {
		{ ADMIT_READ, "/r", WHY_OK }, { ADMIT_READ, "/p", WHY_SUBJECT_DENIED },
		{ ADMIT_PUBLISH, "/p", WHY_OK }, { ADMIT_PUBLISH, "/r", WHY_SUBJECT_DENIED },
		{ ADMIT_SESSION, NULL, WHY_OK },
	};

	begin(1);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		CHECK(admit_token(&admit, &jwt, t, rows[i].what, text(rows[i].subject), NOW) ==
		    rows[i].want);
	CHECK(admit_take(&admit, &jwt) == WHY_OK && admit.used.n == 1);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		CHECK(admit_token(&admit, &jwt, t, rows[i].what, text(rows[i].subject), NOW) ==
		    (rows[i].want == WHY_OK && rows[i].what != ADMIT_PUBLISH ? WHY_TOKEN_USED :
		    rows[i].want));
	admit.used.since_ms = NOW;
	CHECK(admit_token(&admit, &jwt, t, ADMIT_SESSION, text(NULL), NOW) ==
	    WHY_ISSUED_BEFORE_START);
	CHECK(admit_token(&admit, &jwt, t, ADMIT_PUBLISH, text("/p"), NOW) == WHY_OK);
	CHECK(admit_token(&admit, &jwt, t, ADMIT_PUBLISH, text("/p"), NOW + 10000) ==
	    WHY_TOKEN_EXPIRED);
}

/* A key's ceiling and its token_use bind its tokens. */
static void ceilings(void)
{
	static struct grants most;
	struct json j;
	static const char allowed[] = "{\"sub\":[\"/a/*\"],\"pub\":[\"/a/+\"]}";
	const struct span all = token("{'exp':1700000010,'permissions':{'all':['/*','/']}}");

	begin(4);
	json_init(&j, allowed, sizeof allowed - 1);
	CHECK(grants_read(&most, &j, json_next(&j)));
	key_wipe(&admit.keys);
	CHECK(key_add(&admit.keys, &(struct key_spec){ .p = (const uint8_t *)SECRET,
	    .n = strlen(SECRET), .ceiling = &most, .token_use = KEY_USE_MANY }) == NULL);
	CHECK(admit_token(&admit, &jwt, all, ADMIT_READ, text("/a/b"), NOW) == WHY_OK);
	CHECK(!jwt.once && admit_take(&admit, &jwt) == WHY_OK && admit.used.n == 0);
	CHECK(admit_expiry_ms(&admit, &jwt, NOW) == 10000);
	CHECK(admit_token(&admit, &jwt, all, ADMIT_READ, text("/b"), NOW) == WHY_SUBJECT_DENIED);
	CHECK(admit_token(&admit, &jwt, all, ADMIT_PUBLISH, text("/a/b"), NOW) == WHY_OK);
	CHECK(admit_token(&admit, &jwt, all, ADMIT_PUBLISH, text("/a/b/c"), NOW) ==
	    WHY_SUBJECT_DENIED);
	CHECK(covers(GRANT_SUB, "/a/*") && covers(GRANT_SUB, "/a/+/c") && !covers(GRANT_SUB, "/*"));
	CHECK(covers(GRANT_PUB, "/a/+") && !covers(GRANT_PUB, "/a/*") && !covers(GRANT_PUB, "/"));
	CHECK(ask(token("{'exp':1700000010}"), NOW) == WHY_SUBJECT_DENIED);	/* "/" is beyond it */

	/* A ceiling gives nothing that the token does not. */
	CHECK(admit_token(&admit, &jwt, token("{'exp':1700000010,'permissions':{'sub':['/a/x']}}"),
	    ADMIT_SESSION, text(NULL), NOW) == WHY_OK);
	CHECK(covers(GRANT_SUB, "/a/x") && !covers(GRANT_SUB, "/a/y") && !covers(GRANT_PUB, "/a/x"));
}

/* A token that is refused leaves no trace, whatever it was refused for. */
static void refused(void)
{
	static const struct { const char *claims; enum why want; } rows[] = {
		{ "{'jti':'1'}", WHY_EXP_MISSING }, { "{'exp':'x'}", WHY_CLAIM_INVALID },
		{ "{'exp':1700000000}", WHY_TOKEN_EXPIRED },
		{ "{'exp':1700000010,'nbf':1700000001}", WHY_TOKEN_NOT_YET_VALID },
		{ "{'exp':1700003601}", WHY_TTL_TOO_LONG },
		{ "{'exp':1700000010,'permissions':{}}", WHY_SUBJECT_DENIED },
		{ "{'exp':1700000010,'iat':1600000000}", WHY_ISSUED_BEFORE_START },
		{ "[]", WHY_TOKEN_MALFORMED },
	};
	struct span t;

	begin(8);
	admit.policy.max_ttl_ms = 3600000;
	admit.used.since_ms = NOW - 1000;
	CHECK(enter(text(NULL), NOW) == WHY_TOKEN_MISSING);
	CHECK(enter(text(""), NOW) == WHY_TOKEN_MALFORMED);
	CHECK(enter(text("a.b.c"), NOW) == WHY_TOKEN_MALFORMED);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!CHECK(enter(token(rows[i].claims), NOW) == rows[i].want))
			printf("\t%s\n", rows[i].claims);
	CHECK(admit.used.n == 0);

	/* Denied at one time, it is good at another. */
	t = token("{'exp':1700000010,'nbf':1700000001}");
	CHECK(enter(t, NOW) == WHY_TOKEN_NOT_YET_VALID && enter(t, NOW + 1000) == WHY_OK);
	CHECK(admit.used.n == 1);
}

/* Contract 2: subject_denied, issued_before_start, token_used, ring_full. */
static void order(void)
{
	const struct span t = token("{'exp':1700000010,'iat':1699999999}");
	const struct span fresh = token("{'exp':1700000010,'iat':1700000001}");

	begin(1);
	CHECK(enter(t, NOW) == WHY_OK);
	CHECK(enter(t, NOW) == WHY_TOKEN_USED);		/* and the ring is full, too */
	CHECK(enter(fresh, NOW) == WHY_RING_FULL);
	admit.used.since_ms = NOW;
	CHECK(enter(t, NOW) == WHY_ISSUED_BEFORE_START);
	CHECK(admit_token(&admit, &jwt, t, ADMIT_READ, text("/x"), NOW) == WHY_SUBJECT_DENIED);
	CHECK(ask(text(NULL), NOW) == WHY_TOKEN_MISSING);
	CHECK(admit.used.n == 1);
}

/* iat is earlier than the second in which the ring began. */
static void since(void)
{
	static const struct { const char *iat; enum why want; } rows[] = {
		{ "1700000000", WHY_OK }, { "1700000000.5", WHY_OK }, { "1700000001", WHY_OK },
		{ "1e300", WHY_OK }, { "1699999999", WHY_ISSUED_BEFORE_START },
		{ "1699999999.5", WHY_ISSUED_BEFORE_START },
		{ "1699999999.999", WHY_ISSUED_BEFORE_START }, { "0", WHY_ISSUED_BEFORE_START },
		{ "-1", WHY_ISSUED_BEFORE_START }, { "-1e300", WHY_ISSUED_BEFORE_START },
		{ "1699999999.9999", WHY_ISSUED_BEFORE_START },
	};

	begin(16);
	admit.used.since_ms = NOW;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char claims[100];

		snprintf(claims, sizeof claims, "{'exp':1700000010,'iat':%s}", rows[i].iat);
		if (!CHECK(enter(token(claims), NOW + 2000) == rows[i].want))
			printf("\t%s\n", claims);
	}

	/* One that does not say. */
	CHECK(enter(token("{'exp':1700000010}"), NOW + 2000) == WHY_OK);
}

/* An entry leaves when exp + leeway is past, never earlier, however full the ring is. */
static void leeway(void)
{
	const struct span t = token("{'exp':1700000010}");
	const struct span next = token("{'exp':1700000100}");

	begin(1);
	admit.policy.leeway_ms = 5000;
	CHECK(enter(t, NOW + 14000) == WHY_OK);
	for (int64_t at = 14000; at < 15000; at += 111) {
		CHECK(enter(t, NOW + at) == WHY_TOKEN_USED);
		CHECK(enter(next, NOW + at) == WHY_RING_FULL);
	}
	CHECK(enter(t, NOW + 14999) == WHY_TOKEN_USED && enter(next, NOW + 14999) == WHY_RING_FULL);
	CHECK(enter(t, NOW + 15000) == WHY_TOKEN_EXPIRED);
	CHECK(enter(next, NOW + 15001) == WHY_OK);

	/* The clock steps back: what may have been let go is refused, what is later is not. */
	begin(1);
	CHECK(enter(t, NOW) == WHY_OK && enter(next, NOW + 10001) == WHY_OK);
	CHECK(enter(t, NOW) == WHY_TOKEN_USED);
	CHECK(enter(token("{'exp':1700000009,'jti':'new'}"), NOW) == WHY_TOKEN_USED);
	CHECK(enter(token("{'exp':1700000011}"), NOW) == WHY_RING_FULL);
	begin(2);
	CHECK(enter(t, NOW) == WHY_OK && enter(next, NOW + 10001) == WHY_OK);
	CHECK(enter(token("{'exp':1700000010,'jti':'new'}"), NOW) == WHY_TOKEN_USED);
	CHECK(enter(token("{'exp':1700000010.001}"), NOW) == WHY_OK);
}

static void full(void)
{
	char claims[64];

	begin(100);
	for (int i = 0; i < 150; i++) {
		snprintf(claims, sizeof claims, "{'exp':%d,'jti':'%d'}", 1700000010 + i % 7, i);
		CHECK(enter(token(claims), NOW) == (i < 100 ? WHY_OK : WHY_RING_FULL));
	}
	for (int i = 0; i < 150; i++) {
		snprintf(claims, sizeof claims, "{'exp':%d,'jti':'%d'}", 1700000010 + i % 7, i);
		CHECK(ask(token(claims), NOW) == (i < 100 ? WHY_TOKEN_USED : WHY_RING_FULL));
	}
	CHECK(ask(token("{'exp':1700000020}"), NOW + 10000) == WHY_OK);		/* some are past */
	CHECK(admit.used.n > 0 && admit.used.n < 100);
}

/* The token's end counts with many, or --enforce-expiry. */
static void expiry(void)
{
	enum { OPEN = 1, ONCE = 2, ENFORCE = 4 };
	static const struct { int64_t exp_ms, leeway_ms, want; int how; } rows[] = {
		{ NOW + 10, 0, INT64_MAX, ONCE }, { NOW + 10, 0, 10, ONCE | ENFORCE },
		{ NOW + 10, 0, 10, 0 }, { NOW + 10, 0, 10, ENFORCE }, { NOW + 10, 25, 35, ENFORCE },
		{ INT64_MAX, 0, INT64_MAX - NOW, ENFORCE }, { INT64_MAX, 1, INT64_MAX, ENFORCE },
		{ INT64_MAX, INT64_MAX, INT64_MAX, 0 },
		{ INT64_MAX - 5000, 5000, INT64_MAX - NOW, 0 },
		{ NOW + 10, 0, INT64_MAX, OPEN }, { NOW + 10, 0, INT64_MAX, OPEN | ENFORCE },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		begin(1);
		admit.open = rows[i].how & OPEN;
		admit.enforce_expiry = rows[i].how & ENFORCE;
		admit.policy.leeway_ms = rows[i].leeway_ms;
		jwt.exp_ms = rows[i].exp_ms;
		jwt.once = rows[i].how & ONCE;
		if (!CHECK(admit_expiry_ms(&admit, &jwt, NOW) == rows[i].want))
			printf("\trow %zu\n", i);
	}
}

/* The same from tokens: the end is when jwt_check would say expired. */
static void expiry_of_a_token(void)
{
	begin(4);
	admit.enforce_expiry = true;
	admit.policy.leeway_ms = 2000;
	CHECK(ask(token("{'exp':1700000010.5}"), NOW) == WHY_OK);
	CHECK(admit_expiry_ms(&admit, &jwt, NOW) == 12500);
	CHECK(ask(token("{'exp':1700000010.5}"), NOW + 12499) == WHY_OK);
	CHECK(ask(token("{'exp':1700000010.5}"), NOW + 12500) == WHY_TOKEN_EXPIRED);
	CHECK(ask(token("{'exp':1700000010,'session':0.25}"), NOW) == WHY_OK);
	CHECK(admit_expiry_ms(&admit, &jwt, NOW) == 12000 && jwt.session_ms == 250);
	CHECK(ask(token("{'exp':1e300,'session':1e300}"), NOW) == WHY_OK);
	CHECK(admit_expiry_ms(&admit, &jwt, NOW) == INT64_MAX);
}

CHECK_MAIN(admit, RUN(origins) RUN(once) RUN(many) RUN(open_to_all) RUN(purposes) RUN(ceilings) RUN(refused) RUN(order)
    RUN(since) RUN(leeway) RUN(full) RUN(expiry) RUN(expiry_of_a_token))
