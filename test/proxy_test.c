/* proxy_test.c - what is trusted, and who speaks through it. */
#include "check.h"
#include "proxy.h"
#include "text.h"

static void options(void)
{
	static const struct { const char *value; bool good; } rows[] = {
		{ "10.0.0.0/8", true }, { "192.0.2.7", true }, { "0.0.0.0/0", true }, { "10.0.0.1/32", true },
		{ "2001:db8::/32", true }, { "::1", true }, { "::/0", true }, { "::1/128", true },
		{ "unix", true }, { "10.1.2.3/8", true },
		{ "", false }, { "/", false }, { "/8", false }, { "10.0.0.0/", false },
		{ "10.0.0.0/33", false }, { "::/129", false }, { "10.0.0.0/-1", false },
		{ "10.0.0.0/8/8", false }, { "10.0.0/8", false }, { "010.0.0.0/8", false },
		{ "[::1]/128", false }, { "localhost", false }, { "10.0.0.0/8 ", false },
		{ "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc", false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct proxies p = { .n = 0 };

		if (!CHECK(!proxy_add(&p, rows[i].value) == rows[i].good))
			printf("\t%s\n", rows[i].value);
	}
}

static void many(void)
{
	struct proxies p = { .n = 0 };

	for (unsigned i = 0; i < PROXIES_MAX; i++)
		CHECK(!proxy_add(&p, "10.0.0.0/8"));
	CHECK(proxy_add(&p, "10.0.0.0/8"));
	CHECK(p.n == PROXIES_MAX);
}

/* Each number of bits, against each address that differs in one. */
static void prefixes(void)
{
	for (unsigned bits = 0; bits <= 32; bits++) {
		struct proxies p = { .n = 0 };
		uint8_t ip[16] = { [10] = 0xff, [11] = 0xff, [12] = 203, [13] = 0, [14] = 113, [15] = 90 };
		char value[32];

		snprintf(value, sizeof value, "203.0.113.90/%u", bits);
		CHECK(!proxy_add(&p, value) && proxy_trusted(&p, ip));
		for (unsigned bit = 0; bit < 128; bit++) {
			ip[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
			CHECK(proxy_trusted(&p, ip) == (bit >= 96 + bits));
			ip[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
		}
	}
}

static void clients(void)
{
	static const struct { const char *fields, *want; } rows[] = {
		{ "X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7" },
		{ "x-FORWARDED-for:192.0.2.7\r\n", "192.0.2.7" },
		{ "X-Forwarded-For: 192.0.2.7, 10.0.0.1\r\n", "192.0.2.7" },
		{ "X-Forwarded-For: 192.0.2.7,10.0.0.1 ,\t10.2.0.1\r\n", "192.0.2.7" },
		{ "X-Forwarded-For: 198.51.100.1, 192.0.2.7\r\n", "192.0.2.7" },	/* the left is its own word */
		{ "X-Forwarded-For: 10.0.0.1, 192.0.2.7, 10.0.0.2\r\n", "192.0.2.7" },
		{ "X-Forwarded-For: nonsense, 192.0.2.7\r\n", "192.0.2.7" },
		{ "X-Forwarded-For: 192.0.2.7\r\nX: y\r\nX-Forwarded-For: 10.0.0.1\r\n", "192.0.2.7" },
		{ "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7" },
		{ "X-Forwarded-For: , 192.0.2.7, ,\r\n", "192.0.2.7" },
		{ "X-Forwarded-For: 192.0.2.7:1234\r\n", "192.0.2.7" },
		{ "X-Forwarded-For: 2001:db8::9, fd00::1\r\n", "2001:db8::9" },
		{ "X-Forwarded-For: [2001:db8::9]\r\n", "2001:db8::9" },
		{ "X-Forwarded-For: [2001:db8::9]:80, [fd00::2]:443\r\n", "2001:db8::9" },
		{ "X-Forwarded-For: ::ffff:192.0.2.7\r\n", "192.0.2.7" },
		{ "X-Forwarded-For: ::ffff:10.0.0.1\r\n", NULL },
		{ "", NULL }, { "X-Forwarded-For:\r\n", NULL }, { "X-Forwarded-For: ,\r\n", NULL },
		{ "X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n", NULL },
		{ "X-Forwarded-For: 192.0.2.7, nonsense\r\n", NULL },
		{ "X-Forwarded-For: 192.0.2.7, nonsense, 10.0.0.1\r\n", NULL },
		{ "X-Forwarded-For: unknown\r\n", NULL }, { "X-Forwarded-For: 192.0.2.7:\r\n", NULL },
		{ "X-Forwarded-For: 192.0.2.7:65536\r\n", NULL }, { "X-Forwarded-For: 192.0.2.7:x\r\n", NULL },
		{ "X-Forwarded-For: [2001:db8::9\r\n", NULL }, { "X-Forwarded-For: [192.0.2.7]\r\n", NULL },
		{ "X-Forwarded-For: [192.0.2.7]:80\r\n", NULL }, { "X-Forwarded-For: []\r\n", NULL },
		{ "X-Forwarded-For: [2001:db8::9]x\r\n", NULL }, { "X-Forwarded-For: fe80::1%eth0\r\n", NULL },
		{ "X-Forwarded-For: 192.0.2.7 event=forged\r\n", NULL }, { "X-Forwarded-For: :\r\n", NULL },
		{ "X-Forwarded-For: 192.0.2\r\n", NULL }, { "X-Forwarded-Fo: 192.0.2.7\r\n", NULL },
		{ "X-Forwarded-Forr: 192.0.2.7\r\n", NULL }, { "Y: X-Forwarded-For: 192.0.2.7\r\n", NULL },
	};
	struct proxies p = { .n = 0 };

	CHECK(!proxy_add(&p, "10.0.0.0/8") && !proxy_add(&p, "fd00::/8"));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char head[256], got[48] = "";
		struct text t = { got, sizeof got - 1, 0 };
		const int n = snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: x\r\n%sA: b\r\n\r\n",
		    rows[i].fields);
		struct http_req r;
		uint8_t ip[16];

		CHECK(http_parse(&r, guard(0, head, (size_t)n), (size_t)n) == WHY_OK);
		const bool found = proxy_client(ip, &p, &r);

		if (found)
			text_ip(&t, ip[10] == 0xff && ip[0] == 0 ? ip + 12 : ip, ip[10] == 0xff && ip[0] == 0 ? 4 : 16);
		if (!CHECK(found == (rows[i].want != NULL) && (!found || strcmp(got, rows[i].want) == 0)))
			printf("\t%s\tgot %s\n", rows[i].fields, got);
	}
}

CHECK_MAIN(proxy, RUN(options) RUN(many) RUN(prefixes) RUN(clients))
