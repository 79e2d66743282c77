/* The handles of the channels. Looking one up must not enter Go, so it is done here. */
#include <pthread.h>
#include <stdlib.h>

#include "../include/workflows.h"
#include "mailbox.h"

enum { BUCKETS = 256 };

struct name {
	struct name *next;
	uint64_t handle;
	struct mailbox *mailbox;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct name *names[BUCKETS];
static uint64_t lowest, highest; /* of all handles that were ever given */

static struct name **place(uint64_t handle)
{
	struct name **at = &names[handle % BUCKETS];

	while (*at != NULL && (*at)->handle != handle)
		at = &(*at)->next;
	return at;
}

int mailbox_name(uint64_t handle, struct mailbox *m)
{
	struct name *name = malloc(sizeof *name), **at;

	if (name == NULL)
		return WF_INTERNAL;
	mailbox_hold(m);
	pthread_mutex_lock(&lock);
	at = place(handle);
	*name = (struct name){NULL, handle, m};
	*at = name;
	if (lowest == 0 || handle < lowest)
		lowest = handle;
	if (handle > highest)
		highest = handle;
	pthread_mutex_unlock(&lock);
	return WF_OK;
}

void mailbox_forget(uint64_t handle)
{
	struct name **at, *name;

	pthread_mutex_lock(&lock);
	at = place(handle);
	name = *at;
	if (name != NULL)
		*at = name->next;
	pthread_mutex_unlock(&lock);
	if (name != NULL)
		mailbox_release(name->mailbox);
	free(name);
}

/* The mailbox is held before the lock is let go of: another thread may close the channel. */
int mailbox_find(uint64_t handle, struct mailbox **m)
{
	struct name *name;
	int code = WF_OK;

	pthread_mutex_lock(&lock);
	name = *place(handle);
	if (name != NULL)
		mailbox_hold(*m = name->mailbox);
	else
		code = handle != 0 && handle >= lowest && handle <= highest ? WF_CLOSED : WF_INVALID_HANDLE;
	pthread_mutex_unlock(&lock);
	return code;
}
