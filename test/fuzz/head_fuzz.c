/* head_fuzz.c - a request head: however it is cut, the same; nothing outside it is seen.
 *
 * Links http.c, text.c, ws.c, b64.c, sha1.c, utf8.c and why.c. */
#include "check.h"
#include "http.h"
#include "limits.h"

#define MUST(e) do { \
	if (!(e)) { \
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #e); \
		abort(); \
	} \
} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* Somewhere in the input, and elsewhere in another. */
static size_t somewhere(const uint8_t *p, size_t n, uint32_t seed)
{
	uint32_t h = 2166136261u ^ seed;	/* FNV-1a */

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 16777619u;
	return h % (n + 1);
}

/* In up to three pieces, what was seen carried over. */
static enum why in_pieces(size_t *seen, const uint8_t *p, size_t n, size_t a, size_t b)
{
	const size_t ends[3] = { a < b ? a : b, a < b ? b : a, n };
	enum why why = WHY_MORE;

	for (size_t i = 0; i < 3 && why == WHY_MORE; i++) {
		why = http_head_end(seen, guard(1, p, ends[i]), ends[i]);
		MUST(why != WHY_MORE || *seen == ends[i]);
	}
	return why;
}

static void within(struct span s, const uint8_t *head, size_t n)
{
	const uintptr_t at = (uintptr_t)s.p, from = (uintptr_t)head;

	MUST(s.p != NULL || s.n == 0);
	MUST(s.p == NULL || (at >= from && at <= from + n && s.n <= from + n - at));
}

/* Where a span is, and how long, whatever buffer it points into. */
static bool same(struct span a, const uint8_t *in_a, struct span b, const uint8_t *in_b)
{
	if (a.p == NULL || b.p == NULL)
		return a.p == NULL && b.p == NULL;
	return a.n == b.n && (uintptr_t)a.p - (uintptr_t)in_a == (uintptr_t)b.p - (uintptr_t)in_b &&
	    memcmp(a.p, b.p, a.n) == 0;
}

/* No field of a reply is more than one line, whatever the origin. */
static void replies(const struct http_req *r)
{
	char *out = (char *)guard(3, NULL, HTTP_REPLY_MAX);
	const size_t n = http_preflight(out, r->keep, r->origin);
	size_t seen = 0;

	MUST(http_head_end(&seen, (uint8_t *)out, n) == WHY_OK && seen == n);
	MUST(http_refusal(out, WHY_ISSUED_BEFORE_START, true, r->origin) <= HTTP_REPLY_MAX);
	MUST(http_events(out, r->origin) <= HTTP_REPLY_MAX);
}

static void check_request(const struct http_req *r, const uint8_t *head, size_t n)
{
	static const char *const patterns[] = { "null", "*.example.org", "https://example.com",
		"http://[::1]:8080", "localhost" };
	const enum why why = http_upgrade_check(r);

	within(r->path, head, n);
	within(r->key, head, n);
	within(r->version, head, n);
	within(r->origin, head, n);
	within(r->token, head, n);
	within(r->since, head, n);
	MUST(r->path.n > 0 && r->path.p[0] == '/' && memchr(r->path.p, 0, r->path.n) == NULL);
	MUST(r->replay >= -1 && r->length >= -1 && r->method <= HTTP_OTHER);
	MUST(!r->chunked || (r->minor && r->length == -1));
	MUST((!r->chunked && r->length <= 0) || r->method == HTTP_POST || r->method == HTTP_OTHER);
	MUST(!r->expect || (r->minor && (r->chunked || r->length > 0)));
	MUST(r->minor || !r->keep);
	MUST(r->token.p == NULL || memchr(r->token.p, 0, r->token.n) == NULL);
	MUST(why == WHY_OK || why == WHY_BAD_REQUEST || why == WHY_METHOD_NOT_ALLOWED ||
	    why == WHY_UPGRADE_REQUIRED);
	MUST(why != WHY_OK || (r->method == HTTP_GET && r->upgrade && r->minor && r->key.n == 24));
	replies(r);
	if (r->origin.p == NULL)
		return;
	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
		http_origin_match(patterns[i], r->origin);
}

/* The head alone, twice: the same answer, and nothing read behind it. */
static void parse(const uint8_t *p, size_t n)
{
	uint8_t *a = guard(1, p, n), *b = guard(2, p, n);
	struct http_req ra, rb;
	const enum why why = http_parse(&ra, a, n);

	MUST(why == WHY_OK || why == WHY_BAD_REQUEST);
	MUST(http_parse(&rb, b, n) == why);
	MUST(memcmp(a, b, n) == 0);
	if (why != WHY_OK)
		return;
	check_request(&ra, a, n);
	MUST(ra.method == rb.method && ra.minor == rb.minor && ra.upgrade == rb.upgrade);
	MUST(ra.bearer == rb.bearer && ra.v1 == rb.v1 && ra.replay == rb.replay);
	MUST(ra.length == rb.length && ra.chunked == rb.chunked && ra.expect == rb.expect);
	MUST(ra.keep == rb.keep && ra.events == rb.events);
	MUST(same(ra.path, a, rb.path, b) && same(ra.key, a, rb.key, b));
	MUST(same(ra.version, a, rb.version, b) && same(ra.origin, a, rb.origin, b));
	MUST(same(ra.token, a, rb.token, b) && same(ra.since, a, rb.since, b));
}

/* A string that any byte may stand in. */
static void patterns(const uint8_t *p, size_t n)
{
	char *s = (char *)guard(1, NULL, n + 1);

	memcpy(s, p, n);
	s[n] = '\0';
	const struct span origin = { (const char *)guard(2, p, n), n };

	http_origin_match(s, origin);
	if (http_origin_pattern_valid(s))
		MUST(*s == '[' || strstr(s, "://") != NULL || strchr(s, ':') == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	size_t whole = 0, pieces = 0;

	if (n > 2 * HEAD_MAX)
		return 0;

	const enum why why = http_head_end(&whole, guard(0, p, n), n);
	const enum why same_why = in_pieces(&pieces, p, n, somewhere(p, n, 0), somewhere(p, n, 1));

	MUST(why == same_why);
	MUST(why == WHY_OK || why == WHY_MORE || why == WHY_BAD_REQUEST ||
	    why == WHY_HEAD_TOO_LARGE);
	MUST(why != WHY_MORE || n < HEAD_MAX);
	if (why == WHY_OK) {
		MUST(whole == pieces && whole >= 4 && whole <= n && whole <= HEAD_MAX);
		MUST(memcmp(p + whole - 4, "\r\n\r\n", 4) == 0);
		parse(p, whole);
	}
	if (n < 256)
		patterns(p, n);
	return 0;
}
