/* file.h - small files, read whole before the loop. */

#ifndef FILE_H
#define FILE_H

#include <stddef.h>
#include <sys/types.h>

/* Read a file of at most *n bytes; *n is how many there are, and *mode the file's where mode is
 * not NULL. Returns what is wrong, or NULL. */
const char *file_read(const char *path, void *out, size_t *n, mode_t *mode);

#endif
