/* pk.h - of verifying what BearSSL does: the longer hashes, RSA, elliptic curves.
 *
 * Pure. size: 0, 1, 2 for SHA-256, -384, -512, and for P-256, P-384, P-521. */

#ifndef PK_H
#define PK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* size 1 or 2; 48 or 64 bytes. CT: time depends on the lengths only. */
void pk_hash(uint8_t *out, unsigned size, const void *input, size_t n);
void pk_hmac(uint8_t *mac, unsigned size, const uint8_t *secret, size_t len, const void *input, size_t n);

/* Is it on its curve? 04 x y, of the curve's length. */
bool pk_point(unsigned size, const uint8_t *p, size_t n);

/* x, of the modulus's n bytes, is raised to e (RFC 8017 5.2.2). False: it is not below the modulus. */
bool pk_rsa(uint8_t *x, const uint8_t *modulus, size_t n, const uint8_t *e, size_t e_len);

/* signature: r s, as in RFC 7518 3.4. */
bool pk_ecdsa(unsigned size, const uint8_t *point, size_t n, const uint8_t *hash, size_t hash_len,
    const uint8_t *signature, size_t len);

#endif
