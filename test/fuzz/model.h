/* model.h - for conn_fuzz.c: what was published, and what each reader is to get.
 *
 * Told by the peers (what they mean to publish) and by the server (what it does publish, and what
 * a reader has asked for, at which byte of what was sent to it). Knows no sockets. */

#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub.h"
#include "utf8.h"

#define MUST(e) do { \
	if (!(e)) { \
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #e); \
		abort(); \
	} \
} while (0)

#define MESSAGES 2048u
#define SUBJECTS 4u
#define NAMES 8u
#define OTHER NAMES		/* a name that is none of ours */
#define TURNS 64u

/* ---- subjects, and patterns behind them ---- */

static const char *const names[NAMES] = { "/", "/b", "/c/d", "/c/e", "/*", "/+", "/c/*", "/c/+" };
static const uint8_t covers[NAMES] = { 1, 2, 4, 8, 14, 2, 12, 12 };	/* a bit for each subject */

static uint32_t name_find(const void *s, size_t n)
{
	uint32_t i = 0;

	while (i < NAMES && (strlen(names[i]) != n || memcmp(names[i], s, n) != 0))
		i++;
	return i;
}

/* ---- what is published ---- */

struct message {
	uint64_t number;
	size_t   len;
	uint8_t *text;			/* as the ring has it */
};

static struct message messages[SUBJECTS][MESSAGES];	/* number 1 first */
static uint64_t last_number[SUBJECTS];

/* Bytes that are no UTF-8 replaced; the copy is the caller's. */
static uint8_t *replaced(const uint8_t *p, size_t n, size_t *len)
{
	uint8_t *copy = malloc(3 * n + 1);

	MUST(copy != NULL);
	*len = n;
	if (utf8_valid(p, n)) {
		if (n > 0)
			memcpy(copy, p, n);
	} else {
		*len = utf8_replaced_len(p, n);
		utf8_replace(copy, p, n);
	}
	return copy;
}

static void message_add(uint32_t subject, const uint8_t *p, size_t n, bool binary)
{
	if (subject >= SUBJECTS)
		return;
	MUST(last_number[subject] < MESSAGES);
	struct message *m = &messages[subject][last_number[subject]++];

	m->number = last_number[subject];
	if (!binary) {
		m->text = replaced(p, n, &m->len);
		return;
	}
	m->len = n;
	m->text = malloc(n + 1);
	MUST(m->text != NULL);
	if (n > 0)
		memcpy(m->text, p, n);
}

static void messages_free(void)
{
	for (uint32_t s = 0; s < SUBJECTS; s++)
		while (last_number[s] > 0)
			free(messages[s][--last_number[s]].text);
}

/* ---- what a reader is to get ---- */

/* One subscription, or the subject of a reader of one: from which number on. */
struct due {
	bool     on;
	uint64_t next[SUBJECTS];
	uint64_t sent[SUBJECTS];	/* was being sent when it began, and is not sent once more */
};

enum turn_what { TURN_SUB, TURN_UNSUB, TURN_END, TURN_SKIP };

/* It holds for what begins at that byte of all that was sent, or later. */
struct turn {
	uint64_t at;
	enum turn_what what;
	uint32_t name;
	uint64_t missed;		/* of a since; HUB_UNKNOWN */
	struct due due;			/* of TURN_SKIP: next, for all that it has */
};

struct reader {
	struct due due[NAMES];
	struct turn turn[TURNS];
	uint32_t turns, done;
	uint32_t ended[NAMES];		/* subscriptions that are to be told of */
	uint64_t missed, told;		/* messages that it does not get; of which gaps have told */
	bool     unknown;		/* a gap that nobody can count */
	bool     vague;			/* what is missed went with a subscription */
	bool     lost;			/* no longer followed: what comes is looked at one by one */
};

static void reader_begin(struct reader *r)
{
	memset(r, 0, sizeof *r);
}

static void reader_turn(struct reader *r, const struct turn *t)
{
	if (r->turns == TURNS) {
		memmove(r->turn, r->turn + r->done, (r->turns - r->done) * sizeof *r->turn);
		r->turns -= r->done;
		r->done = 0;
	}
	if (r->turns == TURNS || t->name == OTHER)
		r->lost = true;
	else
		r->turn[r->turns++] = *t;
}

/* The next number of that subject, or 0: it gets none. */
static uint64_t reader_next(const struct reader *r, uint32_t s)
{
	uint64_t next = 0;

	for (uint32_t i = 0; i < NAMES; i++) {
		const struct due *d = &r->due[i];
		uint64_t n = d->next[s];

		if (!d->on || !(covers[i] >> s & 1))
			continue;
		n += n == d->sent[s];
		if (next == 0 || n < next)
			next = n;
	}
	return next;
}

/* All subscriptions have got that subject up to, but not with, this number. */
static void reader_pass(struct reader *r, uint32_t s, uint64_t number)
{
	for (uint32_t i = 0; i < NAMES; i++)
		if (r->due[i].next[s] < number)
			r->due[i].next[s] = number;
}

