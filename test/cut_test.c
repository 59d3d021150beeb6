#include "check.h"
#include "cut.h"

/* What came out, as text: a mark for each result, its length and its bytes. */
struct list {
	uint8_t s[4096];
	size_t  n;
};

struct stream {
	enum framing framing;
	size_t  max;
	const uint8_t *p;
	size_t  n;
	struct list want;
};

static void note(struct list *l, enum cut_result r, const uint8_t *p, size_t n)
{
	const uint8_t head[3] = { (uint8_t)r, (uint8_t)(n >> 8), (uint8_t)n };

	if (l->n + sizeof head + n > sizeof l->s)
		abort();
	memcpy(l->s + l->n, head, sizeof head);
	if (n > 0)
		memcpy(l->s + l->n + sizeof head, p, n);
	l->n += sizeof head + n;
}

static void note_message(struct list *l, const struct stream *s, size_t at, size_t n)
{
	if (n <= s->max)
		note(l, CUT_MESSAGE, s->p + at, n);
	else
		note(l, CUT_TOO_LARGE, NULL, 0);
}

/* The contract, with all of the stream before it. */
static void oracle_delimited(struct list *l, const struct stream *s)
{
	const uint8_t delimiter = s->framing == FRAMING_LINES ? '\n' : 0;
	size_t start = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (s->p[i] != delimiter)
			continue;
		const bool cr = delimiter && i > start && s->p[i - 1] == '\r';

		note_message(l, s, start, i - start - cr);
		start = i + 1;
	}
	if (start < s->n)
		note_message(l, s, start, s->n - start);
}

static void oracle_len32(struct list *l, const struct stream *s)
{
	size_t at = 0;

	while (s->n - at >= 4) {
		uint64_t len = 0;

		for (int i = 0; i < 4; i++)
			len = len * 256 + s->p[at++];
		if (len > s->max)
			note(l, CUT_TOO_LARGE, NULL, 0);
		if (len > s->n - at) {
			note(l, CUT_TRUNCATED, NULL, 0);
			return;
		}
		if (len <= s->max)
			note(l, CUT_MESSAGE, s->p + at, (size_t)len);
		at += (size_t)len;
	}
	if (at < s->n)
		note(l, CUT_TRUNCATED, NULL, 0);
}

static void oracle(struct list *l, const struct stream *s)
{
	l->n = 0;
	if (s->framing == FRAMING_LEN32)
		oracle_len32(l, s);
	else
		oracle_delimited(l, s);
}

/* All that there is now, each message asked for twice. */
static void take(struct cut *c, struct list *l)
{
	const uint8_t *p, *again;
	size_t n, m;
	enum cut_result r;

	while ((r = cut_next(c, &p, &n)) != CUT_MORE) {
		if (r != CUT_MESSAGE) {
			note(l, r, NULL, 0);
			continue;
		}
		CHECK(cut_next(c, &again, &m) == CUT_MESSAGE && again == p && m == n);
		note(l, r, p, n);
		cut_done(c);
	}
	CHECK(cut_next(c, &p, &n) == CUT_MORE);
}

static void put(struct cut *c, struct list *l, const uint8_t *p, size_t n)
{
	while (n > 0) {
		size_t room;
		uint8_t *to = cut_room(c, &room);
		const size_t part = room < n ? room : n;

		if (!CHECK(room > 0))
			return;
		memcpy(to, p, part);
		cut_read(c, part);
		take(c, l);
		p += part;
		n -= part;
	}
}

static void end(struct cut *c, struct list *l)
{
	cut_end(c);
	take(c, l);
}

static void begin(struct cut *c, const struct stream *s)
{
	uint8_t *buf = guard(2, NULL, cut_size(s->max));

	buf[-1] = '\r';				/* in front of it, where nobody looks */
	cut_init(c, buf, s->framing, s->max);
}

static bool same(const struct stream *s, const struct list *l)
{
	return CHECK(l->n == s->want.n && memcmp(l->s, s->want.s, l->n) == 0);
}

static void show(const struct stream *s)
{
	printf("framing %u, max %zu:", s->framing, s->max);
	for (size_t i = 0; i < s->n; i++)
		printf(" %02x", s->p[i]);
	printf("\n");
}

static void feed(void *arg, const uint8_t *a, size_t an, const uint8_t *b, size_t bn)
{
	const struct stream *s = arg;
	struct list got = { .n = 0 };
	struct cut c;

	begin(&c, s);
	put(&c, &got, a, an);
	put(&c, &got, b, bn);
	end(&c, &got);
	if (!same(s, &got))
		show(s);
}

static void feed_bytes(struct stream *s)
{
	struct list got = { .n = 0 };
	struct cut c;

	begin(&c, s);
	for (size_t i = 0; i < s->n; i++)
		put(&c, &got, s->p + i, 1);
	end(&c, &got);
	if (!same(s, &got))
		show(s);
}

static void every_way(struct stream *s)
{
	oracle(&s->want, s);
	every_split(s->p, s->n, feed, s);
	feed_bytes(s);
}

