#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"
#include "used.h"

#define SLOT 32		/* of the file: its header too is one */

static char path[64];

/* In place of the library's: what the file was when it was synced, and what another does between
 * fstat and the lock. */
static uint8_t synced[64 * SLOT];
static ssize_t synced_len;
static void (*before_lock)(void);

int fdatasync(int fd)
{
	synced_len = pread(fd, synced, sizeof synced, 0);
	return 0;
}

int flock(int fd, int how)
{
	if (before_lock)
		before_lock();
	return (int)syscall(SYS_flock, fd, how);
}

static void digest_of(uint8_t d[USED_DIGEST], uint64_t id)
{
	uint64_t seed = id * 2 + 1;

	for (size_t i = 0; i < USED_DIGEST; i++)
		d[i] = (uint8_t)(check_random(&seed) >> 7);
	memcpy(d + 8, &id, 8);
}

static void init(struct used *u, uint32_t cap, int64_t since_ms)
{
	used_init(u, calloc(1, used_size(cap)), cap, since_ms);
}

static void drop(struct used *u)
{
	free(u->entry);
	if (u->fd >= 0)
		close(u->fd);
}

static enum why check(const struct used *u, uint64_t id, int64_t exp_ms)
{
	uint8_t d[USED_DIGEST];

	digest_of(d, id);
	return used_check(u, d, exp_ms);
}

static enum why add(struct used *u, uint64_t id, int64_t exp_ms)
{
	uint8_t d[USED_DIGEST];
	enum why why;

	digest_of(d, id);
	why = used_check(u, d, exp_ms);
	return why == WHY_OK ? used_add(u, d, exp_ms) : why;
}

static void fill_and_refuse(void)
{
	for (uint32_t cap = 1; cap <= 9; cap++) {
		struct used u;

		init(&u, cap, 0);
		for (uint32_t i = 0; i < cap; i++) {
			CHECK(add(&u, i, 1000 + i) == WHY_OK);
			CHECK(check(&u, i, 1000 + i) == WHY_TOKEN_USED);
		}

		/* Full: live entries stay; one that is there is said to be, all the same. */
		CHECK(check(&u, 99, 5000) == WHY_RING_FULL);
		CHECK(check(&u, 0, 1000) == WHY_TOKEN_USED && u.n == cap);
		used_expire(&u, 999);
		CHECK(u.n == cap && u.let_go_ms == INT64_MIN);
		used_expire(&u, 1000);
		CHECK(u.n == cap - 1 && u.let_go_ms == 1000);
		CHECK(add(&u, 99, 5000) == WHY_OK);
		CHECK(check(&u, 100, 5000) == WHY_RING_FULL);
		CHECK(check(&u, 99, 5000) == WHY_TOKEN_USED);
		drop(&u);
	}
}

/* After a step of the clock backwards, what expires no later than what has left may have
 * been let in before. */
static void clock_back(void)
{
	struct used u;

	init(&u, 4, 0);
	CHECK(add(&u, 1, 2000) == WHY_OK && add(&u, 2, 3000) == WHY_OK);
	used_expire(&u, 2500);
	CHECK(check(&u, 1, 2000) == WHY_TOKEN_USED);
	used_expire(&u, 100);
	CHECK(u.n == 1 && u.let_go_ms == 2000);
	CHECK(check(&u, 3, 1999) == WHY_TOKEN_USED && check(&u, 3, 2000) == WHY_TOKEN_USED);
	CHECK(check(&u, 3, 2001) == WHY_OK && check(&u, 2, 3000) == WHY_TOKEN_USED);
	drop(&u);
}

