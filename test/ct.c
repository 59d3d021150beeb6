/* Run under valgrind: the secret and what is made of it are marked undefined, so that a branch
 * or an index that depends on them is reported as an error. */

#include <stdio.h>
#include <string.h>
#include <valgrind/memcheck.h>

#include "ct.h"
#include "key.h"

int main(void)
{
	static const char input[] = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3MDAwMDAwMDB9";
	static struct keyring k;
	struct hmac_key h;
	uint8_t secret[100], signature[SHA256_LEN];
	enum why why[2];

	if (!RUNNING_ON_VALGRIND)
		return 2;
	for (size_t n = 32; n <= sizeof secret; n += 34) {	/* shorter and longer than a block */
		memset(secret, 'k', n);
		VALGRIND_MAKE_MEM_UNDEFINED(secret, n);
		key_set_secret(&k, secret, n);
		hmac_key_init(&h, secret, n);
		hmac_sign(&h, input, sizeof input - 1, signature);
		VALGRIND_MAKE_MEM_DEFINED(signature, sizeof signature);
		why[0] = key_verify(&k, 0, input, sizeof input - 1, signature, sizeof signature);
		signature[31] ^= 1;
		why[1] = key_verify(&k, 0, input, sizeof input - 1, signature, sizeof signature);
		VALGRIND_MAKE_MEM_DEFINED(why, sizeof why);
		if (why[0] != WHY_OK || why[1] != WHY_SIGNATURE_INVALID)
			return 1;
		key_wipe(&k);
		if (VALGRIND_CHECK_MEM_IS_DEFINED(&k, sizeof k))
			return 1;
	}
	puts("constant time: 1 passed, 0 failed");
	return 0;
}
