/* Key files, and verifying with what they hold. In the JSON of this file ' stands for ". */
#include "b64.h"
#include "check.h"
#include "keyfile.h"

#define A2_N "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPME" \
	"zP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSH" \
	"SXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5Ih" \
	"lJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpo"
#define RSA "'kty':'RSA','n':'" A2_N "Q','e':'AQAB'"
#define A3_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define A3_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define EC "'kty':'EC','crv':'P-256','x':'" A3_X "','y':'" A3_Y "'"
#define P521 "'kty':'EC','crv':'P-521'," \
	"'x':'AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk'," \
	"'y':'ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2'"
#define OCT "'kty':'oct','k':'AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUu" \
	"TwjAzZr1Z9CAow'"
#define SAYS "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

static struct keyring ring;
static char passed[200];	/* the last key that was passed over, and why */
static unsigned npassed;

static void note(const void *arg, const char *key, const char *what)
{
	(void)arg;
	npassed++;
	snprintf(passed, sizeof passed, "%s: %s", key, what);
}

/* NULL, or what is wrong, with the key in front. */
static const char *parse(const char *s, const char *kid, bool weak)
{
	static char text[20000], what[300];
	struct keyfile f = { .kid = (const uint8_t *)kid, .kid_len = kid ? strlen(kid) : 0,
		.allow_weak = weak, .passed = note };
	const size_t n = strlen(s);
	const char *bad;

	for (size_t i = 0; i <= n; i++)
		text[i] = s[i] == '\'' ? '"' : s[i];
	key_wipe(&ring);
	npassed = 0;
	bad = keyfile_read(&ring, &f, guard(0, text, n), n);
	snprintf(what, sizeof what, "%s%s%s", f.key, *f.key ? ": " : "", bad ? bad : "");
	return bad ? what : NULL;
}

static enum why verify(uint8_t key, const char *jws)
{
	const char *dot = strrchr(jws, '.');
	const size_t n = (size_t)(dot - jws), len = strlen(dot + 1);
	uint8_t signature[1024];
	size_t got;

	if (!b64url_decode(signature, &got, (const uint8_t *)dot + 1, len))
		return WHY_TOKEN_MALFORMED;
	return key_verify(&ring, key, guard(1, jws, n), n, guard(2, signature, got), got);
}

#define ROAD "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250" \
	"byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUg" \
	"eW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4"

