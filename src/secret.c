#include "secret.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ct.h"
#include "file.h"
#include "key.h"
#include "log.h"

#define VARIABLE "SLUICE_SECRET"

bool secret_in_environment(void)
{
	return getenv(VARIABLE) != NULL;
}

/* What is locked when it is touched costs nothing before. */
void secret_guard(void *p, size_t n)
{
	const uintptr_t page = (uintptr_t)getpagesize(), off = (uintptr_t)p % page;

	madvise((uint8_t *)p - off, n + off, MADV_DONTDUMP);
#ifdef SYS_mlock2
	syscall(SYS_mlock2, p, n, 1 /* MLOCK_ONFAULT */);
#endif
}

static const char *from_environment(uint8_t out[SECRET_MAX], size_t *n)
{
	char *s = getenv(VARIABLE);

	if (!s)
		return "wanted, or the variable " VARIABLE;
	*n = strlen(s);
	if (*n > SECRET_MAX)
		return "the secret in " VARIABLE " is longer than 4096 bytes";
	memcpy(out, s, *n);
	ct_wipe(s, *n);				/* what /proc/PID/environ shows */
	unsetenv(VARIABLE);
	return NULL;
}

static const char *from_file(uint8_t out[SECRET_MAX], size_t *n, const char *path)
{
	mode_t mode;
	const char *what;

	*n = SECRET_MAX;
	what = file_read(path, out, n, &mode);
	if (!what && S_ISREG(mode) && mode & S_IROTH)
		log_msg(LOG_WARN, "config", "--secret-file ", path,
		    ": everyone can read it; chmod 600 it", NULL);
	if (*n > 0 && out[*n - 1] == '\n')
		--*n;
	return what;
}

const char *secret_read(uint8_t out[SECRET_MAX], size_t *n, const char *path, bool allow_weak)
{
	const char *what = path ? from_file(out, n, path) : from_environment(out, n);

	if (what)
		return what;
	if (*n == 0)
		return "the secret is empty";
	if (*n < SECRET_MIN && !allow_weak)
		return "the secret has less than 32 bytes (RFC 7518 3.2); make one with "
		    "head -c 32 /dev/urandom | base64, or give --allow-weak-secret";
	return NULL;
}
