/* log.h - one logfmt line out for each event.
 *
 * Owns standard error, or hands lines to devlog.h. Never waits: a line that a pipe has no room for is dropped and
 * counted, and the next that fits says how many are missing. Values are quoted and escaped
 * so that no input can forge a line. */

#ifndef LOG_H
#define LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_init(enum log_level most);

/* From here on to the system's log, and not to stderr. Before a change of the root directory. */
void log_to_system(void);

/* A line is begun, given its pairs in order and ended; one at a time. Below the level all of
 * this costs a comparison each. */
void log_begin(enum log_level level, const char *event);
void log_str(const char *name, const void *s, size_t n);
void log_text(const char *name, const char *s);
void log_num(const char *name, int64_t v);
void log_end(void);

/* As log_begin, for what strangers can cause at will: 1000 lines, then 10 a second. The others are
 * left out and counted. */
void log_begin_limited(enum log_level level, const char *event);

/* Says how many, once a second, or now. True: some are still to be said. */
bool log_settle(bool now);

/* A line with one pair more: msg, made of strings up to NULL. */
void log_msg(enum log_level level, const char *event, ...) __attribute__((sentinel));

/* Before the loop: "sluice: " and strings up to NULL in one line, and the end. Status 1: the
 * machine does not allow it; 2: the user is to change something. */
_Noreturn void fatal(int status, ...) __attribute__((sentinel));

#endif
