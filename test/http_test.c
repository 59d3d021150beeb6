/* Section numbers without an RFC are of RFC 9112. */
#include <strings.h>

#include "check.h"
#include "http.h"
#include "limits.h"
#include "ws.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
#define OK WHY_OK
#define BAD WHY_BAD_REQUEST

static const struct span none = { NULL, 0 };

/* RFC 6455 1.3. */
static const char sample[] =
    "GET /chat HTTP/1.1\r\n"
    "Host: server.example.com\r\n"
    "Upgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Origin: http://example.com\r\n"
    "Sec-WebSocket-Protocol: chat, superchat\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "\r\n";

static bool is(struct span s, const char *want)
{
	if (want == NULL || s.p == NULL)
		return want == s.p;
	return s.n == strlen(want) && memcmp(s.p, want, s.n) == 0;
}

/* Both steps; the spans hold until the next. */
static enum why parse_bytes(struct http_req *r, const char *req, size_t n)
{
	uint8_t *head = guard(0, req, n);
	size_t seen = 0;
	const enum why why = http_head_end(&seen, head, n);

	if (why != WHY_OK)
		return why;
	return http_parse(r, guard(1, head, seen), seen);
}

static enum why parse(struct http_req *r, const char *req)
{
	return parse_bytes(r, req, strlen(req));
}

/* A GET of target with these fields beside Host. */
static enum why get(struct http_req *r, const char *target, const char *fields)
{
	static char req[HEAD_MAX + 1];

	snprintf(req, sizeof req, "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n", target, fields);
	return parse(r, req);
}

static void sample_request(void)
{
	struct http_req r;

	CHECK(parse(&r, sample) == WHY_OK);
	CHECK(r.method == HTTP_GET && r.minor && r.upgrade && !r.bearer && !r.v1 && r.replay == -1);
	CHECK(r.keep && r.length == -1 && !r.chunked && !r.expect && !r.events);
	CHECK(is(r.path, "/chat") && is(r.key, KEY) && is(r.version, "13"));
	CHECK(is(r.origin, "http://example.com") && is(r.token, NULL) && is(r.since, NULL));
	CHECK(http_upgrade_check(&r) == WHY_OK);
}

/* Feed a then all of it; the same answer and the same end as at once. */
static void feed_two(const uint8_t *p, size_t n, size_t at)
{
	size_t whole = 0, seen = 0;
	const enum why want = http_head_end(&whole, guard(0, p, n), n);
	enum why got = http_head_end(&seen, guard(1, p, at), at);

	if (got == WHY_MORE)
		got = http_head_end(&seen, guard(2, p, n), n);
	CHECK(got == want && (want != WHY_OK || seen == whole));
}

static void feed_bytes(const uint8_t *p, size_t n)
{
	size_t whole = 0, seen = 0;
	const enum why want = http_head_end(&whole, guard(0, p, n), n);
	enum why got = WHY_MORE;

	for (size_t i = 0; i <= n && got == WHY_MORE; i++)
		got = http_head_end(&seen, guard(1, p, i), i);
	CHECK(got == want && (want != WHY_OK || seen == whole));
}

static void splits(void)
{
	static const char frames[] = "\x81\x85\r\n\r\n\x81";
	static const char *const others[] = {
		"GET / HTTP/1.1\r\nHost: a\n\r\n", "GET / HTTP/1.1\r\n\r\r\n\r\n",
		"GET / HTTP/1.1\r\nA: \x7f\r\n\r\n", "\r\n\r\nGET", "G\rE", "\n", "\r\n\r\r",
		"GET / HTTP/1.1\r\n\r\n\r\n\r\n", "", "GET / HTTP/1.1\r\nHost:",
	};
	uint8_t in[sizeof sample + sizeof frames];
	const size_t head = sizeof sample - 1, n = head + sizeof frames - 1;
	size_t seen = 0;

	memcpy(in, sample, head);
	memcpy(in + head, frames, sizeof frames - 1);
	CHECK(http_head_end(&seen, in, n) == WHY_OK && seen == head);
	for (size_t at = 0; at <= n; at++)
		feed_two(in, n, at);
	feed_bytes(in, n);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		const size_t len = strlen(others[i]);

		for (size_t at = 0; at <= len; at++)
			feed_two((const uint8_t *)others[i], len, at);
		feed_bytes((const uint8_t *)others[i], len);
	}
	for (size_t k = 0; k < head; k++) {
		seen = 0;
		CHECK(http_head_end(&seen, guard(0, in, k), k) == WHY_MORE);
	}
}

/* One that no head may hold is refused without waiting for the rest; a CR by what follows. */
static void bytes_of_a_head(void)
{
	for (unsigned c = 0; c < 256; c++) {
		char req[] = "GET / HTTP/1.1\r\nHost: a\r\nX: a?b\r\n\r\n";
		char *at = strchr(req, '?');
		const bool ok = c == '\t' || (c >= 0x20 && c != 0x7f);	/* RFC 9110 5.5 */
		const size_t n = (size_t)(at - req) + (c == '\r' ? 2 : 1);
		struct http_req r;
		size_t seen = 0;

		*at = (char)c;
		CHECK(http_head_end(&seen, guard(0, req, n), n) == (ok ? WHY_MORE : BAD));
		CHECK(parse_bytes(&r, req, sizeof req - 1) == (ok ? OK : BAD));
	}
}

static bool token_char(unsigned c)	/* RFC 9110 5.6.2 */
{
	return c != 0 && strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ", (int)c) != NULL;
}

static void bytes_of_a_name(void)
{
	for (unsigned c = 0; c < 256; c++) {
		char name[] = "GET / HTTP/1.1\r\nHost: a\r\nX?Y: a\r\n\r\n";
		char method[] = "G?T / HTTP/1.1\r\nHost: a\r\n\r\n";
		struct http_req r;

		*strchr(name, '?') = (char)c;
		*strchr(method, '?') = (char)c;
		CHECK((parse_bytes(&r, name, sizeof name - 1) == OK) ==
		    (token_char(c) || c == ':'));
		CHECK((parse_bytes(&r, method, sizeof method - 1) == OK) == token_char(c));
	}
}

/* RFC 3986: what a path and a query may hold unescaped must do, what is no VCHAR must not. */
static void bytes_of_a_target(void)
{
	static const char plain[] = "ABCXYZabcxyz019-._~!$&'()*+,;=:@/";

	for (unsigned c = 0; c < 256; c++) {
		char req[] = "GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n";
		struct http_req r;

		*strchr(req, '?') = (char)c;
		const enum why why = parse_bytes(&r, req, sizeof req - 1);

		if (c != 0 && strchr(plain, (int)c) != NULL)
			CHECK(why == OK && r.path.n == 4 && r.path.p[2] == (char)c);
		if (c <= ' ' || c >= 0x7f || c == '#' || c == '%')
			CHECK(why == BAD);
	}
}

static void head_size(void)
{
	static uint8_t in[HEAD_MAX + 900];
	static const char begin[] = "GET / HTTP/1.1\r\nHost: a\r\nX: ";

	for (size_t n = HEAD_MAX - 2; n <= HEAD_MAX + 3; n++) {
		struct http_req r;
		size_t seen = 0;

		memset(in, 'x', sizeof in);
		memcpy(in, begin, sizeof begin - 1);
		memcpy(in + n - 4, "\r\n\r\n", 4);
		CHECK(http_head_end(&seen, guard(0, in, n), n) ==
		    (n <= 8192 ? OK : WHY_HEAD_TOO_LARGE));
		if (n <= 8192) {
			CHECK(seen == n && http_parse(&r, guard(1, in, n), n) == OK);
			continue;
		}
		for (size_t at = HEAD_MAX - 9; at <= n; at++)
			feed_two(in, n, at);
		feed_bytes(in, n);
	}

	/* With that much and no end, no byte more can make it right. */
	size_t seen = 0;

	memset(in + HEAD_MAX - 9, 'x', 900);
	CHECK(http_head_end(&seen, guard(0, in, 8191), 8191) == WHY_MORE);
	CHECK(http_head_end(&seen, guard(0, in, 8192), 8192) == WHY_HEAD_TOO_LARGE);
	for (size_t n = 8192; n <= sizeof in; n += 100)
		feed_two(in, n, n / 2);
}

