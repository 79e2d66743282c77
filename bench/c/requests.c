/* Packs requests and hands them in. */
#define _POSIX_C_SOURCE 200809L

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench.h"

uint64_t engine, channel;
struct call calls[CALLS];
int in_flight;

static uint64_t next_token = 1;
static char *out; /* packed requests that were not handed in yet */
static size_t out_n, out_size, frame;

void die(const char *what, const char *why)
{
	fprintf(stderr, "bench: %s: %s\n", what, why != NULL ? why : "");
	exit(1);
}

double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void nap(double duration)
{
	struct timespec t = {(time_t)duration, (long)((duration - (double)(time_t)duration) * 1e9)};

	nanosleep(&t, NULL);
}

static void reserve(size_t n)
{
	if (out_n + n <= out_size)
		return;
	out_size = 2 * (out_n + n);
	out = realloc(out, out_size);
	if (out == NULL)
		die("memory", NULL);
}

void put(const char *format, ...)
{
	va_list arguments;
	int n;

	reserve(1024);
	va_start(arguments, format);
	n = vsnprintf(out + out_n, 1024, format, arguments);
	va_end(arguments);
	if (n < 0 || n >= 1024)
		die("request", format);
	out_n += (size_t)n;
}

static void put_number(uint64_t value, int bytes)
{
	reserve((size_t)bytes);
	for (; bytes > 0; bytes--, value >>= 8)
		out[out_n++] = (char)(value & 0xff);
}

struct call *begin(int operation, enum tag tag)
{
	struct call *call;

	while (calls[next_token % CALLS].tag != NONE)
		next_token++;
	call = &calls[next_token % CALLS];
	call->tag = tag;
	call->n = 0;
	call->items = NULL;
	call->at = now();
	in_flight++;
	frame = out_n;
	put_number(next_token++, 8);
	put_number(0, 4);
	put_number((uint64_t)operation, 2);
	put_number(0, 2);
	return call;
}

void finish(void)
{
	size_t n = out_n - frame - 16, i;

	for (i = 0; i < 4; i++)
		out[frame + 8 + i] = (char)(n >> (8 * i) & 0xff);
}

void submit(void)
{
	int code;

	if (out_n == 0)
		return;
	code = wf_submit(channel, out, out_n);
	if (code == WF_BUSY)
		return;
	if (code != WF_OK)
		die("wf_submit", NULL);
	out_n = 0;
}
