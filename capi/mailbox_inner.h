/* What a mailbox is made of, for the files that are named after it. */
#ifndef WORKFLOWS_MAILBOX_INNER_H
#define WORKFLOWS_MAILBOX_INNER_H

#include <pthread.h>

#include "completions.h"
#include "frames.h"
#include "tokens.h"
#include "watchers.h"

enum stage {
	OPEN,
	SHUTTING, /* takes nothing more; what is in flight will complete */
	FINISHED, /* nothing more will complete; what did can be drained */
	DROPPED   /* nothing can be drained */
};

/*
 * The host's threads take `lock` only, which is never held across a system call that wakes
 * somebody: who is woken might get the processor of the one that holds it, and then wait for
 * it. Go's threads hold `waking` around theirs, so that bytes and the end go out in order.
 */
struct mailbox {
	unsigned refs;
	pthread_mutex_t waking; /* taken before lock; guards watchers and watched */
	struct watchers watchers;
	int watched; /* descriptors were given out */

	pthread_mutex_t ringing; /* guards bell; nothing else is taken under it */
	int bell;                /* -1 once nobody listens */

	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t news;
	enum stage stage;
	size_t most_requests, most_bytes;
	struct tokens tokens;
	size_t in_flight; /* of the tokens */
	size_t bytes;     /* of requests in flight and completions */
	struct note *inbox, **inbox_end;
	struct completion *outbox, **outbox_end;
	size_t completed; /* in the outbox */
	int waits;        /* of the host's threads, in mailbox_wait */
	int called;       /* by the host, since somebody looked whether it is there */
};

#endif
