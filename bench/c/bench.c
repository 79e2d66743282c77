/*
 * The C interface as a contestant: what the library does without a language.
 *
 * One thread and one channel, which is how an event loop would use it. Client and
 * worker share the process; "apart" the worker is this program again, as `c worker`.
 * Replies are picked apart with strstr and friends, because they are known here.
 */
#define _POSIX_C_SOURCE 200809L

#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <workflows.h>

enum {
	CALLERS = 200,
	BATCH = 500,
	WRITERS = 4,
	CLAIM = 500,
	HELD = 2000, /* by the worker that drains */
	IN_FLIGHT = 100,
	STEPS = 10,
	CALLS = 1 << 12, /* in flight, at most */
	SAMPLES = 1 << 16
};

/* What the worker holds. */
struct held {
	char id[40];
	char lease[96];
	int position;
	int step;
	double sent;
};

enum tag { NONE, CREATED, AWAITED, CLAIMED, COMPLETED, RECORDED, OTHER };

/* A call in flight, by the low bits of its token. */
struct call {
	enum tag tag;
	int n;
	struct held *items;
};

static uint64_t engine, channel;
static double seconds = 2;
static const char *only = "";

static struct call calls[CALLS];
static uint64_t next_token = 1;
static int in_flight;

static char *out; /* packed requests that were not handed in yet */
static size_t out_n, out_size, frame;

static struct {
	char id[64];
	const char *queue;
	int slots, steps, held, claiming, draining;
	struct held ready[HELD];
	int ready_n;
} worker;

/* What the running workload does when a create or a wait is answered. */
static struct {
	const char *name, *create;
	int again, awaits;
	double end;
	long done;
	double picked_up;
	int answered;
} load;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench: %s: %s\n", what, why != NULL ? why : "");
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void nap(double duration)
{
	struct timespec t = {(time_t)duration, (long)((duration - (double)(time_t)duration) * 1e9)};

	nanosleep(&t, NULL);
}

/* --- requests --- */

static void reserve(size_t n)
{
	if (out_n + n <= out_size)
		return;
	out_size = 2 * (out_n + n);
	out = realloc(out, out_size);
	if (out == NULL)
		die("memory", NULL);
}

static void put(const char *format, ...)
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

static struct call *begin(int operation, enum tag tag)
{
	struct call *call;

	while (calls[next_token % CALLS].tag != NONE)
		next_token++;
	call = &calls[next_token % CALLS];
	call->tag = tag;
	call->n = 0;
	call->items = NULL;
	in_flight++;
	frame = out_n;
	put_number(next_token++, 8);
	put_number(0, 4);
	put_number((uint64_t)operation, 2);
	put_number(0, 2);
	return call;
}

static void end(void)
{
	size_t n = out_n - frame - 16, i;

	for (i = 0; i < 4; i++)
		out[frame + 8 + i] = (char)(n >> (8 * i) & 0xff);
}

static void flush(void)
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

static void create(void)
{
	if (load.create == NULL) { /* a job that says when it was sent */
		begin(WF_OP_CREATE_EXECUTION, CREATED);
		put("{\"items\":[{\"kind\":\"job\",\"name\":\"timed\",\"queue\":\"pickup\",\"awaited\":%s,\"args\":[%.9f]}]}",
		    load.awaits ? "true" : "false", now());
	} else {
		int i, n = strcmp(load.create, "batch") == 0 ? BATCH : 1;
		int job = strcmp(load.create, "workflows") != 0;

		begin(WF_OP_CREATE_EXECUTION, CREATED)->n = n;
		put("{\"items\":[");
		for (i = 0; i < n; i++)
			put("%s{\"kind\":\"%s\",\"name\":\"noop\",\"queue\":\"%s\"%s}", i > 0 ? "," : "", job ? "job" : "workflow",
			    load.create, job ? "" : ",\"awaited\":true");
		put("]}");
	}
	end();
}

/* --- replies --- */

/* Answers the end of the JSON object or array that begins here. */
static char *end_of(char *p)
{
	int depth = 0, text = 0;

	for (; *p != '\0'; p++) {
		if (text) {
			if (*p == '\\')
				p++;
			else if (*p == '"')
				text = 0;
		} else if (*p == '"') {
			text = 1;
		} else if (*p == '{' || *p == '[') {
			depth++;
		} else if ((*p == '}' || *p == ']') && --depth == 0) {
			return p + 1;
		}
	}
	die("reply", "ends too early");
	return NULL;
}

