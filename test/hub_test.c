#include "check.h"
#include "hub.h"

/* The model: all that was ever published, in order; what a reader is owed is found by looking
 * through it. A reader of the model counts as its own what the socket behind it has room for. */

#define LOG_MAX 400000u
#define NAMES 40u
#define READERS 48u
#define RING_MAX 8192u

enum slow { CLOSE, SKIP, WAIT, POLICIES };

static struct frame {
	uint32_t at, len, name;
} frames[LOG_MAX];

static struct reader {
	bool     here, blocked, stuck;
	uint32_t name, subject, off;
	uint64_t from;		/* the next message is the name's first from here on */
	uint32_t room;		/* bytes that the socket takes before it is full */
} readers[READERS];

static struct hub h;
static uint64_t ring_memory[RING_MAX / 8];
static uint8_t *hub_memory;
static uint64_t seed;
static uint64_t unflushed;		/* the first record that was not flushed */
static uint32_t nreaders, npinned, nnames;
static uint64_t number[NAMES];		/* of the newest message */
static uint64_t highest;		/* of any name that was forgotten */
static bool known[NAMES];		/* the table has it */
static uint32_t wanted;			/* the longest that was refused, until one as long is not */
static bool ok;

static uint32_t below(uint32_t n)
{
	return check_random(&seed) % n;
}

static uint8_t byte_of(uint64_t i, uint32_t j)
{
	return (uint8_t)(i * 131 + (i >> 8) * 29 + j * 7);
}

/* Names of every length; one is the beginning of the next. */
static size_t name_of(char out[SUBJECT_MAX], uint32_t name)
{
	const size_t n = name == NAMES - 1 ? SUBJECT_MAX : 1 + name;

	memset(out, 'x', n);
	out[0] = '/';
	return n;
}

static uint32_t find(uint32_t name)
{
	char s[SUBJECT_MAX];
	const size_t n = name_of(s, name);

	return hub_find(&h, s, n);
}

/* ---- what the model knows ---- */

static uint64_t first_from(uint32_t name, uint64_t i)
{
	for (; i < h.ring.head; i++)
		if (frames[i].name == name)
			return i;
	return RING_NONE;
}

static uint64_t current(const struct reader *r)
{
	return first_from(r->name, r->from);
}

static uint64_t newest(uint32_t name)
{
	for (uint64_t i = h.ring.head; i > h.ring.tail; i--)
		if (frames[i - 1].name == name)
			return i - 1;
	return RING_NONE;
}

static bool has_readers(uint32_t name)
{
	for (uint32_t id = 0; id < nreaders; id++)
		if (readers[id].here && readers[id].name == name)
			return true;
	return false;
}

static bool stuck_at(uint64_t i, uint32_t id)
{
	return readers[id].here && readers[id].stuck && current(&readers[id]) == i;
}

static bool any_stuck_at(uint64_t i)
{
	for (uint32_t id = 0; id < nreaders; id++)
		if (stuck_at(i, id))
			return true;
	return false;
}

static uint64_t first_stuck(void)
{
	uint64_t i = h.ring.tail;

	while (i < h.ring.head && !any_stuck_at(i))
		i++;
	return i;
}

static bool fits(uint64_t tail, uint32_t len)
{
	uint32_t at = 0;

	if (h.ring.head - tail >= h.ring.cap)
		return false;
	if (tail < h.ring.head) {
		const struct frame *f = &frames[h.ring.head - 1];

		at = f->at + f->len + len <= h.ring.size ? f->at + f->len : 0;
	}
	for (uint64_t i = tail; i < h.ring.head; i++)
		if (at < frames[i].at + frames[i].len && frames[i].at < at + len)
			return false;
	return true;
}

static bool idle(uint32_t name)
{
	return name >= npinned && !has_readers(name) && newest(name) == RING_NONE;
}

