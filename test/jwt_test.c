/* In the JSON of this file ' stands for ". */
#include "b64.h"
#include "check.h"
#include "jwt.h"

#define SECRET "sluice test key, 32 bytes or more"
#define HS256 "{'alg':'HS256'}"
#define NOW INT64_C(1700000000000)
#define EXP "'exp':1700000010"

static struct jwt jwt;
static struct jwt_policy policy;
static struct keyring keys;
static const char *subject;
static int64_t now_ms;
static char text[16384];	/* the token that was signed last */

static void defaults(void)
{
	policy = (struct jwt_policy){ .max_ttl_ms = 3600000 };
	key_set_secret(&keys, (const uint8_t *)SECRET, strlen(SECRET));
	subject = "/";
	now_ms = NOW;
}

/* Is it good to read the subject? */
static enum why check_token(const char *token, size_t n)
{
	const size_t sn = strlen(subject);
	const enum why why = jwt_check(&jwt, (const char *)guard(0, token, n), n, &policy, &keys,
	    now_ms);

	if (why != WHY_OK)
		return why;
	return grants_cover(jwt.grants.s, jwt.grants.n, GRANT_SUB, guard(1, subject, sn), sn) ?
	    WHY_OK : WHY_SUBJECT_DENIED;
}

static size_t put_part(char *out, const char *json)
{
	static uint8_t plain[8192];
	const size_t n = strlen(json);

	for (size_t i = 0; i < n; i++)
		plain[i] = json[i] == '\'' ? '"' : (uint8_t)json[i];
	b64url_encode(out, plain, n);
	return B64URL_LEN(n);
}

/* Sign the n characters in text; returns the token's length. */
static size_t sign_text(const char *secret, size_t n)
{
	struct hmac_key k;
	uint8_t mac[SHA256_LEN];

	hmac_key_init(&k, secret, strlen(secret));
	hmac_sign(&k, text, n, mac);
	text[n++] = '.';
	b64url_encode(text + n, mac, sizeof mac);
	return n + 43;
}

static size_t sign(const char *secret, const char *header, const char *payload)
{
	size_t n = put_part(text, header);

	text[n++] = '.';
	n += put_part(text + n, payload);
	return sign_text(secret, n);
}

static enum why check(const char *header, const char *payload)
{
	return check_token(text, sign(SECRET, header, payload));
}

/* RFC 7515 A.1: issued by joe, expired in 2011. */
static void rfc7515_a1(void)
{
	static const char key[] = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0"
	    "iPS4hcgUuTwjAzZr1Z9CAow";
	static const char token[] =
	    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA"
	    "4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB9"
	    "2K27uhbUJU1p1r_wW1gFWFOEjXk";
	const int64_t exp_ms = INT64_C(1300819380000);
	static const struct {
		struct jwt_policy policy;
		int64_t now_ms;
		const char *subject;
		enum why want;
	} rows[] = {
		{ { 0 }, INT64_C(1300819379999), "/", WHY_OK },
		{ { 0 }, INT64_C(1300819380000), "/", WHY_TOKEN_EXPIRED },
		{ { .leeway_ms = 1 }, INT64_C(1300819380000), "/", WHY_OK },
		{ { .leeway_ms = 1 }, INT64_C(1300819380001), "/", WHY_TOKEN_EXPIRED },
		{ { .max_ttl_ms = 1000 }, INT64_C(1300819379000), "/", WHY_OK },
		{ { .max_ttl_ms = 1000 }, INT64_C(1300819378999), "/", WHY_TTL_TOO_LONG },
		{ { .issuer = "joe" }, 0, "/", WHY_OK },
		{ { .issuer = "Joe" }, 0, "/", WHY_ISSUER_MISMATCH },
		{ { .audience = "joe" }, 0, "/", WHY_AUDIENCE_MISMATCH },
		{ { .built_ms = 1 }, 0, "/", WHY_CLOCK_UNSET },
		{ { 0 }, 0, "/x", WHY_SUBJECT_DENIED },
	};
	uint8_t secret[80];
	size_t n;

	defaults();
	CHECK(check_token(token, sizeof token - 1) == WHY_SIGNATURE_INVALID);
	CHECK(b64url_decode(secret, &n, (const uint8_t *)key, sizeof key - 1) && n == 64);
	key_set_secret(&keys, secret, n);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		policy = rows[i].policy;
		now_ms = rows[i].now_ms;
		subject = rows[i].subject;
		if (!CHECK(check_token(token, sizeof token - 1) == rows[i].want))
			printf("\trow %zu\n", i);
	}
	CHECK(jwt.exp_ms == exp_ms && jwt.sub.n == 0 && jwt.kid.n == 0);
	CHECK(jwt.iat_ms == INT64_MAX && jwt.session_ms == INT64_MAX);
}

/* From PyJWT 2.6.0 (Debian's python3-jwt), with SECRET. */
static void made_elsewhere(void)
{
	static const char *const good[] = {
		/* {"exp": 4102444800} */
		"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjQxMDI0NDQ4MDB9.SgUUhGXcI_"
		"hKR0L8YvVXWQbnX63181BnvvUUw4kiQsA",
		/* iss, sub alice, aud of two, nbf, iat 1600000000.25, jti, session 90; kid plant */
		"eyJhbGciOiJIUzI1NiIsImtpZCI6InBsYW50IiwidHlwIjoiSldUIn0.eyJpc3MiOiJodHRw"
		"czovL2lzc3Vlci5leGFtcGxlIiwic3ViIjoiYWxpY2UiLCJhdWQiOlsic2x1aWNlIiwib3Ro"
		"ZXIiXSwiZXhwIjo0MTAyNDQ0ODAwLCJuYmYiOjE2MDAwMDAwMDAsImlhdCI6MTYwMDAwMDAw"
		"MC4yNSwianRpIjoiMSIsInNlc3Npb24iOjkwfQ.NtVUXRXwpWUl1WcfGIhk18ajMQkSA1cAI"
		"g0pl1giVCg",
		/* permissions; sub with escapes; typ at+jwt */
		"eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJleHAiOjQxMDI0NDQ4MDAsInN1YiI"
		"6ImNhZlx1MDBlOSBcdWQ4MzRcdWRkMWUiLCJwZXJtaXNzaW9ucyI6eyJzdWIiOlsiL3BsYW5"
		"0LyoiXSwicHViIjpbIi9wbGFudC9jbWQiXSwiYWxsIjpbIi9jaGF0LysiXX19.K5nRAclj4I"
		"plqPBl8nyg0NBU9Igc9bP36ulW9OgP9lg",
	};
	/* {"exp": 1600000000}, and the first one with HS512 */
	static const char expired[] =
	    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjE2MDAwMDAwMDB9.qPzWxbTvTYS8mL"
	    "1Ag_e9t8DxmIxMd63lVJVW0vX-qH4";
	static const char hs512[] =
	    "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.eyJleHAiOjQxMDI0NDQ4MDB9.ln-JxUfdpNzyxj"
	    "ZeJbJqUW_GjJyYQg1EaPoa4rikzaT8nfwvdiaz6GVBk0WhSf3osgbXyU5V1B2R93ZukpABCQ";

	defaults();
	policy.max_ttl_ms = 0;
	CHECK(check_token(good[0], strlen(good[0])) == WHY_OK);
	CHECK(jwt.exp_ms == INT64_C(4102444800000) && jwt.iat_ms == INT64_MAX);
	policy.issuer = "https://issuer.example";
	policy.audience = "sluice";
	CHECK(check_token(good[1], strlen(good[1])) == WHY_OK);
	CHECK(jwt.iat_ms == INT64_C(1600000000250) && jwt.session_ms == 90000);
	CHECK(jwt.sub.n == 5 && memcmp(jwt.sub.s, "alice", 5) == 0);
	CHECK(jwt.kid.n == 5 && memcmp(jwt.kid.s, "plant", 5) == 0);
	CHECK(check_token(good[0], strlen(good[0])) == WHY_ISSUER_MISMATCH);
	policy.issuer = policy.audience = NULL;
	CHECK(check_token(good[2], strlen(good[2])) == WHY_SUBJECT_DENIED);
	subject = "/chat/1";
	CHECK(check_token(good[2], strlen(good[2])) == WHY_OK);
	CHECK(jwt.sub.n == 10 && memcmp(jwt.sub.s, "caf\xc3\xa9 \xf0\x9d\x84\x9e", 10) == 0);
	subject = "/plant/cmd";
	CHECK(check_token(good[2], strlen(good[2])) == WHY_OK);
	CHECK(check_token(expired, sizeof expired - 1) == WHY_TOKEN_EXPIRED);
	CHECK(check_token(hs512, sizeof hs512 - 1) == WHY_ALG_NOT_ALLOWED);
}

