#include "tokens.h"

#include <stdlib.h>

enum { LEAST_ROOM = 64 };

static size_t home(const struct tokens *t, uint64_t token)
{
	return (size_t)((token * UINT64_C(0x9E3779B97F4A7C15)) >> 20) & (t->room - 1);
}

static size_t after(const struct tokens *t, size_t at) { return (at + 1) & (t->room - 1); }

/* Answers where the token is, or the empty slot where it belongs. */
static struct use *seek(const struct tokens *t, uint64_t token)
{
	size_t at = home(t, token);

	while (t->slots[at].stage != UNUSED && t->slots[at].token != token)
		at = after(t, at);
	return &t->slots[at];
}

/* At most half of the slots are taken, so that a search is short and always ends. */
int tokens_reserve(struct tokens *t, size_t more)
{
	struct tokens larger = {NULL, t->room == 0 ? LEAST_ROOM : t->room, t->count};

	while (larger.room < 2 * (t->count + more))
		larger.room *= 2;
	if (larger.room == t->room)
		return 1;
	larger.slots = calloc(larger.room, sizeof *larger.slots);
	if (larger.slots == NULL)
		return 0;
	for (size_t i = 0; i < t->room; i++)
		if (t->slots[i].stage != UNUSED)
			*seek(&larger, t->slots[i].token) = t->slots[i];
	free(t->slots);
	*t = larger;
	return 1;
}

struct use *tokens_add(struct tokens *t, uint64_t token, uint32_t size)
{
	struct use *slot = seek(t, token);

	if (slot->stage != UNUSED)
		return NULL;
	slot->token = token;
	slot->size = size;
	slot->stage = IN_FLIGHT;
	t->count++;
	return slot;
}

struct use *tokens_find(const struct tokens *t, uint64_t token)
{
	struct use *slot = t->room == 0 ? NULL : seek(t, token);

	return slot == NULL || slot->stage == UNUSED ? NULL : slot;
}

/* Those behind the hole move up, unless that would put them in front of their home:
   a search ends at the first empty slot. */
void tokens_remove(struct tokens *t, uint64_t token)
{
	size_t hole = (size_t)(tokens_find(t, token) - t->slots), mask = t->room - 1;

	for (size_t at = after(t, hole); t->slots[at].stage != UNUSED; at = after(t, at)) {
		if (((at - home(t, t->slots[at].token)) & mask) >= ((at - hole) & mask)) {
			t->slots[hole] = t->slots[at];
			hole = at;
		}
	}
	t->slots[hole].stage = UNUSED;
	t->count--;
}

void tokens_free(struct tokens *t)
{
	free(t->slots);
	*t = (struct tokens){NULL, 0, 0};
}