static bool full(void)
{
	uint32_t n = 0;

	for (uint32_t name = 0; name < nnames; name++) {
		if (known[name] && idle(name))
			return false;
		n += known[name];
	}
	return n == h.cap;
}

/* A new one may cost an idle one its place, and goes on behind the highest number of these. */
static uint32_t subject_of(uint32_t name)
{
	const bool new = !known[name];
	char s[SUBJECT_MAX];
	const uint32_t subject = hub_subject(&h, s, name_of(s, name));
	uint32_t forgotten = 0, n = 0;

	known[name] = true;
	for (uint32_t i = 0; i < nnames; i++) {
		n += known[i];
		if (!known[i] || find(i) != HUB_NONE)
			continue;
		ok = ok && CHECK(idle(i));
		known[i] = false;
		forgotten++;
		if (highest < number[i])
			highest = number[i];
	}
	if (new)
		number[name] = highest;
	ok = ok && CHECK(find(name) == subject && forgotten == (new && n > h.cap)) &&
	    CHECK(h.subject[subject].number == number[name]) &&
	    CHECK(!new || h.subject[subject].base == highest);
	return subject;
}

/* ---- readers ---- */

static void got(struct reader *r, const uint8_t *p, size_t n)
{
	while (n > 0 && ok) {
		const uint64_t i = current(r);

		ok = CHECK(i != RING_NONE) && CHECK(*p == byte_of(i, r->off));
		p++;
		n--;
		if (ok && ++r->off == frames[i].len) {
			r->off = 0;
			r->from = i + 1;
		}
	}
}

/* From what the reader is at, to where its next frame is elsewhere. */
static void expect_run(const struct reader *r, const struct ring_run *run)
{
	uint64_t i = current(r), next;
	size_t len = frames[i].len - r->off;
	uint32_t count = 1;

	ok = ok && CHECK(run->p == h.ring.bytes + frames[i].at + r->off);
	while ((next = first_from(r->name, i + 1)) != RING_NONE &&
	    frames[next].at == frames[i].at + frames[i].len) {
		i = next;
		len += frames[i].len;
		count++;
	}
	ok = ok && CHECK(run->len == len) && CHECK(run->count == count) && CHECK(run->next == next);
}

static void sent(uint32_t id, const struct ring_run *run, size_t n)
{
	struct reader *r = &readers[id];
	uint32_t want = 0;
	const uint64_t before = r->from;

	got(r, run->p, n);
	for (uint64_t i = before; i < r->from; i++)
		want += frames[i].name == r->name;
	ok = ok && CHECK(hub_sent(&h, id, run, n) == want);
	r->stuck = false;
}

static void stick(uint32_t id)
{
	readers[id].stuck = current(&readers[id]) != RING_NONE;
	hub_stick(&h, id);
}

/* What conn.c does for an open client until it has all or its socket is full. */
static void serve(uint32_t id)
{
	struct reader *r = &readers[id];
	struct ring_run run;

	while (!r->blocked && hub_pending(&h, id, false, &run)) {
		expect_run(r, &run);
		const size_t n = run.len < r->room ? run.len : r->room;

		r->blocked = n < run.len;
		r->room -= (uint32_t)n;
		if (n > 0 && ok)
			sent(id, &run, n);
		if (!ok)
			return;
	}
	ok = ok && CHECK(r->blocked || current(r) == RING_NONE);
	if (r->blocked)
		stick(id);
	else
		r->from = h.ring.head;
}

static void leave(uint32_t id)
{
	hub_leave(&h, id);
	readers[id].here = false;
}

static void writable(uint32_t id)
{
	static const uint32_t most[] = { 2, 3, 16, 100, 1000, 100000 };

	readers[id].room = 1 + below(most[below(sizeof most / sizeof *most)]);
	readers[id].blocked = false;
	serve(id);
}

/* ---- publishing, as conn.c does it ---- */

