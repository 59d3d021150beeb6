#include "option.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "http.h"
#include "log.h"
#include "net.h"

#define CONFIG_MAX 65536

enum kind { FLAG, TEXT, NUMBER, SECONDS, SIZE, CHOICE, LISTEN, ORIGIN, SOURCE, CONFIG, EXIT };

struct option {
	const char *name, *arg;
	enum kind kind;
	size_t   at;			/* of the field in struct options */
	uint64_t min, max;
	const char *help;
	const char *choices;		/* "a|b": the field is the position */
	const char *(*check)(const char *);
};

#define AT(field) offsetof(struct options, field)

static const struct option table[] = {
	{ "listen", "ADDR", LISTEN, AT(listen), 0, 0,
	  "where clients connect: PORT, HOST:PORT, unix:PATH (:8080) *", NULL, net_check },
	{ "secret-file", "FILE", TEXT, AT(secret_file), 0, 0,
	  "the HMAC secret that tokens are signed with; or SLUICE_SECRET", NULL, NULL },
	{ "allow-weak-secret", NULL, FLAG, AT(allow_weak_secret), 0, 0,
	  "let a secret have less than 32 bytes", NULL, NULL },
	{ "no-auth", NULL, FLAG, AT(no_auth), 0, 0,
	  "let everyone read; tokens are not looked at", NULL, NULL },
	{ "token-use", "once|many", CHOICE, AT(token_once), 0, 0,
	  "how many connections a token opens (once)", "many|once", NULL },
	{ "used-tokens", "N", NUMBER, AT(used_tokens), 1, USED_MAX,
	  "used tokens to remember until they expire (4096)", NULL, NULL },
	{ "used-tokens-file", "FILE", TEXT, AT(used_tokens_file), 0, 0,
	  "remember them here too, across restarts", NULL, NULL },
	{ "max-ttl", "SECONDS", SECONDS, AT(max_ttl_ms), 0, INT32_MAX,
	  "refuse tokens that live longer; 0: no bound (3600)", NULL, NULL },
	{ "leeway", "SECONDS", SECONDS, AT(leeway_ms), 0, INT32_MAX,
	  "clock skew allowed for exp and nbf (0)", NULL, NULL },
	{ "issuer", "S", TEXT, AT(issuer), 0, 0, "what a token's iss must be", NULL, NULL },
	{ "audience", "S", TEXT, AT(audience), 0, 0, "what a token's aud must hold", NULL, NULL },
	{ "enforce-expiry", NULL, FLAG, AT(enforce_expiry), 0, 0,
	  "end a connection when its token expires", NULL, NULL },
	{ "origin", "PATTERN", ORIGIN, AT(origin), 0, 0,
	  "allowed Origin: https://HOST[:PORT], HOST, *.HOST, null (any) *", NULL,
	  NULL },
	{ "source", "[SUBJECT=]SPEC", SOURCE, AT(source), 0, 0,
	  "-, fifo:PATH, tcp:HOST:PORT, tcp-listen:ADDR, unix:PATH,\n"
	  "udp:ADDR, tty:PATH[,BAUD] (-) *", NULL, NULL },
	{ "framing", "F", CHOICE, AT(framing), 0, 0,
	  "lines, nul, len32 or chunk: what is a message (lines)", "lines|nul|len32|chunk", NULL },
	{ "binary", NULL, FLAG, AT(binary), 0, 0,
	  "send binary frames; otherwise text, mended to be UTF-8", NULL, NULL },
	{ "buffer", "BYTES", SIZE, AT(buffer), 1024, 1u << 30,
	  "the ring of recent messages, twice --max-message (256K)", NULL, NULL },
	{ "replay", "N", NUMBER, AT(replay), 0, UINT32_MAX,
	  "send a new client the last N messages (0)", NULL, NULL },
	{ "slow", "close|skip|wait", CHOICE, AT(slow), 0, 0,
	  "what becomes of a client a whole ring behind (close)", "close|skip|wait", NULL },
	{ "max-clients", "N", NUMBER, AT(max_clients), 1, 1000000,
	  "more are answered 503 (what the file limit allows)", NULL, NULL },
	{ "max-message", "BYTES", SIZE, AT(max_message), 1, 1u << 29,
	  "longest message; a longer one is dropped whole (64K)", NULL, NULL },
	{ "handshake-timeout", "SECONDS", SECONDS, AT(handshake_ms), 1, 3600,
	  "from accept to a finished handshake (10)", NULL, NULL },
	{ "ping", "SECONDS", SECONDS, AT(ping_ms), 1, 86400,
	  "ping interval; silent for two, a client is dropped (30)", NULL, NULL },
	{ "page", NULL, FLAG, AT(page), 0, 0,
	  "serve the built-in page at /; its token is in /#t=TOKEN", NULL, NULL },
	{ "exit-on-eof", NULL, FLAG, AT(exit_on_eof), 0, 0,
	  "when the last source has ended and all is delivered, exit", NULL, NULL },
	{ "metrics", "ADDR", TEXT, AT(metrics), 0, 0,
	  "Prometheus text at /metrics, ok at /healthz", NULL, net_check },
	{ "user", "NAME", TEXT, AT(user), 0, 0,
	  "become this user once listening", NULL, NULL },
	{ "max-pending", "N", NUMBER, AT(max_pending), 1, 65536,
	  "unfinished handshakes; the oldest gives way (512)", NULL, NULL },
	{ "log-level", "L", CHOICE, AT(log_level), 0, 0,
	  "error, warn, info or debug (info)", "error|warn|info|debug", NULL },
	{ "config", "FILE", CONFIG, 0, 0, 0,
	  "options, one \"name value\" a line; the command line wins", NULL, NULL },
	{ "help", NULL, EXIT, 0, 0, 0, "print this", NULL, NULL },
	{ "version", NULL, EXIT, 0, 0, 0, "print the version", NULL, NULL },
};

