/* What a certificate says of its days and its key. Keys alone are in key_test.c and the vectors. */
#include "check.h"
#include "der.h"
#include "tls_pem.h"

#include <time.h>

#define UTC 0x17
#define GENERALIZED 0x18

/* A SubjectPublicKeyInfo of P-384; nobody asks here whether its point is on the curve. */
static const uint8_t spki[] = {
	0x30, 22, 0x30, 16, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22,
	3, 2, 0, 4,
};

/* A certificate with these two times, and nothing that is not looked at. */
static size_t make(uint8_t out[256], bool v3, uint8_t tag, const char *from, const char *to)
{
	static const uint8_t version[] = { 0xa0, 3, 2, 1, 2 }, before[] = { 2, 1, 1, 0x30, 0, 0x30, 0 };
	const size_t fn = strlen(from), tn = strlen(to), validity = fn + tn + 4;
	uint8_t *p = out;
	const size_t tbs = (v3 ? sizeof version : 0) + sizeof before + 2 + validity + 2 + sizeof spki;

	p[0] = 0x30, p[1] = (uint8_t)(tbs + 2), p[2] = 0x30, p[3] = (uint8_t)tbs, p += 4;
	if (v3)
		memcpy(p, version, sizeof version), p += sizeof version;
	memcpy(p, before, sizeof before), p += sizeof before;
	p[0] = 0x30, p[1] = (uint8_t)validity, p[2] = tag, p[3] = (uint8_t)fn, p += 4;
	memcpy(p, from, fn), p += fn;
	p[0] = tag, p[1] = (uint8_t)tn, p += 2;
	memcpy(p, to, tn), p += tn;
	p[0] = 0x30, p[1] = 0, p += 2;
	memcpy(p, spki, sizeof spki), p += sizeof spki;
	return (size_t)(p - out);
}

static bool read_times(struct der_certificate *c, bool v3, uint8_t tag, const char *from, const char *to)
{
	uint8_t der[256];
	const size_t n = make(der, v3, tag, from, to);

	return der_certificate(c, guard(0, der, n), n);
}

/* A moment as timegm has it, in both forms if it has both. */
static void moment(int year, int month, int day, int h, int m, int s)
{
	struct tm tm = { .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = h, .tm_min = m,
		.tm_sec = s };
	const int64_t want = timegm(&tm);
	struct der_certificate c;
	char text[64];

	snprintf(text, sizeof text, "%04d%02d%02d%02d%02d%02dZ", year, month, day, h, m, s);
	if (!CHECK(read_times(&c, true, GENERALIZED, text, "19700101000001Z") && c.from_s == want && c.to_s == 1) ||
	    !CHECK(read_times(&c, false, GENERALIZED, "19691231235959Z", text) && c.from_s == -1 && c.to_s == want))
		printf("\t%s\n", text);
	if (year >= 1950 && year < 2050 &&
	    !CHECK(read_times(&c, true, UTC, "700101000001Z", text + 2) && c.from_s == 1 && c.to_s == want))
		printf("\t%s\n", text + 2);
}

static void times(void)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	uint64_t seed = 1;

	for (int year = 1; year <= 9999; year++) {
		const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

		for (int month = 1; month <= 12; month++) {
			const int last = days[month - 1] + (leap && month == 2);
			const uint32_t r = check_random(&seed);

			moment(year, month, 1, 0, 0, 0);
			moment(year, month, last, 23, 59, 59);
			moment(year, month, 1 + (int)(r % (uint32_t)last), (int)(r >> 8) % 24, (int)(r >> 16) % 60,
			    (int)(r >> 24) % 60);
		}
	}
	moment(9999, 12, 31, 23, 59, 59);	/* RFC 5280 4.1.2.5: it never ends */
}

/* Every day of the years that UTCTime has. */
static void days(void)
{
	for (int64_t s = -631152000; s < 2524608000; s += 86400) {
		const time_t t = (time_t)s;
		struct tm tm;

		gmtime_r(&t, &tm);
		moment(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, 12, 0, 0);
	}
}