/* Every reader of the batch is woken once, and nobody else. */
static void flush(void)
{
	bool woken[READERS] = { false };
	struct hub_walk w;

	if (unflushed == h.ring.head) {
		ok = ok && CHECK(!hub_fresh(&h));
		return;
	}
	const uint32_t name = frames[unflushed].name;

	ok = ok && CHECK(hub_fresh(&h));
	hub_batch(&h, &w);
	for (uint32_t id; ok && (id = hub_batch_next(&h, &w)) != HUB_NONE;) {
		ok = CHECK(readers[id].here && readers[id].name == name && !woken[id]);
		woken[id] = true;
		serve(id);
		if (below(16) == 0)
			leave(id);
	}
	hub_flushed(&h);
	for (uint64_t i = unflushed; i < h.ring.head && ok; i++)
		ok = CHECK(frames[i].name == name);
	for (uint32_t id = 0; id < nreaders && ok; id++)
		ok = CHECK(!readers[id].here || readers[id].blocked || current(&readers[id]) == RING_NONE) &&
		    CHECK(!readers[id].here || readers[id].name != name || woken[id]);
	unflushed = h.ring.head;
}

/* The reader is in the way: as its socket is, the rest of its frame goes out or it ends. */
static void overtaken(uint32_t id, enum slow slow)
{
	struct reader *r = &readers[id];
	struct ring_run run;
	const uint64_t i = current(r);
	const bool begun = hub_pending(&h, id, true, &run);

	ok = ok && CHECK(begun == (r->off > 0));
	if (begun && ok) {
		ok = CHECK(run.len == frames[i].len - r->off) && CHECK(run.count == 1) &&
		    CHECK(run.next == first_from(r->name, i + 1));
		sent(id, &run, run.len);
	}
	if (slow != SKIP || below(8) == 0) {
		leave(id);
		return;
	}
	hub_skip(&h, id);
	r->stuck = false;
	if (current(r) != RING_NONE) {
		const uint64_t last = newest(r->name);

		r->from = last > h.ring.tail ? last : last + 1;
	}
	r->blocked = true;
	stick(id);
}

/* Which records go, and that none goes at which somebody is stuck. */
static uint32_t room(uint32_t len)
{
	uint64_t tail = h.ring.tail;

	while (!fits(tail, len) && !any_stuck_at(tail))
		tail++;
	const bool fit = fits(tail, len);
	const uint32_t id = hub_room(&h, len);

	ok = ok && CHECK(h.ring.tail == tail) && CHECK((id == HUB_NONE) == fit) &&
	    CHECK(id == HUB_NONE || stuck_at(tail, id)) && CHECK(tail <= unflushed);
	wanted = !fit && wanted < len ? len : fit && wanted <= len ? 0 : wanted;
	return id;
}

/* The same for a new name in a full table, and not one record more than it takes. */
static uint32_t subject_room(uint32_t name)
{
	if (known[name])
		return HUB_NONE;
	uint64_t tail = h.ring.tail;
	bool is_full = full();

	while (is_full && !any_stuck_at(tail)) {
		const uint32_t gone = frames[tail++].name;

		is_full = has_readers(gone) || gone < npinned || first_from(gone, tail) != RING_NONE;
	}
	const uint32_t id = hub_subject_room(&h);

	ok = ok && CHECK(h.ring.tail == tail) && CHECK((id == HUB_NONE) == !is_full) &&
	    CHECK(id == HUB_NONE || stuck_at(tail, id)) && CHECK(tail <= unflushed);
	return id;
}

