/* option.h - the command line and the config file, from one table that --help prints too.
 *
 * Opens no socket. Whatever is wrong ends the process (arg.h). */

#ifndef OPTION_H
#define OPTION_H

#include <stdbool.h>
#include <stdint.h>

#include "arg.h"
#include "cut.h"
#include "limits.h"
#include "proxy.h"
#include "source.h"

/* Strings live as long as the process. */
struct options {
	const char *config, *secret_file, *used_tokens_file, *issuer, *audience, *metrics, *user,
	    *chroot, *publish_to, *cert, *key;
	bool     allow_weak_secret, no_auth, enforce_expiry, binary, page, exit_on_eof, no_sandbox, syslog,
	    tls_legacy;
	uint32_t token_many;		/* 0: once */
	uint32_t used_tokens, buffer, max_message, replay;
	uint32_t max_ttl, leeway, handshake_timeout, ping;	/* seconds */
	uint32_t framing;		/* enum framing */
	uint32_t slow;			/* enum slow */
	uint32_t max_clients, max_pending, tls_clients;	/* max_clients 0: not given */
	uint32_t log_level;		/* enum log_level */
	struct arg_list listen, origin, source, keys, trust_proxy;
	struct proxies proxies;			/* of trust_proxy */
	struct source_spec spec[SOURCES_MAX];	/* of source */
};

/* The server's options; --help and --version print and exit 0. operand, if not NULL, is set to the
 * argument that is no option, or to NULL. */
void options_read(struct options *o, int argc, char **argv, const char **operand);

/* What stands behind the tls: of an address; NULL: it has none. */
const char *option_tls(const char *addr);

/* fatal with "--NAME VALUE: WHAT", and where it stood; value may be NULL. */
_Noreturn void options_bad(int status, const char *name, const char *value, const char *what);

#endif
