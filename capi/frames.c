#include "frames.h"

#include <stdlib.h>
#include <string.h>

static uint64_t little_endian(const unsigned char *at, int bytes)
{
	uint64_t value = 0;

	while (bytes-- > 0)
		value = value << 8 | at[bytes];
	return value;
}

struct frame_head frame_at(const unsigned char *at)
{
	struct frame_head h = {little_endian(at, 8), (uint32_t)little_endian(at + 8, 4), (unsigned)little_endian(at + 14, 2)};

	return h;
}

/* What is too large is refused later by its length, for which it need not be copied. */
static size_t kept(struct frame_head h) { return h.length > MOST_REQUEST ? FRAME_HEAD : FRAME_HEAD + (size_t)h.length; }

int frames_measure(const unsigned char *packed, size_t n, size_t *count, size_t *size)
{
	*count = *size = 0;
	for (size_t at = 0; at < n; (*count)++) {
		struct frame_head h;

		if (n - at < FRAME_HEAD || *count == MOST_WAITING)
			return 0;
		h = frame_at(packed + at);
		at += FRAME_HEAD;
		if (h.token >= END_OF_TOKENS || h.zero != 0 || h.length > n - at)
			return 0;
		at += h.length;
		*size += kept(h);
	}
	return 1;
}

struct note *frames_copy(const unsigned char *packed, size_t n, size_t count, size_t size)
{
	struct note *note = malloc(sizeof *note + size);
	unsigned char *to;

	if (note == NULL)
		return NULL;
	*note = (struct note){NULL, 0, count, size};
	to = note->packed;
	for (size_t at = 0; at < n;) {
		struct frame_head h = frame_at(packed + at);

		memcpy(to, packed + at, kept(h));
		to += kept(h);
		at += FRAME_HEAD + (size_t)h.length;
	}
	return note;
}

const unsigned char *frame_after(const unsigned char *at) { return at + FRAME_HEAD + frame_at(at).length; }

void notes_free(struct note *first)
{
	for (struct note *next; first != NULL; first = next) {
		next = first->next;
		free(first);
	}
}
