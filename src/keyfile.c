/* keyfile.c - section numbers are of RFC 7517 where no other RFC is named. */
#include "keyfile.h"

#include <string.h>

#include "b64.h"
#include "ct.h"
#include "der.h"
#include "json.h"
#include "pem.h"
#include "text.h"

static const char not_ours[] = "its algorithm is none of HS, RS and ES";

/* ---- JWK ---- */

enum { K, N, E, X, Y, D, PARTS };	/* the members that are base64url (RFC 7518 6) */

struct part {
	bool     there, good;
	uint16_t at, n;			/* in bytes */
};

struct jwk {
	char    kty[8], use[8], alg[8], crv[8], once[8];	/* empty: not there */
	char    issuer[CLAIM_MAX + 1];
	uint8_t kid[CLAIM_MAX];
	size_t  kid_len, used;
	bool    named, issued, bounded, idle;	/* idle: key_ops without verify */
	struct part part[PARTS];
	struct grants ceiling;
	uint8_t bytes[SECRET_MAX + 1024];
};

/* A short word; one that is longer than any that we know is "?". */
static bool take_word(char out[8], const struct json *j, enum json_event e)
{
	size_t n = 0;

	if (e != JSON_STRING)
		return false;
	if (!json_string(j, (uint8_t *)out, 7, &n) || n == 0 || memchr(out, 0, n))
		memcpy(out, "?", n = 1);
	out[n] = 0;
	return true;
}

static bool take_issuer(struct jwk *w, const struct json *j, enum json_event e)
{
	size_t n;

	if (e != JSON_STRING || !json_string(j, (uint8_t *)w->issuer, CLAIM_MAX, &n) ||
	    memchr(w->issuer, 0, n))
		return false;
	w->issuer[n] = 0;
	return w->issued = true;
}

static bool take_kid(struct jwk *w, const struct json *j, enum json_event e)
{
	return w->named = e == JSON_STRING && json_string(j, w->kid, sizeof w->kid, &w->kid_len) &&
	    w->kid_len > 0;
}

/* A number or a secret; of what it says that it is one is judged when kty is known. */
static void take_part(struct jwk *w, struct part *part, const struct json *j, enum json_event e)
{
	uint8_t text[B64URL_LEN(SECRET_MAX) + 1];
	size_t n, len;

	part->there = true;
	if (e != JSON_STRING || !json_string(j, text, sizeof text, &n))
		return;
	part->good = n / 4 * 3 + 2 <= sizeof w->bytes - w->used &&
	    b64url_decode(w->bytes + w->used, &len, text, n);
	if (part->good) {
		part->at = (uint16_t)w->used;
		part->n = (uint16_t)len;
		w->used += len;
	}
	ct_wipe(text, sizeof text);
}

/* 4.3 */
static bool take_ops(struct jwk *w, struct json *j, enum json_event e)
{
	if (e != JSON_ARRAY)
		return false;
	w->idle = true;
	while ((e = json_next(j)) == JSON_STRING)
		if (json_is(j, "verify"))
			w->idle = false;
	return e == JSON_ARRAY_END;
}

static bool take_permissions(struct jwk *w, struct json *j, enum json_event e)
{
	return w->bounded = grants_read(&w->ceiling, j, e);
}

/* One member; false: it is not of its form. Others are ignored (4). */
static bool take_member(struct jwk *w, struct json *j)
{
	enum { KTY = PARTS, USE, ALG, CRV, ONCE, KID, ISSUER, OPS, PERMISSIONS };
	const unsigned what = json_which(j, "k\0n\0e\0x\0y\0d\0kty\0use\0alg\0crv\0token_use\0kid\0issuer\0"
	    "key_ops\0permissions\0");
	char *const word[] = { w->kty, w->use, w->alg, w->crv, w->once };
	const enum json_event e = json_next(j);

	if (what < PARTS) {
		take_part(w, &w->part[what], j, e);
		return json_skip(j, e);
	}
	if (what < KID)
		return take_word(word[what - KTY], j, e);
	return what == KID ? take_kid(w, j, e) : what == ISSUER ? take_issuer(w, j, e) :
	    what == OPS ? take_ops(w, j, e) : what == PERMISSIONS ? take_permissions(w, j, e) :
	    json_skip(j, e);
}

