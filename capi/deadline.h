/* When a wait is over, on the clock that nobody sets. */
#ifndef WORKFLOWS_DEADLINE_H
#define WORKFLOWS_DEADLINE_H

#include <time.h>

static inline struct timespec deadline_in(int timeout_ms)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += timeout_ms / 1000;
	at.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (at.tv_nsec >= 1000000000L) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000L;
	}
	return at;
}

#endif
