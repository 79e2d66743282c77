/*
 * The interface as C sees it. Each function looks whether the process has forked and
 * whether its outputs are there, and only then enters Go or a mailbox: in a forked child the
 * Go runtime has lost its threads, and a call into it would hang for ever, as would a lock that
 * one of them held.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"
#include "mailbox.h"
#include "operations_gen.h"
#include "shim.h"

/* ---- fork ---- */

static volatile int forked;

static void in_child(void) { forked = 1; }

__attribute__((constructor)) static void watch_fork(void) { pthread_atfork(NULL, NULL, in_child); }

static const char forked_error[] =
	"{\"error\":{\"code\":\"forked\",\"message\":\"the process was forked after it had loaded the library, which "
	"does not survive that; load it in the child only, or exec a new process\",\"retryable\":false}}";

/* A copy, so that outputs are freed in one way. glibc lets malloc be used in a forked child. */
static int refuse_forked(char **error, size_t *n)
{
	char *copy = error == NULL ? NULL : malloc(sizeof forked_error);

	if (error != NULL)
		*error = copy;
	if (copy != NULL)
		memcpy(copy, forked_error, sizeof forked_error);
	if (n != NULL)
		*n = copy == NULL ? 0 : sizeof forked_error - 1;
	return WF_FORKED;
}

/* ---- the library ---- */

static char *build_info;

void shim_keep_build_info(char *text) { __atomic_store_n(&build_info, text, __ATOMIC_RELEASE); }

uint32_t wf_abi_version(void) { return WF_ABI_VERSION; }

/* Go fills it in while it starts, on a thread of its own. A child forked before that
   still learns what matters. */
const char *wf_build_info(void)
{
	if (__atomic_load_n(&build_info, __ATOMIC_ACQUIRE) == NULL && !forked)
		goStarted();
	const char *text = __atomic_load_n(&build_info, __ATOMIC_ACQUIRE);
	return text != NULL ? text
			    : "{\"version\":\"unknown\",\"commit\":\"unknown\",\"abi\":1,\"operations\":\"" WF_OPERATIONS_DIGEST
			      "\",\"go\":\"unknown\",\"platform\":\"unknown\"}";
}

void wf_free(void *output) { free(output); }

int wf_main(int argc, const char **argv)
{
	int given = 0;

	if (forked)
		return WF_FORKED;
	while (argv != NULL && given < argc && argv[given] != NULL)
		given++;
	return goMain(given, (char **)argv);
}

/* ---- engines ---- */

int wf_open(const char *config, size_t n, uint64_t *engine, char **error)
{
	if (engine != NULL)
		*engine = 0;
	if (forked)
		return refuse_forked(error, NULL);
	if (error != NULL)
		*error = NULL;
	if (engine == NULL || error == NULL)
		return WF_INVALID_ARGUMENT;
	return goOpen(config, n, engine, error);
}

int wf_close(uint64_t engine, int grace_ms) { return forked ? WF_FORKED : goClose(engine, grace_ms); }

/* ---- channels ---- */

int wf_channel_open(uint64_t engine, uint64_t *channel)
{
	if (channel != NULL)
		*channel = 0;
	if (forked)
		return WF_FORKED;
	return channel == NULL ? WF_INVALID_ARGUMENT : goChannelOpen(engine, channel);
}

int wf_channel_close(uint64_t channel) { return forked ? WF_FORKED : goChannelClose(channel); }

/* The functions of an event loop end at the mailbox and never enter Go: a call into Go waits
   for one of its processors while all of them work. */

int wf_channel_fd(uint64_t channel)
{
	struct mailbox *mailbox;
	int code = forked ? WF_FORKED : mailbox_find(channel, &mailbox);

	if (code != WF_OK)
		return code;
	code = mailbox_watch(mailbox);
	mailbox_release(mailbox);
	return code;
}

int wf_submit(uint64_t channel, const void *packed, size_t n)
{
	struct mailbox *mailbox;
	int code;

	if (forked)
		return WF_FORKED;
	if (packed == NULL && n > 0)
		return WF_INVALID_ARGUMENT;
	code = mailbox_find(channel, &mailbox);
	if (code != WF_OK)
		return code;
	code = mailbox_submit(mailbox, packed, n);
	mailbox_release(mailbox);
	return code;
}

int wf_drain(uint64_t channel, uint32_t max, char **out, size_t *n)
{
	struct mailbox *mailbox;
	int code;

	if (out != NULL)
		*out = NULL;
	if (n != NULL)
		*n = 0;
	if (forked)
		return WF_FORKED;
	if (out == NULL || n == NULL)
		return WF_INVALID_ARGUMENT;
	code = mailbox_find(channel, &mailbox);
	if (code != WF_OK)
		return code;
	code = mailbox_drain(mailbox, max, out, n);
	mailbox_release(mailbox);
	return code;
}

int wf_wait(uint64_t channel, int timeout_ms)
{
	struct mailbox *mailbox;
	int code = forked ? WF_FORKED : mailbox_find(channel, &mailbox);

	if (code != WF_OK)
		return code;
	code = mailbox_wait(mailbox, timeout_ms);
	mailbox_release(mailbox);
	return code;
}

int wf_cancel(uint64_t channel, uint64_t token)
{
	struct mailbox *mailbox;
	int code = forked ? WF_FORKED : mailbox_find(channel, &mailbox);

	if (code != WF_OK)
		return code;
	code = mailbox_cancel(mailbox, token);
	mailbox_release(mailbox);
	return code;
}

/* ---- operations ---- */

static int operate(uint16_t number, uint64_t engine, const char *request, size_t n, char **reply, size_t *reply_n)
{
	if (forked)
		return refuse_forked(reply, reply_n);
	if (reply != NULL)
		*reply = NULL;
	if (reply_n != NULL)
		*reply_n = 0;
	if (reply == NULL || reply_n == NULL)
		return WF_INVALID_ARGUMENT;
	return goOperate(number, engine, request, n, reply, reply_n);
}

#define OPERATION(name, number)                                                                             \
	int wf_##name(uint64_t engine, const char *request, size_t n, char **reply, size_t *reply_n)        \
	{                                                                                                   \
		return operate(number, engine, request, n, reply, reply_n);                                 \
	}
WF_OPERATIONS(OPERATION)

/* ---- stacks that Go does not know ---- */

/*
 * On each call from C the Go runtime asks for the bounds of the stack, unless it is on
 * the one it saw last; glibc answers for the main thread by reading /proc/self/maps, in
 * 160 us. Callers that switch stacks, as koffi does in Node, would pay that every time.
 * A thread's own stack does not move, so it is asked once for each thread.
 *
 * The linker puts this in front of the C library's, within this library only (--wrap).
 */
#ifdef __linux__
extern int __real_pthread_getattr_np(pthread_t thread, pthread_attr_t *attr);

static __thread int stack_known;
static __thread void *stack_low;
static __thread size_t stack_size;

int __wrap_pthread_getattr_np(pthread_t thread, pthread_attr_t *attr)
{
	int own = pthread_equal(thread, pthread_self());

	if (own && stack_known) {
		pthread_attr_init(attr);
		return pthread_attr_setstack(attr, stack_low, stack_size);
	}
	int rc = __real_pthread_getattr_np(thread, attr);
	if (rc == 0 && own)
		stack_known = pthread_attr_getstack(attr, &stack_low, &stack_size) == 0;
	return rc;
}
#endif
