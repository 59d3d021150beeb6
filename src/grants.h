/* grants.h - what a token lets its bearer read and publish, in a compact form.
 *
 * Pure: touches only the memory it is handed. Grants are patterns one after another, each a
 * byte of rights, a byte of length and the pattern; they add up. */

#ifndef GRANTS_H
#define GRANTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json.h"

enum { GRANT_SUB = 1, GRANT_PUB = 2 };

#define GRANTS_MAX 4096u	/* what a connection may hold; more is claim_invalid */

struct grants {
	size_t  n;
	uint8_t s[GRANTS_MAX];
};

/* Read a "permissions" value (contract 3): after json_next(j) gave e. An object of "sub", "pub",
 * "all", each an array of valid patterns. False: not of that form, or over GRANTS_MAX. */
bool grants_read(struct grants *g, struct json *j, enum json_event e);

/* What a token without permissions may: read "/". */
void grants_default(struct grants *g);

/* To read everything: what --no-auth gives. */
void grants_everything(struct grants *g);

/* One of the patterns in s[0..n) with that right covers p, a valid subject or pattern: all
 * that p can match. */
bool grants_cover(const uint8_t *s, size_t n, unsigned right, const uint8_t *p, size_t len);

#endif
