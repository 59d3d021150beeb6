#include "key.h"

#include <string.h>

#include "ct.h"

void key_set_secret(struct keyring *k, const uint8_t *secret, size_t n)
{
	hmac_key_init(&k->hmac, secret, n);
	k->set = true;
}

bool key_same(const struct keyring *a, const struct keyring *b)
{
	uint8_t x[SHA256_LEN], y[SHA256_LEN];

	hmac_sign(&a->hmac, "", 0, x);
	hmac_sign(&b->hmac, "", 0, y);
	return a->set == b->set && ct_equal(x, y, sizeof x);
}

void key_wipe(struct keyring *k)
{
	ct_wipe(k, sizeof *k);
}

/* HS, RS or ES, and 256, 384 or 512 (RFC 7518 3.1). */
static bool alg_known(const uint8_t *alg, size_t n)
{
	return n == 5 && alg[1] == 'S' && memchr("HRE", alg[0], 3) &&
	    (memcmp(alg + 2, "256", 3) == 0 || memcmp(alg + 2, "384", 3) == 0 ||
	    memcmp(alg + 2, "512", 3) == 0);
}

enum why key_pick(const struct keyring *k, const uint8_t *alg, size_t n)
{
	if (!alg_known(alg, n))
		return WHY_ALG_NOT_ALLOWED;
	if (!k->set)
		return WHY_KEY_UNKNOWN;
	return memcmp(alg, "HS256", 5) == 0 ? WHY_OK : WHY_ALG_NOT_ALLOWED;
}

enum why key_verify(const struct keyring *k, const void *input, size_t n,
    const uint8_t *signature, size_t len)
{
	uint8_t mac[SHA256_LEN];

	hmac_sign(&k->hmac, input, n, mac);
	return len == sizeof mac && ct_equal(mac, signature, sizeof mac) ?
	    WHY_OK : WHY_SIGNATURE_INVALID;
}
