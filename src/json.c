/* json.c - section numbers are of RFC 8259. */
#include <string.h>

#include "json.h"
#include "utf8.h"

enum {
	ST_VALUE,		/* a value must come */
	ST_FIRST,		/* after [: a value, or ] */
	ST_FIRST_NAME,		/* after {: a name, or } */
	ST_AFTER,		/* after a value: , or the end of what holds it */
	ST_DONE,
	ST_BAD,
};

/* A name or string read byte by byte as what it means. The text has been through
 * string(): every escape in it is whole. */
struct plain {
	const uint8_t *p, *end;
	uint8_t n, i, utf8[4];	/* bytes i..n are still due */
};

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

/* Four hexadecimal digits at p, or -1. */
static int32_t hex4(const uint8_t *p, const uint8_t *end)
{
	int32_t v = 0;

	if (end - p < 4)
		return -1;
	for (size_t i = 0; i < 4; i++) {
		const int d = hex_digit(p[i]);

		if (d < 0)
			return -1;
		v = v * 16 + d;
	}
	return v;
}

/* The length of the escape (7) at p, which holds a backslash, and what it means; 0 if
 * it is none. Surrogates come in pairs only. */
static size_t escape(const uint8_t *p, const uint8_t *end, uint32_t *code)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

	if (end - p < 2)
		return 0;
	for (size_t i = 0; i < sizeof from - 1; i++) {
		if (p[1] == (uint8_t)from[i]) {
			*code = (uint8_t)to[i];
			return 2;
		}
	}
	const int32_t first = p[1] == 'u' ? hex4(p + 2, end) : -1;

	if (first < 0 || (first & 0xfc00) == 0xdc00)
		return 0;
	*code = (uint32_t)first;
	if ((first & 0xfc00) != 0xd800)
		return 6;
	if (end - p < 12 || p[6] != '\\' || p[7] != 'u')
		return 0;

	const int32_t second = hex4(p + 8, end);

	if (second < 0 || (second & 0xfc00) != 0xdc00)
		return 0;
	*code = 0x10000u + ((*code & 0x3ff) << 10 | ((uint32_t)second & 0x3ff));
	return 12;
}

static uint8_t utf8_put(uint8_t out[4], uint32_t code)
{
	const uint8_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	static const uint8_t lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	for (size_t i = n; i-- > 1; code >>= 6)
		out[i] = (uint8_t)(0x80 | (code & 0x3f));
	out[0] = (uint8_t)(lead[n] | code);
	return n;
}

static void plain_init(struct plain *s, const uint8_t *p, size_t n)
{
	s->p = p;
	s->end = n > 0 ? p + n : p;
	s->n = s->i = 0;
}

/* The next byte, or -1. */
static int plain_next(struct plain *s)
{
	uint32_t code = 0;

	if (s->i < s->n)
		return s->utf8[s->i++];
	if (s->p == s->end)
		return -1;
	if (*s->p != '\\')
		return *s->p++;
	s->p += escape(s->p, s->end, &code);
	s->n = utf8_put(s->utf8, code);
	s->i = 1;
	return s->utf8[0];
}

static bool plain_equal(const uint8_t *a, size_t an, const uint8_t *b, size_t bn)
{
	struct plain sa, sb;
	int c;

	plain_init(&sa, a, an);
	plain_init(&sb, b, bn);
	do {
		c = plain_next(&sa);
		if (c != plain_next(&sb))
			return false;
	} while (c >= 0);
	return true;
}

/* FNV-1a of what the current name means. */
static uint32_t name_hash(const struct json *j)
{
	uint32_t h = 2166136261u;
	struct plain s;
	int c;

	plain_init(&s, j->text, j->len);
	while ((c = plain_next(&s)) >= 0)
		h = (h ^ (uint32_t)c) * 16777619u;
	return h;
}

/* Remember the current name; false if its object has it already, or if there are too
 * many (4: names should be unique; here they must be). */
