#include "check.h"
#include "limits.h"
#include "subject.h"

static bool subject(const char *s)
{
	const size_t n = strlen(s);

	return subject_valid(guard(0, s, n), n);
}

static bool pattern(const char *s)
{
	const size_t n = strlen(s);

	return subject_pattern_valid(guard(0, s, n), n);
}

static bool match(const char *p, const char *s)
{
	const size_t pn = strlen(p), sn = strlen(s);

	return subject_match(guard(0, p, pn), pn, guard(1, s, sn), sn);
}

static void validity(void)
{
	enum { NEITHER, PATTERN, BOTH };
	static const struct { const char *s; int what; } rows[] = {
		{ "/", BOTH }, { "/a", BOTH }, { "/plant/boiler/temp", BOTH },
		{ "/a b", BOTH }, { "/ ", BOTH }, { "/a:b@c,d;e=f&g#h?i%j", BOTH },
		{ "/...", BOTH }, { "/.a", BOTH }, { "/a.", BOTH }, { "/..a", BOTH },
		{ "/a/...", BOTH }, { "/%2F", BOTH }, { "/\\", BOTH }, { "/~", BOTH },
		{ "/\xc3\xa9", BOTH }, { "/\xf4\x8f\xbf\xbf/\xe2\x82\xac", BOTH },

		{ "/+", PATTERN }, { "/*", PATTERN }, { "/+/+", PATTERN }, { "/a/+/b", PATTERN },
		{ "/a/*", PATTERN }, { "/+/*", PATTERN }, { "/+/a/+/*", PATTERN },

		{ "", NEITHER }, { "a", NEITHER }, { "a/b", NEITHER }, { "*", NEITHER },
		{ "+", NEITHER }, { "//", NEITHER }, { "/a/", NEITHER }, { "//a", NEITHER },
		{ "/a//b", NEITHER }, { "/+/", NEITHER }, { "/*/", NEITHER }, { "/./a", NEITHER },
		{ "/.", NEITHER }, { "/..", NEITHER }, { "/a/.", NEITHER }, { "/a/..", NEITHER },
		{ "/a/../b", NEITHER }, { "/*/a", NEITHER }, { "/*/*", NEITHER },
		{ "/*/+", NEITHER }, { "/a+", NEITHER }, { "/+a", NEITHER }, { "/a*", NEITHER },
		{ "/*a", NEITHER }, { "/**", NEITHER }, { "/++", NEITHER }, { "/+*", NEITHER },
		{ "/a/b*/c", NEITHER }, { "/\x01", NEITHER }, { "/a\x1f", NEITHER },
		{ "/a\x7f", NEITHER }, { "/a\n", NEITHER }, { "/\t", NEITHER },
		{ "/\xff", NEITHER }, { "/\xc3", NEITHER }, { "/\xc3/\xa9", NEITHER },
		{ "/\xc0\xaf", NEITHER }, { "/\xed\xa0\x80", NEITHER },
		{ "/\xf4\x90\x80\x80", NEITHER }, { "/a/\xe2\x82", NEITHER },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const bool s = CHECK(subject(rows[i].s) == (rows[i].what == BOTH));
		const bool p = CHECK(pattern(rows[i].s) == (rows[i].what != NEITHER));

		if (!s || !p)
			printf("\t%s\n", rows[i].s);
	}
	CHECK(!subject_valid(guard(0, "/\0", 2), 2));
	CHECK(!subject_pattern_valid(guard(0, "/\0", 2), 2));
	CHECK(!subject_valid(guard(0, "/a\0b", 4), 4));
}

/* Every length around the limit; characters that are longer than a byte count by byte. */
static void length(void)
{
	uint8_t s[SUBJECT_MAX + 3];

	memset(s, 'a', sizeof s);
	s[0] = '/';
	for (size_t n = 1; n <= sizeof s; n++) {
		CHECK(subject_valid(guard(0, s, n), n) == (n <= 255));
		CHECK(subject_pattern_valid(guard(0, s, n), n) == (n <= 255));
	}
	for (size_t i = 1; i + 2 <= 255; i += 2)
		memcpy(s + i, "\xc3\xa9", 2);
	CHECK(subject_valid(guard(0, s, 255), 255));
	CHECK(!subject_valid(guard(0, s, 254), 254));	/* ends within a character */
}

