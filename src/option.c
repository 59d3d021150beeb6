#include "option.h"

#include <string.h>

#include "conn.h"
#include "http.h"
#include "keys.h"
#include "log.h"
#include "net.h"
#include "notify.h"

/* A row: its kind, its field, from, to, and the help. */
#define OPTIONS(O) \
	O(LIST, listen, 0, LISTENERS_MAX, \
	  "listen ADDR            where clients connect: PORT, HOST:PORT, unix:PATH, or one of\n" \
	  "                           them behind tls: (:8080) *") \
	O(TEXT, cert, 0, 0, \
	  "cert FILE              for tls: the certificate and those that vouch for it, PEM") \
	O(TEXT, key, 0, 0, \
	  "key FILE               its private key, RSA or EC, PEM") \
	O(TEXT, secret_file, 0, 0, \
	  "secret-file FILE       the HMAC secret that tokens are signed with; or SLUICE_SECRET") \
	O(LIST, keys, 0, KEY_FILES_MAX, \
	  "keys [KID=]FILE        keys of services: a JWK Set, or a PEM public key named KID *") \
	O(FLAG, allow_weak_secret, 0, 0, \
	  "allow-weak-secret      let a secret have less than 32 bytes") \
	O(FLAG, no_auth, 0, 0, \
	  "no-auth                let everyone read; tokens are not looked at") \
	O(CHOICE, token_many, 0, 0, \
	  "token-use once|many    how many connections a token opens (once)") \
	O(NUMBER, used_tokens, 1, USED_MAX, \
	  "used-tokens N          used tokens to remember until they expire (4096)") \
	O(TEXT, used_tokens_file, 0, 0, \
	  "used-tokens-file FILE  remember them here too, across restarts") \
	O(NUMBER, max_ttl, 0, INT32_MAX, \
	  "max-ttl SECONDS        refuse tokens that live longer; 0: no bound (3600)") \
	O(NUMBER, leeway, 0, INT32_MAX, \
	  "leeway SECONDS         clock skew allowed for exp and nbf (0)") \
	O(TEXT, issuer, 0, 0, \
	  "issuer S               what a token's iss must be") \
	O(TEXT, audience, 0, 0, \
	  "audience S             what a token's aud must hold") \
	O(FLAG, enforce_expiry, 0, 0, \
	  "enforce-expiry         end a connection when its token expires") \
	O(LIST, origin, 0, ORIGINS_MAX, \
	  "origin PATTERN         allowed Origin: https://HOST[:PORT], HOST, *.HOST, null (any) *") \
	O(LIST, source, 0, SOURCES_MAX, \
	  "source [SUBJECT=]SPEC  -, fifo:PATH, tcp:HOST:PORT, tcp-listen:ADDR, unix:PATH,\n" \
	  "                           udp:ADDR, tty:PATH[,BAUD] (-) *") \
	O(CHOICE, framing, 0, 0, \
	  "framing lines|nul|len32|chunk\n" \
	  "                           what is a message (lines)") \
	O(FLAG, binary, 0, 0, \
	  "binary                 send binary frames; otherwise text, mended to be UTF-8") \
	O(SIZE, buffer, 1024, 1u << 30, \
	  "buffer BYTES           the ring of recent messages, twice --max-message (256K)") \
	O(NUMBER, replay, 0, UINT32_MAX, \
	  "replay N               send a new client the last N messages (0)") \
	O(CHOICE, slow, 0, 0, \
	  "slow close|skip|wait   what becomes of a client a whole ring behind (close)") \
	O(NUMBER, max_clients, 1, 1000000, \
	  "max-clients N          more are answered 503 (what the file limit allows)") \
	O(SIZE, max_message, 1, 1u << 29, \
	  "max-message BYTES      longest message; a longer one is dropped whole (64K)") \
	O(NUMBER, handshake_timeout, 1, 3600, \
	  "handshake-timeout SECONDS\n" \
	  "                           from accept to a finished handshake (10)") \
	O(NUMBER, ping, 1, 86400, \
	  "ping SECONDS           ping interval; silent for two, a client is dropped (30)") \
	O(FLAG, page, 0, 0, \
	  "page                   serve the built-in page at /; its token is in /#t=TOKEN") \
	O(TEXT, publish_to, 0, 0, \
	  "publish-to -           print what clients publish to stdout, SUBJECT<TAB>DATA a line") \
	O(FLAG, exit_on_eof, 0, 0, \
	  "exit-on-eof            when the last source has ended and all is delivered, exit") \
	O(TEXT, metrics, 0, 0, \
	  "metrics ADDR           Prometheus text at /metrics, ok at /healthz") \
	O(TEXT, user, 0, 0, \
	  "user NAME              become this user once listening") \
	O(TEXT, chroot, 0, 0, \
	  "chroot DIR             make DIR the root directory once listening") \
	O(FLAG, no_sandbox, 0, 0, \
	  "no-sandbox             do without the system call filter and Landlock") \
	O(NUMBER, max_pending, 1, 65536, \
	  "max-pending N          unfinished handshakes; the oldest gives way (512)") \
	O(NUMBER, tls_clients, 1, 65535, \
	  "tls-clients N          TLS connections in all; an unfinished one gives way (256)") \
	O(FLAG, tls_legacy, 0, 0, \
	  "tls-legacy             TLS: offer AES-CBC too, to clients that have nothing newer") \
	O(LIST, trust_proxy, 0, PROXIES_MAX, \
	  "trust-proxy CIDR       X-Forwarded-For from there names the client in the log *") \
	O(FLAG, syslog, 0, 0, \
	  "syslog                 log to the system's log, /dev/log, and not to stderr") \
	O(CHOICE, log_level, 0, 0, \
	  "log-level error|warn|info|debug\n" \
	  "                           what is logged (info)") \
	O(CONFIG, config, 0, 0, \
	  "config FILE            options, one \"name value\" a line; the command line wins") \
	O(HELP, config, 0, 0, "help                   print this") \
	O(VERSION, config, 0, 0, "version                print the version")

