#include "arg.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "log.h"
#include "text.h"

#define CONFIG_MAX 65536
#define COMMAND_LINE UINT32_MAX

/* An option as it was given. */
struct given {
	const char *name;
	char *value;		/* NULL: none */
	uint32_t line;		/* of the config file, or COMMAND_LINE */
	uint32_t row;
	const char *arg;	/* what the help says behind the name: a space if it takes no value */
};

/* Fill in the row and arg of a name. */
static bool find(const struct args *a, struct given *g)
{
	const size_t n = strlen(g->name);
	const char *p = a->help;

	for (g->row = 0; (p = strstr(p, "\n  --")); g->row++) {
		p += 5;
		if (strcspn(p, " ") == n && memcmp(p, g->name, n) == 0) {
			g->arg = p + n + 1;
			return true;
		}
	}
	return false;
}

static const char *place(const struct args *a, uint32_t line)
{
	static char s[300];
	struct text t = { s, sizeof s - 1, 0 };

	if (line > 0 && line != COMMAND_LINE) {
		text_all(&t, a->config, ":", NULL);
		text_num(&t, line, 1);
		text_str(&t, ": ");
	}
	s[text_len(&t)] = 0;
	return s;
}

static _Noreturn void bad(const struct args *a, const struct given *g, const char *what)
{
	fatal(2, place(a, g->line), "--", g->name, g->value ? " " : "", g->value ? g->value : "",
	    ": ", what, NULL);
}

void args_bad(const struct args *a, int status, const char *name, const char *value,
    const char *what)
{
	struct given g = { .name = name };

	find(a, &g);
	const struct arg *row = &a->row[g.row];
	const struct arg_list *list = (const void *)((const char *)a->fields + row->at);
	uint32_t line = a->line[g.row];

	for (uint32_t i = 0; row->kind == ARG_LIST && i < list->n; i++)
		if (list->s[i] == value)
			line = list->line[i];
	fatal(status, place(a, line), "--", name, value ? " " : "", value ? value : "", ": ",
	    what, NULL);
}

static _Noreturn void unknown(const struct args *a, const char *name, uint32_t line)
{
	fatal(2, place(a, line), name, ": no such option",
	    line == COMMAND_LINE ? "" : " (a line is NAME VALUE)", "; see ", a->command, " --help", NULL);
}

/* Digits only, and with size a unit behind them. */
static bool read_number(int64_t *out, const char *s, bool size)
{
	static const char units[] = "KMG";
	const size_t n = strlen(s);
	const char *unit = size ? strchr(units, s[n - 1]) : NULL;

	if (!text_read(out, s, n - (unit != NULL)) || *out > UINT32_MAX)
		return false;
	*out <<= unit ? 10 * (unit - units + 1) : 0;
	return true;
}

static uint32_t number(const struct args *a, const struct given *g)
{
	const struct arg *row = &a->row[g->row];
	char what[120];
	struct text t = { what, sizeof what - 1, 0 };
	int64_t v;

	if (read_number(&v, g->value, row->kind == ARG_SIZE) && v >= row->min && v <= row->max)
		return (uint32_t)v;
	text_str(&t, "wanted a whole number from ");
	text_num(&t, row->min, 1);
	text_str(&t, " to ");
	text_num(&t, row->max, 1);
	text_str(&t, row->kind == ARG_SIZE ? ", with K, M or G where wanted" : "");
	what[t.n] = 0;
	bad(a, g, what);
}

static uint32_t choice(const struct args *a, const struct given *g)
{
	const size_t n = strlen(g->value), all = strcspn(g->arg, " \n");
	char what[80] = "wanted ";
	struct text t = { what, sizeof what - 1, 7 };
	uint32_t i = 0;

	for (const char *p = g->arg; p <= g->arg + all; p += strcspn(p, "| \n") + 1, i++)
		if (strcspn(p, "| \n") == n && memcmp(p, g->value, n) == 0)
			return i;
	text_put(&t, g->arg, all);
	what[text_len(&t)] = 0;
	bad(a, g, what);
}

