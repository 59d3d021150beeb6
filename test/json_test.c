#include <dirent.h>

#include "check.h"
#include "json.h"

/* Read to the end; the last event is JSON_DONE or JSON_BAD. */
static bool accepted(const void *p, size_t n)
{
	struct json j;
	enum json_event e;

	json_init(&j, guard(0, p, n), n);
	while ((e = json_next(&j)) > JSON_DONE)
		continue;
	CHECK(json_next(&j) == e && json_next(&j) == e);
	return e == JSON_DONE;
}

static bool ok(const char *s)
{
	return accepted(s, strlen(s));
}

/* RFC 8259, by section. */
static void grammar(void)
{
	static const char *const good[] = {
		"null", " \t\r\n true \n", "false", "0", "-0", "\"\"", "[]", "{}",
		"[1,2]", "{\"a\":1,\"b\":[{}],\"c\":{\"a\":1}}", "[[],[]]", "[{},{}]",
		"1e5", "1E+5", "1.5e-07", "0.0", "0e0", "-1.0E-1", "123456789012345678901",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uABcd\"", "\"\x7f\"", "\"\xc3\xa9\"",
		"\"\\ud834\\udd1e\"", "\"\\uD834\\uDD1E\"", "[{\"a\":1},{\"a\":1}]",
		"{\"\":0}", "{\"a\":1,\"A\":2}", "{\"a\":{\"b\":1},\"b\":1}",
		"\"\\uffff\"", "\"\xf4\x8f\xbf\xbf\"", " [ 1 , 2 ] ", "[{\"a\":1},[1,2]]",
		"[[1,2],{\"a\":1}]", "{ \"a\" : 1 }",
	};
	static const char *const bad[] = {
		"", " ", "nul", "nulll", "True", "truex", "+1", "01", "-01", "-", "1.", ".5",
		"1.e5", "1e", "1e+", "0x1", "1 2", "[1 2]", "[1,]", "[,1]", "[,]", "[1,,2]",
		"[", "]", "{", "}", "[}", "{]", "{\"a\"}", "{\"a\":}", "{\"a\" 1}", "{a:1}",
		"{1:1}", "{\"a\":1,}", "{,}", "{\"a\":1 \"b\":2}", "{\"a\":1}}", "[]]",
		"'a'", "\"", "\"a", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u123g\"",
		"\"\\u\"", "\"\\u000`\"", "\"\\u000@\"", "\"\\u000/\"", "\"\\u000:\"", "\"\\u000G\"",
		"\"\\U0041\"", "\"\n\"", "\"\t\"", "\"\x01\"", "\"\x1f\"",
		"/**/1", "1//", "NaN", "Infinity", "-Infinity", "\xef\xbb\xbf{}", "\v1",
		"\302\2401", "\f1", "[1]x", "\"a\"\"b\"", "{\"a\":1:2}", "{{}:1}", "1,2",
	};

	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		if (!CHECK(ok(good[i])))
			printf("\t%s\n", good[i]);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!CHECK(!ok(bad[i])))
			printf("\t%s\n", bad[i]);
	CHECK(!accepted("1\0", 2) && !accepted("[1]\0", 4) && !accepted("\"\0\"", 3));
}

static void surrogates(void)
{
	static const char *const bad[] = {
		"\"\\ud800\"", "\"\\udc00\"", "\"\\udfff\"", "\"\\ud800x\"",
		"\"\\ud800\\n\"", "\"\\ud800\\ud800\"", "\"\\ud800\\u0041\"",
		"\"\\udc00\\ud800\"", "\"\\ud800\\udc0\"", "\"\\ud800\\\"", "\"\\ud800\\u\"",
		"\"\\ud800\\xdc00\"", "\"\\ud800xudc00\"", "\"\\ud800\\udbff\"",
		"{\"\\ud800\":1}",
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!CHECK(!ok(bad[i])))
			printf("\t%s\n", bad[i]);
	CHECK(ok("\"\\ud7ff\\ue000\\udbff\\udfff\""));
}

