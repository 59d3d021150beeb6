/* b64.h - base64 (RFC 4648 4) and base64url without padding (RFC 4648 5, RFC 7515 2).
 *
 * Pure: touches only the memory it is handed. */

#ifndef B64_H
#define B64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define B64URL_LEN(n) (((n) * 4 + 2) / 3)	/* characters for n bytes */
#define B64_LEN(n) (((n) + 2) / 3 * 4)

/* Decode canonical base64url: no padding, no foreign character, zero trailing bits
 * (RFC 4648 3.5). out has room for n / 4 * 3 + 2 bytes; it may be in itself.
 * False: *len is untouched, out holds nothing of use. The empty text is canonical. */
bool b64url_decode(uint8_t *out, size_t *len, const uint8_t *in, size_t n);

/* Exactly B64URL_LEN(n) or B64_LEN(n) characters, no NUL. */
void b64url_encode(char *out, const uint8_t *in, size_t n);
void b64_encode(char *out, const uint8_t *in, size_t n);	/* with padding */

#endif
