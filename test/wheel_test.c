#include <time.h>

#include "check.h"
#include "wheel.h"

/* The model: an array that is looked through. */
#define IDS 64u
#define TURN_MS (WHEEL_TICK_MS * (int64_t)WHEEL_SLOTS)

static struct wheel w;
static struct wheel_timer timers[IDS];
static int64_t at[IDS];
static int64_t due[IDS];		/* the same, or when it was set if that was later */
static bool is_set[IDS];
static int64_t now;
static uint64_t seed;

static void begin(int64_t now_ms)
{
	memset(timers, 0, sizeof timers);
	memset(is_set, 0, sizeof is_set);
	now = now_ms;
	wheel_init(&w, timers, now);
}

static void set(uint32_t id, int64_t at_ms)
{
	wheel_set(&w, id, at_ms);
	is_set[id] = true;
	at[id] = at_ms;
	due[id] = at_ms > now ? at_ms : now;
}

static void clear(uint32_t id)
{
	wheel_clear(&w, id);
	is_set[id] = false;
}

static int64_t earliest(void)
{
	int64_t first = INT64_MAX;

	for (uint32_t i = 0; i < IDS; i++)
		if (is_set[i] && due[i] < first)
			first = due[i];
	return first;
}

/* Below n, often small. */
static int64_t skewed(int64_t n)
{
	const int64_t v = (int64_t)check_random(&seed) << 31 | check_random(&seed);

	return (v % n) >> check_random(&seed) % 40;
}

static int64_t any_time(void)
{
	switch (check_random(&seed) % 8) {
	case 0:
		return now - skewed(now < 100000 ? now + 1 : 100000);
	case 1:
		return now + skewed(TURN_MS * 5000);
	case 2:					/* in one slot, of several turns */
		return now / TURN_MS * TURN_MS + 96 + TURN_MS * (check_random(&seed) % 4);
	case 3:
		return now;
	default:
		return now + skewed(3 * TURN_MS);
	}
}

/* While a round of pops goes on, as those that are popped do. */
static void meddle(uint32_t popped)
{
	const uint32_t other = check_random(&seed) % IDS;

	switch (check_random(&seed) % 8) {
	case 0:
		set(popped, now + skewed(2 * TURN_MS));
		break;
	case 1:
		clear(other);
		break;
	case 2:
		set(other, any_time());
		break;
	case 3:
		set(popped, now);
		break;
	}
}

static bool pop_all(bool meddling)
{
	uint32_t id;
	unsigned n = 0;

	while ((id = wheel_pop(&w, now)) != WHEEL_NONE) {
		if (!CHECK(id < IDS && is_set[id] && at[id] <= now) || !CHECK(n++ < 100000))
			return false;
		is_set[id] = false;
		if (meddling)
			meddle(id);
	}

	/* Nothing is left that is late by a tick. */
	return CHECK(earliest() > now - WHEEL_TICK_MS);
}

static bool check_sleep(void)
{
	const int64_t first = earliest();
	const int ms = wheel_sleep_ms(&w, now);

	if (first == INT64_MAX)
		return CHECK(ms == -1);
	if (!CHECK(ms >= 0 && ms <= TURN_MS + WHEEL_TICK_MS))
		return false;
	return CHECK(now + ms <= (first > now ? first : now) + WHEEL_TICK_MS);
}

static bool step(void)
{
	const uint32_t id = check_random(&seed) % IDS, op = check_random(&seed) % 16;

	if (op < 6)
		set(id, any_time());
	else if (op < 8)
		clear(id);
	else if (op < 13)
		now += skewed(op == 8 ? TURN_MS * 3 : 500);
	else if (op == 13)
		now += check_random(&seed) % 64 ? 1 : skewed(12 * 3600000);

	/* Popped late: what is due stays due. */
	if (op < 8 && !check_sleep())
		return false;
	return op < 12 || (pop_all(op == 15) && check_sleep());
}

static void random_steps(void)
{
	static const int64_t from[] = { 0, 1, 31, 32, TURN_MS - 1, 123456789, (int64_t)1 << 50 };

	for (unsigned round = 0; round < 350; round++) {
		seed = round + 1;
		begin(from[round % (sizeof from / sizeof *from)]);
		for (unsigned i = 0; i < 2000; i++)
			if (!step())
				return;
	}
}

