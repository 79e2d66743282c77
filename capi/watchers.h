/* The far ends of the descriptors that callers poll. */
#ifndef WORKFLOWS_WATCHERS_H
#define WORKFLOWS_WATCHERS_H

#include <stddef.h>

/* All zero is nobody. Each caller has a pair of its own, so that nobody reads the bytes
   of another. */
struct watchers {
	int *ends;
	size_t count, room;
};

/* Answers the caller's end, readable at once if awake, or -1: no descriptors or no memory. */
int watchers_add(struct watchers *w, int awake);

/* Makes every descriptor readable, and forgets those that were closed. */
void watchers_wake(struct watchers *w);

/* Forgets those that were closed, without a word to the others. Answers how many are left. */
size_t watchers_left(struct watchers *w);

/* Makes every descriptor read as ended, after the bytes that are in it. */
void watchers_close(struct watchers *w);

#endif
