/* What Go does about a host that does not come for what is there. */
#include "mailbox.h"

#include <stdlib.h>

#include "mailbox_inner.h"

enum host mailbox_look(struct mailbox *m)
{
	int unread, called, waits;

	pthread_mutex_lock(&m->waking);
	unread = m->watched && watchers_left(&m->watchers) == 0;
	pthread_mutex_lock(&m->lock);
	called = m->called || m->waits > 0;
	waits = m->completed > 0;
	m->called = 0;
	pthread_mutex_unlock(&m->lock);
	pthread_mutex_unlock(&m->waking);
	if (called || (!unread && !waits))
		return HOST_IS_THERE;
	return unread ? HOST_IS_GONE : HOST_IS_STALLED;
}

/* The place of the first reply to an operation that is longer than this one. */
static struct completion **find_longer(struct mailbox *m, uint16_t operation, size_t n)
{
	struct completion **at = &m->outbox;

	while (*at != NULL && ((*at)->operation != operation || (*at)->reply <= n))
		at = &(*at)->next;
	return at;
}

static struct completion *replace(struct mailbox *m, struct completion **at, struct completion *instead)
{
	struct completion *given = *at;

	instead->next = given->next;
	*at = instead;
	if (m->outbox_end == &given->next)
		m->outbox_end = &instead->next;
	m->bytes -= given->reply - instead->reply;
	given->next = NULL;
	return given;
}

/* Memory is asked for while the lock is not held, as when draining. */
struct completion *mailbox_recall(struct mailbox *m, uint16_t operation, const void *reply, size_t n)
{
	struct completion **at, *given = NULL, *instead = NULL;

	pthread_mutex_lock(&m->lock);
	while (*(at = find_longer(m, operation, n)) != NULL && (instead == NULL || instead->token != (*at)->token)) {
		uint64_t token = (*at)->token;

		pthread_mutex_unlock(&m->lock);
		free(instead);
		instead = completion_new(token, operation, reply, n);
		if (instead == NULL)
			return NULL;
		pthread_mutex_lock(&m->lock);
	}
	if (*at != NULL)
		given = replace(m, at, instead);
	pthread_mutex_unlock(&m->lock);
	if (given == NULL)
		free(instead);
	return given;
}
