#include "v1.h"

#include <assert.h>
#include <string.h>

#include "json.h"
#include "limits.h"
#include "text.h"
#include "ws.h"

static enum v1_what what_is(const struct json *j)
{
	return json_is(j, "auth") ? V1_AUTH : json_is(j, "sub") ? V1_SUB :
	    json_is(j, "unsub") ? V1_UNSUB : json_is(j, "pub") ? V1_PUB : V1_BAD;
}

/* Where a member that is a string belongs. */
static struct span *string_of(struct v1_op *op, const struct json *j)
{
	return json_is(j, "token") ? &op->token : json_is(j, "subject") ? &op->subject :
	    json_is(j, "data") ? &op->data : json_is(j, "since") ? &op->since : NULL;
}

/* A value of another type is passed over. */
static bool next_is(struct json *j, enum json_event want)
{
	const enum json_event e = json_next(j);

	if (e != want)
		json_skip(j, e);
	return e == want;
}

/* In place: of what it has passed, the reader looks again at names only. */
static bool read_string(struct span *to, struct json *j, uint8_t *text)
{
	if (!next_is(j, JSON_STRING))
		return false;
	uint8_t *at = text + (j->text - text);

	to->p = (const char *)at;
	return json_string(j, at, j->len, &to->n);
}

static bool read_id(struct span *id, struct json *j)
{
	const enum json_event e = json_next(j);
	const size_t quote = e == JSON_STRING, len = j->len + 2 * quote;

	if ((e != JSON_NUMBER && e != JSON_STRING) || len > V1_ID_MAX) {
		json_skip(j, e);
		return false;
	}
	*id = (struct span){ (const char *)j->text - quote, len };
	return true;
}

static bool read_member(struct v1_op *op, struct json *j, uint8_t *text)
{
	struct span *string = string_of(op, j);

	if (string)
		return read_string(string, j, text);
	if (json_is(j, "id"))
		return read_id(&op->id, j);
	if (json_is(j, "op"))
		return next_is(j, JSON_STRING) && (op->what = what_is(j)) != V1_BAD;
	if (json_is(j, "replay"))
		return next_is(j, JSON_NUMBER) &&
		    text_read(&op->replay, (const char *)j->text, j->len);
	return json_skip(j, JSON_NAME);
}

static bool is_complete(const struct v1_op *op)
{
	return op->what == V1_AUTH ? op->token.p != NULL :
	    op->subject.p && (op->what != V1_PUB || op->data.p);
}

/* What is wrong with a member stops nothing, since the id may come after it. */
void v1_read(struct v1_op *op, uint8_t *text, size_t n)
{
	struct json j;
	enum json_event e;
	bool ok = true;

	*op = (struct v1_op){ .what = V1_BAD, .replay = -1 };
	json_init(&j, text, n);
	if (json_next(&j) != JSON_OBJECT)
		return;
	while ((e = json_next(&j)) == JSON_NAME)
		ok &= read_member(op, &j, text);
	if (!ok || e != JSON_OBJECT_END || json_next(&j) != JSON_DONE || !is_complete(op))
		op->what = V1_BAD;
}

/* A reply is put together behind the longest header that it can have. */
#define HEAD_LEN 4u
#define QUOTED_MAX (2 * SUBJECT_MAX + 2)	/* no control byte is in one */

#define WHY_ROOM(name, text, http, close) char name##_[sizeof text];
union longest_why { WHY_LIST(WHY_ROOM) };

_Static_assert(HEAD_LEN + sizeof "{'op':'error','id':,'subject':,'reason':''}" + V1_ID_MAX +
    QUOTED_MAX + sizeof(union longest_why) <= V1_REPLY_MAX, "the longest reply fits");

static struct text begin(uint8_t *out, const char *op, struct span id)
{
	struct text t = { (char *)out + HEAD_LEN, V1_REPLY_MAX - HEAD_LEN, 0 };

	assert(id.n <= V1_ID_MAX);
	text_all(&t, "{\"op\":\"", op, "\"", NULL);
	if (id.p) {
		text_str(&t, ",\"id\":");
		text_put(&t, id.p, id.n);
	}
	return t;
}

static size_t end(uint8_t *out, struct text *t)
{
	text_str(t, "}");
	assert(t->n <= t->cap);
	const size_t head = ws_head_write(out, WS_TEXT, t->n);

	memmove(out + head, out + HEAD_LEN, t->n);
	return head + t->n;
}

/* One that is none, and so longer than any subject is, is left out. */
static void put_subject(struct text *t, struct span subject)
{
	char quoted[QUOTED_MAX];
	const size_t n = subject.p ? json_quote(quoted, sizeof quoted, subject.p, subject.n) : 0;

	if (n > 0 && n <= sizeof quoted) {
		text_str(t, ",\"subject\":");
		text_put(t, quoted, n);
	}
}

/* A number, or null where there is none. */
static void put_number(struct text *t, const char *name, bool is, uint64_t v)
{
	text_all(t, ",\"", name, "\":", NULL);
	if (is)
		text_num(t, v, 1);
	else
		text_str(t, "null");
}

size_t v1_ok(uint8_t out[V1_REPLY_MAX], struct span id)
{
	struct text t = begin(out, "ok", id);

	return end(out, &t);
}

size_t v1_error(uint8_t out[V1_REPLY_MAX], struct span id, struct span subject, enum why why)
{
	struct text t = begin(out, "error", id);

	put_subject(&t, subject);
	text_all(&t, ",\"reason\":\"", why_text(why), "\"", NULL);
	return end(out, &t);
}

size_t v1_ready(uint8_t out[V1_REPLY_MAX], struct span id, int64_t expires_s)
{
	struct text t = begin(out, "ready", id);

	put_number(&t, "expires", expires_s >= 0, (uint64_t)expires_s);
	return end(out, &t);
}

size_t v1_gap(uint8_t out[V1_REPLY_MAX], struct span subject, uint64_t missed)
{
	struct text t = begin(out, "gap", (struct span){ NULL, 0 });

	put_subject(&t, subject);
	put_number(&t, "missed", missed != UINT64_MAX, missed);
	return end(out, &t);
}

size_t v1_expiring(uint8_t out[V1_REPLY_MAX], int64_t in_s)
{
	struct text t = begin(out, "expiring", (struct span){ NULL, 0 });

	put_number(&t, "in", true, in_s < 0 ? 0 : (uint64_t)in_s);
	return end(out, &t);
}
