/* print.h - --publish-to -: what clients publish, as lines on standard output.
 *
 * Owns standard output. Never waits: what a pipe has no room for is kept in a fixed buffer, and a
 * line that this has no room for is dropped and counted. */

#ifndef PRINT_H
#define PRINT_H

#include <stddef.h>
#include <stdint.h>

#include "http.h"
#include "limits.h"

/* mem holds two of the longest lines: PRINT_SIZE of the longest message. */
#define PRINT_SIZE(max_message) (2 * (SUBJECT_MAX + 2 + 2 * (size_t)(max_message)))
void print_init(uint8_t *mem, size_t n);

/* SUBJECT, a tab, the message, a newline. A newline within the message is printed as \n, so that a line
 * is a message and nobody can forge one; likewise CR as \r and NUL as \0. */
void print_message(struct span subject, const uint8_t *p, size_t n);

/* Write what has been kept, as far as there is room now. */
void print_flush(void);

#endif
