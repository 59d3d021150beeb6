/* ws.h - WebSocket, RFC 6455: the upgrade's key, frame headers, close payloads.
 *
 * Pure: touches only the memory it is handed. No descriptors, clock or heap. */

#ifndef WS_H
#define WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "why.h"

enum { WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };	/* 11.8 */

#define WS_HEAD_MAX 14u		/* of a client's frame: 2, length 8, mask 4 */
#define WS_CONTROL_MAX 125u	/* 5.5 */
#define WS_KEY_LEN 24u		/* of Sec-WebSocket-Key: base64 of 16 bytes (4.1) */
#define WS_ACCEPT_LEN 28u

struct ws_head {
	uint64_t len;		/* payload bytes after the header */
	uint8_t  mask[4];
	uint8_t  op;		/* low four bits of the first byte */
	bool     fin;
};

/* Read one client frame header from in[0..n).
 *   WHY_OK    *h is filled; *used header bytes were taken.
 *   WHY_MORE  not all here yet; *h and *used are untouched.
 *   other     the peer broke the protocol: close with why_close(). */
enum why ws_head_read(struct ws_head *h, size_t *used, const uint8_t *in, size_t n);

/* The header of an unmasked, final frame. Returns its length, 2, 4 or 10. */
size_t ws_head_len(uint64_t len);
size_t ws_head_write(uint8_t out[10], uint8_t op, uint64_t len);

/* Mask or unmask in place (5.3). */
void ws_mask(uint8_t *p, size_t n, const uint8_t mask[4]);

/* The value of Sec-WebSocket-Accept (4.2.2). False: key is not canonical base64 of 16 bytes. */
bool ws_accept(char out[WS_ACCEPT_LEN], const char *key, size_t n);

/* A close frame's payload (5.5.1): *code is 1005 where there is none (7.1.5). */
enum why ws_close_read(uint16_t *code, const uint8_t *p, size_t n);

/* A whole close frame with why's code and text; returns its length, at most 2 + 125. */
size_t ws_close_write(uint8_t *out, enum why why);

#endif
