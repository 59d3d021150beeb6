#include "wheel.h"

#include <stdbool.h>

#define DUE WHEEL_SLOTS		/* the list of those taken out to be popped */

void wheel_init(struct wheel *w, struct wheel_timer *timer, int64_t now_ms)
{
	*w = (struct wheel){ .timer = timer, .tick = now_ms / WHEEL_TICK_MS };
	for (uint32_t i = 0; i <= WHEEL_SLOTS; i++)
		w->slot[i] = WHEEL_NONE;
}

static void push(struct wheel *w, uint32_t id, uint32_t slot)
{
	struct wheel_timer *t = &w->timer[id];

	t->slot = slot + 1;
	t->prev = WHEEL_NONE;
	t->next = w->slot[slot];
	if (t->next != WHEEL_NONE)
		w->timer[t->next].prev = id;
	w->slot[slot] = id;
	if (slot != DUE)
		w->used[slot / 64] |= (uint64_t)1 << slot % 64;
}

void wheel_clear(struct wheel *w, uint32_t id)
{
	struct wheel_timer *t = &w->timer[id];
	const uint32_t slot = t->slot - 1;

	if (!t->slot)
		return;
	if (t->next != WHEEL_NONE)
		w->timer[t->next].prev = t->prev;
	if (t->prev != WHEEL_NONE)
		w->timer[t->prev].next = t->next;
	else
		w->slot[slot] = t->next;
	if (slot != DUE && w->slot[slot] == WHEEL_NONE)
		w->used[slot / 64] &= ~((uint64_t)1 << slot % 64);
	t->slot = 0;
}

void wheel_set(struct wheel *w, uint32_t id, int64_t at_ms)
{
	int64_t tick = at_ms / WHEEL_TICK_MS + 1;	/* the first tick at which it has passed */

	wheel_clear(w, id);
	w->timer[id].at_ms = at_ms;
	if (tick < w->tick)
		tick = w->tick;
	push(w, id, (uint32_t)(tick % WHEEL_SLOTS));
}

/* Move a whole slot to the list of the due, so that what stays for a later turn is met once. */
static void take(struct wheel *w, uint32_t slot)
{
	w->slot[DUE] = w->slot[slot];
	w->slot[slot] = WHEEL_NONE;
	w->used[slot / 64] &= ~((uint64_t)1 << slot % 64);
	for (uint32_t id = w->slot[DUE]; id != WHEEL_NONE; id = w->timer[id].next)
		w->timer[id].slot = DUE + 1;
}

/* The number of ticks from w->tick to the next slot in use, or -1. */
static int next_used(const struct wheel *w)
{
	const uint32_t from = (uint32_t)(w->tick % WHEEL_SLOTS);

	for (uint32_t i = 0; i < WHEEL_SLOTS;) {
		const uint32_t slot = (from + i) % WHEEL_SLOTS;
		const uint64_t bits = w->used[slot / 64] >> slot % 64;

		if (bits)
			return (int)i + __builtin_ctzll(bits);
		i += 64 - slot % 64;
	}
	return -1;
}

uint32_t wheel_pop(struct wheel *w, int64_t now_ms)
{
	const int64_t now = now_ms / WHEEL_TICK_MS;

	if (now - w->tick >= WHEEL_SLOTS)	/* one turn visits every slot */
		w->tick = now - WHEEL_SLOTS + 1;
	for (;;) {
		uint32_t id;

		while ((id = w->slot[DUE]) != WHEEL_NONE) {
			const int64_t at = w->timer[id].at_ms;

			wheel_clear(w, id);
			if (at / WHEEL_TICK_MS < now)
				return id;
			wheel_set(w, id, at);
		}
		const int ahead = next_used(w);

		if (ahead < 0 || w->tick + ahead > now) {
			if (w->tick <= now)
				w->tick = now + 1;
			return WHEEL_NONE;
		}
		w->tick += ahead;
		take(w, (uint32_t)(w->tick % WHEEL_SLOTS));
		w->tick++;
	}
}

int wheel_sleep_ms(const struct wheel *w, int64_t now_ms)
{
	const int ahead = next_used(w);

	if (ahead < 0)
		return -1;
	const int64_t ms = (w->tick + ahead) * WHEEL_TICK_MS - now_ms;

	return ms < 0 ? 0 : (int)ms;
}
