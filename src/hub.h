/* hub.h - subjects, who reads them, and how far each reader has got.
 *
 * Pure: memory is the caller's; readers are numbers below nreaders. Knows no sockets. A
 * reader has no queue: it is a position in the ring. One that has stopped is "stuck" at a
 * record and listed there, so that the record is not dropped behind its back. Publishing
 * costs as many steps as the subject has readers. */

#ifndef HUB_H
#define HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limits.h"
#include "ring.h"

#define HUB_NONE UINT32_MAX

struct hub_reader {
	uint64_t record;		/* being sent, or RING_NONE: has all there is */
	uint32_t off;			/* bytes of it that are sent */
	uint32_t subject;
	uint32_t next, prev;		/* of the same subject */
	uint32_t stuck_next, stuck_prev;/* at the same record */
	bool     stuck;
};

struct hub_subject {
	uint64_t first, last;		/* its live records, while count > 0 */
	uint64_t number;		/* of its newest message, counted from 1 */
	uint64_t batch;			/* first record since the last flush, or RING_NONE */
	uint32_t count;			/* its live records */
	uint32_t readers;		/* head of their list */
	uint32_t dirty_next;		/* in the list of those with a batch */
	uint32_t hash, hash_next;	/* a subject plus 1, or 0; also the list of free ones */
	bool     pinned;		/* a source publishes here */
	uint8_t  len, name[SUBJECT_MAX];
};

struct hub {
	struct ring ring;
	struct hub_subject *subject;
	struct hub_reader *reader;
	uint32_t *bucket;		/* mask + 1 of them; a subject plus 1, or 0 */
	uint32_t mask, seed;
	uint32_t cap, made;		/* of subjects; the first made of them have been in use */
	uint32_t free, dirty;
	uint32_t fresh;			/* bytes since the last flush */
	uint64_t fresh_from;		/* the first record since then */
	struct ring_run memo;		/* the run from fresh_memo, offset 0, at memo_head */
	uint64_t memo_from, memo_head;
};

/* Bytes of zeroed memory for a hub of n readers and pinned subjects up to npinned; every reader
 * may have a subject of its own. What is never used is never touched. */
size_t hub_size(uint32_t nreaders, uint32_t npinned);
void hub_init(struct hub *h, void *mem, uint32_t nreaders, uint32_t npinned, uint32_t seed,
    void *ring, size_t ring_len);

/* The subject of that valid name, made if it is new. One that nobody reads, that is not pinned and
 * of which the ring holds no message is forgotten; so there is always room for one more reader's
 * as long as only pinned subjects are published to. */
uint32_t hub_subject(struct hub *h, const void *name, size_t n);
void hub_pin(struct hub *h, uint32_t subject);

/* A reader begins with what comes from now on; between hub_push and hub_flushed none may join.
 * hub_replay moves it back by n messages, or as many as there are. */
void hub_join(struct hub *h, uint32_t id, uint32_t subject);
void hub_leave(struct hub *h, uint32_t id);
void hub_replay(struct hub *h, uint32_t id, uint64_t n);

/* Make room for a frame of len bytes (at most ring.size): drop the oldest records, up to one
 * at which a reader is stuck. That reader, or HUB_NONE when there is room. */
uint32_t hub_room(struct hub *h, uint32_t len);

/* A quarter of the ring can be published before a stuck reader stands in the way. */
bool hub_has_room(const struct hub *h);

/* The first of the readers (then stuck_next) that are stuck furthest back, or HUB_NONE. */
uint32_t hub_first_stuck(const struct hub *h);

/* So much has come since the last flush that with len bytes more the readers must be served
 * first, lest the new overtake the unsent. */
bool hub_must_flush(const struct hub *h, uint32_t len);

/* The place of a new frame; there is room. */
uint8_t *hub_push(struct hub *h, uint32_t subject, uint32_t len);

/* To flush: for each subject from h->dirty on (dirty_next) and each reader of it (next),
 * hub_wake and send what is pending; then hub_flushed. */
void hub_wake(struct hub *h, uint32_t id);
void hub_flushed(struct hub *h);

/* What is to be sent next, in one piece; false: nothing. */
bool hub_pending(struct hub *h, uint32_t id, struct ring_run *run);

/* Only the rest of a frame that has been begun. */
bool hub_begun(const struct hub *h, uint32_t id, struct ring_run *run);

/* n bytes of that run were sent; returns how many messages became complete. */
uint32_t hub_sent(struct hub *h, uint32_t id, const struct ring_run *run, size_t n);
void hub_stick(struct hub *h, uint32_t id);

/* The oldest record, at which this reader is stuck, is to go: go on with the subject's newest
 * message, or with what comes if that is the one that goes. */
void hub_skip(struct hub *h, uint32_t id);

#endif