static void add(const struct args *a, const struct given *g, struct arg_list *list)
{
	if (list->n == a->row[g->row].max)
		bad(a, g, "too many of them");
	list->line[list->n] = g->line;
	list->s[list->n++] = g->value;
}

static void set(struct args *a, void *fields, const struct given *g)
{
	const struct arg *row = &a->row[g->row];
	const enum arg_kind kind = row->kind;
	void *field = (char *)fields + row->at;
	const char *what;

	if (*g->arg == ' ' ? g->value != NULL : !g->value || !*g->value)
		bad(a, g, g->value && *g->value ? "takes no value" : "wants a value");
	what = g->value ? a->check(row->at, g->value) : NULL;
	if (what)
		bad(a, g, what);
	a->line[g->row] = g->line;
	if (kind == ARG_FLAG)
		*(bool *)field = true;
	else if (kind == ARG_NUMBER || kind == ARG_SIZE)
		*(uint32_t *)field = number(a, g);
	else if (kind == ARG_CHOICE)
		*(uint32_t *)field = choice(a, g);
	else if (kind == ARG_LIST)
		add(a, g, field);
	else
		*(const char **)field = g->value;
	if (kind == ARG_CONFIG)
		a->config = g->value;
}

void args_answer(int status, const char *s, size_t n)
{
	exit(write(STDOUT_FILENO, s, n) == (ssize_t)n ? status : 1);
}

#if SLUICE_TLS
#define WITHOUT ""
#else
#define WITHOUT ", without TLS, RSA and EC keys, HS384 and HS512"
#endif

static void read_command_line(struct args *a, void *fields, int argc, char **argv)
{
	static const char version[] = "sluice " SLUICE_VERSION WITHOUT "\n";

	for (int i = 1; i < argc; i++) {
		struct given g = { .name = argv[i] + 2, .line = COMMAND_LINE };
		char *eq = strchr(argv[i], '=');

		if (a->operand && !*a->operand && argv[i][0] != '-') {
			*a->operand = argv[i];
			continue;
		}
		if (eq)
			*eq = 0;
		if (strncmp(argv[i], "--", 2) != 0 || !find(a, &g))
			unknown(a, argv[i], COMMAND_LINE);
		if (eq)
			g.value = eq + 1;
		else if (*g.arg != ' ' && i + 1 < argc)
			g.value = argv[++i];
		if (a->row[g.row].kind == ARG_HELP)
			args_answer(0, a->help, strlen(a->help));
		if (a->row[g.row].kind == ARG_VERSION)
			args_answer(0, version, sizeof version - 1);
		set(a, fields, &g);
	}
}

/* One line: "name value", or "name"; # starts a comment at the front or after white space. What
 * the command line gave, it may not. */
static void read_line(struct args *a, void *fields, char *p, uint32_t line)
{
	struct given g = { .name = p += strspn(p, " \t"), .line = line };
	char *end;

	for (end = p; *end; end++)
		if (*end == '#' && (end == p || end[-1] == ' ' || end[-1] == '\t'))
			break;
	while (end > p && strchr(" \t\r", end[-1]))
		end--;
	*end = 0;
	if (!*p)
		return;
	p += strcspn(p, " \t");
	if (*p) {
		*p++ = 0;
		g.value = p + strspn(p, " \t");
	}
	if (!find(a, &g) || a->row[g.row].kind >= ARG_CONFIG)
		unknown(a, g.name, line);
	if (a->line[g.row] != COMMAND_LINE)
		set(a, fields, &g);
}

static void read_config(struct args *a, void *fields)
{
	static char text[CONFIG_MAX + 1];	/* values point into it */
	size_t n = CONFIG_MAX;
	const char *what = file_read(a->config, text, &n, NULL);

	if (!what && memchr(text, 0, n))
		what = "is no text";
	if (what)
		fatal(2, "--config ", a->config, ": ", what, NULL);
	text[n] = 0;
	uint32_t number = 0;

	for (char *line = text, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		read_line(a, fields, line, ++number);
	}
}

void args_read(struct args *a, void *fields, int argc, char **argv)
{
	a->fields = fields;
	if (a->operand)
		*a->operand = NULL;
	read_command_line(a, fields, argc, argv);
	if (a->config)
		read_config(a, fields);
}
