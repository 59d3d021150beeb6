/* http.h - the request head, strictly (RFC 9112, RFC 9110), and replies.
 *
 * Pure: touches only the memory it is handed. */

#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "why.h"

struct span {
	const char *p;		/* NULL: not there */
	size_t n;
};

/* Look for the end of a head in in[0..n), of which the first *seen bytes have been looked at
 * before. WHY_OK: the head is the first *seen bytes; WHY_MORE; WHY_BAD_REQUEST at the first
 * byte that no head may hold, a bare CR or LF among them; WHY_HEAD_TOO_LARGE. */
enum why http_head_end(size_t *seen, const uint8_t *in, size_t n);

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_OPTIONS, HTTP_OTHER };

/* Spans point into the head. */
struct http_req {
	enum http_method method;
	bool minor;			/* HTTP/1.1, not 1.0 */
	bool upgrade;			/* to WebSocket, and the connection says so too */
	bool bearer, v1;		/* the subprotocols that are offered: bearer, sluice.v1 */
	bool keep;			/* the connection may be kept when this is answered */
	bool chunked;			/* the body, in place of a length; read it with body.h */
	bool expect;			/* 100-continue is asked for before the body is sent */
	bool events;			/* text/event-stream is accepted */
	struct span path;		/* percent-decoded, not checked to be a subject */
	struct span key, version;	/* Sec-WebSocket-Key, -Version */
	struct span origin;
	struct span token;		/* from wherever it stood */
	struct span fields;		/* all of them, as they came */
	struct span since;		/* Last-Event-ID, or if there is none, of the query */
	int64_t     replay;		/* query; -1: not there */
	int64_t     length;		/* Content-Length; -1: not there */
};

/* Parse a head that http_head_end has found, in place. WHY_OK or WHY_BAD_REQUEST. Only a POST, or
 * a method that is refused anyhow, comes with a body. */
enum why http_parse(struct http_req *r, uint8_t *head, size_t n);

/* The items of the list that all fields of this name are (RFC 9110 5.3, 5.6.1), one at each call.
 * At first, fields is that of the request and list is empty. */
struct http_items {
	struct span fields, list;
};

bool http_item(struct span *item, struct http_items *at, const char *name);

/* What an upgrade must further have (RFC 6455 4.2.1): WHY_OK, WHY_BAD_REQUEST,
 * WHY_METHOD_NOT_ALLOWED or WHY_UPGRADE_REQUIRED. */
enum why http_upgrade_check(const struct http_req *r);

/* One of the patterns of --origin, in any case, lets this Origin through. */
bool http_origin_match(const char *pattern, struct span origin);
bool http_origin_pattern_valid(const char *pattern);

bool http_token_char(uint8_t c);	/* RFC 9110 5.6.2 */
int http_hex(uint8_t c);		/* what a hexadecimal digit says, or -1 */

#define HTTP_REPLY_MAX 1024u
#define HTTP_ORIGIN_MAX 255u

/* Replies; each returns its length. origin: one that was let through, and may read the reply in
 * a browser (CORS); p is NULL where there is none. keep: the connection stays. */

/* A whole reply of refusal. given: a token was shown (RFC 6750 3). */
size_t http_refusal(char out[HTTP_REPLY_MAX], enum why why, bool given, struct span origin);

/* The head of a 200; type is its Content-Type, more further whole field lines. */
size_t http_ok(char out[HTTP_REPLY_MAX], const char *type, size_t len, const char *more);

/* The 101 (RFC 6455 4.2.2); accept has 28 characters; protocol is the one selected, or NULL. */
size_t http_switch(char out[HTTP_REPLY_MAX], const char *accept, const char *protocol);

/* The head of server-sent events, and the delay after which a browser comes back. */
size_t http_events(char out[HTTP_REPLY_MAX], struct span origin);

/* The whole 204 for a message that was taken; the same for a browser's question before a POST. */
size_t http_posted(char out[HTTP_REPLY_MAX], bool keep, struct span origin);
size_t http_preflight(char out[HTTP_REPLY_MAX], bool keep, struct span origin);

#define HTTP_CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"

#endif