/* The reader stands behind the object's beginning. NULL, or the name of the member in the wrong. */
static const char *read_jwk(struct jwk *w, struct json *j)
{
	memset(w, 0, sizeof *w);
	while (json_next(j) == JSON_NAME)
		if (!take_member(w, j))
			return "a member has the wrong type or value";
	if (!*w->kty)
		return "kty is missing";
	if (*w->once && strcmp(w->once, "once") != 0 && strcmp(w->once, "many") != 0)
		return "token_use is neither once nor many";
	return NULL;
}

/* The algorithm, KEY_ALGS if it is none of ours: what alg says, of this family, or the default. */
static enum key_alg choose(const struct jwk *w, enum key_alg first, enum key_alg last)
{
	const enum key_alg alg = key_alg_read((const uint8_t *)w->alg, strlen(w->alg));

	return !*w->alg ? first : alg >= first && alg <= last ? alg : KEY_ALGS;
}

static enum key_alg choose_curve(const struct jwk *w)
{
	static const char crv[][6] = { "P-256", "P-384", "P-521" };

	for (unsigned i = 0; i < 3; i++)
		if (strcmp(w->crv, crv[i]) == 0)
			return choose(w, KEY_ES256 + i, KEY_ES256 + i);
	return KEY_ALGS;
}

static enum key_alg algorithm(const struct jwk *w)
{
	return strcmp(w->kty, "oct") == 0 ? choose(w, KEY_HS256, KEY_HS512) :
	    strcmp(w->kty, "RSA") == 0 ? choose(w, KEY_RS256, KEY_RS512) :
	    strcmp(w->kty, "EC") == 0 ? choose_curve(w) : KEY_ALGS;
}

/* RFC 7518 6.2.1: each coordinate has the curve's length, with zeros in front. */
static const char *take_point(struct key_spec *spec, const struct jwk *w, uint8_t point[133])
{
	static const uint8_t len[] = { 32, 48, 66 };
	const struct part *x = &w->part[X], *y = &w->part[Y];
	const size_t n = len[spec->alg - KEY_ES256];

	if (!x->good || !y->good || x->n != n || y->n != n)
		return "x and y are wanted in base64url, of the curve's length";
	point[0] = 4;
	memcpy(point + 1, w->bytes + x->at, n);
	memcpy(point + 1 + n, w->bytes + y->at, n);
	spec->p = point;
	spec->n = 1 + 2 * n;
	return NULL;
}

static const char *take_material(struct key_spec *spec, const struct jwk *w, uint8_t point[133])
{
	const struct part *first = &w->part[spec->alg < KEY_RS256 ? K : N], *e = &w->part[E];

	if (spec->alg >= KEY_ES256)
		return take_point(spec, w, point);
	if (!first->good)
		return spec->alg < KEY_RS256 ? "k is wanted in base64url" :
		    "n is wanted in base64url";
	spec->p = w->bytes + first->at;
	spec->n = first->n;
	if (spec->alg < KEY_RS256)
		return NULL;
	if (!e->good)
		return "e is wanted in base64url";
	spec->e = w->bytes + e->at;
	spec->e_len = e->n;
	return NULL;
}

/* Why the key is not for us, or NULL. */
static const char *passed_over(const struct jwk *w)
{
	return *w->use && strcmp(w->use, "sig") != 0 ? "its use is not sig" :
	    w->idle ? "its key_ops are without verify" :
	    algorithm(w) == KEY_ALGS ? not_ours : NULL;
}

static const char *add_jwk(struct keyring *k, struct keyfile *f, const struct jwk *w)
{
	struct key_spec spec = { .alg = algorithm(w), .kid = w->named ? w->kid : NULL,
		.kid_len = w->kid_len, .issuer = w->issued ? w->issuer : NULL,
		.ceiling = w->bounded ? &w->ceiling : NULL, .allow_weak = f->allow_weak,
		.token_use = *w->once == 'o' ? KEY_USE_ONCE : *w->once ? KEY_USE_MANY :
		KEY_USE_UNSAID };
	uint8_t point[133];
	const char *what;

	if (w->part[D].there && (strcmp(w->kty, "RSA") == 0 || strcmp(w->kty, "EC") == 0))
		return "is a private key; give sluice the public one alone";
	what = passed_over(w);
	if (what) {
		f->passed(f->arg, f->key, what);
		return NULL;
	}
	what = take_material(&spec, w, point);
	f->secret |= spec.alg < KEY_RS256;
	return what ? what : key_add(k, &spec);
}