#define NOPTIONS (sizeof table / sizeof *table)

/* Where an option stood. */
struct place {
	const char *file;	/* NULL: the command line */
	unsigned line;
};

static struct place last_place[NOPTIONS];

static const char *place_text(const struct place *at)
{
	static char text[300];

	*text = 0;
	if (at->file)
		snprintf(text, sizeof text, "%s:%u: ", at->file, at->line);
	return text;
}

static _Noreturn void bad(const struct place *at, const char *name, const char *value,
    const char *what)
{
	if (value)
		fatal(2, "%s--%s %s: %s", place_text(at), name, value, what);
	fatal(2, "%s--%s: %s", place_text(at), name, what);
}

/* Digits only, and with size a unit behind them. */
static bool read_number(uint64_t *out, const char *s, bool size)
{
	uint64_t v = 0;
	const char *unit = size ? strchr("KMG", s[0] ? s[strlen(s) - 1] : 0) : NULL;
	size_t n = strlen(s);

	static const char units[] = "KMG";

	n -= unit && *unit;
	if (n < 1 || n > 15)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s[i] - '0');
	}
	if (unit && *unit)
		v <<= 10 * (strchr(units, *unit) - units + 1);
	*out = v;
	return true;
}

static uint64_t number(const struct place *at, const struct option *opt, const char *value)
{
	char what[120];
	uint64_t v;

	if (read_number(&v, value, opt->kind == SIZE) && v >= opt->min && v <= opt->max)
		return v;
	snprintf(what, sizeof what, "wanted a whole number from %llu to %llu%s",
	    (unsigned long long)opt->min, (unsigned long long)opt->max,
	    opt->kind == SIZE ? ", with K, M or G where wanted" :
	    opt->kind == SECONDS ? " (seconds)" : "");
	bad(at, opt->name, value, what);
}

static uint32_t choice(const struct place *at, const struct option *opt, const char *value)
{
	const size_t n = strlen(value);
	const char *p = opt->choices;
	char what[80];

	for (uint32_t i = 0; p; i++) {
		const char *bar = strchr(p, '|');

		if (n == (bar ? (size_t)(bar - p) : strlen(p)) && memcmp(p, value, n) == 0)
			return i;
		p = bar ? bar + 1 : NULL;
	}
	snprintf(what, sizeof what, "wanted %s", opt->choices);
	bad(at, opt->name, value, what);
}

