/* ws.c - section numbers without an RFC are of RFC 6455. */

#include "ws.h"

#include <string.h>

#include "b64.h"
#include "sha1.h"
#include "utf8.h"

#define OPCODES_KNOWN 0x0707u	/* bit per opcode: 0 1 2, 8 9 10 (11.8) */

static uint64_t big_endian(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

enum why ws_head_read(struct ws_head *h, size_t *used, const uint8_t *in, size_t n)
{
	/* Validate all that each byte can tell before waiting for another, so that a peer in
	 * the wrong cannot hold a slot by stalling. */
	if (n < 1)
		return WHY_MORE;
	const uint8_t op = in[0] & 0x0f;
	const bool fin = in[0] & 0x80;

	if (in[0] & 0x70)
		return WHY_WS_RSV;		/* 5.2: no extension agreed */
	if (!(OPCODES_KNOWN >> op & 1))
		return WHY_WS_OPCODE;		/* 5.2: reserved */
	if (op & 8 && !fin)
		return WHY_WS_CONTROL;		/* 5.5: never in parts */
	if (n < 2)
		return WHY_MORE;
	const uint8_t len = in[1] & 0x7f;

	if (!(in[1] & 0x80))
		return WHY_WS_UNMASKED;		/* 5.1: a client always masks */
	if (op & 8 && len > WS_CONTROL_MAX)
		return WHY_WS_CONTROL;		/* 5.5: short */

	const size_t ext = len == 126 ? 2 : len == 127 ? 8 : 0;

	if (ext == 8 && n > 2 && in[2] & 0x80)
		return WHY_WS_LENGTH;		/* 5.2: 63 bits */
	if (n < 2 + ext)
		return WHY_MORE;
	const uint64_t real = ext ? big_endian(in + 2, ext) : len;

	if (ext == 2 && real < 126)
		return WHY_WS_LENGTH;		/* 5.2: the shortest form */
	if (ext == 8 && real <= 0xffff)
		return WHY_WS_LENGTH;
	if (n < 2 + ext + 4)
		return WHY_MORE;

	h->len = real;
	h->op = op;
	h->fin = fin;
	memcpy(h->mask, in + 2 + ext, 4);
	*used = 2 + ext + 4;
	return WHY_OK;
}

size_t ws_head_len(uint64_t len)
{
	return len < 126 ? 2 : len <= 0xffff ? 4 : 10;
}

size_t ws_head_write(uint8_t out[10], uint8_t op, uint64_t len)
{
	const size_t n = ws_head_len(len);

	out[0] = 0x80 | op;
	out[1] = n == 2 ? (uint8_t)len : n == 4 ? 126 : 127;
	for (size_t i = n; i-- > 2; len >>= 8)
		out[i] = (uint8_t)len;
	return n;
}

void ws_mask(uint8_t *p, size_t n, const uint8_t mask[4])
{
	for (size_t i = 0; i < n; i++)
		p[i] ^= mask[i & 3];
}

bool ws_accept(char out[WS_ACCEPT_LEN], const char *key, size_t n)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";	/* 1.3 */
	static const char bits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8_t text[WS_KEY_LEN + sizeof guid - 1], digest[SHA1_LEN];

	if (n != WS_KEY_LEN || key[22] != '=' || key[23] != '=')
		return false;
	for (size_t i = 0; i < 22; i++)
		if (!key[i] || !strchr(bits, key[i]))
			return false;
	if (!strchr("AQgw", key[21]))
		return false;			/* RFC 4648 3.5: zero trailing bits */
	memcpy(text, key, WS_KEY_LEN);
	memcpy(text + WS_KEY_LEN, guid, sizeof guid - 1);
	sha1(text, sizeof text, digest);
	b64_encode(out, digest, sizeof digest);
	return true;
}

/* 7.4.1, 7.4.2: what may stand in a frame. */
static bool close_code_sendable(uint16_t code)
{
	return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
	    (code >= 3000 && code <= 4999);
}

enum why ws_close_read(uint16_t *code, const uint8_t *p, size_t n)
{
	if (n == 0) {
		*code = 1005;
		return WHY_OK;
	}
	if (n == 1 || !close_code_sendable((uint16_t)big_endian(p, 2)))
		return WHY_WS_CLOSE;
	if (!utf8_valid(p + 2, n - 2))
		return WHY_WS_UTF8;		/* 8.1 */
	*code = (uint16_t)big_endian(p, 2);
	return WHY_OK;
}

size_t ws_close_write(uint8_t *out, enum why why)
{
	const char *text = why_text(why);
	const size_t n = strlen(text);
	const int code = why_close(why);

	ws_head_write(out, WS_CLOSE, 2 + n);
	out[2] = (uint8_t)(code >> 8);
	out[3] = (uint8_t)code;
	memcpy(out + 4, text, n);
	return 4 + n;
}