static void utf8_only(void)
{
	static const char *const bad[] = {
		"\"\xff\"", "\"\x80\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xe2\x82\"",
		"\"\xf4\x90\x80\x80\"", "{\"\xff\":1}", "\xc3\xa9", "[\"a\",\"\xc3\"]",
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!CHECK(!ok(bad[i])))
			printf("\t%s\n", bad[i]);
}

/* Names are compared as what they mean, within one object only. */
static void duplicates(void)
{
	CHECK(!ok("{\"a\":1,\"a\":1}"));
	CHECK(!ok("{\"a\":1,\"b\":2,\"\\u0061\":3}"));
	CHECK(!ok("{\"\\u00e9\":1,\"\xc3\xa9\":2}"));
	CHECK(!ok("{\"\\ud834\\udd1e\":1,\"\xf0\x9d\x84\x9e\":2}"));
	CHECK(!ok("{\"\\/\":1,\"/\":2}"));
	CHECK(!ok("{\"\":1,\"\":2}"));
	CHECK(!ok("{\"a\":1,\"b\":2,\"b\":3}"));
	CHECK(!ok("{\"a\":{\"x\":1,\"y\":{},\"x\":2}}"));
	CHECK(!ok("{\"a\":{\"x\":1},\"a\":2}"));
	CHECK(ok("{\"a\":{\"a\":{\"a\":[{\"a\":1},{\"a\":1}]}},\"b\":{\"a\":1}}"));
	CHECK(ok("{\"a\":1,\"a\\u0000\":2,\"a\\u0000b\":3}"));

	/* Two names of one FNV-1a hash are two names. */
	CHECK(ok("{\"costarring\":1,\"liquid\":2}"));
	CHECK(!ok("{\"costarring\":1,\"liquid\":2,\"costarring\":3}"));
}

static void limits(void)
{
	char s[8192];
	size_t n = 0;

	for (int depth = 15; depth <= 17; depth++) {
		for (int object = 0; object < 2; object++) {
			n = 0;
			for (int i = 0; i < depth; i++)
				n += (size_t)sprintf(s + n, object ? "{\"a\":" : "[");
			n += (size_t)sprintf(s + n, "1");
			for (int i = 0; i < depth; i++)
				n += (size_t)sprintf(s + n, object ? "}" : "]");
			CHECK(accepted(s, n) == (depth <= JSON_DEPTH));
		}
	}
	for (int names = 255; names <= 257; names++) {
		n = (size_t)sprintf(s, "[{\"a\":1},{");
		for (int i = 0; i < names; i++)
			n += (size_t)sprintf(s + n, "%s\"n%d\":%d", i ? "," : "", i, i);
		n += (size_t)sprintf(s + n, "},{\"a\":1}]");
		CHECK(accepted(s, n) == (names <= JSON_NAMES));
	}
}

/* A whole document cut anywhere is refused (a number at the top is the exception that
 * there is none of here), and one of its bytes changed never harms. */
static void cuts(void)
{
	static const char doc[] = "{\"alg\":\"HS\\u0032\\ud834\\udd1e\xc3\xa9\",\"n\":[-1.5e+3,true,"
	    "false,null,{}],\"o\":{\"a\":{}}}";

	CHECK(ok(doc));
	for (size_t n = 0; n < sizeof doc - 1; n++) {
		char changed[sizeof doc];

		CHECK(!accepted(doc, n));
		for (unsigned c = 0; c < 256; c++) {
			memcpy(changed, doc, sizeof doc);
			changed[n] = (char)c;
			accepted(changed, sizeof doc - 1);
		}
	}
}