/* Contract 2, "checked in this order". */
enum fault { MALFORMED, ALG, KEY, SIGNATURE, PAYLOAD, NO_EXP, CLAIM, CLOCK, EXPIRED, EARLY, TTL,
	ISSUER, AUDIENCE, SUBJECT, FAULTS };

static const enum why reason[FAULTS + 1] = {
	WHY_TOKEN_MALFORMED, WHY_ALG_NOT_ALLOWED, WHY_KEY_UNKNOWN, WHY_SIGNATURE_INVALID,
	WHY_TOKEN_MALFORMED, WHY_EXP_MISSING, WHY_CLAIM_INVALID, WHY_CLOCK_UNSET, WHY_TOKEN_EXPIRED,
	WHY_TOKEN_NOT_YET_VALID, WHY_TTL_TOO_LONG, WHY_ISSUER_MISMATCH, WHY_AUDIENCE_MISMATCH,
	WHY_SUBJECT_DENIED, WHY_OK,
};

static enum why check_faults(unsigned faults)
{
#define HAS(fault) (faults >> (fault) & 1)
	char header[64], payload[256];

	defaults();
	policy.issuer = "i";
	policy.audience = "a";
	policy.built_ms = NOW + HAS(CLOCK);
	if (HAS(KEY))
		key_wipe(&keys);
	if (HAS(SUBJECT))
		subject = "/x";
	snprintf(header, sizeof header, "{'alg':'%s'%s}", HAS(ALG) ? "none" : "HS256",
	    HAS(MALFORMED) ? ",'crit':['x']" : "");
	snprintf(payload, sizeof payload, "{'jti':%s,'nbf':%s,'iss':'%s','aud':'%s'%s%s}%s",
	    HAS(CLAIM) ? "1" : "'1'", HAS(EARLY) ? "1700000001" : "1700000000",
	    HAS(ISSUER) ? "j" : "i", HAS(AUDIENCE) ? "b" : "a", HAS(NO_EXP) ? "" : ",'exp':",
	    HAS(NO_EXP) ? "" : HAS(EXPIRED) ? "1700000000" : HAS(TTL) ? "1700003601" : "1700003600",
	    HAS(PAYLOAD) ? "," : "");
	return check_token(text, sign(HAS(SIGNATURE) ? "another" : SECRET, header, payload));
}

/* Of all the faults that one token can have at once, the first is named. */
static void order(void)
{
	for (unsigned faults = 0; faults < 1u << FAULTS; faults++) {
		if (HAS(NO_EXP) + HAS(EXPIRED) + HAS(TTL) > 1)
			continue;
		const enum why why = check_faults(faults);
		int first = 0;

		while (first < FAULTS && !HAS(first))
			first++;
		if (!CHECK(why == reason[first]) && check_bad <= CHECK_SHOWN)
			printf("\tfaults %#x: %s\n", faults, why_text(why));
	}
#undef HAS
}

#define NEST15 "[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]"

static void headers(void)
{
	static const struct { const char *header; enum why want; } rows[] = {
		{ HS256, WHY_OK }, { "{'alg':'HS256','typ':'JWT'}", WHY_OK },
		{ "{'typ':'jwt','alg':'HS256'}", WHY_OK },
		{ "{'typ':'JwT','alg':'HS256'}", WHY_OK },
		{ "{'typ':'at+jwt','alg':'HS256'}", WHY_OK },
		{ "{'typ':'AT+JWT','alg':'HS256'}", WHY_OK },
		{ "{'typ':'J\\u0057T','alg':'HS256'}", WHY_OK },
		{ " {\r\n'alg' :\t'HS256' } \n", WHY_OK },
		{ "{'\\u0061lg':'HS2\\u00356'}", WHY_OK },
		{ "{'alg':'HS256','kid':'a','x':[1,{'alg':'none','crit':1}],'cty':'JWT'}", WHY_OK },
		{ "{'alg':'HS256','x':" NEST15 "}", WHY_OK }, { "{'alg':'HS256','':0}", WHY_OK },
		{ "{'alg':'HS256','Crit':1,'B64':true}", WHY_OK },
		{ "{'alg':'HS256','kid':''}", WHY_OK },

		{ "{}", WHY_ALG_NOT_ALLOWED }, { "{'alg':'none'}", WHY_ALG_NOT_ALLOWED },
		{ "{'alg':'None'}", WHY_ALG_NOT_ALLOWED },
		{ "{'alg':'hs256'}", WHY_ALG_NOT_ALLOWED },
		{ "{'alg':'HS256 '}", WHY_ALG_NOT_ALLOWED }, { "{'alg':''}", WHY_ALG_NOT_ALLOWED },
		{ "{'alg':'HS384'}", WHY_ALG_NOT_ALLOWED },
		{ "{'alg':'HS512'}", WHY_ALG_NOT_ALLOWED },
		{ "{'alg':'RS256'}", WHY_ALG_NOT_ALLOWED },
		{ "{'alg':'ES256'}", WHY_ALG_NOT_ALLOWED },
		{ "{'alg':null}", WHY_ALG_NOT_ALLOWED }, { "{'alg':256}", WHY_ALG_NOT_ALLOWED },
		{ "{'alg':['HS256']}", WHY_ALG_NOT_ALLOWED },
		{ "{'ALG':'HS256'}", WHY_ALG_NOT_ALLOWED },
		{ "{'alg':{'alg':'HS256'}}", WHY_ALG_NOT_ALLOWED },
		{ "{'alg':'HS256\\u0000'}", WHY_ALG_NOT_ALLOWED },
		{ "{'alg':'HS25'}", WHY_ALG_NOT_ALLOWED },
		{ "{'alg':'HS2566'}", WHY_ALG_NOT_ALLOWED },
		{ "{'alg':'HS256HS256HS256HS256HS256'}", WHY_ALG_NOT_ALLOWED },
		{ "{'x':{'alg':'HS256'}}", WHY_ALG_NOT_ALLOWED },
	};

	defaults();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!CHECK(check(rows[i].header, "{" EXP "}") == rows[i].want))
			printf("\t%s\n", rows[i].header);
}

