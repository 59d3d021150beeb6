/* hub.h - subjects, who reads them, and how far each reader has got.
 *
 * Pure: memory is the caller's; readers are numbers below nreaders. Knows no sockets. A
 * reader has no queue: it is a position in the ring. One that has stopped is "stuck" at a
 * record and listed there, so that the record is not dropped behind its back. Publishing
 * costs as many steps as the subject has readers, those with patterns included, and one
 * look-up for each shape of the patterns in use. */

#ifndef HUB_H
#define HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limits.h"
#include "ring.h"

#define HUB_NONE UINT32_MAX
#define HUB_UNKNOWN UINT64_MAX
#define HUB_SHAPES 64u		/* of patterns in use at a time; users have a handful */
#define HUB_SPARE 1024u		/* subjects beyond those that are read: their numbers are remembered */

/* A reader is of one subject (hub_join: it costs nothing but this struct), or has subscriptions
 * (hub_open). */
struct hub_reader {
	uint64_t record;		/* being sent or next to be; RING_NONE: has all there is */
	uint32_t off;			/* bytes of it that are sent, in the form that this reader gets */
	uint32_t subject;		/* of one */
	uint32_t next, prev;		/* of one: of the same subject */
	uint32_t stuck_next, stuck_prev;/* at the same record */
	bool     stuck, many;		/* many: has subscriptions */
};

/* More of a reader with subscriptions; an array of its own, so that others do not pay for it. */
struct hub_many {
	uint64_t until;			/* a replay goes on: before this record only what replays counts; or 0 */
	uint64_t back;			/* where it goes on after the frame that was begun, or RING_NONE */
	uint64_t oldest;		/* the least `from` of those that replay */
	uint64_t woken;			/* ring.head when it was last woken: a batch wakes it once */
	uint32_t subs;			/* list of its subscriptions (own_next), patterns first */
	uint32_t last_pattern;		/* of these */
	uint32_t nsubs, npatterns;
	uint32_t replay, replaying;	/* list of those that replay; how many */
	uint32_t notice;		/* list of those with a notice due */
};

enum hub_list { HUB_OF_ENTRY, HUB_OWN, HUB_REPLAYING, HUB_NOTICES, HUB_LISTS };

struct hub_link {
	uint32_t next, prev;
};

struct hub_sub {
	uint32_t reader, entry;		/* entry: a subject or a pattern, both in hub.subject */
	uint32_t hash_next;		/* of (reader, entry), plus 1; also the list of free ones */
	bool     replaying;
	bool     gap;			/* a notice of missed is due */
	bool     ended;			/* delivers nothing any more; a notice is due */
	union {
		struct hub_link link[HUB_LISTS];
		struct {
			uint32_t next, prev;		/* of the same entry */
			uint32_t own_next, own_prev;	/* of the same reader */
			uint32_t replay_next, replay_prev;
			uint32_t notice_next, notice_prev;
		};
	};
	uint64_t from;			/* first record it is meant to see */
	uint64_t live;			/* from this record on all; before it only what was asked for: */
	uint64_t want;			/* a subject: from this number on; a pattern: so many of each */
	uint64_t skip;			/* was being sent when it was made: not sent once more */
	uint64_t missed;		/* messages; HUB_UNKNOWN: nobody knows */
};

/* A subject, or a pattern that somebody has subscribed to. */
struct hub_subject {
	uint64_t first, last;		/* its live records, while count > 0 */
	uint64_t number;		/* of its newest message, counted from base + 1 */
	uint64_t base;			/* numbers up to this may be of an earlier life of that name */
	uint64_t then, then_number;	/* memo: its newest number before that record */
	uint32_t count;			/* its live records */
	uint32_t readers;		/* head of the list of readers of one */
	uint32_t subs;			/* head of the list of its subscriptions */
	uint32_t idle_next, idle_prev;
	uint32_t hash, hash_next;	/* a subject plus 1, or 0; also the list of free ones */
	bool     pinned, idle;
	uint8_t  shape;			/* of a pattern; HUB_SHAPES: a subject */
	uint8_t  segments;		/* of a subject */
	uint8_t  len, name[SUBJECT_MAX];
};

/* What patterns look like: where their "+" stand, how many segments they have before a last "*",
 * if any. A subject leads to the one pattern of a shape that may cover it. */