static void every_byte(void)
{
	for (unsigned c = 0; c < 256; c++) {
		const uint8_t s[4] = { '/', 'a', (uint8_t)c, 'b' };
		const bool ok = c >= 0x20 && c < 0x7f && c != '+' && c != '*';

		CHECK(subject_valid(guard(0, s, 4), 4) == ok);
		CHECK(subject_pattern_valid(guard(0, s, 4), 4) == ok);
	}
}

/* The contract, said again, and slowly: a list of segments, each with its slash. */
static size_t segment(const char *s)
{
	return 1 + strcspn(s + 1, "/");
}

static bool oracle_valid(const char *s, bool is_pattern)
{
	if (s[0] != '/')
		return false;

	const size_t n = segment(s);
	const bool last = s[n] == '\0';

	if (n == 1 || (n == 2 && s[1] == '.') || (n == 3 && s[1] == '.' && s[2] == '.'))
		return false;
	if (strcspn(s, "\x01") < n)
		return false;
	if (strcspn(s, "+*") < n && !(is_pattern && n == 2 && (s[1] == '+' || last)))
		return false;
	return last || oracle_valid(s + n, is_pattern);
}

static bool oracle_match(const char *p, const char *s)
{
	if (*p == '\0' || *s == '\0')
		return *p == *s;

	const size_t pn = segment(p), sn = segment(s);

	if (strcmp(p, "/*") == 0)
		return sn > 1 && (oracle_match("", s + sn) || oracle_match(p, s + sn));
	if (pn == 2 && p[1] == '+')
		return sn > 1 && oracle_match(p + pn, s + sn);
	return pn == sn && memcmp(p, s, pn) == 0 && oracle_match(p + pn, s + sn);
}

/* The i-th string of n characters. */
static void nth(char *s, uint32_t i, size_t n, const char *alphabet)
{
	const uint32_t base = (uint32_t)strlen(alphabet);

	for (size_t k = 0; k < n; k++, i /= base)
		s[k] = alphabet[i % base];
	s[n] = '\0';
}

static uint32_t power(uint32_t base, size_t n)
{
	return n == 0 ? 1 : base * power(base, n - 1);
}

static void all_short_names(void)
{
	static const char alphabet[] = "/a.+*\x01";
	char s[8];

	for (size_t n = 0; n <= 7; n++) {
		for (uint32_t i = 0; i < power(6, n); i++) {
			nth(s, i, n, alphabet);

			const bool root = strcmp(s, "/") == 0;
			const bool a = CHECK(subject(s) == (root || oracle_valid(s, false)));
			const bool b = CHECK(pattern(s) == (root || oracle_valid(s, true)));

			if ((!a || !b) && check_bad <= CHECK_SHOWN)
				printf("\t%s\n", s);
		}
	}
}

#define NAMES 8192
#define NAME_LEN 9	/* characters, and the NUL */

static size_t all_valid(char (*out)[NAME_LEN], size_t longest, const char *alphabet,
    bool (*valid)(const char *))
{
	const uint32_t base = (uint32_t)strlen(alphabet);
	size_t found = 0;

	for (size_t n = 1; n <= longest; n++) {
		for (uint32_t i = 0; i < power(base, n) && found < NAMES; i++) {
			nth(out[found], i, n, alphabet);
			found += valid(out[found]);
		}
	}
	CHECK(found > 100 && found < NAMES);
	return found;
}

static void all_short_matches(void)
{
	static char p[NAMES][NAME_LEN], s[NAMES][NAME_LEN];
	const size_t np = all_valid(p, 7, "/ab+*", pattern);
	const size_t ns = all_valid(s, 8, "/ab", subject);
	size_t covered = 0;

	for (size_t i = 0; i < np; i++) {
		for (size_t k = 0; k < ns; k++) {
			const bool want = oracle_match(p[i], s[k]);
			const bool got = subject_match((const uint8_t *)p[i], strlen(p[i]),
			    (const uint8_t *)s[k], strlen(s[k]));

			covered += want;
			if (!CHECK(got == want) && check_bad <= CHECK_SHOWN)
				printf("\t%s covers %s\n", p[i], s[k]);
		}
	}
	CHECK(covered > ns);
}

