#include "hub.h"

#include <assert.h>
#include <string.h>

static uint32_t buckets(uint32_t nsubjects)
{
	uint32_t n = 16;

	while (n < nsubjects)
		n *= 2;
	return n;
}

size_t hub_size(uint32_t nreaders, uint32_t npinned)
{
	const size_t nsubjects = (size_t)nreaders + npinned;

	return nsubjects * sizeof(struct hub_subject) + nreaders * sizeof(struct hub_reader) +
	    buckets((uint32_t)nsubjects) * sizeof(uint32_t);
}

void hub_init(struct hub *h, void *mem, uint32_t nreaders, uint32_t npinned, uint32_t seed,
    void *ring, size_t ring_len)
{
	const uint32_t nsubjects = nreaders + npinned, nbuckets = buckets(nsubjects);

	*h = (struct hub){ .subject = mem, .mask = nbuckets - 1, .seed = seed, .cap = nsubjects,
		.dirty = HUB_NONE, .memo_from = RING_NONE };
	h->reader = (struct hub_reader *)(void *)(h->subject + nsubjects);
	h->bucket = (uint32_t *)(void *)(h->reader + nreaders);
	ring_init(&h->ring, ring, ring_len);
}

static uint32_t hash_name(const struct hub *h, const uint8_t *s, size_t n)
{
	uint32_t v = 2166136261u ^ h->seed;	/* FNV-1a */

	while (n--)
		v = (v ^ *s++) * 16777619u;
	return v;
}

static uint32_t subject_new(struct hub *h)
{
	const uint32_t s = h->free ? h->free - 1 : h->made++;

	if (h->free)
		h->free = h->subject[s].hash_next;
	assert(s < h->cap);
	return s;
}

uint32_t hub_subject(struct hub *h, const void *name, size_t n)
{
	const uint32_t hash = hash_name(h, name, n);
	uint32_t *const bucket = &h->bucket[hash & h->mask];

	for (uint32_t s = *bucket; s; s = h->subject[s - 1].hash_next) {
		const struct hub_subject *t = &h->subject[s - 1];

		if (t->hash == hash && t->len == n && memcmp(t->name, name, n) == 0)
			return s - 1;
	}
	const uint32_t s = subject_new(h);
	struct hub_subject *t = &h->subject[s];

	t->first = t->last = t->number = 0;
	t->batch = RING_NONE;
	t->count = 0;
	t->readers = HUB_NONE;
	t->hash = hash;
	t->hash_next = *bucket;
	t->pinned = false;
	t->len = (uint8_t)n;
	memcpy(t->name, name, n);
	*bucket = s + 1;
	return s;
}

static void subject_release(struct hub *h, uint32_t s)
{
	struct hub_subject *t = &h->subject[s];
	uint32_t *at = &h->bucket[t->hash & h->mask];

	if (t->pinned || t->readers != HUB_NONE || t->count > 0)
		return;
	while (*at != s + 1)
		at = &h->subject[*at - 1].hash_next;
	*at = t->hash_next;
	t->hash_next = h->free;
	h->free = s + 1;
}

void hub_pin(struct hub *h, uint32_t subject)
{
	h->subject[subject].pinned = true;
}

void hub_join(struct hub *h, uint32_t id, uint32_t subject)
{
	struct hub_subject *t = &h->subject[subject];

	assert(h->dirty == HUB_NONE);
	h->reader[id] = (struct hub_reader){ .record = RING_NONE, .subject = subject,
		.next = t->readers, .prev = HUB_NONE };
	if (t->readers != HUB_NONE)
		h->reader[t->readers].prev = id;
	t->readers = id;
}

static void unstick(struct hub *h, uint32_t id)
{
	struct hub_reader *r = &h->reader[id];

	if (!r->stuck)
		return;
	if (r->stuck_next != HUB_NONE)
		h->reader[r->stuck_next].stuck_prev = r->stuck_prev;
	if (r->stuck_prev != HUB_NONE)
		h->reader[r->stuck_prev].stuck_next = r->stuck_next;
	else
		ring_at(&h->ring, r->record)->first_stuck = r->stuck_next;
	r->stuck = false;
}

void hub_stick(struct hub *h, uint32_t id)
{
	struct hub_reader *r = &h->reader[id];

	if (r->stuck || r->record == RING_NONE)
		return;
	struct ring_record *rec = ring_at(&h->ring, r->record);

	r->stuck = true;
	r->stuck_prev = HUB_NONE;
	r->stuck_next = rec->first_stuck;
	if (r->stuck_next != HUB_NONE)
		h->reader[r->stuck_next].stuck_prev = id;
	rec->first_stuck = id;
}

void hub_leave(struct hub *h, uint32_t id)
{
	struct hub_reader *r = &h->reader[id];
	const uint32_t s = r->subject;

	unstick(h, id);
	if (r->next != HUB_NONE)
		h->reader[r->next].prev = r->prev;
	if (r->prev != HUB_NONE)
		h->reader[r->prev].next = r->next;
	else
		h->subject[s].readers = r->next;
	subject_release(h, s);
}

void hub_replay(struct hub *h, uint32_t id, uint64_t n)
{
	struct hub_reader *r = &h->reader[id];
	const struct hub_subject *t = &h->subject[r->subject];

	if (n == 0 || t->count == 0)
		return;
	r->record = t->first;
	for (uint64_t skip = t->count > n ? t->count - n : 0; skip > 0; skip--)
		r->record += ring_at(&h->ring, r->record)->next;
}

