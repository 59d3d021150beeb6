#include "hub.h"

#include <assert.h>
#include <string.h>

#include "subject.h"

_Static_assert(sizeof(struct hub_reader) <= 40, "what every client pays");
_Static_assert(SUBJECT_MAX / 2 <= 128, "segments of a subject, a bit each");

#define PATTERNS_FEW 8u		/* of one reader: tried one by one, not by the shapes in use */

static uint32_t buckets(uint32_t n)
{
	uint32_t k = 16;

	while (k < n)
		k *= 2;
	return k;
}

static uint32_t subjects(uint32_t nreaders, uint32_t npinned, uint32_t nsubs)
{
	return nreaders + npinned + nsubs + HUB_SPARE;
}

size_t hub_size(uint32_t nreaders, uint32_t npinned, uint32_t nsubs)
{
	const uint32_t n = subjects(nreaders, npinned, nsubs);

	return n * sizeof(struct hub_subject) + nreaders * sizeof(struct hub_reader) +
	    nreaders * sizeof(struct hub_many) + nsubs * sizeof(struct hub_sub) +
	    ((size_t)buckets(n) + buckets(nsubs)) * sizeof(uint32_t);
}

void hub_init(struct hub *h, void *mem, uint32_t nreaders, uint32_t npinned, uint32_t nsubs,
    uint32_t seed, void *ring, size_t ring_len)
{
	const uint32_t n = subjects(nreaders, npinned, nsubs);

	*h = (struct hub){ .subject = mem, .mask = buckets(n) - 1, .sub_mask = buckets(nsubs) - 1,
		.seed = seed, .cap = n, .idle = HUB_NONE, .idle_last = HUB_NONE, .nsubs = nsubs,
		.batch = RING_NONE, .memo_from = RING_NONE };
	h->reader = (struct hub_reader *)(void *)(h->subject + n);
	h->many = (struct hub_many *)(void *)(h->reader + nreaders);
	h->sub = (struct hub_sub *)(void *)(h->many + nreaders);
	h->bucket = (uint32_t *)(void *)(h->sub + nsubs);
	h->sub_bucket = h->bucket + h->mask + 1;
	ring_init(&h->ring, ring, ring_len);
}

/* ---- shapes of patterns ---- */

static bool is_pattern(const uint8_t *s, size_t n)
{
	return memchr(s, '+', n) || memchr(s, '*', n);
}

static uint8_t segments(const uint8_t *s, size_t n)
{
	uint32_t k = 0;

	for (size_t i = 0; n > 1 && i < n; i++)
		k += s[i] == '/';
	return (uint8_t)k;
}

static struct hub_shape shape_of(const uint8_t *s, size_t n)
{
	struct hub_shape p = { .star = s[n - 1] == '*' };
	uint32_t k = 0;

	for (size_t i = 0; i < n; i++) {
		k += s[i] == '/';
		if (s[i] == '+')
			p.plus[(k - 1) / 32] |= 1u << (k - 1) % 32;
	}
	p.segments = (uint8_t)(k - p.star);
	return p;
}

static bool shape_equal(const struct hub_shape *a, const struct hub_shape *b)
{
	return memcmp(a->plus, b->plus, sizeof a->plus) == 0 && a->segments == b->segments &&
	    a->star == b->star;
}

/* The place of a pattern's shape, a free one if nobody uses it yet, or HUB_SHAPES. */
static uint8_t shape_find(const struct hub *h, const struct hub_shape *p)
{
	uint8_t at = HUB_SHAPES;

	for (uint8_t i = 0; i < HUB_SHAPES; i++) {
		if (h->shape[i].count > 0 && shape_equal(&h->shape[i], p))
			return i;
		if (h->shape[i].count == 0 && at == HUB_SHAPES)
			at = i;
	}
	return at;
}

static void shape_take(struct hub *h, uint8_t i, const struct hub_shape *p)
{
	const uint32_t count = h->shape[i].count + 1;

	h->shape[i] = *p;
	h->shape[i].count = count;
	if (h->nshapes <= i)
		h->nshapes = i + 1;
}

static void shape_drop(struct hub *h, uint8_t i)
{
	h->shape[i].count--;
	while (h->nshapes > 0 && h->shape[h->nshapes - 1].count == 0)
		h->nshapes--;
}

static bool shape_fits(const struct hub_shape *p, const struct hub_subject *t)
{
	return p->count > 0 && (p->star ? t->segments > p->segments : t->segments == p->segments);
}

