#include "check.h"
#include "hub.h"
#include "subject.h"

/* The hub's readers with subscriptions, held against a model: of every message ever published
 * each reader has a bit for each subscription by which it is still to get it. It gets them in the
 * order of publishing, each once. */

#define LOG_MAX 24000u
#define READERS 10u
#define OWN 32u			/* subscriptions of a reader, at most */
#define RING_MAX 8192u

enum slow { CLOSE, SKIP, WAIT, POLICIES };

static const char *const subjects[] = {
	"/", "/a", "/b", "/a/b", "/a/c", "/b/b", "/a/b/c", "/b/b/c", "/a/b/c/d", "/x/y/z/a/b/c", "/c",
	"/d", "/e", "/f", "/g", "/h", "/i", "/j", "/k", "/l", "/m", "/n", "/o", "/p", "/q", "/r", "/s",
	"/a/d", "/a/e", "/a/f", "/a/g", "/a/h", "/a/i", "/a/j", "/a/k", "/a/l", "/a/m", "/a/n", "/a/o",
};
static const char *const patterns[] = {
	"/+", "/*", "/a/*", "/a/+", "/+/b", "/+/*", "/+/+", "/+/b/*", "/a/b/+", "/+/+/+", "/b/*",
	"/+/b/c", "/a/+/c/*", "/+/+/c/+", "/*", "/b/+",
};

#define NSUBJECTS (sizeof subjects / sizeof *subjects)
#define NPATTERNS (sizeof patterns / sizeof *patterns)

static struct message {
	const char *name;
	uint64_t number;
} messages[LOG_MAX];

static struct own {
	const char *name;
	bool ended, gap, replaying;
	uint64_t missed;
	uint64_t made, live;	/* of a pattern: in which order; what came from live on is its */
} own[READERS][OWN];		/* those with a name */

static struct reader {
	bool here, many, blocked;
	uint32_t off;
	uint64_t begun;		/* the message whose first off bytes are sent */
	uint32_t room;		/* bytes that the socket takes before it is full */
	uint64_t until;		/* a replay goes on up to here; or 0 */
} readers[READERS];

static uint32_t due[READERS][LOG_MAX];	/* a bit per subscription */
static uint64_t number[NSUBJECTS];	/* the newest that a subject ever had */
static struct hub h;
static uint64_t ring_memory[RING_MAX / 8];
static uint8_t *hub_memory;
static uint64_t seed, unflushed, highest;
static uint32_t nreaders, nsubs, nnames;
static bool known[NSUBJECTS];		/* the table has it */
static uint64_t made;			/* subscriptions */
static uint64_t gone;			/* records that were seen to go */
static bool ok;

static uint32_t below(uint32_t n)
{
	return check_random(&seed) % n;
}

static bool covers(const char *pattern, const char *name)
{
	return subject_match((const uint8_t *)pattern, strlen(pattern), (const uint8_t *)name,
	    strlen(name));
}

static bool is_pattern(const char *name)
{
	return strpbrk(name, "+*") != NULL;
}

/* ---- the model ---- */

static uint32_t own_of(uint32_t id, const char *name)
{
	uint32_t k = 0;

	while (k < OWN && !(own[id][k].name && strcmp(own[id][k].name, name) == 0))
		k++;
	return k;
}

static uint32_t count(uint32_t id)
{
	uint32_t n = 0;

	for (uint32_t k = 0; k < OWN; k++)
		n += own[id][k].name != NULL;
	return n;
}

static uint64_t next_due(uint32_t id, uint64_t from)
{
	for (uint64_t i = from; i < h.ring.head; i++)
		if (due[id][i])
			return i;
	return RING_NONE;
}

static void forget_due(uint32_t id, uint32_t k)
{
	for (uint64_t i = h.ring.tail; i < h.ring.head; i++)
		due[id][i] &= ~(1u << k);
}

/* The newest number of a subject, and that of its oldest message in the ring. */
static uint64_t newest_of(const char *name)
{
	const uint32_t s = hub_find(&h, name, strlen(name));

	return s == HUB_NONE ? highest : h.subject[s].number;
}

static uint64_t oldest_of(const char *name)
{
	for (uint64_t i = h.ring.tail; i < h.ring.head; i++)
		if (strcmp(messages[i].name, name) == 0)
			return messages[i].number;
	return newest_of(name) + 1;
}

/* The newest number of a subject before record i. */
static uint64_t newest_before(const char *name, uint64_t i)
{
	for (; i < h.ring.head; i++)
		if (strcmp(messages[i].name, name) == 0)
			return messages[i].number - 1;
	return newest_of(name);
}

/* Up to here a reader has been sent all. */
static uint64_t position(uint32_t id)
{
	const uint64_t next = next_due(id, h.ring.tail);

	if (readers[id].off && (next == RING_NONE || next > readers[id].begun))
		return readers[id].begun + 1;
	return next == RING_NONE ? h.ring.head : next;
}

/* As of when a pattern is replayed: now, or as the newest other, while one replays, or came later than what its
 * reader has been sent. */
