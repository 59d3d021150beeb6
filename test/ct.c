/* Run under valgrind: the secret and what is made of it are marked undefined, so that a branch
 * or an index that depends on them is reported as an error. */

#include <stdio.h>
#include <string.h>
#include <valgrind/memcheck.h>

#include "ct.h"
#include "key.h"

static const char input[] = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3MDAwMDAwMDB9";
static struct keyring k;
static uint8_t secret[300];

/* The right signature and a wrong one. */
static bool judge(void)
{
	uint8_t signature[KEY_MAC_MAX];
	enum why why[2];
	const size_t n = key_sign(&k, 0, input, sizeof input - 1, signature);

	VALGRIND_MAKE_MEM_DEFINED(signature, sizeof signature);
	why[0] = key_verify(&k, 0, input, sizeof input - 1, signature, n);
	signature[n - 1] ^= 1;
	why[1] = key_verify(&k, 0, input, sizeof input - 1, signature, n);
	VALGRIND_MAKE_MEM_DEFINED(why, sizeof why);
	key_wipe(&k);
	return why[0] == WHY_OK && why[1] == WHY_SIGNATURE_INVALID &&
	    !VALGRIND_CHECK_MEM_IS_DEFINED(&k, sizeof k);
}

int main(void)
{
	if (!RUNNING_ON_VALGRIND)
		return 2;
	for (size_t n = 64; n <= sizeof secret; n += 78) {	/* shorter and longer than a block */
		memset(secret, 'k', n);
		VALGRIND_MAKE_MEM_UNDEFINED(secret, n);
		key_set_secret(&k, secret, n);
		if (!judge())
			return 1;

		/* Whether it is a public key is looked at when it is added, and only then. (The state that
		 * HS256 keeps has lengths in it, which are no secret.) */
		for (enum key_alg alg = KEY_HS384; alg <= KEY_HS512; alg++) {
			VALGRIND_MAKE_MEM_DEFINED(secret, n);
			if (key_add(&k, &(struct key_spec){ .alg = alg, .p = secret, .n = n }))
				return 1;
			VALGRIND_MAKE_MEM_UNDEFINED(k.pool, k.used);
			if (!judge())
				return 1;
		}
	}
	puts("constant time: 1 passed, 0 failed");
	return 0;
}
