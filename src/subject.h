/* subject.h - names of subjects, and patterns of them.
 *
 * Pure. A subject is a path of UTF-8 segments, at most SUBJECT_MAX bytes. */

#ifndef SUBJECT_H
#define SUBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "/" or /a/b: no empty segment, none that is "." or "..", no control byte, no + or *. */
bool subject_valid(const uint8_t *s, size_t n);

/* The same, but a segment may be "+" and the last may be "*". */
bool subject_pattern_valid(const uint8_t *s, size_t n);

/* The valid pattern p covers q, a valid subject or pattern: all that q can match. "+" covers one
 * segment, a last "*" one or more, of any kind. One pass over both. */
bool subject_covers(const uint8_t *p, size_t pn, const uint8_t *q, size_t qn);

/* The same for a valid subject s. */
static inline bool subject_match(const uint8_t *p, size_t pn, const uint8_t *s, size_t sn)
{
	return subject_covers(p, pn, s, sn);
}

#endif