static void malformed_headers(void)
{
	static const char *const rows[] = {
		"[]", "'HS256'", "1", "null", " ", "{", "{'alg':'HS256'", "{'alg':'HS256',}",
		"{'alg':'HS256'}}", "{'alg':'HS256'}{}", "[{'alg':'HS256'}]", "{alg:'HS256'}",
		"\xef\xbb\xbf{'alg':'HS256'}", "{'alg':'HS256','alg':'HS256'}",
		"{'alg':'none','alg':'HS256'}", "{'alg':'HS256','\\u0061lg':'none'}",
		"{'alg':'HS256','x':{'a':1,'a':2}}", "{'alg':'HS256','x':[" NEST15 "]}",
		"{'alg':'HS256','x':'\xff'}", "{'alg':'HS256','x':'\\ud800'}",
		"{'alg':'HS256','x':01}", "{'alg':'HS256','crit':['exp']}",
		"{'alg':'HS256','crit':[]}", "{'alg':'none','crit':null}",
		"{'alg':'HS256','cri\\u0074':0}", "{'alg':'HS256','b64':false}",
		"{'alg':'HS256','b64':true}", "{'alg':'HS256','typ':'JWS'}",
		"{'alg':'HS256','typ':'JWT '}", "{'alg':'HS256','typ':''}",
		"{'alg':'HS256','typ':'xt+jwt'}",
		"{'alg':'HS256','typ':null}", "{'alg':'HS256','typ':['JWT']}",
		"{'alg':'HS256','typ':'application/jwt'}", "{'alg':'HS256','typ':'JW\\u0000'}",
		"{'alg':'HS256','kid':1}",	/* RFC 7515 4.1.4 */
	};

	defaults();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!CHECK(check(rows[i], "{" EXP "}") == WHY_TOKEN_MALFORMED))
			printf("\t%s\n", rows[i]);
}

static void payloads(void)
{
	static const struct { const char *payload; enum why want; } rows[] = {
		{ "{" EXP "}", WHY_OK }, { " {\n" EXP "\r\n}\t", WHY_OK },
		{ "{'\\u0065xp':1700000010}", WHY_OK }, { "{" EXP ",'x':" NEST15 "}", WHY_OK },
		{ "{'a':{'exp':'x','nbf':1e400}," EXP "}", WHY_OK },
		{ "{" EXP ",'EXP':'x','Nbf':null}", WHY_OK }, { "{" EXP ",'crit':['x']}", WHY_OK },
		{ "{" EXP ",'n':1e400}", WHY_OK },

		{ "{}", WHY_EXP_MISSING }, { "{'a':{" EXP "}}", WHY_EXP_MISSING },
		{ "{'EXP':1700000010}", WHY_EXP_MISSING },
		{ "{'exp ':1700000010}", WHY_EXP_MISSING },
		{ "{'iss':1,'nbf':'x'}", WHY_EXP_MISSING }, { "{'ex\\u0000p':1}", WHY_EXP_MISSING },

		{ "[]", WHY_TOKEN_MALFORMED }, { "'" EXP "'", WHY_TOKEN_MALFORMED },
		{ "null", WHY_TOKEN_MALFORMED }, { "1700000010", WHY_TOKEN_MALFORMED },
		{ "[{" EXP "}]", WHY_TOKEN_MALFORMED }, { "{" EXP "}x", WHY_TOKEN_MALFORMED },
		{ "{" EXP ",}", WHY_TOKEN_MALFORMED }, { "{" EXP, WHY_TOKEN_MALFORMED },
		{ "{" EXP "," EXP "}", WHY_TOKEN_MALFORMED },
		{ "{" EXP ",'e\\u0078p':1}", WHY_TOKEN_MALFORMED },
		{ "{" EXP ",'x':{'a':1,'b':2,'a':3}}", WHY_TOKEN_MALFORMED },
		{ "{" EXP ",'x':[" NEST15 "]}", WHY_TOKEN_MALFORMED },
		{ "{" EXP ",'x':'\xc0\xaf'}", WHY_TOKEN_MALFORMED },
		{ "{" EXP ",'x':'\xed\xa0\x80'}", WHY_TOKEN_MALFORMED },
		{ "{" EXP ",'x':'\\udc00'}", WHY_TOKEN_MALFORMED },
		{ "{" EXP ",'x':'\n'}", WHY_TOKEN_MALFORMED },
		{ "{" EXP ",'x':nul}", WHY_TOKEN_MALFORMED },
		{ "\xef\xbb\xbf{" EXP "}", WHY_TOKEN_MALFORMED },
		{ "{exp:1}", WHY_TOKEN_MALFORMED },
		{ "{'x':,'y':1}", WHY_TOKEN_MALFORMED }, { "{'exp':+1}", WHY_TOKEN_MALFORMED },
		{ "{'exp':01}", WHY_TOKEN_MALFORMED }, { "{'exp':1.}", WHY_TOKEN_MALFORMED },
		{ "{'exp':.5}", WHY_TOKEN_MALFORMED }, { "{'exp':0x10}", WHY_TOKEN_MALFORMED },
		{ "{'exp':NaN}", WHY_TOKEN_MALFORMED }, { "{'exp':Infinity}", WHY_TOKEN_MALFORMED },
		{ "{'exp':1e}", WHY_TOKEN_MALFORMED }, { "{'exp':}", WHY_TOKEN_MALFORMED },
		{ "{'exp':1 7}", WHY_TOKEN_MALFORMED }, { "{'exp':1_7}", WHY_TOKEN_MALFORMED },
	};

	defaults();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!CHECK(check(HS256, rows[i].payload) == rows[i].want))
			printf("\t%s\n", rows[i].payload);
}

/* Contract: nesting and duplicates bound a payload's form, but not how many members it has. */
static void many_members(void)
{
	char payload[3072] = "{" EXP;
	size_t n = strlen(payload);

	defaults();
	for (int i = 0; i < 300; i++)
		n += (size_t)snprintf(payload + n, sizeof payload - n, ",'%d':0", i);
	strcpy(payload + n, "}");
	CHECK(check(HS256, payload) == WHY_OK);
}