/* The pattern of that shape that covers t, which it fits; no longer than t's name. */
static size_t shape_name(uint8_t out[SUBJECT_MAX], const struct hub_shape *p,
    const struct hub_subject *t)
{
	size_t n = 0, i = 0;

	for (unsigned k = 0; k < p->segments; k++) {
		const uint8_t *slash = memchr(t->name + i + 1, '/', t->len - i - 1);
		const size_t end = slash ? (size_t)(slash - t->name) : t->len;

		out[n++] = '/';
		if (p->plus[k / 32] >> k % 32 & 1) {
			out[n++] = '+';
		} else {
			memcpy(out + n, t->name + i + 1, end - i - 1);
			n += end - i - 1;
		}
		i = end;
	}
	if (p->star) {
		out[n++] = '/';
		out[n++] = '*';
	}
	return n;
}

/* ---- the table of subjects and patterns ---- */

static uint32_t hash_name(const struct hub *h, const uint8_t *s, size_t n)
{
	uint32_t v = 2166136261u ^ h->seed;	/* FNV-1a */

	while (n--)
		v = (v ^ *s++) * 16777619u;
	return v;
}

uint32_t hub_find(const struct hub *h, const void *name, size_t n)
{
	const uint32_t hash = hash_name(h, name, n);

	for (uint32_t s = h->bucket[hash & h->mask]; s; s = h->subject[s - 1].hash_next) {
		const struct hub_subject *t = &h->subject[s - 1];

		if (t->hash == hash && t->len == n && memcmp(t->name, name, n) == 0)
			return s - 1;
	}
	return HUB_NONE;
}

static void idle_remove(struct hub *h, uint32_t s)
{
	struct hub_subject *t = &h->subject[s];

	if (!t->idle)
		return;
	if (t->idle_next != HUB_NONE)
		h->subject[t->idle_next].idle_prev = t->idle_prev;
	else
		h->idle_last = t->idle_prev;
	if (t->idle_prev != HUB_NONE)
		h->subject[t->idle_prev].idle_next = t->idle_next;
	else
		h->idle = t->idle_next;
	t->idle = false;
	h->nidle--;
}

static void entry_free(struct hub *h, uint32_t s)
{
	struct hub_subject *t = &h->subject[s];
	uint32_t *at = &h->bucket[t->hash & h->mask];

	while (*at != s + 1)
		at = &h->subject[*at - 1].hash_next;
	*at = t->hash_next;
	t->hash_next = h->free;
	h->free = s + 1;
}

static void forget(struct hub *h, uint32_t s)
{
	if (h->floor < h->subject[s].number)
		h->floor = h->subject[s].number;
	idle_remove(h, s);
	entry_free(h, s);
}

static void idle_add(struct hub *h, uint32_t s)
{
	struct hub_subject *t = &h->subject[s];

	t->idle = true;
	t->idle_next = HUB_NONE;
	t->idle_prev = h->idle_last;
	if (h->idle_last != HUB_NONE)
		h->subject[h->idle_last].idle_next = s;
	else
		h->idle = s;
	h->idle_last = s;
	if (++h->nidle > HUB_SPARE)
		forget(h, h->idle);
}

static uint32_t entry_take(struct hub *h)
{
	if (!h->free && h->made == h->cap && h->idle != HUB_NONE)
		forget(h, h->idle);
	if (h->free) {
		const uint32_t s = h->free - 1;

		h->free = h->subject[s].hash_next;
		return s;
	}
	assert(h->made < h->cap);
	return h->made++;
}

/* shape: of a pattern, or HUB_SHAPES. */
static uint32_t entry_make(struct hub *h, const uint8_t *name, size_t n, uint8_t shape)
{
	const uint32_t s = entry_take(h), hash = hash_name(h, name, n);
	uint32_t *const bucket = &h->bucket[hash & h->mask];
	struct hub_subject *t = &h->subject[s];

	t->first = t->last = 0;
	t->number = t->base = h->floor;
	t->then = RING_NONE;
	t->count = 0;
	t->readers = t->subs = HUB_NONE;
	t->hash = hash;
	t->hash_next = *bucket;
	t->pinned = t->idle = false;
	t->shape = shape;
	t->segments = segments(name, n);
	t->len = (uint8_t)n;
	memcpy(t->name, name, n);
	*bucket = s + 1;
	return s;
}

/* It has lost a reader, a subscription or a message. */
static void entry_release(struct hub *h, uint32_t s)
{
	const struct hub_subject *t = &h->subject[s];

	if (t->pinned || t->readers != HUB_NONE || t->subs != HUB_NONE || t->count > 0)
		return;
	if (t->shape == HUB_SHAPES) {
		idle_add(h, s);
	} else {
		shape_drop(h, t->shape);
		entry_free(h, s);
	}
}

uint32_t hub_subject(struct hub *h, const void *name, size_t n)
{
	uint32_t s = hub_find(h, name, n);

	if (s == HUB_NONE) {
		s = entry_make(h, name, n, HUB_SHAPES);
		idle_add(h, s);
	}
	return s;
}

void hub_pin(struct hub *h, uint32_t subject)
{
	idle_remove(h, subject);
	h->subject[subject].pinned = true;
}

/* ---- records ---- */