static char *after(char *p, const char *key)
{
	char *found = strstr(p, key);

	if (found == NULL)
		die(key, p);
	return found + strlen(key);
}

static void copy(char *to, size_t size, const char *from, char last)
{
	const char *stop = strchr(from, last);

	if (stop == NULL || (size_t)(stop - from) + 2 > size)
		die("copy", from);
	memcpy(to, from, (size_t)(stop - from) + 1);
	to[stop - from + 1] = '\0';
}

static void claim(void)
{
	int free_slots = worker.slots - worker.held;

	if (worker.claiming || worker.draining || free_slots <= 0 || (worker.slots > CLAIM && free_slots < CLAIM))
		return;
	worker.claiming = 1;
	begin(WF_OP_CLAIM, CLAIMED);
	put("{\"worker_id\":%s,\"n\":%d,\"wait_ms\":10000}", worker.id, free_slots < CLAIM ? free_slots : CLAIM);
	end();
}

/* Claims anew, and writes what has become of what is held: one request for each kind of write. */
static void work(void)
{
	int i, round;

	for (round = 0; round < 2; round++) {
		struct call *call = NULL;

		for (i = 0; i < worker.ready_n; i++) {
			struct held *h = &worker.ready[i];

			if ((h->step < worker.steps) != (round == 0))
				continue;
			if (call == NULL) {
				call = round == 0 ? begin(WF_OP_RECORD_STEP, RECORDED) : begin(WF_OP_COMPLETE_EXECUTION, COMPLETED);
				call->items = malloc((size_t)worker.ready_n * sizeof *call->items);
				put("{\"items\":[");
			}
			put("%s{\"id\":%s,\"lease\":%s,\"position\":%d", call->n > 0 ? "," : "", h->id, h->lease, h->position);
			if (round == 0)
				put(",\"event\":{\"type\":\"step_completed\",\"sequence\":%d,\"name\":\"one\",\"payload\":1}}", h->step + 1);
			else if (h->sent > 0)
				put(",\"result\":%.9f}", load.picked_up);
			else
				put("}");
			call->items[call->n++] = *h;
		}
		if (call != NULL) {
			put("]}");
			end();
		}
	}
	worker.ready_n = 0;
	claim();
}

static void claimed(char *reply)
{
	char *p = after(reply, "\"executions\":["), *stop, kept;
	double at = now();

	worker.claiming = 0;
	worker.draining = strstr(reply, "\"draining\":true") != NULL;
	for (; *p == '{'; p = *stop == ',' ? stop + 1 : stop) {
		struct held *h = &worker.ready[worker.ready_n++];

		stop = end_of(p);
		kept = *stop, *stop = '\0';
		copy(h->id, sizeof h->id, after(p, "\"id\":") + 1, '"');
		memmove(h->id + 1, h->id, strlen(h->id) + 1), h->id[0] = '"';
		copy(h->lease, sizeof h->lease, after(p, "\"lease\":"), '}');
		h->position = atoi(after(p, "\"position\":"));
		h->step = 0;
		h->sent = strstr(p, "\"name\":\"timed\"") != NULL ? atof(after(p, "\"args\":[")) : 0;
		if (h->sent > 0)
			load.picked_up = at - h->sent;
		worker.held++;
		*stop = kept;
	}
}

static void recorded(struct call *call, char *reply)
{
	char *p = reply;
	int i;

	for (i = 0; i < call->n; i++) {
		struct held *h = &worker.ready[worker.ready_n++];

		*h = call->items[i];
		p = after(p, "\"status\":\"running\",\"position\":");
		h->position = atoi(p);
		h->step++;
	}
}

static void created(struct call *call, char *reply)
{
	char id[40];

	if (!load.awaits) {
		load.done += call->n;
		load.answered = 1;
		if (load.again && now() < load.end)
			create();
		return;
	}
	copy(id, sizeof id, after(reply, "\"id\":\""), '"');
	begin(WF_OP_WAIT_EXECUTION, AWAITED);
	put("{\"id\":\"%s,\"wait_ms\":30000}", id);
	end();
}

static void awaited(char *reply)
{
	if (strstr(reply, "\"status\":\"completed\"") == NULL)
		die("wait_execution", reply);
	if (strstr(reply, "\"name\":\"timed\"") != NULL)
		load.picked_up = atof(after(reply, "\"result\":"));
	load.done++;
	load.answered = 1;
	if (load.again && now() < load.end)
		create();
}