/* 'exp', 'nbf', 'iat' as written, at a time. */
struct when {
	const char *number;
	int64_t now_ms, leeway_ms;
	enum why want;
};

static void check_when(const char *before, const char *after, const struct when *rows, size_t n)
{
	defaults();
	policy.max_ttl_ms = 0;
	for (size_t i = 0; i < n; i++) {
		char payload[200];

		now_ms = rows[i].now_ms;
		policy.leeway_ms = rows[i].leeway_ms;
		snprintf(payload, sizeof payload, "{%s%s%s}", before, rows[i].number, after);
		const enum why why = check(HS256, payload);

		if (!CHECK(why == rows[i].want))
			printf("\t%s at %lld: %s\n", payload, (long long)now_ms, why_text(why));
	}
}

/* RFC 7519 4.1.4: on or after it, the token must not be accepted. */
static void expiry(void)
{
	static const struct when rows[] = {
		{ "1700000000", NOW - 1, 0, WHY_OK }, { "1700000000", NOW, 0, WHY_TOKEN_EXPIRED },
		{ "1.7e9", NOW - 1, 0, WHY_OK }, { "1.7e9", NOW, 0, WHY_TOKEN_EXPIRED },
		{ "1.7E+09", NOW - 1, 0, WHY_OK }, { "17e8", NOW, 0, WHY_TOKEN_EXPIRED },
		{ "170000000000000e-5", NOW - 1, 0, WHY_OK },
		{ "170000000000000e-5", NOW, 0, WHY_TOKEN_EXPIRED },
		{ "0.000000017e17", NOW - 1, 0, WHY_OK },
		{ "0.000000017e17", NOW, 0, WHY_TOKEN_EXPIRED },
		{ "1700000000.000", NOW - 1, 0, WHY_OK },
		{ "1700000000.000", NOW, 0, WHY_TOKEN_EXPIRED },
		{ "1700000000.5", NOW + 499, 0, WHY_OK },
		{ "1700000000.5", NOW + 500, 0, WHY_TOKEN_EXPIRED },
		{ "1700000000.0001", NOW, 0, WHY_OK },
		{ "1700000000.0001", NOW + 1, 0, WHY_TOKEN_EXPIRED },
		{ "1699999999.99999999999999999999999", NOW - 1, 0, WHY_OK },
		{ "1699999999.99999999999999999999999", NOW, 0, WHY_TOKEN_EXPIRED },
		{ "1700000000", NOW + 4999, 5000, WHY_OK },
		{ "1700000000", NOW + 5000, 5000, WHY_TOKEN_EXPIRED },

		{ "0", NOW, 0, WHY_TOKEN_EXPIRED }, { "-0", NOW, 0, WHY_TOKEN_EXPIRED },
		{ "-1", NOW, 0, WHY_TOKEN_EXPIRED }, { "-1.7e9", NOW, 0, WHY_TOKEN_EXPIRED },
		{ "-1e300", NOW, 0, WHY_TOKEN_EXPIRED }, { "1e-400", NOW, 0, WHY_TOKEN_EXPIRED },
		{ "-1e300", NOW, 5000, WHY_TOKEN_EXPIRED },
		{ "-9223372036854775808", NOW, 1, WHY_TOKEN_EXPIRED },
		{ "0e999999999999999999999", NOW, 0, WHY_TOKEN_EXPIRED },
		{ "1e-999999999999999999999", NOW, 0, WHY_TOKEN_EXPIRED },
		{ "1e300", NOW, 0, WHY_OK }, { "1e308", NOW, 5000, WHY_OK },
		{ "1.7976931348623157e308", NOW, 0, WHY_OK },
		{ "9223372036854775807", NOW, 0, WHY_OK },
		{ "9223372036854775808", NOW, 0, WHY_OK },
		{ "18446744073709551616", NOW, 0, WHY_OK },
		{ "18446744073709551617", NOW, 0, WHY_OK },
		{ "9223372036854775.807", NOW, 1, WHY_OK },
		{ "9223372036854775.808", NOW, 1, WHY_OK },
		{ "18446744073709551.616", NOW, 0, WHY_OK },
		{ "18446744073709552", NOW, 0, WHY_OK },
		{ "9223372036854775.806", INT64_MAX - 2, 0, WHY_OK },
		{ "9223372036854775.806", INT64_MAX - 1, 0, WHY_TOKEN_EXPIRED },

		{ "1e309", NOW, 0, WHY_CLAIM_INVALID }, { "1e400", NOW, 0, WHY_CLAIM_INVALID },
		{ "-1e400", NOW, 0, WHY_CLAIM_INVALID }, { "1.8e308", NOW, 0, WHY_CLAIM_INVALID },
		{ "1e9999999999999999999999999", NOW, 0, WHY_CLAIM_INVALID },
		{ "'1700000010'", NOW, 0, WHY_CLAIM_INVALID },
		{ "null", NOW, 0, WHY_CLAIM_INVALID },
		{ "true", NOW, 0, WHY_CLAIM_INVALID },
		{ "[1700000010]", NOW, 0, WHY_CLAIM_INVALID },
		{ "{'exp':1}", NOW, 0, WHY_CLAIM_INVALID }, { "''", NOW, 0, WHY_CLAIM_INVALID },
	};

	check_when("'exp':", "", rows, sizeof rows / sizeof *rows);
}

/* RFC 7519 4.1.5: before it, the token must not be accepted. */
static void not_before(void)
{
	static const struct when rows[] = {
		{ "1700000000", NOW, 0, WHY_OK },
		{ "1700000000", NOW - 1, 0, WHY_TOKEN_NOT_YET_VALID },
		{ "1.7e9", NOW, 0, WHY_OK }, { "1.7e9", NOW - 1, 0, WHY_TOKEN_NOT_YET_VALID },
		{ "1700000000.25", NOW + 250, 0, WHY_OK },
		{ "1700000000.25", NOW + 249, 0, WHY_TOKEN_NOT_YET_VALID },
		{ "1700000000.0001", NOW, 0, WHY_TOKEN_NOT_YET_VALID },
		{ "1700000000.0001", NOW + 1, 0, WHY_OK },
		{ "1700000000", NOW - 3000, 3000, WHY_OK },
		{ "1700000000", NOW - 3001, 3000, WHY_TOKEN_NOT_YET_VALID },
		{ "0", NOW, 0, WHY_OK }, { "-1", NOW, 0, WHY_OK }, { "-1e300", NOW, 0, WHY_OK },
		{ "-1e300", NOW, 5000, WHY_OK }, { "-9223372036854775.808", NOW, 5000, WHY_OK },
		{ "1e300", NOW, 0, WHY_TOKEN_NOT_YET_VALID },
		{ "1e300", NOW, 5000, WHY_TOKEN_NOT_YET_VALID },
		{ "9223372036854775.807", NOW, 5000, WHY_TOKEN_NOT_YET_VALID },
		{ "1e400", NOW, 0, WHY_CLAIM_INVALID }, { "-1e309", NOW, 0, WHY_CLAIM_INVALID },
		{ "'0'", NOW, 0, WHY_CLAIM_INVALID }, { "null", NOW, 0, WHY_CLAIM_INVALID },
		{ "false", NOW, 0, WHY_CLAIM_INVALID }, { "[]", NOW, 0, WHY_CLAIM_INVALID },
	};

	check_when("'nbf':", ",'exp':1e300", rows, sizeof rows / sizeof *rows);
	check_when("'exp':1e300,'nbf':", "", rows, sizeof rows / sizeof *rows);
}

