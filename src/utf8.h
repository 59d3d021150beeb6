/* utf8.h - UTF-8 (RFC 3629): validity, and replacement of what is not.
 *
 * Pure: touches only the memory it is handed. Overlong forms, surrogates and values
 * over U+10FFFF are not UTF-8. */

#ifndef UTF8_H
#define UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool utf8_valid(const uint8_t *p, size_t n);

/* The same for a text that comes in pieces. *state is 0 before the first, and again at each
 * boundary of code points: the whole was valid if every step was and it is 0 at the end. False
 * at the first byte after which no text can be right; *state then means nothing. */
bool utf8_step(uint8_t *state, const uint8_t *p, size_t n);

/* The length of the sequence that p[0..n) begins with, n > 0; *ok false: of the maximal subpart
 * of an ill-formed one, at least 1. */
size_t utf8_take(const uint8_t *p, size_t n, bool *ok);

/* The length of in[0..n) once every maximal subpart of an ill-formed sequence (Unicode
 * 15, 3.9, "U+FFFD Substitution of Maximal Subparts") is U+FFFD, three bytes long: what a
 * browser's TextDecoder and Python's errors="replace" do. Equal to n only if nothing is
 * replaced, or if only three-byte subparts are, so ask utf8_valid first. */
size_t utf8_replaced_len(const uint8_t *in, size_t n);

/* Write that text; out has room for utf8_replaced_len bytes and does not overlap in. */
void utf8_replace(uint8_t *out, const uint8_t *in, size_t n);

#endif
