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
	admit.once = true;
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
	return admit_token(&admit, &jwt, t, text("/"), now_ms);
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
	admit.once = false;
	admit.used.since_ms = NOW;
	for (int i = 0; i < 5; i++)
		CHECK(enter(t, NOW) == WHY_OK);
	CHECK(enter(token("{'exp':1700000010}"), NOW) == WHY_OK);
	CHECK(admit.used.n == 0 && enter(t, NOW + 10000) == WHY_TOKEN_EXPIRED);
}

/* --no-auth: tokens are not looked at. */
static void open_to_all(void)
{
	enum why why;

	begin(1);
	admit.open = true;
	key_wipe(&admit.keys);
	CHECK(ask(text(NULL), NOW) == WHY_OK && admit_take(&admit, &jwt) == WHY_OK);
	CHECK(enter(text("garbage"), NOW) == WHY_OK && enter(text(""), NOW) == WHY_OK);
	CHECK(enter(token("{'exp':1}"), NOW) == WHY_OK && admit.used.n == 0);
	admit.once = false;
	admit.enforce_expiry = true;
	CHECK(admit_life_ms(&admit, &jwt, NOW, &why) == INT64_MAX);
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
	CHECK(admit_token(&admit, &jwt, t, text("/x"), NOW) == WHY_SUBJECT_DENIED);
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

/* A session ends after so long; the token's end counts with many, or --enforce-expiry. */
static void life(void)
{
	enum { OPEN = 1, ONCE = 2, ENFORCE = 4 };
	static const struct {
		int64_t session_ms, exp_ms, leeway_ms, want;
		enum why why;
		int how;
	} rows[] = {
		{ INT64_MAX, NOW + 10, 0, INT64_MAX, 0, ONCE },
		{ 500, NOW + 10, 0, 500, WHY_SESSION_ENDED, ONCE },
		{ INT64_MAX, NOW + 10, 0, 10, WHY_TOKEN_EXPIRED, ONCE | ENFORCE },
		{ INT64_MAX, NOW + 10, 0, 10, WHY_TOKEN_EXPIRED, 0 },
		{ INT64_MAX, NOW + 10, 0, 10, WHY_TOKEN_EXPIRED, ENFORCE },
		{ INT64_MAX, NOW + 10, 25, 35, WHY_TOKEN_EXPIRED, ENFORCE },
		{ 500, NOW + 10, 0, 10, WHY_TOKEN_EXPIRED, 0 },
		{ 500, NOW + 501, 0, 500, WHY_SESSION_ENDED, 0 },
		{ 500, NOW + 499, 0, 499, WHY_TOKEN_EXPIRED, ONCE | ENFORCE },
		{ 500, NOW + 499, 10, 500, WHY_SESSION_ENDED, ONCE | ENFORCE },
		{ 1, NOW + 3600000, 0, 1, WHY_SESSION_ENDED, ONCE | ENFORCE },
		{ INT64_MAX, INT64_MAX, 0, INT64_MAX - NOW, WHY_TOKEN_EXPIRED, ENFORCE },
		{ INT64_MAX, INT64_MAX, 1, INT64_MAX, 0, ENFORCE },
		{ 500, INT64_MAX, 5000, 500, WHY_SESSION_ENDED, 0 },
		{ 500, INT64_MAX, INT64_MAX, 500, WHY_SESSION_ENDED, 0 },
		{ INT64_MAX, INT64_MAX - 5000, 5000, INT64_MAX - NOW, WHY_TOKEN_EXPIRED, 0 },
		{ 500, NOW + 10, 0, INT64_MAX, 0, OPEN },
		{ 500, NOW + 10, 0, INT64_MAX, 0, OPEN | ENFORCE },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		enum why why = WHY_COUNT;

		begin(1);
		admit.open = rows[i].how & OPEN;
		admit.once = rows[i].how & ONCE;
		admit.enforce_expiry = rows[i].how & ENFORCE;
		admit.policy.leeway_ms = rows[i].leeway_ms;
		jwt = (struct jwt){ .exp_ms = rows[i].exp_ms, .iat_ms = INT64_MAX,
			.session_ms = rows[i].session_ms };
		const int64_t left = admit_life_ms(&admit, &jwt, NOW, &why);

		if (!CHECK(left == rows[i].want && (left == INT64_MAX || why == rows[i].why)))
			printf("\trow %zu\n", i);
	}
}

/* The same from tokens: the end is when jwt_check would say expired. */
static void life_of_a_token(void)
{
	enum why why;

	begin(4);
	admit.enforce_expiry = true;
	admit.policy.leeway_ms = 2000;
	CHECK(ask(token("{'exp':1700000010.5}"), NOW) == WHY_OK);
	CHECK(admit_life_ms(&admit, &jwt, NOW, &why) == 12500 && why == WHY_TOKEN_EXPIRED);
	CHECK(ask(token("{'exp':1700000010.5}"), NOW + 12499) == WHY_OK);
	CHECK(ask(token("{'exp':1700000010.5}"), NOW + 12500) == WHY_TOKEN_EXPIRED);
	CHECK(ask(token("{'exp':1700000010,'session':0.25}"), NOW) == WHY_OK);
	CHECK(admit_life_ms(&admit, &jwt, NOW, &why) == 250 && why == WHY_SESSION_ENDED);
	CHECK(ask(token("{'exp':1e300,'session':1e300}"), NOW) == WHY_OK);
	CHECK(admit_life_ms(&admit, &jwt, NOW, &why) == INT64_MAX);
}

CHECK_MAIN(admit, RUN(origins) RUN(once) RUN(many) RUN(open_to_all) RUN(refused) RUN(order)
    RUN(since) RUN(leeway) RUN(full) RUN(life) RUN(life_of_a_token))
