/* der.h - public keys in DER: SubjectPublicKeyInfo (RFC 5280 4.1), and RSAPublicKey (RFC 8017 A.1.1);
 * and what a certificate says of its key and its days.
 *
 * Pure. Strict: definite lengths in their shortest form, nothing after the end. */

#ifndef DER_H
#define DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum der_kind { DER_RSA, DER_P256, DER_P384, DER_P521, DER_OTHER };

/* Points into what was read. */
struct der_key {
	enum der_kind kind;
	const uint8_t *p, *e;		/* RSA: modulus and exponent, no zeros in front; EC: the point */
	size_t n, e_len;
};

/* False: it is no SubjectPublicKeyInfo. One of another algorithm or curve is DER_OTHER. */
bool der_public_key(struct der_key *k, const uint8_t *p, size_t n);

bool der_rsa_public_key(struct der_key *k, const uint8_t *p, size_t n);

struct der_certificate {
	struct der_key key;
	int64_t from_s, to_s;		/* when it is valid, both included; seconds since 1970 */
};

/* False: it is no Certificate (RFC 5280 4.1). Its signature is not looked at. */
bool der_certificate(struct der_certificate *c, const uint8_t *p, size_t n);

#endif
