/*
 * The mailbox of a channel, between the host's threads and Go.
 *
 * A call into Go waits for a processor of Go's while all of them work, tens of
 * milliseconds under load. So the functions that an event loop calls do not enter Go:
 * they leave what they bring here, and take what is here. Nothing in these files knows
 * of Go, and nothing in them blocks, other than mailbox_wait.
 */
#ifndef WORKFLOWS_MAILBOX_H
#define WORKFLOWS_MAILBOX_H

#include <stddef.h>
#include <stdint.h>

#include "completions.h"
#include "frames.h"

enum {
	MOST_WAITING_BYTES = 256 << 20, /* what the requests in a mailbox and completions not drained take */
	MOST_DRAIN = 1 << 20            /* the text of one drain, unless one completion is larger */
};

struct mailbox;

/* How much a mailbox holds. */
struct counts {
	size_t waiting;   /* tokens in use */
	size_t in_flight; /* of these */
	size_t completed; /* of these */
	size_t bytes;
};

/* ---- the host's side: what workflows.h says of wf_submit and so on, with its codes ---- */

int mailbox_submit(struct mailbox *m, const void *packed, size_t n);
int mailbox_drain(struct mailbox *m, uint32_t most, char **out, size_t *n);
int mailbox_cancel(struct mailbox *m, uint64_t token);
int mailbox_wait(struct mailbox *m, int timeout_ms);
int mailbox_watch(struct mailbox *m);

/* ---- Go's side ---- */

/* Answers NULL when memory or descriptors have run out. The caller has to release it. */
struct mailbox *mailbox_new(size_t most_requests, size_t most_bytes);
void mailbox_hold(struct mailbox *m);
void mailbox_release(struct mailbox *m);

/* Answers a new descriptor, an eventfd that is readable when there is something to take, or
   -1. The caller closes it. */
int mailbox_bell(struct mailbox *m);

/* Takes all that the host has left. */
struct note *mailbox_take(struct mailbox *m);

/* Ends a request. Answers 1; 0 when nobody waits for it any more; -1 when memory has run
   out, and the request has not ended. */
int mailbox_complete(struct mailbox *m, uint64_t token, uint16_t operation, const void *reply, size_t n);

/* What a look at the host finds, which has asked for nothing since the look before: it has closed
   all descriptors that it was given, or something waits that it does not take. */
enum host { HOST_IS_THERE, HOST_IS_GONE, HOST_IS_STALLED };
enum host mailbox_look(struct mailbox *m);

/* Takes the first reply to an operation that begins so and was not drained, and leaves another one
   instead, which does not begin so. Answers it, to be freed, or NULL: there is none, or memory has
   run out. */
struct completion *mailbox_recall(
    struct mailbox *m, uint16_t operation, const void *begins, size_t length, const void *instead, size_t n);

/* Lets nothing more in. */
void mailbox_shut(struct mailbox *m);

/* Ends everything, and answers what was not drained. */
struct completion *mailbox_drop(struct mailbox *m);

/* Answers when every wake-up of what is counted has been sent. */
struct counts mailbox_count(struct mailbox *m);

/* ---- handles ---- */

/* Lets a handle name the mailbox. Answers WF_OK or WF_INTERNAL. */
int mailbox_name(uint64_t handle, struct mailbox *m);
void mailbox_forget(uint64_t handle);

/* Answers WF_OK with a mailbox that the caller has to release, WF_CLOSED or WF_INVALID_HANDLE. */
int mailbox_find(uint64_t handle, struct mailbox **m);

#endif