static uint64_t live_of(uint32_t id, uint32_t k, uint64_t count_)
{
	const uint64_t at = position(id), until = readers[id].until;
	const struct own *last = NULL;
	bool replaying = false;

	for (uint32_t i = 0; i < OWN; i++) {
		const struct own *o = &own[id][i];

		if (!o->name || i == k || !is_pattern(o->name))
			continue;
		replaying |= o->replaying;
		if (!last || o->made > last->made)
			last = o;
	}
	return last && (replaying || last->live > (at > until ? at : until)) ? last->live :
	    count_ ? h.ring.head : 0;
}

/* A replay begins behind where the reader is, and all of them end when it has come there again. */
static void replay_begins(uint32_t id, uint32_t k, uint64_t at)
{
	uint64_t first = h.ring.tail;

	while (first < h.ring.head && !(due[id][first] >> k & 1))
		first++;
	if (first < at && readers[id].until == 0)
		readers[id].until = at;
	own[id][k].replaying = first < readers[id].until;
}

static void replays_end(uint32_t id, uint64_t at)
{
	if (at < readers[id].until)
		return;
	readers[id].until = 0;
	for (uint32_t i = 0; i < OWN; i++)
		own[id][i].replaying = false;
}

static void expect_replay(uint32_t id, uint32_t k, const struct hub_replay *replay)
{
	struct own *o = &own[id][k];
	const bool since = replay->since && !is_pattern(o->name);
	const uint32_t s = hub_find(&h, o->name, strlen(o->name));
	const uint64_t base = s == HUB_NONE ? highest : h.subject[s].base;
	const uint64_t newest = newest_of(o->name), oldest = oldest_of(o->name);
	const bool unknown = since && (replay->after < base || replay->after > newest);
	const uint64_t at = position(id);

	replays_end(id, at);
	o->made = ++made;
	o->live = is_pattern(o->name) ? live_of(id, k, replay->count) : h.ring.head;
	for (uint64_t i = h.ring.tail; i < h.ring.head; i++) {
		const struct message *m = &messages[i];
		const bool asked = unknown || (since ? m->number > replay->after :
		    replay->count > 0 && (i >= o->live ||
		    newest_before(m->name, o->live) - m->number < replay->count));

		if (asked && covers(o->name, m->name) && !(readers[id].off && readers[id].begun == i))
			due[id][i] |= 1u << k;
	}
	replay_begins(id, k, at);
	o->gap = unknown || (since && replay->after + 1 < oldest);
	o->missed = unknown ? HUB_UNKNOWN : o->gap ? oldest - replay->after - 1 : 0;
}

/* ---- what must hold at any time ---- */

static void check_reader(uint32_t id)
{
	const struct hub_reader *r = &h.reader[id];
	const struct hub_many *m = &h.many[id];
	uint32_t n = 0, npatterns = 0, replaying = 0, notices = 0, wanted = 0;
	uint64_t live = 0;

	ok = ok && CHECK(r->off == readers[id].off) &&
	    CHECK(r->record == (r->off ? readers[id].begun : next_due(id, h.ring.tail)));
	ok = ok && CHECK(r->stuck == (readers[id].blocked && r->record != RING_NONE));
	if (!readers[id].many || !ok)
		return;
	for (uint32_t s = m->subs; s != HUB_NONE; s = h.sub[s].own_next, n++) {
		const bool pattern = h.subject[h.sub[s].entry].shape != HUB_SHAPES;

		ok = ok && CHECK(!pattern || npatterns == n);

		const struct hub_sub *t = &h.sub[s];
		const uint64_t from = t->replaying || t->from > m->until ? t->from : m->until;

		if (pattern && t->live > from && t->live > position(id)) {
			ok = ok && CHECK(live == 0 || live == t->live);	/* one memo serves all */
			live = t->live;
		}
		npatterns += pattern;
		replaying += h.sub[s].replaying;
		wanted += h.sub[s].gap || h.sub[s].ended;
	}
	for (uint32_t s = hub_notice(&h, id); s != HUB_NONE; s = h.sub[s].notice_next)
		notices++;
	ok = ok && CHECK(n == count(id) && n == m->nsubs && npatterns == m->npatterns) &&
	    CHECK(replaying == m->replaying && notices == wanted) &&
	    CHECK(m->until ? r->record != RING_NONE : replaying == 0) &&
	    CHECK(m->back == RING_NONE || r->off > 0);
}

/* Nothing that somebody is still to get, or has got the first half of. */
static void see_gone(void)
{
	for (; gone < h.ring.tail && ok; gone++)
		for (uint32_t id = 0; id < nreaders; id++)
			ok = ok && CHECK(!due[id][gone]) &&
			    CHECK(!readers[id].off || readers[id].begun != gone);
}

static void check_all(void)
{
	uint32_t free_subs = 0, used = 0;

	for (uint32_t id = 0; id < nreaders && ok; id++) {
		if (readers[id].here)
			check_reader(id);
		used += count(id);
	}
	for (uint32_t s = h.subs_free; s; s = h.sub[s - 1].hash_next)
		free_subs++;
	see_gone();
	ok = ok && CHECK(used + free_subs == h.subs_made && h.subs_made <= nsubs);
}

/* ---- readers ---- */

static uint32_t form_len(uint64_t i)
{
	return ring_at(&h.ring, i)->len * 2 + 5;
}