static void events(void)
{
	static const char doc[] = " {\"a\\n\" : [1, \"x\"], \"b\":{} ,\"c\":null} ";
	static const struct { enum json_event e; const char *text; } rows[] = {
		{ JSON_OBJECT, NULL }, { JSON_NAME, "a\\n" }, { JSON_ARRAY, NULL },
		{ JSON_NUMBER, "1" }, { JSON_STRING, "x" }, { JSON_ARRAY_END, NULL },
		{ JSON_NAME, "b" }, { JSON_OBJECT, NULL }, { JSON_OBJECT_END, NULL },
		{ JSON_NAME, "c" }, { JSON_NULL, NULL }, { JSON_OBJECT_END, NULL },
		{ JSON_DONE, NULL }, { JSON_DONE, NULL },
	};
	struct json j;

	json_init(&j, guard(0, doc, sizeof doc - 1), sizeof doc - 1);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		CHECK(json_next(&j) == rows[i].e);
		if (rows[i].text != NULL)
			CHECK(j.len == strlen(rows[i].text) &&
			    memcmp(j.text, rows[i].text, j.len) == 0);
	}

	/* Nothing after the value but white space: said when it is met. */
	json_init(&j, "[] x", 4);
	CHECK(json_next(&j) == JSON_ARRAY && json_next(&j) == JSON_ARRAY_END);
	CHECK(json_next(&j) == JSON_BAD && json_next(&j) == JSON_BAD);
	json_init(&j, NULL, 0);
	CHECK(json_next(&j) == JSON_BAD);
}

static void skip(void)
{
	static const char doc[] = "{\"a\":[1,[2,{\"a\":3}]],\"b\":{\"a\":[]},\"c\":4}";
	struct json j;
	enum json_event e;

	json_init(&j, doc, sizeof doc - 1);
	CHECK(json_next(&j) == JSON_OBJECT);
	CHECK(json_next(&j) == JSON_NAME && json_is(&j, "a") && json_skip(&j, JSON_NAME));
	CHECK(json_next(&j) == JSON_NAME && json_is(&j, "b"));
	e = json_next(&j);
	CHECK(e == JSON_OBJECT && json_skip(&j, e));
	CHECK(json_next(&j) == JSON_NAME && json_is(&j, "c") && json_skip(&j, JSON_NAME));
	CHECK(json_next(&j) == JSON_OBJECT_END && json_next(&j) == JSON_DONE);

	json_init(&j, doc, sizeof doc - 1);
	CHECK(json_skip(&j, json_next(&j)) && json_next(&j) == JSON_DONE);
	json_init(&j, doc, sizeof doc - 2);
	CHECK(!json_skip(&j, json_next(&j)) && json_next(&j) == JSON_BAD);
	json_init(&j, "7", 1);
	CHECK(json_skip(&j, json_next(&j)) && json_next(&j) == JSON_DONE);
	json_init(&j, "{\"a\":}", 6);
	CHECK(json_next(&j) == JSON_OBJECT && json_next(&j) == JSON_NAME);
	CHECK(!json_skip(&j, JSON_NAME));
}

static void strings(void)
{
	static const char doc[] = "\"a\\u0000\\u00e9\\u20ac\\ud83d\\ude00\\\"\\/\\n\xc3\xa9\"";
	static const char want[] = "a\0\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"/\n\xc3\xa9";
	const size_t len = sizeof want - 1;
	struct json j;
	size_t n = 99;

	json_init(&j, doc, sizeof doc - 1);
	CHECK(json_next(&j) == JSON_STRING);
	for (size_t cap = 0; cap < len; cap++)
		CHECK(!json_string(&j, guard(1, NULL, cap), cap, &n) && n == 99);

	uint8_t *out = guard(1, NULL, len);

	CHECK(json_string(&j, out, len, &n) && n == len && n <= j.len);
	CHECK_BYTES(out, want, len);

	/* The ends of every length of UTF-8. */
	static const char ends[] = "\"\\u007f\\u0080\\u07ff\\u0800\\uffff\\ud800\\udc00"
	    "\\udbff\\udfff\"";
	struct json k;

	json_init(&k, ends, sizeof ends - 1);
	CHECK(json_next(&k) == JSON_STRING);
	CHECK(json_is(&k, "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80"
	    "\xf4\x8f\xbf\xbf"));

	/* A NUL within is not the end. */
	CHECK(!json_is(&j, "a") && !json_is(&j, want));
	json_init(&j, "\"\\u0061lg\"", 10);
	CHECK(json_next(&j) == JSON_STRING);
	CHECK(json_is(&j, "alg") && !json_is(&j, "al") && !json_is(&j, "algo"));
	CHECK(!json_is(&j, ""));
	json_init(&j, "\"\"", 2);
	CHECK(json_next(&j) == JSON_STRING && json_is(&j, "") && !json_is(&j, "a"));
	CHECK(json_string(&j, NULL, 0, &n) && n == 0);
}

