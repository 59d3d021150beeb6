#include "key.h"

#include <string.h>

#include "ct.h"
#include "der.h"
#include "pk.h"

#define RSA_MIN 2048u
#define RSA_MAX 4096u
#define EXPONENT_MAX 8u		/* bytes; 65537 has 3, and each costs time */

/* Of the three sizes of each family. */
static const uint8_t hash_len[] = { 32, 48, 64 }, curve_len[] = { 32, 48, 66 };

static bool is_hmac(unsigned alg)
{
	return alg < KEY_RS256;
}

static bool is_rsa(unsigned alg)
{
	return alg >= KEY_RS256 && alg < KEY_ES256;
}

/* ---- what a key must be ---- */

/* Who has the public key of another service could sign with such a secret. */
static bool is_public(const uint8_t *p, size_t n)
{
	static const char begin[] = "-----BEGIN ";
	struct der_key k;

	if (der_public_key(&k, p, n) || der_rsa_public_key(&k, p, n))
		return true;
	for (; n >= sizeof begin - 1; p++, n--)		/* behind a text, as openssl x509 writes it, too */
		if (memcmp(p, begin, sizeof begin - 1) == 0)
			return true;
	return false;
}

static const char *check_secret(const struct key_spec *spec)
{
	if (spec->n == 0)
		return "the secret is empty";
	if (is_public(spec->p, spec->n))
		return "the secret is a key in PEM or DER: whoever has a public key can sign with it";
	if (spec->n < hash_len[spec->alg] && !spec->allow_weak)
		return "the secret is shorter than its algorithm's hash (RFC 7518 3.2)";
	return NULL;
}

static void strip_zeros(const uint8_t **p, size_t *n)
{
	while (*n > 0 && **p == 0)
		++*p, --*n;
}

static const char *check_rsa(const struct key_spec *spec)
{
	const size_t n = spec->n, e = spec->e_len;

	if (n < RSA_MIN / 8 || (n == RSA_MIN / 8 && spec->p[0] < 0x80))
		return "the modulus has less than 2048 bits";
	if (n > RSA_MAX / 8)
		return "the modulus has more than 4096 bits";
	if (!(spec->p[n - 1] & 1))
		return "the modulus is even";
	if (e == 0 || !(spec->e[e - 1] & 1) || (e == 1 && spec->e[0] < 3))
		return "the exponent is even or below 3";
	return e > EXPONENT_MAX ? "the exponent has more than 64 bits" : NULL;
}

static const char *check_point(const struct key_spec *spec)
{
	const unsigned size = spec->alg - KEY_ES256;

	if (spec->n != 1 + 2u * curve_len[size] || spec->p[0] != 4)
		return "the point has not its curve's length, uncompressed";
	return pk_point(size, spec->p, spec->n) ? NULL : "the point is not on its curve";
}

static const char *check(const struct keyring *k, const struct key_spec *spec)
{
	if (spec->kid_len > CLAIM_MAX || (spec->issuer && strlen(spec->issuer) > CLAIM_MAX))
		return "its kid or issuer has more than 255 bytes";
	if (spec->kid && key_find(k, spec->kid, spec->kid_len) != KEY_NONE)
		return "another key has its kid";
	if (!SLUICE_TLS && spec->alg != KEY_HS256)
		return "this sluice was built without BearSSL, and has HS256 only";
	return !SLUICE_TLS || is_hmac(spec->alg) ? check_secret(spec) : is_rsa(spec->alg) ? check_rsa(spec) :
	    check_point(spec);
}

/* ---- the ring ---- */

static const uint8_t *kid_of(const struct keyring *k, const struct key *key)
{
	return k->pool + key->at + key->len + key->e_len;
}

/* Its bytes in the pool. */
static size_t size(const struct key *key)
{
	return (size_t)key->len + key->e_len + key->kid_len + key->issuer_len + key->ceiling_len;
}

/* A place for a key of n bytes behind the others. */
static const char *place(struct keyring *k, struct key *key, size_t n)
{
	key->at = (k->used + 7) & ~7u;
	if (k->n == KEYS_MAX || n > sizeof k->pool - key->at)
		return "there are too many keys";
	k->used = key->at + (uint32_t)n;
	k->key[k->n++] = *key;
	k->npublic += !is_hmac(key->alg);
	return NULL;
}

static uint8_t *put(uint8_t *at, const void *p, size_t n)
{
	if (n > 0)
		memcpy(at, p, n);
	return at + n;
}

