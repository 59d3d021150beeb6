/* pem.h - what a file in PEM holds (RFC 7468), by BearSSL's decoder.
 *
 * One file at a time; what was decoded is wiped. */

#ifndef PEM_H
#define PEM_H

#include <stddef.h>
#include <stdint.h>

#define PEM_MAX 65536u		/* bytes of a file: a chain with its text, as openssl prints it, is some 20 KB */

/* Hand each object among the n bytes, at most PEM_MAX, to take(), with its label and decoded, until that says
 * what is wrong. NULL, or that, or that an object was cut or damaged. Text between objects is
 * passed over; the label of an END is not looked at. */
const char *pem_read(const uint8_t *p, size_t n,
    const char *(*take)(void *to, const char *label, const uint8_t *der, size_t n), void *to);

#endif
