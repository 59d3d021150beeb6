/* sha256.h - SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 2104).
 *
 * Pure: touches only the memory it is handed. Contexts are the caller's, hold no
 * pointers and may be copied. CT: no branch or index depends on the data. */

#ifndef SHA256_H
#define SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_LEN 32u

struct sha256 {
	uint32_t h[8];
	uint64_t n;		/* bytes taken so far */
	uint8_t  block[64];	/* the last n % 64 of them */
};

void sha256_init(struct sha256 *s);
void sha256_write(struct sha256 *s, const void *p, size_t n);
void sha256_end(struct sha256 *s, uint8_t out[SHA256_LEN]);

/* The two states that a key leaves behind, after a block each; a MAC starts from copies of
 * them, which saves two of its blocks. */
struct hmac_key {
	uint32_t inner[8], outer[8];
};

/* Any length of key; one over 64 bytes is hashed first (RFC 2104 2). */
void hmac_key_init(struct hmac_key *k, const void *key, size_t n);
void hmac_sign(const struct hmac_key *k, const void *p, size_t n,
    uint8_t out[SHA256_LEN]);

#endif
