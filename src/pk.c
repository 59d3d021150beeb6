#include "pk.h"

#include <bearssl.h>
#include <string.h>

#include "ct.h"

#define POINT_MAX (1 + 2 * 66u)

void pk_hash(uint8_t *out, unsigned size, const void *input, size_t n)
{
	br_sha512_context c;		/* SHA-384's is the same */

	if (size == 1) {
		br_sha384_init(&c);
		br_sha384_update(&c, input, n);
		br_sha384_out(&c, out);
	} else {
		br_sha512_init(&c);
		br_sha512_update(&c, input, n);
		br_sha512_out(&c, out);
	}
}

void pk_hmac(uint8_t *mac, unsigned size, const uint8_t *secret, size_t len, const void *input, size_t n)
{
	br_hmac_key_context key;
	br_hmac_context c;

	br_hmac_key_init(&key, size == 1 ? &br_sha384_vtable : &br_sha512_vtable, secret, len);
	br_hmac_init(&c, &key, 0);
	br_hmac_update(&c, input, n);
	br_hmac_out(&c, mac);
	ct_wipe(&key, sizeof key);
	ct_wipe(&c, sizeof c);
}

static const br_ec_impl *curve_code(unsigned size)
{
	return size == 0 ? &br_ec_p256_m31 : &br_ec_prime_i31;
}

/* RFC 8422 5.1.1, and BearSSL's. */
static int curve(unsigned size)
{
	return BR_EC_secp256r1 + (int)size;
}

/* BearSSL tells when it multiplies a point, here by one. */
bool pk_point(unsigned size, const uint8_t *p, size_t n)
{
	static const uint8_t one[] = { 1 };
	uint8_t point[POINT_MAX];

	memcpy(point, p, n);
	return curve_code(size)->mul(point, n, one, sizeof one, curve(size));
}

/* BearSSL's keys point to what it does not change, but not to const. */
static uint8_t *unchanged(const uint8_t *p)
{
	return (uint8_t *)(uintptr_t)p;
}

bool pk_rsa(uint8_t *x, const uint8_t *modulus, size_t n, const uint8_t *e, size_t e_len)
{
	const br_rsa_public_key pk = { unchanged(modulus), n, unchanged(e), e_len };

	return br_rsa_public_get_default()(x, n, &pk);
}

bool pk_ecdsa(unsigned size, const uint8_t *point, size_t n, const uint8_t *hash, size_t hash_len,
    const uint8_t *signature, size_t len)
{
	const br_ec_public_key pk = { curve(size), unchanged(point), n };

	return br_ecdsa_i31_vrfy_raw(curve_code(size), hash, hash_len, &pk, signature, len);
}