/* What conn.c does: put together what the socket takes, record after record, then say so. */
static void serve(uint32_t id)
{
	struct reader *r = &readers[id];
	uint64_t i = h.reader[id].record;
	uint32_t off = h.reader[id].off;

	while (i != RING_NONE && r->room > 0 && ok) {
		const uint32_t left = form_len(i) - off, n = left < r->room ? left : r->room;

		ok = CHECK(i == (off ? r->begun : next_due(id, h.ring.tail)));
		due[id][i] = 0;
		r->begun = i;
		r->room -= n;
		off += n;
		if (n == left) {
			i = hub_after(&h, id, i);
			off = 0;
		}
	}
	r->blocked = r->blocked || i != RING_NONE;
	r->off = off;
	hub_at(&h, id, i, off);
	if (r->blocked)
		hub_stick(&h, id);
	ok = ok && CHECK(i == (off ? r->begun : next_due(id, h.ring.tail)));
}

/* A reader was moved: one whose socket is full stays where it is. */
static void moved(uint32_t id, bool stuck)
{
	const struct hub_reader *r = &h.reader[id];

	ok = ok && CHECK(r->stuck == (stuck && r->record != RING_NONE));
	if (readers[id].blocked) {
		hub_stick(&h, id);
	} else if (below(8)) {
		serve(id);
	} else if (r->record != RING_NONE) {
		readers[id].blocked = true;
		hub_stick(&h, id);
	}
}

static void leave(uint32_t id)
{
	hub_leave(&h, id);
	readers[id] = (struct reader){ 0 };
	memset(own[id], 0, sizeof own[id]);
	memset(due[id], 0, sizeof due[id]);
}

/* All is counted once: what an exact subscription should have delivered is its own loss. */
static void expect_skip(uint32_t id)
{
	uint64_t newest = RING_NONE, lost[OWN] = { 0 }, any = 0, sum = 0;

	for (uint64_t i = h.ring.tail; i < h.ring.head; i++)
		newest = due[id][i] ? i : newest;
	for (uint64_t i = h.ring.tail; i < h.ring.head; i++) {
		const uint32_t k = own_of(id, messages[i].name);

		if (!due[id][i] || (i == newest && i > h.ring.tail))
			continue;
		if (k < OWN && due[id][i] >> k & 1)
			lost[k]++;
		else
			any++;
		due[id][i] = 0;
	}
	for (uint32_t s = h.many[id].subs; s != HUB_NONE && ok; s = h.sub[s].own_next) {
		const struct hub_subject *e = &h.subject[h.sub[s].entry];
		char name[SUBJECT_MAX + 1] = { 0 };

		memcpy(name, e->name, e->len);
		struct own *o = &own[id][own_of(id, name)];
		const uint64_t n = o->missed == HUB_UNKNOWN ? 0 : h.sub[s].missed - o->missed;

		if (is_pattern(name)) {
			sum += n;
			o->missed += n;
			o->gap = o->gap || n;
		} else if (lost[o - own[id]]) {
			o->gap = true;
			o->missed += o->missed == HUB_UNKNOWN ? 0 : lost[o - own[id]];
		}
		ok = CHECK(h.sub[s].missed == o->missed && h.sub[s].gap == o->gap);
	}
	ok = ok && CHECK(sum == any);
}

/* The reader is in the way: what it has begun goes out, and it skips or ends. */
static void overtaken(uint32_t id, enum slow slow)
{
	struct reader *r = &readers[id];

	if (r->off > 0) {
		hub_at(&h, id, hub_after(&h, id, r->begun), 0);
		r->off = 0;
	}
	if (slow != SKIP || below(8) == 0) {
		leave(id);
		return;
	}
	hub_skip(&h, id);
	if (r->many) {
		expect_skip(id);
	} else {
		const uint64_t last = h.subject[h.reader[id].subject].last;

		for (uint64_t i = h.ring.tail; i < h.ring.head; i++)
			if (i < last || i == h.ring.tail)
				due[id][i] = 0;
	}
	r->blocked = true;
	hub_stick(&h, id);
}

static void subject_room(enum slow slow)
{
	const bool fits = h.free || h.made < h.cap || h.idle != HUB_NONE;
	const uint64_t tail = h.ring.tail;
	uint32_t id;

	while (ok && (id = hub_subject_room(&h)) != HUB_NONE)
		overtaken(id, slow);
	ok = ok && CHECK(!fits || h.ring.tail == tail) &&
	    CHECK(h.free || h.made < h.cap || h.idle != HUB_NONE);
}

/* At most one subject had to go for a new entry of the table. */
static void see_forgotten(void)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < nnames; i++) {
		if (!known[i] || hub_find(&h, subjects[i], strlen(subjects[i])) != HUB_NONE)
			continue;
		known[i] = false;
		n++;
		highest = number[i] > highest ? number[i] : highest;
	}
	ok = ok && CHECK(n <= 1 && h.floor == highest);
}

/* None comes back with a number that it had. */
static uint32_t subject_of(uint32_t name)
{
	const bool had = known[name];
	const uint32_t s = hub_subject(&h, subjects[name], strlen(subjects[name]));

	see_forgotten();
	ok = ok && CHECK(had ? h.subject[s].number == number[name] :
	    h.subject[s].number == highest && highest >= number[name]);
	known[name] = true;
	number[name] = h.subject[s].number;
	return s;
}

