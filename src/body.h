/* body.h - the body of a request (RFC 9112 6 and 7.1), strictly, as it comes.
 *
 * Pure: touches only the memory it is handed. What is odd in a body's framing is an error, after
 * which nothing that follows may be read as a request. */

#ifndef BODY_H
#define BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BODY_EXT_MAX 256u	/* bytes of a body's chunk extensions, which nobody sends */
#define BODY_TRAILER_MAX 1024u	/* of its trailer section, which is thrown away */

struct body {
	uint64_t left;		/* payload bytes still to come: of the body, or of this chunk */
	uint16_t ext, trailer;	/* bytes taken so far */
	uint8_t  digits;	/* of this chunk's size */
	uint8_t  state;
	bool     chunked;
};

enum body_result {
	BODY_MORE,		/* all was taken, and there is more to come */
	BODY_DONE,		/* *used bytes were taken; said again from then on */
	BODY_BAD,		/* likewise */
	BODY_BIG,		/* more than cap: known as soon as a length says so */
};

/* length is that of Content-Length, 0 where there is none; it means nothing if chunked. */
void body_init(struct body *b, bool chunked, uint64_t length);

/* Take what belongs to the body off in[0..n), which may be cut anywhere, and append the payload
 * to out[*len..cap). in and out do not overlap; cap is the same each time. */
enum body_result body_read(struct body *b, const uint8_t *in, size_t n, size_t *used,
    uint8_t *out, size_t *len, size_t cap);

#endif
