#include "check.h"
#include "form.h"
#include "json.h"
#include "utf8.h"
#include "ws.h"

#define R "\xef\xbf\xbd"
#define EPOCH "0f3a9c21"

static size_t write_number(const uint8_t **out, enum form form, uint64_t number, const char *subject,
    const void *p, size_t n)
{
	const size_t len = strlen(subject), max = form_max(n, len);
	const struct form_message m = { EPOCH, number, guard(2, subject, len), len, guard(0, p, n), n };
	uint8_t *room = guard(1, NULL, max);
	const size_t wrote = form_write(room, form, &m);

	CHECK(wrote <= max && room[-1] == 0xa5);
	*out = room;
	return wrote;
}

static size_t write_form(const uint8_t **out, enum form form, const char *subject, const void *p,
    size_t n)
{
	return write_number(out, form, 17, subject, p, n);
}

/* An unmasked, final text frame with the shortest length; its payload. */
static const uint8_t *payload(const uint8_t *p, size_t n, size_t *len)
{
	const size_t head = p[1] < 126 ? 2 : p[1] == 126 ? 4 : 10;
	uint64_t said = 0;

	for (size_t i = head == 2 ? 1 : 2; i < head; i++)
		said = said << 8 | p[i];
	CHECK(p[0] == 0x81 && p[1] < 128 && said == n - head);
	CHECK(head == 2 ? said < 126 : head == 4 ? said >= 126 && said < 65536 : said >= 65536);
	*len = (size_t)said;
	return p + head;
}