static void malformed(void)
{
	static const struct { uint8_t tag; const char *text; bool good; } rows[] = {
		{ UTC, "261122191802Z", true }, { GENERALIZED, "20261122191802Z", true },
		{ UTC, "20261122191802Z", false }, { GENERALIZED, "261122191802Z", false },
		{ UTC, "", false }, { UTC, "Z", false }, { UTC, "2611221918Z", false },
		{ UTC, "26112219180Z", false }, { UTC, "2611221918021Z", false }, { UTC, "2611221918020", false },
		{ UTC, "261122191802z", false }, { UTC, "261122191802+", false }, { UTC, "2611221918+0100", false },
		{ UTC, "26112219180ZZ", false }, { UTC, " 61122191802Z", false }, { UTC, "26-122191802Z", false },
		{ UTC, "2611221918:2Z", false }, { UTC, "261122191a02Z", false }, { UTC, "26112/191802Z", false },
		{ UTC, "260022191802Z", false }, { UTC, "261322191802Z", false }, { UTC, "269922191802Z", false },
		{ UTC, "260122191802Z", true }, { UTC, "261222191802Z", true },
		{ GENERALIZED, "20260022191802Z", false }, { GENERALIZED, "20261322191802Z", false },
		{ GENERALIZED, "20261122191802.5Z", false }, { GENERALIZED, "2026112219180200", false },
		{ GENERALIZED, "202611221918020", false }, { GENERALIZED, "2026112219180Z", false },
		{ GENERALIZED, "x0261122191802Z", false }, { GENERALIZED, "2026112219180\xb2Z", false },
		{ GENERALIZED, "", false },
		{ 0x16, "261122191802Z", false }, { 0x37, "261122191802Z", false }, { 0, "261122191802Z", false },
	};
	struct der_certificate c;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *good = rows[i].tag == GENERALIZED ? "20000101000000Z" : "000101000000Z";

		if (!CHECK(read_times(&c, true, rows[i].tag, rows[i].text, good) == rows[i].good) ||
		    !CHECK(read_times(&c, true, rows[i].tag, good, rows[i].text) == rows[i].good))
			printf("\t%02x %s\n", rows[i].tag, rows[i].text);
	}
}

/* Anything but a digit, wherever it stands. */
static void digits(void)
{
	struct der_certificate c;

	for (size_t at = 0; at < 14; at++)
		for (unsigned v = 1; v < 256; v++) {
			char text[] = "20201111111111Z";
			const unsigned most = at == 4 ? '1' : at == 5 ? '2' : '9';	/* of months: 01 or 11; 10 to 12 */

			text[at] = (char)v;
			if (!CHECK(read_times(&c, true, GENERALIZED, text, text) == (v >= '0' && v <= most)))
				printf("\tbyte %zu is %u\n", at, v);
		}
}

/* An element that ends a byte behind its parent, down to the last. */
static void overlong(void)
{
	uint8_t der[256];
	struct der_certificate c;
	const size_t n = make(der, true, UTC, "200101000000Z", "300101000000Z"), key = n - sizeof spki;

	CHECK(der_certificate(&c, guard(0, der, n), n) && c.key.kind == DER_P384 && c.key.n == 1);
	der[key + 1]++;
	CHECK(!der_certificate(&c, guard(0, der, n), n));
	der[n - 3]++;
	CHECK(!der_certificate(&c, guard(0, der, n), n));
	der[3]++;
	CHECK(!der_certificate(&c, guard(0, der, n), n));
}

/* What is said of the key lies within what was read. */
static bool within(const struct der_key *k, const uint8_t *p, size_t n)
{
	return (!k->p || (k->p >= p && k->p + k->n <= p + n)) && (!k->e || (k->e >= p && k->e + k->e_len <= p + n));
}

static void real_one(const struct pem *pem, enum der_kind kind, size_t bytes)
{
	uint8_t der[2048];
	const size_t n = pem_der(der, pem->cert);
	struct der_certificate c;
	uint8_t *p = guard(0, der, n);

	CHECK(der_certificate(&c, p, n) && c.key.kind == kind && c.key.n == bytes && within(&c.key, p, n));
	CHECK(c.from_s > 1790000000 && c.to_s - c.from_s == (int64_t)36500 * 86400);
	for (size_t i = 0; i < n; i++)
		if (!CHECK(!der_certificate(&c, guard(0, der, i), i)))
			printf("\tcut to %zu\n", i);
	der[n] = 0;
	CHECK(!der_certificate(&c, guard(0, der, n + 1), n + 1));
	p = guard(0, der, n);
	for (size_t i = 0; i < n; i++, p[i - 1] = der[i - 1])
		for (unsigned v = 0; v < 256; v++) {
			p[i] = (uint8_t)v;
			if (der_certificate(&c, p, n) && !CHECK(within(&c.key, p, n)))
				printf("\tbyte %zu is %u\n", i, v);
		}
}

static void real(void)
{
	real_one(&pem_rsa, DER_RSA, 256);
	real_one(&pem_p256, DER_P256, 65);
	real_one(&pem_p384, DER_P384, 97);
}

CHECK_MAIN(der, RUN(times) RUN(days) RUN(malformed) RUN(digits) RUN(overlong) RUN(real))