/* By its kid, if that can be read, else by its number. */
static void name_key(struct keyfile *f, const struct jwk *w, unsigned number)
{
	struct text t = { f->key, sizeof f->key - 1, 0 };
	bool plain = w->named && w->kid_len <= 64;

	for (size_t i = 0; i < w->kid_len; i++)
		plain &= w->kid[i] > ' ' && w->kid[i] < 0x7f;
	text_str(&t, "key ");
	if (plain)
		text_put(&t, w->kid, w->kid_len);
	else
		text_num(&t, number, 1);
	f->key[text_len(&t)] = 0;
}

static const char *take_jwk(struct keyring *k, struct keyfile *f, struct json *j, unsigned number)
{
	struct jwk w;
	const char *what = read_jwk(&w, j);

	name_key(f, &w, number);
	if (!what)
		what = add_jwk(k, f, &w);
	ct_wipe(&w, sizeof w);
	return what;
}

/* 5.1 */
static const char *take_keys(struct keyring *k, struct keyfile *f, struct json *j)
{
	enum json_event e = json_next(j);
	unsigned number = 0;

	if (e != JSON_ARRAY)
		return "keys is no array";
	while ((e = json_next(j)) == JSON_OBJECT) {
		const char *what = take_jwk(k, f, j, ++number);

		if (what)
			return what;
	}
	*f->key = 0;
	return e == JSON_ARRAY_END ? NULL : "keys holds what is no object";
}

static const char *read_json(struct keyring *k, struct keyfile *f, const uint8_t *p, size_t n)
{
	struct json j;

	/* All of it first, so that what follows need not ask. */
	json_init(&j, p, n);
	if (json_next(&j) != JSON_OBJECT || !json_skip(&j, JSON_OBJECT) || json_next(&j) != JSON_DONE)
		return "is no JSON object (RFC 8259, no name twice)";
	json_init(&j, p, n);
	json_next(&j);
	while (json_next(&j) == JSON_NAME) {
		if (json_is(&j, "keys"))
			return take_keys(k, f, &j);
		json_skip(&j, JSON_NAME);
	}
	json_init(&j, p, n);
	json_next(&j);
	return take_jwk(k, f, &j, 1);
}

/* ---- PEM ---- */

struct pem {
	struct keyring *ring;
	struct keyfile *file;
	bool any;
};

static const char *read_der(struct keyring *k, struct keyfile *f, const uint8_t *p, size_t n)
{
	static const uint8_t algs[] = { [DER_RSA] = KEY_RS256, [DER_P256] = KEY_ES256,
		[DER_P384] = KEY_ES384, [DER_P521] = KEY_ES512 };
	struct der_key der;

	if (!der_public_key(&der, p, n))
		return "is no public key in DER (RFC 5280 4.1)";
	if (der.kind == DER_OTHER) {
		f->passed(f->arg, "key 1", not_ours);
		return NULL;
	}
	return key_add(k, &(struct key_spec){ .alg = algs[der.kind], .kid = f->kid,
	    .kid_len = f->kid_len, .p = der.p, .n = der.n, .e = der.e, .e_len = der.e_len });
}

static const char *take_public(void *to, const char *label, const uint8_t *der, size_t n)
{
	struct pem *pem = to;

	if (strstr(label, "PRIVATE KEY"))
		return "is a private key; give sluice the public one: openssl pkey -pubout";
	if (strcmp(label, "EC PARAMETERS") == 0)
		return NULL;			/* stands in front of some private keys */
	if (pem->any)
		return "holds more than a public key";
	pem->any = true;
	if (strcmp(label, "PUBLIC KEY") != 0)
		return "is no PUBLIC KEY in PEM (RFC 7468 13)";
	return read_der(pem->ring, pem->file, der, n);
}

static const char *read_pem(struct keyring *k, struct keyfile *f, const uint8_t *p, size_t n)
{
	struct pem pem = { k, f, false };

	if (!SLUICE_TLS)
		return "is no JWK Set, and this sluice was built without BearSSL, which reads PEM";
	const char *what = pem_read(p, n, take_public, &pem);

	return what || pem.any ? what : "is neither a JWK Set nor a PEM public key";
}

const char *keyfile_read(struct keyring *k, struct keyfile *f, const uint8_t *p, size_t n)
{
	const uint32_t before = k->n;
	const uint8_t *start = p;
	const char *what;

	f->secret = false;
	*f->key = 0;
	while (start < p + n && memchr(" \t\r\n", *start, 4))
		start++;
	const bool json = start < p + n && *start == '{';

	if (json && f->kid)
		return "a JWK has its own kid; KID= is for PEM";
	what = json ? read_json(k, f, p, n) : read_pem(k, f, p, n);
	if (what || k->n > before)
		return what;
	*f->key = 0;
	return "holds no key for sluice";
}