static bool round_milli(const char *s, int64_t *v, bool up)
{
	const size_t n = strlen(s);
	struct json j;

	json_init(&j, guard(0, s, n), n);
	if (!CHECK(json_next(&j) == JSON_NUMBER))
		printf("\t%.40s\n", s);
	return json_milli(&j, v, up);
}

static bool milli(const char *s, int64_t *v)
{
	return round_milli(s, v, true);
}

/* Down is up of the other sign. */
static bool down_mirrors_up(const char *s)
{
	char other[64];
	int64_t down, up;

	snprintf(other, sizeof other, "%s%s", *s == '-' ? "" : "-", *s == '-' ? s + 1 : s);
	if (!round_milli(s, &down, false) || !round_milli(other, &up, true))
		return false;
	return down == (up == INT64_MIN ? INT64_MAX : up == INT64_MAX ? INT64_MIN : -up) ||
	    down + up == 0;
}

static void numbers(void)
{
	static const struct { const char *in; int64_t out; } rows[] = {
		{ "0", 0 }, { "-0", 0 }, { "0.0", 0 }, { "-0.0e5", 0 },
		{ "0e999999999999999999", 0 }, { "0e-999999999999999999", 0 },
		{ "0.000e99999999999999999999999999", 0 },
		{ "1", 1000 }, { "-1", -1000 }, { "1.5", 1500 }, { "0.001", 1 },
		{ "0.0001", 1 }, { "-0.0001", 0 }, { "0.0010000000000000000001", 2 },
		{ "-0.0019", -1 }, { "1.0000", 1000 }, { "1.00000000000000000000000000001", 1001 },
		{ "1.7e9", 1700000000000 }, { "1700000000.5", 1700000000500 },
		{ "17e8", 1700000000000 }, { "17E+08", 1700000000000 },
		{ "0.00000017e16", 1700000000000 }, { "170000000000000000e-8", 1700000000000 },
		{ "1700000000000e-3", 1700000000000 }, { "1700000000.0001", 1700000000001 },
		{ "-1700000000.0001", -1700000000000 },
		{ "1e-400", 1 }, { "-1e-400", 0 }, { "1e-99999999999999999999", 1 },
		{ "9223372036854775.806", INT64_MAX - 1 },
		{ "9223372036854775.807", INT64_MAX }, { "9223372036854775.8061", INT64_MAX },
		{ "9223372036854775.8071", INT64_MAX }, { "9223372036854775.808", INT64_MAX },
		{ "9999999999999999.9999", INT64_MAX }, { "10000000000000000", INT64_MAX },
		{ "9223372036854775807", INT64_MAX }, { "1e300", INT64_MAX },
		{ "-9223372036854775.807", -INT64_MAX }, { "-9223372036854775.808", INT64_MIN },
		{ "-9223372036854775.8079", -INT64_MAX },
		{ "-9223372036854775.809", INT64_MIN }, { "-9999999999999999.999", INT64_MIN },
		{ "-1e300", INT64_MIN },
		{ "1.7976931348623157e308", INT64_MAX }, { "1.7976931348623158e308", INT64_MAX },
		{ "1.797693134862315807e308", INT64_MAX },
		{ "0.1797693134862315807e309", INT64_MAX },
		{ "-1.7976931348623158079e+308", INT64_MIN },
		{ "17976931348623157e292", INT64_MAX }, { "99999999999999999", INT64_MAX },
		{ "1.7976931348623158079372896e308", INT64_MAX },
	};
	static const char *const infinite[] = {
		"1e309", "-1e309", "1e400", "-1e400", "1.797693134862315808e308",
		"1.7976931348623159e308", "-1.7976931348623159e308", "0.18e309", "1.8e308",
		"1e99999999999999999999", "17976931348623159e292", "0.0001e313",
		"1.7976931348623158079372897e308", "1.79769313486231580793728970e308",
	};
	int64_t v;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!CHECK(milli(rows[i].in, &v) && v == rows[i].out))
			printf("\t%s: %lld\n", rows[i].in, (long long)v);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!CHECK(down_mirrors_up(rows[i].in)))
			printf("\t%s rounded down\n", rows[i].in);
	CHECK(round_milli("1.0009", &v, false) && v == 1000);
	CHECK(round_milli("-1.0001", &v, false) && v == -1001);
	for (size_t i = 0; i < sizeof infinite / sizeof *infinite; i++)
		if (!CHECK(!milli(infinite[i], &v)))
			printf("\t%s\n", infinite[i]);
}