static void extremes(void)
{
	struct used u;

	init(&u, 3, 0);
	CHECK(add(&u, 1, INT64_MAX) == WHY_OK && add(&u, 2, INT64_MIN + 1) == WHY_OK);
	CHECK(check(&u, 3, INT64_MIN) == WHY_TOKEN_USED);
	used_expire(&u, INT64_MIN);
	CHECK(u.n == 2);
	used_expire(&u, INT64_MAX - 1);
	CHECK(u.n == 1 && check(&u, 1, INT64_MAX) == WHY_TOKEN_USED);
	used_expire(&u, INT64_MAX);
	CHECK(u.n == 0 && check(&u, 4, INT64_MAX) == WHY_TOKEN_USED);
	drop(&u);
}

/* Digests that all have one place in the index, which ends at its end. */
static void collisions(void)
{
	struct used u;
	uint8_t d[USED_DIGEST] = { 0xff, 0xff, 0xff, 0xff };

	init(&u, 16, 0);
	for (uint8_t i = 0; i < 16; i++) {
		d[5] = i;
		CHECK(used_add(&u, d, (i * 7) % 16 + 1) == WHY_OK);
	}
	for (int64_t now = 1; now <= 16; now++) {
		used_expire(&u, now);
		CHECK(u.n == (uint32_t)(16 - now));
		for (uint8_t i = 0; i < 16; i++) {
			d[5] = i;

			const enum why want = (i * 7) % 16 + 1 > now ?
			    WHY_TOKEN_USED : WHY_OK;

			CHECK(used_check(&u, d, 1000) == want);
		}
	}
	for (uint32_t i = 0; i <= u.mask; i++)
		CHECK(u.index[i] == 0);
	drop(&u);
}

/* The model: a list of expiries by token, looked through from end to end. */
struct model {
	int64_t *exp;		/* 0: not in the ring */
	uint32_t n, tokens;
	int64_t let_go;
};

static void model_expire(struct model *m, int64_t now)
{
	for (uint32_t i = 0; i < m->tokens; i++) {
		if (m->exp[i] == 0 || m->exp[i] > now)
			continue;
		if (m->exp[i] > m->let_go)
			m->let_go = m->exp[i];
		m->exp[i] = 0;
		m->n--;
	}
}

static enum why model_add(struct model *m, uint32_t id, int64_t exp, uint32_t cap)
{
	if (m->exp[id] != 0 || exp <= m->let_go)
		return WHY_TOKEN_USED;
	if (m->n == cap)
		return WHY_RING_FULL;
	m->exp[id] = exp;
	m->n++;
	return WHY_OK;
}

static void against_model(uint32_t cap, uint32_t tokens, uint32_t steps, uint32_t every,
    int64_t ttl)
{
	struct model m = { calloc(tokens, sizeof *m.exp), 0, tokens, INT64_MIN };
	struct used u;
	uint64_t seed = cap;
	int64_t now = 1000000;

	init(&u, cap, 0);
	for (uint32_t i = 0; i < steps; i++) {
		const uint32_t id = check_random(&seed) % tokens;
		const int64_t exp = now + 1 + check_random(&seed) % ttl;

		CHECK(add(&u, id, exp) == model_add(&m, id, exp, cap));
		if (i % every != 0)
			continue;
		now += check_random(&seed) % (every * 4) - every;	/* back, at times */
		used_expire(&u, now);
		model_expire(&m, now);
		CHECK(u.n == m.n && u.let_go_ms == m.let_go);
		for (uint32_t k = 0; k < tokens; k += 1 + tokens / 512)
			CHECK((check(&u, k, INT64_MAX) == WHY_TOKEN_USED) == (m.exp[k] != 0));
	}
	for (uint32_t k = 0; k < tokens; k++)
		CHECK((check(&u, k, INT64_MAX) == WHY_TOKEN_USED) == (m.exp[k] != 0));
	drop(&u);
	free(m.exp);
}

static void model(void)
{
	against_model(1, 5, 2000, 1, 10);
	against_model(7, 20, 20000, 3, 30);
	against_model(64, 300, 50000, 10, 100);
	against_model(1000, 5000, 100000, 100, 2000);
	against_model(100000, 300000, 400000, 2000, 200000);
}

