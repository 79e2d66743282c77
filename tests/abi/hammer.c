/* Threads that use, misuse and close engines and channels at the same time. Every call must
 * come back with a code that the header knows: argv[1] is a configuration, argv[2] rounds. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "workflows.h"

enum { THREADS = 8, STEPS = 400, FRAME = 16 + 19 };

static const char *config;
static uint64_t engine, channels[4];
static const char refused[] = "{\"no_such_field\":1}";

static void check(int code)
{
	if (code < WF_INTERNAL || code == WF_ERROR || code == WF_INTERNAL || code == WF_FORKED) {
		fprintf(stderr, "code %d\n", code);
		abort();
	}
}

static unsigned draw(unsigned *state)
{
	*state = *state * 1103515245u + 12345u;
	return *state >> 16;
}

static void submit(uint64_t channel, uint64_t token)
{
	unsigned char packed[FRAME] = {0};

	for (int i = 0; i < 8; i++)
		packed[i] = (unsigned char)(token >> (8 * i));
	packed[8] = sizeof refused - 1;
	packed[12] = WF_OP_GET_EXECUTION;
	memcpy(packed + 16, refused, sizeof refused - 1);
	check(wf_submit(channel, packed, sizeof packed));
}

static void drain(uint64_t channel, uint32_t max)
{
	char *out;
	size_t n;

	check(wf_drain(channel, max, &out, &n));
	if ((out == NULL) != (n == 0) || (out != NULL && (out[0] != '[' || out[n - 1] != ']' || out[n] != '\0')))
		abort();
	wf_free(out);
}

static void operate(void)
{
	char *reply;
	size_t n;
	int code = wf_get_execution(engine, refused, sizeof refused - 1, &reply, &n);

	if (code != WF_ERROR)
		check(code);
	if (reply == NULL || strlen(reply) != n)
		abort();
	wf_free(reply);
}

static void step(unsigned *state)
{
	uint64_t channel = channels[draw(state) % 4];
	int fd;

	switch (draw(state) % 64) {
	case 0: check(wf_channel_close(channel)); break;
	case 1: check(wf_wait(channel, 1)); break;
	case 2: check(wf_wait(draw(state), 1)); break;
	case 3:
		fd = wf_channel_fd(channel);
		check(fd);
		if (fd >= 0)
			close(fd);
		break;
	default:
		switch (draw(state) % 4) {
		case 0: drain(channel, draw(state) % 50); break;
		case 1: check(wf_cancel(channel, draw(state))); break;
		case 2: operate(); break;
		default: submit(channel, draw(state)); break;
		}
	}
}

static void *run(void *argument)
{
	unsigned state = *(unsigned *)argument;

	for (int i = 0; i < STEPS; i++)
		step(&state);
	if (state % 2 == 0)
		check(wf_close(engine, 5));
	return NULL;
}

static void round_of(unsigned number)
{
	pthread_t threads[THREADS];
	unsigned seeds[THREADS];
	char *error;

	if (wf_open(config, strlen(config), &engine, &error) != WF_OK) {
		fprintf(stderr, "%s\n", error);
		abort();
	}
	for (int i = 0; i < 4; i++)
		check(wf_channel_open(engine, &channels[i]));
	for (int i = 0; i < THREADS; i++) {
		seeds[i] = number * THREADS + (unsigned)i;
		if (pthread_create(&threads[i], NULL, run, &seeds[i]) != 0)
			abort();
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	check(wf_close(engine, 5));
}

int main(int argc, char **argv)
{
	uint64_t keeper;
	char *error;

	if (argc != 3)
		return 2;
	config = argv[1];
	if (wf_open(config, strlen(config), &keeper, &error) != WF_OK) { /* so that a round does not connect anew */
		fprintf(stderr, "%s\n", error);
		return 1;
	}
	for (unsigned i = 0; i < (unsigned)atoi(argv[2]); i++)
		round_of(i);
	check(wf_close(keeper, 100));
	return 0;
}