static void join(uint32_t id)
{
	struct reader *r = &readers[id];
	const uint32_t name = below(4) ? below(nnames) : 0;
	uint64_t n = below(2) ? 0 : below(8) ? below(6) : UINT64_MAX;

	*r = (struct reader){ .here = true, .name = name, .from = h.ring.head };
	r->room = below(3) ? UINT32_MAX / 2 : below(300);
	r->here = false;
	for (uint32_t other; (other = subject_room(name)) != HUB_NONE && ok;)
		overtaken(other, CLOSE);
	if (!ok)
		return;
	r->subject = subject_of(name);
	hub_join(&h, id, r->subject);
	r->here = true;
	CHECK(hub_replay(&h, id, &(struct hub_replay){ .count = n }) == 0);
	for (uint64_t i = h.ring.head; i > h.ring.tail && n > 0; i--) {
		if (frames[i - 1].name == name) {
			r->from = i - 1;
			n--;
		}
	}
	serve(id);
}


/* It is not asked for while little has come. */
static bool must_flush(uint32_t subject, uint32_t len)
{
	const bool must = hub_must_flush(&h, subject, len);
	uint64_t bytes = len;

	for (uint64_t i = unflushed; i < h.ring.head; i++)
		bytes += frames[i].len;
	ok = ok && CHECK(!must || (unflushed < h.ring.head &&
	    (subject != h.batch_subject || bytes > h.ring.size / 4 || h.ring.head - unflushed >= h.ring.cap / 4)));
	return must;
}

/* False: it must wait. */
static bool publish(uint32_t name, uint32_t len, enum slow slow)
{
	uint32_t id, subject;

	while (ok && (id = subject_room(name)) != HUB_NONE) {
		if (slow == WAIT) {
			flush();
			return false;
		}
		overtaken(id, slow);
	}
	if (!ok)
		return true;
	subject = subject_of(name);
	if (must_flush(subject, len))
		flush();
	while (ok && (id = room(len)) != HUB_NONE) {
		if (slow == WAIT) {
			flush();
			return false;
		}
		overtaken(id, slow);
	}
	const uint64_t i = h.ring.head;
	uint8_t *p = ok ? hub_push(&h, subject, len) : NULL;

	if (!p)
		return true;
	ok = CHECK(h.ring.head == i + 1 && p >= h.ring.bytes && p + len <= h.ring.bytes + h.ring.size);
	frames[i] = (struct frame){ (uint32_t)(p - h.ring.bytes), len, name };
	for (uint32_t j = 0; j < len; j++)
		p[j] = byte_of(i, j);
	struct hub_message m;

	hub_message(&h, i, &m);
	ok = ok && CHECK(h.subject[subject].number == ++number[name]) && CHECK(m.frame == p &&
	    m.len == len && m.subject == subject && m.number == number[name]);
	return true;
}

/* ---- what must hold at any time ---- */

static void check_subjects(void)
{
	for (uint32_t name = 0; name < nnames && ok; name++) {
		uint64_t first = RING_NONE, count = 0;

		for (uint64_t i = h.ring.tail; i < h.ring.head; i++) {
			if (frames[i].name == name && count++ == 0)
				first = i;
		}
		ok = CHECK((find(name) != HUB_NONE) == known[name]) && CHECK(known[name] || idle(name));
		if (!known[name] || !ok)
			continue;
		const struct hub_subject *s = &h.subject[find(name)];

		ok = CHECK(s->idle == idle(name)) && CHECK(s->count == count && s->number == number[name] &&
		    s->pinned == (name < npinned)) &&
		    CHECK(count == 0 || (s->first == first && s->last == newest(name)));
	}
	ok = ok && CHECK(h.made <= nnames && h.made <= h.cap);
}

/* The readers that are stuck furthest back, each once. */
static void check_stuck(void)
{
	const uint64_t i = first_stuck();
	bool listed[READERS] = { false };

	for (uint32_t id = hub_first_stuck(&h); id != HUB_NONE && ok; id = h.reader[id].stuck_next) {
		ok = CHECK(id < nreaders && !listed[id] && i < h.ring.head && stuck_at(i, id));
		listed[id] = true;
	}
	for (uint32_t id = 0; id < nreaders && ok; id++)
		ok = CHECK(listed[id] || i == h.ring.head || !stuck_at(i, id));
}

