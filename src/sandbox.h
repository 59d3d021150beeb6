/* sandbox.h - what the process gives up once all is open: new privileges, files, ports and
 * system calls.
 *
 * Before the loop. What the kernel does not offer costs one line in the log and no more. */

#ifndef SANDBOX_H
#define SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

/* Neither core dumps nor other processes of the same user show our memory. */
void sandbox_hide(void);

struct sandbox {
	int      rules;		/* Landlock's; -1: none */
	uint64_t handled;	/* rights that it knows */
	bool     on;
};

enum sandbox_right { SANDBOX_READ, SANDBOX_DEVICE, SANDBOX_REMOVE };

/* No new privileges from here on; on: and begin a sandbox. */
void sandbox_begin(struct sandbox *b, bool on);

/* What the loop will open again, or remove; its directory, since a file is often replaced by a
 * new one of its name. */
void sandbox_path(const struct sandbox *b, const char *path, enum sandbox_right right);

/* A file that SIGHUP reads again; a line if it cannot be read any more. */
void sandbox_again(const struct sandbox *b, const char *option, const char *path);

void sandbox_connect(const struct sandbox *b, unsigned port);

/* From here on, nothing but that, and the calls of the list in sandbox.c: any other ends the
 * process with SIGSYS. */
void sandbox_enter(const struct sandbox *b);

#endif
