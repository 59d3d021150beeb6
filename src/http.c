/* http.c - section numbers without an RFC are of RFC 9112. */

#include "http.h"

#include <string.h>
#include <strings.h>

#include "limits.h"
#include "text.h"
#include "ws.h"

enum why http_head_end(size_t *seen, const uint8_t *in, size_t n)
{
	const size_t end = n < HEAD_MAX ? n : HEAD_MAX;

	for (size_t i = *seen; i < end; i++) {
		const bool after_cr = i > 0 && in[i - 1] == '\r', lf = in[i] == '\n';

		if (in[i] >= ' ' && in[i] != 0x7f && !after_cr)
			continue;
		if (lf != after_cr)
			return WHY_BAD_REQUEST;		/* 2.2: CR and LF only as a pair */
		if (!lf && in[i] != '\t' && in[i] != '\r')
			return WHY_BAD_REQUEST;		/* RFC 9110 5.5 */
		if (lf && i >= 3 && in[i - 2] == '\n') {
			*seen = i + 1;
			return WHY_OK;
		}
	}
	*seen = end;
	return n < HEAD_MAX ? WHY_MORE : WHY_HEAD_TOO_LARGE;
}

bool http_token_char(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!http_token_char((uint8_t)s.p[i]))
			return false;
	return s.n > 0;
}

static bool span_is(struct span s, const char *text)
{
	return s.n == strlen(text) && strncasecmp(s.p, text, s.n) == 0;
}

/* The number of it among these, each of which ends with a NUL; of how many they are if it is none. */
static unsigned which(struct span s, const char *names)
{
	unsigned i = 0;

	for (; *names && !span_is(s, names); i++)
		names += strlen(names) + 1;
	return i;
}

