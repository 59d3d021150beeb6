/* sha1.h - SHA-1 (FIPS 180-4), which the opening handshake of RFC 6455 4.2.2 asks for.
 *
 * Pure. Not for anything that must resist an attacker. */

#ifndef SHA1_H
#define SHA1_H

#include <stddef.h>
#include <stdint.h>

#define SHA1_LEN 20u

/* n is at most 2^29 - 1 bytes. */
void sha1(const void *p, size_t n, uint8_t out[SHA1_LEN]);

#endif
