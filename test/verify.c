/* Verifies what it is told on stdin, for scripts that have vectors. Each line is one of
 *
 *	ALG KEY EXPONENT INPUT SIGNATURE	in hexadecimal, "-" for nothing: prints 1 or 0
 *	JWS KEYFILE TOKEN			KEYFILE in hexadecimal: prints 1 if the signature of the token
 *						is right, whatever it says, else 0
 *
 * or "refused: ..." where the key is not taken. */
#include <stdio.h>

#include "check.h"
#include "jwt.h"
#include "keyfile.h"

#define LINE 40000

static uint8_t part[4][LINE / 2];
static size_t len[4];
static struct keyring ring;

static void passed(const void *arg, const char *key, const char *what)
{
	(void)arg;
	(void)key;
	(void)what;
}

static void say(const char *what, bool good)
{
	if (what)
		printf("refused: %s\n", what);
	else
		puts(good ? "1" : "0");
}

static void verify(enum key_alg alg)
{
	const struct key_spec spec = { .alg = alg, .p = part[0], .n = len[0], .e = part[1],
		.e_len = len[1], .allow_weak = true };
	const char *what = key_add(&ring, &spec);

	say(what, !what && key_verify(&ring, 0, part[2], len[2], part[3], len[3]) == WHY_OK);
}

/* The digest is there from when on the signature is known to be right. */
static void verify_token(const char *token)
{
	static const uint8_t none[SHA256_LEN];
	const struct jwt_policy policy = { 0 };
	struct keyfile f = { .passed = passed };
	const char *what = keyfile_read(&ring, &f, part[0], len[0]);
	static struct jwt jwt;

	memset(&jwt, 0, sizeof jwt);
	if (!what)
		jwt_check(&jwt, token, strlen(token), &policy, &ring, 0);
	say(what, memcmp(jwt.digest, none, sizeof none) != 0);
}

int main(void)
{
	static char line[LINE];

	while (fgets(line, sizeof line, stdin)) {
		const char *alg = strtok(line, " \n"), *word[4] = { "-", "-", "-", "-" }, *w;

		for (int i = 0; i < 4 && (w = strtok(NULL, " \n")); i++)
			word[i] = w;
		key_wipe(&ring);
		if (strcmp(alg, "JWS") == 0) {
			len[0] = unhex(part[0], word[0]);
			verify_token(strcmp(word[1], "-") == 0 ? "" : word[1]);
			continue;
		}
		for (int i = 0; i < 4; i++)
			len[i] = strcmp(word[i], "-") == 0 ? 0 : unhex(part[i], word[i]);
		verify(key_alg_read((const uint8_t *)alg, strlen(alg)));
	}
	return 0;
}
