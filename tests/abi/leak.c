/*
 * Calls each function very often and looks what stays behind: memory, descriptors, threads.
 *
 *     leak CONFIG CALLS OPERATIONS
 *
 * CALLS are those of each function. OPERATIONS are calls that succeed, of all operations by turns, and
 * go to the database. It prints bytes a call for each, and fails if one keeps more than LEAST bytes of
 * each call, or any descriptor or thread. What a heap keeps for later comes and goes: a leak grows in
 * every one of ROUNDS.
 */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "workflows.h"

enum { AT_ONCE = 50, ROUNDS = 5, LEAST = 8, NOISE = 6 << 20 /* what Go's heap and malloc keep for later */, LONGEST = 512 };

static const char *config;
static uint64_t engine, channel, number;
static const char refused[] = "{\"no_such_field\":1}";
static const char waits[] = "{\"id\":\"0191d5c0-0000-7000-8000-000000000000\",\"wait_ms\":60000}";

/* What an execution of this process is written with. */
static struct held {
	char id[37], lease[80], position[12];
} held[AT_ONCE], nobody;
static char worker[37];

static void check(int holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

/* ---- what is called ---- */

static void drain_all(unsigned most, int well)
{
	for (unsigned got = 0; got < most;) {
		char *out;
		size_t n;

		check(wf_wait(channel, 60000) == WF_OK, "no completion");
		check(wf_drain(channel, AT_ONCE, &out, &n) >= 0, "no drain");
		check(!well || out == NULL || strstr(out, "\"error\":{") == NULL, out);
		for (char *at = out; at != NULL && (at = strstr(at, "{\"token\":")) != NULL; at++)
			got++;
		wf_free(out);
	}
}

static void submit(uint64_t to, unsigned operation, const char *request)
{
	unsigned char packed[16 + LONGEST] = {0};
	size_t n = strlen(request);

	number++;
	for (int i = 0; i < 8; i++)
		packed[i] = (unsigned char)(number >> (8 * i));
	packed[8] = (unsigned char)n;
	packed[9] = (unsigned char)(n >> 8);
	packed[12] = (unsigned char)operation;
	memcpy(packed + 16, request, n);
	check(wf_submit(to, packed, 16 + n) == WF_OK, "not submitted");
}

static void requests(void)
{
	for (int i = 0; i < AT_ONCE; i++)
		submit(channel, WF_OP_GET_EXECUTION, refused);
	drain_all(AT_ONCE, 0);
}

static void cancelled_requests(void)
{
	for (int i = 0; i < AT_ONCE; i++) {
		submit(channel, WF_OP_WAIT_EXECUTION, waits);
		check(wf_cancel(channel, number) == WF_OK, "not cancelled");
	}
	drain_all(AT_ONCE, 0);
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

/* ---- operations that succeed: all that there are ---- */

typedef int operation(uint64_t, const char *, size_t, char **, size_t *);

/* Writes a request: ' stands for ", # @ ^ for the execution's id, lease and position, & for the worker. */
static const char *filled(const char *template, const struct held *x)
{
	static char request[LONGEST];
	char *to = request;

	for (; *template != '\0'; template++) {
		switch (*template) {
		case '\'': to += sprintf(to, "\""); break;
		case '#': to += sprintf(to, "\"%s\"", x->id); break;
		case '&': to += sprintf(to, "\"%s\"", worker); break;
		case '@': to += sprintf(to, "%s", x->lease); break;
		case '^': to += sprintf(to, "%s", x->position); break;
		default: *to++ = *template;
		}
	}
	*to = '\0';
	return request;
}

static char *ask(operation *call, const char *request)
{
	char *reply = NULL;
	size_t n;

	check(call(engine, request, strlen(request), &reply, &n) == WF_OK, reply);
	return reply;
}

static void once(operation *call, const char *template)
{
	wf_free(ask(call, filled(template, &nobody)));
}

/* Does it to all that are held, by a request for each. */
static void each(unsigned which, const char *template)
{
	for (int i = 0; i < AT_ONCE; i++)
		submit(channel, which, filled(template, &held[i]));
	drain_all(AT_ONCE, 1);
}

/* Copies at most n bytes of what follows a name. */
static void copy(char *to, const char *from, const char *name, int n)
{
	check((from = strstr(from, name)) != NULL, name);
	sprintf(to, "%.*s", n, from + strlen(name));
}

static void create(const char *item)
{
	static char request[AT_ONCE * LONGEST];
	char *to = request + sprintf(request, "{\"items\":["), *reply, *at;

	for (int i = 0; i < AT_ONCE; i++)
		to += sprintf(to, "%s%s", i > 0 ? "," : "", filled(item, &nobody));
	sprintf(to, "]}");
	reply = ask(wf_create_execution, request);
	at = reply;
	for (int i = 0; i < AT_ONCE; i++, at++) {
		check((at = strstr(at, "{\"id\":")) != NULL, "too few are created");
		copy(held[i].id, at, "\"id\":\"", 36);
	}
	wf_free(reply);
}

static void claim(void)
{
	for (int got = 0; got < AT_ONCE;) {
		char *reply = ask(wf_claim, filled("{'worker_id':&,'n':50,'wait_ms':60000}", &nobody));

		for (const char *at = reply; (at = strstr(at, "{\"id\":")) != NULL; at++, got++) {
			check(got < AT_ONCE, "too many are claimed");
			copy(held[got].id, at, "\"id\":\"", 36);
			copy(held[got].lease, at, "\"lease\":", (int)sizeof held->lease - 1);
			held[got].lease[strcspn(held[got].lease, "}") + 1] = '\0';
			copy(held[got].position, at, "\"position\":", (int)sizeof held->position - 1);
			held[got].position[strspn(held[got].position, "0123456789")] = '\0';
		}
		wf_free(reply);
	}
}

static void jobs(void)
{
	create("{'kind':'job','name':'j','queue':'leak'}");
	claim();
	each(WF_OP_HEARTBEAT, "{'worker_id':&,'items':[{'id':#,'lease':@,'progress':1}]}");
	each(WF_OP_FAIL_EXECUTION, "{'items':[{'id':#,'lease':@,'error':{'type':'T','message':'m','non_retryable':true}}]}");
	each(WF_OP_RETRY_EXECUTION, "{'items':[{'id':#}]}");
	claim();
	each(WF_OP_COMPLETE_EXECUTION, "{'items':[{'id':#,'lease':@,'result':[2]}]}");
	each(WF_OP_WAIT_EXECUTION, "{'id':#,'wait_ms':60000}");
	each(WF_OP_GET_EXECUTION, "{'id':#}");
}

static void workflows(void)
{
	create("{'kind':'workflow','name':'w','queue':'leak'}");
	claim();
	each(WF_OP_RECORD_STEP, "{'items':[{'id':#,'lease':@,'position':^,'event':{'type':'step_completed','sequence':1,'name':'s'}}]}");
	each(WF_OP_RELEASE, "{'items':[{'id':#,'lease':@,'reason':'non_determinism'}]}");
	each(WF_OP_RESUME_WORKFLOW, "{'items':[{'id':#}]}");
	claim();
	each(WF_OP_SUSPEND_WORKFLOW, "{'items':[{'id':#,'lease':@,'position':^}]}");
	each(WF_OP_SEND_SIGNAL, "{'items':[{'id':#,'name':'s','payload':4}]}");
	claim();
	each(WF_OP_ADVANCE_WORKFLOW, "{'items':[{'id':#,'lease':@,'position':^,'then':'complete','result':5}]}");
	each(WF_OP_GET_HISTORY, "{'id':#}");
}

static void ends(void)
{
	const char *later = "{'kind':'job','name':'j','queue':'leak','delay_ms':3600000}";

	create(later);
	each(WF_OP_CANCEL_EXECUTION, "{'items':[{'id':#}]}");
	create(later);
	each(WF_OP_TERMINATE_EXECUTION, "{'items':[{'id':#}]}");
}

static void operations(void)
{
	char *reply = ask(wf_start_worker, filled("{'queues':['leak'],'concurrency':50}", &nobody));

	copy(worker, reply, "\"worker_id\":\"", 36);
	wf_free(reply);
	jobs();
	workflows();
	ends();
	once(wf_list_executions, "{'queue':'leak','limit':50}");
	once(wf_stats, "{}");
	once(wf_pull_events, "{'worker_id':&}");
	once(wf_recover, "{}");
	once(wf_migrate, "{}");
	once(wf_stop_worker, "{'worker_id':&}");
}

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
	{"operations that succeed", operations, 766, 1},
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
	unsigned long calls, asked;
	char *error;
	int failed = 0;

	check(argc == 4, "leak CONFIG CALLS OPERATIONS");
	config = argv[1];
	calls = strtoul(argv[2], NULL, 10);
	asked = strtoul(argv[3], NULL, 10);
	check(wf_open(config, strlen(config), &engine, &error) == WF_OK, "not opened");
	check(wf_channel_open(engine, &channel) == WF_OK, "no channel");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		unsigned long times = (cases[i].call == operations ? asked : calls) / cases[i].calls / cases[i].share;
		long fds;

		repeat(cases[i].call, times / 10 + 100 / cases[i].calls + 1);
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