/* The file. */

static enum used_file reopen(struct used *u, uint32_t cap, int64_t since_ms)
{
	int fd = -1;
	const enum used_file what = used_file_open(&fd, &cap, path);

	if (what > USED_FILE_DAMAGED)
		return what;
	init(u, cap, since_ms);
	CHECK(used_file_load(u, fd, what));
	return what;
}

static size_t slurp(uint8_t *p, size_t cap)
{
	FILE *f = fopen(path, "rb");
	const size_t n = f != NULL ? fread(p, 1, cap, f) : 0;

	if (f != NULL)
		fclose(f);
	return n;
}

static void spill(const uint8_t *p, size_t n)
{
	FILE *f = fopen(path, "wb");

	if (CHECK(f != NULL)) {
		CHECK(fwrite(p, 1, n, f) == n);
		fclose(f);
	}
}

static void file_reopen(void)
{
	struct used u;
	struct stat st;

	unlink(path);
	CHECK(reopen(&u, 8, 5000) == USED_FILE_NEW);
	CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
	CHECK(st.st_size == 9 * SLOT);
	CHECK(fcntl(u.fd, F_GETFD) & FD_CLOEXEC);
	for (uint32_t i = 0; i < 5; i++)
		CHECK(add(&u, i, 10000 + i) == WHY_OK);
	drop(&u);

	/* Nothing had left: nothing is lost; since is that of the file. */
	CHECK(reopen(&u, 8, 9999) == USED_FILE_WHOLE);
	CHECK(u.n == 5 && u.since_ms == 5000 && u.let_go_ms == INT64_MIN);
	for (uint32_t i = 0; i < 5; i++)
		CHECK(check(&u, i, 10000 + i) == WHY_TOKEN_USED);
	used_expire(&u, 10001);
	CHECK(u.n == 3 && add(&u, 5, 20000) == WHY_OK);
	drop(&u);

	/* 10001 has left, as slot 5 says, whether or not its own is still there. */
	CHECK(reopen(&u, 8, 9999) == USED_FILE_WHOLE);
	CHECK(u.n == 4 && u.let_go_ms == 10001);
	CHECK(check(&u, 77, 10001) == WHY_TOKEN_USED && check(&u, 77, 10002) == WHY_OK);
	used_expire(&u, 20000);
	for (uint32_t i = 10; i < 18; i++)
		CHECK(add(&u, i, 30000) == WHY_OK);
	CHECK(check(&u, 18, 30000) == WHY_RING_FULL);
	drop(&u);
	CHECK(reopen(&u, 8, 0) == USED_FILE_WHOLE && u.n == 8 && u.let_go_ms == 20000);
	CHECK(check(&u, 18, 30000) == WHY_RING_FULL);
	drop(&u);
}

static void file_times(void)
{
	struct used u;

	unlink(path);
	CHECK(reopen(&u, 4, -5) == USED_FILE_NEW);
	CHECK(add(&u, 1, INT64_MAX) == WHY_OK && add(&u, 2, -7) == WHY_OK);
	used_expire(&u, -7);
	CHECK(add(&u, 3, -6) == WHY_OK);
	drop(&u);

	/* No time is shortened to one that could come to pass. */
	CHECK(reopen(&u, 4, 0) == USED_FILE_WHOLE && u.since_ms == -5 && u.let_go_ms == -7);
	used_expire(&u, (int64_t)4000 * 366 * 86400 * 1000);
	CHECK(u.n == 1 && check(&u, 1, INT64_MAX) == WHY_TOKEN_USED);
	drop(&u);
}

