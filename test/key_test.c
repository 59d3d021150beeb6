/* Picking a key, and the ring. Verifying is in jwt_test.c and the vectors. */
#include "check.h"
#include "key.h"

static struct keyring ring, other;

static const uint8_t secret[] = "sluice test key, 32 bytes or more";

/* Add an HMAC key; what its material is does not matter to picking. */
static void add(struct keyring *k, const char *kid, enum key_alg alg)
{
	struct key_spec spec = { .alg = alg, .p = secret, .n = sizeof secret - 1, .allow_weak = true };

	if (kid) {
		spec.kid = (const uint8_t *)kid;
		spec.kid_len = strlen(kid);
	}
	CHECK(key_add(k, &spec) == NULL);
}

/* The index of the key, or a reason below zero. */
static int pick(const char *kid, const char *alg)
{
	const size_t kn = kid ? strlen(kid) : 0, an = strlen(alg);
	uint8_t key = KEY_NONE;
	const enum why why = key_pick(&ring, &key, kid ? guard(0, kid, kn) : NULL, kn,
	    guard(1, alg, an), an);

	return why == WHY_OK ? key : -(int)why;
}

/* One that nobody knows is refused before a key is looked for. */
static void algorithms(void)
{
	static const char *const known[] = { "HS256", "HS384", "HS512", "RS256", "RS384", "RS512",
		"ES256", "ES384", "ES512" };
	static const char *const unknown[] = { "", "none", "HS25", "HS2566", "HS128", "hs256",
		"XS256", "HT256", "EdDSA", "PS256", "ES256K", "HS256\x01" };

	key_wipe(&ring);
	for (size_t i = 0; i < 9; i++)
		CHECK(pick(NULL, known[i]) == -WHY_KEY_UNKNOWN);
	for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
		CHECK(pick(NULL, unknown[i]) == -WHY_ALG_NOT_ALLOWED);
	key_set_secret(&ring, secret, sizeof secret - 1);
	for (size_t i = 0; i < 9; i++)
		CHECK(pick(NULL, known[i]) == (i ? -WHY_ALG_NOT_ALLOWED : 0));
	for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
		CHECK(pick("k", unknown[i]) == -WHY_ALG_NOT_ALLOWED);
}

/* Contract 2, Keys. */
static void candidates(void)
{
	enum { UNKNOWN = -WHY_KEY_UNKNOWN, ALG = -WHY_ALG_NOT_ALLOWED };
	static const struct { const char *kid, *alg; int want; } rows[] = {
		/* the key of that name, whatever the others could */
		{ "a", "HS256", 0 }, { "a", "HS384", ALG }, { "b", "HS384", 1 }, { "b", "HS256", ALG },
		{ "c", "HS512", 4 }, { "c", "HS256", ALG },
		/* no such name: those without */
		{ "x", "HS256", 2 }, { "x", "HS384", 3 }, { "x", "HS512", ALG }, { "", "HS256", 2 },
		{ "aa", "HS256", 2 }, { "A", "HS512", ALG },
		/* no kid: all, and one of them must have it */
		{ NULL, "HS256", UNKNOWN }, { NULL, "HS384", UNKNOWN }, { NULL, "HS512", 4 },
		{ NULL, "RS256", ALG },
	};

	key_wipe(&ring);
	add(&ring, "a", KEY_HS256);
	add(&ring, "b", KEY_HS384);
	add(&ring, NULL, KEY_HS256);
	add(&ring, NULL, KEY_HS384);
	add(&ring, "c", KEY_HS512);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!CHECK(pick(rows[i].kid, rows[i].alg) == rows[i].want))
			printf("\t%s %s\n", rows[i].kid ? rows[i].kid : "no kid", rows[i].alg);

	/* Names only: another name is unknown. */
	key_wipe(&ring);
	add(&ring, "a", KEY_HS256);
	CHECK(pick("b", "HS256") == UNKNOWN && pick(NULL, "HS256") == 0);
	CHECK(pick("", "HS256") == UNKNOWN);

	/* Two without a name that could both. */
	add(&ring, NULL, KEY_HS256);
	add(&ring, NULL, KEY_HS256);
	CHECK(pick("b", "HS256") == UNKNOWN && pick(NULL, "HS256") == UNKNOWN);
	CHECK(pick("a", "HS256") == 0 && pick("b", "HS384") == ALG);
}

