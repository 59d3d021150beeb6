/* used.c - see used.h.
 *
 * The file: a header and then one slot an entry, all little-endian, of 32 bytes each, so
 * that none crosses a page and a write is never seen by halves by the next process.
 *
 *	header	0 magic 8, 8 version 4, 12 capacity 4, 16 since_ms 8, 24 zero 4, 28 CRC-32
 *	slot	0 digest 16, 16 exp_ms 6, 22 let_go_ms 6, 28 CRC-32
 *
 * A slot of zeros was never written. Slots are first written in order, so that one of
 * zeros before one that is not is a loss. An entry that has left stays in its slot until
 * another is written over it, which then carries its expiry as let_go_ms. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "used.h"

#define SLOT 32u
#define VERSION 1u

/* Times have 48 bits in the file, which last until the year 6429; what is beyond is held
 * at the bounds. The lower bound stands for none: in let_go_ms, nothing has left; in
 * exp_ms, the slot was damaged and is free. */
#define TIME_MAX ((int64_t)0x7fffffffffff)
#define TIME_NONE (-TIME_MAX - 1)

/* The first byte begins no text, so that no text is taken for a file of ours cut short. */
static const uint8_t magic[8] = { 0x93, 's', 'l', 'u', 'i', 'c', 'e', '\n' };

enum slot { SLOT_EMPTY, SLOT_WHOLE, SLOT_BAD };

/* Memory: entries, heap and index in one piece. */

/* A power of two, at least twice cap: a probe then takes 1.5 steps on average. */
static uint32_t index_size(uint32_t cap)
{
	uint32_t n = 2;

	while (n < 2 * cap)
		n *= 2;
	return n;
}

size_t used_size(uint32_t cap)
{
	return cap * (sizeof(struct used_entry) + sizeof(uint32_t)) +
	    index_size(cap) * sizeof(uint32_t);
}

void used_init(struct used *u, void *mem, uint32_t cap, int64_t since_ms)
{
	assert(cap > 0 && cap <= USED_MAX);
	u->entry = mem;
	u->heap = (uint32_t *)(u->entry + cap);
	u->index = u->heap + cap;
	u->cap = cap;
	u->n = 0;
	u->mask = index_size(cap) - 1;
	u->let_go_ms = INT64_MIN;
	u->since_ms = since_ms;
	u->fd = -1;
	for (uint32_t i = 0; i < cap; i++)
		u->heap[i] = i;
}

/* The index: linear probing; removal moves later entries back, so that no marks are left
 * behind. A digest is as good a hash as there is. */

static uint32_t get32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Where digest is in the index, or where it would go. */
static uint32_t index_find(const struct used *u, const uint8_t *digest)
{
	uint32_t at = get32(digest) & u->mask;

	while (u->index[at] != 0 &&
	    memcmp(u->entry[u->index[at] - 1].digest, digest, USED_DIGEST) != 0)
		at = (at + 1) & u->mask;
	return at;
}

static void index_remove(struct used *u, uint32_t hole)
{
	for (uint32_t at = (hole + 1) & u->mask; u->index[at] != 0;
	    at = (at + 1) & u->mask) {
		const uint32_t home = get32(u->entry[u->index[at] - 1].digest) & u->mask;

		/* May this one stand in the hole, or would it be before its home? */
		if (((at - home) & u->mask) < ((at - hole) & u->mask))
			continue;
		u->index[hole] = u->index[at];
		hole = at;
	}
	u->index[hole] = 0;
}

/* The heap: heap[0..n) in use, the parent of i at (i - 1) / 2 expires no later. */

static int64_t expiry(const struct used *u, uint32_t i)
{
	return u->entry[u->heap[i]].exp_ms;
}

static void swap(struct used *u, uint32_t a, uint32_t b)
{
	const uint32_t t = u->heap[a];

	u->heap[a] = u->heap[b];
	u->heap[b] = t;
}