static void file_capacity(void)
{
	struct used u;
	struct stat st;

	unlink(path);
	CHECK(reopen(&u, 4, 1) == USED_FILE_NEW);
	for (uint32_t i = 0; i < 4; i++)
		CHECK(add(&u, i, 100 + i) == WHY_OK);
	drop(&u);
	CHECK(reopen(&u, 2, 2) == USED_FILE_WHOLE);		/* smaller: kept */
	CHECK(u.cap == 4 && u.n == 4);
	drop(&u);
	CHECK(reopen(&u, 300, 3) == USED_FILE_WHOLE);		/* larger: grows */
	CHECK(u.cap == 300 && u.n == 4 && u.since_ms == 1);
	for (uint32_t i = 4; i < 300; i++)
		CHECK(add(&u, i, 100 + i) == WHY_OK);
	CHECK(stat(path, &st) == 0 && st.st_size == 301 * SLOT);
	drop(&u);
	CHECK(reopen(&u, 10, 4) == USED_FILE_WHOLE && u.cap == 300 && u.n == 300);
	for (uint32_t i = 0; i < 300; i++)
		CHECK(check(&u, i, 9999) == WHY_TOKEN_USED);
	drop(&u);

	/* Growing that ended before the header was written. */
	CHECK(truncate(path, 400 * SLOT) == 0);
	CHECK(reopen(&u, 1000, 5) == USED_FILE_WHOLE && u.n == 300 && u.since_ms == 1);
	drop(&u);
	CHECK(reopen(&u, 1, 5) == USED_FILE_WHOLE && u.cap == 1000 && u.n == 300);
	drop(&u);
}

#define CAP 6
#define FILLED 4

/* A file with FILLED entries of CAP: tokens 0 to 3, that expire at 1000 to 1003. */
static size_t sample(uint8_t *p, size_t cap)
{
	struct used u;

	unlink(path);
	CHECK(reopen(&u, CAP, 500) == USED_FILE_NEW);
	for (uint32_t i = 0; i < FILLED; i++)
		CHECK(add(&u, i, 1000 + i) == WHY_OK);
	drop(&u);
	return slurp(p, cap);
}

/* What is left of the sample as it stands on disk: DAMAGED with exactly the tokens of
 * kept (a bit each), and whole from then on, with the new since. */
static void expect_damaged(unsigned kept, size_t at)
{
	struct used u;

	if (!CHECK(reopen(&u, CAP, 700) == USED_FILE_DAMAGED)) {
		printf("\tat %zu\n", at);
		return;
	}
	for (int again = 0; again < 2; again++) {
		CHECK(u.since_ms == 700);
		for (uint32_t i = 0; i < FILLED; i++)
			if (!CHECK(check(&u, i, 1000 + i) ==
			    (kept >> i & 1 ? WHY_TOKEN_USED : WHY_OK)))
				printf("\tat %zu\n", at);
		drop(&u);
		CHECK(reopen(&u, CAP, 800) == USED_FILE_WHOLE);
	}
	for (uint32_t i = 10; u.n < CAP; i++)
		CHECK(add(&u, i, 2000) == WHY_OK);
	drop(&u);
	CHECK(reopen(&u, 1, 800) == USED_FILE_WHOLE && u.n == CAP && u.since_ms == 700);
	drop(&u);
}

static void file_cut(void)
{
	uint8_t whole[(CAP + 1) * SLOT + 1];
	const size_t n = sample(whole, sizeof whole);
	struct used u;

	CHECK(n == (CAP + 1) * SLOT);
	for (size_t cut = 1; cut < n; cut++) {
		const size_t slots = cut < SLOT ? 0 : cut / SLOT - 1;

		spill(whole, cut);
		expect_damaged(slots >= FILLED ? 15 : (1u << slots) - 1, cut);
	}
	spill(whole, 0);
	CHECK(reopen(&u, CAP, 700) == USED_FILE_NEW && u.n == 0 && u.since_ms == 700);
	drop(&u);

	/* Cut, and made longer again by someone: zeros before what is not, or a part. */
	for (size_t cut = SLOT; cut < (FILLED + 1) * SLOT; cut++) {
		uint8_t copy[sizeof whole] = {0};

		memcpy(copy, whole, n);
		memset(copy + cut, 0, cut % SLOT ? SLOT - cut % SLOT : SLOT);
		if (cut >= FILLED * SLOT && cut % SLOT == 0)
			continue;	/* as if the last had not been written */
		spill(copy, n);
		expect_damaged(15u & ~(1u << (cut / SLOT - 1)), cut);
	}
}

