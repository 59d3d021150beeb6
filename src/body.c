/* body.c - section numbers are of RFC 9112. */

#include "body.h"

#include <string.h>

#include "http.h"

enum {
	ST_DATA,		/* of a body with a length */
	ST_SIZE,		/* digits of a chunk's size */
	ST_EXT,			/* what follows them up to the CR */
	ST_SIZE_LF,
	ST_CHUNK,		/* data of a chunk */
	ST_CHUNK_CR, ST_CHUNK_LF,
	ST_TRAILER,		/* the first byte of a field line, or of the empty one */
	ST_NAME, ST_VALUE, ST_FIELD_LF, ST_END_LF,
	ST_DONE, ST_BAD, ST_BIG,
};

void body_init(struct body *b, bool chunked, uint64_t length)
{
	*b = (struct body){ .left = chunked ? 0 : length, .chunked = chunked,
		.state = chunked ? ST_SIZE : length > 0 ? ST_DATA : ST_DONE };
}

static bool is_text(uint8_t c)		/* RFC 9110 5.5 */
{
	return c == '\t' || (c >= ' ' && c != 0x7f);
}

/* 7.1: no sign, no white space, no prefix. */
static uint8_t take_size(struct body *b, uint8_t c)
{
	const int digit = http_hex(c);

	if (digit >= 0) {
		b->left = b->left << 4 | (unsigned)digit;
		return b->digits++ < 8 ? ST_SIZE : ST_BAD;
	}
	return b->digits == 0 ? ST_BAD : c == '\r' ? ST_SIZE_LF : c == ';' ? ST_EXT : ST_BAD;
}

/* 7.1.1: ignored, whatever it says. */
static uint8_t take_ext(struct body *b, uint8_t c)
{
	return c == '\r' ? ST_SIZE_LF : is_text(c) && b->ext++ < BODY_EXT_MAX ? ST_EXT : ST_BAD;
}

/* 7.1.2: thrown away, but each line is a field's. */
static uint8_t take_trailer(struct body *b, uint8_t c)
{
	if (b->trailer++ == BODY_TRAILER_MAX)
		return ST_BAD;
	switch (b->state) {
	case ST_TRAILER:
		return c == '\r' ? ST_END_LF : http_token_char(c) ? ST_NAME : ST_BAD;
	case ST_NAME:
		return c == ':' ? ST_VALUE : http_token_char(c) ? ST_NAME : ST_BAD;
	case ST_VALUE:
		return c == '\r' ? ST_FIELD_LF : is_text(c) ? ST_VALUE : ST_BAD;
	case ST_FIELD_LF:
		return c == '\n' ? ST_TRAILER : ST_BAD;
	default:
		return c == '\n' ? ST_DONE : ST_BAD;
	}
}

/* The state after one byte of framing. */
static uint8_t take(struct body *b, uint8_t c)
{
	switch (b->state) {
	case ST_SIZE:
		return take_size(b, c);
	case ST_EXT:
		return take_ext(b, c);
	case ST_SIZE_LF:
		return c != '\n' ? ST_BAD : b->left > 0 ? ST_CHUNK : ST_TRAILER;
	case ST_CHUNK_CR:
		return c == '\r' ? ST_CHUNK_LF : ST_BAD;
	case ST_CHUNK_LF:
		b->digits = 0;
		return c == '\n' ? ST_SIZE : ST_BAD;
	default:
		return take_trailer(b, c);
	}
}

static size_t take_data(struct body *b, const uint8_t *in, size_t n, uint8_t *out, size_t *len)
{
	const size_t part = b->left < n ? (size_t)b->left : n;

	if (part > 0)
		memcpy(out + *len, in, part);
	*len += part;
	b->left -= part;
	if (b->left == 0)
		b->state = b->chunked ? ST_CHUNK_CR : ST_DONE;
	return part;
}

enum body_result body_read(struct body *b, const uint8_t *in, size_t n, size_t *used,
    uint8_t *out, size_t *len, size_t cap)
{
	size_t i = 0;

	for (;;) {
		if (b->state < ST_DONE && b->left > cap - *len)
			b->state = ST_BIG;
		if (i == n || b->state >= ST_DONE)
			break;
		if (b->state == ST_DATA || b->state == ST_CHUNK)
			i += take_data(b, in + i, n - i, out, len);
		else
			b->state = take(b, in[i++]);
	}
	*used = i;
	return b->state == ST_DONE ? BODY_DONE : b->state == ST_BAD ? BODY_BAD :
	    b->state == ST_BIG ? BODY_BIG : BODY_MORE;
}