static void skip(struct reader *r, const struct turn *t)
{
	for (uint32_t s = 0; s < SUBJECTS; s++) {
		for (uint64_t n; (n = reader_next(r, s)) != 0 && n < t->due.next[s]; r->missed++)
			reader_pass(r, s, n + 1);
		reader_pass(r, s, t->due.next[s]);
	}
}

static void turn_take(struct reader *r, const struct turn *t)
{
	if (t->what == TURN_SKIP) {
		skip(r, t);
		return;
	}
	struct due *d = &r->due[t->name];

	r->vague |= d->on && (r->missed != r->told || r->unknown);
	d->on = false;
	r->ended[t->name] += t->what == TURN_END;
	if (t->what != TURN_SUB)
		return;
	*d = t->due;
	d->on = true;
	if (t->missed == HUB_UNKNOWN)
		r->unknown = true;
	else
		r->missed += t->missed;
}

/* What comes now began at that byte. */
static void reader_at(struct reader *r, uint64_t at)
{
	while (r->done < r->turns && r->turn[r->done].at <= at)
		turn_take(r, &r->turn[r->done++]);
}

/* Message number n of subject s has come. */
static const struct message *reader_got(struct reader *r, uint32_t s, uint64_t n)
{
	MUST(s < SUBJECTS && n > 0 && n <= last_number[s]);
	if (!r->lost)
		MUST(n == reader_next(r, s));
	reader_pass(r, s, n + 1);
	return &messages[s][n - 1];
}

static void reader_gap(struct reader *r, bool counted, uint64_t missed)
{
	if (r->lost)
		return;
	if (!counted) {
		MUST(r->unknown);
		r->vague = true;		/* the rest is counted in it */
		return;
	}
	r->told += missed;
	MUST(missed > 0 && r->told <= r->missed);
}

/* All that was sent has come: nothing is lost. */
static void reader_check(const struct reader *r, bool gaps)
{
	if (r->lost)
		return;
	MUST(r->done == r->turns);
	for (uint32_t s = 0; s < SUBJECTS; s++) {
		const uint64_t next = reader_next(r, s);

		MUST(next == 0 || next == last_number[s] + 1);
	}
	if (gaps && !r->vague)
		MUST(r->told == r->missed && !r->unknown);
}

/* ---- what the hub is asked ---- */

/* The first number that a reader is to get who asks for that; of one subject. */
static uint64_t wanted(const struct hub *h, uint32_t s, const struct hub_replay *replay, bool since,
    uint64_t *missed)
{
	const uint32_t i = hub_find(h, names[s], strlen(names[s]));
	const uint64_t number = last_number[s], count = i == HUB_NONE ? 0 : h->subject[i].count;
	const uint64_t oldest = number - count + 1;

	MUST(i == HUB_NONE ? number == 0 : h->subject[i].number == number);
	*missed = 0;
	if (!since)
		return number + 1 - (replay->count < count ? replay->count : count);
	if (replay->after == HUB_UNKNOWN || replay->after > number)
		*missed = HUB_UNKNOWN;
	else if (replay->after >= number - count)
		return replay->after + 1;
	else
		*missed = number - count - replay->after;
	return oldest;
}

static void turn_wanted(struct turn *t, const struct hub *h, const struct hub_replay *replay)
{
	t->missed = 0;
	for (uint32_t s = 0; s < SUBJECTS; s++) {
		uint64_t missed;

		t->due.next[s] = wanted(h, s, replay, replay->since && t->name == s, &missed);
		if (t->name == s)
			t->missed = missed;
	}
}

/* Of each subject, the first number from record i on. */
static void turn_from(struct turn *t, const struct hub *h, uint64_t i)
{
	for (uint32_t s = 0; s < SUBJECTS; s++) {	/* one more may be on its way to the hub */
		const uint32_t e = hub_find(h, names[s], strlen(names[s]));

		t->due.next[s] = e == HUB_NONE ? 1 : h->subject[e].number + 1;
	}
	for (; i != RING_NONE && i < h->ring.head; i++) {
		struct hub_message m;

		hub_message(h, i, &m);
		const struct hub_subject *e = &h->subject[m.subject];
		const uint32_t s = name_find(e->name, e->len);

		if (s < SUBJECTS && m.number < t->due.next[s])
			t->due.next[s] = m.number;
	}
}

/* The last count of each subject before record live, and what came from then on. */
static void turn_as_of(struct turn *t, const struct hub *h, uint64_t live, uint64_t count)
{
	turn_from(t, h, live);
	for (uint32_t s = 0; s < SUBJECTS; s++) {
		const uint32_t e = hub_find(h, names[s], strlen(names[s]));
		const uint64_t oldest = e == HUB_NONE ? 1 : h->subject[e].number - h->subject[e].count + 1;
		const uint64_t have = t->due.next[s] - oldest;

		t->due.next[s] -= count < have ? count : have;
	}
}

#endif
