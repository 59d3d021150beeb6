/* sha256_hw.c - SHA-NI of x86 (Intel SDM 2B), SHA2 of ARMv8 (Arm ARM C7.2, F6.1).
 *
 * Both take four steps of FIPS 180-4 6.2.2 at a time: w[0] is their part of the schedule, w[1]
 * to w[3] are for the twelve steps after them, and what then follows is made meanwhile. The
 * steps wait for each other, so that unrolling gains 3 % and is left out. */

#include "sha256_hw.h"

#if defined(__x86_64__) || defined(__i386__)

#include <cpuid.h>
#include <immintrin.h>

#define HAVE_HW
#define TARGET __attribute__((target("sha,ssse3")))

static bool ask(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSSE3) &&
	    __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

TARGET static inline __m128i load(const void *p)
{
	return _mm_loadu_si128(p);
}

TARGET static void compress(uint32_t h[8], const uint8_t *p, size_t n, const uint32_t k[64])
{
	const __m128i swap = _mm_set_epi32(0x0c0d0e0f, 0x08090a0b, 0x04050607, 0x00010203);
	/* The instructions want abef in one and cdgh in the other, the first on top. */
	const __m128i badc = _mm_shuffle_epi32(load(h), 0xb1);
	const __m128i fehg = _mm_shuffle_epi32(load(h + 4), 0xb1);
	__m128i abef = _mm_unpacklo_epi64(fehg, badc), cdgh = _mm_unpackhi_epi64(fehg, badc);

	for (; n > 0; n--, p += 64) {
		const __m128i abef_before = abef, cdgh_before = cdgh;
		__m128i w[4];

		for (int i = 0; i < 4; i++)
			w[i] = _mm_shuffle_epi8(load(p + 16 * i), swap);
		for (int i = 0; i < 64; i += 4) {
			const __m128i wk = _mm_add_epi32(w[0], load(k + i));
			const __m128i next = _mm_sha256msg2_epu32(
			    _mm_add_epi32(_mm_sha256msg1_epu32(w[0], w[1]),
			    _mm_alignr_epi8(w[3], w[2], 4)), w[3]);

			/* Two steps make the old abef the new cdgh; after two more the names
			 * are right again. */
			cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);
			abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(wk, 0x0e));
			w[0] = w[1], w[1] = w[2], w[2] = w[3], w[3] = next;
		}
		abef = _mm_add_epi32(abef, abef_before);
		cdgh = _mm_add_epi32(cdgh, cdgh_before);
	}
	_mm_storeu_si128((__m128i *)h, _mm_shuffle_epi32(_mm_unpackhi_epi64(abef, cdgh), 0xb1));
	_mm_storeu_si128((__m128i *)(h + 4),
	    _mm_shuffle_epi32(_mm_unpacklo_epi64(abef, cdgh), 0xb1));
}

#elif defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && \
	(!defined(__clang__) || __clang_major__ >= 16)	/* before: whole files only */
#define HAVE_ARM
#define TARGET __attribute__((target("+crypto")))
#elif defined(__arm__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && \
	__ARM_ARCH >= 7 && defined(__ARM_FP) && !defined(__clang__)
#define HAVE_ARM
#define TARGET __attribute__((target("fpu=crypto-neon-fp-armv8")))
#endif

#ifdef HAVE_ARM

#define HAVE_HW

#include <arm_neon.h>
#include <sys/auxv.h>

static bool ask(void)
{
#ifdef __aarch64__
	return getauxval(AT_HWCAP) & HWCAP_SHA2;
#else
	return getauxval(AT_HWCAP2) & 1 << 3;	/* HWCAP2_SHA2, which not every libc names */
#endif
}

TARGET static void compress(uint32_t h[8], const uint8_t *p, size_t n, const uint32_t k[64])
{
	uint32x4_t abcd = vld1q_u32(h), efgh = vld1q_u32(h + 4);

	for (; n > 0; n--, p += 64) {
		const uint32x4_t abcd_before = abcd, efgh_before = efgh;
		uint32x4_t w[4];

		for (int i = 0; i < 4; i++)
			w[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(p + 16 * i)));
		for (int i = 0; i < 64; i += 4) {
			const uint32x4_t wk = vaddq_u32(w[0], vld1q_u32(k + i));
			const uint32x4_t next = vsha256su1q_u32(vsha256su0q_u32(w[0], w[1]), w[2], w[3]);
			const uint32x4_t old = abcd;

			abcd = vsha256hq_u32(abcd, efgh, wk);
			efgh = vsha256h2q_u32(efgh, old, wk);
			w[0] = w[1], w[1] = w[2], w[2] = w[3], w[3] = next;
		}
		abcd = vaddq_u32(abcd, abcd_before);
		efgh = vaddq_u32(efgh, efgh_before);
	}
	vst1q_u32(h, abcd);
	vst1q_u32(h + 4, efgh);
}

#endif

#ifdef HAVE_HW

bool sha256_hw(uint32_t h[8], const uint8_t *p, size_t n, const uint32_t k[64])
{
	static int8_t can;	/* 0: not asked yet; asking can take a microsecond */

	if (can == 0)
		can = ask() ? 1 : -1;
	if (can < 0)
		return false;
	compress(h, p, n, k);
	return true;
}

#else

bool sha256_hw(uint32_t h[8], const uint8_t *p, size_t n, const uint32_t k[64])
{
	(void)h, (void)p, (void)n, (void)k;
	return false;
}

#endif