/* Drop the oldest record, at which nobody is stuck. */
static void drop(struct hub *h)
{
	const struct ring_record *rec = ring_at(&h->ring, h->ring.tail);
	struct hub_subject *t = &h->subject[rec->subject];

	t->first += rec->next;
	t->count--;
	ring_drop(&h->ring);
	if (t->count == 0)
		subject_release(h, rec->subject);
}

uint32_t hub_room(struct hub *h, uint32_t len)
{
	while (ring_must_drop(&h->ring, len)) {
		const uint32_t id = ring_at(&h->ring, h->ring.tail)->first_stuck;

		if (id != HUB_NONE)
			return id;
		drop(h);
	}
	return HUB_NONE;
}

bool hub_has_room(const struct hub *h)
{
	const struct ring *r = &h->ring;
	uint64_t i = r->tail;

	if (r->head == r->tail)
		return true;
	const uint32_t oldest = ring_at(r, i)->at;
	uint64_t bytes = oldest >= r->end ? oldest - r->end : r->size - r->end + oldest;
	uint64_t records = r->cap - (r->head - r->tail);

	for (; bytes < r->size / 4 || records < r->cap / 4; i++) {
		if (i == r->head)
			return true;
		if (ring_at(r, i)->first_stuck != HUB_NONE)
			return false;
		bytes += ring_at(r, i)->len;
		records++;
	}
	return true;
}

uint32_t hub_first_stuck(const struct hub *h)
{
	for (uint64_t i = h->ring.tail; i < h->ring.head; i++)
		if (ring_at(&h->ring, i)->first_stuck != HUB_NONE)
			return ring_at(&h->ring, i)->first_stuck;
	return HUB_NONE;
}

bool hub_must_flush(const struct hub *h, uint32_t len)
{
	return h->dirty != HUB_NONE && (h->fresh + (uint64_t)len > h->ring.size / 2 ||
	    h->ring.head - h->fresh_from >= h->ring.cap / 2);
}

uint8_t *hub_push(struct hub *h, uint32_t subject, uint32_t len)
{
	struct hub_subject *t = &h->subject[subject];
	const uint64_t i = h->ring.head;
	uint8_t *p = ring_push(&h->ring, len, subject);

	if (t->count++ == 0)
		t->first = i;
	else
		ring_at(&h->ring, t->last)->next = (uint32_t)(i - t->last);
	t->last = i;
	t->number++;
	if (h->dirty == HUB_NONE) {
		h->fresh = 0;
		h->fresh_from = i;
	}
	if (t->batch == RING_NONE) {
		t->batch = i;
		t->dirty_next = h->dirty;
		h->dirty = subject;
	}
	h->fresh += len;
	return p;
}

void hub_wake(struct hub *h, uint32_t id)
{
	struct hub_reader *r = &h->reader[id];

	if (r->record == RING_NONE) {
		r->record = h->subject[r->subject].batch;
		r->off = 0;
	}
}

void hub_flushed(struct hub *h)
{
	while (h->dirty != HUB_NONE) {
		struct hub_subject *t = &h->subject[h->dirty];

		h->dirty = t->dirty_next;
		t->batch = RING_NONE;
	}
}

bool hub_pending(struct hub *h, uint32_t id, struct ring_run *run)
{
	const struct hub_reader *r = &h->reader[id];

	if (r->record == RING_NONE)
		return false;
	if (r->off == 0 && r->record == h->memo_from && h->ring.head == h->memo_head) {
		*run = h->memo;
		return true;
	}
	ring_run(&h->ring, run, r->record, r->off);
	if (r->off == 0) {			/* the same for all that have kept up */
		h->memo = *run;
		h->memo_from = r->record;
		h->memo_head = h->ring.head;
	}
	return true;
}

bool hub_begun(const struct hub *h, uint32_t id, struct ring_run *run)
{
	const struct hub_reader *r = &h->reader[id];

	if (r->record == RING_NONE || r->off == 0)
		return false;
	const struct ring_record *rec = ring_at(&h->ring, r->record);

	run->p = h->ring.bytes + rec->at + r->off;
	run->len = rec->len - r->off;
	run->next = rec->next ? r->record + rec->next : RING_NONE;
	run->count = 1;
	return true;
}

uint32_t hub_sent(struct hub *h, uint32_t id, const struct ring_run *run, size_t n)
{
	struct hub_reader *r = &h->reader[id];
	uint32_t count = 0;

	unstick(h, id);
	if (n == run->len) {
		r->record = run->next;
		r->off = 0;
		return run->count;
	}
	for (n += r->off; n >= ring_at(&h->ring, r->record)->len; count++) {
		n -= ring_at(&h->ring, r->record)->len;
		r->record += ring_at(&h->ring, r->record)->next;
	}
	r->off = (uint32_t)n;
	return count;
}

void hub_skip(struct hub *h, uint32_t id)
{
	struct hub_reader *r = &h->reader[id];
	const struct hub_subject *t = &h->subject[r->subject];

	unstick(h, id);
	r->off = 0;
	if (r->record != RING_NONE)
		r->record = t->last > h->ring.tail ? t->last : RING_NONE;
}