static bool name_new(struct json *j)
{
	const uint32_t hash = name_hash(j);

	for (size_t i = j->first[j->depth - 1]; i < j->nnames; i++)
		if (j->names[i].hash == hash && plain_equal(j->text, j->len,
		    j->start + j->names[i].at, j->names[i].len))
			return false;
	if (j->nnames == JSON_NAMES)
		return false;
	j->names[j->nnames].hash = hash;
	j->names[j->nnames].at = (uint32_t)(j->text - j->start);
	j->names[j->nnames].len = (uint32_t)j->len;
	j->nnames++;
	return true;
}

void json_init(struct json *j, const void *p, size_t n)
{
	j->text = NULL;
	j->len = 0;
	j->start = j->p = p;
	j->end = n > 0 ? j->start + n : j->start;
	j->depth = 0;
	j->objects = 0;
	j->nnames = 0;

	/* 8.1: all of it at once, so that nothing below meets a byte that is not
	 * UTF-8. Positions of names are 32 bits wide. */
	j->state = n <= UINT32_MAX && utf8_valid(p, n) ? ST_VALUE : ST_BAD;
}

static enum json_event bad(struct json *j)
{
	j->state = ST_BAD;
	return JSON_BAD;
}

static void skip_space(struct json *j)
{
	while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' ||
	    *j->p == '\n' || *j->p == '\r'))
		j->p++;
}

/* Take the byte c if it is next. */
static bool take(struct json *j, uint8_t c)
{
	if (j->p == j->end || *j->p != c)
		return false;
	j->p++;
	return true;
}

/* Take a string, its opening quote already taken (7). */
static bool string(struct json *j)
{
	const uint8_t *p = j->p;

	for (;;) {
		uint32_t code;

		while (p < j->end && *p >= 0x20 && *p != '"' && *p != '\\')
			p++;
		if (p == j->end || *p < 0x20)
			return false;
		if (*p == '"')
			break;
		const size_t n = escape(p, j->end, &code);

		if (n == 0)
			return false;
		p += n;
	}
	j->text = j->p;
	j->len = (size_t)(p - j->p);
	j->p = p + 1;
	return true;
}

/* Take one or more digits. */
static bool digits(struct json *j)
{
	const uint8_t *const from = j->p;

	while (j->p < j->end && *j->p >= '0' && *j->p <= '9')
		j->p++;
	return j->p > from;
}

/* Take a number (6). What may not follow one is found by whoever reads on. */
static bool number(struct json *j)
{
	j->text = j->p;
	take(j, '-');
	if (!take(j, '0') && !digits(j))
		return false;
	if (take(j, '.') && !digits(j))
		return false;
	if (take(j, 'e') || take(j, 'E')) {
		if (!take(j, '+'))
			take(j, '-');
		if (!digits(j))
			return false;
	}
	j->len = (size_t)(j->p - j->text);
	return true;
}

static bool literal(struct json *j, const char *s)
{
	const size_t n = strlen(s);

	if ((size_t)(j->end - j->p) < n || memcmp(j->p, s, n) != 0)
		return false;
	j->p += n;
	return true;
}

static enum json_event open_level(struct json *j, bool object)
{
	if (j->depth == JSON_DEPTH)
		return bad(j);
	j->first[j->depth] = j->nnames;
	j->objects = (uint16_t)((j->objects & ~(1u << j->depth)) |
	    (unsigned)object << j->depth);
	j->depth++;
	j->p++;
	j->state = object ? ST_FIRST_NAME : ST_FIRST;
	return object ? JSON_OBJECT : JSON_ARRAY;
}

static enum json_event close_level(struct json *j)
{
	const bool object = j->objects >> (j->depth - 1) & 1;

	j->depth--;
	j->nnames = j->first[j->depth];
	j->state = ST_AFTER;
	return object ? JSON_OBJECT_END : JSON_ARRAY_END;
}