static bool span_equal(struct span s, const char *text)	/* in the same case */
{
	return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static bool span_same(struct span a, struct span b)
{
	return a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0;
}

static struct span trim(struct span s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
		s.p++, s.n--;
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

/* Take what stands before the first c, or all, off the front of *rest. False: *rest is used up. */
static bool cut(struct span *part, struct span *rest, char c)
{
	if (!rest->p)
		return false;
	const char *at = memchr(rest->p, c, rest->n);

	part->p = rest->p;
	part->n = at ? (size_t)(at - rest->p) : rest->n;
	rest->p = at ? at + 1 : NULL;
	rest->n = at ? rest->n - part->n - 1 : 0;
	return true;
}

static bool list_has(struct span list, const char *text)	/* RFC 9110 5.6.1 */
{
	struct span item;

	while (cut(&item, &list, ','))
		if (span_is(trim(item), text))
			return true;
	return false;
}

int http_hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode percent-escapes in place, once (RFC 3986 2.1). A byte in deny may not be the result. */
static bool percent_decode(struct span *s, char *p, const char *deny)
{
	size_t out = 0;

	for (size_t i = 0; i < s->n; i++) {
		char c = p[i];

		if (c == '%') {
			const int high = s->n - i < 3 ? -1 : http_hex((uint8_t)p[i + 1]);
			const int low = high < 0 ? -1 : http_hex((uint8_t)p[i + 2]);

			if (low < 0)
				return false;
			c = (char)(high << 4 | low);
			if (!c || strchr(deny, c))
				return false;
			i += 2;
		}
		p[out++] = c;
	}
	s->n = out;
	return true;
}

/* Fields as FIELDS has them, those that may stand once first; and what else may stand once. */
enum { HOST, KEY, VERSION, ORIGIN, LAST_ID, AUTHORIZATION, LENGTH, CODING, EXPECT, ACCEPT, CONNECTION, PROTOCOL,
	UPGRADE, OTHER, TOKEN, REPLAY, SINCE };

#define FIELDS "host\0sec-websocket-key\0sec-websocket-version\0origin\0last-event-id\0authorization\0" \
	"content-length\0transfer-encoding\0expect\0accept\0connection\0sec-websocket-protocol\0upgrade\0"

struct parse {
	struct http_req *r;
	char    *base;		/* of the head, for decoding in place */
	unsigned once;
	bool     upgrade, connection, close, after_bearer;
};

static bool once(struct parse *p, unsigned what)
{
	const unsigned before = p->once;

	p->once |= 1u << what;
	return p->once != before;
}

static bool set_token(struct parse *p, struct span value)
{
	p->r->token = value;
	return once(p, TOKEN);
}

/* A name or an address in IPv4, with labels that are not empty and perhaps "*" for the first; or
 * an IPv6 address in brackets (RFC 3986 3.2.2). */
static bool host_valid(struct span host)
{
	const bool v6 = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';

	for (size_t i = v6; i < host.n - v6; i++) {
		const char c = host.p[i];

		if (v6 ? http_hex((uint8_t)c) < 0 && c != ':' && c != '.' : c == '.' ?
		    i == 0 || host.p[i - 1] == '.' : c == '*' ? i > 0 || host.n < 3 || host.p[1] != '.' :
		    !http_token_char((uint8_t)c) || strchr("#%^`|", c))
			return false;
	}
	return host.n > 0;
}

/* Split host[:port]; port.p is NULL where there is none. */
static bool split_host(struct span s, struct span *host, struct span *port)
{
	size_t i = s.n;
	int64_t v;

	*host = s;
	*port = (struct span){ NULL, 0 };
	while (i > 0 && s.p[i - 1] >= '0' && s.p[i - 1] <= '9')
		i--;
	if (i > 0 && s.p[i - 1] == ':' && (s.p[0] != '[' || (i > 1 && s.p[i - 2] == ']'))) {
		*port = (struct span){ s.p + i, s.n - i };
		host->n = i - 1;
		if (port->n > 0 && (!text_read(&v, port->p, port->n) || v > 65535))
			return false;
	}
	return host_valid(*host);
}

/* Query parameters that are not for us are left alone. */
static bool parse_query(struct parse *p, struct span query)
{
	struct span value, name;

	while (cut(&value, &query, '&')) {
		cut(&name, &value, '=');
		const unsigned what = !value.p ? OTHER : span_equal(name, "t") ? TOKEN :
		    span_equal(name, "since") ? SINCE : span_equal(name, "replay") ? REPLAY : OTHER;

		if (what == OTHER)
			continue;
		if (!percent_decode(&value, p->base + (value.p - p->base), "") || !once(p, what))
			return false;
		if (what == TOKEN)
			p->r->token = value;
		else if (what == SINCE)
			p->r->since = value;
		else if (!text_read(&p->r->replay, value.p, value.n))
			return false;
	}
	return true;
}

/* 3.2.2: of the absolute form, the path and query are left. */
static bool skip_authority(struct span *target)
{
	struct span host, port;
	size_t n = strncasecmp(target->p, "http://", 7) == 0 ? 7 :
	    strncasecmp(target->p, "https://", 8) == 0 ? 8 : 0;
	const size_t scheme = n;

	while (n < target->n && target->p[n] != '/' && target->p[n] != '?')
		n++;
	if (!scheme || !split_host((struct span){ target->p + scheme, n - scheme }, &host, &port))
		return false;
	target->p += n;
	target->n -= n;
	return true;
}

static bool parse_target(struct parse *p, struct span target)
{
	for (size_t i = 0; i < target.n; i++)
		if (target.p[i] < '!' || target.p[i] > '~' || strchr("#\"<>\\^`{|}", target.p[i]))
			return false;		/* RFC 3986 2: the rest is percent-encoded */

	const char *slash = memchr(target.p, '/', target.n);

	if (!target.n || (target.p[0] != '/' && !skip_authority(&target)))
		return false;
	struct span query = target;

	cut(&p->r->path, &query, '?');
	if (p->r->path.n == 0)
		p->r->path = (struct span){ slash, 1 };	/* 3.2.2: http://host, and any slash will do */
	else if (!percent_decode(&p->r->path, p->base + (p->r->path.p - p->base), "/"))
		return false;
	return parse_query(p, query);
}

static bool parse_request_line(struct parse *p, struct span line)
{
	struct span method, target;

	if (!cut(&method, &line, ' ') || !cut(&target, &line, ' ') || !line.p ||
	    !is_token(method))
		return false;
	if (line.n != 8 || memcmp(line.p, "HTTP/1.", 7) != 0 || line.p[7] < '0' || line.p[7] > '9')
		return false;			/* 2.3 */
	p->r->minor = line.p[7] != '0';
	p->r->method = span_equal(method, "GET") ? HTTP_GET :
	    span_equal(method, "HEAD") ? HTTP_HEAD : span_equal(method, "POST") ? HTTP_POST :
	    span_equal(method, "OPTIONS") ? HTTP_OPTIONS : HTTP_OTHER;
	return parse_target(p, target);
}

/* "bearer, T": the token is the subprotocol that follows, also in the next such field. */
static bool field_protocol(struct parse *p, struct span list)
{
	struct span item;

	while (cut(&item, &list, ',')) {
		item = trim(item);
		if (!item.n)
			continue;
		if (!is_token(item))
			return false;
		if (p->after_bearer) {
			p->after_bearer = false;
			if (!set_token(p, item))
				return false;
		} else if (span_equal(item, "bearer")) {	/* the reply names it as offered */
			if (p->r->bearer)
				return false;
			p->r->bearer = p->after_bearer = true;
		} else if (span_equal(item, "sluice.v1")) {
			if (p->r->v1)
				return false;
			p->r->v1 = true;
		}
	}
	return true;
}

static bool field_authorization(struct parse *p, struct span value)
{
	struct span scheme, rest = value;

	cut(&scheme, &rest, ' ');
	if (!span_is(scheme, "bearer"))
		return true;			/* somebody else's, such as a proxy's Basic */
	if (!rest.p)
		rest.p = value.p;
	return set_token(p, trim(rest));
}

/* RFC 9110 12.5.1: the media type, less its parameters and weight. */
static void field_accept(struct parse *p, struct span list)
{
	struct span item, type;

	while (cut(&item, &list, ',')) {
		cut(&type, &item, ';');
		p->r->events |= span_is(trim(type), "text/event-stream");
	}
}

static bool field(struct parse *p, struct span name, struct span value)
{
	const unsigned what = which(name, FIELDS);
	struct http_req *r = p->r;
	struct span host, port;

	if (what <= EXPECT && !once(p, what))
		return false;
	switch (what) {
	case HOST:				/* 3.2: an empty one is no error */
		return value.n == 0 || split_host(value, &host, &port);
	case KEY:
		r->key = value;
		break;
	case VERSION:
		r->version = value;
		break;
	case ORIGIN:
		r->origin = value;
		break;
	case LAST_ID:
		r->since = value;
		break;
	case AUTHORIZATION:
		return field_authorization(p, value);
	case LENGTH:				/* 6.3: no list, and not the same one again */
		return text_read(&r->length, value.p, value.n);
	case CODING:				/* 6.1: the one coding that we know, once */
		return r->chunked = span_is(value, "chunked");
	case EXPECT:				/* RFC 9110 10.1.1 */
		return r->expect = span_is(value, "100-continue");
	case ACCEPT:
		field_accept(p, value);
		break;
	case CONNECTION:
		p->connection |= list_has(value, "upgrade");
		p->close |= list_has(value, "close");
		break;
	case PROTOCOL:
		return field_protocol(p, value);
	case UPGRADE:
		p->upgrade |= list_has(value, "websocket");
	}
	return true;
}

static bool parse_field(struct parse *p, struct span line)
{
	struct span name, value = line;

	cut(&name, &value, ':');
	if (!value.p || !is_token(name))	/* 5.1, 5.2: no space before the colon, no folding */
		return false;
	return field(p, name, trim(value));
}

/* Is it clear where the body ends, and may there be one? */
static bool body_valid(const struct http_req *r)
{
	if (r->chunked && (r->length >= 0 || !r->minor))
		return false;			/* 6.1, 6.3: somebody reads it otherwise */
	return r->method == HTTP_POST || r->method == HTTP_OTHER || (!r->chunked && r->length <= 0);
}

enum why http_parse(struct http_req *r, uint8_t *head, size_t n)
{
	struct parse p = { .r = r, .base = (char *)head };
	struct span rest = { (char *)head, n - 2 }, line;	/* less the empty line */

	*r = (struct http_req){ .replay = -1, .length = -1 };
	cut(&line, &rest, '\n');
	line.n--;				/* its CR */
	if (n < 4 || !parse_request_line(&p, line))
		return WHY_BAD_REQUEST;
	r->fields = rest;
	while (cut(&line, &rest, '\n') && line.n > 0) {
		line.n--;
		if (!parse_field(&p, line))
			return WHY_BAD_REQUEST;
	}
	if (!body_valid(r))
		return WHY_BAD_REQUEST;
	if (r->minor && !(p.once & 1u << HOST))
		return WHY_BAD_REQUEST;		/* 3.2 */
	r->upgrade = r->minor && p.upgrade && p.connection;	/* RFC 9110 7.8 */
	r->keep = r->minor && !p.close;				/* 9.3 */
	r->expect &= r->minor && (r->chunked || r->length > 0);	/* RFC 9110 10.1.1 */
	return WHY_OK;
}

bool http_item(struct span *item, struct http_items *at, const char *name)
{
	struct span line, is;

	for (;;) {
		while (cut(item, &at->list, ',')) {
			*item = trim(*item);
			if (item->n > 0)
				return true;
		}
		if (!cut(&line, &at->fields, '\n') || line.n == 0)
			return false;
		line.n--;			/* its CR */
		at->list = line;
		cut(&is, &at->list, ':');
		if (!span_is(is, name))
			at->list.p = NULL;
	}
}

enum why http_upgrade_check(const struct http_req *r)
{
	char accept[WS_ACCEPT_LEN];

	if (r->method != HTTP_GET)
		return WHY_METHOD_NOT_ALLOWED;
	if (!r->upgrade)
		return WHY_UPGRADE_REQUIRED;
	if (!r->version.p || !span_is(r->version, "13"))
		return WHY_UPGRADE_REQUIRED;	/* RFC 6455 4.4 */
	if (!r->key.p || !ws_accept(accept, r->key.p, r->key.n))
		return WHY_BAD_REQUEST;
	return WHY_OK;
}

/* "scheme://host:port" or "host"; the scheme's own port is filled in. */
struct origin {
	struct span scheme, host, port;
};

static bool origin_split(struct origin *o, struct span s)
{
	const char *sep = s.n >= 3 ? memmem(s.p, s.n, "://", 3) : NULL;

	*o = (struct origin){ .scheme.p = NULL };
	if (sep) {
		o->scheme = (struct span){ s.p, (size_t)(sep - s.p) };
		s.p += o->scheme.n + 3;
		s.n -= o->scheme.n + 3;
	}
	if (!split_host(s, &o->host, &o->port) || (sep && o->scheme.n == 0) ||
	    (o->port.p && o->port.n == 0))
		return false;
	if (sep && !o->port.p)
		o->port = span_is(o->scheme, "https") ? (struct span){ "443", 3 } :
		    (struct span){ "80", 2 };
	return true;
}

bool http_origin_match(const char *pattern, struct span origin)
{
	struct origin want, got;
	const bool any = strstr(pattern, "*.");	/* ".example.org", and more before it */

	if (strcasecmp(pattern, "null") == 0 || span_is(origin, "null"))
		return span_is(origin, pattern);
	if (!origin_split(&want, (struct span){ pattern, strlen(pattern) }) ||
	    !origin_split(&got, origin) || !got.scheme.p || got.host.p[0] == '*')
		return false;
	if (want.scheme.p && (!span_same(want.scheme, got.scheme) || !span_same(want.port, got.port)))
		return false;
	if (any) {
		want.host.p++, want.host.n--;
		if (got.host.n <= want.host.n)
			return false;
		got.host.p += got.host.n - want.host.n;
		got.host.n = want.host.n;
	}
	return span_same(want.host, got.host);
}

bool http_origin_pattern_valid(const char *pattern)
{
	const struct span s = { pattern, strlen(pattern) };
	struct origin o;

	if (span_is(s, "null"))
		return true;
	return origin_split(&o, s) && (o.scheme.p ? span_is(o.scheme, "http") ||
	    span_is(o.scheme, "https") : !o.port.p);
}

/* The fields that a status asks for. */
static const char *status_fields(int status)
{
	return status == 405 ? "Allow: GET, POST, OPTIONS\r\n" :	/* RFC 9110 15.5.6 */
	    status == 426 ? "Upgrade: websocket\r\nConnection: Upgrade, close\r\n"
	    "Sec-WebSocket-Version: 13\r\n" :			/* RFC 9110 15.5.22 */
	    "";
}

static void put_body_fields(struct text *t, const char *type, size_t len)
{
	text_all(t, "Content-Type: ", type, "\r\nContent-Length: ", NULL);
	text_num(t, len, 1);
	text_str(t, "\r\nCache-Control: no-store\r\n");
}

/* One that is longer than any host's name can make it is no browser's. */
static void put_origin(struct text *t, struct span origin)
{
	if (origin.n < 1 || origin.n > HTTP_ORIGIN_MAX)
		return;
	text_str(t, "Access-Control-Allow-Origin: ");
	text_put(t, origin.p, origin.n);
	text_str(t, "\r\nVary: Origin\r\n");
}

size_t http_refusal(char out[HTTP_REPLY_MAX], enum why why, bool given, struct span origin)
{
	struct text t = { out, HTTP_REPLY_MAX, 0 };
	const int status = why_http(why);
	const char *text = why_text(why);

	text_str(&t, "HTTP/1.1 ");
	text_num(&t, (uint64_t)status, 3);
	text_all(&t, " ", text, "\r\n", NULL);		/* 4: a phrase for people */
	put_body_fields(&t, "text/plain", strlen(text) + 1);
	if (status == 401 || why == WHY_SUBJECT_DENIED) {
		text_str(&t, "WWW-Authenticate: Bearer realm=\"sluice\"");
		if (given || status == 403)
			text_all(&t, ", error=\"", status == 401 ? "invalid_token" : "insufficient_scope",
			    "\", error_description=\"", text, "\"", NULL);
		text_str(&t, "\r\n");
	}
	put_origin(&t, origin);
	text_all(&t, status_fields(status), status == 426 ? "" : "Connection: close\r\n", "\r\n", text,
	    "\n", NULL);
	return t.n;
}

size_t http_ok(char out[HTTP_REPLY_MAX], const char *type, size_t len, const char *more)
{
	struct text t = { out, HTTP_REPLY_MAX, 0 };

	text_str(&t, "HTTP/1.1 200 OK\r\n");
	put_body_fields(&t, type, len);
	text_all(&t, "Connection: close\r\n", more, "\r\n", NULL);
	return t.n;
}

size_t http_switch(char out[HTTP_REPLY_MAX], const char *accept, const char *protocol)
{
	struct text t = { out, HTTP_REPLY_MAX, 0 };

	text_str(&t, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Accept: ");
	text_put(&t, accept, WS_ACCEPT_LEN);
	if (protocol)
		text_all(&t, "\r\nSec-WebSocket-Protocol: ", protocol, NULL);
	text_str(&t, "\r\n\r\n");
	return t.n;
}

/* No length: the stream ends with the connection (6.3). Proxies would gather it up. */
size_t http_events(char out[HTTP_REPLY_MAX], struct span origin)
{
	struct text t = { out, HTTP_REPLY_MAX, 0 };

	text_str(&t, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
	    "X-Accel-Buffering: no\r\nConnection: close\r\n");
	put_origin(&t, origin);
	text_str(&t, "\r\nretry: 3000\n\n");
	return t.n;
}

/* RFC 9110 8.6: no Content-Length on a 204. */
static size_t no_content(char *out, bool keep, struct span origin, const char *more)
{
	struct text t = { out, HTTP_REPLY_MAX, 0 };

	text_str(&t, "HTTP/1.1 204 No Content\r\n");
	put_origin(&t, origin);
	text_all(&t, more, keep ? "" : "Connection: close\r\n", "\r\n", NULL);
	return t.n;
}

size_t http_posted(char out[HTTP_REPLY_MAX], bool keep, struct span origin)
{
	return no_content(out, keep, origin, "");
}

/* The fields that a token, a body and the libraries for events bring along. */
size_t http_preflight(char out[HTTP_REPLY_MAX], bool keep, struct span origin)
{
	return no_content(out, keep, origin, "Access-Control-Allow-Methods: GET, POST\r\n"
	    "Access-Control-Allow-Headers: Authorization, Content-Type, Last-Event-ID, "
	    "Cache-Control\r\n"
	    "Access-Control-Max-Age: 86400\r\n");
}