/* Every stream of up to len letters. */
static void all_streams(enum framing framing, size_t max, const uint8_t *letter, unsigned letters,
    size_t len)
{
	uint8_t text[16];
	unsigned digit[16];

	for (size_t n = 0; n <= len; n++) {
		size_t i = 0;

		memset(digit, 0, sizeof digit);
		memset(text, letter[0], sizeof text);
		while (i < n || n == 0) {
			struct stream s = { .framing = framing, .max = max, .p = text, .n = n };

			every_way(&s);
			for (i = 0; i < n && ++digit[i] == letters; i++)
				text[i] = letter[digit[i] = 0];
			if (i >= n)
				break;
			text[i] = letter[digit[i]];
		}
	}
}

static void exhaustive(void)
{
	static const uint8_t line[] = { 'a', '\r', '\n' }, nul[] = { 'a', 0, '\n', '\r' },
	    len[] = { 0, 1, 5 };
	const unsigned bad = check_bad;

	for (size_t max = 1; max <= 4 && check_bad == bad; max++) {
		all_streams(FRAMING_LINES, max, line, sizeof line, 9);
		all_streams(FRAMING_NUL, max, nul, sizeof nul, 7);
		all_streams(FRAMING_LEN32, max, len, sizeof len, 9);
	}
}

/* Mostly short lengths and lone delimiters, now and then one that is over the limit. */
static size_t any_stream(uint8_t *p, enum framing framing, size_t most, size_t max, uint64_t *seed)
{
	size_t n = 0;

	while (n + 2 * max + 16 < most) {
		const uint32_t pick = check_random(seed) % 8;
		size_t len = pick == 0 ? max : pick == 1 ? max + 1 : pick == 2 ? max + 2 :
		    pick == 3 ? 0 : check_random(seed) % (pick == 4 ? 2 * max + 8 : max + 1);

		if (framing == FRAMING_LEN32) {
			p[n++] = 0;
			p[n++] = 0;
			p[n++] = (uint8_t)(len >> 8);
			p[n++] = (uint8_t)len;
		}
		while (len-- > 0)
			p[n++] = check_random(seed) % 16 ? 'x' : '\r';
		if (framing == FRAMING_LINES && check_random(seed) % 2)
			p[n++] = '\r';
		if (framing == FRAMING_LINES || framing == FRAMING_NUL)
			p[n++] = framing == FRAMING_LINES ? '\n' : 0;
	}
	return n - check_random(seed) % 4;
}

static void random_streams(void)
{
	static uint8_t text[1500];
	uint64_t seed = 7;

	for (unsigned i = 0; i < 6000; i++) {
		const enum framing framing = (enum framing)(i % 3);
		struct stream s = { .framing = framing, .max = 1 + check_random(&seed) % 300, .p = text };
		struct list got = { .n = 0 };
		struct cut c;

		s.n = any_stream(text, framing, 60 + check_random(&seed) % 1440, s.max, &seed);
		if (s.n > sizeof text)
			continue;
		oracle(&s.want, &s);
		begin(&c, &s);
		for (size_t at = 0, n; at < s.n; at += n) {
			n = 1 + check_random(&seed) % (check_random(&seed) % 2 ? 8 : 400);
			n = n < s.n - at ? n : s.n - at;
			put(&c, &got, guard(0, text + at, n), n);
		}
		end(&c, &got);
		same(&s, &got);
	}
}

/* One message of len bytes, in pieces; r is what becomes of it. */
static void one(enum framing framing, size_t max, size_t len, size_t piece, bool cr, bool delimiter,
    enum cut_result want)
{
	const size_t from = framing == FRAMING_LEN32 ? 4 : 0;
	const size_t n = from + len + cr + delimiter;
	uint8_t *text = malloc(n + 1);
	struct cut c;
	const uint8_t *p;
	size_t room, got = 0;
	enum cut_result r = CUT_MORE;

	memset(text, 'x', n);
	for (size_t i = 0; i < from; i++)
		text[i] = (uint8_t)(len >> (24 - 8 * i));
	if (cr)
		text[n - 1 - delimiter] = '\r';
	if (delimiter)
		text[n - 1] = framing == FRAMING_LINES ? '\n' : 0;
	cut_init(&c, guard(2, NULL, cut_size(max)), framing, max);
	for (size_t at = 0, part; at < n && r == CUT_MORE; at += part) {
		uint8_t *to = cut_room(&c, &room);

		if (!CHECK(room > 0))
			break;
		part = piece < room ? piece : room;
		part = part < n - at ? part : n - at;
		memcpy(to, text + at, part);
		cut_read(&c, part);
		r = cut_next(&c, &p, &got);
	}
	if (r == CUT_MORE) {
		cut_end(&c);
		r = cut_next(&c, &p, &got);
	}
	if (!CHECK(r == want) || (want == CUT_MESSAGE && !CHECK(got == len && p[0] == 'x')))
		printf("framing %u, max %zu, len %zu, piece %zu\n", framing, max, len, piece);
	free(text);
}