/* Once nobody is stuck before the first who is, a quarter of the bytes and of the records is free,
 * and the longest that has been refused finds its place: else it would be refused for ever. */
static void check_has_room(void)
{
	const uint64_t i = first_stuck();
	const uint32_t least = wanted > h.ring.size / 4 ? wanted : h.ring.size / 4;
	const bool has = h.ring.cap - (h.ring.head - i) >= h.ring.cap / 4 && fits(i, least);

	ok = ok && CHECK(hub_has_room(&h) == (i == h.ring.head || has));
}

/* cap: of the table, 0 for all that there is. */
static void begin(uint32_t bytes, uint32_t readers_, uint32_t pinned, uint32_t names, bool collide,
    uint32_t cap)
{
	memset(readers, 0, sizeof readers);
	memset(number, 0, sizeof number);
	nreaders = readers_;
	npinned = pinned;
	nnames = names;
	unflushed = wanted = 0;
	memset(known, 0, sizeof known);
	highest = 0;
	hub_memory = calloc(1, hub_size(nreaders, npinned, 0));
	hub_init(&h, hub_memory, nreaders, npinned, 0, (uint32_t)seed, ring_memory, bytes);
	if (collide)
		h.mask = 0;
	if (cap)
		h.cap = cap;
	for (uint32_t i = 0; i < pinned; i++)
		hub_pin(&h, subject_of(i));
	ok = true;
}

/* When all have gone and the ring was overwritten, all names are idle. */
static void end(void)
{
	for (uint32_t id = 0; id < nreaders; id++)
		if (readers[id].here)
			leave(id);
	for (uint32_t i = 0; i < h.ring.cap && ok; i++)
		publish(0, 2, CLOSE);
	ok = ok && CHECK(hub_first_stuck(&h) == HUB_NONE && hub_has_room(&h));
	if (ok)
		flush();

	uint32_t used = 0, unused = 0;

	for (uint32_t b = 0; b <= h.mask; b++)
		for (uint32_t s = h.bucket[b]; s; s = h.subject[s - 1].hash_next)
			used++;
	for (uint32_t s = h.idle; s != HUB_NONE; s = h.subject[s].idle_next)
		unused++;
	CHECK(!ok || (used == npinned + unused && used == h.made && h.made <= nnames));
	free(hub_memory);
}

static uint32_t any_len(uint32_t most)
{
	const uint32_t pick = below(40);
	const uint32_t cut = pick == 0 ? h.ring.size : pick < 3 ? h.ring.size / 2 : pick < 10 ? 200 : 30;

	return pick == 1 ? 2 : 2 + below((cut < most ? cut : most) - 1);
}

static void step(enum slow slow, uint32_t most)
{
	const uint32_t id = below(nreaders), op = below(16);
	struct reader *r = &readers[id];

	if (op < 6) {
		for (uint32_t n = 1 + below(6); n > 0 && ok; n--)
			if (!publish(below(3) ? below(npinned) : below(nnames), any_len(most), slow))
				break;
		flush();
	} else if (op < 12 && r->here && r->blocked) {
		writable(id);
	} else if (op < 14 && !r->here) {
		join(id);
	} else if (op == 14 && r->here && below(3) == 0) {
		leave(id);
	} else if (op == 15 && r->here) {
		r->room = below(1000);
	}
	check_stuck();
	check_has_room();
}

static void random_run(uint32_t bytes, uint32_t readers_, uint32_t pinned, uint32_t names,
    bool collide, enum slow slow, uint32_t most, unsigned steps)
{
	/* The least is one for the batch and one for a new name, beside what is read or pinned. */
	begin(bytes, readers_, pinned, names, collide, below(2) ? 0 : readers_ + pinned + below(4) + 2);
	if (most == 0)
		most = h.ring.size;
	for (unsigned i = 0; i < steps && ok; i++) {
		step(slow, most);
		if (i % 8 == 0)
			check_subjects();
	}
	CHECK(ok);
	end();
}

