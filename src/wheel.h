/* wheel.h - one deadline for each of a fixed number of ids: a hashed timing wheel.
 *
 * Pure: times are monotonic milliseconds from the caller, memory is the caller's. Setting,
 * clearing and popping take constant time. A deadline is late by up to a tick, never early. */

#ifndef WHEEL_H
#define WHEEL_H

#include <stddef.h>
#include <stdint.h>

#define WHEEL_TICK_MS 32
#define WHEEL_SLOTS 1024u	/* 33 s for a turn: longer deadlines are looked at once a turn */
#define WHEEL_NONE UINT32_MAX

struct wheel_timer {
	int64_t  at_ms;
	uint32_t next, prev;	/* in its slot; WHEEL_NONE at the ends */
	uint32_t slot;		/* plus 1; 0: not set */
};

struct wheel {
	struct wheel_timer *timer;
	int64_t  tick;				/* all before it have been popped */
	uint64_t used[WHEEL_SLOTS / 64];	/* bit per slot that is not empty */
	uint32_t slot[WHEEL_SLOTS + 1];		/* the last: taken out to be popped */
};

/* timer is zeroed and has room for every id; what is never set is never touched. */
void wheel_init(struct wheel *w, struct wheel_timer *timer, int64_t now_ms);
void wheel_set(struct wheel *w, uint32_t id, int64_t at_ms);
void wheel_clear(struct wheel *w, uint32_t id);

/* An id whose deadline has passed, cleared; WHEEL_NONE when there is none left. */
uint32_t wheel_pop(struct wheel *w, int64_t now_ms);

/* How long to sleep before the next pop, at most a turn of the wheel; -1: nothing is set. */
int wheel_sleep_ms(const struct wheel *w, int64_t now_ms);

#endif