/* Contract 3, and at the end of what may be read. */
static void matches(void)
{
	static const struct { const char *p, *s; bool want; } rows[] = {
		{ "/", "/", true }, { "/", "/a", false }, { "/*", "/", false },
		{ "/+", "/", false }, { "/a", "/", false }, { "/*", "/a", true },
		{ "/*", "/a/b/c", true }, { "/+", "/a", true }, { "/+", "/a/b", false },
		{ "/a/*", "/a", false }, { "/a/*", "/a/b", true }, { "/a/*", "/a/b/c", true },
		{ "/a/*", "/ab/c", false }, { "/a/+/c", "/a/b/c", true },
		{ "/a/+/c", "/a/b/d", false }, { "/a/+/c", "/a/c", false },
		{ "/plant/*", "/plant/boiler/temp", true }, { "/chat/+", "/chat/1", true },
		{ "/chat/+", "/chat", false }, { "/chat/+", "/chat/1/2", false },
		{ "/plant/cmd", "/plant/cmd", true }, { "/plant/cmd", "/plant/cmds", false },
		{ "/plant/cmds", "/plant/cmd", false }, { "/Plant", "/plant", false },
		{ "/+/+", "/\xc3\xa9/b", true }, { "/\xc3\xa9", "/\xc3\xa8", false },
		{ "/+/*", "/a", false }, { "/+/*", "/a/b", true },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!CHECK(match(rows[i].p, rows[i].s) == rows[i].want))
			printf("\t%s covers %s\n", rows[i].p, rows[i].s);
}

/* Pattern in pattern: p covers q if p matches all that q matches. Subjects of 8 characters have
 * a segment more than any pattern of 6, and so tell them all apart. */
static void all_short_covers(void)
{
	static char p[NAMES][NAME_LEN], s[NAMES][NAME_LEN];
	const size_t np = all_valid(p, 6, "/ab+*", pattern);
	const size_t ns = all_valid(s, 8, "/ab", subject);
	size_t covered = 0;

	for (size_t i = 0; i < np; i++) {
		for (size_t k = 0; k < np; k++) {
			bool want = true;

			for (size_t m = 0; m < ns && want; m++)
				want = !oracle_match(p[k], s[m]) || oracle_match(p[i], s[m]);
			const bool got = subject_covers(guard(0, p[i], strlen(p[i])), strlen(p[i]),
			    guard(1, p[k], strlen(p[k])), strlen(p[k]));

			covered += want;
			if (!CHECK(got == want) && check_bad <= CHECK_SHOWN)
				printf("\t%s covers %s\n", p[i], p[k]);
		}
	}
	CHECK(covered > np);
}

static void covers(void)
{
	static const struct { const char *p, *q; bool want; } rows[] = {
		{ "/a/*", "/a", false }, { "/a/*", "/a/+", true }, { "/a/*", "/a/*", true },
		{ "/a/*", "/a/+/*", true }, { "/a/*", "/a/+/b/+", true }, { "/*", "/", false },
		{ "/+", "/*", false }, { "/+", "/+", true }, { "/+/*", "/*", false },
		{ "/*", "/+/*", true }, { "/a/+", "/a/*", false }, { "/a", "/+", false },
		{ "/a/+/c", "/a/+/c", true }, { "/a/+/c", "/a/b/c", true },
		{ "/a/b/c", "/a/+/c", false }, { "/a/*", "/*", false }, { "/", "/", true },
		{ "/+/b", "/a/+", false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const size_t pn = strlen(rows[i].p), qn = strlen(rows[i].q);

		if (!CHECK(subject_covers(guard(0, rows[i].p, pn), pn, guard(1, rows[i].q, qn), qn) ==
		    rows[i].want))
			printf("\t%s covers %s\n", rows[i].p, rows[i].q);
	}
}

CHECK_MAIN(subject, RUN(validity) RUN(length) RUN(every_byte) RUN(all_short_names)
    RUN(matches) RUN(all_short_matches) RUN(covers) RUN(all_short_covers))
