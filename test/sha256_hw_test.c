/* What sha256_hw promises beside the right digests, which sha256_test.c looks at. */

#include "check.h"
#include "sha256_hw.h"

#define BLOCKS 9u

/* Many blocks are as one each, aligned or not, and none change nothing. */
static void blocks(void)
{
	uint64_t seed = 1;
	uint32_t k[64], before[8], whole[8], each[8];
	uint8_t in[64 * BLOCKS], odd[64 * BLOCKS + 1];

	for (size_t i = 0; i < sizeof in; i++)
		in[i] = (uint8_t)check_random(&seed);
	memcpy(odd + 1, in, sizeof in);
	for (size_t i = 0; i < 64; i++)
		k[i] = check_random(&seed);
	for (size_t i = 0; i < 8; i++)
		before[i] = check_random(&seed);
	for (size_t n = 0; n <= BLOCKS; n++) {
		memcpy(whole, before, sizeof whole);
		memcpy(each, before, sizeof each);

		const bool can = sha256_hw(whole, guard(0, in, 64 * n), n, k);

		for (size_t i = 0; i < n; i++)
			CHECK(sha256_hw(each, odd + 1 + 64 * i, 1, k) == can);
		CHECK_BYTES(whole, each, sizeof whole);
		CHECK((memcmp(whole, before, sizeof whole) != 0) == (can && n > 0));
	}
}

static void there(void)
{
	static const uint32_t k[64];
	uint32_t h[8] = { 0 };

	if (!sha256_hw(h, (const uint8_t *)"", 0, k))
		puts("no SHA instructions on this processor: their tests are skipped");
}

CHECK_MAIN(sha256_hw, RUN(there) RUN(blocks))