/* Long digits, and exponents that undo them, or have thousands of digits themselves. */
static void long_numbers(void)
{
	static char s[9000];
	int64_t v;

	sprintf(s, "1%04000de-4000", 0);
	CHECK(milli(s, &v) && v == 1000);
	sprintf(s, "0.%03999d15e4000", 0);
	CHECK(milli(s, &v) && v == 1500);
	sprintf(s, "1%0308d", 0);
	CHECK(milli(s, &v) && v == INT64_MAX);
	sprintf(s, "1%0309d", 0);
	CHECK(!milli(s, &v));
	sprintf(s, "1e%04000d", 3);
	CHECK(milli(s, &v) && v == 1000000);
	sprintf(s, "1e-%04000d", 3);
	CHECK(milli(s, &v) && v == 1);
	memset(s, '9', 4000);
	memcpy(s, "1e", 2);
	s[4000] = '\0';
	CHECK(!milli(s, &v));
	memcpy(s, "0e", 2);
	CHECK(milli(s, &v) && v == 0);
	memcpy(s, "5e-", 3);
	CHECK(milli(s, &v) && v == 1);
}

/* Against arithmetic on 64 bits: v / 10^k for every k, written in three ways. */
static void numbers_random(void)
{
	uint64_t seed = 3;

	for (int round = 0; round < 20000; round++) {
		const int64_t v = (int64_t)check_random(&seed) - (1ll << 31);
		const int k = (int)(check_random(&seed) % 10);
		int64_t power = 1, want, got = 0;
		char s[64];

		for (int i = 0; i < k; i++)
			power *= 10;
		want = v * 1000 / power;
		if (v > 0 && v * 1000 % power != 0)
			want++;
		sprintf(s, "%llde-%d", (long long)v, k);
		CHECK(milli(s, &got) && got == want);
		sprintf(s, "%s%lld.%0*llde0", v < 0 ? "-" : "", llabs(v / power), k + 1,
		    llabs(v % power) * 10);
		CHECK(milli(s, &got) && got == want);
		sprintf(s, "%s0.%012llde%d", v < 0 ? "-" : "", llabs(v), 12 - k);
		CHECK(milli(s, &got) && got == want);
	}
}

static void quote(void)
{
	static const char in[] = " a\"\\/\b\f\n\r\t\x01\x1f\x7f\xc3\xa9\0z";
	static const char want[] =
	    "\" a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\xc3\xa9\\u0000z\"";
	const size_t n = sizeof in - 1, len = sizeof want - 1;
	uint8_t back[sizeof in];
	struct json j;
	size_t got = 0;

	for (size_t cap = 0; cap <= len; cap++) {
		char *out = (char *)guard(1, NULL, cap);

		CHECK(json_quote(out, cap, in, n) == len);
		CHECK_BYTES(out, want, cap);
	}
	json_init(&j, want, len);
	CHECK(json_next(&j) == JSON_STRING && json_string(&j, back, sizeof back, &got));
	CHECK(got == n && memcmp(back, in, n) == 0);
	CHECK(json_next(&j) == JSON_DONE);
	CHECK(json_quote(NULL, 0, "", 0) == 2);
}

/* JSONTestSuite, MIT, nst/JSONTestSuite 1ef36fa. What may go either way, is refused: but
 * these, which are numbers by RFC 8259's grammar, and of any size to json_next. */
static const char *const suite_accepts[] = {
	"i_number_double_huge_neg_exp.json", "i_number_huge_exp.json",
	"i_number_neg_int_huge_exp.json", "i_number_pos_double_huge_exp.json",
	"i_number_real_neg_overflow.json", "i_number_real_pos_overflow.json",
	"i_number_real_underflow.json", "i_number_too_big_neg_int.json",
	"i_number_too_big_pos_int.json", "i_number_very_big_negative_int.json",
};

