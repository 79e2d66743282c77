/* Replies on their way to the host. */
#ifndef WORKFLOWS_COMPLETIONS_H
#define WORKFLOWS_COMPLETIONS_H

#include <stddef.h>
#include <stdint.h>

/* A reply that waits to be drained, as it will be written, with a comma behind it. */
struct completion {
	struct completion *next;
	uint64_t token;
	uint16_t operation;
	size_t reply; /* its length; it stands before the last two bytes of the text */
	size_t size;  /* of the text */
	char text[];
};

/* Copies the reply byte for byte. Answers NULL when memory has run out. */
struct completion *completion_new(uint64_t token, uint16_t operation, const void *reply, size_t n);

/* Writes completions as an array into room for their text and two bytes more. */
void completions_write(char *to, const struct completion *first);

void completions_free(struct completion *first);

#endif
