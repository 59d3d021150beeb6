/* Section numbers without an RFC are of RFC 6455. */
#include "check.h"
#include "ws.h"

static const uint8_t mask[4] = { 0x37, 0xfa, 0x21, 0x3d };	/* of 5.7 */

/* A client's header with that length in a form of 0, 2 or 8 further bytes, minimal or not. */
static size_t client_head(uint8_t out[WS_HEAD_MAX], uint8_t first, uint64_t len, size_t form)
{
	out[0] = first;
	out[1] = (uint8_t)(0x80 | (form == 0 ? len : form == 2 ? 126 : 127));
	for (size_t i = form; i > 0; i--, len >>= 8)
		out[1 + i] = (uint8_t)len;
	memcpy(out + 2 + form, mask, 4);
	return 2 + form + 4;
}

static size_t form_of(uint64_t len)
{
	return len < 126 ? 0 : len < 65536 ? 2 : 8;
}

static enum why read_head(struct ws_head *h, size_t *used, const void *p, size_t n)
{
	return ws_head_read(h, used, guard(0, p, n), n);
}

/* 5.7: a masked "Hello". */
static void sample_frame(void)
{
	uint8_t frame[11];
	const size_t n = unhex(frame, "818537fa213d7f9f4d5158");
	struct ws_head h;
	size_t used;

	CHECK(read_head(&h, &used, frame, n) == WHY_OK);
	CHECK(used == 6 && h.len == 5 && h.op == WS_TEXT && h.fin);
	CHECK_BYTES(h.mask, mask, 4);
	ws_mask(frame + used, 5, h.mask);
	CHECK_BYTES(frame + used, "Hello", 5);
}

/* All that a header says is read back, and a part of one changes nothing. */
static void lengths(void)
{
	static const uint64_t rows[] = {
		0, 1, 5, 124, 125, 126, 127, 128, 255, 256, 65534, 65535, 65536, 65537,
		1u << 24, UINT32_MAX, (uint64_t)UINT32_MAX + 1, INT64_MAX - 1, INT64_MAX,
	};
	static const uint8_t firsts[] = { 0x00, 0x01, 0x02, 0x80, 0x81, 0x82 };

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (size_t f = 0; f < sizeof firsts; f++) {
			uint8_t in[WS_HEAD_MAX + 3] = { 0 };
			const size_t n = client_head(in, firsts[f], rows[i], form_of(rows[i]));
			struct ws_head h, was;
			size_t used = 77;

			memset(&h, 0x5a, sizeof h);
			was = h;
			for (size_t k = 0; k < n; k++) {
				CHECK(read_head(&h, &used, in, k) == WHY_MORE);
				CHECK(used == 77 && memcmp(&h, &was, sizeof h) == 0);
			}
			for (size_t k = n; k <= n + 3; k++) {
				CHECK(read_head(&h, &used, in, k) == WHY_OK && used == n);
				CHECK(h.len == rows[i] && h.op == (firsts[f] & 15));
				CHECK(h.fin == (firsts[f] >> 7));
				CHECK_BYTES(h.mask, mask, 4);
			}
		}
	}
}

