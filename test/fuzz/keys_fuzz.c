/* keys_fuzz.c - the bytes of a key file: what is taken is a key, the same twice is the same, and
 * what is refused leaves nothing behind once it is wiped.
 *
 * Links keyfile.c, pem.c, key.c, der.c, grants.c, json.c, b64.c, text.c, subject.c, sha256.c, utf8.c. */
#include "check.h"
#include "keyfile.h"

#define MUST(e) do { \
	if (!(e)) { \
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #e); \
		abort(); \
	} \
} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static struct keyring first, second, copy;
static unsigned npassed;

static void passed(const void *arg, const char *key, const char *what)
{
	MUST(arg == &npassed && strncmp(key, "key ", 4) == 0 && *what);
	npassed++;
}

static const char *parse(struct keyring *k, const uint8_t *p, size_t n, const char *kid)
{
	struct keyfile f = { .kid = (const uint8_t *)kid, .kid_len = kid ? strlen(kid) : 0,
		.passed = passed, .arg = &npassed };
	const char *what;

	key_wipe(k);
	what = keyfile_read(k, &f, guard(0, p, n), n);
	MUST(strlen(f.key) < sizeof f.key && k->n <= KEYS_MAX && k->used <= KEY_POOL);
	MUST(what || k->n > 0);
	return what;
}

static void holds(const struct keyring *k)
{
	uint8_t mac[KEY_MAC_MAX];
	size_t n, len;

	for (uint8_t i = 0; i < k->n; i++) {
		const char *alg = key_alg_name(k->key[i].alg), *issuer = key_issuer(k, i);
		const uint8_t *kid = key_kid(k, i, &n), *most;

		MUST(!kid || (n > 0 && n <= CLAIM_MAX && key_find(k, kid, n) == i));
		MUST(!issuer || strlen(issuer) <= CLAIM_MAX);
		most = key_ceiling(k, i, &len);
		MUST(!most || (most >= k->pool && most + len <= k->pool + k->used));
		MUST(!most || !grants_cover(most, len, 4, (const uint8_t *)"/", 1));
		MUST(key_alg_read((const uint8_t *)alg, 5) == k->key[i].alg);
		if (key_is_secret(k, i)) {
			len = key_sign(k, i, "x", 1, mac);
			MUST(key_verify(k, i, "x", 1, mac, len) == WHY_OK);
		} else if (k->n < 3) {		/* they take their time */
			memset(mac, 1, sizeof mac);
			MUST(key_verify(k, i, "x", 1, mac, sizeof mac) == WHY_SIGNATURE_INVALID);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct keyring empty;
	uint8_t map[KEYS_MAX], copied[KEYS_MAX];
	const char *what;
	size_t kid_len;

	if (n > 8192)
		return 0;
	what = parse(&first, p, n, NULL);
	MUST(parse(&second, p, n, NULL) == what && first.n == second.n);
	if (!what) {
		holds(&first);
		keys_map(map, &first, &second);
		key_wipe(&copy);
		MUST(key_copy(&copy, &first, 0) == NULL && copy.n == first.n);
		keys_map(copied, &first, &copy);
		for (uint32_t i = 0; i < first.n; i++) {
			/* Of two without a name that are the same in all the last is as good. */
			MUST(map[i] < second.n && (map[i] == i || !key_kid(&first, (uint8_t)i, &kid_len)));
			MUST(copied[i] == map[i]);
		}
		holds(&copy);
	}
	parse(&second, p, n, "kid");
	key_wipe(&first);
	key_wipe(&second);
	key_wipe(&copy);
	MUST(memcmp(&first, &empty, sizeof empty) == 0 && memcmp(&second, &empty, sizeof empty) == 0);
	return 0;
}