static void lifetime(void)
{
	static const struct { const char *exp; int64_t max_ttl_ms; enum why want; } rows[] = {
		{ "1700003600", 3600000, WHY_OK }, { "1700003600.001", 3600000, WHY_TTL_TOO_LONG },
		{ "1700003600.0001", 3600000, WHY_TTL_TOO_LONG },
		{ "1700003601", 3600000, WHY_TTL_TOO_LONG }, { "1e300", 3600000, WHY_TTL_TOO_LONG },
		{ "1700000001", 1000, WHY_OK }, { "1700000001.5", 1000, WHY_TTL_TOO_LONG },
		{ "1e300", 0, WHY_OK }, { "4102444800", 0, WHY_OK }, { "1e300", INT64_MAX, WHY_OK },
	};

	defaults();
	policy.leeway_ms = 5000;	/* no matter here */
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char payload[64];

		policy.max_ttl_ms = rows[i].max_ttl_ms;
		snprintf(payload, sizeof payload, "{'exp':%s}", rows[i].exp);
		if (!CHECK(check(HS256, payload) == rows[i].want))
			printf("\t%s\n", payload);
	}
}

/* Numbers as long as a token allows. */
static void long_numbers(void)
{
	static char payload[3000];
	const int zeros = 2900;

	defaults();
	policy.max_ttl_ms = 0;
	snprintf(payload, sizeof payload, "{'exp':1700000000.%0*d1}", zeros, 0);
	CHECK(check(HS256, payload) == WHY_OK);
	now_ms++;
	CHECK(check(HS256, payload) == WHY_TOKEN_EXPIRED);
	snprintf(payload, sizeof payload, "{'exp':17%0*de-2892}", zeros, 0);	/* 1.7e9 */
	CHECK(check(HS256, payload) == WHY_TOKEN_EXPIRED);
	now_ms = NOW - 1;
	CHECK(check(HS256, payload) == WHY_OK);
	snprintf(payload, sizeof payload, "{'exp':1%0*d}", zeros, 0);
	CHECK(check(HS256, payload) == WHY_CLAIM_INVALID);
	snprintf(payload, sizeof payload, "{'exp':0.%0*d17e2910}", zeros, 0);	/* 1.7e9 */
	CHECK(check(HS256, payload) == WHY_OK);
	now_ms = NOW;
	CHECK(check(HS256, payload) == WHY_TOKEN_EXPIRED);
}

/* What is kept of the times: milliseconds within 64 bits; of iat rounded down, so that none is
 * later than it was. */
static void kept_times(void)
{
	enum { INVALID = -7 };
	static const struct { const char *name, *number; int64_t want; } rows[] = {
		{ "iat", "1600000000", INT64_C(1600000000000) },
		{ "iat", "1.6e9", INT64_C(1600000000000) },
		{ "iat", "1600000000.25", INT64_C(1600000000250) }, { "iat", "0", 0 },
		{ "iat", "1600000000.0009", INT64_C(1600000000000) }, { "iat", "-0.0001", -1 },
		{ "iat", "-1", -1000 }, { "iat", "-1e300", INT64_MIN },
		{ "iat", "1e300", INT64_MAX },
		{ "iat", "'0'", INVALID }, { "iat", "null", INVALID }, { "iat", "1e400", INVALID },
		{ "iat", "[1]", INVALID }, { "iat", "{}", INVALID }, { "iat", "true", INVALID },
		{ "session", "1", 1000 }, { "session", "0.5", 500 }, { "session", "1e-3", 1 },
		{ "session", "3.6e3", 3600000 }, { "session", "1e300", INT64_MAX },
		{ "session", "0.0001", 1 }, { "session", "1e-300", 1 },
		{ "session", "0", INVALID }, { "session", "-0", INVALID },
		{ "session", "0.0", INVALID },
		{ "session", "-1", INVALID }, { "session", "-0.0001", INVALID },
		{ "session", "1e400", INVALID }, { "session", "-1e300", INVALID },
		{ "session", "'60'", INVALID }, { "session", "null", INVALID },
		{ "session", "[]", INVALID }, { "session", "true", INVALID },
	};

	defaults();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char payload[100];

		snprintf(payload, sizeof payload, "{'%s':%s," EXP "}", rows[i].name,
		    rows[i].number);
		const enum why why = check(HS256, payload);
		const bool iat = rows[i].name[0] == 'i';
		const bool ok = rows[i].want == INVALID ? why == WHY_CLAIM_INVALID :
		    why == WHY_OK && (iat ? jwt.iat_ms : jwt.session_ms) == rows[i].want &&
		    (iat ? jwt.session_ms : jwt.iat_ms) == INT64_MAX &&
		    jwt.exp_ms == NOW + 10000;

		if (!CHECK(ok))
			printf("\t%s\n", payload);
	}
}

struct row {
	const char *claim;
	enum why want;
};

/* Each claim beside a good exp. */
static void check_rows(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char payload[300];

		snprintf(payload, sizeof payload, "{" EXP ",%s}", rows[i].claim);
		if (!CHECK(check(HS256, payload) == rows[i].want))
			printf("\t%s\n", payload);
	}
}

static void audience(void)
{
	static const struct row wanted[] = {
		{ "'aud':'a'", WHY_OK }, { "'aud':['a']", WHY_OK },
		{ "'aud':['b','a','c']", WHY_OK },
		{ "'aud':['a','b']", WHY_OK }, { "'aud':'\\u0061'", WHY_OK },
		{ "'x':1", WHY_AUDIENCE_MISMATCH }, { "'aud':'b'", WHY_AUDIENCE_MISMATCH },
		{ "'aud':'A'", WHY_AUDIENCE_MISMATCH }, { "'aud':'aa'", WHY_AUDIENCE_MISMATCH },
		{ "'aud':''", WHY_AUDIENCE_MISMATCH }, { "'aud':[]", WHY_AUDIENCE_MISMATCH },
		{ "'aud':['b','']", WHY_AUDIENCE_MISMATCH },
		{ "'aud':'a\\u0000'", WHY_AUDIENCE_MISMATCH },
		{ "'Aud':'a'", WHY_AUDIENCE_MISMATCH },
		{ "'x':{'aud':'a'}", WHY_AUDIENCE_MISMATCH },
		{ "'aud':1", WHY_CLAIM_INVALID }, { "'aud':null", WHY_CLAIM_INVALID },
		{ "'aud':{}", WHY_CLAIM_INVALID }, { "'aud':{'a':'a'}", WHY_CLAIM_INVALID },
		{ "'aud':['a',1]", WHY_CLAIM_INVALID }, { "'aud':[1,'a']", WHY_CLAIM_INVALID },
		{ "'aud':[['a']]", WHY_CLAIM_INVALID }, { "'aud':['a',null]", WHY_CLAIM_INVALID },
		{ "'aud':['a',['b']]", WHY_CLAIM_INVALID }, { "'aud':true", WHY_CLAIM_INVALID },
	};
	static const struct row any[] = {
		{ "'aud':'b'", WHY_OK }, { "'aud':[]", WHY_OK }, { "'aud':['b']", WHY_OK },
		{ "'aud':1", WHY_CLAIM_INVALID }, { "'aud':[1]", WHY_CLAIM_INVALID },
		{ "'aud':null", WHY_CLAIM_INVALID }, { "'aud':{}", WHY_CLAIM_INVALID },
	};

	defaults();
	check_rows(any, sizeof any / sizeof *any);
	policy.audience = "a";
	check_rows(wanted, sizeof wanted / sizeof *wanted);
}