static const struct hub_subject *subject_at(const struct hub *h, uint64_t i)
{
	return &h->subject[ring_at(&h->ring, i)->subject];
}

/* Its subject's newest number is less than 2^32 ahead. */
static uint64_t number_at(const struct hub *h, uint64_t i)
{
	const uint64_t newest = subject_at(h, i)->number;

	return newest - (uint32_t)((uint32_t)newest - ring_at(&h->ring, i)->number);
}

/* The newest number that the subject of record i had before record end, which is behind i. */
static uint64_t number_before(const struct hub *h, uint64_t i, uint64_t end)
{
	struct hub_subject *t = &h->subject[ring_at(&h->ring, i)->subject];

	if (t->last < end)
		return t->number;
	if (t->then != end) {
		t->then_number = number_at(h, i);
		while ((i += ring_at(&h->ring, i)->next) < end)
			t->then_number++;
		t->then = end;
	}
	return t->then_number;
}

/* The record of that subject with the least number from want on, or RING_NONE. */
static uint64_t record_of(const struct hub *h, const struct hub_subject *t, uint64_t want)
{
	const uint64_t oldest = t->number - t->count + 1;
	uint64_t i = t->first;

	if (t->count == 0 || want > t->number)
		return RING_NONE;
	if (want == t->number)
		return t->last;
	for (uint64_t k = oldest; k < want; k++)
		i += ring_at(&h->ring, i)->next;
	return i;
}

static uint64_t next_of(const struct hub *h, uint64_t i)
{
	const uint32_t next = ring_at(&h->ring, i)->next;

	return next ? i + next : RING_NONE;
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
		entry_release(h, rec->subject);
}

uint32_t hub_room(struct hub *h, uint32_t len)
{
	while (ring_must_drop(&h->ring, len)) {
		const uint32_t id = ring_at(&h->ring, h->ring.tail)->first_stuck;

		if (id != HUB_NONE) {
			if (h->wanted < len)
				h->wanted = len;
			return id;
		}
		drop(h);
	}
	if (h->wanted <= len)
		h->wanted = 0;
	return HUB_NONE;
}

bool hub_has_room(const struct hub *h)
{
	const uint32_t quarter = h->ring.size / 4, len = h->wanted > quarter ? h->wanted : quarter;

	for (struct ring r = h->ring;; r.tail++) {
		if (r.cap - (r.head - r.tail) >= r.cap / 4 && !ring_must_drop(&r, len))
			return true;
		if (ring_at(&r, r.tail)->first_stuck != HUB_NONE)
			return false;
	}
}

uint32_t hub_subject_room(struct hub *h)
{
	while (!h->free && h->made == h->cap && h->idle == HUB_NONE) {
		/* A batch has one subject: with all else gone, something is idle. */
		assert(h->ring.tail < h->ring.head && h->ring.tail != h->batch);
		const uint32_t id = ring_at(&h->ring, h->ring.tail)->first_stuck;

		if (id != HUB_NONE)
			return id;
		drop(h);
	}
	return HUB_NONE;
}

uint32_t hub_first_stuck(const struct hub *h)
{
	for (uint64_t i = h->ring.tail; i < h->ring.head; i++)
		if (ring_at(&h->ring, i)->first_stuck != HUB_NONE)
			return ring_at(&h->ring, i)->first_stuck;
	return HUB_NONE;
}

/* ---- lists of subscriptions ---- */

/* Behind another, or at the head of the list. */
static void link_add(struct hub *h, enum hub_list list, uint32_t *head, uint32_t behind,
    uint32_t sub)
{
	uint32_t *const at = behind != HUB_NONE ? &h->sub[behind].link[list].next : head;
	struct hub_link *l = &h->sub[sub].link[list];

	l->prev = behind;
	l->next = *at;
	if (l->next != HUB_NONE)
		h->sub[l->next].link[list].prev = sub;
	*at = sub;
}

static void link_remove(struct hub *h, enum hub_list list, uint32_t *head, uint32_t sub)
{
	const struct hub_link *l = &h->sub[sub].link[list];

	if (l->next != HUB_NONE)
		h->sub[l->next].link[list].prev = l->prev;
	if (l->prev != HUB_NONE)
		h->sub[l->prev].link[list].next = l->next;
	else
		*head = l->next;
}

static void notice_add(struct hub *h, uint32_t sub)
{
	struct hub_sub *s = &h->sub[sub];

	if (!s->gap && !s->ended)
		link_add(h, HUB_NOTICES, &h->many[s->reader].notice, HUB_NONE, sub);
}

/* It has missed n messages more. */
static void miss(struct hub *h, uint32_t sub, uint64_t n)
{
	struct hub_sub *s = &h->sub[sub];

	notice_add(h, sub);
	s->gap = true;
	s->missed = n == HUB_UNKNOWN || s->missed == HUB_UNKNOWN ? HUB_UNKNOWN : s->missed + n;
}

