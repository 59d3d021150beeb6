/* secret.h - the HMAC secret, from a file or from SLUICE_SECRET.
 *
 * The caller wipes what it was given. */

#ifndef SECRET_H
#define SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limits.h"

/* Read the file (less one final newline), or with path NULL the variable, which is then wiped
 * from the environment. NULL, or the text of what is wrong. */
const char *secret_read(uint8_t out[SECRET_MAX], size_t *n, const char *path, bool allow_weak);

/* Keep this memory out of swap and core dumps, as far as the machine allows. */
void secret_guard(void *p, size_t n);

/* The variable is there and no file was named. */
bool secret_in_environment(void);

#endif
