/* sha256_test.c again, on a processor without SHA instructions: this stands in for
 * sha256_hw.c. */

#include "sha256_hw.h"
#include "sha256_test.c"

bool sha256_hw(uint32_t h[8], const uint8_t *p, size_t n, const uint32_t k[64])
{
	(void)h, (void)p, (void)n, (void)k;
	return false;
}