static void replay_add(struct hub *h, uint32_t sub)
{
	struct hub_sub *s = &h->sub[sub];
	struct hub_many *m = &h->many[s->reader];

	s->replaying = true;
	m->replaying++;
	if (m->oldest > s->from)
		m->oldest = s->from;
	link_add(h, HUB_REPLAYING, &m->replay, HUB_NONE, sub);
}

static void replay_remove(struct hub *h, uint32_t sub)
{
	struct hub_sub *s = &h->sub[sub];
	struct hub_many *m = &h->many[s->reader];

	if (!s->replaying)
		return;
	s->replaying = false;
	m->replaying--;
	link_remove(h, HUB_REPLAYING, &m->replay, sub);
}

/* ---- subscriptions ---- */

static uint32_t *sub_bucket(const struct hub *h, uint32_t id, uint32_t entry)
{
	uint32_t v = (id * 0x9e3779b1u ^ entry ^ h->seed) * 0x85ebca6bu;

	v ^= v >> 15;
	return &h->sub_bucket[v & h->sub_mask];
}

static uint32_t sub_find(const struct hub *h, uint32_t id, uint32_t entry)
{
	for (uint32_t s = *sub_bucket(h, id, entry); s; s = h->sub[s - 1].hash_next)
		if (h->sub[s - 1].reader == id && h->sub[s - 1].entry == entry)
			return s - 1;
	return HUB_NONE;
}

static bool of_pattern(const struct hub *h, const struct hub_sub *s)
{
	return h->subject[s->entry].shape != HUB_SHAPES;
}

static uint32_t sub_take(struct hub *h)
{
	const uint32_t s = h->subs_free ? h->subs_free - 1 : h->subs_made++;

	if (h->subs_free)
		h->subs_free = h->sub[s].hash_next;
	return s;
}

static uint32_t sub_make(struct hub *h, uint32_t id, uint32_t entry)
{
	struct hub_many *m = &h->many[id];
	const uint32_t sub = sub_take(h);
	struct hub_sub *s = &h->sub[sub];
	uint32_t *const bucket = sub_bucket(h, id, entry);

	*s = (struct hub_sub){ .reader = id, .entry = entry, .hash_next = *bucket,
		.from = h->ring.head, .live = h->ring.head, .skip = RING_NONE };
	*bucket = sub + 1;
	idle_remove(h, entry);
	link_add(h, HUB_OF_ENTRY, &h->subject[entry].subs, HUB_NONE, sub);
	link_add(h, HUB_OWN, &m->subs, of_pattern(h, s) ? HUB_NONE : m->last_pattern, sub);
	m->nsubs++;
	if (of_pattern(h, s) && m->npatterns++ == 0)
		m->last_pattern = sub;
	return sub;
}

static void sub_remove(struct hub *h, uint32_t sub)
{
	struct hub_sub *s = &h->sub[sub];
	struct hub_many *m = &h->many[s->reader];
	uint32_t *at = sub_bucket(h, s->reader, s->entry);

	replay_remove(h, sub);
	if (s->gap || s->ended)
		link_remove(h, HUB_NOTICES, &m->notice, sub);
	if (m->last_pattern == sub)
		m->last_pattern = s->own_prev;
	m->npatterns -= of_pattern(h, s);
	m->nsubs--;
	link_remove(h, HUB_OWN, &m->subs, sub);
	link_remove(h, HUB_OF_ENTRY, &h->subject[s->entry].subs, sub);
	while (*at != sub + 1)
		at = &h->sub[*at - 1].hash_next;
	*at = s->hash_next;
	s->hash_next = h->subs_free;
	h->subs_free = sub + 1;
	entry_release(h, s->entry);
}

/* It is one that counts at record i. */
static bool counts(const struct hub *h, const struct hub_sub *s, uint64_t i)
{
	return !s->ended && i >= s->from && i != s->skip &&
	    (s->replaying || i >= h->many[s->reader].until);
}

/* Record i, which its name covers, came after it or is among what was to be replayed. */
static bool asked(const struct hub *h, const struct hub_sub *s, uint64_t i)
{
	if (i >= s->live)
		return true;
	const uint64_t number = number_at(h, i);

	if (!of_pattern(h, s))
		return number >= s->want;
	return subject_at(h, i)->number - number < s->want ||
	    number_before(h, i, s->live) - number < s->want;
}

static bool covers(const struct hub *h, const struct hub_sub *s, uint64_t i)
{
	const struct hub_subject *p = &h->subject[s->entry], *t = subject_at(h, i);

	return subject_match(p->name, p->len, t->name, t->len);
}

/* The pattern of that shape which covers t, if somebody has subscribed to it. */
static uint32_t pattern_find(const struct hub *h, const struct hub_shape *p,
    const struct hub_subject *t)
{
	uint8_t name[SUBJECT_MAX];

	return shape_fits(p, t) ? hub_find(h, name, shape_name(name, p, t)) : HUB_NONE;
}

