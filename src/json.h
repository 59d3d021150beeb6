/* json.h - a strict pull reader for JSON (RFC 8259); no tree, no heap, no floating point.
 *
 * Pure: touches only the memory it is handed; the input must outlive the reader. Strict:
 * UTF-8 only and no BOM, no duplicate names in one object (compared unescaped), no lone
 * surrogate escapes, nothing after the value but white space. Linear in the input, but
 * for the names of one object, each compared with those before it by a 32-bit hash. */

#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH 16	/* nested containers, counting the outermost */
#define JSON_NAMES 512	/* of all objects open at one time: no token has room for more */

enum json_event {
	JSON_BAD,		/* not JSON, or over a limit; said again from then on */
	JSON_DONE,		/* the value is whole and nothing follows it; likewise */
	JSON_OBJECT, JSON_OBJECT_END,
	JSON_ARRAY, JSON_ARRAY_END,
	JSON_NAME,		/* of a member; its value comes next */
	JSON_STRING, JSON_NUMBER, JSON_TRUE, JSON_FALSE, JSON_NULL,
};

struct json {
	/* After JSON_NAME or JSON_STRING: what stands between the quotes, still escaped.
	 * After JSON_NUMBER: its text. */
	const uint8_t *text;
	size_t len;
	/* private */
	const uint8_t *start, *p, *end;
	uint8_t  state, depth;
	uint16_t objects;		/* bit per level: an object, not an array */
	uint16_t nnames, first[JSON_DEPTH];
	struct { uint32_t hash, at, len; } names[JSON_NAMES];
};

void json_init(struct json *j, const void *p, size_t n);
enum json_event json_next(struct json *j);

/* Read to the end of the value that the event e began: at once for a scalar. After
 * JSON_NAME, the value that follows. False if it is bad. */
bool json_skip(struct json *j, enum json_event e);

/* The current name or string, unescaped, is s. */
bool json_is(const struct json *j, const char *s);

/* The number, from 0 on, of the current name or string among these, each of which ends with a NUL; of how
 * many they are if it is none of them. */
unsigned json_which(const struct json *j, const char *names);

/* Unescape the current name or string into out, which may be the text itself: it is never
 * longer than len. False if it does not fit in cap; *n is its length. It may hold NULs. */
bool json_string(const struct json *j, uint8_t *out, size_t cap, size_t *n);

/* The current number times 1000, rounded up (towards plus infinity) or down to a whole number
 * and held within INT64_MIN and INT64_MAX. False if it is not finite as an IEEE 754 double,
 * which is what other implementations read it into. */
bool json_milli(const struct json *j, int64_t *out, bool up);

/* Write s[0..n), which must be UTF-8, as a JSON string with its quotes. Returns its
 * length; writes nothing past cap, so that a length over cap means that it did not fit. */
size_t json_quote(char *out, size_t cap, const char *s, size_t n);

/* How a byte of UTF-8 stands in a JSON string: itself, or its shortest escape. */
#define JSON_ESCAPE_MAX 6u
size_t json_escape(char out[JSON_ESCAPE_MAX], uint8_t c);

#endif
