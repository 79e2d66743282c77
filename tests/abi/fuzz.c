/*
 * Threads that call every function of the library with what it is made for and with what it is
 * not: NULL, closed and forged handles, requests that are cut, corrupted or mutated, engines and
 * channels that others close meanwhile. Each call has to come back, with a code and an output
 * that the header knows. Handles are closed twice and used after; outputs are freed once.
 *
 *     fuzz CONFIG CALLS SEED
 *
 * What is sent follows from the seed; how the threads meet does not. It says what it has done.
 */
#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fuzz_text.h"
#include "workflows.h"

#define CHECK(holds, ...)                                                                  \
	do {                                                                               \
		if (!(holds)) {                                                            \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #holds);        \
			fprintf(stderr, __VA_ARGS__);                                      \
			fprintf(stderr, " (seed %llu)\n", (unsigned long long)seed);       \
			abort();                                                           \
		}                                                                          \
	} while (0)

enum { THREADS = 8, ENGINES = 4, CHANNELS = 8, AT_ONCE = 4, PACKED = AT_ONCE * (16 + MOST_TEXT), AT_A_TIME = 256 };

enum what { OPEN, CLOSE, CHANNEL_OPEN, CHANNEL_CLOSE, FD, SUBMIT, DRAIN, WAIT, CANCEL, OPERATE, MAIN, INFO, FREE, KINDS };

static const char *const names[KINDS] = {"open", "close", "channel_open", "channel_close", "channel_fd", "submit", "drain",
					 "wait", "cancel", "operations", "main", "build_info", "free"};

static const char *config;
static unsigned long long seed, calls;
static unsigned long long left, made[KINDS], accepted, drained, answered;
static uint64_t engines[ENGINES], channels[CHANNELS]; /* those that are open, or were */

struct fuzzer {
	struct chance chance;
	unsigned long long made[KINDS];
	char text[MOST_TEXT];
	unsigned char packed[PACKED];
};

/* ---- handles ---- */

static uint64_t load(uint64_t *slot) { return __atomic_load_n(slot, __ATOMIC_RELAXED); }

/* Answers the handle that was there. */
static uint64_t swap(uint64_t *slot, uint64_t handle) { return __atomic_exchange_n(slot, handle, __ATOMIC_RELAXED); }

static uint64_t forged(struct chance *c, uint64_t near)
{
	switch (below(c, 6)) {
	case 0: return 0;
	case 1: return draw(c);
	case 2: return near + 1 + below(c, 1000);
	case 3: return near ^ ((uint64_t)3 << 48);
	case 4: return UINT64_MAX - below(c, 2);
	default: return (uint64_t)(uintptr_t)c; /* as if it were a pointer */
	}
}

static uint64_t handle(struct chance *c, uint64_t *slots, unsigned n)
{
	uint64_t one = load(&slots[below(c, n)]);

	return once_in(c, 30) ? forged(c, one) : one;
}

static uint64_t an_engine(struct chance *c) { return once_in(c, 60) ? handle(c, channels, CHANNELS) : handle(c, engines, ENGINES); }

static uint64_t a_channel(struct chance *c) { return once_in(c, 60) ? handle(c, engines, ENGINES) : handle(c, channels, CHANNELS); }

/* ---- verdicts ---- */

/* WF_INTERNAL is a bug of the library, and so is what the header does not know. */
static void known(enum what what, int code)
{
	CHECK(code > WF_INTERNAL && code != WF_FORKED, "%s answered %d", names[what], code);
}

static void judge(int code, const char *reply, size_t n, const char *request, size_t request_n)
{
	CHECK(reply != NULL && strlen(reply) == n && is_json(reply, n), "code %d with the reply %s", code, reply == NULL ? "NULL" : reply);
	CHECK(begins(reply, code == WF_OK ? "{\"ok\":" : "{\"error\":{\"code\":\""), "code %d with the reply %s", code, reply);
	CHECK(!begins(reply, "{\"error\":{\"code\":\"internal\""), "%s for %.*s", reply, (int)request_n, request);
	CHECK(n < 100000 || code == WF_OK, "an error of %zu bytes", n);
}

/* ---- calls ---- */

