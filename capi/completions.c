#include "completions.h"

#include <stdlib.h>
#include <string.h>

static size_t put_digits(char *to, uint64_t number)
{
	char digits[20];
	size_t n = 0;

	do
		digits[sizeof digits - ++n] = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	memcpy(to, digits + sizeof digits - n, n);
	return n;
}

static size_t put(char *to, const char *text, size_t n)
{
	memcpy(to, text, n);
	return n;
}

#define PUT(to, text) put(to, text, sizeof(text) - 1)

struct completion *completion_new(uint64_t token, uint16_t operation, const void *reply, size_t n)
{
	struct completion *c = malloc(sizeof *c + sizeof "{\"token\":,\"reply\":}," + 20 + n);
	char *at;

	if (c == NULL)
		return NULL;
	*c = (struct completion){NULL, token, operation, n, 0};
	at = c->text;
	at += PUT(at, "{\"token\":");
	at += put_digits(at, token);
	at += PUT(at, ",\"reply\":");
	at += put(at, reply, n);
	at += PUT(at, "},");
	c->size = (size_t)(at - c->text);
	return c;
}

void completions_write(char *to, const struct completion *first)
{
	*to++ = '[';
	for (; first != NULL; first = first->next) {
		memcpy(to, first->text, first->size);
		to += first->size;
	}
	to[-1] = ']';
	*to = '\0';
}

void completions_free(struct completion *first)
{
	for (struct completion *next; first != NULL; first = next) {
		next = first->next;
		free(first);
	}
}
