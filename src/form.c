#include "form.h"

#include <assert.h>
#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "json.h"
#include "text.h"
#include "utf8.h"
#include "ws.h"

#define HEAD_LEN 10u		/* of our longest frame */
#define ID_MAX (FORM_EPOCH_MAX + 1 + 20)

#define V1_OP "{\"op\":\"msg\",\"subject\":\""
#define V1_ID "\",\"id\":\""
#define V1_DATA "\",\"data\":\""
#define V1_END "\"}"
#define V1_FIXED (sizeof V1_OP V1_ID V1_DATA V1_END - 1)

#define SSE_ID "id: "
#define SSE_DATA "\ndata: "
#define SSE_END "\n\n"
#define SSE_LINE_MAX (sizeof SSE_DATA - 1)	/* what one byte, a line's end, becomes */

/* What each form adds, and the most that it makes of one byte. */
size_t form_max(size_t n, size_t subject_len)
{
	_Static_assert(sizeof SSE_ID SSE_DATA SSE_END - 1 <= HEAD_LEN + V1_FIXED, "V1 adds more");
	_Static_assert(JSON_ESCAPE_MAX <= SSE_LINE_MAX, "SSE grows more");
	return HEAD_LEN + V1_FIXED + ID_MAX + JSON_ESCAPE_MAX * subject_len + SSE_LINE_MAX * n;
}

static uint8_t *put(uint8_t *out, const void *p, size_t n)
{
	memcpy(out, p, n);
	return out + n;
}

static uint8_t *put_id(uint8_t *out, const struct form_message *m)
{
	struct text t = { (char *)out, ID_MAX, 0 };

	text_all(&t, m->epoch, "-", NULL);
	text_num(&t, m->number, 1);
	assert(t.n <= ID_MAX);
	return out + t.n;
}

#define EACH(c) (0x0101010101010101u * (c))

/* The high bit of each byte of w that is zero; those above the first may be wrong. */
static uint64_t zeros(uint64_t w)
{
	return (w - EACH(1)) & ~w & EACH(0x80);
}

/* The same for bytes that have to be looked at: control, not ASCII, a or b. */
static uint64_t special(uint64_t w, uint8_t a, uint8_t b)
{
	const uint64_t control = (w - EACH(0x20)) & ~w;

	return ((control | w) & EACH(0x80)) | zeros(w ^ EACH(a)) | zeros(w ^ EACH(b));
}

/* Copy up to the first such byte. Each word is written whole and then cut, which is quicker than
 * to measure first; there is room, since no byte that is left becomes less than one. */
static uint8_t *copy_plain(uint8_t *out, const uint8_t **in, const uint8_t *end, uint8_t a, uint8_t b)
{
	const uint8_t *p = *in;

	while (end - p >= 8) {
		uint64_t w, found;

		memcpy(&w, p, sizeof w);
		memcpy(out, &w, sizeof w);
		found = special(le64toh(w), a, b);
		const unsigned n = found ? (unsigned)__builtin_ctzll(found) / 8 : 8;

		p += n;
		out += n;
		if (found)
			break;
	}
	while (p < end && *p >= 0x20 && *p < 0x80 && *p != a && *p != b)
		*out++ = *p++;
	*in = p;
	return out;
}

/* Copy what is not ASCII, up to the next byte that is. */
static uint8_t *copy_utf8(uint8_t *out, const uint8_t **in, const uint8_t *end)
{
	const uint8_t *from = *in, *p = from;
	bool ok = true;

	while (p < end && *p >= 0x80) {
		const size_t n = utf8_take(p, (size_t)(end - p), &ok);

		if (!ok) {
			out = put(out, from, (size_t)(p - from));
			out = put(out, "\xef\xbf\xbd", 3);
			from = p + n;
		}
		p += n;
	}
	*in = p;
	return put(out, from, (size_t)(p - from));
}

static uint8_t *put_json(uint8_t *out, const uint8_t *p, size_t n)
{
	const uint8_t *const end = n > 0 ? p + n : p;

	while ((out = copy_plain(out, &p, end, '"', '\\')), p < end) {
		if (*p == '"' || *p == '\\') {	/* JSON within JSON is full of them */
			*out++ = '\\';
			*out++ = *p++;
		} else if (*p >= 0x80) {
			out = copy_utf8(out, &p, end);
		} else {
			out += json_escape((char *)out, *p++);
		}
	}
	return out;
}

/* CR, LF and CRLF end a line; between two there is another, which may be empty. */
static uint8_t *put_lines(uint8_t *out, const uint8_t *p, size_t n)
{
	const uint8_t *const end = n > 0 ? p + n : p;

	while ((out = copy_plain(out, &p, end, '\r', '\n')), p < end) {
		const uint8_t c = *p;

		if (c >= 0x80) {
			out = copy_utf8(out, &p, end);
			continue;
		}
		p += c == '\r' && end - p > 1 && p[1] == '\n' ? 2 : 1;
		if (c == '\r' || c == '\n')
			out = put(out, SSE_DATA, sizeof SSE_DATA - 1);
		else
			*out++ = c;
	}
	return out;
}

/* Where the header ends is known only when all is written; where that guess was wrong, what is
 * behind it moves. */
static size_t write_v1(uint8_t *out, const struct form_message *m)
{
	const size_t guess = ws_head_len(V1_FIXED + m->subject_len + m->n);
	uint8_t *const from = out + guess, *p;

	p = put(from, V1_OP, sizeof V1_OP - 1);
	p = put_json(p, m->subject, m->subject_len);
	p = put(p, V1_ID, sizeof V1_ID - 1);
	p = put_id(p, m);
	p = put(p, V1_DATA, sizeof V1_DATA - 1);
	p = put_json(p, m->p, m->n);
	p = put(p, V1_END, sizeof V1_END - 1);

	const size_t len = (size_t)(p - from), head = ws_head_len(len);

	if (head != guess)
		memmove(out + head, from, len);
	return ws_head_write(out, WS_TEXT, len) + len;
}

static size_t write_sse(uint8_t *out, const struct form_message *m)
{
	uint8_t *p = put(out, SSE_ID, sizeof SSE_ID - 1);

	p = put_id(p, m);
	p = put(p, SSE_DATA, sizeof SSE_DATA - 1);
	p = put_lines(p, m->p, m->n);
	return (size_t)(put(p, SSE_END, sizeof SSE_END - 1) - out);
}

size_t form_write(uint8_t *out, enum form form, const struct form_message *m)
{
	assert(form == FORM_V1 || form == FORM_SSE);
	return form == FORM_V1 ? write_v1(out, m) : write_sse(out, m);
}
