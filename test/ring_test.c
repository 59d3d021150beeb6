#include "check.h"
#include "ring.h"

/* The model: where every frame was put, live or not. */
#define LOG_MAX 4096u
#define MEM_MAX 8192u
#define SUBJECTS 3u

static struct frame {
	uint32_t at, len, subject;
} frames[LOG_MAX];

static uint64_t memory[MEM_MAX / 8 + 1];
static struct ring ring;
static uint64_t newest[SUBJECTS];	/* live if at least tail, and not RING_NONE */

static void begin(size_t n)
{
	memset(memory, 0xa5, sizeof memory);
	ring_init(&ring, memory, n);
	for (unsigned s = 0; s < SUBJECTS; s++)
		newest[s] = RING_NONE;
}

static uint8_t byte_of(uint64_t i, uint32_t j)
{
	return (uint8_t)(i * 131 + (i >> 8) * 29 + j * 7);
}

/* Where the documented rule puts a frame: behind the newest, or at the start. */
static uint32_t want_place(uint64_t tail, uint32_t len)
{
	if (tail == ring.head)
		return 0;
	const struct frame *f = &frames[ring.head - 1];

	return f->at + f->len + len <= ring.size ? f->at + f->len : 0;
}

static bool fits(uint64_t tail, uint32_t len)
{
	const uint32_t at = want_place(tail, len);

	if (ring.head - tail >= ring.cap)
		return false;
	for (uint64_t i = tail; i < ring.head; i++)
		if (at < frames[i].at + frames[i].len && frames[i].at < at + len)
			return false;
	return true;
}

static bool whole(uint64_t i)
{
	for (uint32_t j = 0; j < frames[i].len; j++)
		if (ring.bytes[frames[i].at + j] != byte_of(i, j))
			return false;
	return true;
}

/* Push as the owner does, and hold each step against the model. */
static bool push(uint32_t len, uint32_t subject)
{
	bool ok = true;

	while (!fits(ring.tail, len) && ok) {
		ok = CHECK(ring_must_drop(&ring, len));
		ring_drop(&ring);
	}
	ok = ok && CHECK(!ring_must_drop(&ring, len));

	const uint64_t i = ring.head;
	const uint32_t at = want_place(ring.tail, len);
	uint8_t *p = ring_push(&ring, len, subject, (uint32_t)i * 3);
	struct ring_record *r = ring_at(&ring, i);

	ok = ok && CHECK(ring.head == i + 1 && p == ring.bytes + at && at + len <= ring.size);
	ok = ok && CHECK(r->at == at && r->len == len && r->next == 0 && r->subject == subject &&
	    r->number == (uint32_t)i * 3);
	ok = ok && CHECK(r->first_stuck == UINT32_MAX);
	frames[i] = (struct frame){ at, len, subject };
	if (newest[subject] != RING_NONE && newest[subject] >= ring.tail)
		ring_at(&ring, newest[subject])->next = (uint32_t)(i - newest[subject]);
	newest[subject] = i;
	for (uint32_t j = 0; j < len; j++)
		p[j] = byte_of(i, j);
	return ok;
}

static uint64_t next_of(uint64_t i)
{
	for (uint64_t k = i + 1; k < ring.head; k++)
		if (frames[k].subject == frames[i].subject)
			return k;
	return RING_NONE;
}

/* A run from every live record, begun at off. */
static bool runs(void)
{
	for (uint64_t i = ring.tail; i < ring.head; i++) {
		const uint32_t off = (uint32_t)(i * 5) % frames[i].len;
		uint32_t end = frames[i].at + frames[i].len, count = 1;
		uint64_t next = next_of(i);
		struct ring_run run;

		while (next != RING_NONE && frames[next].at == end) {
			end += frames[next].len;
			count++;
			next = next_of(next);
		}
		ring_run(&ring, &run, i, off, RING_NONE);
		if (!CHECK(whole(i)) || !CHECK(run.p == ring.bytes + frames[i].at + off) ||
		    !CHECK(run.len == end - frames[i].at - off) || !CHECK(run.next == next) ||
		    !CHECK(run.count == count))
			return false;
	}
	return true;
}

/* A quarter is for the records, and no byte is outside. */
static void shares(void)
{
	for (size_t n = 1024; n <= MEM_MAX; n += 4) {
		const uint8_t *mem = (const uint8_t *)memory;

		ring_init(&ring, memory, n);
		CHECK(ring.head == 0 && ring.tail == 0 && ring.cap > 0);
		CHECK((const uint8_t *)ring.record >= mem && ring.bytes >= mem);
		CHECK((const uint8_t *)(ring.record + ring.cap) <= mem + n);
		CHECK(ring.bytes + ring.size <= mem + n);
		CHECK((const uint8_t *)(ring.record + ring.cap) <= ring.bytes ||
		    ring.bytes + ring.size <= (const uint8_t *)ring.record);
		CHECK(ring.cap * sizeof *ring.record + sizeof *ring.record > n / 4);
		CHECK(ring.size >= n / 4 * 3 && ring.size + ring.cap * sizeof *ring.record == n);
		CHECK(!ring_must_drop(&ring, ring.size));
	}
}

/* Every size of message, the first of another size, so that the wrap falls everywhere. */
static void every_offset(void)
{
	bool ok = true;

	begin(1024);
	for (uint32_t len = 2; len <= ring.size && ok; len++) {
		for (uint32_t first = 2; first <= ring.size && ok; first += 1 + first / 16) {
			const uint32_t n = ring.size / len < ring.cap ? ring.size / len : ring.cap;

			begin(1024);
			ok = push(first, 0);
			for (uint32_t i = 0; i < 2 * n + 4 && ok; i++)
				ok = push(len, i & 1) && (len % 8 || runs());
		}
	}
	CHECK(ok);
}

static uint32_t any_len(uint64_t *seed)
{
	const uint32_t pick = check_random(seed) % 16;
	const uint32_t most = pick == 0 ? ring.size - 1 : pick < 3 ? ring.size / 2 :
	    pick < 6 ? ring.size / 8 : pick < 12 ? 60 : 2;

	return pick == 15 ? ring.size : 2 + check_random(seed) % (most - 1);
}

static void any_sizes(void)
{
	uint64_t seed = 20;
	bool ok = true;

	for (unsigned round = 0; round < 200 && ok; round++) {
		begin(1024 + check_random(&seed) % (MEM_MAX / 2 - 1024) / 4 * 4);
		for (unsigned i = 0; i < 500 && ok; i++)
			ok = push(any_len(&seed), check_random(&seed) % SUBJECTS) &&
			    (i % 4 || runs());
	}
	CHECK(ok);
}

/* Short frames run out of records before bytes. */
static void out_of_records(void)
{
	begin(1024);
	for (uint32_t i = 0; i < 5 * ring.cap; i++) {
		if (!push(2, 0) || !runs())
			return;
		CHECK(ring.head - ring.tail == (i < ring.cap ? i + 1 : ring.cap));
	}
}

CHECK_MAIN(ring, RUN(shares) RUN(every_offset) RUN(any_sizes) RUN(out_of_records))