static struct hub_replay any_replay(const char *name)
{
	struct hub_replay replay = { 0 };
	const uint64_t newest = newest_of(name);

	if (below(3))
		replay.count = below(6) ? below(8) : UINT64_MAX;
	if (!is_pattern(name) && below(3) == 0) {
		replay.since = true;
		replay.after = below(8) == 0 ? HUB_UNKNOWN : below(8) == 0 ? newest + 1 + below(3) :
		    newest - (newest ? below((uint32_t)(newest < 40 ? newest : 40)) : 0);
	}
	return replay;
}

static void join(uint32_t id, enum slow slow)
{
	const uint32_t name = below(nnames);
	const struct hub_replay replay = any_replay(subjects[name]);
	struct reader *r = &readers[id];

	subject_room(slow);
	if (!ok)
		return;
	*r = (struct reader){ .room = below(3) ? UINT32_MAX / 2 : below(300) };
	hub_join(&h, id, subject_of(name));
	own[id][0].name = subjects[name];
	expect_replay(id, 0, &replay);
	r->here = true;
	ok = ok && CHECK(hub_replay(&h, id, &replay) == own[id][0].missed);
	own[id][0].name = NULL;
	r->begun = RING_NONE;
	serve(id);
}

static void subscribe(uint32_t id, const char *name, enum slow slow)
{
	const uint32_t most = nsubs < 8 ? 1 : nsubs / 4;
	const struct hub_replay replay = any_replay(name);
	uint32_t k = own_of(id, name), used = 0;

	subject_room(slow);
	if (!ok || !readers[id].here)
		return;
	for (uint32_t i = 0; i < nreaders; i++)
		used += count(i);
	const bool stuck = h.reader[id].stuck;

	/* The subject is made here, so that the model knows what that costs. */
	for (uint32_t i = 0; i < nnames; i++)
		if (strcmp(subjects[i], name) == 0 && (k < OWN || (count(id) < most && used < nsubs)))
			subject_of(i);
	const enum hub_result result = hub_subscribe(&h, id, name, strlen(name), &replay);

	see_forgotten();

	if (k == OWN && (count(id) >= most || used >= nsubs)) {
		ok = ok && CHECK(result == HUB_FULL);
		return;
	}
	ok = ok && CHECK(result == HUB_OK);
	if (k < OWN)
		forget_due(id, k);
	for (k = 0; own[id][k].name;)
		k++;
	if (own_of(id, name) < OWN)
		k = own_of(id, name);
	own[id][k] = (struct own){ .name = name };
	expect_replay(id, k, &replay);
	moved(id, stuck);
}

static void unsubscribe(uint32_t id, const char *name)
{
	const uint32_t k = own_of(id, name);
	const bool stuck = h.reader[id].stuck;

	ok = ok && CHECK(hub_unsubscribe(&h, id, name, strlen(name)) == (k < OWN));
	if (k == OWN)
		return;
	forget_due(id, k);
	own[id][k].name = NULL;
	moved(id, stuck);
}

static void end_one(uint32_t id)
{
	uint32_t s = h.many[id].subs;

	for (uint32_t n = count(id) ? below(count(id)) : 0; n > 0; n--)
		s = h.sub[s].own_next;
	if (s == HUB_NONE)
		return;
	char name[SUBJECT_MAX + 1] = { 0 };
	const struct hub_subject *e = &h.subject[h.sub[s].entry];

	const bool stuck = h.reader[id].stuck;

	memcpy(name, e->name, e->len);
	hub_end(&h, id, s);
	own[id][own_of(id, name)].ended = true;
	own[id][own_of(id, name)].replaying = false;
	forget_due(id, own_of(id, name));
	moved(id, stuck);
}

static void notices(uint32_t id)
{
	for (uint32_t s; ok && (s = hub_notice(&h, id)) != HUB_NONE;) {
		const struct hub_sub *sub = &h.sub[s];
		char name[SUBJECT_MAX + 1] = { 0 };

		memcpy(name, h.subject[sub->entry].name, h.subject[sub->entry].len);
		struct own *o = &own[id][own_of(id, name)];

		ok = CHECK(o->gap == sub->gap && o->ended == sub->ended && o->missed == sub->missed);
		hub_noticed(&h, id, s);
		o->gap = false;
		o->missed = 0;
		if (o->ended)
			o->name = NULL;
	}
	for (uint32_t k = 0; k < OWN && ok; k++)
		ok = CHECK(!own[id][k].name || (!own[id][k].gap && !own[id][k].ended));
}

/* ---- publishing ---- */

static void flush(void)
{
	bool woken[READERS] = { false };
	struct hub_walk w;
	unsigned steps = 0;

	if (!hub_fresh(&h))
		return;
	hub_batch(&h, &w);
	for (uint32_t id; ok && (id = hub_batch_next(&h, &w)) != HUB_NONE; steps++) {
		ok = CHECK(readers[id].here && !woken[id]);
		woken[id] = true;
		if (below(16) == 0)
			leave(id);
		else if (readers[id].blocked)
			hub_stick(&h, id);
		else
			serve(id);
	}
	hub_flushed(&h);
	for (uint32_t id = 0; id < nreaders && ok; id++)
		ok = CHECK(woken[id] || !readers[id].here || next_due(id, unflushed) == RING_NONE);
	unflushed = h.ring.head;
}