struct hub_shape {
	uint32_t plus[4];
	uint32_t count;			/* patterns of it in use */
	uint8_t  segments;
	bool     star;
};

struct hub {
	struct ring ring;
	struct hub_subject *subject;
	struct hub_reader *reader;
	struct hub_many *many;
	struct hub_sub *sub;
	uint32_t *bucket;		/* mask + 1 of them; a subject plus 1, or 0 */
	uint32_t *sub_bucket;		/* sub_mask + 1 of them; a subscription plus 1, or 0 */
	uint32_t mask, sub_mask, seed;
	uint32_t cap, made;		/* of subjects; the first made of them have been in use */
	uint32_t free;
	uint32_t idle, idle_last;	/* list of idle subjects, the one idle longest first */
	uint32_t nidle;			/* at most HUB_SPARE */
	uint32_t nsubs, subs_made, subs_free;
	uint64_t floor;			/* the highest number that a forgotten subject had */
	uint32_t wanted;		/* bytes of the longest frame refused, see hub_has_room */
	uint32_t fresh;			/* bytes of the batch */
	uint32_t batch_subject;
	uint64_t batch;			/* its first record, or RING_NONE */
	struct ring_run memo;		/* the run from memo_from, offset 0, at memo_head */
	uint64_t memo_from, memo_head;
	struct hub_shape shape[HUB_SHAPES];
	uint32_t nshapes;		/* those in use are among the first of these */
};

/* ---- subjects ---- */

/* Bytes of zeroed memory for a hub of nreaders readers, nsubs subscriptions in all, and subjects:
 * one for each of these, npinned, and HUB_SPARE. What is never used is never touched. */
size_t hub_size(uint32_t nreaders, uint32_t npinned, uint32_t nsubs);
void hub_init(struct hub *h, void *mem, uint32_t nreaders, uint32_t npinned, uint32_t nsubs,
    uint32_t seed, void *ring, size_t ring_len);

/* The subject of that valid name, or HUB_NONE. */
uint32_t hub_find(const struct hub *h, const void *name, size_t n);

/* The same, made if it is new: hub_subject_room has returned HUB_NONE, and it is put to use (by
 * hub_pin, hub_join, hub_push) before another is made or loses its last reader or message. One that
 * nobody reads, that is not pinned and of which the ring holds no message is idle; of more than
 * HUB_SPARE, or when the table is full, the one that has been so longest is forgotten. Numbers
 * never come again: a subject that is made after that goes on behind the highest that any
 * forgotten one had. */
uint32_t hub_subject(struct hub *h, const void *name, size_t n);
void hub_pin(struct hub *h, uint32_t subject);

/* Make room for one new subject: if the table is full and nothing in it idle, drop the oldest
 * records, up to one at which a reader is stuck. That reader, or HUB_NONE when there is room.
 * It never drops what has not been flushed. */
uint32_t hub_subject_room(struct hub *h);

/* ---- readers ---- */

/* A reader begins with what comes from now on. Between hub_push and hub_flushed none may join,
 * open or subscribe. hub_leave ends its subscriptions too. */
void hub_join(struct hub *h, uint32_t id, uint32_t subject);
void hub_open(struct hub *h, uint32_t id);
void hub_leave(struct hub *h, uint32_t id);

/* What a new reader or subscription gets first. */
struct hub_replay {
	uint64_t count;		/* the last so many messages, as far as the ring has them */
	bool     since;		/* or, if set, those after number `after` */
	uint64_t after;		/* HUB_UNKNOWN: a number of another epoch; all there are */
};

/* For a reader of one subject that has just joined. Returns how many messages of a `since` are
 * gone; HUB_UNKNOWN: that cannot be known, for `after` is not of this life of the subject, and
 * all there are come. */
uint64_t hub_replay(struct hub *h, uint32_t id, const struct hub_replay *replay);

/* ---- subscriptions ---- */

enum hub_result {
	HUB_OK,
	HUB_FULL,	/* no subscription is left, or not for it (a quarter of all), or no shape */
};

/* Subscribe to a valid subject, or pattern (a "+" or "*" in it), of which count is of each
 * subject and since means nothing; while what another pattern replays is not all sent, it counts
 * from then, and what has come since comes too. Needs room as hub_subject does. One that it has
 * already is replaced. What is replayed comes first, and of this subscription only; but a frame
 * that has been begun is finished, and is not sent once more. Where messages of a `since` are gone,
 * the notice is due. */