static void open_engine(struct fuzzer *f)
{
	struct chance *c = &f->chance;
	const char *text = config;
	size_t n = strlen(config);
	uint64_t made_one = 1, *engine = once_in(c, 20) ? NULL : &made_one;
	char *failure = NULL, **error = once_in(c, 20) ? NULL : &failure;
	int code;

	if (once_in(c, 2)) {
		n = make_request(c, 0, 0, f->text);
		text = n > 0 ? f->text : NULL;
		if (n == 0 || memchr(text, '{', n) != NULL) { /* it might be a configuration, and of a database of its own */
			text = NULL;
			n = 1 + below(c, 100);
		}
	}
	code = wf_open(text, n, engine, error);
	known(OPEN, code);
	CHECK((code == WF_OK) == (engine != NULL && made_one > 1), "wf_open: code %d, engine %llu", code, (unsigned long long)made_one);
	if (code == WF_OK)
		known(CLOSE, wf_close(swap(&engines[below(c, ENGINES)], made_one), 0));
	else if (engine != NULL && error != NULL)
		judge(code, failure, failure == NULL ? 0 : strlen(failure), text == NULL ? "" : text, text == NULL ? 0 : n);
	wf_free(failure);
}

/* One that is open is replaced before it is closed, so that there is something to do. */
static void close_engine(struct fuzzer *f)
{
	struct chance *c = &f->chance;
	uint64_t engine = an_engine(c), again;
	char *failure = NULL;

	if (once_in(c, 2) && wf_open(config, strlen(config), &again, &failure) == WF_OK)
		engine = swap(&engines[below(c, ENGINES)], again);
	wf_free(failure);
	known(CLOSE, wf_close(engine, (int)below(c, 3) - 1));
	if (once_in(c, 2))
		known(CLOSE, wf_close(engine, 0));
}

static void open_channel(struct fuzzer *f)
{
	uint64_t made_one = 1, *channel = once_in(&f->chance, 20) ? NULL : &made_one;
	int code = wf_channel_open(an_engine(&f->chance), channel);

	known(CHANNEL_OPEN, code);
	CHECK((code == WF_OK) == (channel != NULL && made_one > 1), "wf_channel_open: code %d", code);
	if (code == WF_OK)
		known(CHANNEL_CLOSE, wf_channel_close(swap(&channels[below(&f->chance, CHANNELS)], made_one)));
}

static void close_channel(struct fuzzer *f)
{
	uint64_t channel = a_channel(&f->chance), again, engine = load(&engines[below(&f->chance, ENGINES)]);

	if (wf_channel_open(engine, &again) == WF_OK)
		channel = swap(&channels[below(&f->chance, CHANNELS)], again);
	known(CHANNEL_CLOSE, wf_channel_close(channel));
	if (once_in(&f->chance, 2))
		known(CHANNEL_CLOSE, wf_channel_close(channel));
}

static void watch(struct fuzzer *f)
{
	char byte;
	int fd = wf_channel_fd(a_channel(&f->chance));

	known(FD, fd);
	if (fd >= 0 && once_in(&f->chance, 2) && read(fd, &byte, 1) > 1)
		abort();
	if (fd >= 0)
		close(fd);
}

static void little_endian(unsigned char *to, uint64_t number, int bytes)
{
	for (int i = 0; i < bytes; i++)
		to[i] = (unsigned char)(number >> (8 * i));
}

/* Few workers: each beats from then on. */
static unsigned an_operation(struct chance *c)
{
	unsigned operation = 1 + below(c, OPERATIONS);

	return operation == WF_OP_START_WORKER && !once_in(c, 1000) ? WF_OP_PULL_EVENTS : operation;
}

static size_t frame(struct fuzzer *f, unsigned char *to)
{
	struct chance *c = &f->chance;
	unsigned operation = once_in(c, 30) ? (unsigned)draw(c) & 0xffff : an_operation(c);
	size_t n = make_request(c, operation, 1, (char *)to + 16);

	little_endian(to, once_in(c, 200) ? draw(c) : below(c, 1 << 20), 8);
	little_endian(to + 8, n, 4);
	little_endian(to + 12, operation, 2);
	little_endian(to + 14, 0, 2);
	return 16 + n;
}

static void submit(struct fuzzer *f)
{
	struct chance *c = &f->chance;
	unsigned count = below(c, AT_ONCE + 1);
	size_t n = 0;
	int code, spoilt = once_in(c, 6);

	for (unsigned i = 0; i < count; i++)
		n += frame(f, f->packed + n);
	if (spoilt && n > 0) {
		f->packed[below(c, (unsigned)n)] ^= (unsigned char)(1 << below(c, 8));
		n = once_in(c, 2) ? below(c, (unsigned)n) : n;
	}
	if (once_in(c, 100))
		code = wf_submit(a_channel(c), NULL, once_in(c, 2) ? 0 : (size_t)draw(c));
	else
		code = wf_submit(a_channel(c), f->packed, once_in(c, 200) ? SIZE_MAX - below(c, 20) : n);
	known(SUBMIT, code);
	if (code == WF_OK)
		__atomic_fetch_add(&accepted, count, __ATOMIC_RELAXED);
}

