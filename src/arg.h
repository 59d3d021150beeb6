/* arg.h - options by name, on the command line and in a config file.
 *
 * Reads the config file. Whatever is wrong ends the process with status 2 and one line that
 * names the option, and file and line where it stood. */

#ifndef ARG_H
#define ARG_H

#include <stddef.h>
#include <stdint.h>

enum arg_kind {
	ARG_FLAG,		/* bool */
	ARG_TEXT,		/* const char * */
	ARG_NUMBER,		/* uint32_t, from min to max */
	ARG_SIZE,		/* the same, and may end with K, M or G */
	ARG_CHOICE,		/* uint32_t: which of a|b|c in the help it is */
	ARG_LIST,		/* struct arg_list of at most max */
	ARG_CONFIG,		/* const char *: the config file, on the command line only */
	ARG_HELP, ARG_VERSION,	/* print it and end */
};

#define ARG_LIST_MAX 32u
#define ARGS_MAX 64u

struct arg_list {
	const char *s[ARG_LIST_MAX];
	uint32_t line[ARG_LIST_MAX];	/* as in args */
	uint32_t n;
};

/* One option. Names and what follows them stand in the help alone. */
struct arg {
	uint8_t  kind;
	uint16_t at;		/* of the field */
	uint32_t min, max;
};

struct args {
	const char *help;	/* as printed; "  --NAME ..." are the rows, in their order */
	const struct arg *row;
	const char *command;	/* "sluice", "sluice token" */
	const char *(*check)(size_t at, const char *value);	/* what is wrong, or NULL */
	const char **operand;	/* for one argument that is no option; NULL: there is none */
	const void *fields;
	const char *config;
	uint32_t line[ARGS_MAX];	/* where it was given last: in config, or UINT32_MAX */
};

void args_read(struct args *a, void *fields, int argc, char **argv);

/* fatal with "--NAME VALUE: WHAT", and where it stood; value may be NULL, and of a list it is one
 * of its strings. */
_Noreturn void args_bad(const struct args *a, int status, const char *name, const char *value,
    const char *what);

/* Print what was asked for, and end; 1 if that fails. */
_Noreturn void args_answer(int status, const char *s, size_t n);

#endif