static void issuer(void)
{
	static const struct row wanted[] = {
		{ "'iss':'i'", WHY_OK }, { "'iss':'\\u0069'", WHY_OK },
		{ "'x':1", WHY_ISSUER_MISMATCH },
		{ "'iss':'I'", WHY_ISSUER_MISMATCH }, { "'iss':'ii'", WHY_ISSUER_MISMATCH },
		{ "'iss':''", WHY_ISSUER_MISMATCH }, { "'iss':'i\\u0000'", WHY_ISSUER_MISMATCH },
		{ "'iss':' i'", WHY_ISSUER_MISMATCH }, { "'iss':1", WHY_CLAIM_INVALID },
		{ "'iss':['i']", WHY_CLAIM_INVALID }, { "'iss':null", WHY_CLAIM_INVALID },
	};
	static const struct row any[] = {
		{ "'iss':'x'", WHY_OK }, { "'iss':''", WHY_OK }, { "'iss':1", WHY_CLAIM_INVALID },
		{ "'iss':null", WHY_CLAIM_INVALID }, { "'iss':['i']", WHY_CLAIM_INVALID },
	};
	char name[300], claim[320];

	defaults();
	check_rows(any, sizeof any / sizeof *any);
	policy.issuer = "i";
	check_rows(wanted, sizeof wanted / sizeof *wanted);

	/* Compared whole, however long. */
	snprintf(name, sizeof name, "%0*d", (int)sizeof name - 50, 0);
	policy.issuer = name;
	snprintf(claim, sizeof claim, "'iss':'%s'", name);
	check_rows(&(struct row){ claim, WHY_OK }, 1);
	claim[strlen(claim) - 2] = '1';
	check_rows(&(struct row){ claim, WHY_ISSUER_MISMATCH }, 1);
}

static void strings(void)
{
	static const struct row rows[] = {
		{ "'sub':'a','jti':'b'", WHY_OK }, { "'sub':'','jti':''", WHY_OK },
		{ "'sub':1", WHY_CLAIM_INVALID }, { "'sub':null", WHY_CLAIM_INVALID },
		{ "'sub':['a']", WHY_CLAIM_INVALID }, { "'sub':{}", WHY_CLAIM_INVALID },
		{ "'jti':1", WHY_CLAIM_INVALID }, { "'jti':null", WHY_CLAIM_INVALID },
		{ "'jti':[]", WHY_CLAIM_INVALID }, { "'jti':false", WHY_CLAIM_INVALID },
	};
	char header[400], payload[400];

	defaults();
	check_rows(rows, sizeof rows / sizeof *rows);
	for (int n = 250; n <= 260; n++) {
		const size_t kept = n < 255 ? (size_t)n : 255;

		snprintf(header, sizeof header, "{'alg':'HS256','kid':'%0*d'}", n, 0);
		snprintf(payload, sizeof payload, "{" EXP ",'sub':'%0*d\\u0031'}", n - 1, 0);
		CHECK(check(header, payload) == WHY_OK);
		CHECK(jwt.kid.n == kept && jwt.kid.s[kept - 1] == '0');
		CHECK(jwt.sub.n == kept && jwt.sub.s[kept - 1] == (n <= 255 ? '1' : '0'));
	}
	CHECK(check("{'alg':'HS256','kid':'\\u00e9\\ud834\\udd1e\\u0000'}", "{" EXP "}") == WHY_OK);
	CHECK(jwt.kid.n == 7 && memcmp(jwt.kid.s, "\xc3\xa9\xf0\x9d\x84\x9e", 7) == 0);
	CHECK(jwt.sub.n == 0);
}

/* Contract 3. NULL: the subject is "/", the one that a token without permissions opens. */
static void permissions(void)
{
	static const struct { const char *value, *subject; enum why want; } rows[] = {
		{ "{'sub':['/a']}", "/a", WHY_OK }, { "{'all':['/a']}", "/a", WHY_OK },
		{ "{'pub':['/a']}", "/a", WHY_SUBJECT_DENIED },
		{ "{'sub':['/a']}", "/b", WHY_SUBJECT_DENIED },
		{ "{'sub':['/a']}", "/", WHY_SUBJECT_DENIED }, { "{'sub':['/']}", "/", WHY_OK },
		{ "{}", "/", WHY_SUBJECT_DENIED }, { "{'sub':[]}", "/", WHY_SUBJECT_DENIED },
		{ "{'sub':['/*']}", "/", WHY_SUBJECT_DENIED }, { "{'sub':['/*']}", "/a/b", WHY_OK },
		{ "{'sub':['/a/*']}", "/a", WHY_SUBJECT_DENIED },
		{ "{'sub':['/+']}", "/a", WHY_OK },
		{ "{'sub':['/x'],'all':['/a/+']}", "/a/b", WHY_OK },
		{ "{'sub':['/a'],'all':[],'pub':['/b']}", "/a", WHY_OK },
		{ "{'all':['/b','/a'],'sub':['/c']}", "/a", WHY_OK },
		{ "{'s\\u0075b':['\\u002fa']}", "/a", WHY_OK },
		{ "{'sub':['/\xc3\xa9']}", "/\xc3\xa9", WHY_OK },
		{ "{'sub':['/\\u00e9']}", "/\xc3\xa9", WHY_OK },

		{ "{'sub':['/a','b']}", "/a", WHY_CLAIM_INVALID },
		{ "{'pub':['']}", "/", WHY_CLAIM_INVALID },
		{ "{'sub':['/a+']}", "/a", WHY_CLAIM_INVALID },
		{ "{'sub':['/*/a']}", "/a", WHY_CLAIM_INVALID },
		{ "{'sub':['/a*']}", "/a", WHY_CLAIM_INVALID },
		{ "{'sub':['/**']}", "/a", WHY_CLAIM_INVALID },
		{ "{'all':['/+a']}", "/a", WHY_CLAIM_INVALID },
		{ "{'sub':['/a/']}", "/a", WHY_CLAIM_INVALID },
		{ "{'sub':['//a']}", "/a", WHY_CLAIM_INVALID },
		{ "{'sub':['/..']}", "/a", WHY_CLAIM_INVALID },
		{ "{'sub':['/a\\u0000']}", "/a", WHY_CLAIM_INVALID },
		{ "{'sub':['/a\\n']}", "/a", WHY_CLAIM_INVALID },
		{ "{'sub':['/a'],'pub':['*']}", "/a", WHY_CLAIM_INVALID },
		{ "{'sub':'/a'}", "/a", WHY_CLAIM_INVALID },
		{ "{'sub':null}", "/a", WHY_CLAIM_INVALID },
		{ "{'sub':{'/a':1}}", "/a", WHY_CLAIM_INVALID },
		{ "{'sub':[1]}", "/a", WHY_CLAIM_INVALID },
		{ "{'sub':['/a',null]}", "/a", WHY_CLAIM_INVALID },
		{ "{'sub':[['/a']]}", "/a", WHY_CLAIM_INVALID },
		{ "{'sub':['/a'],'x':['/a']}", "/a", WHY_CLAIM_INVALID },
		{ "{'SUB':['/a']}", "/a", WHY_CLAIM_INVALID },
		{ "{'':[]}", "/a", WHY_CLAIM_INVALID },
		{ "[]", "/", WHY_CLAIM_INVALID }, { "null", "/", WHY_CLAIM_INVALID },
		{ "'/'", "/", WHY_CLAIM_INVALID }, { "['/']", "/", WHY_CLAIM_INVALID },
		{ "true", "/", WHY_CLAIM_INVALID },
	};

	defaults();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char payload[200];

		subject = rows[i].subject;
		for (int last = 0; last <= 1; last++) {		/* exp before it, and after */
			snprintf(payload, sizeof payload, "{%s'permissions':%s%s}",
			    last ? EXP "," : "", rows[i].value, last ? "" : "," EXP);
			if (!CHECK(check(HS256, payload) == rows[i].want))
				printf("\t%s for %s\n", payload, subject);
		}
	}
	subject = "/x";
	CHECK(check(HS256, "{" EXP "}") == WHY_SUBJECT_DENIED);
}

