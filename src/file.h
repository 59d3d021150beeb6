/* file.h - small files, read whole, and where files are after a change of the root directory. */

#ifndef FILE_H
#define FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Read a file of at most *n bytes; *n is how many there are, and *mode the file's where mode is
 * not NULL. Returns what is wrong, or NULL. */
const char *file_read(const char *path, void *out, size_t *n, mode_t *mode);

/* Make this directory the root; the string is kept. False: errno. */
bool file_chroot(const char *dir);

/* What path is called now: without that directory in front, if it began with it. */
const char *file_path(const char *path);

#endif