/* The first of n subscriptions of a list that is to deliver record i, or HUB_NONE. */
static uint32_t pattern_of_list(const struct hub *h, enum hub_list list, uint32_t sub, uint32_t n,
    uint64_t i)
{
	for (; n > 0; n--, sub = h->sub[sub].link[list].next) {
		const struct hub_sub *s = &h->sub[sub];

		if (counts(h, s, i) && covers(h, s, i) && asked(h, s, i))
			return sub;
	}
	return HUB_NONE;
}

static uint32_t pattern_of_shape(const struct hub *h, uint32_t id, uint64_t i)
{
	for (uint32_t k = 0; k < h->nshapes; k++) {
		const uint32_t entry = pattern_find(h, &h->shape[k], subject_at(h, i));
		const uint32_t s = entry != HUB_NONE ? sub_find(h, id, entry) : HUB_NONE;

		if (s != HUB_NONE && counts(h, &h->sub[s], i) && asked(h, &h->sub[s], i))
			return s;
	}
	return HUB_NONE;
}

/* The subscription by which the reader is to see record i, or HUB_NONE. */
static uint32_t sub_for(const struct hub *h, uint32_t id, uint64_t i)
{
	const struct hub_many *m = &h->many[id];

	if (m->nsubs > m->npatterns) {
		const uint32_t s = sub_find(h, id, ring_at(&h->ring, i)->subject);

		if (s != HUB_NONE && counts(h, &h->sub[s], i) && asked(h, &h->sub[s], i))
			return s;
	}
	if (m->npatterns <= PATTERNS_FEW)
		return pattern_of_list(h, HUB_OWN, m->subs, m->npatterns, i);
	if (i < m->until && m->replaying <= PATTERNS_FEW)
		return pattern_of_list(h, HUB_REPLAYING, m->replay, m->replaying, i);
	return pattern_of_shape(h, id, i);
}

/* The first record from i on that the reader is to see, or RING_NONE; and by which subscription. */
static uint64_t seek(const struct hub *h, uint32_t id, uint64_t i, uint32_t *sub)
{
	const struct hub_many *m = &h->many[id];

	if (i < h->ring.tail)
		i = h->ring.tail;
	if (i < m->until && m->replaying == 0)
		i = m->until;
	for (; i < h->ring.head; i++)
		if ((*sub = sub_for(h, id, i)) != HUB_NONE)
			return i;
	return RING_NONE;
}

/* ---- where a reader stands ---- */

/* The oldest record that it still needs. */
static uint64_t needs(const struct hub *h, uint32_t id)
{
	const struct hub_reader *r = &h->reader[id];

	return r->many && h->many[id].back != RING_NONE ? h->many[id].back : r->record;
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
		ring_at(&h->ring, needs(h, id))->first_stuck = r->stuck_next;
	r->stuck = false;
}

void hub_stick(struct hub *h, uint32_t id)
{
	struct hub_reader *r = &h->reader[id];

	if (r->stuck || r->record == RING_NONE)
		return;
	struct ring_record *rec = ring_at(&h->ring, needs(h, id));

	r->stuck = true;
	r->stuck_prev = HUB_NONE;
	r->stuck_next = rec->first_stuck;
	if (r->stuck_next != HUB_NONE)
		h->reader[r->stuck_next].stuck_prev = id;
	rec->first_stuck = id;
}

/* It has been sent, or is being sent, all that it is to see before this record. */
static uint64_t position(const struct hub *h, uint32_t id)
{
	const struct hub_reader *r = &h->reader[id];

	if (r->record == RING_NONE)
		return h->ring.head;
	return h->many[id].back != RING_NONE ? h->many[id].back : r->record + (r->off > 0);
}

static void stand(struct hub *h, uint32_t id, uint64_t record, uint64_t back)
{
	struct hub_many *m = &h->many[id];
	const bool stuck = h->reader[id].stuck;

	unstick(h, id);
	h->reader[id].record = record;
	m->back = back;
	if (m->until > 0 && position(h, id) >= m->until) {
		while (m->replay != HUB_NONE)
			replay_remove(h, m->replay);
		m->until = 0;
		m->oldest = RING_NONE;
	}
	if (stuck)
		hub_stick(h, id);
}

/* A subscription delivers no more: on to what another does. */
static void move_on(struct hub *h, uint32_t id)
{
	const struct hub_reader *r = &h->reader[id];
	uint64_t record = r->record, back = h->many[id].back;
	uint32_t sub;

	if (back != RING_NONE) {
		back = seek(h, id, back, &sub);
		if (back > record)		/* not back, then */
			back = RING_NONE;
	} else if (record != RING_NONE && r->off == 0) {
		record = seek(h, id, record, &sub);
	}
	stand(h, id, record, back);
}

/* ---- replays ---- */

