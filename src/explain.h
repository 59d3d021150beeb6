/* explain.h - sluice check: say what the server would do with a token, and why. */

#ifndef EXPLAIN_H
#define EXPLAIN_H

#include "admit.h"

/* The token, or with NULL the first line of stdin. Asks nobody: what only a running server knows
 * is said to be unknown. Ends the process, with 0 if the token would be let in. */
_Noreturn void explain_token(const struct admit *a, const char *token, int64_t now_ms);

#endif
