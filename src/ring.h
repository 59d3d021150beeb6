/* ring.h - the recent messages of all subjects, each framed once, in one fixed ring of bytes.
 *
 * Pure: memory is the caller's. Knows no connections. A frame is contiguous; frames follow each
 * other without a gap but where the ring wraps, so that a run of one subject's messages is
 * one piece of memory. Records are numbered from 0 and never reused; record i is live while
 * tail <= i < head. */

#ifndef RING_H
#define RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_NONE UINT64_MAX

struct ring_record {
	uint32_t at, len;	/* of the frame, in bytes */
	uint32_t next;		/* records from here to the subject's next; 0: there is none yet */
	uint32_t subject;	/* the owner's, as are the next ones */
	uint32_t number;	/* low half of the message's number */
	uint32_t first_stuck;	/* readers that stopped within this frame or before it */
};

_Static_assert(sizeof(struct ring_record) == 24, "what every message pays");

struct ring {
	uint8_t *bytes;
	struct ring_record *record;
	uint32_t size, cap;	/* of bytes; of record */
	uint32_t end;		/* where the newest frame ends */
	uint64_t head, tail;
};

/* Share mem[0..n) between records and bytes; a quarter is for the records, which is right for
 * messages of 72 bytes and wastes little for longer ones. mem is aligned for uint64_t. */
void ring_init(struct ring *r, void *mem, size_t n);

static inline struct ring_record *ring_at(const struct ring *r, uint64_t i)
{
	return &r->record[i % r->cap];
}

/* The oldest record stands in the way of a frame of len bytes (at most size). */
bool ring_must_drop(const struct ring *r, uint32_t len);
void ring_drop(struct ring *r);

/* The place of a new record's frame, to be filled by the caller; nothing stands in its way. */
uint8_t *ring_push(struct ring *r, uint32_t len, uint32_t subject, uint32_t number);

/* A run: from offset off in record i to where the subject's next frame is elsewhere, or is record
 * end or a later one. */
struct ring_run {
	const uint8_t *p;
	size_t   len;
	uint64_t next;		/* the subject's record that follows the run, or RING_NONE */
	uint32_t count;		/* frames that end in it */
};

void ring_run(const struct ring *r, struct ring_run *run, uint64_t i, uint32_t off,
    uint64_t end);

#endif