static const char *add(struct keyring *k, const struct key_spec *spec)
{
	const size_t issuer = spec->issuer ? strlen(spec->issuer) + 1 : 0;
	const size_t ceiling = spec->ceiling ? spec->ceiling->n : 0;
	const size_t len = spec->alg == KEY_HS256 ? sizeof(struct hmac_key) : spec->n;
	struct key key = { .alg = (uint8_t)spec->alg, .token_use = (uint8_t)spec->token_use,
		.kid_len = (uint8_t)spec->kid_len, .e_len = (uint8_t)spec->e_len,
		.named = spec->kid != NULL, .bounded = spec->ceiling != NULL, .len = (uint16_t)len,
		.issuer_len = (uint16_t)issuer, .ceiling_len = (uint16_t)ceiling };
	const char *what = place(k, &key, len + spec->e_len + spec->kid_len + issuer + ceiling);
	uint8_t *at = k->pool + key.at;

	if (what)
		return what;
	/* Of an HMAC-SHA-256 key the state that it leaves behind, of others what was given. */
	if (spec->alg == KEY_HS256)
		hmac_key_init((void *)at, spec->p, spec->n);
	else
		memcpy(at, spec->p, len);
	at = put(at + len, spec->e, spec->e_len);
	at = put(at, spec->kid, spec->kid_len);
	at = put(at, spec->issuer, issuer);
	put(at, ceiling > 0 ? spec->ceiling->s : NULL, ceiling);
	return NULL;
}

const char *key_add(struct keyring *k, const struct key_spec *spec)
{
	struct key_spec s = *spec;

	if (is_rsa(s.alg)) {
		strip_zeros(&s.p, &s.n);	/* of JWKs, where some have one in front */
		strip_zeros(&s.e, &s.e_len);
	}
	const char *what = check(k, &s);

	return what ? what : add(k, &s);
}

const char *key_copy(struct keyring *k, const struct keyring *from, uint8_t source)
{
	const char *what = NULL;

	for (uint32_t i = 0; i < from->n && !what; i++) {
		struct key key = from->key[i];
		const uint8_t *p = from->pool + key.at;

		if (key.source != source)
			continue;
		if (key.named && key_find(k, kid_of(from, &key), key.kid_len) != KEY_NONE)
			return "another key has its kid";
		what = place(k, &key, size(&key));
		if (!what)
			memcpy(k->pool + key.at, p, size(&key));
	}
	return what;
}

void key_set_secret(struct keyring *k, const uint8_t *secret, size_t n)
{
	key_wipe(k);
	add(k, &(struct key_spec){ .alg = KEY_HS256, .p = secret, .n = n });
}

void key_wipe(struct keyring *k)
{
	ct_wipe(k->pool, k->used);
	ct_wipe(k, offsetof(struct keyring, pool));
}

/* In all that can be said of them. */
static bool same(const struct keyring *k, const struct key *a, const struct keyring *l, const struct key *b)
{
	_Static_assert(offsetof(struct key, source) == 12, "no padding is compared");
	return memcmp(a, b, offsetof(struct key, source)) == 0 &&
	    ct_equal(k->pool + a->at, l->pool + b->at, size(a));
}

void keys_map(uint8_t map[KEYS_MAX], const struct keyring *old, const struct keyring *fresh)
{
	for (uint32_t i = 0; i < KEYS_MAX; i++) {
		map[i] = KEY_NONE;
		for (uint32_t j = 0; i < old->n && j < fresh->n; j++)
			if (same(old, &old->key[i], fresh, &fresh->key[j]))
				map[i] = (uint8_t)j;
	}
}

const uint8_t *key_kid(const struct keyring *k, uint8_t i, size_t *n)
{
	*n = k->key[i].kid_len;
	return k->key[i].named ? kid_of(k, &k->key[i]) : NULL;
}

const char *key_issuer(const struct keyring *k, uint8_t i)
{
	const struct key *key = &k->key[i];

	return key->issuer_len ? (const char *)kid_of(k, key) + key->kid_len : NULL;
}

const uint8_t *key_ceiling(const struct keyring *k, uint8_t i, size_t *n)
{
	const struct key *key = &k->key[i];

	*n = key->ceiling_len;
	return key->bounded ? kid_of(k, key) + key->kid_len + key->issuer_len : NULL;
}

/* ---- picking ---- */

static const char names[KEY_ALGS][6] = { "HS256", "HS384", "HS512", "RS256", "RS384", "RS512",
	"ES256", "ES384", "ES512" };

const char *key_alg_name(enum key_alg alg)
{
	return names[alg];
}

enum key_alg key_alg_read(const uint8_t *name, size_t n)
{
	unsigned i = 0;

	while (i < KEY_ALGS && (n != 5 || memcmp(name, names[i], 5) != 0))
		i++;
	return i;
}

static bool has_name(const struct keyring *k, const struct key *key, const uint8_t *kid, size_t n)
{
	return key->named && key->kid_len == n && memcmp(kid_of(k, key), kid, n) == 0;
}