static void completion(uint64_t token, char *reply)
{
	struct call call = calls[token % CALLS];

	calls[token % CALLS].tag = NONE;
	in_flight--;
	if (strstr(reply, "\"error\":{") != NULL)
		die("reply", reply);
	switch (call.tag) {
	case CREATED: created(&call, reply); break;
	case AWAITED: awaited(reply); break;
	case CLAIMED: claimed(reply); break;
	case RECORDED: recorded(&call, reply); break;
	case COMPLETED:
		worker.held -= call.n;
		if (strcmp(load.name, "drain") == 0)
			load.done += call.n;
		break;
	default:
		if (strstr(reply, "\"worker_id\":") != NULL)
			copy(worker.id + 1, sizeof worker.id - 1, after(reply, "\"worker_id\":\""), '"'), worker.id[0] = '"';
	}
	free(call.items);
}

/* Takes what there is, waiting for it if need be, and does what follows from it. */
static void pump(int timeout_ms)
{
	char *text, *p, *stop;
	size_t n;
	int left = 1;

	flush();
	if (wf_wait(channel, timeout_ms) == WF_TIMEOUT)
		return;
	while (left > 0) {
		left = wf_drain(channel, 128, &text, &n);
		if (text == NULL)
			break;
		for (p = text + 1; *p == '{'; p = stop + (*stop == ',')) {
			uint64_t token = strtoull(after(p, "\"token\":"), NULL, 10);
			char *reply = after(p, "\"reply\":"), *reply_end = end_of(reply);

			stop = reply_end + 1;
			*reply_end = '\0';
			completion(token, reply);
		}
		wf_free(text);
		if (worker.queue != NULL)
			work();
		flush();
	}
}

static void settle(void)
{
	while (in_flight > 0)
		pump(100);
}

/* --- workloads --- */

static int wanted(const char *name)
{
	const char *at = strstr(only, name);
	size_t n = strlen(name);

	for (; at != NULL; at = strstr(at + 1, name))
		if ((at == only || at[-1] == ',') && (at[n] == ',' || at[n] == '\0'))
			return 1;
	return *only == '\0';
}

static void start_worker(const char *queues, const char *queue, int slots, int steps)
{
	memset(&worker, 0, sizeof worker);
	begin(WF_OP_START_WORKER, OTHER);
	put("{\"queues\":%s,\"concurrency\":%d,\"language\":\"c\"}", queues, slots < 1000 ? slots : 1000);
	end();
	settle();
	worker.queue = queue;
	worker.slots = slots;
	worker.steps = steps;
	work();
	flush();
}

static void stop_worker(void)
{
	while (strcmp(worker.queue, "batch") != 0 && in_flight > worker.claiming)
		pump(100); /* what waits for a result still needs the worker */
	begin(WF_OP_STOP_WORKER, OTHER);
	put("{\"worker_id\":%s,\"drain\":true}", worker.id);
	end();
	worker.draining = 1;
	settle();
	while (worker.held > 0 || in_flight > 0)
		pump(100);
	begin(WF_OP_STOP_WORKER, OTHER);
	put("{\"worker_id\":%s}", worker.id);
	end();
	worker.queue = NULL;
	settle();
}

static double start(const char *name)
{
	load.name = name;
	load.done = 0;
	printf("{\"begin\": \"%s\"}\n", name);
	fflush(stdout);
	load.end = now() + seconds;
	return now();
}

static void report(const char *name, double rate, long operations)
{
	printf("{\"workload\": \"%s\", \"value\": %f, \"unit\": \"/s\", \"operations\": %ld}\n", name, rate, operations);
	fflush(stdout);
}

/* Keeps n creates, or n starts that are awaited, in flight. */
static void rate(const char *name, const char *queue, int n, int awaits, int steps)
{
	double started;
	int i;

	if (!wanted(name))
		return;
	load.create = queue;
	load.awaits = awaits;
	load.again = 0;
	load.name = name;
	if (awaits)
		start_worker("[\"workflows\"]", queue, IN_FLIGHT, steps);
	for (load.answered = 0, create(); !load.answered;)
		pump(100);
	started = start(name);
	load.again = 1;
	for (i = 0; i < n; i++)
		create();
	while (now() < load.end)
		pump(100);
	report(name, (double)(load.done * (steps > 0 ? steps : 1)) / (now() - started), load.done * (steps > 0 ? steps : 1));
	load.again = 0;
	if (awaits)
		stop_worker();
	settle();
}

