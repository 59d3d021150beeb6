/* v1.h - the messages of the subprotocol sluice.v1.
 *
 * Pure: touches only the memory it is handed. */

#ifndef V1_H
#define V1_H

#include <stddef.h>
#include <stdint.h>

#include "http.h"
#include "why.h"

enum v1_what { V1_BAD, V1_AUTH, V1_SUB, V1_UNSUB, V1_PUB };

#define V1_ID_MAX 64u

/* Spans point into the text that was read; p is NULL where there is none. */
struct v1_op {
	enum v1_what what;
	struct span token, subject, data, since;	/* unescaped; they may hold NULs */
	struct span id;		/* as it stood there: a number, or a string with its quotes */
	int64_t replay;		/* -1: none */
};

/* Read one operation; its strings are unescaped in place. It has what it needs (token; subject;
 * subject and data), and everything in it is of the right type; members that are not ours are
 * passed over. If not: V1_BAD, and only the id holds, if one was found. */
void v1_read(struct v1_op *op, uint8_t *text, size_t n);

#define V1_REPLY_MAX 704u

/* Whole text frames; each returns its length. An id or subject without a p is left out, and so is
 * what is too long to be a subject. */
size_t v1_ok(uint8_t out[V1_REPLY_MAX], struct span id);
size_t v1_error(uint8_t out[V1_REPLY_MAX], struct span id, struct span subject, enum why why);
size_t v1_ready(uint8_t out[V1_REPLY_MAX], struct span id, int64_t expires_s);	/* < 0: null */
size_t v1_gap(uint8_t out[V1_REPLY_MAX], struct span subject, uint64_t missed);	/* UINT64_MAX: null */
size_t v1_expiring(uint8_t out[V1_REPLY_MAX], int64_t in_s);

#endif