/* The number from which on messages are wanted, as far as the ring has them; how many of a
 * `since` are gone. */
static uint64_t replay_from(const struct hub_subject *t, const struct hub_replay *replay,
    uint64_t *missed)
{
	const uint64_t oldest = t->number - t->count + 1;

	*missed = 0;
	if (!replay->since)
		return replay->count < t->count ? t->number + 1 - replay->count : oldest;
	if (replay->after == HUB_UNKNOWN || replay->after > t->number || replay->after < t->base)
		*missed = HUB_UNKNOWN;
	else if (replay->after + 1 >= oldest)
		return replay->after + 1;
	else
		*missed = oldest - replay->after - 1;
	return oldest;
}

uint64_t hub_replay(struct hub *h, uint32_t id, const struct hub_replay *replay)
{
	struct hub_reader *r = &h->reader[id];
	const struct hub_subject *t = &h->subject[r->subject];
	uint64_t missed;

	r->record = record_of(h, t, replay_from(t, replay, &missed));
	return missed;
}

/* The same for a pattern that is new. While another replays, or is behind what it came after, as of that
 * one: were they of many times, number_before would have to count anew for each record. */
static void pattern_from(const struct hub *h, struct hub_sub *s, uint64_t count)
{
	const struct hub_many *m = &h->many[s->reader];
	const uint64_t at = position(h, s->reader), last = m->npatterns > 1 ? h->sub[s->own_next].live : 0;
	uint32_t other = m->replay;

	while (other != HUB_NONE && !of_pattern(h, &h->sub[other]))
		other = h->sub[other].replay_next;
	s->want = count;
	if (other != HUB_NONE || last > (at > m->until ? at : m->until))
		s->live = last;
	else if (count == 0)
		s->live = 0;
}

/* The first record that it was promised, or RING_NONE. */
static uint64_t promised(const struct hub *h, const struct hub_sub *s)
{
	uint64_t i;

	if (!of_pattern(h, s)) {
		i = record_of(h, &h->subject[s->entry], s->want);
		return i != RING_NONE && i == s->skip ? next_of(h, i) : i;
	}
	for (i = s->want ? h->ring.tail : h->ring.head; i < h->ring.head; i++)
		if (i != s->skip && covers(h, s, i) && asked(h, s, i))
			return i;
	return RING_NONE;
}

/* Those that replay have got what they are to see before this record. */
static void replay_pass(struct hub *h, struct hub_many *m, uint64_t i)
{
	if (m->oldest >= i)
		return;
	for (uint32_t s = m->replay; s != HUB_NONE; s = h->sub[s].replay_next)
		if (h->sub[s].from < i)
			h->sub[s].from = i;
	m->oldest = i;
}

/* Replay from record i on, which may lie behind where the reader stands. */
static void replay_start(struct hub *h, uint32_t sub, uint64_t i)
{
	struct hub_sub *s = &h->sub[sub];
	const uint32_t id = s->reader;
	struct hub_many *m = &h->many[id];
	const struct hub_reader *r = &h->reader[id];
	const uint64_t at = position(h, id);

	s->from = i;
	if (i < at && m->until == 0)
		m->until = at;
	else if (i < at)
		replay_pass(h, m, at);
	if (i < m->until)
		replay_add(h, sub);
	if (i < at && r->record != RING_NONE && r->off > 0)
		stand(h, id, r->record, i);
	else if (i < at)
		stand(h, id, i, RING_NONE);
}

/* ---- what readers with subscriptions ask for ---- */

/* The entry of that name, made if it is new; HUB_NONE: no shape is left. */
static uint32_t sub_entry(struct hub *h, const uint8_t *name, size_t n)
{
	const uint32_t entry = hub_find(h, name, n);

	if (entry != HUB_NONE)
		return entry;
	if (!is_pattern(name, n))
		return hub_subject(h, name, n);
	const struct hub_shape p = shape_of(name, n);
	const uint8_t shape = shape_find(h, &p);

	if (shape == HUB_SHAPES)
		return HUB_NONE;
	shape_take(h, shape, &p);
	return entry_make(h, name, n, shape);
}

static bool sub_drop(struct hub *h, uint32_t id, const void *name, size_t n)
{
	const uint32_t entry = hub_find(h, name, n);
	const uint32_t sub = entry != HUB_NONE ? sub_find(h, id, entry) : HUB_NONE;

	if (sub == HUB_NONE)
		return false;
	sub_remove(h, sub);
	move_on(h, id);
	return true;
}

static bool sub_room(const struct hub *h, uint32_t id)
{
	const uint32_t most = h->nsubs < 8 ? 1 : h->nsubs / 4;

	return h->many[id].nsubs < most && (h->subs_free || h->subs_made < h->nsubs);
}