static void heap_up(struct used *u, uint32_t i)
{
	for (; i > 0 && expiry(u, i) < expiry(u, (i - 1) / 2); i = (i - 1) / 2)
		swap(u, i, (i - 1) / 2);
}

static void heap_down(struct used *u)
{
	uint32_t i = 0, child;

	for (; (child = 2 * i + 1) < u->n; i = child) {
		if (child + 1 < u->n && expiry(u, child + 1) < expiry(u, child))
			child++;
		if (expiry(u, i) <= expiry(u, child))
			break;
		swap(u, i, child);
	}
}

/* heap[n] holds the entry to enter, filled in. */
static void enter(struct used *u)
{
	const uint32_t i = u->heap[u->n];

	u->index[index_find(u, u->entry[i].digest)] = i + 1;
	heap_up(u, u->n++);
}

void used_expire(struct used *u, int64_t past_ms)
{
	while (u->n > 0 && expiry(u, 0) <= past_ms) {
		const struct used_entry *e = &u->entry[u->heap[0]];

		if (e->exp_ms > u->let_go_ms)
			u->let_go_ms = e->exp_ms;
		index_remove(u, index_find(u, e->digest));
		swap(u, 0, --u->n);
		heap_down(u);
	}
}

enum why used_check(const struct used *u, const uint8_t digest[USED_DIGEST],
    int64_t exp_ms)
{
	if (exp_ms <= u->let_go_ms || u->index[index_find(u, digest)] != 0)
		return WHY_TOKEN_USED;
	return u->n < u->cap ? WHY_OK : WHY_RING_FULL;
}

/* The file. */

static void put(uint8_t *p, int64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)((uint64_t)v >> 8 * i);
}

static void put_time(uint8_t *p, int64_t ms)
{
	put(p, ms > TIME_MAX ? TIME_MAX : ms < TIME_NONE ? TIME_NONE : ms, 6);
}

/* Of n bytes, at most 8, the last of which has the sign. */
static int64_t get(const uint8_t *p, size_t n)
{
	uint64_t v = p[n - 1] & 0x80 ? UINT64_MAX : 0;

	while (n-- > 0)
		v = v << 8 | p[n];
	return (int64_t)v;
}

