/* In the JSON of this file ' stands for ". */
#include "check.h"
#include "grants.h"

static struct grants g;
static struct json j;

static bool parse(const char *json)
{
	static char text[20000];
	const size_t n = strlen(json);

	for (size_t i = 0; i <= n; i++)
		text[i] = json[i] == '\'' ? '"' : json[i];
	json_init(&j, guard(0, text, n), n);
	return grants_read(&g, &j, json_next(&j));
}

static bool covers(unsigned right, const char *p)
{
	const size_t n = strlen(p);

	return grants_cover(guard(1, g.s, g.n), g.n, right, guard(2, p, n), n);
}

static void forms(void)
{
	static const struct { const char *json; bool want; size_t n; } rows[] = {
		{ "{}", true, 0 }, { "{'sub':[]}", true, 0 }, { "{'sub':['/']}", true, 3 },
		{ "{'sub':['/'],'pub':['/a'],'all':['/a/+','/b/*']}", true, 3 + 4 + 6 + 6 },
		{ " { 'all' : [ '/a' ] } ", true, 4 }, { "{'s\\u0075b':['\\u002fa']}", true, 4 },
		{ "[]", false, 0 }, { "null", false, 0 }, { "'/'", false, 0 }, { "1", false, 0 },
		{ "{'sub':'/'}", false, 0 }, { "{'sub':null}", false, 0 }, { "{'sub':{}}", false, 0 },
		{ "{'sub':[1]}", false, 0 }, { "{'sub':[['/']]}", false, 0 },
		{ "{'sub':[{}]}", false, 0 }, { "{'sub':['/',{}]}", false, 0 }, { "{'sub':[[]]}", false, 0 },
		{ "{'sub':['']}", false, 0 }, { "{'sub':['a']}", false, 0 },
		{ "{'sub':['/a+']}", false, 0 }, { "{'sub':['/*/a']}", false, 0 },
		{ "{'x':['/']}", false, 0 }, { "{'':[]}", false, 0 }, { "{'Sub':[]}", false, 0 },
		{ "{'sub':['/'],'sub':['/']}", false, 0 }, { "{'sub':['/'", false, 0 },
		{ "{'sub':['/'],}", false, 0 }, { "", false, 0 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!CHECK(parse(rows[i].json) == rows[i].want) ||
		    !CHECK(!rows[i].want || g.n == rows[i].n))
			printf("\t%s\n", rows[i].json);
}

/* They add up, each list for its own right. */
static void rights(void)
{
	CHECK(parse("{'sub':['/r','/x/*'],'pub':['/p','/x/+'],'all':['/b']}"));
	CHECK(covers(GRANT_SUB, "/r") && !covers(GRANT_PUB, "/r"));
	CHECK(!covers(GRANT_SUB, "/p") && covers(GRANT_PUB, "/p"));
	CHECK(covers(GRANT_SUB, "/b") && covers(GRANT_PUB, "/b"));
	CHECK(covers(GRANT_SUB, "/x/y/z") && !covers(GRANT_PUB, "/x/y/z"));
	CHECK(covers(GRANT_SUB, "/x/+") && covers(GRANT_PUB, "/x/+") && !covers(GRANT_PUB, "/x/*"));
	CHECK(!covers(GRANT_SUB, "/x") && !covers(GRANT_SUB, "/") && !covers(GRANT_SUB, "/*"));
	CHECK(parse("{}") && !covers(GRANT_SUB, "/") && !covers(GRANT_PUB, "/"));
	grants_default(&g);
	CHECK(covers(GRANT_SUB, "/") && !covers(GRANT_PUB, "/") && !covers(GRANT_SUB, "/a"));
	grants_everything(&g);
	CHECK(covers(GRANT_SUB, "/") && covers(GRANT_SUB, "/*") && covers(GRANT_SUB, "/a/+"));
	CHECK(!covers(GRANT_PUB, "/") && !covers(GRANT_PUB, "/a"));
}

/* No more than GRANTS_MAX, and not a byte beyond it. */
static void full(void)
{
	char json[16000] = "{'all':[";
	size_t n = strlen(json);

	for (int i = 0; i < 64; i++)		/* 64 bytes each */
		n += (size_t)snprintf(json + n, sizeof json - n, "%s'/%061d'", i ? "," : "", i);
	snprintf(json + n, sizeof json - n, "]}");
	CHECK(parse(json) && g.n == GRANTS_MAX);
	CHECK(covers(GRANT_PUB, "/0000000000000000000000000000000000000000000000000000000000063"));
	snprintf(json + n, sizeof json - n, ",'/']}");
	CHECK(!parse(json));
	json[10 + 61] = '\'';			/* the first a byte shorter */
	memmove(json + 10 + 62, json + 10 + 63, strlen(json + 10 + 62));
	CHECK(!parse(json));
}

/* Every length of a pattern. */
static void lengths(void)
{
	char json[400], name[300];

	for (int n = 2; n <= 258; n++) {
		snprintf(name, sizeof name, "/%0*d", n - 1, 0);
		snprintf(json, sizeof json, "{'sub':['/a','%s']}", name);
		CHECK(parse(json) == (n <= 255));
		CHECK(n > 255 || (covers(GRANT_SUB, name) && covers(GRANT_SUB, "/a")));
	}
}

CHECK_MAIN(grants, RUN(forms) RUN(rights) RUN(full) RUN(lengths))