enum hub_result hub_subscribe(struct hub *h, uint32_t id, const void *name, size_t n,
    const struct hub_replay *replay)
{
	const struct hub_reader *r = &h->reader[id];
	const bool stuck = r->stuck;
	uint64_t missed = 0;

	assert(r->many && !hub_fresh(h));
	if (!sub_drop(h, id, name, n) && !sub_room(h, id))
		return HUB_FULL;
	const uint32_t entry = sub_entry(h, name, n);

	if (entry == HUB_NONE)
		return HUB_FULL;
	const uint32_t sub = sub_make(h, id, entry);
	struct hub_sub *s = &h->sub[sub];

	if (of_pattern(h, s))
		pattern_from(h, s, replay->count);
	else
		s->want = replay_from(&h->subject[entry], replay, &missed);
	if (r->record != RING_NONE && r->off > 0)
		s->skip = r->record;
	const uint64_t first = promised(h, s);

	if (first != RING_NONE)
		replay_start(h, sub, first);
	if (stuck)				/* it may have had nothing in between */
		hub_stick(h, id);
	if (missed > 0)
		miss(h, sub, missed);
	return HUB_OK;
}

bool hub_unsubscribe(struct hub *h, uint32_t id, const void *name, size_t n)
{
	return sub_drop(h, id, name, n);
}

void hub_end(struct hub *h, uint32_t id, uint32_t sub)
{
	notice_add(h, sub);
	h->sub[sub].ended = true;
	replay_remove(h, sub);
	move_on(h, id);
}

uint32_t hub_notice(const struct hub *h, uint32_t id)
{
	return h->many[id].notice;
}

void hub_noticed(struct hub *h, uint32_t id, uint32_t sub)
{
	struct hub_sub *s = &h->sub[sub];

	if (s->ended) {
		sub_remove(h, sub);
		return;
	}
	if (s->gap)
		link_remove(h, HUB_NOTICES, &h->many[id].notice, sub);
	s->gap = false;
	s->missed = 0;
}

void hub_join(struct hub *h, uint32_t id, uint32_t subject)
{
	struct hub_subject *t = &h->subject[subject];

	assert(!hub_fresh(h));
	h->reader[id] = (struct hub_reader){ .record = RING_NONE, .subject = subject,
		.next = t->readers, .prev = HUB_NONE };
	if (t->readers != HUB_NONE)
		h->reader[t->readers].prev = id;
	t->readers = id;
	idle_remove(h, subject);
}

void hub_open(struct hub *h, uint32_t id)
{
	assert(!hub_fresh(h));
	h->reader[id] = (struct hub_reader){ .record = RING_NONE, .subject = HUB_NONE, .many = true };
	h->many[id] = (struct hub_many){ .back = RING_NONE, .oldest = RING_NONE, .subs = HUB_NONE,
		.last_pattern = HUB_NONE, .replay = HUB_NONE, .notice = HUB_NONE };
}

void hub_leave(struct hub *h, uint32_t id)
{
	const struct hub_reader *r = &h->reader[id];

	unstick(h, id);
	if (r->many) {
		while (h->many[id].subs != HUB_NONE)
			sub_remove(h, h->many[id].subs);
		return;
	}
	if (r->next != HUB_NONE)
		h->reader[r->next].prev = r->prev;
	if (r->prev != HUB_NONE)
		h->reader[r->prev].next = r->next;
	else
		h->subject[r->subject].readers = r->next;
	entry_release(h, r->subject);
}

/* ---- publishing ---- */

bool hub_fresh(const struct hub *h)
{
	return h->batch != RING_NONE;
}

bool hub_must_flush(const struct hub *h, uint32_t subject, uint32_t len)
{
	return hub_fresh(h) && (subject != h->batch_subject ||
	    h->fresh + (uint64_t)len > h->ring.size / 2 ||
	    h->ring.head - h->batch >= h->ring.cap / 2);
}

uint8_t *hub_push(struct hub *h, uint32_t subject, uint32_t len)
{
	struct hub_subject *t = &h->subject[subject];
	const uint64_t i = h->ring.head;

	assert(!hub_fresh(h) || subject == h->batch_subject);
	idle_remove(h, subject);
	t->number++;
	uint8_t *p = ring_push(&h->ring, len, subject, (uint32_t)t->number);

	if (t->count++ == 0)
		t->first = i;
	else
		ring_at(&h->ring, t->last)->next = (uint32_t)(i - t->last);
	t->last = i;
	if (!hub_fresh(h)) {
		h->batch = i;
		h->batch_subject = subject;
		h->fresh = 0;
	}
	h->fresh += len;
	return p;
}

void hub_batch(struct hub *h, struct hub_walk *w)
{
	const struct hub_subject *t = &h->subject[h->batch_subject];

	*w = (struct hub_walk){ .reader = t->readers, .sub = t->subs };
}

static void wake(struct hub *h, uint32_t id)
{
	struct hub_reader *r = &h->reader[id];

	if (r->record == RING_NONE) {
		r->record = h->batch;
		r->off = 0;
	}
}