static void line_ends(void)
{
	static const struct { const char *req; enum why want; } rows[] = {
		{ "GET / HTTP/1.1\r\nHost: a\r\n\r\n", OK },
		{ "GET / HTTP/1.1\nHost: a\n\n", BAD },
		{ "GET / HTTP/1.1\r\nHost: a\n\r\n", BAD },
		{ "GET / HTTP/1.1\r\nHost: a\r\n\n", BAD },
		{ "GET / HTTP/1.1\rHost: a\r\r", BAD },
		{ "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", BAD },
		{ "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", BAD },
		{ "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", BAD },	/* 5.2 */
		{ "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n", BAD },
		{ "GET / HTTP/1.1\r\n Host: a\r\n\r\n", BAD },			/* 2.2 */
		{ "GET / HTTP/1.1\r\nHost : a\r\n\r\n", BAD },			/* 5.1 */
		{ "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", BAD },
		{ "GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n", BAD },
		{ "GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", BAD },
		{ "GET / HTTP/1.1\r\nHost: a\r\n(X: a\r\n\r\n", BAD },
		{ "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", BAD },
		{ "GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n", OK },
		{ "GET / HTTP/1.1\r\nHost: a\r\nX:a\r\n\r\n", OK },
		{ "GET / HTTP/1.1\r\nHost: a\r\nX: \t a \t \r\n\r\n", OK },
		{ "GET / HTTP/1.1\r\nHost: a\r\nX: a:b\r\n\r\n", OK },
		{ "\r\n\r\n", BAD }, { "GET / HTTP/1.1\r\n", WHY_MORE },
	};
	struct http_req r;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!CHECK(parse(&r, rows[i].req) == rows[i].want))
			printf("\t%s\n", rows[i].req);
}

