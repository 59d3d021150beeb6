#include "keys.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ct.h"
#include "file.h"
#include "keyfile.h"
#include "log.h"
#include "secret.h"
#include "text.h"
#include "utf8.h"

/* Where in [KID=]FILE the file's name begins. */
static const char *file_of(const char *value)
{
	const char *eq = *value == '/' || *value == '.' ? NULL : strchr(value, '=');

	return eq ? eq + 1 : value;
}

const char *keys_check(const char *value)
{
	const char *file = file_of(value);
	const size_t n = file > value ? (size_t)(file - value) - 1 : 1;

	return n > 0 && n <= CLAIM_MAX && *file && utf8_valid((const uint8_t *)value, n) ? NULL :
	    "wanted FILE or KID=FILE";
}

static bool say(struct keys_bad *bad, const char *option, const char *value, const char *key,
    const char *what)
{
	struct text t = { bad->what, sizeof bad->what - 1, 0 };

	bad->option = option;
	bad->value = value;
	text_all(&t, key, *key ? ": " : "", what, NULL);
	bad->what[text_len(&t)] = 0;
	return false;
}

/* Only a start may wait for a FIFO. */
static bool read_once(const char *path)
{
	struct stat st;

	return stat(file_path(path), &st) == 0 && !S_ISREG(st.st_mode);
}

static bool keep(struct keyring *k, const struct keyring *old, uint8_t source,
    struct keys_bad *bad, const char *option, const char *value)
{
	const char *what = key_copy(k, old, source);

	return !what || say(bad, option, value, "", what);
}

static bool read_secret(struct keyring *k, const struct keys_from *from, struct keys_bad *bad)
{
	uint8_t secret[SECRET_MAX];
	size_t n;
	const char *what = secret_read(secret, &n, from->secret_file, from->allow_weak);

	if (!what)
		what = key_add(k, &(struct key_spec){ .alg = KEY_HS256, .p = secret, .n = n,
		    .allow_weak = true });	/* its length has been looked at */
	ct_wipe(secret, sizeof secret);
	return !what || say(bad, "secret-file", from->secret_file, "", what);
}

static void passed(const void *file, const char *key, const char *what)
{
	log_msg(LOG_WARN, "config", "--keys ", (const char *)file, ": ", key, ": passed over: ", what,
	    NULL);
}

static bool read_file(struct keyring *k, const char *value, bool allow_weak, struct keys_bad *bad)
{
	static uint8_t bytes[KEYFILE_MAX];
	const char *file = file_of(value);
	struct keyfile f = { .kid = file > value ? (const uint8_t *)value : NULL,
		.kid_len = file > value ? (size_t)(file - value) - 1 : 0, .allow_weak = allow_weak,
		.passed = passed, .arg = file };
	size_t n = sizeof bytes;
	mode_t mode;
	const char *what = file_read(file, bytes, &n, &mode);

	if (!what)
		what = keyfile_read(k, &f, bytes, n);
	ct_wipe(bytes, n);
	if (!what && f.secret && S_ISREG(mode) && mode & S_IROTH)
		log_msg(LOG_WARN, "config", "--keys ", file,
		    ": everyone can read it, and there is a secret in it; chmod 600 it", NULL);
	return !what || say(bad, "keys", value, f.key, what);
}

static bool read_all(struct keyring *k, const struct keys_from *from, const struct keyring *old,
    struct keys_bad *bad)
{
	const char *path = from->secret_file;

	if (old && (!path || read_once(path))) {
		if (!keep(k, old, 0, bad, "secret-file", path))
			return false;
	} else if (!from->files_only && (path || secret_in_environment())) {
		if (!read_secret(k, from, bad))
			return false;
	}
	for (uint32_t i = 0; i < from->files->n; i++) {
		const char *value = from->files->s[i];
		const uint32_t before = k->n;

		if (old && read_once(file_of(value)) ?
		    !keep(k, old, (uint8_t)(i + 1), bad, "keys", value) :
		    !read_file(k, value, from->allow_weak, bad))
			return false;
		for (uint32_t j = before; j < k->n; j++)
			k->key[j].source = (uint8_t)(i + 1);
	}
	return true;
}

bool keys_read(struct keyring *k, const struct keys_from *from, const struct keyring *old,
    struct keys_bad *bad)
{
	const bool ok = read_all(k, from, old, bad);

	if (!ok)
		key_wipe(k);
	return ok;
}

void keys_again(const struct keys_from *from, const struct sandbox *b)
{
	if (from->secret_file)
		sandbox_again(b, "--secret-file", from->secret_file);
	for (uint32_t i = 0; i < from->files->n; i++)
		sandbox_again(b, "--keys", file_of(from->files->s[i]));
}
