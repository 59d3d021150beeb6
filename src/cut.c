#include "cut.h"

#include <string.h>

#include "limits.h"

#define SLACK 4u	/* a length in front, or CR and newline behind */

size_t cut_size(size_t max)
{
	return max + SLACK > READ_SIZE ? max + SLACK : READ_SIZE;
}

void cut_init(struct cut *c, uint8_t *buf, enum framing framing, size_t max)
{
	*c = (struct cut){ .buf = buf, .cap = cut_size(max), .max = max, .framing = framing };
}

uint8_t *cut_room(struct cut *c, size_t *n)
{
	if (c->start > 0) {
		memmove(c->buf, c->buf + c->start, c->end - c->start);
		c->end -= c->start;
		c->start = 0;
	}
	*n = c->cap - c->end;
	if (c->framing == FRAMING_CHUNK && *n > c->max)
		*n = c->max;
	return c->buf + c->end;
}

void cut_read(struct cut *c, size_t n)
{
	c->end += n;
}

void cut_end(struct cut *c)
{
	c->eof = true;
}

void cut_done(struct cut *c)
{
	c->start += c->taken;
	c->scanned = c->taken = 0;
}

static enum cut_result message(struct cut *c, const uint8_t **p, size_t *n, size_t head,
    size_t len, size_t tail)
{
	c->taken = head + len + tail;
	if (len > c->max) {
		cut_done(c);
		return CUT_TOO_LARGE;
	}
	*p = c->buf + c->start + head;
	*n = len;
	return CUT_MESSAGE;
}

static enum cut_result next_delimited(struct cut *c, const uint8_t **p, size_t *n)
{
	const int delimiter = c->framing == FRAMING_LINES ? '\n' : 0;

	for (;;) {
		const uint8_t *from = c->buf + c->start;
		const size_t have = c->end - c->start;
		const uint8_t *at = memchr(from + c->scanned, delimiter, have - c->scanned);

		if (at && c->discard) {
			c->discard = false;
			c->taken = (size_t)(at - from) + 1;
			cut_done(c);
		} else if (at) {
			const bool cr = delimiter && at > from && at[-1] == '\r';

			return message(c, p, n, 0, (size_t)(at - from) - cr, 1u + cr);
		} else if (c->discard) {
			c->start = c->end;
			return CUT_MORE;
		} else if (c->eof) {
			return have ? message(c, p, n, 0, have, 0) : CUT_MORE;
		} else if (have > c->max + 1) {		/* even if the last is a CR */
			c->discard = true;
			c->start = c->end;
			c->scanned = 0;
			return CUT_TOO_LARGE;
		} else {
			c->scanned = have;
			return CUT_MORE;
		}
	}
}

static enum cut_result next_len32(struct cut *c, const uint8_t **p, size_t *n)
{
	const size_t skip = c->skip < c->end - c->start ? (size_t)c->skip : c->end - c->start;

	c->start += skip;
	c->skip -= skip;

	const uint8_t *from = c->buf + c->start;
	const size_t have = c->end - c->start;
	const size_t len = have < 4 ? 0 : (size_t)from[0] << 24 | (size_t)from[1] << 16 |
	    (size_t)from[2] << 8 | from[3];

	if (have >= 4 && len > c->max) {
		c->start += 4;
		c->skip = len;
		return CUT_TOO_LARGE;
	}
	if (have >= 4 && have - 4 >= len)
		return message(c, p, n, 4, len, 0);
	if (!c->eof || (have == 0 && c->skip == 0))
		return CUT_MORE;
	c->start = c->end;
	c->skip = 0;
	return CUT_TRUNCATED;
}

enum cut_result cut_next(struct cut *c, const uint8_t **p, size_t *n)
{
	switch (c->framing) {
	case FRAMING_LINES:
	case FRAMING_NUL:
		return next_delimited(c, p, n);
	case FRAMING_LEN32:
		return next_len32(c, p, n);
	case FRAMING_CHUNK:
		break;
	}
	return c->start == c->end ? CUT_MORE : message(c, p, n, 0, c->end - c->start, 0);
}