static enum json_event value(struct json *j)
{
	if (j->p == j->end)
		return bad(j);
	j->state = ST_AFTER;
	switch (*j->p) {
	case '{':
		return open_level(j, true);
	case '[':
		return open_level(j, false);
	case '"':
		j->p++;
		return string(j) ? JSON_STRING : bad(j);
	case 't':
		return literal(j, "true") ? JSON_TRUE : bad(j);
	case 'f':
		return literal(j, "false") ? JSON_FALSE : bad(j);
	case 'n':
		return literal(j, "null") ? JSON_NULL : bad(j);
	default:
		return number(j) ? JSON_NUMBER : bad(j);
	}
}

/* Take a name and its colon. */
static enum json_event name(struct json *j)
{
	if (!take(j, '"') || !string(j) || !name_new(j))
		return bad(j);
	skip_space(j);
	if (!take(j, ':'))
		return bad(j);
	j->state = ST_VALUE;
	return JSON_NAME;
}

static enum json_event after(struct json *j)
{
	if (j->depth == 0) {
		if (j->p < j->end)
			return bad(j);
		j->state = ST_DONE;
		return JSON_DONE;
	}

	const bool object = j->objects >> (j->depth - 1) & 1;

	if (take(j, object ? '}' : ']'))
		return close_level(j);
	if (!take(j, ','))
		return bad(j);
	skip_space(j);
	return object ? name(j) : value(j);
}

enum json_event json_next(struct json *j)
{
	j->text = NULL;
	j->len = 0;
	skip_space(j);
	switch (j->state) {
	case ST_VALUE:
		return value(j);
	case ST_FIRST:
		return take(j, ']') ? close_level(j) : value(j);
	case ST_FIRST_NAME:
		return take(j, '}') ? close_level(j) : name(j);
	case ST_AFTER:
		return after(j);
	case ST_DONE:
		return JSON_DONE;
	default:
		return JSON_BAD;
	}
}

bool json_skip(struct json *j, enum json_event e)
{
	if (e == JSON_NAME)
		e = json_next(j);
	if (e == JSON_OBJECT || e == JSON_ARRAY) {
		const uint8_t outside = (uint8_t)(j->depth - 1);

		while (e != JSON_BAD && j->depth > outside)
			e = json_next(j);
	}
	return e != JSON_BAD;
}

bool json_is(const struct json *j, const char *s)
{
	struct plain t;
	int c;

	plain_init(&t, j->text, j->len);
	while ((c = plain_next(&t)) > 0 && c == (uint8_t)*s)
		s++;
	return c < 0 && *s == '\0';
}

unsigned json_which(const struct json *j, const char *names)
{
	unsigned i = 0;

	for (; *names && !json_is(j, names); i++)
		names += strlen(names) + 1;
	return i;
}

/* Never behind what is still to be read, so that out may be the text. */
bool json_string(const struct json *j, uint8_t *out, size_t cap, size_t *n)
{
	const uint8_t *p = j->text, *const end = p + j->len;
	size_t o = 0;

	while (p < end) {
		const uint8_t *const from = p, *at = memchr(p, '\\', (size_t)(end - p));
		size_t len = (size_t)((at ? at : end) - p);
		uint8_t utf8[4];
		uint32_t code;

		p += len;
		if (len > cap - o)
			return false;
		memmove(out + o, from, len);
		o += len;
		if (p == end)
			break;
		p += escape(p, end, &code);
		len = utf8_put(utf8, code);
		if (len > cap - o)
			return false;
		memcpy(out + o, utf8, len);
		o += len;
	}
	*n = o;
	return true;
}

/* A number as 0.d1d2d3... x 10^scale, where d1 d2 d3... are the digits of text from
 * the first that is not zero, less the point. */
struct decimal {
	const uint8_t *p, *end;	/* where the digits begin; where the exponent does */
	int64_t scale;
	bool negative;
};

/* Beyond any length that a text can have, so that adding such lengths changes no answer
 * below. */
#define SCALE_MAX (INT64_MAX / 4)

