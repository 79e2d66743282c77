/* Packed requests, as wf_submit takes them, and the library's copy of them. */
#ifndef WORKFLOWS_FRAMES_H
#define WORKFLOWS_FRAMES_H

#include <stddef.h>
#include <stdint.h>

/* The limits of what is taken. */
enum {
	MOST_REQUEST = 64 << 20,       /* bytes of one request; a batch of large payloads fits */
	MOST_PACKED = 1 << 30,         /* of one submission; a wrong length is more likely above it */
	MOST_WAITING = 65536,          /* requests in a mailbox, completions not drained among them */
	FRAME_HEAD = 16                /* u64 token, u32 length, u16 operation, u16 zero */
};
#define END_OF_TOKENS (UINT64_C(1) << 53) /* below it every token is a number in JavaScript */

struct frame_head {
	uint64_t token;
	uint32_t length;
	unsigned zero;
};

/* What the host has left for Go, in its order: packed requests, or a cancel if there are
   none. The text of a request over MOST_REQUEST is left out, its length is not. */
struct note {
	struct note *next;
	uint64_t token; /* to cancel */
	size_t count;   /* requests */
	size_t n;       /* bytes of packed */
	unsigned char packed[];
};

struct frame_head frame_at(const unsigned char *at);
const unsigned char *frame_after(const unsigned char *at);

/* Counts the requests, and the bytes of them to keep. Answers 0 if something is malformed. */
int frames_measure(const unsigned char *packed, size_t n, size_t *count, size_t *size);

/* Answers a note of what was measured, or NULL: no memory. */
struct note *frames_copy(const unsigned char *packed, size_t n, size_t count, size_t size);

void notes_free(struct note *first);

#endif
