/* token.h - sluice token: print a signed token. */

#ifndef TOKEN_H
#define TOKEN_H

/* argv[0] is "token". Ends the process: 0, 1 or, for bad usage, 2. */
_Noreturn void token_main(int argc, char **argv);

#endif