static void drain(void)
{
	double started, last;
	long before = 0;

	if (!wanted("drain"))
		return;
	if (!wanted("enqueue_batch")) {
		load.create = "batch", load.awaits = 0, load.name = "", load.again = 1, load.end = now() + seconds;
		create();
		settle();
	}
	load.again = 0;
	start_worker("[\"batch\"]", "batch", HELD, 0);
	last = started = start("drain");
	while (now() < load.end && (load.done == 0 || now() < last + 0.2)) {
		pump(50);
		if (load.done > before)
			last = now(), before = load.done;
	}
	report("drain", load.done > 0 ? (double)load.done / (last - started) : 0, load.done);
	stop_worker();
}

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double once(int pickup)
{
	double started = now();

	load.answered = 0;
	load.picked_up = 0;
	create();
	while (!load.answered || (pickup && load.picked_up == 0))
		pump(100);
	return pickup ? load.picked_up : now() - started;
}

/* Repeats an operation on an otherwise idle system. */
static void latency(const char *name, int pickup, int apart)
{
	static double took[SAMPLES];
	int i, n = 0;

	if (!wanted(name))
		return;
	load.create = pickup ? NULL : "workflows";
	load.awaits = apart || !pickup;
	load.name = name;
	load.again = 0;
	for (i = 0; i < 10; i++)
		once(pickup);
	start(name);
	while (now() < load.end && n < SAMPLES) {
		took[n++] = once(pickup);
		nap(0.005);
	}
	qsort(took, (size_t)n, sizeof *took, order);
	printf("{\"workload\": \"%s\", \"value\": %f, \"p99\": %f, \"unit\": \"ms\", \"operations\": %d}\n", name,
	       took[(50 * n + 99) / 100 - 1] * 1000, took[(99 * n + 99) / 100 - 1] * 1000, n);
	fflush(stdout);
}

static const char *both = "[\"pickup\",\"workflows\"]";

/* Serves until standard input ends. */
static void serve(void)
{
	struct pollfd input = {STDIN_FILENO, POLLIN, 0};

	load.name = "serve";
	start_worker(both, "both", IN_FLIGHT, 0);
	puts("ready");
	fflush(stdout);
	while (poll(&input, 1, 0) == 0)
		pump(100);
	stop_worker();
}

static void apart(char *program)
{
	char *arguments[] = {program, (char *)"worker", NULL}, line[16];
	extern char **environ;
	posix_spawn_file_actions_t actions;
	int in[2], from[2];
	pid_t pid;

	if (!wanted("pickup_apart") && !wanted("result_apart"))
		return;
	if (pipe(in) != 0 || pipe(from) != 0)
		die("pipe", NULL);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, from[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, in[1]);
	posix_spawn_file_actions_addclose(&actions, from[0]);
	if (posix_spawn(&pid, "/proc/self/exe", &actions, NULL, arguments, environ) != 0)
		die("posix_spawn", NULL);
	close(in[0]);
	close(from[1]);
	if (read(from[0], line, sizeof line) <= 0)
		die("worker", "did not start");
	latency("pickup_apart", 1, 1);
	latency("result_apart", 0, 1);
	close(in[1]);
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	char config[1024], *error;

	if (getenv("BENCH_DATABASE_URL") == NULL)
		die("BENCH_DATABASE_URL", "is not set");
	if (getenv("BENCH_SECONDS") != NULL)
		seconds = atof(getenv("BENCH_SECONDS"));
	if (getenv("BENCH_WORKLOADS") != NULL)
		only = getenv("BENCH_WORKLOADS");
	snprintf(config, sizeof config, "{\"database_url\": \"%s\", \"migrate\": true}", getenv("BENCH_DATABASE_URL"));
	if (wf_open(config, strlen(config), &engine, &error) != WF_OK)
		die("wf_open", error);
	if (wf_channel_open(engine, &channel) != WF_OK)
		die("wf_channel_open", NULL);
	if (argc > 1) {
		serve();
		return wf_close(engine, 1000) == WF_OK ? 0 : 1;
	}
	rate("enqueue_single", "single", CALLERS, 0, 0);
	rate("enqueue_batch", "batch", WRITERS, 0, 0);
	drain();
	rate("workflow_1", "workflows", 1, 1, 0);
	rate("workflow_100", "workflows", IN_FLIGHT, 1, 0);
	rate("steps_100", "workflows", IN_FLIGHT, 1, STEPS);
	if (wanted("pickup") || wanted("result")) {
		start_worker(both, "both", IN_FLIGHT, 0);
		latency("pickup", 1, 0);
		latency("result", 0, 0);
		stop_worker();
	}
	apart(argv[0]);
	return wf_close(engine, 1000) == WF_OK ? 0 : 1;
}
