/* key.h - the keyring: which key a token may be verified with, and verifying.
 *
 * Takes bytes, opens nothing. Secrets live here and nowhere else; a ring is wiped before it
 * is reused. A ring of zeros is empty; it holds no pointers and may be copied. */

#ifndef KEY_H
#define KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "grants.h"
#include "limits.h"
#include "sha256.h"
#include "why.h"

#define KEYS_MAX 64u
#define KEY_NONE 255u
#define KEY_POOL 65536u		/* 64 keys of RSA-4096 and their names; ceilings are rarely long */

#define SECRET_MIN 32u		/* RFC 7518 3.2: as long as the hash, of SHA-256 */
#define KEY_MAC_MAX 64u

enum key_alg {			/* RFC 7518 3.1: three each of HS, RS, ES */
	KEY_HS256, KEY_HS384, KEY_HS512,
	KEY_RS256, KEY_RS384, KEY_RS512,
	KEY_ES256, KEY_ES384, KEY_ES512,
	KEY_ALGS
};

enum key_use { KEY_USE_UNSAID, KEY_USE_ONCE, KEY_USE_MANY };

/* A key to be added. */
struct key_spec {
	enum key_alg alg;
	enum key_use token_use;
	const uint8_t *kid;		/* NULL: without a name */
	size_t kid_len;
	const char *issuer;		/* NULL: the policy's */
	const struct grants *ceiling;	/* NULL: none */
	const uint8_t *p;		/* the secret, RSA's modulus, or the curve's point, 04 x y */
	size_t n;
	const uint8_t *e;		/* RSA's exponent */
	size_t e_len;
	bool allow_weak;		/* a secret may be shorter than the hash */
};

struct key {
	uint8_t  alg, token_use, kid_len, e_len;
	bool     named, bounded;	/* has a kid, a ceiling */
	uint16_t len, issuer_len, ceiling_len;
	uint8_t  source;		/* where it was read from: the caller's */
	uint32_t at;			/* in the pool: material, exponent, kid, issuer, ceiling */
};

struct keyring {
	uint32_t n, used;		/* used: of the pool */
	uint32_t npublic;		/* whose verifying takes a millisecond or ten, and not microseconds */
	struct key key[KEYS_MAX];
	_Alignas(8) uint8_t pool[KEY_POOL];
};

/* NULL, or the text of what is wrong with it: too short, even, off its curve, a kid that is there
 * already. CT: a secret is hashed; before that it is looked at only for whether it is a public
 * key. */
const char *key_add(struct keyring *k, const struct key_spec *spec);

/* Add those keys of another ring that came from this source. */
const char *key_copy(struct keyring *k, const struct keyring *from, uint8_t source);

void key_wipe(struct keyring *k);

/* A ring of one HMAC secret without a name. */
void key_set_secret(struct keyring *k, const uint8_t *secret, size_t n);

/* Which key is to verify a token (contract 2, Keys). kid: unescaped, NULL where there is none;
 * no more of it is read than CLAIM_MAX, whatever kid_len says. The key fixes the algorithm; the
 * header is only held against it. WHY_OK and *key, its index; else WHY_ALG_NOT_ALLOWED or
 * WHY_KEY_UNKNOWN, in the contract's order. */
enum why key_pick(const struct keyring *k, uint8_t *key, const uint8_t *kid, size_t kid_len,
    const uint8_t *alg, size_t alg_len);

/* WHY_OK or WHY_SIGNATURE_INVALID. CT: of a secret, time depends on the lengths only. */
enum why key_verify(const struct keyring *k, uint8_t key, const void *input, size_t n,
    const uint8_t *signature, size_t len);

/* The MAC of an HS key; returns its length. */
size_t key_sign(const struct keyring *k, uint8_t key, const void *input, size_t n,
    uint8_t mac[KEY_MAC_MAX]);

static inline bool key_is_secret(const struct keyring *k, uint8_t key)
{
	return k->key[key].alg <= KEY_HS512;
}

/* The key of that name, or KEY_NONE. */
uint8_t key_find(const struct keyring *k, const uint8_t *kid, size_t n);

/* Its kid; NULL: it has none. */
const uint8_t *key_kid(const struct keyring *k, uint8_t key, size_t *n);

/* "HS256" and so on; of a name, or KEY_ALGS if it is none. */
const char *key_alg_name(enum key_alg alg);
enum key_alg key_alg_read(const uint8_t *name, size_t n);

/* The most that tokens of that key may grant, in the form of grants.h; NULL: no ceiling. */
const uint8_t *key_ceiling(const struct keyring *k, uint8_t key, size_t *n);

/* The iss that its tokens must have; NULL: it does not say. */
const char *key_issuer(const struct keyring *k, uint8_t key);

static inline enum key_use key_token_use(const struct keyring *k, uint8_t key)
{
	return k->key[key].token_use;
}

/* map[i]: the index in fresh of the key that is key i of old in every respect, or KEY_NONE. */
void keys_map(uint8_t map[KEYS_MAX], const struct keyring *old, const struct keyring *fresh);

#endif