/* RFC 7515 A.1 to A.4; RFC 7520 4.1, 4.3, 4.4. */
static const struct vector {
	const char *jwk;
	enum key_alg alg;
	const char *jws;
} vectors[] = {
	{ "{" OCT "}", KEY_HS256, "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." SAYS
	    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" },
	{ "{" RSA "}", KEY_RS256, "eyJhbGciOiJSUzI1NiJ9." SAYS
	    ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2F"
	    "p5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHl"
	    "b1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QO"
	    "YEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw" },
	{ "{" EC "}", KEY_ES256, "eyJhbGciOiJFUzI1NiJ9." SAYS
	    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q" },
	{ "{" P521 "}", KEY_ES512, "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA"
	    ".AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8G"
	    "aSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn" },
	{ "{'kty':'RSA','kid':'bilbo.baggins@hobbiton.example','use':'sig',"
	    "'n':'n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_A"
	    "JmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-O"
	    "fVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwu"
	    "CLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw','e':'AQAB'}", KEY_RS256,
	    "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9." ROAD
	    ".MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xugl"
	    "II7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8w"
	    "W1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-"
	    "ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg" },
	{ "{'kty':'EC','kid':'bilbo.baggins@hobbiton.example','use':'sig','crv':'P-521',"
	    "'x':'AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt',"
	    "'y':'AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1'}",
	    KEY_ES512, "eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9." ROAD
	    ".AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3m"
	    "tPBu_u_sDDyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2" },
	{ "{'kty':'oct','kid':'018c0ae5-4d9b-471b-bfd6-eef314bc7037','use':'sig','alg':'HS256',"
	    "'k':'hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg'}", KEY_HS256,
	    "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9." ROAD
	    ".s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0" },
};

/* Each verifies; with any bit of the signature or the input flipped, or a length other than its
 * own, it does not. (Every 37th bit, as a curve takes milliseconds.) */
static void rfc_vectors(void)
{
	for (size_t v = 0; v < sizeof vectors / sizeof *vectors; v++) {
		const char *dot = strrchr(vectors[v].jws, '.');
		const size_t n = (size_t)(dot - vectors[v].jws);
		uint8_t signature[600] = { 0 }, input[600];
		size_t len;

		CHECK(parse(vectors[v].jwk, NULL, false) == NULL);
		CHECK(ring.n == 1 && ring.key[0].alg == vectors[v].alg);
		if (!CHECK(verify(0, vectors[v].jws) == WHY_OK))
			printf("\tvector %zu\n", v);
		CHECK(b64url_decode(signature, &len, (const uint8_t *)dot + 1, strlen(dot + 1)));
		memcpy(input, vectors[v].jws, n);
		for (size_t bit = v; bit < len * 8; bit += 37) {
			signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
			CHECK(key_verify(&ring, 0, input, n, signature, len) == WHY_SIGNATURE_INVALID);
			signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		input[n / 2] ^= 1;
		CHECK(key_verify(&ring, 0, input, n, signature, len) == WHY_SIGNATURE_INVALID);
		input[n / 2] ^= 1;
		CHECK(key_verify(&ring, 0, input, n - 1, signature, len) == WHY_SIGNATURE_INVALID);
		for (size_t l = len > 2 ? len - 2 : 0; l <= len + 2; l++)
			CHECK(key_verify(&ring, 0, input, n, guard(0, signature, l), l) ==
			    (l == len ? WHY_OK : WHY_SIGNATURE_INVALID));
		CHECK(key_verify(&ring, 0, input, n, signature, 0) == WHY_SIGNATURE_INVALID);
	}
}

/* r and s must lie between 0 and the order (FIPS 186-4 6.4.2). */
static void ecdsa_range(void)
{
	static const char order[] = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
	uint8_t signature[64], n[32], zero[32] = { 0 }, one[32] = { [31] = 1 };
	const char *dot = strrchr(vectors[2].jws, '.');
	const uint8_t *const bad[] = { zero, n };
	size_t len;

	CHECK(parse(vectors[2].jwk, NULL, false) == NULL && unhex(n, order) == 32);
	for (int which = 0; which < 2; which++) {
		for (size_t i = 0; i < 2; i++) {
			CHECK(b64url_decode(signature, &len, (const uint8_t *)dot + 1, strlen(dot + 1)));
			memcpy(signature + 32 * which, bad[i], 32);
			CHECK(key_verify(&ring, 0, "x", 1, signature, 64) == WHY_SIGNATURE_INVALID);
		}
	}
	for (size_t i = 0; i < 4; i++) {		/* both of them */
		memcpy(signature, i & 1 ? one : zero, 32);
		memcpy(signature + 32, i & 2 ? one : zero, 32);
		CHECK(key_verify(&ring, 0, "x", 1, signature, 64) == WHY_SIGNATURE_INVALID);
	}
}

/* s and n - s are both right: why a token is known by what was signed, not by its signature. */
static void ecdsa_second_form(void)
{
	static const char order[] = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
	const char *dot = strrchr(vectors[2].jws, '.');
	uint8_t signature[64], n[32];
	int borrow = 0;
	size_t len;

	CHECK(parse(vectors[2].jwk, NULL, false) == NULL && unhex(n, order) == 32);
	CHECK(b64url_decode(signature, &len, (const uint8_t *)dot + 1, strlen(dot + 1)));
	for (int i = 31; i >= 0; i--) {
		const int d = n[i] - signature[32 + i] - borrow;

		borrow = d < 0;
		signature[32 + i] = (uint8_t)d;
	}
	CHECK(key_verify(&ring, 0, vectors[2].jws, (size_t)(dot - vectors[2].jws), signature, 64) ==
	    WHY_OK);
}

#define ZERO256 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define HALF384 "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define HALF521 "AAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define NOT_OURS "its algorithm is none of HS, RS and ES"

/* A key beside a good one: taken (NULL), passed over (begins with +), or why it is refused. */
static const struct { const char *jwk, *what; } jwk_rows[] = {
	{ OCT, NULL }, { RSA, NULL }, { EC, NULL }, { P521, NULL },
	{ OCT ",'use':'sig','key_ops':['sign','verify'],'alg':'HS384','x5t':1,'ext':true", NULL },
	{ OCT ",'alg':'HS512'", NULL }, { RSA ",'alg':'RS512'", NULL },
	{ RSA ",'alg':'RS384','x5c':['x'],'n2':{'d':1}", NULL }, { EC ",'alg':'ES256'", NULL },
	{ "'k\\u0074y':'\\u0052SA','e':'AQAB','n':'\\u006ffgWCw'",
	  "the modulus has less than 2048 bits" },
	{ OCT ",'issuer':'i','token_use':'many','permissions':{'sub':['/a/*']}", NULL },
	{ OCT ",'permissions':{}", NULL }, { RSA ",'kid':'other'", NULL },

	{ RSA ",'use':'enc'", "+its use is not sig" }, { EC ",'use':''", "+its use is not sig" },
	{ RSA ",'key_ops':['encrypt']", "+its key_ops are without verify" },
	{ OCT ",'key_ops':[]", "+its key_ops are without verify" },
	{ RSA ",'alg':'PS256'", "+" NOT_OURS }, { RSA ",'alg':'RSA-OAEP'", "+" NOT_OURS },
	{ RSA ",'alg':'ES256'", "+" NOT_OURS }, { RSA ",'alg':'HS256'", "+" NOT_OURS },
	{ OCT ",'alg':'RS256'", "+" NOT_OURS }, { OCT ",'alg':'A128KW'", "+" NOT_OURS },
	{ EC ",'alg':'ES384'", "+" NOT_OURS }, { EC ",'alg':'none'", "+" NOT_OURS },
	{ "'kty':'OKP','crv':'Ed25519','x':'11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo'", "+" NOT_OURS },
	{ "'kty':'EC','crv':'secp256k1','x':'AA','y':'AA'", "+" NOT_OURS },
	{ "'kty':'EC','x':'AA','y':'AA'", "+" NOT_OURS }, { "'kty':'AKP','pub':{}", "+" NOT_OURS },
	{ "'kty':'oct\\u0000','k':7", "+" NOT_OURS }, { "'kty':'rsa'", "+" NOT_OURS },

	{ "'k':'AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T'", "kty is missing" },
	{ "", "kty is missing" }, { "'kty':1", "a member has the wrong type or value" },
	{ "'kty':null", "a member has the wrong type or value" },
	{ OCT ",'kid':7", "a member has the wrong type or value" },
	{ OCT ",'kid':''", "a member has the wrong type or value" },
	{ OCT ",'alg':['HS256']", "a member has the wrong type or value" },
	{ OCT ",'use':null", "a member has the wrong type or value" },
	{ OCT ",'key_ops':'verify'", "a member has the wrong type or value" },
	{ OCT ",'key_ops':['verify',1]", "a member has the wrong type or value" },
	{ OCT ",'issuer':['i']", "a member has the wrong type or value" },
	{ OCT ",'issuer':'i\\u0000'", "a member has the wrong type or value" },
	{ OCT ",'token_use':true", "a member has the wrong type or value" },
	{ OCT ",'token_use':'twice'", "token_use is neither once nor many" },
	{ OCT ",'permissions':[]", "a member has the wrong type or value" },
	{ OCT ",'permissions':{'sub':['a']}", "a member has the wrong type or value" },
	{ "'kty':'oct'", "k is wanted in base64url" }, { "'kty':'oct','k':1", "k is wanted in base64url" },
	{ "'kty':'oct','k':'AAAA='", "k is wanted in base64url" },
	{ "'kty':'oct','k':'AB'", "k is wanted in base64url" },
	{ "'kty':'oct','k':''", "the secret is empty" },
	{ "'kty':'oct','k':'AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLg'",
	  "the secret is shorter than its algorithm's hash (RFC 7518 3.2)" },
	{ "'kty':'oct','alg':'HS384','k':'AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T'",
	  "the secret is shorter than its algorithm's hash (RFC 7518 3.2)" },
	{ RSA ",'d':'AQAB'", "is a private key; give sluice the public one alone" },
	{ RSA ",'use':'enc','d':'AQAB'", "is a private key; give sluice the public one alone" },
	{ EC ",'d':1", "is a private key; give sluice the public one alone" },
	{ "'kty':'RSA','alg':'RSA-OAEP','d':'AQAB'", "is a private key; give sluice the public one alone" },
	{ "'kty':'EC','crv':'secp256k1','d':'AQAB'", "is a private key; give sluice the public one alone" },
	{ "'kty':'OKP','crv':'Ed25519','d':'AA'", "+" NOT_OURS }, { OCT ",'d':'AA'", NULL },
	{ "'kty':'RSA','e':'AQAB'", "n is wanted in base64url" },
	{ "'kty':'RSA','n':'" A2_N "Q'", "e is wanted in base64url" },
	{ "'kty':'RSA','n':'" A2_N "A','e':'AQAB'", "the modulus is even" },
	{ "'kty':'RSA','n':'" A2_N "Q','e':'AQAA'", "the exponent is even or below 3" },
	{ "'kty':'RSA','n':'" A2_N "Q','e':'AQ'", "the exponent is even or below 3" },
	{ "'kty':'RSA','n':'" A2_N "Q','e':'Ag'", "the exponent is even or below 3" },
	{ "'kty':'RSA','n':'" A2_N "Q','e':''", "the exponent is even or below 3" },
	{ "'kty':'RSA','n':'" A2_N "Q','e':'AAAA'", "the exponent is even or below 3" },
	{ "'kty':'RSA','n':'" A2_N "Q','e':'Aw'", NULL },
	{ "'kty':'RSA','n':'" A2_N "Q','e':'AAAB'", "the exponent is even or below 3" },
	{ "'kty':'RSA','n':'" A2_N "Q','e':'AAEAAQ'", NULL },
	{ "'kty':'RSA','n':'" A2_N "Q','e':'AQAAAAAAAAAB'", "the exponent has more than 64 bits" },
	{ "'kty':'EC','crv':'P-256','x':'" A3_X "','y':'" A3_X "'", "the point is not on its curve" },
	{ "'kty':'EC','crv':'P-384','x':'" HALF384 "','y':'" HALF384 "'",
	  "the point is not on its curve" },
	{ "'kty':'EC','crv':'P-521','x':'" HALF521 "','y':'" HALF521 "'",
	  "the point is not on its curve" },
	{ "'kty':'EC','crv':'P-256','x':'" ZERO256 "','y':'" ZERO256 "'",
	  "the point is not on its curve" },
	{ "'kty':'EC','crv':'P-256','x':'" A3_X "'",
	  "x and y are wanted in base64url, of the curve's length" },
	{ "'kty':'EC','crv':'P-384','x':'" A3_X "','y':'" A3_Y "'",
	  "x and y are wanted in base64url, of the curve's length" },
	{ "'kty':'EC','crv':'P-256','x':'AAAA','y':'" A3_Y "'",
	  "x and y are wanted in base64url, of the curve's length" },
	{ OCT ",'kid':'good'", "another key has its kid" },
};

static void jwks(void)
{
	for (size_t i = 0; i < sizeof jwk_rows / sizeof *jwk_rows; i++) {
		char set[4000], want[200];
		const char *what, *expect = jwk_rows[i].what;
		const bool over = expect && *expect == '+';

		snprintf(set, sizeof set, "{'keys':[{" OCT ",'kid':'good'},{%s}],'x':[1]}", jwk_rows[i].jwk);
		what = parse(set, NULL, false);
		if (!expect || over) {
			if (!CHECK(what == NULL) || !CHECK(ring.n == (over ? 1 : 2)) ||
			    !CHECK(npassed == over && (!over || (strncmp(passed, "key 2: ", 7) == 0 &&
			    strcmp(passed + 7, expect + 1) == 0))))
				printf("\t%s: %s %s\n", jwk_rows[i].jwk, what ? what : "", passed);
			continue;
		}
		snprintf(want, sizeof want, "key %s: %s",
		    strstr(jwk_rows[i].jwk, "'good'") ? "good" : "2", expect);
		if (!CHECK(what && strcmp(what, want) == 0))
			printf("\t%s: %s, wanted %s\n", jwk_rows[i].jwk, what ? what : "taken", want);
	}
}

static void files(void)
{
#define NO_JSON "is no JSON object (RFC 8259, no name twice)"
#define NEITHER "is neither a JWK Set nor a PEM public key"
	static const struct { const char *text, *what; } rows[] = {
		{ "{" OCT "}", NULL }, { " \n{'keys':[{" OCT "}]}\n", NULL },
		{ "{'x':{'keys':1},'keys':[{" OCT "}]}", NULL },
		{ "{'keys':[]}", "holds no key for sluice" }, { "{'keys':{}}", "keys is no array" },
		{ "{'keys':[1]}", "keys holds what is no object" }, { "{}", "key 1: kty is missing" },
		{ "{'keys':[{" RSA ",'use':'enc'},{" EC ",'alg':'ES512'}]}", "holds no key for sluice" },
		{ "{" OCT ",'use':'enc'}", "holds no key for sluice" },
		{ "{'keys':[{" OCT "}]}x", NO_JSON }, { "{'keys':[{" OCT "}],}", NO_JSON },
		{ "{'keys':[{" OCT "," OCT "}]}", NO_JSON }, { "{'keys':[],'keys':[]}", NO_JSON },
		{ "{", NO_JSON }, { "[]", NEITHER }, { "", NEITHER }, { "secret", NEITHER },
		{ "'" "{" OCT "}'", NEITHER }, { "\xef\xbb\xbf{" OCT "}", NEITHER },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *what = parse(rows[i].text, NULL, false);

		if (!CHECK(what ? rows[i].what && strcmp(what, rows[i].what) == 0 : !rows[i].what))
			printf("\t%s: %s\n", rows[i].text, what ? what : "taken");
	}
	CHECK(strcmp(parse("{" OCT "}", "k", false), "a JWK has its own kid; KID= is for PEM") == 0);

	/* --allow-weak-secret lets a secret be short, of whatever algorithm, but not empty. */
	CHECK(parse("{'kty':'oct','alg':'HS512','k':'AAAA'}", NULL, true) == NULL);
	CHECK(parse("{'kty':'oct','k':''}", NULL, true) != NULL);
}

/* What a key says of its tokens is kept. */
static void says(void)
{
	size_t n;
	const uint8_t *most;

	CHECK(parse("{'keys':[{" EC ",'kid':'p\\u006c','issuer':'joe','token_use':'many',"
	    "'permissions':{'sub':['/p/*'],'pub':['/p/c']}},{" RSA ",'permissions':{}}]}", NULL, false) ==
	    NULL);
	CHECK(key_find(&ring, (const uint8_t *)"pl", 2) == 0);
	CHECK(strcmp(key_issuer(&ring, 0), "joe") == 0 && key_token_use(&ring, 0) == KEY_USE_MANY);
	most = key_ceiling(&ring, 0, &n);
	CHECK(most && grants_cover(most, n, GRANT_SUB, (const uint8_t *)"/p/x", 4));
	CHECK(grants_cover(most, n, GRANT_PUB, (const uint8_t *)"/p/c", 4));
	CHECK(!grants_cover(most, n, GRANT_PUB, (const uint8_t *)"/p/x", 4));
	CHECK(key_kid(&ring, 1, &n) == NULL && key_issuer(&ring, 1) == NULL);
	CHECK(key_ceiling(&ring, 1, &n) != NULL && n == 0);
	CHECK(verify(0, vectors[2].jws) == WHY_OK && verify(1, vectors[1].jws) == WHY_OK);
	CHECK(verify(1, vectors[2].jws) != WHY_OK && verify(0, vectors[1].jws) != WHY_OK);
}

/* The key of RFC 7515 A.3 in PEM. */
#define BEGIN "-----BEGIN PUBLIC KEY-----\n"
#define BODY "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n" \
	"6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
#define END "-----END PUBLIC KEY-----\n"

static void pems(void)
{
	static const struct { const char *pem, *what; } rows[] = {
		{ BEGIN BODY END, NULL }, { "-----BEGIN PUBLIC KEY-----\r\n" BODY "\r\n" END "\n \t\r\n", NULL },
		{ " \nsubject=x\n" BEGIN BODY END "and so on", NULL },	/* RFC 7468 2: what else stands there */
		{ BEGIN BODY END BEGIN BODY END, "holds more than a public key" },
		{ BEGIN BODY END "-----BEGIN CERTIFICATE-----\n" BODY "-----END CERTIFICATE-----\n",
		  "holds more than a public key" },
		{ "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
		  "-----BEGIN EC PRIVATE KEY-----\n" BODY END,
		  "is a private key; give sluice the public one: openssl pkey -pubout" },
		{ BEGIN BODY, "is PEM that was cut or damaged" },
		{ BEGIN END, "is no public key in DER (RFC 5280 4.1)" },
		{ BEGIN "AAAA\n" END, "is no public key in DER (RFC 5280 4.1)" },
		{ BEGIN "MF-w\n" END, "is PEM that was cut or damaged" },
		{ BEGIN "MF_w\n" END, "is PEM that was cut or damaged" },
		{ BEGIN "MF\\w\n" END, "is PEM that was cut or damaged" },
		{ BEGIN "MFk\n" END, "is PEM that was cut or damaged" },
		{ BEGIN "MFk=\n" END, "is no public key in DER (RFC 5280 4.1)" },
		{ "-----BEGIN CERTIFICATE-----\n" BODY END, "is no PUBLIC KEY in PEM (RFC 7468 13)" },
		{ "-----BEGIN PUBLIC KEY-----", "is PEM that was cut or damaged" },
		{ "-----BEGIN PUBLIC KEY", "is PEM that was cut or damaged" },
		{ "ssh-ed25519 AAAA", "is neither a JWK Set nor a PEM public key" },
		{ "-----BEGIN PRIVATE KEY-----\n" BODY END,
		  "is a private key; give sluice the public one: openssl pkey -pubout" },
		{ "-----BEGIN RSA PRIVATE KEY-----\n" BODY END,
		  "is a private key; give sluice the public one: openssl pkey -pubout" },
		{ "-----BEGIN ENCRYPTED PRIVATE KEY-----\n" BODY END,
		  "is a private key; give sluice the public one: openssl pkey -pubout" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *what = parse(rows[i].pem, i & 1 ? "k" : NULL, false);

		if (!CHECK(what ? rows[i].what && strcmp(what, rows[i].what) == 0 : !rows[i].what))
			printf("\t%s: %s\n", rows[i].pem, what ? what : "taken");
	}
	CHECK(parse(BEGIN BODY END, "plant", false) == NULL);
	CHECK(key_find(&ring, (const uint8_t *)"plant", 5) == 0 && ring.key[0].alg == KEY_ES256);
	CHECK(verify(0, vectors[2].jws) == WHY_OK);

	/* Ed25519 (RFC 8410): passed over, and so nothing is left. */
	CHECK(strcmp(parse(BEGIN "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n" END, NULL,
	    false), "holds no key for sluice") == 0 && npassed == 1);
}

/* A secret that is somebody's public key, which everybody may know. */
static void public_secrets(void)
{
	static const char *const bad[] = { BEGIN BODY END, ("  \n" BEGIN), "-----BEGIN CERTIFICATE-----\nMII",
		"\xef\xbb\xbf" BEGIN, "subject=CN = plant\n\n-----BEGIN CERTIFICATE-----\nMII" };
	uint8_t der[400], raw[256] = { 0x30, 0x82, 1, 0x0a, 2, 0x82, 1, 1, 0 };
	char json[1200], text[800];
	size_t n;

	for (size_t i = 0; i <= 5; i++) {
		const uint8_t *p = (const uint8_t *)bad[i % 5];

		n = strlen(bad[i % 5]);
		if (i == 5) {			/* the first in DER */
			CHECK(b64url_decode(der, &n, (const uint8_t *)"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83O"
			    "J3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72bfocs3-257rn0s2ldbqkLJK2KRiMohYjlrQ", 122));
			p = der;
		}
		b64url_encode(text, p, n);
		snprintf(json, sizeof json, "{'kty':'oct','k':'%.*s'}", (int)B64URL_LEN(n), text);
		CHECK(strcmp(parse(json, NULL, true), "key 1: the secret is a key in PEM or DER: whoever has a "
		    "public key can sign with it") == 0);
	}

	/* What only begins like one is as good as any other. */
	b64url_encode(text, raw, sizeof raw);
	snprintf(json, sizeof json, "{'kty':'oct','k':'%.*s'}", (int)B64URL_LEN(sizeof raw), text);
	CHECK(parse(json, NULL, false) == NULL);
}

/* Cut anywhere, with any byte changed: no crash, and what is in the ring is a key. */
static void damage(void)
{
	static const char *const whole[] = { BEGIN BODY END, "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\""
		A3_X "\",\"y\":\"" A3_Y "\",\"kid\":\"a\",\"permissions\":{\"sub\":[\"/\"]}}]}" };
	uint64_t seed = 7;

	for (size_t i = 0; i < 2; i++) {
		const size_t n = strlen(whole[i]), enough = i == 0 ? n - strlen("PUBLIC KEY-----\n") : n - 1;
		char text[512];

		for (size_t cut = 0; cut < enough; cut++) {
			snprintf(text, cut + 1, "%s", whole[i]);
			CHECK(parse(text, NULL, false) != NULL);
		}
		for (size_t k = 0; k < n; k++) {
			strcpy(text, whole[i]);
			text[k] = (char)(check_random(&seed) % 255 + 1);
			parse(text, NULL, false);
			CHECK(ring.n <= 1);
		}
	}
}

CHECK_MAIN(keyfile, RUN(rfc_vectors) RUN(ecdsa_range) RUN(ecdsa_second_form) RUN(jwks) RUN(files)
    RUN(says) RUN(pems) RUN(public_secrets) RUN(damage))