enum hub_result hub_subscribe(struct hub *h, uint32_t id, const void *name, size_t n,
    const struct hub_replay *replay);

/* False: it has none of that name. */
bool hub_unsubscribe(struct hub *h, uint32_t id, const void *name, size_t n);

/* Deliver nothing of it from now on, and leave a notice. The list of the reader's subscriptions
 * (hub.many[id].subs, own_next) stays as it is. */
void hub_end(struct hub *h, uint32_t id, uint32_t sub);

/* A subscription of this reader with a notice due (gap, ended, or both), or HUB_NONE; hub_noticed:
 * it was given. One that is ended is gone then. */
uint32_t hub_notice(const struct hub *h, uint32_t id);
void hub_noticed(struct hub *h, uint32_t id, uint32_t sub);

/* ---- publishing ---- */

/* Make room for a frame of len bytes (at most ring.size): drop the oldest records, up to one
 * at which a reader is stuck. That reader, or HUB_NONE when there is room. */
uint32_t hub_room(struct hub *h, uint32_t len);

/* A quarter of the ring can be published before a stuck reader stands in the way, and the longest
 * frame that hub_room has refused, until it has let in one as long. */
bool hub_has_room(const struct hub *h);

/* The first of the readers (then stuck_next) that are stuck furthest back, or HUB_NONE. */
uint32_t hub_first_stuck(const struct hub *h);

/* What was pushed since the last flush is a batch: of one subject, neighbours in the ring. */
bool hub_fresh(const struct hub *h);

/* The batch is of another subject; or so long that with len bytes more the readers must be
 * served first, lest the new overtake the unsent. */
bool hub_must_flush(const struct hub *h, uint32_t subject, uint32_t len);

/* The place of a new frame; there is room, and no need to flush. */
uint8_t *hub_push(struct hub *h, uint32_t subject, uint32_t len);

/* To flush, if there is a batch: hub_batch, then for each reader that hub_batch_next returns, send
 * what is pending; after HUB_NONE hub_flushed. Each is woken and returned once. The one returned
 * last may leave or end subscriptions meanwhile, others may not. */
struct hub_walk {
	uint32_t reader, sub;		/* the next of the lists that are being walked */
	uint32_t shape;			/* the next to be looked at */
};

void hub_batch(struct hub *h, struct hub_walk *w);
uint32_t hub_batch_next(struct hub *h, struct hub_walk *w);
void hub_flushed(struct hub *h);

/* ---- sending ---- */

/* Frames as they are stored, to a reader of one subject. What is to be sent next, in one piece;
 * begun: only the rest of a frame that has been begun. False: nothing. */
bool hub_pending(struct hub *h, uint32_t id, bool begun, struct ring_run *run);

/* n bytes of that run were sent; returns how many messages became complete. */
uint32_t hub_sent(struct hub *h, uint32_t id, const struct ring_run *run, size_t n);

/* In another form, to any reader: hub.reader[id].record is next, or has been begun (off > 0); the
 * one after record i, which it gets, is hub_after, or RING_NONE. Changes nothing but a memo. The
 * steps are the records in between: none where its only subscription is to a subject, or within
 * a batch. */
uint64_t hub_after(const struct hub *h, uint32_t id, uint64_t i);

/* It goes on at record i (itself, from hub_after, or RING_NONE), of whose form off bytes are sent.
 * It is no longer stuck. */
void hub_at(struct hub *h, uint32_t id, uint64_t i, uint32_t off);

struct hub_message {
	const uint8_t *frame;
	uint32_t len, subject;
	uint64_t number;
};

void hub_message(const struct hub *h, uint64_t i, struct hub_message *m);

/* It stops with something still to send. Subscribing, unsubscribing and hub_end leave one that is
 * stuck stuck, at its new place, unless it has nothing to send any more. */
void hub_stick(struct hub *h, uint32_t id);

/* The oldest record, at which this reader is stuck, is to go, and no frame is begun: go on with the
 * newest message that it is meant to see, or with what comes if that is the one that goes. What
 * is left out is counted in the subscription's missed, and the notice is due. */
void hub_skip(struct hub *h, uint32_t id);

#endif