/* CRC-32 of IEEE 802.3, four bits at a time. */
static uint32_t crc32(const uint8_t *p, size_t n)
{
	static const uint32_t step[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
		0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
		0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
		0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	uint32_t crc = 0xffffffff;

	while (n-- > 0) {
		crc ^= *p++;
		crc = crc >> 4 ^ step[crc & 15];
		crc = crc >> 4 ^ step[crc & 15];
	}
	return ~crc;
}

static void seal(uint8_t slot[SLOT])
{
	put(slot + SLOT - 4, crc32(slot, SLOT - 4), 4);
}

static bool sealed(const uint8_t slot[SLOT])
{
	return get32(slot + SLOT - 4) == crc32(slot, SLOT - 4);
}

static enum slot slot_state(const uint8_t slot[SLOT])
{
	static const uint8_t zeros[SLOT];

	if (memcmp(slot, zeros, SLOT) == 0)
		return SLOT_EMPTY;
	return sealed(slot) ? SLOT_WHOLE : SLOT_BAD;
}

static off_t slot_offset(uint32_t i)
{
	return (off_t)SLOT * ((off_t)i + 1);
}

/* No call is interrupted: signals are blocked, and read from a descriptor.
 *
 * Read n bytes; what is past the end of the file reads as zeros. */
static bool file_read(int fd, uint8_t *p, size_t n, off_t off)
{
	memset(p, 0, n);
	while (n > 0) {
		const ssize_t k = pread(fd, p, n, off);

		if (k <= 0)
			return k == 0;
		p += k;
		off += k;
		n -= (size_t)k;
	}
	return true;
}

static bool file_write(int fd, const uint8_t *p, size_t n, off_t off)
{
	errno = ENOSPC;			/* what a short write means */
	return pwrite(fd, p, n, off) == (ssize_t)n;
}

/* Slots are read by the page. */
#define PAGE_SLOTS 128u

struct page {
	int fd;
	uint32_t first;			/* slot at the page's begin; UINT32_MAX: none read */
	uint8_t slots[PAGE_SLOTS * SLOT];
};

/* Slot i, or NULL (errno). */
static const uint8_t *page_slot(struct page *g, uint32_t i)
{
	const uint32_t first = i - i % PAGE_SLOTS;

	if (g->first != first) {
		g->first = UINT32_MAX;
		if (!file_read(g->fd, g->slots, sizeof g->slots, slot_offset(first)))
			return NULL;
		g->first = first;
	}
	return g->slots + (size_t)(i - first) * SLOT;
}

/* What the slots of a file say. */
struct survey {
	uint32_t last;			/* 1 + the last slot that is not empty */
	uint32_t last_whole;
	bool     damaged;		/* a slot is bad, or empty before the last */
	int64_t  let_go_ms;
};

static bool survey(struct survey *s, int fd, uint32_t slots)
{
	struct page g = { .fd = fd, .first = UINT32_MAX };

	*s = (struct survey){ .let_go_ms = INT64_MIN };
	for (uint32_t i = 0; i < slots; i++) {
		const uint8_t *slot = page_slot(&g, i);

		if (slot == NULL)
			return false;

		const enum slot state = slot_state(slot);

		if (state == SLOT_EMPTY)
			continue;
		if (state == SLOT_BAD || s->last < i)
			s->damaged = true;
		s->last = i + 1;
		if (state != SLOT_WHOLE)
			continue;
		s->last_whole = i + 1;

		const int64_t let_go = get(slot + 22, 6);

		if (let_go > TIME_NONE && let_go > s->let_go_ms)
			s->let_go_ms = let_go;
	}
	return true;
}

/* What the file of this size is; room: for how many entries. */
static enum used_file inspect(int fd, off_t size, uint32_t *room)
{
	const off_t slot = SLOT, after = size / slot - 1;
	const uint32_t slots = after < 0 ? 0 : after < (off_t)USED_MAX ? (uint32_t)after : USED_MAX;
	const size_t seen = size < (off_t)sizeof magic ? (size_t)size : sizeof magic;
	uint8_t head[SLOT];
	struct survey s;

	if (size == 0)
		return USED_FILE_NEW;
	if (!file_read(fd, head, sizeof head, 0))
		return USED_FILE_ERROR;
	if (memcmp(head, magic, seen) != 0)
		return USED_FILE_FOREIGN;

	const bool whole = sealed(head);
	const uint32_t cap = whole ? get32(head + 12) : 0;

	/* A later version's is whole, but not for us. */
	if (whole && (get32(head + 8) != VERSION || cap == 0 || cap > USED_MAX))
		return USED_FILE_FOREIGN;
	if (!survey(&s, fd, slots))
		return USED_FILE_ERROR;
	*room = cap > s.last_whole ? cap : s.last_whole;

	/* Longer than its header says, with nothing there: growing was interrupted. */
	if (!whole || s.damaged || s.last > cap || cap > slots || size % slot != 0)
		return USED_FILE_DAMAGED;
	return USED_FILE_WHOLE;
}

/* Lock and inspect. */
static enum used_file take(int fd, uint32_t *room)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return USED_FILE_ERROR;
	if (!S_ISREG(st.st_mode))
		return USED_FILE_FOREIGN;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? USED_FILE_LOCKED : USED_FILE_ERROR;

	/* Who had the lock before may have made it longer. */
	if (fstat(fd, &st) < 0)
		return USED_FILE_ERROR;
	return inspect(fd, st.st_size, room);
}

enum used_file used_file_open(int *fd, uint32_t *cap, const char *path)
{
	uint32_t room = 0;
	int f, saved;

	f = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
	if (f < 0) /* a symbolic link, a directory, a socket */
		return errno == ELOOP || errno == EISDIR || errno == ENXIO ?
		    USED_FILE_FOREIGN : USED_FILE_ERROR;