static void pattern_length(void)
{
	char payload[400], name[300];

	defaults();
	for (int n = 254; n <= 256; n++) {
		snprintf(name, sizeof name, "/%0*d", n - 1, 0);
		subject = n <= 255 ? name : "/x";
		snprintf(payload, sizeof payload, "{" EXP ",'permissions':{'all':['%s']}}", name);
		CHECK(check(HS256, payload) == (n <= 255 ? WHY_OK : WHY_CLAIM_INVALID));
	}
}

/* What the compact form must be; where it can be, the text is rightly signed. */
static void forms(void)
{
#define H "eyJhbGciOiJIUzI1NiJ9"
#define P "eyJleHAiOjE3MDAwMDAwMTB9"
	static const char *const rows[] = {
		H "." P "=", H "=." P, H "==." P, H ".", "." P, ".", "", H, H "." P "." P,
		H ".." P, "." H "." P, H " ." P, " " H "." P, H "." P "\n", H ".\n" P, H ". " P,
		H "." P "A", H "." "eyJleHAiOjE3MDAwMDAwMTB9CiA",
		H "." "eyJleHAiOjE3MDAwMDAwMTB9Cv",
		H "." "eyJleHAiOjE3MDAwMDAwMTB9CiB", H "." "eyJleHAiOjE3MDAwMDAwMTB9Ch",
		"eyJhbGciOiJIUzI1NiJ9Ch." P, "eyJhbGciOiJIUzI1NiJ9CiB." P,
		H "." "eyJleHAiOjE3MDAwMDAwMTAsIng+IjowfQ",
		H "." "eyJleHAiOjE3MDAwMDAwMTAsIng/IjowfQ",
		H "." P "%3D", H "," P, H "." P "\xc3\xa9", H "." P "\x80\x80\x80\x80",
	};

	defaults();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const bool good = strcmp(rows[i], H "." "eyJleHAiOjE3MDAwMDAwMTB9CiA") == 0;

		strcpy(text, rows[i]);
		if (!CHECK(check_token(text, sign_text(SECRET, strlen(text))) ==
		    (good ? WHY_OK : WHY_TOKEN_MALFORMED)))
			printf("\t%s\n", rows[i]);
	}
	strcpy(text, H "." P);
	size_t n = sign_text(SECRET, strlen(text));

	CHECK(check_token(text, n) == WHY_OK);
	for (const char *add = ".\n =%\t+"; *add != '\0'; add++) {
		text[n] = *add;
		CHECK(check_token(text, n + 1) == WHY_TOKEN_MALFORMED);
	}
	CHECK(check_token(text, strlen(H "." P) + 1) == WHY_TOKEN_MALFORMED);	/* no signature */
	text[n] = '\0';
	CHECK(check_token(text, n + 1) == WHY_TOKEN_MALFORMED);
	CHECK(check_token("..", 2) == WHY_TOKEN_MALFORMED);
	CHECK(check_token("...", 3) == WHY_TOKEN_MALFORMED);
	CHECK(check_token("a.b.c", 5) == WHY_TOKEN_MALFORMED);
#undef H
#undef P
}