static unsigned count_of(const char *out)
{
	unsigned n = 0;

	for (const char *at = out; (at = strstr(at, "{\"token\":")) != NULL; at++)
		n++;
	return n;
}

static void drain(struct fuzzer *f)
{
	struct chance *c = &f->chance;
	char *text = NULL, **out = once_in(c, 100) ? NULL : &text;
	size_t length = 0, *n = once_in(c, 100) ? NULL : &length;
	int code = wf_drain(a_channel(c), once_in(c, 50) ? UINT32_MAX : below(c, 200), out, n);

	known(DRAIN, code);
	CHECK(text == NULL || (out != NULL && n != NULL && strlen(text) == length && text[0] == '[' && is_json(text, length)), "a drain of %zu bytes: %s", length, text);
	if (text != NULL) {
		CHECK(strstr(text, "{\"error\":{\"code\":\"internal\"") == NULL, "%s", text);
		__atomic_fetch_add(&drained, count_of(text), __ATOMIC_RELAXED);
	}
	wf_free(text);
}

typedef int operation_of(uint64_t, const char *, size_t, char **, size_t *);

static operation_of *const operations[OPERATIONS] = {
	wf_migrate, wf_create_execution, wf_claim, wf_heartbeat, wf_recover, wf_advance_workflow, wf_suspend_workflow,
	wf_record_step, wf_complete_execution, wf_fail_execution, wf_release, wf_resume_workflow, wf_cancel_execution,
	wf_terminate_execution, wf_get_execution, wf_wait_execution, wf_list_executions, wf_get_history, wf_pull_events,
	wf_send_signal, wf_start_worker, wf_stop_worker, wf_retry_execution, wf_stats};

static void operate(struct fuzzer *f)
{
	struct chance *c = &f->chance;
	unsigned number = an_operation(c);
	const char *text = f->text;
	size_t n = make_request(c, number, 0, f->text), length = 1;
	char *reply = f->text, **out = once_in(c, 100) ? NULL : &reply;
	size_t *out_n = once_in(c, 100) ? NULL : &length;
	int code;

	if (once_in(c, 100)) {
		text = NULL;
		n = once_in(c, 2) ? 0 : (size_t)draw(c);
	} else if (once_in(c, 200)) {
		n = SIZE_MAX - below(c, 2); /* what is over the limit is not looked at */
	}
	code = operations[number - 1](an_engine(c), text, n, out, out_n);
	known(OPERATE, code);
	if (out == NULL || out_n == NULL) {
		CHECK(code == WF_INVALID_ARGUMENT && (out == NULL || reply == NULL), "code %d without an output", code);
		return;
	}
	judge(code, reply, length, text == NULL ? "" : text, text == NULL || n > MOST_TEXT ? 0 : n);
	if (code == WF_OK)
		__atomic_fetch_add(&answered, 1, __ATOMIC_RELAXED);
	wf_free(reply);
}

static void command_line(struct fuzzer *f)
{
	static const char *const words[] = {"version", "no-such-command", "", "--help", "-x", "\xff", "list --", "status"};
	const char *argv[4] = {"workflows", words[below(&f->chance, 8)], once_in(&f->chance, 3) ? "--no-such" : NULL, NULL};
	int code = once_in(&f->chance, 4) ? wf_main((int)below(&f->chance, 9) - 4, NULL) : wf_main(1 + (int)below(&f->chance, 2), argv);

	CHECK(code >= 0 && code < 256, "wf_main answered %d", code);
}

static void step(struct fuzzer *f, enum what what)
{
	switch (what) {
	case OPEN: open_engine(f); break;
	case CLOSE: close_engine(f); break;
	case CHANNEL_OPEN: open_channel(f); break;
	case CHANNEL_CLOSE: close_channel(f); break;
	case FD: watch(f); break;
	case SUBMIT: submit(f); break;
	case DRAIN: drain(f); break;
	case WAIT: known(WAIT, wf_wait(a_channel(&f->chance), (int)once_in(&f->chance, 20))); break;
	case CANCEL: known(CANCEL, wf_cancel(a_channel(&f->chance), once_in(&f->chance, 9) ? draw(&f->chance) : below(&f->chance, 1 << 20))); break;
	case OPERATE: operate(f); break;
	case MAIN: command_line(f); break;
	case INFO: CHECK(wf_abi_version() == WF_ABI_VERSION && is_json(wf_build_info(), strlen(wf_build_info())), "the library's version"); break;
	default: wf_free(NULL); break;
	}
	f->made[what]++;
}