/* At the limit and one over it, for limits around what a read brings, up to 1 MiB. */
static void limits(void)
{
	static const size_t max[] = { 1, 2, 4, 65530, 65531, 65532, 65533, 65535, 65536, 1 << 20 };
	static const size_t piece[] = { 1000, 65536, SIZE_MAX };

	for (size_t i = 0; i < sizeof max / sizeof *max; i++) {
		for (size_t k = 0; k < sizeof piece / sizeof *piece; k++) {
			const size_t m = max[i], s = piece[k];

			one(FRAMING_LINES, m, m, s, false, true, CUT_MESSAGE);
			one(FRAMING_LINES, m, m, s, true, true, CUT_MESSAGE);
			one(FRAMING_LINES, m, m, s, false, false, CUT_MESSAGE);
			one(FRAMING_LINES, m, m + 1, s, false, true, CUT_TOO_LARGE);
			one(FRAMING_LINES, m, m + 1, s, true, true, CUT_TOO_LARGE);
			one(FRAMING_LINES, m, m, s, true, false, CUT_TOO_LARGE);
			one(FRAMING_NUL, m, m, s, false, true, CUT_MESSAGE);
			one(FRAMING_NUL, m, m, s, false, false, CUT_MESSAGE);
			one(FRAMING_NUL, m, m + 1, s, false, true, CUT_TOO_LARGE);
			one(FRAMING_LEN32, m, m, s, false, false, CUT_MESSAGE);
			one(FRAMING_LEN32, m, m + 1, s, false, false, CUT_TOO_LARGE);
		}
	}
}

/* Lengths up to the largest that can be said: one CUT_TOO_LARGE, no memory, and the next message
 * is right. */
static void len32_huge(void)
{
	static const uint32_t lens[] = { 11, 65536, 70000, 0x7fffffff, 0x80000000, 0xffffffff };
	static const uint8_t next[] = { 0, 0, 0, 2, 'o', 'k' };

	for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
		struct stream s = { .framing = FRAMING_LEN32, .max = 10 };
		struct list got = { .n = 0 };
		uint8_t head[4];
		struct cut c;

		for (int k = 0; k < 4; k++)
			head[k] = (uint8_t)(lens[i] >> (24 - 8 * k));
		begin(&c, &s);
		put(&c, &got, head, sizeof head);
		for (uint64_t left = lens[i]; left > 0;) {
			size_t room;

			cut_room(&c, &room);
			room = left < room ? (size_t)left : room;
			cut_read(&c, room);
			take(&c, &got);
			left -= room;
		}
		note(&s.want, CUT_TOO_LARGE, NULL, 0);
		same(&s, &got);
		put(&c, &got, next, sizeof next);
		note(&s.want, CUT_MESSAGE, (const uint8_t *)"ok", 2);
		end(&c, &got);
		same(&s, &got);
	}
}

/* A line without an end takes no memory either. */
static void endless_line(void)
{
	struct stream s = { .framing = FRAMING_LINES, .max = 100 };
	struct list got = { .n = 0 };
	struct cut c;

	begin(&c, &s);
	for (int i = 0; i < 2000; i++) {
		size_t room;
		uint8_t *p = cut_room(&c, &room);

		memset(p, 'x', room);
		cut_read(&c, room);
		take(&c, &got);
	}
	put(&c, &got, (const uint8_t *)"\r\nok\r\n", 6);
	note(&s.want, CUT_TOO_LARGE, NULL, 0);
	note(&s.want, CUT_MESSAGE, (const uint8_t *)"ok", 2);
	end(&c, &got);
	same(&s, &got);
}

/* A read is a message, and never longer than one may be. */
static void chunks(void)
{
	static const size_t max[] = { 1, 5, 65536, 100000 };
	uint64_t seed = 3;

	for (size_t i = 0; i < sizeof max / sizeof *max; i++) {
		struct cut c;
		const uint8_t *p;
		size_t room, n;

		cut_init(&c, guard(2, NULL, cut_size(max[i])), FRAMING_CHUNK, max[i]);
		for (unsigned k = 0; k < 100; k++) {
			uint8_t *to = cut_room(&c, &room);

			if (!CHECK(room > 0 && room <= max[i]))
				break;
			room = k % 3 ? 1 + check_random(&seed) % room : room;
			memset(to, (int)k, room);
			cut_read(&c, room);
			for (int twice = 0; twice < 2; twice++)
				CHECK(cut_next(&c, &p, &n) == CUT_MESSAGE && n == room && p[0] == k);
			cut_done(&c);
			CHECK(cut_next(&c, &p, &n) == CUT_MORE);
		}
		cut_end(&c);
		CHECK(cut_next(&c, &p, &n) == CUT_MORE);
	}
}

CHECK_MAIN(cut, RUN(exhaustive) RUN(random_streams) RUN(limits) RUN(len32_huge)
    RUN(endless_line) RUN(chunks))
