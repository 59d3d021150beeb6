#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *root;	/* as it was written */
static size_t root_len;		/* less its final slashes; 0: nothing has changed */

bool file_chroot(const char *dir)
{
	if (chroot(dir) != 0 || chdir("/") != 0)
		return false;
	root = dir;
	for (root_len = strlen(dir); root_len > 0 && dir[root_len - 1] == '/';)
		root_len--;
	return true;
}

const char *file_path(const char *path)
{
	return root_len > 0 && strncmp(path, root, root_len) == 0 && path[root_len] == '/' ?
	    path + root_len : path;
}

const char *file_read(const char *path, void *out, size_t *n, mode_t *mode)
{
	const size_t max = *n;
	const char *what = NULL;
	struct stat st;
	ssize_t r;
	char more;
	const int fd = open(file_path(path), O_RDONLY | O_CLOEXEC);

	*n = 0;
	if (fd < 0)
		return strerror(errno);
	while ((r = *n < max ? read(fd, (char *)out + *n, max - *n) : read(fd, &more, 1)) > 0 &&
	    *n < max)
		*n += (size_t)r;
	if (r > 0)
		what = "is too long";
	else if (r < 0 || (mode && fstat(fd, &st) != 0))
		what = strerror(errno);
	else if (mode)
		*mode = st.st_mode;
	close(fd);
	return what;
}