/* How often each is called, of 20,000: what opens and closes takes long. */
static const unsigned weights[KINDS] = {1, 1, 20, 20, 150, 2000, 6000, 2500, 5000, 800, 1, 2000, 1507};

static enum what choose(struct chance *c)
{
	unsigned at = below(c, 20000), what = 0;

	while (at >= weights[what])
		at -= weights[what++];
	return (enum what)what;
}

/* ---- the whole ---- */

static int take(void)
{
	unsigned long long before = __atomic_load_n(&left, __ATOMIC_RELAXED);

	while (before > 0 && !__atomic_compare_exchange_n(&left, &before, before < AT_A_TIME ? 0 : before - AT_A_TIME, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	return before < AT_A_TIME ? (int)before : AT_A_TIME;
}

static void *run(void *argument)
{
	struct fuzzer *f = argument;

	for (int n; (n = take()) > 0;)
		while (n-- > 0)
			step(f, choose(&f->chance));
	return NULL;
}

static long resident(const char *line)
{
	char text[256];
	long kilobytes = 0;
	FILE *status = fopen("/proc/self/status", "r");

	while (status != NULL && fgets(text, sizeof text, status) != NULL)
		if (begins(text, line))
			kilobytes = strtol(text + strlen(line), NULL, 10);
	if (status != NULL)
		fclose(status);
	return kilobytes >> 10;
}

static void begin(void)
{
	char *failure;

	for (int i = 0; i < ENGINES; i++)
		CHECK(wf_open(config, strlen(config), &engines[i], &failure) == WF_OK, "%s", failure);
	for (int i = 0; i < CHANNELS; i++)
		CHECK(wf_channel_open(engines[i % ENGINES], &channels[i]) == WF_OK, "no channel");
}

static void fuzz(struct fuzzer *fuzzers)
{
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		fuzzers[i].chance.state = seed * THREADS + i;
		CHECK(pthread_create(&threads[i], NULL, run, &fuzzers[i]) == 0, "no thread");
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < THREADS; i++)
		for (unsigned what = 0; what < KINDS; what++)
			made[what] += fuzzers[i].made[what];
}

static void report(int to, double seconds, long before)
{
	unsigned long long all = 0;
	char text[2048];
	size_t n = 0;

	for (unsigned what = 0; what < KINDS; what++) {
		n += (size_t)snprintf(text + n, sizeof text - n, "%s %llu, ", names[what], made[what]);
		all += made[what];
	}
	n += (size_t)snprintf(text + n, sizeof text - n,
			      "requests taken %llu, replies drained %llu, operations that succeeded %llu\n"
			      "%llu calls, 0 crashes, seed %llu, %.0f s, %.0f calls/s, resident %ld MiB at first, %ld MiB at the end, %ld MiB at most\n",
			      accepted, drained, answered, all, seed, seconds, (double)all / seconds, before, resident("VmRSS:"), resident("VmHWM:"));
	if (write(to, text, n) < 0)
		abort();
}

int main(int argc, char **argv)
{
	struct fuzzer *fuzzers = calloc(THREADS, sizeof *fuzzers);
	struct timespec from, to;
	int out = dup(1), nowhere = open("/dev/null", O_WRONLY); /* the command line writes */
	long before;
	uint64_t keeper;
	char *failure;

	if (argc != 4 || fuzzers == NULL || dup2(nowhere, 1) < 0)
		return 2;
	config = argv[1];
	left = calls = strtoull(argv[2], NULL, 10);
	seed = strtoull(argv[3], NULL, 10);
	CHECK(wf_open(config, strlen(config), &keeper, &failure) == WF_OK, "%s", failure); /* so that most do not connect anew */
	begin();
	before = resident("VmRSS:");
	clock_gettime(CLOCK_MONOTONIC, &from);
	fuzz(fuzzers);
	clock_gettime(CLOCK_MONOTONIC, &to);
	for (int i = 0; i < ENGINES; i++)
		known(CLOSE, wf_close(engines[i], 0));
	report(out, (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9, before);
	free(fuzzers);
	known(CLOSE, wf_close(keeper, 1000));
	return 0;
}
