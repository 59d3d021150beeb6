/* used.h - the ring of used tokens: who was let in with what, until it expires.
 *
 * Owns the file of --used-tokens-file; never reads the clock and never allocates: memory
 * comes from the caller, times are arguments in Unix milliseconds. A look-up is one probe
 * of a hash index; entries leave in order of expiry, from a heap. An entry whose expiry is
 * not past never leaves, however full the ring is. */

#ifndef USED_H
#define USED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "why.h"

/* What is kept of a token: the first bytes of the SHA-256 of its signing input. Two that
 * agree by chance cost a refusal, never an admission. */
#define USED_DIGEST 16u

struct used_entry {
	uint8_t digest[USED_DIGEST];
	int64_t exp_ms;
};

struct used {
	struct used_entry *entry;	/* cap of them, in no order */
	uint32_t *heap;			/* entries in use, earliest expiry first; then free ones */
	uint32_t *index;		/* open addressing: entry + 1, or 0 */
	uint32_t cap, n, mask;
	int64_t  let_go_ms;		/* latest expiry that has left; INT64_MIN at first */
	int64_t  since_ms;		/* tokens issued before this are unknown to the ring */
	int      fd;			/* -1: memory only */
};

/* Bytes of memory, zeroed, that a ring of cap entries (1 to USED_MAX) needs. */
#define USED_MAX 16777216u
size_t used_size(uint32_t cap);

/* An empty ring in mem, which must outlive it. since_ms: see above. */
void used_init(struct used *u, void *mem, uint32_t cap, int64_t since_ms);

enum used_file {
	USED_FILE_NEW,		/* was missing, or empty: made or taken */
	USED_FILE_WHOLE,
	USED_FILE_DAMAGED,	/* cut or damaged: what is whole will be kept */
	USED_FILE_FOREIGN,	/* not ours: untouched */
	USED_FILE_LOCKED,	/* another process has it */
	USED_FILE_ERROR,	/* see errno */
};

/* Open the file, make it with mode 0600 if it is missing, lock it (flock) and say what it
 * is. *fd is open after the first three; *cap is then raised to the number of entries that
 * the file has room for, if that is larger, so that a smaller --used-tokens forgets nothing.
 * Nothing is written to an existing file yet. */
enum used_file used_file_open(int *fd, uint32_t *cap, const char *path);

/* Read the entries of fd, as opened above with what, into the fresh ring u, whose cap is at
 * least the file's; keep fd and write each later entry there. A whole file also brings back
 * since_ms and let_go_ms; a new or damaged one is given u->since_ms. From then on the file
 * is whole again. False on an I/O error (errno); the caller then gives up. */
bool used_file_load(struct used *u, int fd, enum used_file what);

/* Let go of every entry with exp_ms <= past_ms (now less the leeway). */
void used_expire(struct used *u, int64_t past_ms);

/* May a token enter? WHY_OK; WHY_TOKEN_USED: it is there, or may have been (it expires no
 * later than one that has left); WHY_RING_FULL. Changes nothing. */
enum why used_check(const struct used *u, const uint8_t digest[USED_DIGEST],
    int64_t exp_ms);

/* Enter a token that used_check has let in; the file is written first. WHY_RING_FULL if
 * it could not be (errno), and the token has not entered. */
enum why used_add(struct used *u, const uint8_t digest[USED_DIGEST], int64_t exp_ms);

#endif
