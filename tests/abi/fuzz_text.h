/* What the fuzzer sends, and how it judges what comes back. */
#ifndef FUZZ_TEXT_H
#define FUZZ_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* A stream of numbers that its seed decides. */
struct chance {
	uint64_t state;
};

uint64_t draw(struct chance *c);

/* Answers a number below n. */
unsigned below(struct chance *c, unsigned n);

/* Says yes once in so many times. */
int once_in(struct chance *c, unsigned n);

enum { OPERATIONS = 24, MOST_TEXT = 4096 };

/*
 * Writes a request for an operation, and answers its length: one that is right, one that was
 * mutated until it hardly is, or noise. One that `waits` may ask to wait for a while.
 */
size_t make_request(struct chance *c, unsigned operation, int waits, char *to);

/* Says whether a text of n bytes is one JSON value in UTF-8, nothing before or after it. */
int is_json(const char *text, size_t n);

/* Says whether a text begins as another does. */
int begins(const char *text, const char *with);

#endif
