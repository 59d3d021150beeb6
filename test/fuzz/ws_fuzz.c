/* ws_fuzz.c - a client's frames: a header is the same however it is cut, and within the bounds
 * of RFC 6455.
 *
 * Links ws.c, b64.c, sha1.c, utf8.c and why.c. */
#include "check.h"
#include "utf8.h"
#include "ws.h"

#define MUST(e) do { \
	if (!(e)) { \
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #e); \
		abort(); \
	} \
} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* What was read is what a client writes who follows RFC 6455 5.2. */
static void check_head(const struct ws_head *h, size_t used, const uint8_t *in, size_t n)
{
	uint8_t again[WS_HEAD_MAX];
	const size_t plain = ws_head_write(again, h->op, h->len);

	MUST(used <= n && used <= WS_HEAD_MAX && used == ws_head_len(h->len) + 4);
	MUST(plain == used - 4);
	again[0] = (uint8_t)((again[0] & 0x7f) | h->fin << 7);
	again[1] |= 0x80;
	memcpy(again + plain, h->mask, 4);
	MUST(memcmp(again, in, used) == 0);
	MUST(h->len <= INT64_MAX);
	MUST(h->op <= 2 || (h->op >= 8 && h->op <= 10));
	MUST(h->op < 8 || (h->fin && h->len <= WS_CONTROL_MAX));
}

/* Read with every number of bytes that a header can need: first MORE, which changes nothing,
 * then the answer, which stays. */
static enum why read_head(struct ws_head *h, size_t *used, const uint8_t *p, size_t n)
{
	const size_t most = n < WS_HEAD_MAX + 2 ? n : WS_HEAD_MAX + 2;
	struct ws_head was;
	enum why why = WHY_MORE;

	memset(h, 0x5a, sizeof *h);
	*used = 99;
	was = *h;
	for (size_t k = 0; k <= most; k++) {
		const enum why now = ws_head_read(h, used, guard(0, p, k), k);

		MUST(why == WHY_MORE || now == why);
		MUST(now != WHY_MORE || (*used == 99 && memcmp(h, &was, sizeof was) == 0));
		MUST(why == WHY_OK || now != WHY_OK || *used == k);
		why = now;
	}
	MUST(why == WHY_OK || why == WHY_MORE || why_close(why) == 1002);
	MUST(why != WHY_MORE || n < WS_HEAD_MAX);
	return why;
}

static void payload(const struct ws_head *h, const uint8_t *p, size_t n)
{
	uint8_t *data = guard(1, p, n), *key = guard(2, h->mask, 4);
	uint16_t code = 0;

	ws_mask(data, n, key);
	if (h->op == WS_CLOSE && n <= WS_CONTROL_MAX) {
		const enum why why = ws_close_read(&code, data, n);

		MUST(why == WHY_OK || why == WHY_WS_CLOSE || why == WHY_WS_UTF8);
		MUST(why != WHY_OK || code == 1005 || (code >= 1000 && code <= 4999));
		MUST(why != WHY_OK || n < 2 || (code == data[0] * 256 + data[1] && code != 1005 &&
		    code != 1006 && utf8_valid(data + 2, n - 2)));
	}
	ws_mask(data, n, key);
	MUST(n == 0 || memcmp(data, p, n) == 0);
}

static void key(const uint8_t *p, size_t n)
{
	char *out = (char *)guard(1, NULL, WS_ACCEPT_LEN);

	if (ws_accept(out, (const char *)guard(0, p, n), n))
		MUST(n == WS_KEY_LEN && out[WS_ACCEPT_LEN - 1] == '=' && out[0] != '=');
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	size_t at = 0;

	if (n > 65536 + 1024)
		return 0;
	key(p, n);
	if (n > WS_KEY_LEN)
		key(p, WS_KEY_LEN);
	while (at < n) {
		struct ws_head h;
		size_t used;

		if (read_head(&h, &used, p + at, n - at) != WHY_OK)
			break;
		check_head(&h, used, p + at, n - at);
		at += used;
		if (h.len > n - at) {
			payload(&h, p + at, n - at);
			break;
		}
		payload(&h, p + at, (size_t)h.len);
		at += (size_t)h.len;
	}
	return 0;
}
