/* What Go does about a host that does not come for what is there. */
#include "mailbox.h"

#include <stdlib.h>
#include <string.h>

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

static int begins_so(const struct completion *c, const void *begins, size_t length)
{
	return c->reply >= length && memcmp(c->text + c->size - 2 - c->reply, begins, length) == 0;
}

/* The place of the first reply to an operation that begins so. */
static struct completion **find(struct mailbox *m, uint16_t operation, const void *begins, size_t length)
{
	struct completion **at = &m->outbox;

	while (*at != NULL && ((*at)->operation != operation || !begins_so(*at, begins, length)))
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
	m->bytes += instead->reply;
	m->bytes -= given->reply;
	given->next = NULL;
	return given;
}

/* Memory is asked for while the lock is not held, as when draining. */
struct completion *mailbox_recall(
    struct mailbox *m, uint16_t operation, const void *begins, size_t length, const void *instead, size_t n)
{
	struct completion **at, *given = NULL, *left = NULL;

	pthread_mutex_lock(&m->lock);
	while (*(at = find(m, operation, begins, length)) != NULL && (left == NULL || left->token != (*at)->token)) {
		uint64_t token = (*at)->token;

		pthread_mutex_unlock(&m->lock);
		free(left);
		left = completion_new(token, operation, instead, n);
		if (left == NULL)
			return NULL;
		pthread_mutex_lock(&m->lock);
	}
	if (*at != NULL)
		given = replace(m, at, left);
	pthread_mutex_unlock(&m->lock);
	if (given == NULL)
		free(left);
	return given;
}
