/* A mailbox when memory runs out: once at the first allocation, once at the second, and so
 * on. What fails says so, has changed nothing, and works when it is tried again. It is
 * linked with --wrap for malloc, calloc and realloc. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mailbox.h"
#include "workflows.h"

#define CHECK(holds)                                                                             \
	do {                                                                                     \
		if (!(holds)) {                                                                  \
			fprintf(stderr, "%s:%d: allocation %d: %s\n", __FILE__, __LINE__, failing, #holds); \
			abort();                                                                 \
		}                                                                                \
	} while (0)

enum { REQUESTS = 40 }; /* so that the tokens need more room once */

static int failing, made; /* which allocation fails, and how many there were */

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *old, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *old, size_t n);

void *__wrap_malloc(size_t n) { return ++made == failing ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t count, size_t n) { return ++made == failing ? NULL : __real_calloc(count, n); }
void *__wrap_realloc(void *old, size_t n) { return ++made == failing ? NULL : __real_realloc(old, n); }

static int unchanged(struct mailbox *m, struct counts before)
{
	struct counts now = mailbox_count(m);

	return now.waiting == before.waiting && now.in_flight == before.in_flight && now.completed == before.completed &&
	       now.bytes == before.bytes;
}

/* Tries again what had no memory. */
#define TRY(code, call, failed)                                                                  \
	do {                                                                                     \
		struct counts before = mailbox_count(m);                                         \
                                                                                                 \
		code = (call);                                                                   \
		if (code == (failed)) {                                                          \
			CHECK(made == failing && unchanged(m, before));                          \
			code = (call);                                                           \
		}                                                                                \
	} while (0)

static struct mailbox *new_mailbox(void)
{
	struct mailbox *m = mailbox_new(1000, 1 << 20);

	CHECK(m != NULL || made == failing);
	return m != NULL ? m : mailbox_new(1000, 1 << 20);
}

static void submit(struct mailbox *m)
{
	unsigned char packed[REQUESTS * FRAME_HEAD] = {0};
	int code;

	for (unsigned i = 0; i < REQUESTS; i++)
		packed[i * FRAME_HEAD] = (unsigned char)i;
	TRY(code, mailbox_submit(m, packed, sizeof packed), WF_INTERNAL);
	CHECK(code == WF_OK);
}

static size_t taken(struct mailbox *m)
{
	struct note *first = mailbox_take(m);
	size_t count = 0;

	for (const struct note *note = first; note != NULL; note = note->next)
		count += note->count == 0 ? 1000 : note->count;
	notes_free(first);
	return count;
}

static void drain(struct mailbox *m)
{
	const char *begin = "[{\"token\":0,\"reply\":1},{\"token\":1,\"reply\":1},";
	char *out = NULL;
	size_t n = 0;
	int left;

	TRY(left, mailbox_drain(m, REQUESTS, &out, &n), WF_INTERNAL);
	CHECK(left == 0 && out != NULL && strlen(out) == n);
	CHECK(strncmp(out, begin, strlen(begin)) == 0 && out[n - 1] == ']');
	free(out);
}

static void use(struct mailbox *m)
{
	int code, fd;

	TRY(code, mailbox_name(7, m), WF_INTERNAL);
	CHECK(code == WF_OK);
	TRY(fd, mailbox_watch(m), WF_INTERNAL);
	CHECK(fd >= 0);
	submit(m);
	for (int i = 0; i < 2; i++) { /* the second one leaves nothing */
		TRY(code, mailbox_cancel(m, 3), WF_INTERNAL);
		CHECK(code == WF_OK);
	}
	CHECK(taken(m) == REQUESTS + 1000);
	for (uint64_t token = 0; token < REQUESTS; token++) {
		TRY(code, mailbox_complete(m, token, 1, "1", 1), -1);
		CHECK(code == 1);
	}
	drain(m);
	mailbox_forget(7);
	close(fd);
}

int main(void)
{
	for (failing = 1, made = failing; made >= failing; failing++) {
		struct mailbox *m;

		made = 0;
		m = new_mailbox();
		use(m);
		mailbox_release(m);
	}
	printf("%d\n", failing - 2); /* how many allocations there are to fail */
	return failing > REQUESTS ? 0 : 1;
}
