/* The tokens in use on a channel: a hash table with open addressing. */
#ifndef WORKFLOWS_TOKENS_H
#define WORKFLOWS_TOKENS_H

#include <stddef.h>
#include <stdint.h>

enum stage_of_use {
	UNUSED = 0,  /* an empty slot */
	IN_FLIGHT,   /* somebody will complete it */
	TO_CANCEL,   /* the same, and a cancel is under way */
	COMPLETED    /* its completion waits to be drained */
};

struct use {
	uint64_t token;
	uint32_t size; /* of the request */
	uint32_t stage;
};

/* All zero is an empty table. */
struct tokens {
	struct use *slots;
	size_t room; /* how many slots, 0 or a power of two */
	size_t count;
};

/* Makes room for so many more, and answers 0 when memory has run out. */
int tokens_reserve(struct tokens *t, size_t more);

/* Answers NULL if the token is in use already. There must be room. */
struct use *tokens_add(struct tokens *t, uint64_t token, uint32_t size);

/* Answers NULL if the token is not in use. */
struct use *tokens_find(const struct tokens *t, uint64_t token);

/* Ends the use of a token that is in use. */
void tokens_remove(struct tokens *t, uint64_t token);

void tokens_free(struct tokens *t);

#endif