static void msg_rows(void)
{
#define MSG(s, d) "{\"op\":\"msg\",\"subject\":\"" s "\",\"id\":\"0f3a9c21-17\",\"data\":\"" d "\"}"
	static const struct { const char *subject, *data, *want; } rows[] = {
		{ "/", "", MSG("/", "") },
		{ "/plant/boiler", "20.5", MSG("/plant/boiler", "20.5") },
		{ "/", "say \"hi\" \\o/", MSG("/", "say \\\"hi\\\" \\\\o/") },
		{ "/", "\b\f\n\r\t", MSG("/", "\\b\\f\\n\\r\\t") },
		{ "/", "\x01\x1f\x7f", MSG("/", "\\u0001\\u001f\x7f") },
		{ "/\"a\\", "x", MSG("/\\\"a\\\\", "x") },
		{ "/\xc3\xa9", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
		  MSG("/\xc3\xa9", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80") },
		{ "/", "\xff" "a\xe2\x82" "b\xe2\x82", MSG("/", R "a" R "b" R) },
		{ "/", "\xed\xa0\x80\xc0\xaf", MSG("/", R R R R R) },
		{ "/", "\xe2\x80\xa8</script>", MSG("/", "\xe2\x80\xa8</script>") },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const uint8_t *out;
		size_t n = write_form(&out, FORM_V1, rows[i].subject, rows[i].data,
		    strlen(rows[i].data));

		out = payload(out, n, &n);
		if (!CHECK(n == strlen(rows[i].want) && memcmp(out, rows[i].want, n) == 0))
			printf("\trow %zu: %zu %.*s\n", i, n, (int)n, (const char *)out);
	}

	const uint8_t *out;
	const char nul[] = MSG("/", "\\u0000x");

	CHECK(write_form(&out, FORM_V1, "/", "\0x", 2) == 2 + sizeof nul - 1);
	CHECK_BYTES(out + 2, nul, sizeof nul - 1);
#undef MSG
}

/* WHATWG HTML 9.2.6: what a browser makes of each is its data with every end of a line LF. */
static void event_rows(void)
{
#define ID "id: 0f3a9c21-17\n"
	static const struct { const char *data, *want; } rows[] = {
		{ "", ID "data: \n\n" }, { "20.5", ID "data: 20.5\n\n" },
		{ " a", ID "data:  a\n\n" }, { ":a", ID "data: :a\n\n" },
		{ "a\nb", ID "data: a\ndata: b\n\n" }, { "a\rb", ID "data: a\ndata: b\n\n" },
		{ "a\r\nb", ID "data: a\ndata: b\n\n" },
		{ "a\n\rb", ID "data: a\ndata: \ndata: b\n\n" },
		{ "a\r\r\n\n", ID "data: a\ndata: \ndata: \ndata: \n\n" },
		{ "a\n", ID "data: a\ndata: \n\n" }, { "\r", ID "data: \ndata: \n\n" },
		{ "event: x\n\nid: 1", ID "data: event: x\ndata: \ndata: id: 1\n\n" },
		{ "\t\"\\\x01\x7f", ID "data: \t\"\\\x01\x7f\n\n" },
		{ "\xc3\xa9\xff\n\xe2\x82", ID "data: \xc3\xa9" R "\ndata: " R "\n\n" },
		{ "\xe2\x80\xa8\xc2\x85", ID "data: \xe2\x80\xa8\xc2\x85\n\n" },	/* end no line */
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const uint8_t *out;
		const size_t n = write_form(&out, FORM_SSE, "/", rows[i].data, strlen(rows[i].data));

		if (!CHECK(n == strlen(rows[i].want) && memcmp(out, rows[i].want, n) == 0))
			printf("\trow %zu: %.*s\n", i, (int)n, (const char *)out);
	}

	const uint8_t *out;

	CHECK(write_form(&out, FORM_SSE, "/", "a\0b", 3) == 27);
	CHECK_BYTES(out, ID "data: a\0b\n\n", 27);
#undef ID
}

static void numbers(void)
{
	static const struct { uint64_t number; const char *id; } rows[] = {
		{ 0, "id: " EPOCH "-0\n" }, { 1, "id: " EPOCH "-1\n" },
		{ UINT64_MAX, "id: " EPOCH "-18446744073709551615\n" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const uint8_t *out;
		const size_t n = strlen(rows[i].id);

		CHECK(write_number(&out, FORM_SSE, rows[i].number, "/", "", 0) == n + 8);
		CHECK_BYTES(out, rows[i].id, n);
		CHECK(write_number(&out, FORM_V1, rows[i].number, "/", "", 0) == n + 41);
		CHECK(memmem(out, n + 41, rows[i].id + 4, n - 5) != NULL);
	}
}

/* The longest epoch, and whatever grows most, fits. */
static void most(void)
{
	static const uint8_t bytes[] = { 0x00, '\n', 0xff, '"', 'x' };

	for (size_t k = 0; k < sizeof bytes; k++) {
		for (size_t n = 0; n < 200; n++) {
			uint8_t data[200], *room;
			struct form_message m = { "0123456789abcdef", UINT64_MAX, data, n, data, n };

			memset(data, bytes[k], n);
			for (enum form f = FORM_V1; f <= FORM_SSE; f++) {
				room = guard(1, NULL, form_max(n, n));
				CHECK(form_write(room, f, &m) <= form_max(n, n));
			}
		}
	}
}

/* The reader's own idea of the string member name is want. */
static void string_is(struct json *j, const char *name, const uint8_t *want, size_t n)
{
	static uint8_t got[1 << 20];
	size_t len = 0;

	CHECK(json_next(j) == JSON_NAME && json_is(j, name) && json_next(j) == JSON_STRING);
	CHECK(json_string(j, got, sizeof got, &len) && len == n && memcmp(got, want, n) == 0);
}

static void read_msg(const uint8_t *data, size_t n)
{
	static uint8_t want[1 << 20];
	const uint8_t *out;
	size_t len = write_form(&out, FORM_V1, "/a", data, n);
	struct json j;

	out = payload(out, len, &len);
	json_init(&j, out, len);
	CHECK(json_next(&j) == JSON_OBJECT);
	string_is(&j, "op", (const uint8_t *)"msg", 3);
	string_is(&j, "subject", (const uint8_t *)"/a", 2);
	string_is(&j, "id", (const uint8_t *)EPOCH "-17", 11);
	utf8_replace(want, data, n);
	string_is(&j, "data", want, utf8_replaced_len(data, n));
	CHECK(json_next(&j) == JSON_OBJECT_END && json_next(&j) == JSON_DONE);
}

/* Lines of an event, each "data: " and ended by LF only, put together again by LF. */
static void read_event(const uint8_t *data, size_t n)
{
	static uint8_t want[1 << 20], got[1 << 20];
	const size_t len = utf8_replaced_len(data, n);
	const uint8_t *out;
	const size_t wrote = write_form(&out, FORM_SSE, "/a", data, n), id = strlen("id: " EPOCH "-17\n");
	size_t w = 0, g = 0;

	utf8_replace(want, data, n);
	for (size_t i = 0; i < len; i++) {
		const bool crlf = want[i] == '\r' && i + 1 < len && want[i + 1] == '\n';

		want[w++] = want[i] == '\r' ? '\n' : want[i];
		i += crlf;
	}
	CHECK(wrote > id + 2 && out[wrote - 1] == '\n' && memchr(out, '\r', wrote) == NULL);
	for (size_t i = id; i < wrote - 1; i++) {
		CHECK(memcmp(out + i, "data: ", 6) == 0);
		for (i += 6; out[i] != '\n'; i++)
			got[g++] = out[i];
		got[g++] = '\n';
	}
	CHECK(g == w + 1 && memcmp(got, want, w) == 0);
}

/* Whatever stands wherever in a word, and at the end. */
static void places(void)
{
	static const char *const odd[] = { "\"", "\\", "\n", "\r", "\r\n", "\x1f", "\x7f", "\x80",
		"\xc3\xa9", "\xe2\x82", "\xf0\x9f\x98\x80", "!", "[", " ", "\"\"", "#\"", "]\\" };
	uint8_t data[40];

	for (size_t k = 0; k < sizeof odd / sizeof *odd; k++) {
		for (size_t at = 0; at < 20; at++) {
			memset(data, 'x', sizeof data);
			memcpy(data + at, odd[k], strlen(odd[k]));
			for (size_t n = at; n <= at + 12; n++) {
				read_msg(data, n);
				read_event(data, n);
			}
		}
	}
}

static void random_bytes(void)
{
	static const uint8_t bytes[] = { 'a', 'b', '"', '\\', '\n', '\r', 0, 0x1f, 0x20, 0x21, 0x7f,
	    0x80, 0xbf, 0xc3, 0xe2, 0x82, 0xf0, 0x9f, 0xff };
	uint64_t seed = 11;

	for (int round = 0; round < 40000; round++) {
		uint8_t data[80];
		const size_t n = check_random(&seed) % sizeof data;
		const bool plain = check_random(&seed) & 1;

		for (size_t i = 0; i < n; i++)
			data[i] = plain && check_random(&seed) % 8 ? 'x' :
			    bytes[check_random(&seed) % sizeof bytes];
		read_msg(data, n);
		read_event(data, n);
	}
}

/* Where the frame's header grows: guessed right, and because of what is escaped, wrong. */
static void lengths(void)
{
	static uint8_t data[70000];

	for (size_t escaped = 0; escaped < 4; escaped++) {
		memset(data, 'x', sizeof data);
		memset(data, '\n', escaped);
		for (size_t n = 40; n < 140; n++)
			read_msg(data, n);
		for (size_t n = 65536 - 80; n < 65536 + 10; n++)
			read_msg(data, n);
	}
	memset(data, 1, sizeof data);
	read_msg(data, sizeof data);
	read_msg(data, 12000);
	memset(data, '\n', sizeof data);
	read_event(data, sizeof data);
}

CHECK_MAIN(form, RUN(msg_rows) RUN(event_rows) RUN(numbers) RUN(most) RUN(places)
    RUN(random_bytes) RUN(lengths))
