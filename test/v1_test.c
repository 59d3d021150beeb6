#include "check.h"
#include "limits.h"
#include "v1.h"

static const struct span none = { NULL, 0 };

static struct span span_of(const char *s)
{
	return (struct span){ s, s ? strlen(s) : 0 };
}

static bool is(struct span s, const char *want)
{
	if (want == NULL || s.p == NULL)
		return want == s.p;
	return s.n == strlen(want) && memcmp(s.p, want, s.n) == 0;
}

/* The spans hold until the next. */
static void read_bytes(struct v1_op *op, const void *p, size_t n)
{
	v1_read(op, guard(0, p, n), n);
}

static void read_text(struct v1_op *op, const char *text)
{
	read_bytes(op, text, strlen(text));
}

/* Contract 4. */
static void operations(void)
{
	static const struct {
		const char *text;
		enum v1_what what;
		const char *token, *subject, *data, *since, *id;
		int64_t replay;
	} rows[] = {
		{ "{\"op\":\"auth\",\"token\":\"a.b.c\"}", V1_AUTH, "a.b.c", NULL, NULL, NULL, NULL, -1 },
		{ "{\"op\":\"auth\",\"token\":\"\",\"id\":\"x\"}", V1_AUTH, "", NULL, NULL, NULL, "\"x\"", -1 },
		{ "{\"op\":\"sub\",\"subject\":\"/a/+\"}", V1_SUB, NULL, "/a/+", NULL, NULL, NULL, -1 },
		{ "{\"op\":\"sub\",\"subject\":\"/a\",\"id\":1,\"replay\":5,\"since\":\"0f-17\"}",
		  V1_SUB, NULL, "/a", NULL, "0f-17", "1", 5 },
		{ " { \"since\" : \"\" , \"replay\":0,\"id\" : -1.5e3 , \"subject\":\"/\",\"op\":\"sub\"}\n",
		  V1_SUB, NULL, "/", NULL, "", "-1.5e3", 0 },
		{ "{\"op\":\"unsub\",\"subject\":\"/a\",\"id\":2}", V1_UNSUB, NULL, "/a", NULL, NULL, "2", -1 },
		{ "{\"op\":\"pub\",\"subject\":\"/a\",\"data\":\"hi\",\"id\":3}",
		  V1_PUB, NULL, "/a", "hi", NULL, "3", -1 },
		{ "{\"op\":\"pub\",\"subject\":\"/a\",\"data\":\"\"}", V1_PUB, NULL, "/a", "", NULL, NULL, -1 },
		/* unescaped, the names too; an id stays as it was */
		{ "{\"\\u006fp\":\"p\\u0075b\",\"subject\":\"\\/a\\u002fb\",\"data\":\"\\\"\\\\\\b\\f\\n\\r\\t"
		  "\\u00e9\\u20ac\\ud83d\\ude00\",\"id\":\"\\u0041\\\"\"}",
		  V1_PUB, NULL, "/a/b", "\"\\\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", NULL,
		  "\"\\u0041\\\"\"", -1 },
		/* what is not ours */
		{ "{\"x\":{\"op\":[1,{\"id\":5}]},\"op\":\"sub\",\"ID\":7,\"subject\":\"/a\",\"y\":null}",
		  V1_SUB, NULL, "/a", NULL, NULL, NULL, -1 },
		/* what another operation needs may be there */
		{ "{\"op\":\"unsub\",\"subject\":\"/a\",\"data\":\"x\",\"token\":\"t\",\"replay\":1}",
		  V1_UNSUB, "t", "/a", "x", NULL, NULL, 1 },
		{ "{\"op\":\"sub\",\"subject\":\"/a\",\"replay\":999999999999999999}",
		  V1_SUB, NULL, "/a", NULL, NULL, NULL, 999999999999999999 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct v1_op op;

		read_text(&op, rows[i].text);
		if (!CHECK(op.what == rows[i].what && is(op.token, rows[i].token) &&
		    is(op.subject, rows[i].subject) && is(op.data, rows[i].data) &&
		    is(op.since, rows[i].since) && is(op.id, rows[i].id) && op.replay == rows[i].replay))
			printf("\t%s\n", rows[i].text);
	}
}

/* id: what an error can say of each. */
static void refused(void)
{
	static const struct { const char *text, *id; } rows[] = {
		{ "", NULL }, { " ", NULL }, { "x", NULL }, { "null", NULL }, { "1", NULL },
		{ "\"op\"", NULL }, { "[]", NULL },
		{ "[{\"op\":\"sub\",\"subject\":\"/\",\"id\":1}]", NULL },
		{ "{}", NULL }, { "{\"id\":1}", "1" }, { "{\"op\":\"sub\"}", NULL },
		{ "{\"op\":\"\",\"id\":1}", "1" },
		{ "{\"op\":\"SUB\",\"subject\":\"/\",\"id\":1}", "1" },
		{ "{\"op\":\"subs\",\"subject\":\"/\",\"id\":1}", "1" },
		{ "{\"op\":\"su\",\"subject\":\"/\",\"id\":1}", "1" },
		{ "{\"op\":\"sub\\u0000\",\"subject\":\"/\",\"id\":1}", "1" },
		{ "{\"op\":1,\"subject\":\"/\",\"id\":1}", "1" },
		{ "{\"op\":null,\"subject\":\"/\",\"id\":1}", "1" },
		{ "{\"op\":[\"sub\"],\"subject\":\"/\",\"id\":1}", "1" },
		{ "{\"op\":{\"op\":\"sub\"},\"subject\":\"/\",\"id\":1}", "1" },
		{ "{\"op\":\"msg\",\"subject\":\"/\",\"data\":\"x\",\"id\":1}", "1" },
		/* what the operation needs */
		{ "{\"op\":\"auth\",\"id\":1}", "1" },
		{ "{\"op\":\"auth\",\"subject\":\"/\",\"id\":1}", "1" },
		{ "{\"op\":\"sub\",\"id\":1}", "1" },
		{ "{\"op\":\"unsub\",\"token\":\"a\",\"id\":1}", "1" },
		{ "{\"op\":\"pub\",\"id\":1,\"subject\":\"/\"}", "1" },
		{ "{\"op\":\"pub\",\"id\":1,\"data\":\"/\"}", "1" },
		/* types */
		{ "{\"op\":\"auth\",\"token\":null,\"id\":1}", "1" },
		{ "{\"op\":\"sub\",\"subject\":[\"/\"],\"id\":1}", "1" },
		{ "{\"op\":\"sub\",\"subject\":{\"id\":2},\"id\":1}", "1" },
		{ "{\"op\":\"pub\",\"subject\":\"/\",\"data\":{\"a\":[1]},\"id\":1}", "1" },
		{ "{\"op\":\"pub\",\"subject\":\"/\",\"data\":5,\"id\":1}", "1" },
		{ "{\"op\":\"sub\",\"subject\":\"/\",\"since\":5,\"id\":1}", "1" },
		{ "{\"op\":\"sub\",\"subject\":\"/\",\"since\":null,\"id\":1}", "1" },
		{ "{\"op\":\"unsub\",\"subject\":\"/\",\"data\":true,\"id\":1}", "1" },
		{ "{\"op\":\"sub\",\"subject\":\"/\",\"replay\":-1,\"id\":1}", "1" },
		{ "{\"op\":\"sub\",\"subject\":\"/\",\"replay\":1.5,\"id\":1}", "1" },
		{ "{\"op\":\"sub\",\"subject\":\"/\",\"replay\":1e3,\"id\":1}", "1" },
		{ "{\"op\":\"sub\",\"subject\":\"/\",\"replay\":\"1\",\"id\":1}", "1" },
		{ "{\"op\":\"sub\",\"subject\":\"/\",\"replay\":null,\"id\":1}", "1" },
		{ "{\"op\":\"sub\",\"subject\":\"/\",\"replay\":1000000000000000000,\"id\":1}", "1" },
		{ "{\"op\":\"sub\",\"subject\":\"/\",\"id\":null}", NULL },
		{ "{\"op\":\"sub\",\"subject\":\"/\",\"id\":true}", NULL },
		{ "{\"op\":\"sub\",\"subject\":\"/\",\"id\":[1]}", NULL },
		{ "{\"op\":\"sub\",\"subject\":\"/\",\"id\":{\"id\":1}}", NULL },
		/* no JSON: what came before it may hold an id */
		{ "{\"op\":\"sub\",\"subject\":\"/\",\"id\":1}x", "1" },
		{ "{\"op\":\"sub\",\"subject\":\"/\",\"id\":1}{}", "1" },
		{ "{\"op\":\"sub\",\"subject\":\"/\",\"id\":1,}", "1" },
		{ "{\"op\":\"sub\",\"subject\":\"/\",\"id\":1", "1" },
		{ "{\"op\":\"sub\",\"subject\":\"/,\"id\":1}", NULL },
		{ "{\"op\":\"sub\",\"subject\":\"\\ud800\",\"id\":1}", NULL },
		{ "{\"op\":\"sub\",\"subject\":\"/\",\"id\":1,\"id\":1}", "1" },
		{ "{\"id\":1,\"op\":\"sub\",\"subject\":\"/\",\"su\\u0062ject\":\"/a\"}", "1" },
		{ "{\"id\":1,\"op\":\"sub\",\"subject\":\"/\xff\"}", NULL },	/* not UTF-8: nothing is read */
		{ "\xef\xbb\xbf{\"op\":\"sub\",\"subject\":\"/\",\"id\":1}", NULL },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct v1_op op;

		read_text(&op, rows[i].text);
		if (!CHECK(op.what == V1_BAD && is(op.id, rows[i].id)))
			printf("\t%s\n", rows[i].text);
	}
}

static void ids(void)
{
	for (size_t n = 1; n < 80; n++) {
		for (int quoted = 0; quoted <= 1; quoted++) {
			char text[160], id[100];
			struct v1_op op;

			memset(id, '7', sizeof id);
			if (quoted && n >= 2)
				id[0] = id[n - 1] = '"';
			id[n] = '\0';
			snprintf(text, sizeof text, "{\"id\":%s,\"op\":\"sub\",\"subject\":\"/\"}", id);
			read_text(&op, text);
			CHECK(op.what == (n <= 64 ? V1_SUB : V1_BAD));
			CHECK(is(op.id, n <= 64 ? id : NULL));
		}
	}
}

static void nuls(void)
{
	struct v1_op op;

	read_text(&op, "{\"op\":\"pub\",\"subject\":\"/\\u0000\",\"data\":\"\\u0000a\\u0000\"}");
	CHECK(op.what == V1_PUB && op.data.n == 3 && op.subject.n == 2);
	CHECK_BYTES(op.data.p, "\0a\0", 3);
	CHECK_BYTES(op.subject.p, "/\0", 2);
	read_bytes(&op, "{\"op\":\"auth\",\"token\":\"\"}\0", 26);
	CHECK(op.what == V1_BAD);
	read_bytes(&op, "{\"op\":\"auth\",\"token\":\"a\0\"}", 26);
	CHECK(op.what == V1_BAD);
	v1_read(&op, NULL, 0);
	CHECK(op.what == V1_BAD);
}

/* What is cut off anywhere is no operation. */
static void every_prefix(void)
{
	static const char text[] = "{\"op\":\"pub\",\"subject\":\"/a\\u00e9\",\"data\":\"\\ud83d\\ude00x\","
	    "\"id\":\"a\",\"x\":[1,{\"y\":null}],\"since\":\"0-1\",\"replay\":12}";
	struct v1_op op;

	for (size_t n = 0; n < sizeof text - 1; n++) {
		read_bytes(&op, text, n);
		CHECK(op.what == V1_BAD && (op.id.p == NULL || is(op.id, "\"a\"")));
	}
	read_bytes(&op, text, sizeof text - 1);
	CHECK(op.what == V1_PUB && is(op.data, "\xf0\x9f\x98\x80x"));
}

static bool frame_is(const uint8_t *out, size_t n, const char *want)
{
	const size_t len = strlen(want), head = len < 126 ? 2 : 4;
	const bool ok = n == head + len && out[0] == 0x81 && memcmp(out + head, want, len) == 0 &&
	    (head == 2 ? out[1] == len : out[1] == 126 && out[2] == len >> 8 && out[3] == (len & 255));

	if (!ok)
		printf("\t%.*s\n\t%s\n", (int)n, (const char *)out, want);
	return ok;
}

static void replies(void)
{
	uint8_t *out = guard(1, NULL, V1_REPLY_MAX);
	const struct span one = span_of("1"), text = span_of("\"\\u0041\"");

	CHECK(frame_is(out, v1_ok(out, one), "{\"op\":\"ok\",\"id\":1}"));
	CHECK(frame_is(out, v1_ok(out, text), "{\"op\":\"ok\",\"id\":\"\\u0041\"}"));
	CHECK(frame_is(out, v1_ok(out, none), "{\"op\":\"ok\"}"));
	CHECK(frame_is(out, v1_error(out, one, span_of("/a\"\\\xc3\xa9"), WHY_SUBJECT_DENIED),
	    "{\"op\":\"error\",\"id\":1,\"subject\":\"/a\\\"\\\\\xc3\xa9\",\"reason\":\"subject_denied\"}"));
	CHECK(frame_is(out, v1_error(out, none, span_of("/a"), WHY_SUBJECT_DENIED),
	    "{\"op\":\"error\",\"subject\":\"/a\",\"reason\":\"subject_denied\"}"));
	CHECK(frame_is(out, v1_error(out, text, none, WHY_BAD_REQUEST),
	    "{\"op\":\"error\",\"id\":\"\\u0041\",\"reason\":\"bad_request\"}"));
	CHECK(frame_is(out, v1_error(out, none, none, WHY_RENEWAL_MISMATCH),
	    "{\"op\":\"error\",\"reason\":\"renewal_mismatch\"}"));
	CHECK(frame_is(out, v1_ready(out, none, 1795343000), "{\"op\":\"ready\",\"expires\":1795343000}"));
	CHECK(frame_is(out, v1_ready(out, one, 0), "{\"op\":\"ready\",\"id\":1,\"expires\":0}"));
	CHECK(frame_is(out, v1_ready(out, none, -1), "{\"op\":\"ready\",\"expires\":null}"));
	CHECK(frame_is(out, v1_ready(out, none, INT64_MAX),
	    "{\"op\":\"ready\",\"expires\":9223372036854775807}"));
	CHECK(frame_is(out, v1_gap(out, span_of("/a"), 12), "{\"op\":\"gap\",\"subject\":\"/a\",\"missed\":12}"));
	CHECK(frame_is(out, v1_gap(out, span_of("/"), 0), "{\"op\":\"gap\",\"subject\":\"/\",\"missed\":0}"));
	CHECK(frame_is(out, v1_gap(out, span_of("/"), UINT64_MAX),
	    "{\"op\":\"gap\",\"subject\":\"/\",\"missed\":null}"));
	CHECK(frame_is(out, v1_expiring(out, 60), "{\"op\":\"expiring\",\"in\":60}"));
	CHECK(frame_is(out, v1_expiring(out, 0), "{\"op\":\"expiring\",\"in\":0}"));
}

/* The longest of all that they are made of, and a subject that is none. */
static void longest(void)
{
	char subject[SUBJECT_MAX * 2], quoted[2 * SUBJECT_MAX + 1], want[V1_REPLY_MAX + 1];
	char id[V1_ID_MAX + 1];
	uint8_t *out = guard(1, NULL, V1_REPLY_MAX);
	const struct span whole = { subject, SUBJECT_MAX };

	memset(subject, '"', sizeof subject);
	for (size_t i = 0; i < SUBJECT_MAX; i++)
		memcpy(quoted + 2 * i, "\\\"", 2);
	quoted[2 * SUBJECT_MAX] = '\0';
	memset(id, '9', V1_ID_MAX);
	id[V1_ID_MAX] = '\0';
	for (enum why why = 0; why < WHY_COUNT; why++) {
		snprintf(want, sizeof want, "{\"op\":\"error\",\"id\":%s,\"subject\":\"%s\",\"reason\":\"%s\"}",
		    id, quoted, why_text(why));
		CHECK(frame_is(out, v1_error(out, span_of(id), whole, why), want));
	}
	snprintf(want, sizeof want, "{\"op\":\"gap\",\"subject\":\"%s\",\"missed\":18446744073709551614}",
	    quoted);
	CHECK(frame_is(out, v1_gap(out, whole, UINT64_MAX - 1), want));
	CHECK(frame_is(out, v1_error(out, none, (struct span){ subject, sizeof subject }, WHY_BAD_REQUEST),
	    "{\"op\":\"error\",\"reason\":\"bad_request\"}"));
}

/* A header of two bytes and one of four. */
static void lengths(void)
{
	uint8_t *out = guard(1, NULL, V1_REPLY_MAX);

	for (size_t n = 1; n <= SUBJECT_MAX; n++) {
		char subject[SUBJECT_MAX + 1], want[400];

		memset(subject, 'a', n);
		subject[n] = '\0';
		snprintf(want, sizeof want, "{\"op\":\"gap\",\"subject\":\"%s\",\"missed\":1}", subject);
		CHECK(frame_is(out, v1_gap(out, span_of(subject), 1), want));
	}
}

CHECK_MAIN(v1, RUN(operations) RUN(refused) RUN(ids) RUN(nuls) RUN(every_prefix) RUN(replies)
    RUN(longest) RUN(lengths))
