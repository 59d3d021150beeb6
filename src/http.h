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

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_OTHER };

/* Spans point into the head. */
struct http_req {
	enum http_method method;
	bool minor;			/* HTTP/1.1, not 1.0 */
	bool upgrade;			/* to WebSocket, and the connection says so too */
	bool bearer;			/* the subprotocol is offered */
	struct span path;		/* percent-decoded, not checked to be a subject */
	struct span key, version;	/* Sec-WebSocket-Key, -Version */
	struct span origin;
	struct span token;		/* from wherever it stood */
	struct span since;		/* query */
	int64_t     replay;		/* query; -1: not there */
};

/* Parse a head that http_head_end has found, in place. WHY_OK or WHY_BAD_REQUEST. */
enum why http_parse(struct http_req *r, uint8_t *head, size_t n);

/* What an upgrade must further have (RFC 6455 4.2.1): WHY_OK, WHY_BAD_REQUEST,
 * WHY_METHOD_NOT_ALLOWED or WHY_UPGRADE_REQUIRED. */
enum why http_upgrade_check(const struct http_req *r);

/* One of the patterns of --origin, in any case, lets this Origin through. */
bool http_origin_match(const char *pattern, struct span origin);
bool http_origin_pattern_valid(const char *pattern);

#define HTTP_REPLY_MAX 640u

/* A whole reply of refusal; returns its length. given: a token was shown (RFC 6750 3). */
size_t http_refusal(char out[HTTP_REPLY_MAX], enum why why, bool given);

/* The head of a 200; type is its Content-Type, more further whole field lines. */
size_t http_ok(char out[HTTP_REPLY_MAX], const char *type, size_t len, const char *more);

/* The 101 (RFC 6455 4.2.2); accept has 28 characters. */
size_t http_switch(char out[HTTP_REPLY_MAX], const char *accept, bool bearer);

#endif
