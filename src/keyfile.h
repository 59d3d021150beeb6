/* keyfile.h - the bytes of a key file: a JWK Set or one JWK (RFC 7517), or a PEM public key (RFC 7468).
 *
 * Takes bytes, opens nothing. What it decodes of secrets it wipes. */

#ifndef KEYFILE_H
#define KEYFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "key.h"

#define KEYFILE_MAX 65536u	/* a set with certificates in it is some 20 KB */

struct keyfile {
	const uint8_t *kid;		/* names a PEM; NULL: it has no name */
	size_t kid_len;
	bool allow_weak;
	void (*passed)(const void *arg, const char *key, const char *what);	/* one not for us */
	const void *arg;
	/* filled in */
	bool secret;			/* a secret was in it */
	char key[80];			/* which key: "key 2", "key plant"; empty: the file as a whole */
};

/* Add the keys to the ring. NULL, or what is wrong, with f->key; the ring is then to be wiped. */
const char *keyfile_read(struct keyring *k, struct keyfile *f, const uint8_t *p, size_t n);

#endif