static void random_steps(void)
{
	static const struct row {
		uint32_t bytes, readers, pinned, names, most;
		bool collide;
	} rows[] = {
		{ 1024, 3, 1, 1, 0, false }, { 1024, 5, 2, 3, 40, false },
		{ 1024, 20, 2, 5, 2, true }, { 1100, 8, 3, 20, 100, true },
		{ 1500, 48, 4, 40, 0, false }, { 2048, 48, 1, 40, 300, true },
		{ 4096, 20, 3, 8, 0, false }, { 4096, 48, 40, 40, 600, false },
		{ 8192, 30, 2, 10, 100, false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (unsigned slow = 0; slow < POLICIES; slow++) {
			const struct row *r = &rows[i];

			seed = i * POLICIES + slow + 1;
			for (unsigned k = 0; k < 4; k++)
				random_run(r->bytes, r->readers, r->pinned, r->names, r->collide,
				    (enum slow)slow, r->most, 1200);
		}
	}
}

/* One that keeps up and two that do not, of messages of one size, for every size: the wrap falls
 * everywhere. */
static void every_size(void)
{
	for (uint32_t len = 2; len <= 784; len++) {
		for (unsigned slow = 0; slow < POLICIES; slow++) {
			seed = len * POLICIES + slow;
			begin(1024, 3, 1, 1, false, 0);
			for (uint32_t id = 0; id < nreaders; id++)
				join(id);
			readers[0].room = UINT32_MAX / 2;
			for (unsigned i = 0; i < 24 && ok; i++) {
				if (len <= h.ring.size)
					publish(0, len, (enum slow)slow);
				if (ok && below(3))
					flush();
				for (uint32_t id = 1; id < nreaders && ok && unflushed == h.ring.head; id++)
					if (readers[id].here && readers[id].blocked)
						writable(id);
			}
			if (!CHECK(ok))
				printf("size %u, policy %u\n", len, slow);
			end();
		}
	}
}

/* Subjects of every name, many times over, each read by one reader and then by nobody, in a table
 * that holds no more than must be. */
static void names_come_and_go(void)
{
	for (unsigned collide = 0; collide < 2; collide++) {
		seed = 99;
		begin(1024, 4, 1, NAMES, collide, 6);
		for (uint32_t i = 0; i < 20000 && ok; i++) {
			const uint32_t id = below(nreaders);

			if (readers[id].here)
				leave(id);
			else
				join(id);
			ok = ok && CHECK(h.made <= 2 + nreaders);
			check_subjects();
		}
		CHECK(ok);
		end();
	}
}

/* The one that has been idle longest goes first; to be read, written to or pinned is not idle. */
static void idle_longest(void)
{
	begin(1024, 1, 1, NAMES, false, 5);
	for (uint32_t name = 1; name < 5; name++)
		subject_of(name);
	hub_join(&h, 0, find(1));		/* 1 2 3 4 */
	hub_leave(&h, 0);			/* 2 3 4 1 */
	hub_pin(&h, find(3));			/* 2 4 1 */
	hub_join(&h, 0, find(2));		/* 4 1 */
	for (uint32_t name = 5; name < 7; name++) {
		char text[SUBJECT_MAX];
		const size_t n = name_of(text, name);

		CHECK(hub_subject_room(&h) == HUB_NONE);
		hub_pin(&h, hub_subject(&h, text, n));
		CHECK(find(4) == HUB_NONE && (find(1) == HUB_NONE) == (name == 6));
		CHECK(find(2) != HUB_NONE && find(3) != HUB_NONE);
	}
	hub_leave(&h, 0);
	free(hub_memory);
}

CHECK_MAIN(hub, RUN(random_steps) RUN(every_size) RUN(names_come_and_go) RUN(idle_longest))
