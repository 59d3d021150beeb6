/* option.h - the command line and the config file, from one table that --help prints too.
 *
 * Opens no socket; reads the config file. Whatever is wrong ends the process with status 2 and
 * one line that names the option, and file and line where it stood. */

#ifndef OPTION_H
#define OPTION_H

#include <stdbool.h>
#include <stdint.h>

#include "cut.h"
#include "limits.h"
#include "source.h"

/* Strings live as long as the process. Times are in milliseconds. */
struct options {
	const char *listen[LISTENERS_MAX];
	unsigned nlisten;
	const char *secret_file;
	bool     allow_weak_secret, no_auth;
	uint32_t token_once;		/* 1: once, 0: many */
	uint32_t used_tokens;
	const char *used_tokens_file;
	int64_t  max_ttl_ms, leeway_ms;
	const char *issuer, *audience;
	bool     enforce_expiry;
	const char *origin[ORIGINS_MAX];
	unsigned norigin;
	struct source_spec source[SOURCES_MAX];
	unsigned nsource;
	uint32_t framing;		/* enum framing */
	bool     binary;
	uint64_t buffer, max_message;
	uint64_t replay;
	uint32_t slow;			/* enum slow */
	uint32_t max_clients, max_pending;	/* max_clients 0: not given */
	int64_t  handshake_ms, ping_ms;
	bool     page, exit_on_eof;
	const char *metrics, *user;
	uint32_t log_level;		/* enum log_level */
};

/* The server's options; --help and --version print and exit 0. operand, if not NULL, is set to the
 * argument that is no option, or to NULL. */
void options_read(struct options *o, int argc, char **argv, const char **operand);

/* "FILE:LINE: " where that option stood in the config file, else "". Good until the next call. */
const char *options_place(const char *name);

/* Print the table as the help shows it, and what stands around it. */
void options_help(void);

#endif