/* A kid is compared whole; of a longer one only the beginning is there. */
static void long_kid(void)
{
	uint8_t name[CLAIM_MAX];
	uint8_t key = KEY_NONE;

	memset(name, 'k', sizeof name);
	key_wipe(&ring);
	CHECK(key_add(&ring, &(struct key_spec){ .p = secret, .n = 32, .kid = name,
	    .kid_len = sizeof name }) == NULL);
	CHECK(key_pick(&ring, &key, guard(0, name, CLAIM_MAX), CLAIM_MAX,
	    (const uint8_t *)"HS256", 5) == WHY_OK && key == 0);
	for (size_t n = CLAIM_MAX + 1; n < CLAIM_MAX + 600; n++)
		CHECK(key_pick(&ring, &key, guard(0, name, CLAIM_MAX), n, (const uint8_t *)"HS256", 5) ==
		    WHY_KEY_UNKNOWN);
	CHECK(key_add(&ring, &(struct key_spec){ .p = secret, .n = 32, .kid = name,
	    .kid_len = sizeof name + 1 }) != NULL && ring.n == 1);
}

/* What becomes of each key when the ring is read anew. */
static void maps(void)
{
	static struct grants ceiling;
	uint8_t map[KEYS_MAX], another[32] = { 1 };
	struct key_spec spec = { .p = secret, .n = 32, .kid = (const uint8_t *)"k", .kid_len = 1,
		.allow_weak = true };

	key_wipe(&ring);
	key_wipe(&other);
	add(&ring, "a", KEY_HS256);
	add(&ring, "b", KEY_HS256);
	add(&ring, NULL, KEY_HS256);
	add(&other, NULL, KEY_HS256);
	add(&other, "a", KEY_HS256);
	keys_map(map, &ring, &other);
	CHECK(map[0] == 1 && map[1] == KEY_NONE && map[2] == 0 && map[3] == KEY_NONE);
	keys_map(map, &other, &ring);
	CHECK(map[0] == 2 && map[1] == 0 && map[2] == KEY_NONE);

	/* Any change makes it another. */
	key_wipe(&ring);
	CHECK(key_add(&ring, &spec) == NULL);
	for (int i = 0; i < 9; i++) {
		struct key_spec s = spec;

		grants_default(&ceiling);
		if (i == 1)
			s.alg = KEY_HS384;
		if (i == 2)
			s.n--;
		if (i == 3)
			s.kid = (const uint8_t *)"l";
		if (i == 4)
			s.issuer = "";
		if (i == 5)
			s.token_use = KEY_USE_MANY;
		if (i == 6)
			s.ceiling = &ceiling;
		if (i == 7)
			s.kid_len = 0;
		if (i == 8)
			s.p = another;
		key_wipe(&other);
		CHECK(key_add(&other, &s) == NULL);
		keys_map(map, &ring, &other);
		CHECK(map[0] == (i ? KEY_NONE : 0));
	}
}

static void says(void)
{
	static struct grants ceiling;
	size_t n;

	key_wipe(&ring);
	add(&ring, "a", KEY_HS256);
	CHECK(key_issuer(&ring, 0) == NULL && key_ceiling(&ring, 0, &n) == NULL);
	CHECK(key_token_use(&ring, 0) == KEY_USE_UNSAID);
	grants_everything(&ceiling);
	CHECK(key_add(&ring, &(struct key_spec){ .p = secret, .n = 33, .issuer = "https://i",
	    .ceiling = &ceiling, .token_use = KEY_USE_ONCE }) == NULL);
	CHECK(strcmp(key_issuer(&ring, 1), "https://i") == 0);
	CHECK(key_token_use(&ring, 1) == KEY_USE_ONCE);
	CHECK_BYTES(key_ceiling(&ring, 1, &n), ceiling.s, ceiling.n);
	CHECK(n == ceiling.n);

	/* One that grants nothing at all is a ceiling too. */
	ceiling.n = 0;
	CHECK(key_add(&ring, &(struct key_spec){ .p = secret, .n = 33, .ceiling = &ceiling }) == NULL);
	CHECK(key_ceiling(&ring, 2, &n) != NULL && n == 0);
}

/* No more than there is room for; and no trace afterwards. */
static void full(void)
{
	static struct grants ceiling = { .n = GRANTS_MAX };
	static const struct keyring empty;

	key_wipe(&ring);
	for (unsigned i = 0; i < KEYS_MAX; i++)
		add(&ring, NULL, KEY_HS256);
	CHECK(key_add(&ring, &(struct key_spec){ .p = secret, .n = 32 }) != NULL);
	CHECK(ring.n == KEYS_MAX);
	key_wipe(&ring);
	CHECK(memcmp(&ring, &empty, sizeof ring) == 0);
	memset(ceiling.s, 7, sizeof ceiling.s);
	while (key_add(&ring, &(struct key_spec){ .p = secret, .n = 32, .ceiling = &ceiling }) == NULL)
		CHECK(ring.used <= KEY_POOL);
	CHECK(ring.n > 10 && ring.n < 20);
	key_wipe(&ring);
	CHECK(memcmp(&ring, &empty, sizeof ring) == 0);
}

CHECK_MAIN(key, RUN(algorithms) RUN(candidates) RUN(long_kid) RUN(maps) RUN(says) RUN(full))
