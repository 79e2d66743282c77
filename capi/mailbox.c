#define _GNU_SOURCE
#include "mailbox.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../include/workflows.h"
#include "completions.h"
#include "deadline.h"
#include "frames.h"
#include "mailbox_inner.h"

/* ---- life ---- */

static void make_locks(struct mailbox *m)
{
	pthread_condattr_t clock;

	pthread_mutex_init(&m->waking, NULL);
	pthread_mutex_init(&m->ringing, NULL);
	pthread_mutex_init(&m->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&m->news, &clock);
	pthread_condattr_destroy(&clock);
}

struct mailbox *mailbox_new(size_t most_requests, size_t most_bytes)
{
	struct mailbox *m = calloc(1, sizeof *m);

	if (m == NULL)
		return NULL;
	m->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->bell < 0) {
		free(m);
		return NULL;
	}
	make_locks(m);
	m->refs = 1;
	m->most_requests = most_requests;
	m->most_bytes = most_bytes;
	m->inbox_end = &m->inbox;
	m->outbox_end = &m->outbox;
	return m;
}

void mailbox_hold(struct mailbox *m) { __atomic_add_fetch(&m->refs, 1, __ATOMIC_RELAXED); }

void mailbox_release(struct mailbox *m)
{
	if (__atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	completions_free(mailbox_drop(m));
	pthread_cond_destroy(&m->news);
	pthread_mutex_destroy(&m->lock);
	pthread_mutex_destroy(&m->ringing);
	pthread_mutex_destroy(&m->waking);
	free(m);
}

/* ---- submitting ---- */

/* Takes back the first of the tokens. */
static void forget(struct mailbox *m, const unsigned char *at, size_t count)
{
	for (; count > 0; count--, at = frame_after(at))
		tokens_remove(&m->tokens, frame_at(at).token);
}

/* Enters the tokens, all or none: each must be new. Answers the bytes of the requests. */
static int enter(struct mailbox *m, const unsigned char *packed, size_t count, size_t *bytes)
{
	const unsigned char *at = packed;

	if (!tokens_reserve(&m->tokens, count))
		return WF_INTERNAL;
	*bytes = 0;
	for (size_t i = 0; i < count; i++, at = frame_after(at)) {
		struct frame_head h = frame_at(at);

		if (tokens_add(&m->tokens, h.token, h.length) == NULL) {
			forget(m, packed, i);
			return WF_INVALID_ARGUMENT;
		}
		*bytes += h.length;
	}
	return WF_OK;
}

static int accept(struct mailbox *m, const unsigned char *packed, size_t n, size_t count)
{
	size_t waiting = m->tokens.count, bytes;
	int code;

	if (m->stage != OPEN)
		return WF_CLOSED;
	code = enter(m, packed, count, &bytes);
	if (code != WF_OK)
		return code;
	if (waiting + count > m->most_requests || (waiting > 0 && m->bytes + n > m->most_bytes)) {
		forget(m, packed, count);
		return WF_BUSY;
	}
	m->in_flight += count;
	m->bytes += bytes;
	return WF_OK;
}

/* Answers whether Go has to be told. */
static int leave(struct mailbox *m, struct note *note)
{
	int first = m->inbox == NULL;

	*m->inbox_end = note;
	m->inbox_end = &note->next;
	return first;
}

/* A bell that was rung and not heard is rung already. */
static void ring(struct mailbox *m)
{
	uint64_t once = 1;

	pthread_mutex_lock(&m->ringing);
	if (m->bell >= 0 && write(m->bell, &once, sizeof once) < 0)
		errno = 0; /* it would overflow, after 2^64 of them */
	pthread_mutex_unlock(&m->ringing);
}

int mailbox_submit(struct mailbox *m, const void *packed, size_t n)
{
	size_t count, size;
	struct note *note;
	int code, first = 0;

	if (n > MOST_PACKED || !frames_measure(packed, n, &count, &size))
		return WF_INVALID_ARGUMENT;
	note = frames_copy(packed, n, count, size);
	if (note == NULL)
		return WF_INTERNAL;
	pthread_mutex_lock(&m->lock);
	m->called = 1;
	code = accept(m, packed, n, count);
	if (code == WF_OK && count > 0) {
		first = leave(m, note);
		note = NULL;
	}
	pthread_mutex_unlock(&m->lock);
	free(note);
	if (first)
		ring(m);
	return code;
}

/* One cancel for each request is enough, so that they are bounded. */
int mailbox_cancel(struct mailbox *m, uint64_t token)
{
	struct note *note = calloc(1, sizeof *note);
	struct use *use;
	int code = WF_OK, first = 0;

	if (note == NULL)
		return WF_INTERNAL;
	note->token = token;
	pthread_mutex_lock(&m->lock);
	m->called = 1;
	use = tokens_find(&m->tokens, token);
	if (m->stage >= FINISHED) {
		code = WF_CLOSED;
	} else if (use != NULL && use->stage == IN_FLIGHT) {
		use->stage = TO_CANCEL;
		first = leave(m, note);
		note = NULL;
	}
	pthread_mutex_unlock(&m->lock);
	free(note);
	if (first)
		ring(m);
	return code;
}

/* ---- draining ---- */

static int ended(const struct mailbox *m) { return m->completed == 0 && m->stage >= FINISHED; }

/* Says how many completions one drain takes, and the size of their text. */
static size_t portion(const struct mailbox *m, uint32_t most, size_t *size)
{
	size_t n = 0;

	*size = 1; /* the bracket; the other one takes the place of the last comma */
	for (const struct completion *c = m->outbox; c != NULL && n < most; c = c->next, n++) {
		if (n > 0 && *size + c->size > MOST_DRAIN)
			break;
		*size += c->size;
	}
	return n;
}

/* Takes the first of the completions out. Their tokens are free from then on. */
static struct completion *detach(struct mailbox *m, size_t n)
{
	struct completion *first = m->outbox, **end = &m->outbox;

	m->completed -= n;
	for (; n > 0; n--, end = &(*end)->next) {
		m->bytes -= (*end)->reply;
		tokens_remove(&m->tokens, (*end)->token);
	}
	m->outbox = *end;
	*end = NULL;
	if (m->outbox == NULL)
		m->outbox_end = &m->outbox;
	return first;
}

/* Memory is asked for while the lock is not held. If somebody else has drained meanwhile, so
   that another portion is due that does not fit, it is asked for again. */
int mailbox_drain(struct mailbox *m, uint32_t most, char **out, size_t *n)
{
	struct completion *taken = NULL;
	char *room = NULL;
	size_t size, given = 0, count;
	int left;

	pthread_mutex_lock(&m->lock);
	m->called = 1;
	while ((count = portion(m, most, &size)) > 0 && size > given) {
		pthread_mutex_unlock(&m->lock);
		free(room);
		room = malloc(size + 1);
		if (room == NULL)
			return WF_INTERNAL;
		given = size;
		pthread_mutex_lock(&m->lock);
	}
	left = ended(m) ? WF_CLOSED : 0;
	if (count > 0)
		taken = detach(m, count);
	left = left == 0 ? (int)m->completed : left;
	pthread_mutex_unlock(&m->lock);
	if (taken == NULL) {
		free(room);
		return left;
	}
	completions_write(room, taken);
	completions_free(taken);
	*out = room;
	*n = size;
	return left;
}

int mailbox_wait(struct mailbox *m, int timeout_ms)
{
	struct timespec deadline = deadline_in(timeout_ms < 0 ? 0 : timeout_ms);
	int code = 0;

	pthread_mutex_lock(&m->lock);
	m->called = 1;
	m->waits++;
	while (m->completed == 0 && m->stage < FINISHED && code == 0) {
		if (timeout_ms < 0)
			pthread_cond_wait(&m->news, &m->lock);
		else
			code = pthread_cond_timedwait(&m->news, &m->lock, &deadline);
	}
	m->waits--;
	if (m->completed > 0)
		code = WF_OK;
	else
		code = m->stage >= FINISHED ? WF_CLOSED : WF_TIMEOUT;
	pthread_mutex_unlock(&m->lock);
	return code;
}

int mailbox_watch(struct mailbox *m)
{
	int stage, awake, fd = WF_CLOSED;

	pthread_mutex_lock(&m->waking);
	pthread_mutex_lock(&m->lock);
	stage = m->stage;
	awake = m->completed > 0;
	pthread_mutex_unlock(&m->lock);
	if (stage < FINISHED) {
		fd = watchers_add(&m->watchers, awake);
		if (fd < 0)
			fd = WF_INTERNAL;
		else
			m->watched = 1;
	}
	pthread_mutex_unlock(&m->waking);
	return fd;
}

/* ---- Go's side ---- */

int mailbox_bell(struct mailbox *m)
{
	int bell = -1;

	pthread_mutex_lock(&m->ringing);
	if (m->bell >= 0)
		bell = fcntl(m->bell, F_DUPFD_CLOEXEC, 0);
	pthread_mutex_unlock(&m->ringing);
	return bell;
}

static struct note *take(struct mailbox *m)
{
	struct note *first = m->inbox;

	m->inbox = NULL;
	m->inbox_end = &m->inbox;
	return first;
}

struct note *mailbox_take(struct mailbox *m)
{
	struct note *first;

	pthread_mutex_lock(&m->lock);
	first = take(m);
	pthread_mutex_unlock(&m->lock);
	return first;
}

/* Ends a mailbox that is shutting once nothing is in flight. Answers whether it did. */
static int settle(struct mailbox *m)
{
	if (m->stage != SHUTTING || m->in_flight > 0)
		return 0;
	m->stage = FINISHED;
	return 1;
}

/* Answers 0 if nobody waits for it. */
static int post(struct mailbox *m, struct completion *c)
{
	struct use *use = m->stage == DROPPED ? NULL : tokens_find(&m->tokens, c->token);

	if (use == NULL || use->stage == COMPLETED)
		return 0;
	use->stage = COMPLETED;
	m->in_flight--;
	m->bytes += c->reply;
	m->bytes -= use->size;
	m->completed++;
	*m->outbox_end = c;
	m->outbox_end = &c->next;
	return 1;
}

/* Tells whoever waits or watches what has changed. */
static void announce(struct mailbox *m, int some, int end)
{
	if (some || end)
		pthread_cond_broadcast(&m->news);
	if (some)
		watchers_wake(&m->watchers);
	if (end)
		watchers_close(&m->watchers);
}

int mailbox_complete(struct mailbox *m, uint64_t token, uint16_t operation, const void *reply, size_t n)
{
	struct completion *c = completion_new(token, operation, reply, n);
	int posted, some, end;

	if (c == NULL)
		return -1;
	pthread_mutex_lock(&m->waking);
	pthread_mutex_lock(&m->lock);
	posted = post(m, c);
	some = posted && m->completed == 1;
	end = settle(m);
	pthread_mutex_unlock(&m->lock);
	announce(m, some, end);
	pthread_mutex_unlock(&m->waking);
	if (!posted)
		free(c);
	return posted;
}

void mailbox_shut(struct mailbox *m)
{
	int end;

	pthread_mutex_lock(&m->waking);
	pthread_mutex_lock(&m->lock);
	if (m->stage == OPEN)
		m->stage = SHUTTING;
	end = settle(m);
	pthread_mutex_unlock(&m->lock);
	announce(m, 0, end);
	pthread_mutex_unlock(&m->waking);
}

static void silence(struct mailbox *m)
{
	pthread_mutex_lock(&m->ringing);
	if (m->bell >= 0)
		close(m->bell);
	m->bell = -1;
	pthread_mutex_unlock(&m->ringing);
}

struct completion *mailbox_drop(struct mailbox *m)
{
	struct completion *undrained;
	struct note *untaken;

	pthread_mutex_lock(&m->waking);
	pthread_mutex_lock(&m->lock);
	m->stage = DROPPED;
	undrained = m->outbox;
	untaken = take(m);
	m->outbox = NULL;
	m->outbox_end = &m->outbox;
	m->completed = m->in_flight = m->bytes = 0;
	tokens_free(&m->tokens);
	pthread_mutex_unlock(&m->lock);
	announce(m, 0, 1);
	pthread_mutex_unlock(&m->waking);
	silence(m);
	notes_free(untaken);
	return undrained;
}

struct counts mailbox_count(struct mailbox *m)
{
	struct counts counts;

	pthread_mutex_lock(&m->waking);
	pthread_mutex_lock(&m->lock);
	counts = (struct counts){m->tokens.count, m->in_flight, m->completed, m->bytes};
	pthread_mutex_unlock(&m->lock);
	pthread_mutex_unlock(&m->waking);
	return counts;
}