static int64_t exponent(const uint8_t *p, const uint8_t *end)
{
	bool negative = false;
	int64_t e = 0;

	if (p < end && (*p == '+' || *p == '-'))
		negative = *p++ == '-';
	for (; p < end; p++)
		e = e > SCALE_MAX / 16 ? SCALE_MAX : e * 10 + (*p - '0');
	return negative ? -e : e;
}

/* False for zero. */
static bool decimal_read(struct decimal *d, const uint8_t *p, const uint8_t *end)
{
	bool fraction = false;

	d->p = NULL;
	d->scale = 0;
	d->negative = *p == '-';
	if (d->negative)
		p++;
	for (; p < end && (*p | 0x20) != 'e'; p++) {
		if (*p == '.') {
			fraction = true;
			continue;
		}
		if (d->p == NULL && *p != '0')
			d->p = p;
		if (d->p != NULL && !fraction)
			d->scale++;
		if (d->p == NULL && fraction)
			d->scale--;
	}
	d->end = p;
	if (p < end)
		d->scale += exponent(p + 1, end);
	return d->p != NULL;
}

/* The next digit, 0 after the last. */
static unsigned decimal_digit(struct decimal *d)
{
	if (d->p < d->end && *d->p == '.')
		d->p++;
	return d->p < d->end ? (unsigned)(*d->p++ - '0') : 0;
}

/* Is it below 2^1024 - 2^970, from which on IEEE 754's rounding to nearest is infinite?
 * That number has 309 digits; the first 26 are compared, and one that has those is said
 * to be infinite too. */
static bool decimal_finite(struct decimal d)
{
	static const char limit[] = "17976931348623158079372897";

	if (d.scale != 309)
		return d.scale < 309;
	for (size_t i = 0; i < sizeof limit - 1; i++) {
		const unsigned digit = decimal_digit(&d);
		const unsigned bound = (unsigned)(limit[i] - '0');

		if (digit != bound)
			return digit < bound;
	}
	return false;
}

bool json_milli(const struct json *j, int64_t *out, bool up)
{
	struct decimal d;
	uint64_t v = 0;

	*out = 0;
	if (!decimal_read(&d, j->text, j->text + j->len))
		return true;
	if (!decimal_finite(d))
		return false;
	if (d.scale > 19 - 3) {		/* 20 digits are over 2^63 */
		*out = d.negative ? INT64_MIN : INT64_MAX;
		return true;
	}
	for (int64_t i = -3; i < d.scale; i++)
		v = v * 10 + decimal_digit(&d);
	bool more = false;

	while (d.p < d.end)
		more |= decimal_digit(&d) != 0;
	v += more && up != d.negative;	/* 10^19 at most */
	if (d.negative)
		*out = v > INT64_MAX ? INT64_MIN : -(int64_t)v;
	else
		*out = v > INT64_MAX ? INT64_MAX : (int64_t)v;
	return true;
}

size_t json_escape(char out[JSON_ESCAPE_MAX], uint8_t c)
{
	static const char hex[] = "0123456789abcdef";
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";

	for (size_t i = 0; i < sizeof from - 1; i++) {
		if (c == (uint8_t)from[i]) {
			out[0] = '\\';
			out[1] = to[i];
			return 2;
		}
	}
	if (c >= 0x20) {
		out[0] = (char)c;
		return 1;
	}
	memcpy(out, "\\u00", 4);
	out[4] = hex[c >> 4];
	out[5] = hex[c & 15];
	return 6;
}

struct sink {
	char *out;
	size_t cap, n;
};

static void put(struct sink *s, const char *p, size_t n)
{
	for (; n > 0; p++, n--, s->n++)
		if (s->n < s->cap)
			s->out[s->n] = *p;
}

size_t json_quote(char *out, size_t cap, const char *s, size_t n)
{
	struct sink k = { out, cap, 0 };
	char one[JSON_ESCAPE_MAX];

	put(&k, "\"", 1);
	for (; n > 0; s++, n--)
		put(&k, one, json_escape(one, (uint8_t)*s));
	put(&k, "\"", 1);
	return k.n;
}