static void log_message(const char *name, uint32_t subject, uint64_t i)
{
	messages[i] = (struct message){ name, h.subject[subject].number };
	for (uint32_t id = 0; id < nreaders; id++) {
		due[id][i] = readers[id].here && !readers[id].many && h.reader[id].subject == subject;
		for (uint32_t k = 0; k < OWN; k++)
			if (own[id][k].name && !own[id][k].ended && covers(own[id][k].name, name))
				due[id][i] |= 1u << k;
	}
}

static void publish(uint32_t name, uint32_t len, enum slow slow)
{
	uint32_t id;

	subject_room(slow);
	if (!ok)
		return;
	const uint32_t subject = subject_of(name);

	if (hub_must_flush(&h, subject, len))
		flush();
	while (ok && (id = hub_room(&h, len)) != HUB_NONE) {
		if (slow == WAIT) {
			flush();
			return;
		}
		overtaken(id, slow);
	}
	if (!ok || h.ring.head == LOG_MAX)
		return;
	see_gone();
	const uint64_t i = h.ring.head;
	struct hub_message m;
	const uint8_t *p = hub_push(&h, subject, len);

	hub_message(&h, i, &m);
	ok = CHECK(m.number == ++number[name] && m.subject == subject && m.len == len && m.frame == p);
	log_message(subjects[name], subject, i);
}

/* ---- random steps ---- */

static void step_of(uint32_t id, enum slow slow)
{
	struct reader *r = &readers[id];
	const uint32_t op = below(20);
	const char *name = below(3) ? patterns[below(NPATTERNS)] : subjects[below(nnames)];

	if (!r->here) {
		if (below(4) == 0) {
			join(id, slow == WAIT ? CLOSE : slow);
		} else {
			hub_open(&h, id);
			*r = (struct reader){ .here = true, .many = true, .room = UINT32_MAX / 2 };
		}
	} else if (op < 8) {
		r->room = 1 + below(op < 3 ? 20 : op < 6 ? 200 : 4000);
		r->blocked = false;
		serve(id);
	} else if (op < 10 && below(8) == 0) {
		leave(id);
	} else if (!r->many) {
		return;
	} else if (op < 15) {
		subscribe(id, name, slow == WAIT ? CLOSE : slow);
	} else if (op < 17) {
		unsubscribe(id, name);
	} else if (op == 17) {
		end_one(id);
	} else {
		notices(id);
	}
}

static void begin(uint32_t bytes, uint32_t readers_, uint32_t subs, uint32_t names, uint32_t cap)
{
	memset(readers, 0, sizeof readers);
	memset(own, 0, sizeof own);
	memset(due, 0, sizeof due);
	memset(number, 0, sizeof number);
	memset(known, 0, sizeof known);
	highest = gone = 0;
	nreaders = readers_;
	nsubs = subs;
	nnames = names;
	unflushed = 0;
	hub_memory = calloc(1, hub_size(nreaders, 0, nsubs));
	hub_init(&h, hub_memory, nreaders, 0, nsubs, (uint32_t)seed, ring_memory, bytes);
	if (cap)
		h.cap = cap;
	ok = true;
}

static void end(void)
{
	for (uint32_t id = 0; id < nreaders; id++)
		if (readers[id].here)
			leave(id);
	check_all();
	CHECK(!ok || (h.nshapes == 0 && hub_first_stuck(&h) == HUB_NONE && !hub_fresh(&h)));
	free(hub_memory);
}

static void random_run(enum slow slow, uint32_t most, unsigned steps)
{
	for (unsigned n = 0; n < steps && ok && h.ring.head < LOG_MAX - 64; n++) {
		if (below(4) == 0) {
			const uint32_t few = 1 + below(nnames);

			for (uint32_t k = 1 + below(8); k > 0 && ok; k--)
				publish(below(few), 2 + below(below(20) ? 20 : most), slow);
			flush();
		} else {
			step_of(below(nreaders), slow);
		}
		check_all();
	}
}