static void file_damage(void)
{
	uint8_t whole[(CAP + 1) * SLOT + 1];
	const size_t n = sample(whole, sizeof whole);
	uint64_t seed = 11;

	for (size_t at = 8; at < n; at++) {
		const unsigned slot = (unsigned)(at / SLOT);
		const unsigned kept = slot == 0 || slot > FILLED ? 15 : 15u & ~(1u << (slot - 1));

		for (int k = 0; k < 4; k++) {
			uint8_t copy[sizeof whole];

			memcpy(copy, whole, n);
			copy[at] ^= (uint8_t)(k == 0 ? 1 : k == 1 ? 0x80 :
			    1 + check_random(&seed) % 255);
			spill(copy, n);
			expect_damaged(kept, at);
		}
	}

	/* A whole slot of noise, and a header of it behind the magic. */
	for (size_t at = 8; at < n; at = at / SLOT * SLOT + SLOT) {
		uint8_t copy[sizeof whole];
		const unsigned slot = (unsigned)(at / SLOT);

		memcpy(copy, whole, n);
		for (size_t i = at; i < (slot + 1) * SLOT; i++)
			copy[i] = (uint8_t)check_random(&seed);
		spill(copy, n);
		expect_damaged(slot == 0 || slot > FILLED ? 15 : 15u & ~(1u << (slot - 1)), at);
	}
}

/* Without its header's capacity, the file still says how much there is to keep. */
static void file_damage_capacity(void)
{
	uint8_t whole[(CAP + 1) * SLOT + 1];
	const size_t n = sample(whole, sizeof whole);
	struct used u;

	memset(whole + 8, 0xff, SLOT - 8);
	spill(whole, n);
	CHECK(reopen(&u, 1, 700) == USED_FILE_DAMAGED && u.cap == FILLED && u.n == FILLED);
	drop(&u);
	memset(whole + 8, 0, SLOT - 8);
	spill(whole, n);
	CHECK(reopen(&u, 9, 700) == USED_FILE_DAMAGED && u.cap == 9 && u.n == FILLED);
	drop(&u);
	CHECK(reopen(&u, 1, 0) == USED_FILE_WHOLE && u.cap == 9 && u.since_ms == 700);
	drop(&u);
}

/* Grown and written to, but the header that says so was lost: so may be others of its slots. */
static void file_beyond_header(void)
{
	uint8_t head[SLOT], whole[(CAP + 2) * SLOT];
	struct used u;

	unlink(path);
	CHECK(reopen(&u, CAP, 500) == USED_FILE_NEW);
	drop(&u);
	CHECK(slurp(head, SLOT) == SLOT);
	CHECK(reopen(&u, CAP + 1, 500) == USED_FILE_WHOLE);
	for (uint32_t i = 0; i <= CAP; i++)
		CHECK(add(&u, i, 1000) == WHY_OK);
	drop(&u);
	CHECK(slurp(whole, sizeof whole) == sizeof whole);
	memcpy(whole, head, SLOT);
	spill(whole, sizeof whole);
	CHECK(reopen(&u, 1, 700) == USED_FILE_DAMAGED && u.n == CAP + 1 && u.since_ms == 700);
	drop(&u);
}

