/* LD_PRELOAD: the wall clock stands still at the nanoseconds in the file $FAKE_CLOCK, where
 * they are not 0. Only so can a test look at the very millisecond of a limit, or step back. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *at;

__attribute__((constructor)) static void start(void)
{
	int fd = open(getenv("FAKE_CLOCK"), O_RDONLY);
	at = mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	if ((id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE) || !at || !*at)
		return (int)syscall(SYS_clock_gettime, id, ts);
	int64_t ns = *at;
	ts->tv_sec = (time_t)(ns / 1000000000);
	ts->tv_nsec = (long)(ns % 1000000000);
	return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	struct timespec ts;
	(void)tz;
	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *t)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	if (t)
		*t = ts.tv_sec;
	return ts.tv_sec;
}