/* As the loop does it: sleep as long as it says, then pop; woken once a turn for each. */
static bool sleep_through(void)
{
	int64_t most = 0, wakes = 0;

	for (uint32_t i = 0; i < IDS / 8; i++) {
		set(i, now + skewed(8 * TURN_MS));
		most = at[i] > most ? at[i] : most;
		wakes += (at[i] - now) / TURN_MS + 1;
	}
	while (earliest() != INT64_MAX) {
		const int ms = wheel_sleep_ms(&w, now);

		if (!CHECK(ms >= 0) || !CHECK(wakes-- > 0))
			return false;
		now += ms;
		if (!pop_all(false))
			return false;
	}
	return CHECK(wheel_sleep_ms(&w, now) == -1 && now <= most + WHEEL_TICK_MS);
}

static void sleep_and_pop(void)
{
	for (unsigned round = 0; round < 100; round++) {
		seed = round + 1;
		begin(skewed(1000000));
		for (int i = 0; i < 4; i++) {
			if (!sleep_through())
				return;
			now += skewed(3600000);		/* with nothing set */
			pop_all(false);
			set(0, now + 5000);
			CHECK(wheel_sleep_ms(&w, now) >= 5000);
			clear(0);
		}
	}
}

/* Every deadline of two turns, popped every millisecond around it. */
static void to_the_tick(void)
{
	for (int64_t d = 0; d < 2 * TURN_MS + 100; d += d % 1024 < 70 ? 1 : 61) {
		begin(1000 + d % 97);
		set(5, now + d);
		now += d;
		for (int i = 0; i <= WHEEL_TICK_MS && is_set[5]; i++, now++)
			if (!pop_all(false))
				return;
		if (!CHECK(!is_set[5]))
			return;
	}
}

/* One that is always overdue comes round by round, not for ever in one. */
static void overdue(void)
{
	begin(1000000);
	for (int round = 0; round < 100; round++) {
		unsigned n = 0;

		set(3, round % 2 ? 0 : now - 1000);
		CHECK(wheel_sleep_ms(&w, now) <= WHEEL_TICK_MS);
		now += WHEEL_TICK_MS;
		while (wheel_pop(&w, now) == 3 && n < 100) {
			n++;
			wheel_set(&w, 3, now - 1000);
		}
		CHECK(n >= 1 && n < 5);
		wheel_clear(&w, 3);
		CHECK(wheel_sleep_ms(&w, now) == -1);
	}
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Those of a later turn are met once a turn, however many of this one share their slot. */
static void crowded_slot(void)
{
	enum { MANY = 200000 };
	struct wheel_timer *many = calloc(MANY, sizeof *many);
	const double from = seconds();
	unsigned n = 0;
	uint32_t id;

	wheel_init(&w, many, 0);
	for (uint32_t i = 0; i < MANY; i++)
		wheel_set(&w, i, 64 + (i % 2 ? 0 : 3 * TURN_MS));
	for (int64_t t = 0; t < 2 * TURN_MS; t += 10)
		while ((id = wheel_pop(&w, t)) != WHEEL_NONE)
			n += CHECK(id % 2 == 1);
	CHECK(n == MANY / 2);
	for (int64_t t = 2 * TURN_MS; t < 4 * TURN_MS; t += 1000)
		while (wheel_pop(&w, t) != WHEEL_NONE)
			n++;
	CHECK(n == MANY && wheel_sleep_ms(&w, 4 * TURN_MS) == -1);
	CHECK(seconds() - from < 3);
	free(many);
}

/* After hours asleep all that is due comes, and only that. */
static void jump(void)
{
	for (unsigned round = 0; round < 50; round++) {
		seed = round + 1;
		begin(skewed(100000));
		for (uint32_t i = 0; i < IDS; i++)
			set(i, now + (i % 2 ? skewed(3600000) : 48 * 3600000 + skewed(3600000)));
		now += 24 * 3600000;
		if (!pop_all(false))
			return;
		for (uint32_t i = 0; i < IDS; i++)
			CHECK(is_set[i] == (i % 2 == 0));
	}
}

CHECK_MAIN(wheel, RUN(random_steps) RUN(sleep_and_pop) RUN(to_the_tick) RUN(overdue)
    RUN(crowded_slot) RUN(jump))