/* A token that stands there twice, as we never write it, is entered once. */
static void file_twice(void)
{
	uint8_t whole[(CAP + 1) * SLOT];
	struct used u;

	sample(whole, sizeof whole);
	memcpy(whole + (FILLED + 1) * SLOT, whole + SLOT, SLOT);
	spill(whole, sizeof whole);
	CHECK(reopen(&u, CAP, 700) == USED_FILE_WHOLE && u.n == FILLED);
	for (uint32_t i = 10; i < 10 + CAP - FILLED; i++)
		CHECK(add(&u, i, 2000) == WHY_OK);
	CHECK(check(&u, 20, 2000) == WHY_RING_FULL);
	used_expire(&u, 1003);
	CHECK(u.n == CAP - FILLED);
	drop(&u);
}

static void untouched(const uint8_t *p, size_t n)
{
	static uint8_t now[4096];
	struct used u;
	struct stat before, after;

	spill(p, n);
	CHECK(stat(path, &before) == 0);
	CHECK(reopen(&u, CAP, 1) == USED_FILE_FOREIGN);
	CHECK(stat(path, &after) == 0 && before.st_mode == after.st_mode &&
	    memcmp(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim) == 0);
	CHECK(slurp(now, sizeof now) == n && memcmp(now, p, n) == 0);
}

static void file_foreign(void)
{
	uint8_t whole[(CAP + 1) * SLOT + 1], zeros[3000] = {0};
	const size_t n = sample(whole, sizeof whole);

	untouched((const uint8_t *)"s", 1);
	untouched((const uint8_t *)"sluice", 6);
	untouched((const uint8_t *)"# a config file\nlisten :8080\n", 29);
	untouched(zeros, 1);
	untouched(zeros, sizeof zeros);
	untouched(whole + 1, n - 1);
	for (size_t i = 0; i < 8; i++) {
		whole[i] ^= 0x20;
		untouched(whole, n);
		untouched(whole, i + 1);
		whole[i] ^= 0x20;
	}
}

/* CRC-32 written another way than used.c has it. */
static uint32_t crc(const uint8_t *p, size_t n)
{
	uint32_t c = 0xffffffff;

	for (size_t i = 0; i < n * 8; i++) {
		const uint32_t bit = (c ^ (uint32_t)p[i / 8] >> i % 8) & 1;

		c = c >> 1 ^ (bit ? 0xedb88320 : 0);
	}
	return ~c;
}

/* The layout, byte for byte, so that it cannot change unnoticed; and the next version's
 * file, whole, which is not for us. */
static void file_layout(void)
{
	uint8_t p[(CAP + 1) * SLOT + 1], want[SLOT] = "\x93sluice\n\1\0\0\0\6\0\0\0\xf4\1";
	uint32_t c;

	sample(p, sizeof p);
	c = crc(want, 28);
	for (size_t i = 0; i < 4; i++)
		want[28 + i] = (uint8_t)(c >> 8 * i);
	CHECK_BYTES(p, want, SLOT);
	digest_of(want, 2);
	memcpy(want + 16, "\xea\3\0\0\0\0\0\0\0\0\0\x80", 12);
	c = crc(want, 28);
	for (size_t i = 0; i < 4; i++)
		want[28 + i] = (uint8_t)(c >> 8 * i);
	CHECK_BYTES(p + 3 * SLOT, want, SLOT);
	p[8] = 2;
	c = crc(p, 28);
	for (size_t i = 0; i < 4; i++)
		p[28 + i] = (uint8_t)(c >> 8 * i);
	untouched(p, (CAP + 1) * SLOT);
}

static void file_not_regular(void)
{
	char other[80];
	struct used u;

	snprintf(other, sizeof other, "%s.other", path);
	unlink(path);
	unlink(other);
	CHECK(mkfifo(path, 0600) == 0);
	CHECK(reopen(&u, CAP, 1) == USED_FILE_FOREIGN);
	unlink(path);
	CHECK(mkdir(path, 0700) == 0);
	CHECK(reopen(&u, CAP, 1) == USED_FILE_FOREIGN);
	rmdir(path);
	CHECK(symlink(other, path) == 0);
	CHECK(reopen(&u, CAP, 1) == USED_FILE_FOREIGN);
	CHECK(access(other, F_OK) < 0);
	unlink(path);

	const uint32_t cap = 3;
	uint32_t room = cap;
	int fd = -1;

	CHECK(used_file_open(&fd, &room, "/nowhere/at/all") == USED_FILE_ERROR);
	CHECK(errno == ENOENT && fd == -1 && room == cap);
}