/* 5.2: the minimal number of bytes, and the most significant bit 0. */
static void wrong_lengths(void)
{
	static const struct { uint64_t len; size_t form; bool ok; } rows[] = {
		{ 0, 2, false }, { 1, 2, false }, { 124, 2, false }, { 125, 2, false },
		{ 126, 2, true }, { 127, 2, true }, { 65535, 2, true },
		{ 0, 8, false }, { 125, 8, false }, { 126, 8, false }, { 65535, 8, false },
		{ 65536, 8, true }, { INT64_MAX, 8, true },
		{ (uint64_t)INT64_MAX + 1, 8, false }, { UINT64_MAX, 8, false },
		{ (uint64_t)1 << 63 | 125, 8, false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const enum why want = rows[i].ok ? WHY_OK : WHY_WS_LENGTH;
		uint8_t in[WS_HEAD_MAX];
		const size_t n = client_head(in, 0x82, rows[i].len, rows[i].form);
		struct ws_head h;
		size_t used;

		if (!CHECK(read_head(&h, &used, in, n) == want))
			printf("\t%llu in %zu\n", (unsigned long long)rows[i].len, rows[i].form);
		if (!rows[i].ok)	/* known without the mask */
			CHECK(read_head(&h, &used, in, n - 4) == WHY_WS_LENGTH);
	}
	for (uint64_t len = 0; len < 65536; len++) {
		uint8_t in[WS_HEAD_MAX];
		struct ws_head h;
		size_t used;

		client_head(in, 0x82, len, 2);
		CHECK(ws_head_read(&h, &used, in, 8) == (len < 126 ? WHY_WS_LENGTH : WHY_OK));
		client_head(in, 0x82, len, 8);
		CHECK(ws_head_read(&h, &used, in, 14) == WHY_WS_LENGTH);
	}
}

#define BIT(why) ((uint64_t)1 << (why))

/* What is wrong with two bytes, one bit for each that may be said; 0: nothing. */
static uint64_t faults(uint8_t a, uint8_t b)
{
	static const char opcodes[] = "ddd-----ccc-----";	/* 11.8: data, control, reserved */
	const char kind = opcodes[a % 16];
	uint64_t wrong = 0;

	if (a / 16 % 8 != 0)
		wrong |= BIT(WHY_WS_RSV);
	if (kind == '-')
		wrong |= BIT(WHY_WS_OPCODE);
	if (kind == 'c' && (a < 128 || b % 128 > 125))		/* 5.5 */
		wrong |= BIT(WHY_WS_CONTROL);
	if (a % 16 > 7 && (a < 128 || b % 128 > 125))
		wrong |= kind == '-' ? BIT(WHY_WS_CONTROL) : 0;	/* reserved for control: either */
	if (b < 128)
		wrong |= BIT(WHY_WS_UNMASKED);			/* 5.1 */
	return wrong;
}

static void every_beginning(void)
{
	for (unsigned a = 0; a < 256; a++) {
		for (unsigned b = 0; b < 256; b++) {
			const uint64_t wrong = faults((uint8_t)a, (uint8_t)b);
			uint8_t in[WS_HEAD_MAX] = { (uint8_t)a, (uint8_t)b };
			const size_t form = b % 128 < 126 ? 0 : b % 128 == 126 ? 2 : 8;
			struct ws_head h;
			size_t used;
			enum why why = read_head(&h, &used, in, 2);

			CHECK(wrong ? BIT(why) & wrong : why == WHY_MORE);
			if (wrong)
				continue;
			in[form == 2 ? 2 : 5] = 1;	/* 256, or 2^32 */
			why = read_head(&h, &used, in, 6 + form);
			CHECK(why == WHY_OK && used == 6 + form);
			CHECK(h.op == a % 16 && h.fin == a / 128);
			CHECK(h.len == (form == 0 ? b % 128 : form == 2 ? 256 : (uint64_t)1 << 32));
		}
	}
}

/* A peer in the wrong is refused at the byte that shows it. */
static void first_byte(void)
{
	for (unsigned a = 0; a < 256; a++) {
		const uint64_t wrong = faults((uint8_t)a, 0x80);
		const uint8_t in = (uint8_t)a;
		struct ws_head h;
		size_t used;
		const enum why why = read_head(&h, &used, &in, 1);

		CHECK(wrong ? BIT(why) & wrong : why == WHY_MORE);
	}
}

/* 5.7's examples, and each form at its bounds. */
static void server_head(void)
{
	static const struct { uint8_t op; uint64_t len; const char *want; } rows[] = {
		{ WS_TEXT, 5, "8105" }, { WS_PING, 5, "8905" }, { WS_PONG, 0, "8a00" },
		{ WS_CLOSE, 125, "887d" }, { WS_BINARY, 256, "827e0100" },
		{ WS_BINARY, 65536, "827f0000000000010000" }, { WS_TEXT, 0, "8100" },
		{ WS_TEXT, 125, "817d" }, { WS_TEXT, 126, "817e007e" },
		{ WS_TEXT, 65535, "817effff" }, { WS_TEXT, 65537, "817f0000000000010001" },
		{ WS_TEXT, INT64_MAX, "817f7fffffffffffffff" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint8_t want[10], *out = guard(0, NULL, 10);
		const size_t n = unhex(want, rows[i].want);

		CHECK(ws_head_len(rows[i].len) == n);
		CHECK(ws_head_write(out, rows[i].op, rows[i].len) == n);
		CHECK_BYTES(out, want, n);
	}
}

/* 5.3: transformed octet i is original octet i XOR masking key octet i modulo 4. */
static void masking(void)
{
	uint64_t seed = 7;
	uint8_t in[80], want[80], key[4];

	for (size_t n = 0; n <= sizeof in; n++) {
		for (size_t i = 0; i < 4; i++)
			key[i] = (uint8_t)check_random(&seed);
		for (size_t i = 0; i < n; i++) {
			in[i] = (uint8_t)check_random(&seed);
			want[i] = in[i] ^ key[i % 4];
		}
		uint8_t *p = guard(0, in, n);

		ws_mask(p, n, key);
		CHECK_BYTES(p, want, n);
		CHECK(p[-1] == 0xa5);
		ws_mask(p, n, key);
		CHECK_BYTES(p, in, n);
		if (n < 4)
			continue;

		/* From a multiple of four on, it is the same. */
		ws_mask(p, 4, key);
		ws_mask(p + 4, n - 4, key);
		CHECK_BYTES(p, want, n);
	}
}

static bool accept_key(const void *key, size_t n, char out[WS_ACCEPT_LEN])
{
	return ws_accept(out, (const char *)guard(0, key, n), n);
}

/* 1.3; the second from 16 zero bytes, worked out with OpenSSL. */
static void accept_samples(void)
{
	char *out = (char *)guard(1, NULL, WS_ACCEPT_LEN);

	CHECK(accept_key("dGhlIHNhbXBsZSBub25jZQ==", 24, out));
	CHECK_BYTES(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28);
	CHECK(accept_key("AAAAAAAAAAAAAAAAAAAAAA==", 24, out));
	CHECK_BYTES(out, "ICX+Yqv66kxgM0FcWaLWlFLwTAI=", 28);
}

/* 4.1: the base64 of 16 bytes, which leaves four bits over that are zero (RFC 4648 3.5). */
static void accept_keys(void)
{
	static const char sixty_four[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	static const char *const bad[] = {
		"", "=", "==", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=",
		"dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZQ== ",
		" dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZTE=", "dGhlIHNhbXBsZSBub25jZTEy",
		"dGhlIHNhbXBsZSBub25j", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "AAAA-AAAAAAAAAAA_AAAAA==",
	};
	char key[25] = "dGhlIHNhbXBsZSBub25jZQ==", out[WS_ACCEPT_LEN];

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!CHECK(!accept_key(bad[i], strlen(bad[i]), out)))
			printf("\t%s\n", bad[i]);
	for (size_t at = 0; at < 24; at++) {
		const char was = key[at];

		for (unsigned c = 0; c < 256; c++) {
			const char *alphabet = at < 21 ? sixty_four : at == 21 ? "AQgw" : "=";

			key[at] = (char)c;
			const bool want = c != 0 && strchr(alphabet, (int)c) != NULL;

			if (!CHECK(accept_key(key, 24, out) == want) && check_bad <= CHECK_SHOWN)
				printf("\tbyte %u at %zu\n", c, at);
		}
		key[at] = was;
	}
	for (size_t n = 0; n < 24; n++)
		CHECK(!accept_key(key, n, out));
}

/* 7.4.1, 7.4.2, and the registry of 11.7, which has since added 1012 to 1014. */
static bool sendable(unsigned code)
{
	static const struct { unsigned from, to; } ranges[] = {
		{ 1000, 1003 }, { 1007, 1014 }, { 3000, 3999 }, { 4000, 4999 },
	};

	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
		if (code >= ranges[i].from && code <= ranges[i].to)
			return true;
	return false;
}

static void close_codes(void)
{
	for (unsigned c = 0; c < 65536; c++) {
		const uint8_t in[4] = { (uint8_t)(c >> 8), (uint8_t)c, 'h', 'i' };
		const enum why want = sendable(c) ? WHY_OK : WHY_WS_CLOSE;
		uint16_t code = 0;

		for (size_t n = 2; n <= 4; n++) {
			if (!CHECK(ws_close_read(&code, guard(0, in, n), n) == want) &&
			    check_bad <= CHECK_SHOWN)
				printf("\tcode %u\n", c);
			CHECK(want != WHY_OK || code == c);
		}
	}
}

static void close_payloads(void)
{
	static const struct { const char *hex; enum why want; uint16_t code; } rows[] = {
		{ "", WHY_OK, 1005 },				/* 7.1.5 */
		{ "03", WHY_WS_CLOSE, 0 }, { "00", WHY_WS_CLOSE, 0 },
		{ "03e8", WHY_OK, 1000 }, { "03e8c3a9", WHY_OK, 1000 },
		{ "03e800", WHY_OK, 1000 }, { "03e8efbbbf", WHY_OK, 1000 },
		{ "03e8c3", WHY_WS_UTF8, 0 }, { "03e8ff", WHY_WS_UTF8, 0 },
		{ "03e8eda080", WHY_WS_UTF8, 0 }, { "03e8c0af", WHY_WS_UTF8, 0 },
		{ "03e8f4908080", WHY_WS_UTF8, 0 }, { "03e86180", WHY_WS_UTF8, 0 },
		{ "03ed61", WHY_WS_CLOSE, 0 },
	};
	uint8_t in[WS_CONTROL_MAX] = { 0x03, 0xf0 };
	uint16_t code = 0;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint8_t p[8];
		const size_t n = unhex(p, rows[i].hex);

		code = 0;
		if (!CHECK(ws_close_read(&code, guard(0, p, n), n) == rows[i].want))
			printf("\t%s\n", rows[i].hex);
		CHECK(rows[i].want != WHY_OK || code == rows[i].code);
	}
	memset(in + 2, 'x', sizeof in - 2);
	CHECK(ws_close_read(&code, guard(0, in, sizeof in), sizeof in) == WHY_OK && code == 1008);
}

/* Every reason that may stand in a frame gives a close frame that a client must accept. */
static void close_frames(void)
{
	unsigned frames = 0;

	for (unsigned why = 0; why < WHY_COUNT; why++) {
		const char *text = why_text(why);
		const unsigned want = (unsigned)why_close(why);

		if (want == 0 || want == 1006)
			continue;			/* why.h: never sent */
		uint8_t *out = guard(0, NULL, 2 + WS_CONTROL_MAX);
		const size_t n = ws_close_write(out, why);

		CHECK(n == 4 + strlen(text) && n <= 2 + WS_CONTROL_MAX);
		CHECK(out[0] == 0x88 && out[1] == n - 2);	/* final, no mask (5.1) */
		CHECK(out[2] * 256u + out[3] == want && sendable(want));
		CHECK_BYTES(out + 4, text, n - 4);
		for (size_t i = 4; i < n; i++)
			CHECK(out[i] == '_' || (out[i] >= 'a' && out[i] <= 'z') ||
			    (out[i] >= '0' && out[i] <= '9'));
		uint16_t code = 0;

		CHECK(ws_close_read(&code, out + 2, n - 2) == WHY_OK && code == want);
		frames++;
	}
	CHECK(frames > 30);
}

CHECK_MAIN(ws, RUN(sample_frame) RUN(lengths) RUN(wrong_lengths) RUN(every_beginning)
    RUN(first_byte) RUN(server_head) RUN(masking) RUN(accept_samples) RUN(accept_keys)
    RUN(close_codes) RUN(close_payloads) RUN(close_frames))
