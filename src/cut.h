/* cut.h - a byte stream cut into messages.
 *
 * Pure: memory is the caller's. Whatever pieces the bytes come in, the messages are the same
 * (but for FRAMING_CHUNK, where the pieces are the messages). */

#ifndef CUT_H
#define CUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum framing { FRAMING_LINES, FRAMING_NUL, FRAMING_LEN32, FRAMING_CHUNK };

enum cut_result {
	CUT_MESSAGE,		/* p[0..n), valid until the next cut_room */
	CUT_MORE,		/* nothing until more is read, or ever if the end was said */
	CUT_TOO_LARGE,		/* one message over the limit is being thrown away */
	CUT_TRUNCATED,		/* the stream ended within a message that said how long it is */
};

struct cut {
	uint8_t *buf;
	size_t   cap, max;
	size_t   start, end;	/* what is there */
	size_t   scanned;	/* bytes from start on without a delimiter */
	size_t   taken;		/* bytes that cut_done will take */
	uint64_t skip;		/* bytes of a too large message still to come (len32) */
	bool     discard;	/* the same, up to the next delimiter */
	bool     eof;
	enum framing framing;
};

/* The bytes that buf must have for messages of max bytes. */
size_t cut_size(size_t max);
void cut_init(struct cut *c, uint8_t *buf, enum framing framing, size_t max);

/* Where to read the next bytes to, at most *n > 0 of them, and how many were read. Only after
 * CUT_MORE. cut_end: there will be no more. */
uint8_t *cut_room(struct cut *c, size_t *n);
void cut_read(struct cut *c, size_t n);
void cut_end(struct cut *c);

/* The next message; the same again until cut_done. Other results need no cut_done. */
enum cut_result cut_next(struct cut *c, const uint8_t **p, size_t *n);
void cut_done(struct cut *c);

#endif