	const enum used_file what = take(f, &room);

	if (what > USED_FILE_DAMAGED) {
		saved = errno;
		close(f);
		errno = saved;
		return what;
	}
	if (room > *cap)
		*cap = room;
	*fd = f;
	return what;
}

static bool head_write(const struct used *u, int fd)
{
	uint8_t head[SLOT] = {0};

	memcpy(head, magic, sizeof magic);
	put(head + 8, VERSION, 4);
	put(head + 12, u->cap, 4);
	put(head + 16, u->since_ms, 8);
	seal(head);
	return file_write(fd, head, sizeof head, 0);
}

static bool slot_write(int fd, uint32_t i, const struct used_entry *e, int64_t let_go_ms)
{
	uint8_t slot[SLOT];

	memcpy(slot, e->digest, USED_DIGEST);
	put_time(slot + 16, e->exp_ms);
	put_time(slot + 22, let_go_ms);
	seal(slot);
	return file_write(fd, slot, sizeof slot, slot_offset(i));
}

/* Give the file its length and header. What is not whole first learns, and safely, that
 * it knows nothing before since_ms: were it cut down again in the middle of this, it must
 * not look as if it knew. */
static bool file_ready(struct used *u, int fd, enum used_file what)
{
	uint8_t head[SLOT];

	if (what != USED_FILE_WHOLE)
		return head_write(u, fd) && fdatasync(fd) == 0 && ftruncate(fd, slot_offset(u->cap)) == 0;
	if (!file_read(fd, head, sizeof head, 0))
		return false;
	assert(get32(head + 12) <= u->cap);
	u->since_ms = get(head + 16, 8);
	if (get32(head + 12) == u->cap)
		return true;
	return ftruncate(fd, slot_offset(u->cap)) == 0 && head_write(u, fd);
}

/* Enter what a whole slot holds; false if that has left, and the slot is free. */
static bool slot_load(struct used *u, uint32_t i, const uint8_t slot[SLOT])
{
	const int64_t exp = get(slot + 16, 6);

	if (exp == TIME_NONE || exp <= u->let_go_ms || u->index[index_find(u, slot)] != 0)
		return false;
	memcpy(u->entry[i].digest, slot, USED_DIGEST);
	u->entry[i].exp_ms = exp;
	u->heap[u->n] = i;
	enter(u);
	return true;
}

bool used_file_load(struct used *u, int fd, enum used_file what)
{
	static const struct used_entry none = { .exp_ms = TIME_NONE };
	struct page g = { .fd = fd, .first = UINT32_MAX };
	uint32_t free_from = u->cap;
	struct survey s;

	if (!file_ready(u, fd, what) || !survey(&s, fd, u->cap))
		return false;
	u->let_go_ms = s.let_go_ms;

	/* Downwards, so that those in use fill the heap from its front, and those that
	 * are free, the lowest first, its end. */
	for (uint32_t i = u->cap; i-- > 0; ) {
		const uint8_t *slot = page_slot(&g, i);

		if (slot == NULL)
			return false;

		const enum slot state = slot_state(slot);

		if (i < s.last && state != SLOT_WHOLE &&
		    !slot_write(fd, i, &none, TIME_NONE))
			return false;
		if (state != SLOT_WHOLE || !slot_load(u, i, slot))
			u->heap[--free_from] = i;
	}
	u->fd = fd;
	return true;
}

enum why used_add(struct used *u, const uint8_t digest[USED_DIGEST], int64_t exp_ms)
{
	assert(u->n < u->cap);

	const uint32_t i = u->heap[u->n];
	struct used_entry *e = &u->entry[i];

	memcpy(e->digest, digest, USED_DIGEST);
	e->exp_ms = exp_ms;
	if (u->fd >= 0 && !slot_write(u->fd, i, e, u->let_go_ms))
		return WHY_RING_FULL;
	enter(u);
	return WHY_OK;
}
