/* Puts the wall clock of a process forward by FAULTS_CLOCK_S seconds, or back: LD_PRELOAD.
 *
 * PostgreSQL, Python and Node ask the C library for the time, so that theirs can be moved. Go asks
 * the kernel. The engine's clock is off all the same if the database's is moved: what counts is
 * the difference. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t off(void)
{
	static time_t seconds;
	static int known;
	if (!known) {
		const char *text = getenv("FAULTS_CLOCK_S");
		seconds = text ? atoll(text) : 0;
		known = 1;
	}
	return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
	int failed = (int)syscall(SYS_clock_gettime, clock, at);
	if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		at->tv_sec += off();
	return failed;
}

int gettimeofday(struct timeval *at, void *zone)
{
	struct timespec now;
	(void)zone;
	int failed = clock_gettime(CLOCK_REALTIME, &now);
	if (!failed && at)
		*at = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
	return failed;
}

time_t time(time_t *at)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (at)
		*at = now.tv_sec;
	return now.tv_sec;
}