static void add(const struct place *at, const struct option *opt, const char **list, unsigned *n,
    unsigned max, const char *value)
{
	if (*n == max)
		bad(at, opt->name, value, "too many of them");
	list[(*n)++] = value;
}

static void set(struct options *o, const struct place *at, const struct option *opt,
    const char *value)
{
	void *field = (char *)o + opt->at;
	const char *what = opt->check ? opt->check(value) : NULL;

	last_place[opt - table] = *at;
	if (opt->kind != FLAG && !*value)
		what = "wants a value";
	if (what)
		bad(at, opt->name, value, what);
	switch (opt->kind) {
	case FLAG:
		*(bool *)field = true;
		break;
	case TEXT:
		*(const char **)field = value;
		break;
	case NUMBER:
		if (opt->at == AT(replay))
			o->replay = number(at, opt, value);
		else
			*(uint32_t *)field = (uint32_t)number(at, opt, value);
		break;
	case SECONDS:
		*(int64_t *)field = (int64_t)number(at, opt, value) * 1000;
		break;
	case SIZE:
		*(uint64_t *)field = number(at, opt, value);
		break;
	case CHOICE:
		*(uint32_t *)field = choice(at, opt, value);
		break;
	case LISTEN:
		add(at, opt, o->listen, &o->nlisten, LISTENERS_MAX, value);
		break;
	case ORIGIN:
		if (!http_origin_pattern_valid(value))
			bad(at, opt->name, value, "wanted https://HOST[:PORT], HOST, *.HOST or null");
		add(at, opt, o->origin, &o->norigin, ORIGINS_MAX, value);
		break;
	case SOURCE:
		if (o->nsource == SOURCES_MAX)
			bad(at, opt->name, value, "too many of them");
		what = source_parse(&o->source[o->nsource++], value);
		if (what)
			bad(at, opt->name, value, what);
		break;
	case CONFIG:
	case EXIT:
		break;
	}
}

static const struct option *find(const char *name, size_t n)
{
	for (size_t i = 0; i < NOPTIONS; i++)
		if (strlen(table[i].name) == n && memcmp(table[i].name, name, n) == 0)
			return &table[i];
	return NULL;
}

const char *options_place(const char *name)
{
	return place_text(&last_place[find(name, strlen(name)) - table]);
}

void options_help(void)
{
	char left[40];

	puts("Usage: COMMAND | sluice [OPTION...]\n"
	    "       sluice token --help\n"
	    "       sluice check [OPTION...] [TOKEN]    what would become of it, and why\n"
	    "\n"
	    "Streams messages from stdin and other sources to WebSocket clients that show a\n"
	    "JSON Web Token. Defaults in parentheses; * may be given several times.\n");
	for (size_t i = 0; i < NOPTIONS; i++) {
		const char *help = table[i].help, *nl = strchr(help, '\n');

		snprintf(left, sizeof left, "--%s %s", table[i].name, table[i].arg ? table[i].arg : "");
		printf("  %-26s %.*s\n", left, nl ? (int)(nl - help) : (int)strlen(help), help);
		if (nl)
			printf("  %-26s %s\n", "", nl + 1);
	}
	puts("\n"
	    "If messages come late: most programs save up their output when it goes into a\n"
	    "pipe. sluice sends each line as soon as it is written; tell the program to\n"
	    "write each line at once (grep --line-buffered, sed -u, mawk -W interactive,\n"
	    "python -u), or put stdbuf -oL in front of it.");
}

static void exit_with(const struct option *opt)
{
	if (strcmp(opt->name, "help") == 0)
		options_help();
	else
		puts("sluice " SLUICE_VERSION);
	exit(fflush(stdout) == 0 ? 0 : 1);
}