static void random_steps(void)
{
	static const struct row {
		uint32_t bytes, readers, subs, names, cap, most;
	} rows[] = {
		{ 1024, 2, 16, 3, 0, 100 }, { 1024, 4, 64, 6, 0, 40 }, { 2048, 6, 128, 10, 0, 200 },
		{ 4096, 10, 128, 12, 0, 100 }, { 8192, 4, 100, 10, 0, 100 }, { 8192, 3, 3, 10, 0, 50 },
		{ 1024, 4, 16, NSUBJECTS, 21, 60 }, { 4096, 6, 12, NSUBJECTS, 19, 60 },
		{ 8192, 10, 8, NSUBJECTS, 19, 30 }, { 8192, 2, 128, 1, 0, 20 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (unsigned round = 0; round < 30; round++) {
			const struct row *r = &rows[i];

			seed = 1000 * i + round + 1;
			begin(r->bytes, r->readers, r->subs, r->names, r->cap);
			random_run(round % POLICIES, r->most, 1500);
			if (!CHECK(ok))
				printf("row %zu, round %u\n", i, round);
			end();
		}
	}
}

/* ---- rows: what one reader gets ----
 *
 * A script is of statements that end in ";". Messages are letters, "-" is nothing, "?" a number
 * that nobody knows.
 *
 *   pub S abc      three messages           drop           the ring forgets all it can
 *   sub S N        with the last N          since S N      with what came after N
 *   unsub S        end S                    stop           its socket is full
 *   one a          it gets this one         begin          and the first half of the next
 *   got abc        all it gets              skip           it was overtaken
 *   told S N       the notice: so many were missed; or "ended"; or of none: "told -" */

static const struct row {
	const char *what, *script;
} rows[] = {
	{ "each once, in order",
	    "sub /a 0; sub /b 0; sub /+ 0; pub /a x; pub /b y; pub /a z; got xyz; got -;" },
	{ "nothing of others", "sub /a 0; sub /b/* 0; pub /b x; pub / y; pub /b/b z; got z;" },
	{ "the last", "pub /a wxyz; sub /a 2; pub /a a; got yza;" },
	{ "more than there are", "pub /a xy; sub /a 9; got xy;" },
	{ "the last of each", "pub /a wx; pub /b uv; pub /a y; sub /+ 1; got vy;" },
	{ "a replay is of the new one only", "pub /a wx; pub /b yz; sub /a 9; got wx; sub /b 1; got z;" },
	{ "others do not come again", "sub /b 0; pub /a x; pub /b y; pub /a z; got y; sub /a 9; got xz;" },
	{ "what it covers does, for it was asked for", "sub /a 0; pub /a xy; got xy; sub /+ 9; got xy;" },
	{ "old before new", "sub /b 0; pub /a x; pub /b y; stop; sub /a 9; pub /b z; got xyz;" },
	{ "what waits comes once", "sub /a 0; pub /a xyz; one x; stop; sub /a 9; got xyz;" },
	{ "a replay within a replay",
	    "pub /a v; pub /b w; pub /a x; pub /b y; sub /a 9; one v; sub /b 9; got wxy;" },
	{ "a third", "pub /a v; pub /b w; pub /c x; pub /a y; sub /c 9; sub /b 9; sub /a 9; got vwxy;" },
	{ "it is over before it is left",
	    "pub /a v; pub /b w; pub /a x; sub /a 9; one v; sub /b 9; unsub /a; got w; pub /a y; got -;" },
	{ "a frame is finished first", "sub /b 0; pub /a xy; pub /b z; begin; sub /a 9; got zxy;" },
	{ "and is not sent again", "sub /+ 0; pub /a xyz; one x; begin; sub /a 9; got yxz;" },
	{ "and is all there is", "sub /+ 0; pub /a x; begin; sub /a 9; got x; got -;" },
	{ "not back after all",
	    "sub /b 0; pub /a x; pub /b y; begin; sub /a 9; unsub /a; pub /b z; got yz;" },
	{ "promised then, whatever came since", "pub /a wxy; sub /+ 2; stop; pub /a abc; got xyabc;" },
	{ "what came since is not promised",
	    "pub /a wx; pub /b y; sub /+ 1; stop; pub /a ab; pub /b c; got xyabc;" },
	{ "since", "pub /a wxyz; since /a 2; got yz; told -;" },
	{ "since the newest", "pub /a wxyz; since /a 4; got -; told -;" },
	{ "since, some gone", "pub /a wx; drop; pub /a yz; since /a 1; told /a 1; got yz; told -;" },
	{ "since, all gone", "pub /a wx; drop; since /a 0; told /a 2; got -;" },
	{ "since, another epoch", "pub /a wx; since /a ?; told /a ?; got wx;" },
	{ "since, another epoch and nothing", "since /a ?; told /a ?; got -;" },
	{ "since what never was", "pub /a w; since /a 2; told /a ?; got w;" },
	{ "unsubscribed", "sub /a 0; sub /b 0; pub /a x; pub /b y; unsub /a; got y; pub /a z; got -;" },
	{ "unsubscribed within a frame",
	    "sub /a 0; sub /b 0; pub /a xz; pub /b y; begin; unsub /a; got xy;" },
	{ "ended",
	    "sub /a 0; sub /b 0; pub /a x; pub /b y; end /a; pub /a z; told /a ended; got y; told -;" },
	{ "ended and again", "sub /a 0; end /a; sub /a 0; told -; pub /a x; got x;" },
	{ "again", "sub /a 0; pub /a wx; got wx; sub /a 1; got x; sub /a 2; got wx; pub /a y; got y;" },
	{ "skip", "sub /a 0; sub /+ 0; pub /a wx; pub /b yz; stop; skip; told /a 2; told /+ 1; got z;" },
	{ "skip what goes", "sub /a 0; pub /a x; stop; skip; told /a 1; got -; pub /a y; got y;" },
	{ "skip a replay",
	    "sub /b 0; pub /a x; pub /b y; pub /a z; got y; sub /a 9; stop; skip; told /a 1; got z;" },
	{ "and never the others again",
	    "sub /b 0; pub /a x; pub /b y; got y; sub /a 9; stop; pub /b z; skip; told /a 1; got z;" },
	{ "a gap and its end", "sub /a 0; pub /a xy; stop; skip; end /a; told /a ended; told -; got -;" },
};

static uint64_t number_of(const char *s)
{
	return *s == '?' ? HUB_UNKNOWN : strtoull(s, NULL, 10);
}

static void publish_each(const char *name, const char *text)
{
	for (; *text; text++) {
		struct hub_walk w;
		const uint32_t subject = hub_subject(&h, name, strlen(name));

		CHECK(hub_room(&h, 2) == HUB_NONE);
		*hub_push(&h, subject, 2) = (uint8_t)*text;
		for (hub_batch(&h, &w); hub_batch_next(&h, &w) != HUB_NONE;)
			;
		hub_flushed(&h);
	}
}

static bool receive(const char *text, bool all)
{
	bool good = true;

	for (text += *text == '-'; *text && good; text++) {
		const uint64_t i = h.reader[0].record;

		good = i != RING_NONE && h.ring.bytes[ring_at(&h.ring, i)->at] == *text;
		if (good)
			hub_at(&h, 0, hub_after(&h, 0, i), 0);
	}
	return good && (!all || h.reader[0].record == RING_NONE);
}

static bool told(const char *name, const char *missed)
{
	uint32_t s = hub_notice(&h, 0);

	while (s != HUB_NONE && (h.subject[h.sub[s].entry].len != strlen(name) ||
	    memcmp(h.subject[h.sub[s].entry].name, name, strlen(name)) != 0))
		s = h.sub[s].notice_next;
	if (s == HUB_NONE)
		return strcmp(name, "-") == 0 && hub_notice(&h, 0) == HUB_NONE;
	const bool good = *missed == 'e' ? h.sub[s].ended :
	    h.sub[s].gap && !h.sub[s].ended && h.sub[s].missed == number_of(missed);

	hub_noticed(&h, 0, s);
	return good;
}

static bool end_named(const char *name)
{
	uint32_t s = h.many[0].subs;

	while (memcmp(h.subject[h.sub[s].entry].name, name, strlen(name)) != 0)
		s = h.sub[s].own_next;
	hub_end(&h, 0, s);
	return true;
}

static bool statement(const char *op, const char *a, const char *b)
{
	struct hub_replay replay = { .count = number_of(b), .since = op[1] == 'i', .after = number_of(b) };

	if (strcmp(op, "pub") == 0)
		publish_each(a, b);
	else if (strcmp(op, "drop") == 0)
		return hub_room(&h, h.ring.size) == HUB_NONE;
	else if (strcmp(op, "sub") == 0 || strcmp(op, "since") == 0)
		return hub_subscribe(&h, 0, a, strlen(a), &replay) == HUB_OK;
	else if (strcmp(op, "unsub") == 0)
		return hub_unsubscribe(&h, 0, a, strlen(a));
	else if (strcmp(op, "end") == 0)
		return end_named(a);
	else if (strcmp(op, "begin") == 0)
		hub_at(&h, 0, h.reader[0].record, 1);
	else if (strcmp(op, "skip") == 0)
		hub_skip(&h, 0);
	else if (strcmp(op, "told") == 0)
		return told(a, b);
	else if (strcmp(op, "stop") != 0)
		return receive(a, strcmp(op, "got") == 0);
	hub_stick(&h, 0);
	return true;
}

static bool run(const char *script)
{
	char op[8], a[32], b[32];

	for (const char *p = script; *p; p = strchr(p, ';') + 1 + (strchr(p, ';')[1] == ' ')) {
		op[0] = a[0] = b[0] = '\0';
		sscanf(p, "%7[^ ;] %31[^ ;] %31[^ ;]", op, a, b);
		if (!statement(op, a, b)) {
			printf("at %s\n", p);
			return false;
		}
	}
	return true;
}

static void scripts(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		begin(4096, 1, 40, 0, 0);
		hub_open(&h, 0);
		if (!CHECK(run(rows[i].script)))
			printf("%s\n", rows[i].what);
		hub_leave(&h, 0);
		CHECK(h.nshapes == 0 && hub_first_stuck(&h) == HUB_NONE);
		free(hub_memory);
	}
}

