/* keys.h - reads all keys: the secret and the key files.
 *
 * Opens files and logs what is odd about them. What it reads of secrets it wipes. */

#ifndef KEYS_H
#define KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arg.h"
#include "key.h"
#include "sandbox.h"

#define KEY_FILES_MAX 16u

struct keys_from {
	const char *secret_file;		/* NULL: SLUICE_SECRET, if that is there */
	const struct arg_list *files;		/* of [KID=]FILE */
	bool allow_weak, files_only;
};

struct keys_bad {
	const char *option, *value;		/* value may be NULL */
	char what[240];
};

/* What is wrong with a [KID=]FILE, or NULL. */
const char *keys_check(const char *value);

/* Fill the ring. old: what is in force, when this is not the first time; then nothing is read that
 * could wait, and what can be read only once is taken from there. False: *bad says why, and the
 * ring is empty. */
bool keys_read(struct keyring *k, const struct keys_from *from, const struct keyring *old,
    struct keys_bad *bad);

/* Let the sandbox read the files again; a line for each that cannot be read any more. */
void keys_again(const struct keys_from *from, const struct sandbox *b);

#endif
