/* Threads that submit, drain, cancel, watch and wait at once at a mailbox, with two threads in
 * Go's place. What was taken has to come out once; argv[1] is "shut" or "drop": how it ends. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mailbox.h"
#include "workflows.h"

#define CHECK(holds)                                                                       \
	do {                                                                               \
		if (!(holds)) {                                                            \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #holds);        \
			abort();                                                           \
		}                                                                          \
	} while (0)

enum { HOSTS = 4, SERVERS = 2, EACH = 4000, AT_ONCE = 5, FRAME = FRAME_HEAD + 3, AT_ONCE_OP = 1, LONG_OP = 2 };

static const uint64_t handle = ((uint64_t)2 << 48) + 7;
static struct mailbox *box;
static unsigned char accepted[HOSTS * EACH], completed[HOSTS * EACH], drained[HOSTS * EACH];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of held and ending */
static unsigned char held[HOSTS * EACH];                 /* long requests that a server has */
static int ending;                                       /* long requests are long no more */
static int finished;                                     /* the servers may go */

static unsigned draw(unsigned *state)
{
	*state = *state * 1103515245u + 12345u;
	return *state >> 16;
}

/* ---- in Go's place ---- */

static void complete(uint64_t token, const char *reply)
{
	CHECK(__atomic_fetch_add(&completed[token], 1, __ATOMIC_RELAXED) == 0);
	CHECK(mailbox_complete(box, token, 1, reply, strlen(reply)) >= 0);
}

static int hold(uint64_t token)
{
	int kept;

	pthread_mutex_lock(&lock);
	kept = !ending;
	held[token] = (unsigned char)kept;
	pthread_mutex_unlock(&lock);
	return kept;
}

static void let_go(uint64_t token)
{
	int was;

	pthread_mutex_lock(&lock);
	was = held[token];
	held[token] = 0;
	pthread_mutex_unlock(&lock);
	if (was)
		complete(token, "{\"cancelled\":1}");
}

static void start(const struct note *note)
{
	const unsigned char *at = note->packed;

	for (size_t i = 0; i < note->count; i++, at = frame_after(at)) {
		uint64_t token = frame_at(at).token;

		CHECK(frame_at(at).length == 3 && memcmp(at + FRAME_HEAD, "{ }", 3) == 0);
		if (at[12] == AT_ONCE_OP || !hold(token))
			complete(token, "{\"ok\":1}");
	}
	CHECK(at == note->packed + note->n);
}

/* As in channel.go, one at a time sees to what was taken: cancels stay behind their requests. */
static void serve_once(void)
{
	static pthread_mutex_t taking = PTHREAD_MUTEX_INITIALIZER;
	struct note *first;

	pthread_mutex_lock(&taking);
	first = mailbox_take(box);
	for (const struct note *note = first; note != NULL; note = note->next) {
		if (note->count == 0)
			let_go(note->token);
		else
			start(note);
	}
	pthread_mutex_unlock(&taking);
	notes_free(first);
}

static void *serve(void *argument)
{
	struct pollfd bell = {*(int *)argument, POLLIN, 0};

	while (!__atomic_load_n(&finished, __ATOMIC_ACQUIRE)) {
		uint64_t rung;

		if (poll(&bell, 1, 20) > 0 && read(bell.fd, &rung, sizeof rung) > 0)
			serve_once();
	}
	close(bell.fd);
	return NULL;
}

/* ---- the host ---- */

static int submit(struct mailbox *m, uint64_t first, unsigned *state)
{
	unsigned char packed[AT_ONCE * FRAME] = {0};

	for (unsigned i = 0; i < AT_ONCE; i++) {
		unsigned char *at = packed + i * FRAME;
		uint64_t token = first + i;

		for (int byte = 0; byte < 8; byte++)
			at[byte] = (unsigned char)(token >> (8 * byte));
		at[8] = 3;
		at[12] = draw(state) % 4 == 0 ? LONG_OP : AT_ONCE_OP;
		memcpy(at + FRAME_HEAD, "{ }", 3);
	}
	return mailbox_submit(m, packed, sizeof packed);
}