uint8_t key_find(const struct keyring *k, const uint8_t *kid, size_t n)
{
	for (uint32_t i = 0; i < k->n; i++)
		if (has_name(k, &k->key[i], kid, n))
			return (uint8_t)i;
	return KEY_NONE;
}

enum why key_pick(const struct keyring *k, uint8_t *key, const uint8_t *kid, size_t kid_len,
    const uint8_t *alg, size_t alg_len)
{
	const enum key_alg want = key_alg_read(alg, alg_len);
	const bool by_name = kid && key_find(k, kid, kid_len) != KEY_NONE;
	unsigned candidates = 0, fitting = 0;

	if (want == KEY_ALGS)
		return WHY_ALG_NOT_ALLOWED;
	for (uint32_t i = 0; i < k->n; i++) {
		const struct key *c = &k->key[i];

		if (by_name ? !has_name(k, c, kid, kid_len) : kid && c->named)
			continue;
		candidates++;
		if (c->alg != want)
			continue;
		fitting++;
		*key = (uint8_t)i;
	}
	return candidates == 0 ? WHY_KEY_UNKNOWN : fitting == 0 ? WHY_ALG_NOT_ALLOWED :
	    fitting > 1 ? WHY_KEY_UNKNOWN : WHY_OK;
}

/* ---- verifying ---- */

static void hash(uint8_t out[64], unsigned size, const void *input, size_t n)
{
	struct sha256 s;

	if (size > 0) {
		pk_hash(out, size, input, n);
		return;
	}
	sha256_init(&s);
	sha256_write(&s, input, n);
	sha256_end(&s, out);
}

size_t key_sign(const struct keyring *k, uint8_t i, const void *input, size_t n,
    uint8_t mac[KEY_MAC_MAX])
{
	const struct key *key = &k->key[i];
	const uint8_t *p = k->pool + key->at;

	if (!SLUICE_TLS || key->alg == KEY_HS256)
		hmac_sign((const void *)p, input, n, mac);
	else
		pk_hmac(mac, key->alg - KEY_HS256, p, key->len, input, n);
	return hash_len[key->alg];
}

static bool verify_hmac(const struct keyring *k, uint8_t i, const void *input, size_t n,
    const uint8_t *signature, size_t len)
{
	uint8_t mac[KEY_MAC_MAX];
	const size_t want = key_sign(k, i, input, n, mac);
	const bool same = len == want && ct_equal(mac, signature, want);

	ct_wipe(mac, sizeof mac);		/* or it could sign the next token */
	return same;
}

/* What a signature must be when it was raised to the exponent (RFC 8017 9.2). Compared whole, so
 * that there is one form. */
static void encode(uint8_t *out, size_t n, unsigned size, const void *input, size_t len)
{
	static const uint8_t info[] = { 0x30, 0, 0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 101, 3, 4, 2, 0,
		5, 0, 4, 0 };
	const size_t h = hash_len[size];
	uint8_t *at = out + n - h - sizeof info;

	memset(out, 0xff, n);
	out[0] = 0;
	out[1] = 1;
	at[-1] = 0;
	memcpy(at, info, sizeof info);
	at[1] = (uint8_t)(sizeof info - 2 + h);
	at[14] = (uint8_t)(size + 1);
	at[18] = (uint8_t)h;
	hash(at + sizeof info, size, input, len);
}

static bool verify_rsa(const struct keyring *k, const struct key *key, const void *input,
    size_t n, const uint8_t *signature, size_t len)
{
	const uint8_t *modulus = k->pool + key->at;
	uint8_t got[RSA_MAX / 8], want[RSA_MAX / 8];

	if (len != key->len)
		return false;			/* RFC 8017 8.2.2 */
	memcpy(got, signature, len);
	encode(want, len, key->alg - KEY_RS256, input, n);
	return pk_rsa(got, modulus, key->len, modulus + key->len, key->e_len) && memcmp(got, want, len) == 0;
}

static bool verify_ec(const struct keyring *k, const struct key *key, const void *input,
    size_t n, const uint8_t *signature, size_t len)
{
	const unsigned size = key->alg - KEY_ES256;
	uint8_t h[64];

	if (len != 2u * curve_len[size])
		return false;			/* RFC 7518 3.4 */
	hash(h, size, input, n);
	return pk_ecdsa(size, k->pool + key->at, key->len, h, hash_len[size], signature, len);
}

enum why key_verify(const struct keyring *k, uint8_t i, const void *input, size_t n,
    const uint8_t *signature, size_t len)
{
	const struct key *key = &k->key[i];
	const bool good = !SLUICE_TLS || is_hmac(key->alg) ? verify_hmac(k, i, input, n, signature, len) :
	    is_rsa(key->alg) ? verify_rsa(k, key, input, n, signature, len) :
	    verify_ec(k, key, input, n, signature, len);

	return good ? WHY_OK : WHY_SIGNATURE_INVALID;
}