static void request_lines(void)
{
	static const struct { const char *line; enum why want; enum http_method method; } rows[] = {
		{ "GET / HTTP/1.1", OK, HTTP_GET }, { "GET / HTTP/1.0", OK, HTTP_GET },
		{ "HEAD / HTTP/1.1", OK, HTTP_HEAD }, { "POST / HTTP/1.1", OK, HTTP_POST },
		{ "OPTIONS / HTTP/1.1", OK, HTTP_OPTIONS }, { "M-SEARCH / HTTP/1.1", OK, HTTP_OTHER },
		{ "get / HTTP/1.1", OK, HTTP_OTHER },		/* RFC 9110 9.1: case matters */
		{ "GETS / HTTP/1.1", OK, HTTP_OTHER }, { "GE / HTTP/1.1", OK, HTTP_OTHER },
		{ "GET http://a/ HTTP/1.1", OK, HTTP_GET },	/* 3.2.2 */
		{ "GET  / HTTP/1.1", BAD, 0 }, { "GET /  HTTP/1.1", BAD, 0 },
		{ "GET / HTTP/1.1 ", BAD, 0 }, { " GET / HTTP/1.1", BAD, 0 },
		{ "GET\t/\tHTTP/1.1", BAD, 0 }, { "GET / \tHTTP/1.1", BAD, 0 },
		{ "GET /", BAD, 0 }, { "GET", BAD, 0 }, { "GET / ", BAD, 0 }, { "", BAD, 0 },
		{ "GET HTTP/1.1", BAD, 0 }, { "GET  HTTP/1.1", BAD, 0 }, { "/ HTTP/1.1", BAD, 0 },
		{ "GET / HTTP/2.0", BAD, 0 }, { "GET / HTTP/0.9", BAD, 0 },
		{ "GET / HTTP/3", BAD, 0 }, { "GET / HTTP/1", BAD, 0 }, { "GET / HTTP/1.", BAD, 0 },
		{ "GET / HTTP/1.1x", BAD, 0 }, { "GET / HTTP/1.11", BAD, 0 },
		{ "GET / HTTP/01.1", BAD, 0 }, { "GET / http/1.1", BAD, 0 },	/* 2.3 */
		{ "GET / HTTP/1,1", BAD, 0 }, { "GET / HTTPS/1.1", BAD, 0 },
		{ "GET / FTP/1.1", BAD, 0 }, { "GET / HTTP 1.1", BAD, 0 },
		{ "GET * HTTP/1.1", BAD, 0 }, { "GET a HTTP/1.1", BAD, 0 },
		{ "GET a:80 HTTP/1.1", BAD, 0 }, { "GET ?t=a HTTP/1.1", BAD, 0 },
		{ "GET /#a HTTP/1.1", BAD, 0 }, { "GET /\xc3\xa9 HTTP/1.1", BAD, 0 },
		{ "(T / HTTP/1.1", BAD, 0 }, { "G(T / HTTP/1.1", BAD, 0 },
		{ "GET: / HTTP/1.1", BAD, 0 },
		{ "PRI * HTTP/2.0", BAD, 0 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char req[128];
		struct http_req r;

		snprintf(req, sizeof req, "%s\r\nHost: a\r\n\r\n", rows[i].line);
		const enum why why = parse(&r, req);

		if (!CHECK(why == rows[i].want && (why != OK || r.method == rows[i].method)))
			printf("\t%s\n", rows[i].line);
	}
}

/* 3.2: one, and none only from HTTP/1.0; its value is a uri-host and a port. */
static void hosts(void)
{
	static const struct { const char *line, *fields; enum why want; } rows[] = {
		{ "HTTP/1.1", "Host: a\r\n", OK }, { "HTTP/1.1", "HOST:a\r\n", OK },
		{ "HTTP/1.1", "host: \t a\t\r\n", OK }, { "HTTP/1.1", "Host:\r\n", OK },
		{ "HTTP/1.1", "Host: a.b-c:8080\r\n", OK }, { "HTTP/1.1", "Host: a:\r\n", OK },
		{ "HTTP/1.1", "Host: 192.0.2.1:80\r\n", OK }, { "HTTP/1.1", "Host: a_b~\r\n", OK },
		{ "HTTP/1.1", "Host: [2001:db8::1]\r\n", OK },
		{ "HTTP/1.1", "Host: [::1]:8080\r\n", OK },
		{ "HTTP/1.1", "", BAD }, { "HTTP/1.1", "X-Host: a\r\n", BAD },
		{ "HTTP/1.1", "Host: a\r\nHost: a\r\n", BAD },
		{ "HTTP/1.1", "Host: a\r\nX: y\r\nhost: b\r\n", BAD },
		{ "HTTP/1.1", "Host: a, b\r\n", BAD }, { "HTTP/1.1", "Host: a b\r\n", BAD },
		{ "HTTP/1.1", "Host: a/b\r\n", BAD }, { "HTTP/1.1", "Host: u@a\r\n", BAD },
		{ "HTTP/1.1", "Host: a?b\r\n", BAD }, { "HTTP/1.1", "Host: a\\b\r\n", BAD },
		{ "HTTP/1.1", "Host: \"a\"\r\n", BAD }, { "HTTP/1.1", "Host: <a>\r\n", BAD },
		{ "HTTP/1.1", "Host: {a}\r\n", BAD }, { "HTTP/1.1", "Host: \xc3\xa9\r\n", BAD },
		{ "HTTP/1.1", "Host: a#b\r\n", BAD }, { "HTTP/1.1", "Host: a:80x\r\n", BAD },
		{ "HTTP/1.1", "Host: a:80:80\r\n", BAD }, { "HTTP/1.1", "Host: [::1\r\n", BAD },
		{ "HTTP/1.1", "Host: a^b\r\n", BAD }, { "HTTP/1.1", "Host: ::1\r\n", BAD },
		{ "HTTP/1.0", "", OK }, { "HTTP/1.0", "Host: a\r\n", OK },
		{ "HTTP/1.0", "Host: a\r\nHost: a\r\n", BAD },
		{ "HTTP/1.0", "Host: a b\r\n", BAD }, { "HTTP/1.0", "Host: @a\r\n", BAD },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char req[128];
		struct http_req r;

		snprintf(req, sizeof req, "GET / %s\r\n%s\r\n", rows[i].line, rows[i].fields);
		const enum why why = parse(&r, req);

		if (!CHECK(why == rows[i].want))
			printf("\t%s %s\n", rows[i].line, rows[i].fields);
		CHECK(why != OK || r.minor == (rows[i].line[7] == '1'));
	}
}

/* A path is decoded once; a "/" or NUL made by an escape is refused (contract 3). */
static void paths(void)
{
	static const struct { const char *target, *path; } rows[] = {
		{ "/", "/" }, { "/a/b", "/a/b" }, { "/?", "/" }, { "/a?b", "/a" },
		{ "/a??b", "/a" },
		{ "/%61", "/a" }, { "/%4A%4a", "/JJ" }, { "/a%20b", "/a b" }, { "/%2561", "/%61" },
		{ "/%25%32%46", "/%2F" }, { "/%C3%A9", "/\xc3\xa9" }, { "/a+b", "/a+b" },
		{ "/%2B%2a", "/+*" }, { "/%3F?x", "/?" }, { "/%3f%23", "/?#" }, { "/%2e", "/." },
		{ "/%2e%2E/", "/../" }, { "//", "//" }, { "/a//", "/a//" }, { "/%ff", "/\xff" },
		{ "/%01", "/\x01" }, { "/%0d%0a", "/\r\n" },
		{ "http://a/b?c", "/b" }, { "http://a/", "/" }, { "HTTP://A:80/%61", "/a" },
		{ "https://[::1]/b", "/b" }, { "http://a//b", "//b" },
		{ "/http://a/b", "/http://a/b" },
		{ "http://a", "/" },			/* RFC 9110 4.2.3: empty is "/" */
		{ "http://a?b=/c", "/" },		/* the slash is of the query */
		{ "/%2F", NULL }, { "/a%2fb", NULL }, { "/%00", NULL }, { "/a%00", NULL },
		{ "/%", NULL }, { "/%2", NULL }, { "/%g0", NULL }, { "/%0g", NULL },
		{ "/%%41", NULL }, { "/%-1", NULL }, { "/% 41", NULL }, { "/a%", NULL },
		{ "/a%4", NULL }, { "/%4?1", NULL }, { "/%u0041", NULL }, { "/%@1", NULL },
		{ "/%1`", NULL }, { "/%/1", NULL }, { "/%:1", NULL }, { "/%G1", NULL },
		{ "http:///b", NULL }, { "http://", NULL }, { "http:/b", NULL },
		{ "ftp://a/b", NULL }, { "httpx://a/b", NULL }, { "//a%2f", NULL },
		{ "%2F", NULL }, { "http://a%2Fb", NULL }, { "ws:a/b", NULL },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct http_req r;
		const enum why why = get(&r, rows[i].target, "");
		const bool ok = rows[i].path ? why == OK && is(r.path, rows[i].path) : why == BAD;

		if (!CHECK(ok))
			printf("\t%s\n", rows[i].target);
	}
}

/* Each as it must come out; token "?" where the request is bad. */
static void queries(void)
{
	static const struct { const char *query, *token, *since; int64_t replay; } rows[] = {
		{ "", NULL, NULL, -1 }, { "t=a.b.c", "a.b.c", NULL, -1 }, { "t=", "", NULL, -1 },
		{ "t=a&replay=5&since=x-1", "a", "x-1", 5 }, { "since=x-1&t=a", "a", "x-1", -1 },
		{ "replay=0", NULL, NULL, 0 }, { "replay=007", NULL, NULL, 7 },
		{ "replay=999999999999999999", NULL, NULL, 999999999999999999 },
		{ "since=", NULL, "", -1 }, { "t=%61%2eb", "a.b", NULL, -1 },
		{ "t=%2561", "%61", NULL, -1 }, { "since=a%2Fb", NULL, "a/b", -1 },
		{ "replay=%31%30", NULL, NULL, 10 }, { "t=a=b", "a=b", NULL, -1 },
		{ "t=a?b", "a?b", NULL, -1 }, { "t=a/b", "a/b", NULL, -1 },
		{ "t=%26x&since=%3D", "&x", "=", -1 }, { "&&t=a&&", "a", NULL, -1 },
		{ "T=a", NULL, NULL, -1 }, { "tt=a&xt=b&t2=c", NULL, NULL, -1 },
		{ "x=1&x=2&=3&y", NULL, NULL, -1 }, { "token=a", NULL, NULL, -1 },
		{ "Replay=x&SINCE=y", NULL, NULL, -1 },

		{ "t=a&t=a", "?", NULL, -1 }, { "t=a&x=1&t=b", "?", NULL, -1 },
		{ "t=&t=a", "?", NULL, -1 }, { "since=a&since=a", "?", NULL, -1 },
		{ "replay=1&replay=1", "?", NULL, -1 }, { "replay=", "?", NULL, -1 },
		{ "replay=-1", "?", NULL, -1 }, { "replay=+1", "?", NULL, -1 },
		{ "replay=1x", "?", NULL, -1 }, { "replay=1.0", "?", NULL, -1 },
		{ "replay=0x1", "?", NULL, -1 }, { "replay=1%20", "?", NULL, -1 },
		{ "replay=9999999999999999999", "?", NULL, -1 },
		{ "replay=99999999999999999999999999", "?", NULL, -1 },
		{ "t=%", "?", NULL, -1 }, { "t=%4", "?", NULL, -1 }, { "t=a%zz", "?", NULL, -1 },
		{ "t=%4&x=1", "?", NULL, -1 }, { "t=%00", "?", NULL, -1 },
		{ "since=a%00b", "?", NULL, -1 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char target[80];
		struct http_req r;

		snprintf(target, sizeof target, "/p?%s", rows[i].query);
		const enum why why = get(&r, target, "");
		const bool ok = rows[i].token && *rows[i].token == '?' ? why == BAD :
		    why == OK && is(r.path, "/p") && is(r.token, rows[i].token) &&
		    is(r.since, rows[i].since) && r.replay == rows[i].replay;

		if (!CHECK(ok))
			printf("\t%s\n", rows[i].query);
	}
}

/* Contract 2: where a token may stand. NULL: nowhere; "?": a bad request. */
static void tokens(void)
{
#define P "Sec-WebSocket-Protocol: "
	static const struct { const char *target, *fields, *token; bool bearer; } rows[] = {
		{ "/", "Authorization: Bearer a.b.c\r\n", "a.b.c", false },
		{ "/", "authorization:bearer a\r\n", "a", false },
		{ "/", "AUTHORIZATION: BEARER a\r\n", "a", false },
		{ "/", "Authorization: Bearer   a \t\r\n", "a", false },
		{ "/", "Authorization: Basic YTpi\r\n", NULL, false },
		{ "/", "Authorization: Bearerx a\r\n", NULL, false },
		{ "/", "Authorization: Digest a=b, c=d\r\n", NULL, false },
		{ "/", "Authorization:\r\n", NULL, false },
		{ "/", "X-Authorization: Bearer a\r\n", NULL, false },
		{ "/", "Proxy-Authorization: Bearer a\r\n", NULL, false },
		{ "/?t=q", "Authorization: Basic YTpi\r\n", "q", false },
		{ "/", P "bearer, a.b.c\r\n", "a.b.c", true },
		{ "/", P "bearer,a\r\n", "a", true }, { "/", P "\tbearer ,\ta \r\n", "a", true },
		{ "/", P "bearer\r\n" P "a\r\n", "a", true },
		{ "/", P "bearer\r\nX: y\r\n" P "a, chat\r\n", "a", true },
		{ "/", P "chat, bearer, a\r\n", "a", true },
		{ "/", P "bearer, a, chat\r\n", "a", true },
		{ "/", P "chat\r\n" P "bearer, a\r\n" P "other\r\n", "a", true },
		{ "/", P "bearer\r\n", NULL, true }, { "/", P "a, bearer\r\n", NULL, true },
		{ "/", P "chat, superchat\r\n", NULL, false },
		{ "/", P "xbearer, a\r\n", NULL, false },
		{ "/", P "bearer,, a\r\n", "a", true },		/* RFC 9110 5.6.1.2 */
		{ "/?t=q", P "chat\r\n", "q", false }, { "/?t=q", P "bearer\r\n", "q", true },

		{ "/", "Authorization: Bearer a\r\nAuthorization: Bearer a\r\n", "?", false },
		{ "/", "Authorization: Basic a\r\nAuthorization: Bearer a\r\n", "?", false },
		{ "/?t=q", "Authorization: Bearer q\r\n", "?", false },
		{ "/?t=q", P "bearer, q\r\n", "?", false },
		{ "/?t=", "Authorization: Bearer q\r\n", "?", false },
		{ "/", "Authorization: Bearer a\r\n" P "bearer, a\r\n", "?", false },
		{ "/", P "bearer, a\r\nAuthorization: Bearer a\r\n", "?", false },
		{ "/", P "bearer, a, bearer, b\r\n", "?", false },
		{ "/", P "bearer, a\r\n" P "bearer, a\r\n", "?", false },
		{ "/", P "bearer, @a\r\n", "?", false },
		{ "/", P "bearer, a b\r\n", "?", false }, { "/", P "bearer, a@b\r\n", "?", false },
		{ "/", P "bearer, \"a\"\r\n", "?", false }, { "/", P "bearer; a\r\n", "?", false },
	};
#undef P

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct http_req r;
		const enum why why = get(&r, rows[i].target, rows[i].fields);
		const bool ok = rows[i].token && *rows[i].token == '?' ? why == BAD :
		    why == OK && is(r.token, rows[i].token) && r.bearer == rows[i].bearer;

		if (!CHECK(ok))
			printf("\t%s %s\n", rows[i].target, rows[i].fields);
	}
}

/* RFC 6455 4.1: a client fails the connection when the reply names a subprotocol that it did
 * not offer, letter for letter; so one offered as "Bearer" is not ours. */
static void subprotocol_case(void)
{
	struct http_req r;

	CHECK(get(&r, "/", "Sec-WebSocket-Protocol: Bearer, a\r\n") == OK && !r.bearer);
}

/* 6.1 to 6.3: one way to say where a body ends, and none on a GET or an upgrade. */
#define CL "Content-Length: "
#define TE "Transfer-Encoding: "

static const struct {
	const char *method, *fields;
	enum why want;
	int64_t length;
	bool chunked;
} body_rows[] = {
	{ "GET", "", OK, -1, false }, { "POST", "", OK, -1, false },
	{ "GET", CL "0\r\n", OK, 0, false }, { "GET", "content-length:00\r\n", OK, 0, false },
	{ "HEAD", CL "0\r\n", OK, 0, false }, { "OPTIONS", CL "0\r\n", OK, 0, false },
	{ "POST", CL "0\r\n", OK, 0, false }, { "POST", CL "5\r\n", OK, 5, false },
	{ "POST", "CONTENT-LENGTH: \t5 \r\n", OK, 5, false },
	{ "POST", CL "0005\r\n", OK, 5, false },
	{ "POST", CL "999999999999999999\r\n", OK, 999999999999999999, false },
	{ "POST", TE "chunked\r\n", OK, -1, true }, { "POST", TE "CHUNKED \r\n", OK, -1, true },
	{ "PUT", CL "5\r\n", OK, 5, false },		/* refused for its method */
	{ "PUT", TE "chunked\r\n", OK, -1, true },
	{ "post", CL "5\r\n", OK, 5, false },

	{ "GET", CL "1\r\n", BAD, 0, 0 }, { "GET", CL "5\r\n", BAD, 0, 0 },
	{ "HEAD", CL "1\r\n", BAD, 0, 0 }, { "OPTIONS", CL "1\r\n", BAD, 0, 0 },
	{ "GET", TE "chunked\r\n", BAD, 0, 0 }, { "HEAD", TE "chunked\r\n", BAD, 0, 0 },
	{ "OPTIONS", TE "chunked\r\n", BAD, 0, 0 },
	{ "GET", UPGRADE CL "1\r\n", BAD, 0, 0 },
	{ "GET", UPGRADE TE "chunked\r\n", BAD, 0, 0 },
	{ "POST", CL "\r\n", BAD, 0, 0 }, { "POST", CL "-1\r\n", BAD, 0, 0 },
	{ "POST", CL "+5\r\n", BAD, 0, 0 }, { "POST", CL "0x5\r\n", BAD, 0, 0 },
	{ "POST", CL "5 5\r\n", BAD, 0, 0 }, { "POST", CL "5, 5\r\n", BAD, 0, 0 },
	{ "POST", CL "5,\r\n", BAD, 0, 0 }, { "POST", CL "5.0\r\n", BAD, 0, 0 },
	{ "POST", CL "5;\r\n", BAD, 0, 0 }, { "POST", CL "\"5\"\r\n", BAD, 0, 0 },
	{ "POST", CL "1000000000000000000\r\n", BAD, 0, 0 },
	{ "POST", CL "99999999999999999999999999\r\n", BAD, 0, 0 },
	{ "POST", CL "5\r\n" CL "5\r\n", BAD, 0, 0 },
	{ "POST", CL "5\r\n" CL "0\r\n", BAD, 0, 0 },
	{ "GET", CL "0\r\n" CL "0\r\n", BAD, 0, 0 },
	{ "PUT", CL "0\r\n" CL "5\r\n", BAD, 0, 0 },
	{ "POST", CL "x\r\n", BAD, 0, 0 }, { "PUT", CL "x\r\n", BAD, 0, 0 },
	{ "POST", TE "\r\n", BAD, 0, 0 }, { "POST", TE "identity\r\n", BAD, 0, 0 },
	{ "POST", TE "gzip, chunked\r\n", BAD, 0, 0 },
	{ "POST", TE "chunked, gzip\r\n", BAD, 0, 0 },
	{ "POST", TE "chunked, chunked\r\n", BAD, 0, 0 },
	{ "POST", TE ", chunked\r\n", BAD, 0, 0 },
	{ "POST", TE "chunked;q=1\r\n", BAD, 0, 0 }, { "POST", TE "xchunked\r\n", BAD, 0, 0 },
	{ "POST", TE "\"chunked\"\r\n", BAD, 0, 0 },
	{ "POST", TE "chunked\xc2\xa0\r\n", BAD, 0, 0 },
	{ "POST", TE "chunked\r\n" TE "chunked\r\n", BAD, 0, 0 },
	{ "POST", TE "chunked\r\n" TE "identity\r\n", BAD, 0, 0 },
	{ "POST", CL "5\r\n" TE "chunked\r\n", BAD, 0, 0 },
	{ "POST", TE "chunked\r\n" CL "5\r\n", BAD, 0, 0 },
	{ "POST", TE "chunked\r\n" CL "0\r\n", BAD, 0, 0 },
	{ "PUT", TE "chunked\r\n" CL "0\r\n", BAD, 0, 0 },
};

static void bodies(void)
{
	for (size_t i = 0; i < sizeof body_rows / sizeof *body_rows; i++) {
		char req[256];
		struct http_req r;

		snprintf(req, sizeof req, "%s / HTTP/1.1\r\nHost: a\r\n%s\r\n", body_rows[i].method,
		    body_rows[i].fields);
		const enum why why = parse(&r, req);

		if (!CHECK(why == body_rows[i].want && (why != OK || (r.length == body_rows[i].length &&
		    r.chunked == body_rows[i].chunked))))
			printf("\t%s %s\n", body_rows[i].method, body_rows[i].fields);
	}

	struct http_req r;	/* 6.1: HTTP/1.0 knows no chunks */

	CHECK(parse(&r, "POST / HTTP/1.0\r\n" TE "chunked\r\n\r\n") == BAD);
	CHECK(parse(&r, "POST / HTTP/1.0\r\n" CL "5\r\n\r\n") == OK && r.length == 5 && !r.keep);
	CHECK(parse(&r, "OPTIONS / HTTP/1.0\r\n\r\n") == OK && r.method == HTTP_OPTIONS && !r.keep);
}

/* RFC 9110 10.1.1: one expectation is known; without a body, or to HTTP/1.0, it says nothing. */
static void expectations(void)
{
	static const struct { const char *line, *fields; enum why want; bool expect; } rows[] = {
		{ "POST / HTTP/1.1", CL "5\r\nExpect: 100-continue\r\n", OK, true },
		{ "POST / HTTP/1.1", "expect: 100-Continue \r\n" CL "5\r\n", OK, true },
		{ "POST / HTTP/1.1", TE "chunked\r\nExpect: 100-continue\r\n", OK, true },
		{ "POST / HTTP/1.1", CL "5\r\n", OK, false },
		{ "POST / HTTP/1.1", CL "0\r\nExpect: 100-continue\r\n", OK, false },
		{ "POST / HTTP/1.1", "Expect: 100-continue\r\n", OK, false },
		{ "GET / HTTP/1.1", "Expect: 100-continue\r\n", OK, false },
		{ "POST / HTTP/1.0", CL "5\r\nExpect: 100-continue\r\n", OK, false },
		{ "POST / HTTP/1.1", CL "5\r\nExpect:\r\n", BAD, false },
		{ "POST / HTTP/1.1", CL "5\r\nExpect: 100\r\n", BAD, false },
		{ "POST / HTTP/1.1", CL "5\r\nExpect: 200-ok\r\n", BAD, false },
		{ "POST / HTTP/1.1", CL "5\r\nExpect: 100-continue, x\r\n", BAD, false },
		{ "GET / HTTP/1.1", "Expect: x\r\n", BAD, false },
		{ "POST / HTTP/1.1", CL "5\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n", BAD, false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char req[256];
		struct http_req r;

		snprintf(req, sizeof req, "%s\r\nHost: a\r\n%s\r\n", rows[i].line, rows[i].fields);
		const enum why why = parse(&r, req);

		if (!CHECK(why == rows[i].want && (why != OK || r.expect == rows[i].expect)))
			printf("\t%s %s\n", rows[i].line, rows[i].fields);
	}
}
#undef CL
#undef TE

/* 9.3. */
static void kept(void)
{
	static const struct { const char *line, *fields; bool keep; } rows[] = {
		{ "GET / HTTP/1.1", "", true }, { "POST / HTTP/1.1", "", true },
		{ "GET / HTTP/1.1", "Connection: keep-alive\r\n", true },
		{ "GET / HTTP/1.1", "Connection: closed\r\n", true },
		{ "GET / HTTP/1.1", "Connection: x, y\r\n", true },
		{ "GET / HTTP/1.1", "Connection: close\r\n", false },
		{ "GET / HTTP/1.1", "connection:CLOSE\r\n", false },
		{ "GET / HTTP/1.1", "Connection: keep-alive, close\r\n", false },
		{ "GET / HTTP/1.1", "Connection: close\r\nConnection: keep-alive\r\n", false },
		{ "GET / HTTP/1.1", "Connection: x\r\nConnection:\tclose ,\r\n", false },
		{ "GET / HTTP/1.0", "", false },
		{ "GET / HTTP/1.0", "Connection: keep-alive\r\n", false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char req[256];
		struct http_req r;

		snprintf(req, sizeof req, "%s\r\nHost: a\r\n%s\r\n", rows[i].line, rows[i].fields);
		if (!CHECK(parse(&r, req) == OK && r.keep == rows[i].keep))
			printf("\t%s %s\n", rows[i].line, rows[i].fields);
	}
}

/* RFC 9110 12.5.1; what any client sends (all of them) asks for no events. */
static void accepted(void)
{
	static const struct { const char *fields; bool want; } rows[] = {
		{ "Accept: text/event-stream\r\n", true }, { "accept:TEXT/Event-Stream\r\n", true },
		{ "Accept: text/html, text/event-stream\r\n", true },
		{ "Accept: text/event-stream;q=0.9 , */*\r\n", true },
		{ "Accept: text/event-stream ;charset=utf-8\r\n", true },
		{ "Accept: */*\r\nAccept: text/event-stream\r\n", true },
		{ "", false }, { "Accept: */*\r\n", false }, { "Accept: text/*\r\n", false },
		{ "Accept:\r\n", false }, { "Accept: text/event-streams\r\n", false },
		{ "Accept: x;text/event-stream\r\n", false },
		{ "Accept: text / event-stream\r\n", false },
		{ "X-Accept: text/event-stream\r\n", false },
		{ "Accept-Encoding: text/event-stream\r\n", false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct http_req r;

		if (!CHECK(get(&r, "/", rows[i].fields) == OK && r.events == rows[i].want))
			printf("\t%s\n", rows[i].fields);
	}
}

/* What a browser saw last wins over what its URL says. */
static void last_event(void)
{
	struct http_req r;

	CHECK(get(&r, "/", "Last-Event-ID: 0f-17\r\n") == OK && is(r.since, "0f-17"));
	CHECK(get(&r, "/?since=0f-1&t=a", "last-event-id:0f-17\r\n") == OK && is(r.since, "0f-17"));
	CHECK(get(&r, "/?since=0f-1", "") == OK && is(r.since, "0f-1"));
	CHECK(get(&r, "/", "Last-Event-ID:\r\n") == OK && is(r.since, ""));
	CHECK(get(&r, "/", "Last-Event: 0f-17\r\n") == OK && is(r.since, NULL));
	CHECK(get(&r, "/", "Last-Event-ID: 0f-17\r\nLast-Event-ID: 0f-17\r\n") == BAD);
	CHECK(get(&r, "/?since=0f-1&since=0f-1", "Last-Event-ID: 0f-17\r\n") == BAD);
}

/* Beside a token, in any order. NULL: no token; "?": a bad request. */
static void subprotocols(void)
{
#define P "Sec-WebSocket-Protocol: "
	static const struct { const char *fields, *token; bool bearer, v1; } rows[] = {
		{ P "sluice.v1\r\n", NULL, false, true },
		{ P "chat, sluice.v1\r\n", NULL, false, true },
		{ P "sluice.v1, bearer, a\r\n", "a", true, true },
		{ P "bearer, a, sluice.v1\r\n", "a", true, true },
		{ P "bearer,a,x,sluice.v1,y\r\n", "a", true, true },
		{ P "sluice.v1\r\n" P "bearer\r\n" P "a\r\n", "a", true, true },
		{ P "bearer\r\nX: y\r\n" P "a\r\n" P "sluice.v1\r\n", "a", true, true },
		{ "Authorization: Bearer a\r\n" P "sluice.v1\r\n", "a", false, true },
		{ P "bearer, sluice.v1\r\n", "sluice.v1", true, false },	/* stands where a token does */
		{ P "bearer, sluice.v1, sluice.v1\r\n", "sluice.v1", true, true },
		{ P "Sluice.v1\r\n", NULL, false, false }, { P "sluice.V1\r\n", NULL, false, false },
		{ P "sluice.v10\r\n", NULL, false, false }, { P "sluice.v\r\n", NULL, false, false },
		{ P "sluice_v1\r\n", NULL, false, false }, { "X: sluice.v1\r\n", NULL, false, false },
		{ P "sluice.v1, sluice.v1\r\n", "?", false, false },
		{ P "sluice.v1\r\n" P "sluice.v1\r\n", "?", false, false },
		{ P "sluice.v1, bearer, a, sluice.v1\r\n", "?", false, false },
		{ P "sluice.v1, bearer, a, bearer, b\r\n", "?", false, false },
		{ P "sluice.v1; x\r\n", "?", false, false },
	};
#undef P

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct http_req r;
		const enum why why = get(&r, "/", rows[i].fields);
		const bool ok = rows[i].token && *rows[i].token == '?' ? why == BAD :
		    why == OK && is(r.token, rows[i].token) && r.bearer == rows[i].bearer &&
		    r.v1 == rows[i].v1;

		if (!CHECK(ok))
			printf("\t%s\n", rows[i].fields);
	}
}

/* RFC 6455 4.2.1 3 and 4; lists by RFC 9110 5.6.1. */
static void upgrade_fields(void)
{
#define U(u, c) "Upgrade: " u "\r\nConnection: " c "\r\n"
	static const struct { const char *fields; bool want; } rows[] = {
		{ U("websocket", "Upgrade"), true }, { U("WebSocket", "upgrade"), true },
		{ U("WEBSOCKET", "UPGRADE"), true },
		{ U("websocket", "keep-alive, Upgrade"), true },
		{ U("websocket", "Upgrade,keep-alive"), true },
		{ U("h2c, websocket", "\t,\tuPgRaDe ,,"), true },
		{ U("websocket , h2c", " Upgrade "), true },
		{ "upgrade:websocket\r\nconnection:Upgrade\r\n", true },
		{ U("websocket", "keep-alive") "Connection: Upgrade\r\n", true },
		{ U("h2c", "Upgrade") "Upgrade: websocket\r\n", true },
		{ U("websocket", "Upgrade") "Upgrade: h2c\r\nConnection: close\r\n", true },
		{ "", false }, { "Upgrade: websocket\r\n", false },
		{ "Connection: Upgrade\r\n", false }, { U("websocket", "keep-alive"), false },
		{ U("h2c", "Upgrade"), false }, { U("websockets", "Upgrade"), false },
		{ U("websocket", "Upgraded"), false }, { U("web socket", "Upgrade"), false },
		{ U("websocket; x", "Upgrade"), false }, { U("\"websocket\"", "Upgrade"), false },
		{ U("", ""), false }, { U("websocket", "Upgrade keep-alive"), false },
		{ U("xwebsocket", "Upgrade"), false }, { U("Upgrade", "websocket"), false },
	};
#undef U

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct http_req r;

		if (!CHECK(get(&r, "/", rows[i].fields) == OK && r.upgrade == rows[i].want))
			printf("\t%s\n", rows[i].fields);
	}
}

static void upgrade_checks(void)
{
#define U "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define V U "Sec-WebSocket-Version: 13\r\n"
#define K "Sec-WebSocket-Key: "
	static const struct { const char *method, *fields; enum why want; } rows[] = {
		{ "GET", V K KEY "\r\n", OK }, { "GET", K " \t" KEY " \r\n" V, OK },
		{ "GET", "", WHY_UPGRADE_REQUIRED },
		{ "GET", "Sec-WebSocket-Version: 13\r\n" K KEY "\r\n", WHY_UPGRADE_REQUIRED },
		{ "POST", V K KEY "\r\n", WHY_METHOD_NOT_ALLOWED },
		{ "HEAD", V K KEY "\r\n", WHY_METHOD_NOT_ALLOWED },
		{ "get", V K KEY "\r\n", WHY_METHOD_NOT_ALLOWED },
		{ "DELETE", "", WHY_METHOD_NOT_ALLOWED },
		{ "GET", U K KEY "\r\n", WHY_UPGRADE_REQUIRED },
		{ "GET", U "Sec-WebSocket-Version: 8\r\n" K KEY "\r\n", WHY_UPGRADE_REQUIRED },
		{ "GET", U "Sec-WebSocket-Version: 013\r\n" K KEY "\r\n", WHY_UPGRADE_REQUIRED },
		{ "GET", U "Sec-WebSocket-Version: 130\r\n" K KEY "\r\n", WHY_UPGRADE_REQUIRED },
		{ "GET", U "Sec-WebSocket-Version: 1\r\n" K KEY "\r\n", WHY_UPGRADE_REQUIRED },
		{ "GET", U "Sec-WebSocket-Version:\r\n" K KEY "\r\n", WHY_UPGRADE_REQUIRED },
		{ "GET", V, BAD }, { "GET", V K "\r\n", BAD },
		{ "GET", V K "dGhlIHNhbXBsZSBub25jZQ\r\n", BAD },
		{ "GET", V K "dGhlIHNhbXBsZSBub25jZR==\r\n", BAD },	/* trailing bits */
		{ "GET", V K "dGhlIHNhbXBsZSBub25jZTE=\r\n", BAD },	/* 17 bytes */
		{ "GET", V K "dGhlIHNhbXBsZSBub25jZTEy\r\n", BAD },	/* 18 */
		{ "GET", V K "dGhlIHNhbXBsZSBub25j\r\n", BAD },		/* 15 */
		{ "GET", V K "dGhlIHNhbXBsZSBub-_jZQ==\r\n", BAD },	/* the other alphabet */
		{ "GET", V K KEY " " KEY "\r\n", BAD }, { "GET", V K KEY "=\r\n", BAD },
		{ "GET", V K KEY "\r\n" K KEY "\r\n", BAD },
		{ "GET", V V K KEY "\r\n", BAD },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char req[400];
		struct http_req r;

		snprintf(req, sizeof req, "%s / HTTP/1.1\r\nHost: a\r\n%s\r\n", rows[i].method,
		    rows[i].fields);
		enum why why = parse(&r, req);

		if (why == WHY_OK)
			why = http_upgrade_check(&r);
		if (!CHECK(why == rows[i].want))
			printf("\t%s %s: %s\n", rows[i].method, rows[i].fields, why_text(why));
	}

	struct http_req r;	/* RFC 6455 4.2.1 1: not of HTTP/1.0 */

	CHECK(parse(&r, "GET / HTTP/1.0\r\nHost: a\r\n" V K KEY "\r\n\r\n") == OK);
	CHECK(!r.minor && http_upgrade_check(&r) != WHY_OK);
#undef U
#undef V
#undef K
}

/* Fields that may stand once, and with what they leave behind. */
static void single_fields(void)
{
	static const char *const twice[] = {
		"Origin: http://a\r\nOrigin: http://a\r\n", "Origin: a\r\norigin:\r\n",
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8\r\n",
		"Sec-WebSocket-Key: " KEY "\r\nsec-websocket-key: " KEY "\r\n",
	};
	struct http_req r;

	for (size_t i = 0; i < sizeof twice / sizeof *twice; i++)
		if (!CHECK(get(&r, "/", twice[i]) == BAD))
			printf("\t%s\n", twice[i]);
	CHECK(get(&r, "/", "Origin:\t https://a.example \t\r\n") == OK);
	CHECK(is(r.origin, "https://a.example"));
	CHECK(get(&r, "/", "Origin:\r\n") == OK && is(r.origin, ""));
	CHECK(get(&r, "/", "X-Origin: a\r\nOrigin-X: b\r\n") == OK && is(r.origin, NULL));
	CHECK(get(&r, "/", "Sec-WebSocket-Extensions: permessage-deflate\r\n") == OK);
}

static void check_origins(const char *pattern, const char *const *yes, const char *const *no)
{
	CHECK(http_origin_pattern_valid(pattern));
	for (int want = 1; want >= 0; want--) {
		for (const char *const *o = want ? yes : no; *o != NULL; o++) {
			const size_t n = strlen(*o);
			const struct span s = { (const char *)guard(0, *o, n), n };

			if (!CHECK(http_origin_match(pattern, s) == want))
				printf("\t%s lets %s through\n", pattern, *o);
		}
	}
}

#define LIST(...) (const char *const []){ __VA_ARGS__, NULL }

/* The contract's words on --origin, one by one. */
static void origins(void)
{
	check_origins("https://example.org",	/* no port: the scheme's own */
	    LIST("https://example.org", "https://example.org:443", "HTTPS://EXAMPLE.ORG"),
	    LIST("http://example.org", "https://example.org:8443", "https://example.org:80",
	    "http://example.org:443", "https://www.example.org", "https://example.org.evil.com",
	    "https://xexample.org", "https://example.or", "https://example.orgx", "null", "",
	    "wss://example.org"));
	check_origins("http://example.org",
	    LIST("http://example.org", "http://example.org:80"),
	    LIST("https://example.org", "http://example.org:8080", "https://example.org:80"));
	check_origins("https://example.org:8443",
	    LIST("https://example.org:8443", "https://Example.org:8443"),
	    LIST("https://example.org", "https://example.org:443", "https://example.org:84433",
	    "https://example.org:844", "http://example.org:8443"));
	check_origins("https://example.org:443", LIST("https://example.org"),
	    LIST("http://example.org", "http://example.org:80"));
	check_origins("example.org",		/* a bare host: any scheme and port */
	    LIST("https://example.org", "http://example.org", "http://example.org:8080",
	    "https://EXAMPLE.org:1", "capacitor://example.org"),
	    LIST("https://www.example.org", "https://example.org.evil.com",
	    "https://example.org:80.evil.com", "null", "https://evil.com"));
	check_origins("null", LIST("null", "NULL"),
	    LIST("https://example.org", "", "nul", "nullx", "https://null", "http://null:80"));
	check_origins("NULL", LIST("null"), LIST("https://example.org"));
	check_origins("http://a:9", LIST("http://a:9"),
	    LIST("http://a:99", "http://a:90", "http://a", "http://a:"));
	check_origins("localhost", LIST("http://localhost", "http://localhost:3000"),
	    LIST("http://localhost.evil.com", "http://notlocalhost"));
	check_origins("http://192.0.2.1:8080", LIST("http://192.0.2.1:8080"),
	    LIST("http://192.0.2.1", "http://192.0.2.18080", "http://192.0.2.1:80"));
	check_origins("[::1]", LIST("http://[::1]", "http://[::1]:8080"),
	    LIST("http://[::1]:", "http://::1", "http://[::12]", "http://[::1"));
	check_origins("http://[2001:DB8::1]:81", LIST("http://[2001:db8::1]:81"),
	    LIST("http://[2001:db8::1]", "http://[2001:db8::1:81]"));
}

/* "*." matches any subdomain, and nothing else. */
static void subdomains(void)
{
	check_origins("https://*.example.org",
	    LIST("https://a.example.org", "https://a.b.example.org", "https://A.Example.ORG:443"),
	    LIST("https://example.org", "http://a.example.org", "https://a.example.org:8443",
	    "https://aexample.org", "https://.example.org", "https://a.example.org.evil.com",
	    "https://a.example.orgx", "https://evil.com", "null", ""));
	check_origins("*.example.org",
	    LIST("https://a.example.org", "http://a.example.org:8080", "http://a.b.c.example.org"),
	    LIST("https://example.org", "https://.example.org", "https://aexample.org"));
	check_origins("https://*.example.org:8443", LIST("https://a.example.org:8443"),
	    LIST("https://a.example.org", "https://example.org:8443"));
}

/* What no browser sends, made to look like a host that is allowed. */
static void hostile_origins(void)
{
	static const char *const rows[] = {
		"https://evil.com/.example.org", "https://evil.com?.example.org",
		"https://evil.com#.example.org", "https://evil.com\\.example.org",
		"https://user@a.example.org", "https://evil.com @a.example.org",
		"https://evil.com https://a.example.org", "https://a.example.org https://evil.com",
		"https://a.example.org/", "https://a.example.org/x", "https://a.example.org:",
		"https://a.example.org:8x", "https://", "://a.example.org", "//a.example.org",
		"a.example.org", "*.example.org", "https://evil.com:80.example.org",
		"https://..example.org", "https://[::1].example.org", "https:a.example.org",
		"https:/a.example.org", "https://evil.com\t.example.org", "https:// .example.org",
		"https://a.example.org,https://evil.com", "https://\"a\".example.org",
		"https://\x7f.example.org", "https://evil.com:.example.org",
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const size_t n = strlen(rows[i]);
		const struct span s = { (const char *)guard(0, rows[i], n), n };
		const bool ok = CHECK(!http_origin_match("*.example.org", s)) &&
		    CHECK(!http_origin_match("a.example.org", s)) &&
		    CHECK(!http_origin_match("https://*.example.org", s)) &&
		    CHECK(!http_origin_match("https://a.example.org", s));

		if (!ok)
			printf("\t%s\n", rows[i]);
	}
	CHECK(!http_origin_match("example.org", (struct span){ "example.org", 11 }));
	CHECK(!http_origin_match("example.org", (struct span){ "https://example.org\0", 20 }));
}

static void origin_patterns(void)
{
	static const struct { const char *pattern; bool want; } rows[] = {
		{ "https://example.org", true }, { "http://example.org:8080", true },
		{ "HTTPS://Example.Org", true }, { "example.org", true }, { "null", true },
		{ "*.example.org", true }, { "https://*.example.org", true }, { "*.org", true },
		{ "http://*.a.example.org:81", true }, { "localhost", true }, { "[::1]", true },
		{ "a", true }, { "*.a", true }, { "http://a:9", true }, { "https://a:65535", true },
		{ "http://[::1]", true }, { "http://[::1]:8080", true }, { "192.0.2.1", true },

		{ "", false }, { "*", false }, { "*.", false }, { "https://", false },
		{ "https://*", false }, { "https://*.", false }, { "a.*.org", false },
		{ "*a.org", false }, { "**.org", false }, { "*.*.org", false }, { "a.*", false },
		{ "*example.org", false }, { "https://example.org/", false },
		{ "https://example.org/x", false }, { "example.org/", false },
		{ "https://example.org?x", false }, { "https://u@example.org", false },
		{ "example.org:8080", false }, { "*.example.org:80", false },
		{ "://example.org", false }, { "//example.org", false }, { "a b", false },
		{ "https://a b", false }, { "https://a,https://b", false },
		{ " example.org", false },
		{ "https:// a", false }, { "https://\xc3\xa9.org", false }, { "::1", false },
		{ "https://example.org:", false }, { "https://example.org:x", false },
		{ "https://example.org:8x", false }, { "https://a:80:80", false },
		{ "https://:80", false }, { "https://a:65536", false }, { "http://a:99999", false },
		{ "http://a:184467440737095516160", false }, { "[", false }, { "[]", false },
		{ "[a b]", false },
		{ "http://[::1", false }, { "http://::1", false }, { "example.org:x", false },
		{ "htps://example.org", false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!CHECK(http_origin_pattern_valid(rows[i].pattern) == rows[i].want))
			printf("\t%s\n", rows[i].pattern);
}

/* The value of a field of a reply, which must be there at most once; "" is not there. */
static struct span reply_field(const char *reply, const char *name)
{
	struct span value = { "", 0 };
	const char *line = strstr(reply, "\r\n") + 2;

	while (strncmp(line, "\r\n", 2) != 0) {
		const size_t n = strcspn(line, "\r"), len = strcspn(line, ":");

		CHECK(line[n + 1] == '\n' && len > 0 && len + 2 < n && line[len + 1] == ' ');
		if (len == strlen(name) && strncasecmp(line, name, len) == 0) {
			CHECK(value.n == 0);
			value = (struct span){ line + len + 2, n - len - 2 };
		}
		line += n + 2;
	}
	return value;
}

/* The n bytes of a reply as a string, until the next. */
static const char *reply_string(const char *out, size_t n)
{
	static char s[HTTP_REPLY_MAX + 1];

	CHECK(n < HTTP_REPLY_MAX && memchr(out, 0, n) == NULL);
	memcpy(s, out, n);
	s[n] = '\0';
	return s;
}

static const char *reply_body(const char *reply)
{
	const char *body = strstr(reply, "\r\n\r\n");

	return CHECK(body != NULL) ? body + 4 : "";
}

/* RFC 6750 3 and the contract. */
static void challenge_of(char want[160], enum why why, bool given)
{
	const bool scope = why == WHY_SUBJECT_DENIED;
	const char *error = scope ? "insufficient_scope" : "invalid_token";

	want[0] = '\0';
	if (why_http(why) != 401 && !scope)
		return;
	strcpy(want, "Bearer realm=\"sluice\"");
	if (given || scope)
		snprintf(want + strlen(want), 120, ", error=\"%s\", error_description=\"%s\"",
		    error, why_text(why));
}

/* The longest that is given, and one that is not. */
static struct span origin_of(size_t n)
{
	static char s[HTTP_ORIGIN_MAX + 1];

	memset(s, 'a', sizeof s);
	memcpy(s, "https://", 8);
	return (struct span){ s, n };
}

static void check_cors(const char *out, struct span origin)
{
	const struct span got = reply_field(out, "Access-Control-Allow-Origin");
	const bool none_due = origin.n == 0 || origin.n > 255;

	CHECK(none_due ? got.n == 0 : got.n == origin.n && memcmp(got.p, origin.p, got.n) == 0);
	CHECK(is(reply_field(out, "Vary"), none_due ? "" : "Origin"));
	CHECK(reply_field(out, "Access-Control-Allow-Credentials").n == 0);
}

static void check_refusal(enum why why, bool given, struct span origin)
{
	char *room = (char *)guard(0, NULL, HTTP_REPLY_MAX), want[160], line[80];
	const int status = why_http(why);
	const char *out = reply_string(room, http_refusal(room, why, given, origin));
	const char *body = reply_body(out);

	snprintf(line, sizeof line, "HTTP/1.1 %d %s\r\n", status, why_text(why));
	CHECK(strncmp(out, line, strlen(line)) == 0);
	snprintf(want, sizeof want, "%s\n", why_text(why));
	CHECK(strcmp(body, want) == 0);
	snprintf(want, sizeof want, "%zu", strlen(body));
	CHECK(is(reply_field(out, "Content-Length"), want));
	CHECK(is(reply_field(out, "Content-Type"), "text/plain"));
	challenge_of(want, why, given);
	if (!CHECK(is(reply_field(out, "WWW-Authenticate"), want)))
		printf("\t%s\n", why_text(why));
	check_cors(out, origin);
	CHECK(is(reply_field(out, "Allow"), status == 405 ? "GET, POST, OPTIONS" : ""));
	CHECK(is(reply_field(out, "Upgrade"), status == 426 ? "websocket" : ""));
	CHECK(is(reply_field(out, "Sec-WebSocket-Version"), status == 426 ? "13" : ""));
	CHECK(is(reply_field(out, "Connection"), status == 426 ? "Upgrade, close" : "close"));
	CHECK(reply_field(out, "Transfer-Encoding").n == 0);
}

static void refusals(void)
{
	unsigned done = 0;

	for (unsigned why = 0; why < WHY_COUNT; why++) {
		if (why_http(why) < 400)
			continue;		/* of a connection that was let in */
		check_refusal(why, false, none);
		check_refusal(why, true, none);
		check_refusal(why, false, (struct span){ "https://example.org", 19 });
		check_refusal(why, true, origin_of(255));
		check_refusal(why, true, origin_of(256));
		done++;
	}
	CHECK(done > 25);
}

/* What the contract's table says of each, from the table of why.h. */
static void statuses(void)
{
	static const struct { enum why why; int status; const char *text; } rows[] = {
		{ WHY_BAD_REQUEST, 400, "bad_request" },
		{ WHY_HEAD_TOO_LARGE, 431, "head_too_large" },
		{ WHY_HANDSHAKE_TIMEOUT, 408, "handshake_timeout" },
		{ WHY_MESSAGE_TOO_LARGE, 413, "message_too_large" },
		{ WHY_METHOD_NOT_ALLOWED, 405, "method_not_allowed" },
		{ WHY_UPGRADE_REQUIRED, 426, "upgrade_required" },
		{ WHY_ORIGIN_DENIED, 403, "origin_denied" },
		{ WHY_TOO_MANY_CLIENTS, 503, "too_many_clients" },
		{ WHY_TOKEN_MISSING, 401, "token_missing" },
		{ WHY_TOKEN_MALFORMED, 401, "token_malformed" },
		{ WHY_ALG_NOT_ALLOWED, 401, "alg_not_allowed" },
		{ WHY_KEY_UNKNOWN, 401, "key_unknown" },
		{ WHY_SIGNATURE_INVALID, 401, "signature_invalid" },
		{ WHY_EXP_MISSING, 401, "exp_missing" },
		{ WHY_CLAIM_INVALID, 401, "claim_invalid" },
		{ WHY_CLOCK_UNSET, 503, "clock_unset" },
		{ WHY_TOKEN_EXPIRED, 401, "token_expired" },
		{ WHY_TOKEN_NOT_YET_VALID, 401, "token_not_yet_valid" },
		{ WHY_TTL_TOO_LONG, 401, "ttl_too_long" },
		{ WHY_ISSUER_MISMATCH, 401, "issuer_mismatch" },
		{ WHY_AUDIENCE_MISMATCH, 401, "audience_mismatch" },
		{ WHY_SUBJECT_DENIED, 403, "subject_denied" },
		{ WHY_ISSUED_BEFORE_START, 401, "issued_before_start" },
		{ WHY_TOKEN_USED, 401, "token_used" }, { WHY_RING_FULL, 503, "ring_full" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		CHECK(why_http(rows[i].why) == rows[i].status);
		CHECK(strcmp(why_text(rows[i].why), rows[i].text) == 0);
		CHECK(i == 0 || rows[i].why > rows[i - 1].why || i < 8);	/* their order */
	}
}

static void page_reply(void)
{
	char *room = (char *)guard(0, NULL, HTTP_REPLY_MAX);
	size_t n = http_ok(room, "text/html; charset=utf-8", 12345, "X-A: b\r\nX-C: d\r\n");
	const char *out = reply_string(room, n);

	CHECK(*reply_body(out) == '\0');
	CHECK(strncmp(out, "HTTP/1.1 200 OK\r\n", 17) == 0);
	CHECK(is(reply_field(out, "Content-Type"), "text/html; charset=utf-8"));
	CHECK(is(reply_field(out, "Content-Length"), "12345"));
	CHECK(is(reply_field(out, "X-A"), "b") && is(reply_field(out, "X-C"), "d"));
	n = http_ok(room, "text/plain", 0, "");
	out = reply_string(room, n);
	CHECK(*reply_body(out) == '\0' && is(reply_field(out, "Content-Length"), "0"));
}

/* RFC 6455 4.2.2 5; the accept value is no string. */
static void switch_reply(void)
{
	const char *accept = (char *)guard(1, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", WS_ACCEPT_LEN);

	static const char *const protocols[] = { NULL, "bearer", "sluice.v1" };

	for (size_t i = 0; i < 3; i++) {
		char *room = (char *)guard(0, NULL, HTTP_REPLY_MAX);
		const char *out = reply_string(room, http_switch(room, accept, protocols[i]));

		CHECK(*reply_body(out) == '\0');
		CHECK(strncmp(out, "HTTP/1.1 101 ", 13) == 0);
		CHECK(is(reply_field(out, "Upgrade"), "websocket"));
		CHECK(is(reply_field(out, "Connection"), "Upgrade"));
		CHECK(is(reply_field(out, "Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
		CHECK(is(reply_field(out, "Sec-WebSocket-Protocol"), protocols[i] ? protocols[i] : ""));
		CHECK(reply_field(out, "Sec-WebSocket-Extensions").n == 0);
		CHECK(reply_field(out, "Content-Length").n == 0);	/* RFC 9110 8.6 */
	}
}

/* WHATWG HTML 9.2; it ends with the connection. */
static void events_reply(void)
{
	char *room = (char *)guard(0, NULL, HTTP_REPLY_MAX);

	for (size_t n = 0; n <= 256; n++) {
		const char *out = reply_string(room, http_events(room, origin_of(n)));

		CHECK(strncmp(out, "HTTP/1.1 200 OK\r\n", 17) == 0);
		CHECK(strcmp(reply_body(out), "retry: 3000\n\n") == 0);
		CHECK(is(reply_field(out, "Content-Type"), "text/event-stream"));
		CHECK(is(reply_field(out, "Cache-Control"), "no-store"));
		CHECK(is(reply_field(out, "X-Accel-Buffering"), "no"));
		CHECK(is(reply_field(out, "Connection"), "close"));
		CHECK(reply_field(out, "Content-Length").n + reply_field(out, "Transfer-Encoding").n == 0);
		check_cors(out, origin_of(n));
	}
}

/* RFC 9110 8.6 and 15.3.5: nothing follows, and nothing says that it would. */
static void check_no_content(const char *out, bool keep, struct span origin)
{
	CHECK(strncmp(out, "HTTP/1.1 204 No Content\r\n", 25) == 0);
	CHECK(*reply_body(out) == '\0');
	CHECK(is(reply_field(out, "Connection"), keep ? "" : "close"));
	CHECK(reply_field(out, "Content-Length").n + reply_field(out, "Transfer-Encoding").n == 0);
	check_cors(out, origin);
}

static void no_content_replies(void)
{
	char *room = (char *)guard(0, NULL, HTTP_REPLY_MAX);

	for (int keep = 0; keep <= 1; keep++) {
		for (size_t n = 0; n <= 256; n += 51) {
			const struct span origin = origin_of(n);
			const char *out = reply_string(room, http_posted(room, keep, origin));

			check_no_content(out, keep, origin);
			CHECK(reply_field(out, "Access-Control-Allow-Methods").n == 0);
			out = reply_string(room, http_preflight(room, keep, origin));
			check_no_content(out, keep, origin);
			CHECK(is(reply_field(out, "Access-Control-Allow-Methods"), "GET, POST"));
			CHECK(is(reply_field(out, "Access-Control-Allow-Headers"),
			    "Authorization, Content-Type, Last-Event-ID, Cache-Control"));
			CHECK(is(reply_field(out, "Access-Control-Max-Age"), "86400"));
		}
	}
	CHECK(strcmp(HTTP_CONTINUE, "HTTP/1.1 100 Continue\r\n\r\n") == 0);
}

CHECK_MAIN(http, RUN(sample_request) RUN(splits) RUN(bytes_of_a_head) RUN(bytes_of_a_name)
    RUN(bytes_of_a_target) RUN(head_size) RUN(line_ends) RUN(request_lines) RUN(hosts)
    RUN(paths) RUN(queries) RUN(tokens) RUN(subprotocol_case) RUN(bodies) RUN(upgrade_fields)
    RUN(upgrade_checks) RUN(single_fields) RUN(origins) RUN(subdomains) RUN(hostile_origins)
    RUN(origin_patterns) RUN(refusals) RUN(statuses) RUN(page_reply) RUN(switch_reply)
    RUN(expectations) RUN(kept) RUN(accepted) RUN(last_event) RUN(subprotocols) RUN(events_reply)
    RUN(no_content_replies))