/* The command line, once to find --config and mark what it gives, which the file may not. */
static const char *read_arguments(struct options *o, bool given[NOPTIONS], int argc, char **argv,
    const char **operand)
{
	const struct place at = { NULL, 0 };
	const char *config = NULL;

	for (int i = 1; i < argc; i++) {
		const char *name = argv[i] + 2, *eq = strchr(argv[i], '=');
		const struct option *opt = NULL;
		const char *value = "";

		if (argv[i][0] == '-' && argv[i][1] == '-')
			opt = find(name, eq ? (size_t)(eq - name) : strlen(name));
		if (!opt && operand && !*operand && argv[i][0] != '-') {
			*operand = argv[i];
			continue;
		}
		if (!opt)
			fatal(2, "%s: no such option; see sluice --help", argv[i]);
		if (opt->arg && eq)
			value = eq + 1;
		else if (opt->arg && i + 1 < argc)
			value = argv[++i];
		else if (opt->arg)
			bad(&at, opt->name, NULL, "wants a value");
		else if (eq)
			bad(&at, opt->name, NULL, "takes no value");
		if (opt->kind == EXIT)
			exit_with(opt);
		if (opt->kind == CONFIG)
			config = value;
		set(o, &at, opt, value);
		given[opt - table] = true;
	}
	return config;
}

/* One line: "name value", or "name"; # starts a comment at the front or after white space. */
static void read_line(struct options *o, const bool given[NOPTIONS], const struct place *at,
    char *line)
{
	char *p = line + strspn(line, " \t"), *end;

	for (end = p; *end; end++)
		if (*end == '#' && (end == p || end[-1] == ' ' || end[-1] == '\t'))
			break;
	while (end > p && strchr(" \t\r", end[-1]))
		end--;
	*end = 0;
	if (!*p)
		return;
	const size_t n = strcspn(p, " \t");
	const struct option *opt = find(p, n);
	char *value = p + n + strspn(p + n, " \t");

	p[n] = 0;
	if (!opt || opt->kind == CONFIG || opt->kind == EXIT)
		fatal(2, "%s:%u: %s: no such option", at->file, at->line, p);
	if (opt->arg && !*value)
		bad(at, opt->name, NULL, "wants a value");
	if (!opt->arg && *value)
		bad(at, opt->name, NULL, "takes no value");
	if (!given[opt - table])
		set(o, at, opt, value);
}

static void read_config(struct options *o, const bool given[NOPTIONS], const char *path)
{
	static char text[CONFIG_MAX + 1];	/* values point into it */
	struct place at = { path, 0 };
	FILE *f = fopen(path, "re");
	size_t n;

	if (!f)
		fatal(2, "--config %s: %s", path, strerror(errno));
	n = fread(text, 1, sizeof text, f);
	if (ferror(f))
		fatal(2, "--config %s: %s", path, strerror(errno));
	fclose(f);
	if (n > CONFIG_MAX || memchr(text, 0, n))
		fatal(2, "--config %s: not a text file of up to %d bytes", path, CONFIG_MAX);
	text[n] = 0;
	for (char *line = text, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		at.line++;
		read_line(o, given, &at, line);
	}
}

static void defaults(struct options *o)
{
	*o = (struct options){ .token_once = 1, .used_tokens = 4096, .max_ttl_ms = 3600000,
		.buffer = 256 << 10, .max_message = 64 << 10, .handshake_ms = 10000,
		.ping_ms = 30000, .max_pending = 512, .log_level = LOG_INFO };
}

void options_read(struct options *o, int argc, char **argv, const char **operand)
{
	bool given[NOPTIONS] = { false };
	const char *config;

	defaults(o);
	if (operand)
		*operand = NULL;
	config = read_arguments(o, given, argc, argv, operand);
	if (config)
		read_config(o, given, config);
	if (o->nlisten == 0)
		o->listen[o->nlisten++] = ":8080";
	if (o->nsource == 0)
		source_parse(&o->source[o->nsource++], "-");
	if (o->buffer < 2 * o->max_message)
		fatal(2, "--buffer %llu: wanted at least twice --max-message, %llu",
		    (unsigned long long)o->buffer, (unsigned long long)(2 * o->max_message));
	for (unsigned i = 0, stdins = 0; i < o->nsource; i++)
		if (o->source[i].kind == SOURCE_STDIN && stdins++)
			fatal(2, "--source -: there is one stdin only");
}