/* Not UTF-8 or a BOM (8.1), a lone surrogate (8.2), deeper than JSON_DEPTH. */
static const char *const suite_refuses[] = {
	"i_object_key_lone_2nd_surrogate.json", "i_string_1st_surrogate_but_2nd_missing.json",
	"i_string_1st_valid_surrogate_2nd_invalid.json", "i_string_UTF-16LE_with_BOM.json",
	"i_string_UTF-8_invalid_sequence.json", "i_string_UTF8_surrogate_U+D800.json",
	"i_string_incomplete_surrogate_and_escape_valid.json",
	"i_string_incomplete_surrogate_pair.json",
	"i_string_incomplete_surrogates_escape_valid.json",
	"i_string_invalid_lonely_surrogate.json", "i_string_invalid_surrogate.json",
	"i_string_invalid_utf-8.json", "i_string_inverted_surrogates_U+1D11E.json",
	"i_string_iso_latin_1.json", "i_string_lone_second_surrogate.json",
	"i_string_lone_utf8_continuation_byte.json", "i_string_not_in_unicode_range.json",
	"i_string_overlong_sequence_2_bytes.json", "i_string_overlong_sequence_6_bytes.json",
	"i_string_overlong_sequence_6_bytes_null.json", "i_string_truncated-utf-8.json",
	"i_string_utf16BE_no_BOM.json", "i_string_utf16LE_no_BOM.json",
	"i_structure_500_nested_arrays.json", "i_structure_UTF-8_BOM_empty_object.json",
};

/* RFC 8259 4 only says that names should be unique: these two are refused on purpose. */
static const char *const suite_duplicates[] = {
	"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json",
};

static bool listed(const char *name, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(name, list[i]) == 0)
			return true;
	return false;
}

#define LISTED(name, list) listed((name), (list), sizeof (list) / sizeof *(list))

static void suite_file(const char *dir, const char *name)
{
	static char buf[GUARD_MAX];
	char path[512];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "rb");
	if (!CHECK(f != NULL))
		return;

	const size_t n = fread(buf, 1, sizeof buf, f);
	const bool got = accepted(buf, n);
	bool want = name[0] == 'y' && !LISTED(name, suite_duplicates);

	fclose(f);
	if (name[0] == 'i') {
		want = LISTED(name, suite_accepts);
		CHECK(want || LISTED(name, suite_refuses));
	}
	if (!CHECK(got == want))
		printf("\t%s\n", name);
}

static void suite(void)
{
	static const char dir[] = "../shared/vectors/jsontestsuite/test_parsing";
	DIR *d = opendir(dir);
	unsigned n = 0;

	if (d == NULL) {
		printf("json: JSONTestSuite skipped: no %s\n", dir);
		return;
	}
	for (struct dirent *e; (e = readdir(d)) != NULL; )
		if (e->d_name[0] != '.') {
			suite_file(dir, e->d_name);
			n++;
		}
	closedir(d);
	CHECK(n >= 300);
}

static unsigned which(const char *text, const char *names)
{
	const size_t n = strlen(text);
	struct json j;

	json_init(&j, guard(0, text, n), n);
	CHECK(json_next(&j) == JSON_STRING);
	return json_which(&j, names);
}

static void names(void)
{
	static const struct { const char *text; unsigned number; } rows[] = {
		{ "\"a\"", 0 }, { "\"ab\"", 1 }, { "\"b\"", 2 }, { "\"\\u0061b\"", 1 }, { "\"\"", 3 },
		{ "\"abc\"", 3 }, { "\"A\"", 3 }, { "\"a\\u0000ab\"", 3 }, { "\"b\\u0000\"", 3 }, { "\"\\u0000\"", 3 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!CHECK(which(rows[i].text, "a\0ab\0b\0") == rows[i].number))
			printf("\t%s\n", rows[i].text);
	CHECK(which("\"a\"", "") == 0);
}

CHECK_MAIN(json, RUN(grammar) RUN(surrogates) RUN(utf8_only) RUN(duplicates) RUN(limits)
    RUN(cuts) RUN(events) RUN(skip) RUN(strings) RUN(numbers) RUN(long_numbers)
    RUN(numbers_random) RUN(quote) RUN(suite) RUN(names))
