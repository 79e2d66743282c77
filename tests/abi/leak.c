/*
 * Calls each function very often and looks what stays behind: memory, descriptors, threads.
 *
 *     leak CONFIG CALLS
 *
 * It prints bytes a call for each, and fails if one keeps more than LEAST bytes of each call, or
 * any descriptor or thread. What a heap keeps for later comes and goes: a leak grows in every one
 * of ROUNDS.
 */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "workflows.h"

enum { AT_ONCE = 50, ROUNDS = 5, LEAST = 8, NOISE = 6 << 20 /* what Go's heap and malloc keep for later */ };

static const char *config;
static uint64_t engine, channel, number;
static const char refused[] = "{\"no_such_field\":1}";
static const char waits[] = "{\"id\":\"0191d5c0-0000-7000-8000-000000000000\",\"wait_ms\":60000}";

static void check(int holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

/* ---- what is called ---- */

static void drain_all(unsigned most)
{
	for (unsigned got = 0; got < most;) {
		char *out;
		size_t n;

		check(wf_wait(channel, 60000) == WF_OK, "no completion");
		check(wf_drain(channel, AT_ONCE, &out, &n) >= 0, "no drain");
		for (char *at = out; at != NULL && (at = strstr(at, "{\"token\":")) != NULL; at++)
			got++;
		wf_free(out);
	}
}

static void submit(uint64_t to, unsigned operation, const char *request)
{
	unsigned char packed[16 + sizeof waits] = {0};
	size_t n = strlen(request);

	number++;
	for (int i = 0; i < 8; i++)
		packed[i] = (unsigned char)(number >> (8 * i));
	packed[8] = (unsigned char)n;
	packed[12] = (unsigned char)operation;
	memcpy(packed + 16, request, n);
	check(wf_submit(to, packed, 16 + n) == WF_OK, "not submitted");
}

static void requests(void)
{
	for (int i = 0; i < AT_ONCE; i++)
		submit(channel, WF_OP_GET_EXECUTION, refused);
	drain_all(AT_ONCE);
}

static void cancelled_requests(void)
{
	for (int i = 0; i < AT_ONCE; i++) {
		submit(channel, WF_OP_WAIT_EXECUTION, waits);
		check(wf_cancel(channel, number) == WF_OK, "not cancelled");
	}
	drain_all(AT_ONCE);
}

static void blocking(void)
{
	char *reply;
	size_t n;

	check(wf_get_execution(engine, refused, sizeof refused - 1, &reply, &n) == WF_ERROR, "it was not refused");
	wf_free(reply);
}

static void nothing_to_drain(void)
{
	char *out;
	size_t n;

	check(wf_drain(channel, 9, &out, &n) == 0 && out == NULL, "something to drain");
}

static void engines(void)
{
	uint64_t other;
	char *error;

	check(wf_open(config, strlen(config), &other, &error) == WF_OK, "not opened");
	check(wf_close(other, 0) == WF_OK, "not closed");
}

static void refused_engines(void)
{
	uint64_t other;
	char *error;

	check(wf_open("{\"schema\":5}", 12, &other, &error) == WF_ERROR, "opened");
	wf_free(error);
}

static void channels(void)
{
	uint64_t other;

	check(wf_channel_open(engine, &other) == WF_OK, "no channel");
	submit(other, WF_OP_GET_EXECUTION, refused);
	check(wf_channel_close(other) == WF_OK, "not closed");
}

static void descriptors(void) { check(close(wf_channel_fd(channel)) == 0, "no descriptor"); }
static void empty_waits(void) { check(wf_wait(channel, 0) == WF_TIMEOUT, "something to drain"); }
static void cancels_of_nothing(void) { check(wf_cancel(channel, 1) == WF_OK, "not cancelled"); }
static void wrong_handles(void) { check(wf_close(12345, 0) == WF_INVALID_HANDLE && wf_wait(12345, 0) == WF_INVALID_HANDLE, "a handle"); }
static void versions(void) { check(wf_abi_version() == WF_ABI_VERSION && wf_build_info() != NULL, "a version"); }

static const struct {
	const char *name;
	void (*call)(void);
	unsigned calls, share; /* calls of one go; one in so many of all calls */
} cases[] = {
	{"requests", requests, AT_ONCE, 1},
	{"cancelled requests", cancelled_requests, AT_ONCE, 1},
	{"blocking operations", blocking, 1, 1},
	{"drains of nothing", nothing_to_drain, 1, 1},
	{"waits", empty_waits, 1, 1},
	{"cancels", cancels_of_nothing, 1, 1},
	{"wrong handles", wrong_handles, 2, 1},
	{"versions", versions, 2, 1},
	{"refused configurations", refused_engines, 1, 1},
	{"descriptors", descriptors, 1, 1},
	{"channels", channels, 3, 5},
	{"engines", engines, 2, 5},
};

/* ---- what stays ---- */

static long entries(const char *path)
{
	long n = 0;
	DIR *directory = opendir(path);

	while (directory != NULL && readdir(directory) != NULL)
		n++;
	closedir(directory);
	return n;
}

static long resident(void)
{
	long size = 0, pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	check(file != NULL && fscanf(file, "%ld %ld", &size, &pages) == 2, "no statm");
	fclose(file);
	return pages * sysconf(_SC_PAGESIZE);
}

static void repeat(void (*call)(void), unsigned long times)
{
	while (times-- > 0)
		call();
}

/* What is on its way out may still hold something. */
static int settles(long (*count)(const char *), const char *path, long most)
{
	struct timespec pause = {0, 10000000};

	for (int i = 0; i < 1000 && count(path) > most; i++)
		nanosleep(&pause, NULL);
	return count(path) <= most;
}

/* Answers whether memory stays behind of each of so many calls. */
static int leaks(size_t which, unsigned long times)
{
	unsigned long all = times * cases[which].calls;

	for (int round = 0; round < ROUNDS; round++) {
		long before = resident(), grown;

		repeat(cases[which].call, times);
		grown = resident() - before;
		printf("%s: %lu calls, %.2f bytes a call\n", cases[which].name, all, (double)grown / (double)all);
		if (grown <= NOISE || grown <= (long)(LEAST * all))
			return 0;
	}
	return 1;
}

int main(int argc, char **argv)
{
	unsigned long calls;
	char *error;
	int failed = 0;

	check(argc == 3, "leak CONFIG CALLS");
	config = argv[1];
	calls = strtoul(argv[2], NULL, 10);
	check(wf_open(config, strlen(config), &engine, &error) == WF_OK, "not opened");
	check(wf_channel_open(engine, &channel) == WF_OK, "no channel");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		unsigned long times = calls / cases[i].calls / cases[i].share;
		long fds;

		repeat(cases[i].call, times / 10 + 100);
		fds = entries("/proc/self/fd");
		if (leaks(i, times))
			failed = printf("%s: memory stays\n", cases[i].name);
		if (!settles(entries, "/proc/self/fd", fds + 5))
			failed = printf("%s: %ld descriptors in place of %ld\n", cases[i].name, entries("/proc/self/fd"), fds);
	}
	printf("%ld MiB resident, %ld descriptors, %ld threads\n", resident() >> 20, entries("/proc/self/fd") - 2, entries("/proc/self/task") - 2);
	if (entries("/proc/self/task") > 62)
		failed = 1;
	check(wf_close(engine, 1000) == WF_OK, "not closed");
	return failed != 0;
}
