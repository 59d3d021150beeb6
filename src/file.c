#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *file_read(const char *path, void *out, size_t *n, mode_t *mode)
{
	const size_t max = *n;
	const char *what = NULL;
	struct stat st;
	ssize_t r;
	char more;
	const int fd = open(path, O_RDONLY | O_CLOEXEC);

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