/* The next of a list of subscriptions whose reader has not been woken. */
static uint32_t walk_subs(struct hub *h, struct hub_walk *w)
{
	while (w->sub != HUB_NONE) {
		const struct hub_sub *s = &h->sub[w->sub];
		struct hub_many *m = &h->many[s->reader];

		w->sub = s->next;
		if (!s->ended && m->woken != h->ring.head) {
			m->woken = h->ring.head;
			return s->reader;
		}
	}
	return HUB_NONE;
}

/* The lists one after another: of readers, of the subject's subscriptions, of those to each
 * pattern that covers it. The last to leave a list may take its entry with it, so w is past
 * whom it returns. */
uint32_t hub_batch_next(struct hub *h, struct hub_walk *w)
{
	uint32_t id = w->reader;

	if (id != HUB_NONE)
		w->reader = h->reader[id].next;
	while (id == HUB_NONE && (id = walk_subs(h, w)) == HUB_NONE && w->shape < h->nshapes) {
		const struct hub_shape *p = &h->shape[w->shape++];
		const uint32_t entry = pattern_find(h, p, &h->subject[h->batch_subject]);

		w->sub = entry != HUB_NONE ? h->subject[entry].subs : HUB_NONE;
	}
	if (id != HUB_NONE)
		wake(h, id);
	return id;
}

void hub_flushed(struct hub *h)
{
	h->batch = RING_NONE;
}

/* ---- sending ---- */

bool hub_pending(struct hub *h, uint32_t id, bool begun, struct ring_run *run)
{
	const struct hub_reader *r = &h->reader[id];

	if (r->record == RING_NONE || (begun && r->off == 0))
		return false;
	if (r->off == 0 && r->record == h->memo_from && h->ring.head == h->memo_head) {
		*run = h->memo;
		return true;
	}
	ring_run(&h->ring, run, r->record, r->off, begun ? r->record + 1 : h->ring.head);
	if (r->off == 0) {			/* the same for all that have kept up */
		h->memo = *run;
		h->memo_from = r->record;
		h->memo_head = h->ring.head;
	}
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

/* What the only subscription that counts at record i is to, if there is but one. */
static uint32_t only_subject(const struct hub *h, uint32_t id, uint64_t i)
{
	const struct hub_many *m = &h->many[id];
	const bool one = i < m->until ? m->replaying == 1 : m->nsubs == 1;

	return one ? h->sub[i < m->until ? m->replay : m->subs].entry : HUB_NONE;
}

uint64_t hub_after(const struct hub *h, uint32_t id, uint64_t i)
{
	const struct hub_many *m = &h->many[id];
	uint32_t sub;

	if (!h->reader[id].many)
		return next_of(h, i);
	if (m->back != RING_NONE && i == h->reader[id].record)
		return seek(h, id, m->back, &sub);
	if (ring_at(&h->ring, i)->subject == only_subject(h, id, i)) {
		const uint64_t next = next_of(h, i), end = i < m->until ? m->until : h->ring.head;

		return seek(h, id, next < end ? next : end, &sub);
	}
	return seek(h, id, i + 1, &sub);
}

void hub_at(struct hub *h, uint32_t id, uint64_t i, uint32_t off)
{
	struct hub_reader *r = &h->reader[id];

	unstick(h, id);
	r->off = off;
	if (!r->many)
		r->record = i;
	else
		stand(h, id, i, i == r->record ? h->many[id].back : RING_NONE);
}

void hub_message(const struct hub *h, uint64_t i, struct hub_message *m)
{
	const struct ring_record *rec = ring_at(&h->ring, i);

	*m = (struct hub_message){ .frame = h->ring.bytes + rec->at, .len = rec->len,
		.subject = rec->subject, .number = number_at(h, i) };
}

/* ---- falling behind ---- */

/* Count all that it is to see but the newest, and that too if it goes. */
static uint64_t skip_many(struct hub *h, uint32_t id)
{
	uint32_t sub, newest_sub = HUB_NONE;
	uint64_t newest = RING_NONE;

	for (uint64_t i = needs(h, id); (i = seek(h, id, i, &sub)) != RING_NONE; i++) {
		if (newest != RING_NONE)
			miss(h, newest_sub, 1);
		newest = i;
		newest_sub = sub;
	}
	if (newest != h->ring.tail)
		return newest;
	miss(h, newest_sub, 1);
	return RING_NONE;
}

void hub_skip(struct hub *h, uint32_t id)
{
	struct hub_reader *r = &h->reader[id];

	unstick(h, id);
	r->off = 0;
	if (r->record == RING_NONE)
		return;
	if (r->many) {
		stand(h, id, skip_many(h, id), RING_NONE);
	} else {
		const uint64_t last = h->subject[r->subject].last;

		r->record = last > h->ring.tail ? last : RING_NONE;
	}
}