/* Who had the file before us makes it longer while we ask for the lock. */
static void another_grows(void)
{
	int fd = -1;
	uint32_t cap = 2 * CAP;
	struct used u;

	before_lock = NULL;
	const enum used_file what = used_file_open(&fd, &cap, path);

	init(&u, cap, 700);
	CHECK(what == USED_FILE_WHOLE && used_file_load(&u, fd, what));
	for (uint32_t i = 50; i < 50 + CAP; i++)
		CHECK(add(&u, i, 99000) == WHY_OK);
	drop(&u);
}

static void file_grown_before_lock(void)
{
	uint8_t whole[(CAP + 1) * SLOT + 1];
	struct used u;

	sample(whole, sizeof whole);
	before_lock = another_grows;
	CHECK(reopen(&u, CAP, 800) == USED_FILE_WHOLE && u.cap == 2 * CAP);
	for (uint32_t i = 50; i < 50 + CAP; i++)
		CHECK(check(&u, i, 99000) == WHY_TOKEN_USED);
	drop(&u);
}

/* One that was cut is made whole from its head on, and that is safe before there is more. */
static void file_mended_in_order(void)
{
	uint8_t whole[(CAP + 1) * SLOT + 1];
	struct used u;

	sample(whole, sizeof whole);
	spill(whole, 3 * SLOT);
	synced_len = 0;
	CHECK(reopen(&u, CAP, 700) == USED_FILE_DAMAGED && u.since_ms == 700);
	drop(&u);
	CHECK(synced_len == 3 * SLOT && memcmp(synced, whole, SLOT) != 0);
}

static void file_locked(void)
{
	struct used u;
	int fd = -1, ready[2], go[2], status;
	uint32_t cap = CAP;
	char c = 0;

	unlink(path);
	CHECK(reopen(&u, CAP, 1) == USED_FILE_NEW);
	CHECK(used_file_open(&fd, &cap, path) == USED_FILE_LOCKED && fd == -1);
	drop(&u);
	CHECK(pipe(ready) == 0 && pipe(go) == 0);

	const pid_t child = fork();

	if (child == 0) {
		const bool ok = reopen(&u, CAP, 2) == USED_FILE_WHOLE;

		c = (char)(write(ready[1], "x", 1) == 1 && ok);
		_exit(read(go[0], &c, 1) == 1 && ok ? 0 : 1);
	}
	CHECK(read(ready[0], &c, 1) == 1);
	CHECK(used_file_open(&fd, &cap, path) == USED_FILE_LOCKED);
	CHECK(write(go[1], "x", 1) == 1);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(reopen(&u, CAP, 3) == USED_FILE_WHOLE && u.since_ms == 1);
	drop(&u);
	close(ready[0]), close(ready[1]), close(go[0]), close(go[1]);
}

/* A file that cannot be written: the token has not entered, and enters when it can. */
static void file_unwritable(void)
{
	struct used u;
	int fd;

	unlink(path);
	CHECK(reopen(&u, 2, 1) == USED_FILE_NEW);
	fd = u.fd;
	u.fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(add(&u, 1, 10) == WHY_RING_FULL && errno == EBADF);
	CHECK(u.n == 0 && check(&u, 1, 10) == WHY_OK);
	close(u.fd);
	u.fd = fd;
	CHECK(add(&u, 1, 10) == WHY_OK && add(&u, 2, 20) == WHY_OK);
	drop(&u);
	CHECK(reopen(&u, 2, 2) == USED_FILE_WHOLE && u.n == 2);
	drop(&u);
}

