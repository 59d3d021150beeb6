/* key.h - the keyring: which key a token may be verified with, and verifying.
 *
 * Takes bytes, opens nothing. Secrets live here and nowhere else; a ring is wiped before it
 * is reused. One unnamed HMAC secret for now; keys of services, by kid, are to join it. */

#ifndef KEY_H
#define KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sha256.h"
#include "why.h"

#define SECRET_MIN 32u		/* RFC 7518 3.2: as long as the hash */

#define KEYS_MAX 64u
#define KEY_NONE 255u

struct keyring {
	struct hmac_key hmac;
	bool set;
};

/* CT: secret is hashed, not compared or branched on. */
void key_set_secret(struct keyring *k, const uint8_t *secret, size_t n);
bool key_same(const struct keyring *a, const struct keyring *b);
void key_wipe(struct keyring *k);

/* The key for a header with this alg (unescaped): WHY_OK, WHY_ALG_NOT_ALLOWED or
 * WHY_KEY_UNKNOWN. The key fixes the algorithm; the header is only held against it. */
enum why key_pick(const struct keyring *k, const uint8_t *alg, size_t n);

/* WHY_OK or WHY_SIGNATURE_INVALID. CT: time depends on the lengths only. */
enum why key_verify(const struct keyring *k, const void *input, size_t n,
    const uint8_t *signature, size_t len);

#endif