#define ROW(kind, field, min, max, text) \
	{ ARG_##kind, offsetof(struct options, field), min, max },
#define TEXT(kind, field, min, max, text) "  --" text "\n"

static const struct arg rows[] = { OPTIONS(ROW) };

static const char help[] =
    "Usage: COMMAND | sluice [OPTION...]\n"
    "       sluice token --help\n"
    "       sluice check [OPTION...] [TOKEN]    what would become of it, and why\n"
    "\n"
    "Streams messages from stdin and other sources to WebSocket clients that show a\n"
    "JSON Web Token. Defaults in parentheses; * may be given several times.\n"
    "\n"
    OPTIONS(TEXT)
    "\n"
    "If messages come late: most programs save up their output when it goes into a\n"
    "pipe. sluice sends each line as soon as it is written; tell the program to\n"
    "write each line at once (grep --line-buffered, sed -u, mawk -W interactive,\n"
    "python -u), or put stdbuf -oL in front of it.\n";

_Static_assert(sizeof rows / sizeof *rows <= ARGS_MAX, "room for their lines");
_Static_assert(LISTENERS_MAX <= ARG_LIST_MAX && ORIGINS_MAX <= ARG_LIST_MAX &&
    SOURCES_MAX <= ARG_LIST_MAX && PROXIES_MAX <= ARG_LIST_MAX && KEY_FILES_MAX <= ARG_LIST_MAX, "room in a list");

const char *option_tls(const char *addr)
{
	return strncmp(addr, "tls:", 4) == 0 ? addr + 4 : NULL;
}

static const char *check(size_t at, const char *value)
{
	struct source_spec spec;
	struct proxies proxies = { .n = 0 };

	switch (at) {
	case offsetof(struct options, listen):
		return net_check(option_tls(value) ? option_tls(value) : value);
	case offsetof(struct options, metrics):
		return net_check(value);
	case offsetof(struct options, publish_to):
		return value[0] == '-' && !value[1] ? NULL : "wanted -, which is stdout";
	case offsetof(struct options, origin):
		return http_origin_pattern_valid(value) ? NULL :
		    "wanted https://HOST[:PORT], HOST, *.HOST or null";
	case offsetof(struct options, keys):
		return keys_check(value);
	case offsetof(struct options, trust_proxy):
		return proxy_add(&proxies, value);
	case offsetof(struct options, source):
		return source_parse(&spec, value);
	default:
		return NULL;
	}
}

static struct args args = { .help = help, .row = rows, .command = "sluice", .check = check };

void options_bad(int status, const char *name, const char *value, const char *what)
{
	args_bad(&args, status, name, value, what);
}

static void default_to(struct arg_list *list, const char *value)
{
	if (list->n == 0)
		list->s[list->n++] = value;
}

void options_read(struct options *o, int argc, char **argv, const char **operand)
{
	*o = (struct options){ .used_tokens = 4096, .max_ttl = 3600, .buffer = 256 << 10,
		.max_message = 64 << 10, .handshake_timeout = 10, .ping = 30, .max_pending = 512,
		.tls_clients = 256, .log_level = LOG_INFO };
	args.operand = operand;
	args_read(&args, o, argc, argv);
	if (notify_listeners() == 0)
		default_to(&o->listen, ":8080");
	default_to(&o->source, "-");
	if (o->buffer / 2 < o->max_message)
		options_bad(2, "buffer", NULL, "wanted at least twice --max-message");
	for (unsigned i = 0; i < o->listen.n; i++)
		if (option_tls(o->listen.s[i]) && !(o->cert && o->key))
			options_bad(2, "listen", o->listen.s[i], "wants --cert and --key");
	for (unsigned i = 0; i < o->trust_proxy.n; i++)
		proxy_add(&o->proxies, o->trust_proxy.s[i]);
	for (unsigned i = 0, stdins = 0; i < o->source.n; i++) {
		source_parse(&o->spec[i], o->source.s[i]);
		if (o->spec[i].kind == SOURCE_STDIN && stdins++)
			options_bad(2, "source", o->source.s[i], "there is one stdin only");
	}
}