static void child_adds(_Atomic uint64_t *done)
{
	struct used u;
	int64_t now = (int64_t)*done;

	if (reopen(&u, 1000, 1) > USED_FILE_DAMAGED)
		_exit(1);
	for (uint64_t id = *done; ; ) {
		used_expire(&u, now);

		const enum why why = add(&u, id, (int64_t)id + 900);

		if (why == WHY_RING_FULL)
			now += 50;
		else
			*done = ++id;
	}
}

/* kill -9 in the middle: what was added is there, and the file is whole. */
static void file_kill(void)
{
	_Atomic uint64_t *done = mmap(NULL, sizeof *done, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	unlink(path);
	*done = 1;
	for (int round = 0; round < 30; round++) {
		const uint64_t before = *done;
		struct used u;
		int status;
		const pid_t child = fork();

		if (child == 0)
			child_adds(done);
		while (*done < before + 200 + (uint64_t)round * 37 &&
		    waitpid(child, &status, WNOHANG) == 0)
			usleep(100);
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		CHECK(WIFSIGNALED(status));
		CHECK(reopen(&u, 1000, 2) == USED_FILE_WHOLE && u.since_ms == 1);
		for (uint64_t id = 1; id < *done; id++)
			CHECK(check(&u, id, (int64_t)id + 900) == WHY_TOKEN_USED);
		CHECK(check(&u, *done + 5000, INT64_MAX) != WHY_TOKEN_USED);
		drop(&u);
	}
	munmap(done, sizeof *done);
}

/* Adding, leaving and opening again, at random, against the model. */
static void file_model(void)
{
	struct model m = { calloc(400, sizeof *m.exp), 0, 400, INT64_MIN };
	uint64_t seed = 5;
	int64_t now = 1000;
	uint32_t cap = 20;
	struct used u;

	unlink(path);
	CHECK(reopen(&u, cap, 1) == USED_FILE_NEW);
	for (int i = 0; i < 30000; i++) {
		const uint32_t id = check_random(&seed) % 400;
		const int64_t exp = now + 1 + check_random(&seed) % 60;

		CHECK(add(&u, id, exp) == model_add(&m, id, exp, cap));
		now += check_random(&seed) % 5;
		used_expire(&u, now);
		model_expire(&m, now);
		if (check_random(&seed) % 50 != 0)
			continue;
		drop(&u);
		if (cap < 60)
			cap += check_random(&seed) % 3;
		CHECK(reopen(&u, cap, 2) == USED_FILE_WHOLE && u.cap == cap);
		used_expire(&u, now);
		CHECK(u.n == m.n && u.let_go_ms == m.let_go && u.since_ms == 1);
		for (uint32_t k = 0; k < 400; k++)
			CHECK((check(&u, k, INT64_MAX) == WHY_TOKEN_USED) == (m.exp[k] != 0));
	}
	drop(&u);
	free(m.exp);
}

static void clean(void)
{
	unlink(path);
}

static void begin(void)
{
	const char *dir = getenv("TMPDIR");

	snprintf(path, sizeof path, "%.32s/sluice-used-%ld", dir != NULL ? dir : "/tmp",
	    (long)getpid());
	atexit(clean);
}

CHECK_MAIN(used, begin(); RUN(fill_and_refuse) RUN(clock_back) RUN(extremes)
    RUN(collisions) RUN(model) RUN(file_reopen) RUN(file_times) RUN(file_capacity)
    RUN(file_cut) RUN(file_damage) RUN(file_damage_capacity) RUN(file_foreign)
    RUN(file_beyond_header) RUN(file_twice)
    RUN(file_layout) RUN(file_not_regular) RUN(file_locked) RUN(file_unwritable)
    RUN(file_grown_before_lock) RUN(file_mended_in_order) RUN(file_kill) RUN(file_model))
