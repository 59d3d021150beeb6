#include "ring.h"

void ring_init(struct ring *r, void *mem, size_t n)
{
	const size_t cap = n / 4 / sizeof *r->record;

	*r = (struct ring){ .record = mem, .cap = (uint32_t)cap };
	r->bytes = (uint8_t *)mem + cap * sizeof *r->record;
	r->size = (uint32_t)(n - cap * sizeof *r->record);
}

/* Where a frame of len bytes would go: behind the newest, or at the start if the end of the
 * ring is too near. */
static uint32_t place(const struct ring *r, uint32_t len)
{
	return r->head == r->tail || len > r->size - r->end ? 0 : r->end;
}

bool ring_must_drop(const struct ring *r, uint32_t len)
{
	if (r->head == r->tail)
		return false;
	if (r->head - r->tail == r->cap)
		return true;
	const uint32_t oldest = ring_at(r, r->tail)->at;

	if (oldest >= r->end)			/* the free space is one gap, up to the oldest */
		return len > oldest - r->end;
	return place(r, len) == 0 && len > oldest;
}

void ring_drop(struct ring *r)
{
	r->tail++;
}

uint8_t *ring_push(struct ring *r, uint32_t len, uint32_t subject, uint32_t number)
{
	const uint32_t at = place(r, len);

	*ring_at(r, r->head) = (struct ring_record){ .at = at, .len = len, .subject = subject,
		.number = number, .first_stuck = UINT32_MAX };
	r->head++;
	r->end = at + len;
	return r->bytes + at;
}

void ring_run(const struct ring *r, struct ring_run *run, uint64_t i, uint32_t off, uint64_t end)
{
	const struct ring_record *rec = ring_at(r, i);
	uint32_t to = rec->at + rec->len;

	run->p = r->bytes + rec->at + off;
	run->count = 1;
	run->next = rec->next ? i + rec->next : RING_NONE;
	while (run->next < end && ring_at(r, run->next)->at == to) {
		rec = ring_at(r, run->next);
		to += rec->len;
		run->count++;
		run->next = rec->next ? run->next + rec->next : RING_NONE;
	}
	run->len = (size_t)(r->bytes + to - run->p);
}