/* ---- limits ---- */

static enum hub_result plain(uint32_t id, const char *name)
{
	return hub_subscribe(&h, id, name, strlen(name), &(struct hub_replay){ 0 });
}

static void open_all(uint32_t n, uint32_t subs)
{
	begin(RING_MAX, n, subs, 0, 0);
	for (uint32_t id = 0; id < n; id++)
		hub_open(&h, id);
}

/* A quarter for each, all for all, at least one. */
static void pool(void)
{
	char name[8];

	for (uint32_t subs = 0; subs <= 16; subs++) {
		const uint32_t most = subs < 8 ? subs > 0 : subs / 4;

		open_all(8, subs);
		for (uint32_t id = 0, left = subs; id < 8; id++) {
			for (uint32_t k = 0; k < 5; k++) {
				const bool fits = k < most && left > 0;

				snprintf(name, sizeof name, "/%u", k);
				CHECK(plain(id, name) == (fits ? HUB_OK : HUB_FULL));
				left -= fits;
			}
			CHECK(!most || h.many[id].nsubs == 0 || plain(id, "/0") == HUB_OK);
		}
		if (subs) {
			hub_leave(&h, 0);
			hub_open(&h, 0);
			CHECK(plain(0, "/z") == HUB_OK);
		}
		free(hub_memory);
	}
}

