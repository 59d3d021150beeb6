/* sha256_hw.h - SHA-256's compression with the processor's own instructions.
 *
 * Touches the memory it is handed, and asks the processor once what it can do. For sha256.c
 * only. CT: no branch or index depends on the data. */

#ifndef SHA256_HW_H
#define SHA256_HW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Take n blocks of 64 bytes into the state h; k is FIPS 180-4 4.2.2. False, and nothing is
 * done: the processor, or the compiler, has no such instructions. */
bool sha256_hw(uint32_t h[8], const uint8_t *p, size_t n, const uint32_t k[64]);

#endif
