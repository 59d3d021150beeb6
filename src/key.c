#include "key.h"

#include <string.h>

#include "ct.h"

/* ---- the ring ---- */

static void hash_part(struct sha256 *s, const void *p, size_t n)
{
	const uint8_t len[4] = { (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
		(uint8_t)n };

	sha256_write(s, len, sizeof len);
	sha256_write(s, p, n);
}

/* What makes two keys the same: all that can be said of them. */
static void digest(struct key *key, const struct key_spec *spec)
{
	const uint8_t head[] = { key->alg, key->token_use, key->named, spec->issuer != NULL,
		key->bounded };
	struct sha256 s;

	sha256_init(&s);
	sha256_write(&s, head, sizeof head);
	hash_part(&s, spec->p, spec->n);
	hash_part(&s, spec->e, spec->e_len);
	hash_part(&s, spec->kid, spec->kid_len);
	hash_part(&s, spec->issuer, key->issuer_len);
	hash_part(&s, key->bounded ? spec->ceiling->s : NULL, key->ceiling_len);
	sha256_end(&s, key->digest);
	ct_wipe(&s, sizeof s);
}

static uint32_t put(struct keyring *k, uint32_t at, const void *p, size_t n)
{
	if (n > 0)
		memcpy(k->pool + at, p, n);
	return at + (uint32_t)n;
}

/* Of an HMAC-SHA-256 key the state that it leaves behind, of others what was given. */
static uint32_t put_material(struct keyring *k, uint32_t at, const struct key_spec *spec)
{
	struct hmac_key h;

	if (spec->alg != KEY_HS256)
		return put(k, at, spec->p, spec->n);
	hmac_key_init(&h, spec->p, spec->n);
	at = put(k, at, &h, sizeof h);
	ct_wipe(&h, sizeof h);
	return at;
}

const char *key_add(struct keyring *k, const struct key_spec *spec)
{
	struct key key = { .alg = (uint8_t)spec->alg, .token_use = (uint8_t)spec->token_use,
		.kid_len = (uint8_t)spec->kid_len, .e_len = (uint8_t)spec->e_len,
		.named = spec->kid != NULL, .bounded = spec->ceiling != NULL,
		.at = (k->used + 7) & ~7u };
	const size_t issuer = spec->issuer ? strlen(spec->issuer) + 1 : 0;
	const size_t ceiling = spec->ceiling ? spec->ceiling->n : 0;
	const size_t len = spec->alg == KEY_HS256 ? sizeof(struct hmac_key) : spec->n;

	if (spec->kid_len > CLAIM_MAX || issuer > CLAIM_MAX + 1)
		return "its kid or issuer has more than 255 bytes";
	if (k->n == KEYS_MAX ||
	    key.at + len + spec->e_len + spec->kid_len + issuer + ceiling > sizeof k->pool)
		return "there are too many keys";
	key.len = (uint16_t)len;
	key.issuer_len = (uint16_t)issuer;
	key.ceiling_len = (uint16_t)ceiling;
	digest(&key, spec);
	k->used = put_material(k, key.at, spec);
	k->used = put(k, k->used, spec->e, spec->e_len);
	k->used = put(k, k->used, spec->kid, spec->kid_len);
	k->used = put(k, k->used, spec->issuer, issuer);
	k->used = put(k, k->used, spec->ceiling ? spec->ceiling->s : NULL, ceiling);
	k->key[k->n++] = key;
	return NULL;
}

void key_set_secret(struct keyring *k, const uint8_t *secret, size_t n)
{
	key_wipe(k);
	key_add(k, &(struct key_spec){ .alg = KEY_HS256, .p = secret, .n = n });
}

void key_wipe(struct keyring *k)
{
	ct_wipe(k->pool, k->used);
	ct_wipe(k, offsetof(struct keyring, pool));
}

void keys_map(uint8_t map[KEYS_MAX], const struct keyring *old, const struct keyring *fresh)
{
	for (uint32_t i = 0; i < KEYS_MAX; i++) {
		map[i] = KEY_NONE;
		for (uint32_t j = 0; i < old->n && j < fresh->n; j++)
			if (ct_equal(old->key[i].digest, fresh->key[j].digest, SHA256_LEN))
				map[i] = (uint8_t)j;
	}
}

static const uint8_t *kid_of(const struct keyring *k, const struct key *key)
{
	return k->pool + key->at + key->len + key->e_len;
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

static unsigned alg_read(const uint8_t *alg, size_t n)
{
	unsigned i = 0;

	while (i < KEY_ALGS && (n != 5 || memcmp(alg, names[i], 5) != 0))
		i++;
	return i;
}

static bool has_name(const struct keyring *k, const struct key *key, const uint8_t *kid, size_t n)
{
	return key->named && key->kid_len == n && memcmp(kid_of(k, key), kid, n) == 0;
}

enum why key_pick(const struct keyring *k, uint8_t *key, const uint8_t *kid, size_t kid_len,
    const uint8_t *alg, size_t alg_len)
{
	const unsigned want = alg_read(alg, alg_len);
	unsigned candidates = 0, fitting = 0;
	bool by_name = false;

	if (want == KEY_ALGS)
		return WHY_ALG_NOT_ALLOWED;
	for (uint32_t i = 0; i < k->n && kid; i++)
		by_name |= has_name(k, &k->key[i], kid, kid_len);
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

static bool verify_hs256(const uint8_t *key, const void *input, size_t n,
    const uint8_t *signature, size_t len)
{
	const struct hmac_key *h = (const void *)key;
	uint8_t mac[SHA256_LEN];

	hmac_sign(h, input, n, mac);
	return len == sizeof mac && ct_equal(mac, signature, sizeof mac);
}

enum why key_verify(const struct keyring *k, uint8_t i, const void *input, size_t n,
    const uint8_t *signature, size_t len)
{
	const struct key *key = &k->key[i];

	return key->alg == KEY_HS256 && verify_hs256(k->pool + key->at, input, n, signature, len) ?
	    WHY_OK : WHY_SIGNATURE_INVALID;
}
