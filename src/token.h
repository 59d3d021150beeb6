/* token.h - sluice token: print a signed token. */

#ifndef TOKEN_H
#define TOKEN_H

/* argv[0] is "token". Returns the exit status; bad usage ends the process with 2. */
int token_main(int argc, char **argv);

#endif