/* 43 characters hold 32 bytes and two bits, which must be zero (RFC 4648 3.5). */
static void signature_forms(void)
{
	static const char alphabet[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint8_t mac[SHA256_LEN + 1] = { 0 };
	unsigned malformed = 0, invalid = 0, good = 0;
	size_t n, len;

	defaults();
	n = sign(SECRET, HS256, "{" EXP "}");
	CHECK(b64url_decode(mac, &len, (const uint8_t *)text + n - 43, 43) && len == 32);
	for (size_t i = 0; i < 64; i++) {
		text[n - 1] = alphabet[i];
		const enum why why = check_token(text, n);

		good += why == WHY_OK;
		malformed += why == WHY_TOKEN_MALFORMED;
		invalid += why == WHY_SIGNATURE_INVALID;
	}
	CHECK(good == 1 && invalid == 15 && malformed == 48);
	for (size_t k = 1; k <= 33; k++) {	/* a part of it, and it with a byte more */
		b64url_encode(text + n - 43, mac, k);
		CHECK(check_token(text, n - 43 + B64URL_LEN(k)) ==
		    (k == 32 ? WHY_OK : WHY_SIGNATURE_INVALID));
	}
}

static void bit_flips(void)
{
	defaults();

	const size_t n = sign(SECRET, "{'typ':'JWT','alg':'HS256'}",
	    "{'sub':'alice'," EXP ",'iss':'https://issuer.example'}");

	CHECK(check_token(text, n) == WHY_OK);
	for (size_t bit = 0; bit < n * 8; bit++) {
		text[bit / 8] ^= (char)(1 << bit % 8);
		if (!CHECK(check_token(text, n) != WHY_OK) && check_bad <= CHECK_SHOWN)
			printf("\tbit %zu\n", bit);
		text[bit / 8] ^= (char)(1 << bit % 8);
	}
	for (size_t k = 0; k < n; k++)
		CHECK(check_token(text, k) != WHY_OK);
	CHECK(check_token(text, n) == WHY_OK);
}

/* Contract: at most 4 KiB. */
static void longest(void)
{
	static char payload[4096];

	defaults();
	for (size_t want = 4090; want <= 4100; want++) {
		for (int pad = 2950; pad < 3050; pad++) {
			snprintf(payload, sizeof payload, "{" EXP ",'x':'%0*d'}", pad, 0);
			if (sign(SECRET, HS256, payload) == want)
				break;
		}
		const size_t n = sign(SECRET, HS256, payload);

		CHECK(n == want || n % 4 != want % 4);
		CHECK(check_token(text, n) == (n <= 4096 ? WHY_OK : WHY_TOKEN_MALFORMED));
	}
	snprintf(payload, sizeof payload, "{" EXP ",'x':'%0*d'}", 2998, 0);
	CHECK(sign(SECRET, HS256, payload) == 4096 && check_token(text, 4096) == WHY_OK);
	snprintf(payload, sizeof payload, "{" EXP ",'x':'%0*d'}", 2999, 0);
	CHECK(sign(SECRET, HS256, payload) == 4097);
	CHECK(check_token(text, 4097) == WHY_TOKEN_MALFORMED);
	memset(text, 'A', sizeof text);
	CHECK(check_token(text, sizeof text) == WHY_TOKEN_MALFORMED);
	CHECK(check_token(text, 4096) == WHY_TOKEN_MALFORMED);
	memset(text, '.', sizeof text);
	CHECK(check_token(text, 4096) == WHY_TOKEN_MALFORMED);
}

/* Contract 2: what makes two tokens the same is the digest of header.payload. */
static void digests(void)
{
	uint8_t want[SHA256_LEN], first[SHA256_LEN];
	struct sha256 s;
	size_t n;

	defaults();
	n = sign(SECRET, HS256, "{" EXP "}");
	CHECK(check_token(text, n) == WHY_OK);
	sha256_init(&s);
	sha256_write(&s, text, n - 44);
	sha256_end(&s, want);
	CHECK_BYTES(jwt.digest, want, SHA256_LEN);
	memcpy(first, jwt.digest, SHA256_LEN);

	/* Another key signs it otherwise, and it is the same. */
	key_set_secret(&keys, (const uint8_t *)"another", 7);
	CHECK(check_token(text, n) == WHY_SIGNATURE_INVALID);
	CHECK(check_token(text, sign("another", HS256, "{" EXP "}")) == WHY_OK);
	CHECK_BYTES(jwt.digest, first, SHA256_LEN);

	/* The same claims in another header, or with a space, are not. */
	CHECK(check_token(text, sign("another", "{'alg':'HS256' }", "{" EXP "}")) == WHY_OK);
	CHECK(memcmp(jwt.digest, first, SHA256_LEN) != 0);
	CHECK(check_token(text, sign("another", HS256, "{" EXP " }")) == WHY_OK);
	CHECK(memcmp(jwt.digest, first, SHA256_LEN) != 0);
}

/* Who a renewal must be for: the same iss and sub, present or not. */
static void who(void)
{
	static const char *const rows[] = {
		"'x':1", "'sub':''", "'iss':''", "'sub':'','iss':''", "'sub':'a'", "'iss':'a'",
		"'sub':'a','iss':'a'", "'sub':'a','iss':'b'", "'sub':'b','iss':'a'", "'sub':'ab'",
		"'sub':'a\\u0000'",
	};
	uint8_t seen[sizeof rows / sizeof *rows][sizeof jwt.who];
	char payload[700];

	defaults();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		snprintf(payload, sizeof payload, "{" EXP ",%s}", rows[i]);
		CHECK(check(HS256, payload) == WHY_OK);
		memcpy(seen[i], jwt.who, sizeof jwt.who);
		for (size_t k = 0; k < i; k++)
			CHECK(memcmp(seen[i], seen[k], sizeof jwt.who) != 0);
	}
	CHECK(check(HS256, "{'iss':'\\u0061','z':0,'sub':'b','exp':1700000011,'jti':'2'}") == WHY_OK);
	CHECK(check(HS256, "{" EXP ",'sub':'b','iss':'a'}") == WHY_OK);
	CHECK_BYTES(jwt.who, seen[8], sizeof jwt.who);

	/* However long. */
	snprintf(payload, sizeof payload, "{" EXP ",'sub':'%0*d1'}", 500, 0);
	CHECK(check(HS256, payload) == WHY_OK);
	memcpy(seen[0], jwt.who, sizeof jwt.who);
	snprintf(payload, sizeof payload, "{" EXP ",'sub':'%0*d2'}", 500, 0);
	CHECK(check(HS256, payload) == WHY_OK && memcmp(seen[0], jwt.who, sizeof jwt.who) != 0);
}

/* What a key says of its tokens goes before the policy. */
static void key_says(void)
{
	static const struct { const char *issuer, *iss; enum key_use use; bool once; enum why want; }
	rows[] = {
		{ NULL, "p", KEY_USE_UNSAID, true, WHY_OK }, { NULL, "k", 0, true, WHY_ISSUER_MISMATCH },
		{ "k", "k", 0, true, WHY_OK }, { "k", "p", 0, true, WHY_ISSUER_MISMATCH },
		{ "", "", 0, true, WHY_OK }, { "", "p", 0, true, WHY_ISSUER_MISMATCH },
		{ NULL, "p", KEY_USE_MANY, false, WHY_OK }, { NULL, "p", KEY_USE_ONCE, true, WHY_OK },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char payload[64];

		defaults();
		key_wipe(&keys);
		CHECK(key_add(&keys, &(struct key_spec){ .p = (const uint8_t *)SECRET,
		    .n = strlen(SECRET), .issuer = rows[i].issuer, .token_use = rows[i].use }) == NULL);
		policy.issuer = "p";
		snprintf(payload, sizeof payload, "{" EXP ",'iss':'%s'}", rows[i].iss);
		for (int once = 0; once <= 1; once++) {
			policy.once = once;
			CHECK(check(HS256, payload) == rows[i].want && jwt.key == 0);
			CHECK(jwt.once == (rows[i].use == KEY_USE_UNSAID ? once : rows[i].once));
		}
		CHECK(check(HS256, "{" EXP "}") == WHY_ISSUER_MISMATCH);
	}
}

CHECK_MAIN(jwt, RUN(rfc7515_a1) RUN(made_elsewhere) RUN(order) RUN(headers)
    RUN(malformed_headers) RUN(payloads) RUN(many_members) RUN(expiry) RUN(not_before)
    RUN(lifetime) RUN(long_numbers) RUN(kept_times) RUN(audience) RUN(issuer) RUN(strings)
    RUN(permissions) RUN(pattern_length) RUN(forms) RUN(signature_forms) RUN(bit_flips)
    RUN(longest) RUN(digests) RUN(who) RUN(key_says))