static int drain(struct mailbox *m, uint32_t most)
{
	char *out = NULL;
	size_t n = 0;
	int left = mailbox_drain(m, most, &out, &n);

	CHECK(left >= 0 || (left == WF_CLOSED && out == NULL));
	if (out == NULL)
		return left;
	CHECK(out[0] == '[' && out[n - 1] == ']' && out[n] == '\0' && strlen(out) == n);
	for (char *at = out; (at = strstr(at, "{\"token\":")) != NULL; at++) {
		unsigned long token = strtoul(at + strlen("{\"token\":"), NULL, 10);

		CHECK(token < HOSTS * EACH);
		CHECK(__atomic_fetch_add(&drained[token], 1, __ATOMIC_RELAXED) == 0);
	}
	free(out);
	return left;
}

static void look(struct mailbox *m, unsigned *state)
{
	int code = draw(state) % 2 == 0 ? mailbox_wait(m, 1) : mailbox_watch(m);

	CHECK(code >= 0 || code == WF_TIMEOUT || code == WF_CLOSED);
	if (code > 0)
		close(code);
}

/* Answers 0 once the channel takes no more. */
static int step(uint64_t *next, uint64_t first, unsigned *state)
{
	struct mailbox *m;
	int code = mailbox_find(handle, &m);

	CHECK(code == WF_OK || code == WF_CLOSED);
	if (code == WF_CLOSED)
		return 0;
	code = submit(m, *next, state);
	CHECK(code == WF_OK || code == WF_BUSY || code == WF_CLOSED);
	if (code == WF_OK) {
		memset(accepted + *next, 1, AT_ONCE);
		*next += AT_ONCE;
	}
	for (int i = 0; i < 3; i++)
		mailbox_cancel(m, first + draw(state) % EACH);
	drain(m, draw(state) % 40);
	if (draw(state) % 64 == 0)
		look(m, state);
	mailbox_release(m);
	return code != WF_CLOSED;
}

static void *host(void *argument)
{
	unsigned number = *(unsigned *)argument, state = number;
	uint64_t first = (uint64_t)number * EACH, next = first;

	while (next + AT_ONCE <= first + EACH && step(&next, first, &state))
		;
	return NULL;
}

/* ---- ends ---- */

/* What is held goes on, at once from now on. */
static void end_long_ones(void)
{
	pthread_mutex_lock(&lock);
	ending = 1;
	pthread_mutex_unlock(&lock);
	for (uint64_t token = 0; token < HOSTS * EACH; token++)
		let_go(token);
}

static void shut(void)
{
	int left;

	mailbox_shut(box);
	serve_once();
	end_long_ones();
	while ((left = drain(box, 100)) != WF_CLOSED)
		CHECK(left > 0 || mailbox_wait(box, 60000) != WF_TIMEOUT);
	for (size_t token = 0; token < HOSTS * EACH; token++)
		CHECK(accepted[token] == drained[token]);
	CHECK(mailbox_count(box).waiting == 0 && mailbox_count(box).bytes == 0);
}

static void drop(void)
{
	mailbox_forget(handle);
	completions_free(mailbox_drop(box));
	end_long_ones();
	CHECK(mailbox_wait(box, -1) == WF_CLOSED && drain(box, 9) == WF_CLOSED);
}

int main(int argc, char **argv)
{
	pthread_t hosts[HOSTS], servers[SERVERS];
	unsigned numbers[HOSTS];
	int bells[SERVERS], shutting;

	CHECK(argc == 2);
	shutting = strcmp(argv[1], "shut") == 0;
	box = mailbox_new(300, 1 << 20);
	CHECK(box != NULL && mailbox_name(handle, box) == WF_OK);
	for (unsigned i = 0; i < SERVERS; i++) {
		bells[i] = mailbox_bell(box); /* here: a late thread finds a dropped box without one */
		CHECK(bells[i] >= 0 && pthread_create(&servers[i], NULL, serve, &bells[i]) == 0);
	}
	for (unsigned i = 0; i < HOSTS; i++) {
		numbers[i] = i;
		CHECK(pthread_create(&hosts[i], NULL, host, &numbers[i]) == 0);
	}
	if (!shutting) {
		mailbox_wait(box, 1000); /* so that they are at it */
		drop();
	}
	for (unsigned i = 0; i < HOSTS; i++)
		pthread_join(hosts[i], NULL);
	if (shutting)
		shut();
	__atomic_store_n(&finished, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < SERVERS; i++)
		pthread_join(servers[i], NULL);
	if (shutting)
		mailbox_forget(handle);
	mailbox_release(box);
	return 0;
}