/* As many as there may be, each with a "+" at another place; of one shape there may be more. */
static void shapes(void)
{
	char name[2 * HUB_SHAPES + 8];

	open_all(2, 1000);
	for (uint32_t k = 0; k <= HUB_SHAPES; k++) {
		memset(name, 0, sizeof name);
		for (uint32_t i = 0; i <= k; i++)
			memcpy(name + 2 * i, i < k ? "/a" : "/+", 2);
		CHECK(plain(0, name) == (k < HUB_SHAPES ? HUB_OK : HUB_FULL));
	}
	CHECK(plain(1, "/b/+") == HUB_OK && plain(0, "/a/+") == HUB_OK && plain(1, "/*") == HUB_FULL);
	CHECK(hub_unsubscribe(&h, 0, "/+", 2) && plain(1, "/*") == HUB_OK);
	hub_leave(&h, 0);
	CHECK(h.nshapes != 0 && plain(1, "/+") == HUB_OK);
	hub_leave(&h, 1);
	CHECK(h.nshapes == 0);
	free(hub_memory);
}

/* Who is woken, for every pattern of a subject with as many segments as there can be. */
static void deep(void)
{
	char name[SUBJECT_MAX + 1] = { 0 }, pattern[SUBJECT_MAX + 1] = { 0 };
	struct hub_walk w;

	for (uint32_t i = 0; i < 127; i++)
		memcpy(name + 2 * i, "/a", 2);
	for (uint32_t k = 0; k < 127; k++) {
		for (unsigned star = 0; star < 2; star++) {
			open_all(1, 4);
			memcpy(pattern, name, sizeof pattern);
			pattern[2 * k + 1] = star ? '*' : '+';
			if (star)
				pattern[2 * k + 2] = '\0';
			CHECK(plain(0, pattern) == HUB_OK);
			hub_push(&h, hub_subject(&h, name, 254), 2);
			hub_batch(&h, &w);
			CHECK(hub_batch_next(&h, &w) == 0 && hub_batch_next(&h, &w) == HUB_NONE);
			hub_flushed(&h);
			hub_push(&h, hub_subject(&h, "/", 1), 2);
			hub_batch(&h, &w);
			CHECK(hub_batch_next(&h, &w) == HUB_NONE);
			free(hub_memory);
		}
	}
}

/* ---- costs ---- */

#define MANY 10000u

/* Publishing to each of so many subjects takes a step for each reader, whether one has them all or
 * each has its own; and each reader has nothing more to look for. */
static void steps(void)
{
	char name[16];

	for (uint32_t each = 1; each <= MANY; each *= MANY) {
		unsigned n = 0, delivered = 0;

		open_all(MANY / each, 4 * MANY);
		for (uint32_t k = 0; k < MANY; k++) {
			snprintf(name, sizeof name, "/s/%u", k);
			CHECK(plain(k / each, name) == HUB_OK);
		}
		for (uint32_t k = 0; k < MANY; k++) {
			struct hub_walk w;

			CHECK(hub_room(&h, 8) == HUB_NONE);
			snprintf(name, sizeof name, "/s/%u", k);
			hub_push(&h, hub_find(&h, name, strlen(name)), 8);
			hub_batch(&h, &w);
			for (uint32_t id; n++, (id = hub_batch_next(&h, &w)) != HUB_NONE; delivered++)
				hub_at(&h, id, hub_after(&h, id, h.reader[id].record), 0);
			hub_flushed(&h);
		}
		CHECK(n == 2 * MANY && delivered == MANY && h.nshapes == 0);
		free(hub_memory);
	}
}

static size_t resident(void *mem, size_t n)
{
	static unsigned char pages[1u << 20];
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), all = (n + page - 1) / page;
	size_t sum = 0;

	if (all > sizeof pages || mincore(mem, n, pages) < 0)
		abort();
	for (size_t i = 0; i < all; i++)
		sum += pages[i] & 1;
	return sum;
}

/* A hub for a hundred thousand, of whom a few are there, costs a few pages; and readers of one
 * subject touch nothing of what those with subscriptions have. */
static void lazy(void)
{
	const size_t n = hub_size(100000, 32, 100000);
	uint8_t *mem = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED || madvise(mem, n, MADV_NOHUGEPAGE) < 0)
		abort();
	hub_init(&h, mem, 100000, 32, 100000, 1, ring_memory, sizeof ring_memory);
	for (uint32_t id = 0; id < 10; id++) {
		hub_join(&h, id, hub_subject(&h, "/a", 2));
		hub_replay(&h, id, &(struct hub_replay){ .count = 1 });
	}
	publish_each("/a", "xyz");
	hub_skip(&h, 0);
	hub_leave(&h, 0);
	CHECK(resident(mem, n) <= 3);		/* a subject, a few readers, a bucket */
	hub_open(&h, 10);
	CHECK(plain(10, "/b") == HUB_OK && plain(10, "/+") == HUB_OK);
	publish_each("/b", "x");
	CHECK(resident(mem, n) <= 3 + 6);	/* two buckets each, a sub, a hub_many */
	munmap(mem, n);
}

CHECK_MAIN(subs, RUN(scripts) RUN(pool) RUN(shapes) RUN(deep) RUN(steps) RUN(lazy)
    RUN(random_steps))
