/* der.c - section numbers are of X.690. */
#include "der.h"

#include <string.h>

enum { INTEGER = 0x02, BIT_STRING = 0x03, NUL = 0x05, OID = 0x06, UTC_TIME = 0x17, GENERALIZED_TIME = 0x18,
	SEQUENCE = 0x30, VERSION = 0xa0 };

struct in {
	const uint8_t *p, *end;
};

/* A length (8.1.3, 10.1), of at most two bytes: no key that we take needs three. */
static bool take_length(struct in *in, size_t *n)
{
	size_t bytes;

	if (in->p == in->end)
		return false;
	*n = *in->p++;
	if (*n < 0x80)
		return true;
	bytes = *n - 0x80;
	if (bytes < 1 || bytes > 2 || (size_t)(in->end - in->p) < bytes)
		return false;
	for (*n = 0; bytes > 0; bytes--)
		*n = *n << 8 | *in->p++;
	return *n >= 0x100 || (*n >= 0x80 && in->p[-2] == 0x81);
}

/* Take one element; *what is its content. */
static bool take(struct in *in, uint8_t tag, struct in *what)
{
	size_t n;

	if (in->p == in->end || *in->p != tag)
		return false;
	in->p++;
	if (!take_length(in, &n) || (size_t)(in->end - in->p) < n)
		return false;
	what->p = in->p;
	what->end = in->p += n;
	return true;
}

/* The content of one element that is all there is. */
static bool whole(struct in *what, uint8_t tag, const uint8_t *p, size_t n)
{
	struct in in = { p, p + n };

	return take(&in, tag, what) && in.p == in.end;
}

/* A positive number (8.3), less the zero that keeps it so. */
static bool take_number(struct in *in, const uint8_t **p, size_t *n)
{
	struct in what;

	if (!take(in, INTEGER, &what) || what.p == what.end || *what.p >= 0x80)
		return false;
	if (*what.p == 0 && (++what.p == what.end || *what.p < 0x80))
		return false;			/* 8.3.2: no shorter form; zero is none */
	*p = what.p;
	*n = (size_t)(what.end - what.p);
	return true;
}

static bool is(const struct in *oid, const char *want, size_t n)
{
	return (size_t)(oid->end - oid->p) == n && memcmp(oid->p, want, n) == 0;
}

bool der_rsa_public_key(struct der_key *k, const uint8_t *p, size_t n)
{
	struct in in;

	k->kind = DER_RSA;
	return whole(&in, SEQUENCE, p, n) && take_number(&in, &k->p, &k->n) &&
	    take_number(&in, &k->e, &k->e_len) && in.p == in.end;
}

/* RFC 5480 2.1.1.1 */
static enum der_kind curve(struct in *parameters)
{
	struct in oid;

	if (!take(parameters, OID, &oid) || parameters->p != parameters->end)
		return DER_OTHER;
	return is(&oid, "\x2a\x86\x48\xce\x3d\x03\x01\x07", 8) ? DER_P256 :
	    is(&oid, "\x2b\x81\x04\x00\x22", 5) ? DER_P384 :
	    is(&oid, "\x2b\x81\x04\x00\x23", 5) ? DER_P521 : DER_OTHER;
}

bool der_public_key(struct der_key *k, const uint8_t *p, size_t n)
{
	struct in in, algorithm, oid, bits, null;

	memset(k, 0, sizeof *k);
	if (!whole(&in, SEQUENCE, p, n) || !take(&in, SEQUENCE, &algorithm) ||
	    !take(&algorithm, OID, &oid) || !take(&in, BIT_STRING, &bits) || in.p != in.end ||
	    bits.p == bits.end || *bits.p++ != 0)
		return false;
	k->kind = DER_OTHER;
	k->p = bits.p;
	k->n = (size_t)(bits.end - bits.p);
	if (is(&oid, "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", 9))	/* RFC 3279 2.3.1 */
		return take(&algorithm, NUL, &null) && null.p == null.end &&
		    algorithm.p == algorithm.end && der_rsa_public_key(k, k->p, k->n);
	if (is(&oid, "\x2a\x86\x48\xce\x3d\x02\x01", 7))		/* RFC 5480 2.1.1 */
		k->kind = curve(&algorithm);
	return true;
}

/* Days from 1970 to a day of the Gregorian calendar. A year is taken to begin in March, so that its
 * leap day is its last. */
static int64_t days(int64_t year, int64_t month, int64_t day)
{
	const int64_t m = (month + 9) % 12, y = year - (m >= 10);

	return 365 * y + y / 4 - y / 100 + y / 400 + (m * 306 + 5) / 10 + day - 1 - 719468;
}

/* RFC 5280 4.1.2.5: YYMMDDHHMMSSZ from 1950 to 2049, else YYYYMMDDHHMMSSZ. */
static bool take_time(struct in *in, int64_t *s)
{
	struct in what;
	int64_t v[7];
	const bool utc = take(in, UTC_TIME, &what);

	if ((!utc && !take(in, GENERALIZED_TIME, &what)) || what.end - what.p != (utc ? 13 : 15) ||
	    what.end[-1] != 'Z')
		return false;
	for (int i = utc; i < 7; i++, what.p += 2) {
		if (what.p[0] < '0' || what.p[0] > '9' || what.p[1] < '0' || what.p[1] > '9')
			return false;
		v[i] = 10 * (what.p[0] - '0') + what.p[1] - '0';
	}
	if (utc)
		v[0] = v[1] < 50 ? 20 : 19;
	*s = ((days(100 * v[0] + v[1], v[2], v[3]) * 24 + v[4]) * 60 + v[5]) * 60 + v[6];
	return v[2] >= 1 && v[2] <= 12;
}

bool der_certificate(struct der_certificate *c, const uint8_t *p, size_t n)
{
	struct in in, tbs, validity, skip;

	if (!whole(&in, SEQUENCE, p, n) || !take(&in, SEQUENCE, &tbs))
		return false;
	take(&tbs, VERSION, &skip);
	if (!take(&tbs, INTEGER, &skip) || !take(&tbs, SEQUENCE, &skip) || !take(&tbs, SEQUENCE, &skip) ||
	    !take(&tbs, SEQUENCE, &validity) || !take(&tbs, SEQUENCE, &skip) ||
	    !take_time(&validity, &c->from_s) || !take_time(&validity, &c->to_s))
		return false;
	const uint8_t *key = tbs.p;

	return take(&tbs, SEQUENCE, &skip) && der_public_key(&c->key, key, (size_t)(tbs.p - key));
}
