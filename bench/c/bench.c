/* The workloads. What this program is, bench.h says. */
#define _POSIX_C_SOURCE 200809L

#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static double seconds = 2;
static const char *only = "";

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
	put("{\"queues\":%s,\"concurrency\":%d,\"language\":\"c\",\"early\":true}", queues, slots < 1000 ? slots : 1000);
	finish();
	settle();
	worker.queue = queue;
	worker.slots = slots;
	worker.steps = steps;
	work();
	submit();
}

static void stop_worker(void)
{
	while (strcmp(worker.queue, "batch") != 0 && in_flight > worker.claiming)
		pump(100); /* what waits for a result still needs the worker */
	begin(WF_OP_STOP_WORKER, OTHER);
	put("{\"worker_id\":%s,\"drain\":true}", worker.id);
	finish();
	worker.draining = 1;
	settle();
	while (worker.held > 0 || in_flight > 0)
		pump(100);
	begin(WF_OP_STOP_WORKER, OTHER);
	put("{\"worker_id\":%s}", worker.id);
	finish();
	worker.queue = NULL;
	settle();
}

/* Ends a line, and waits until the meters have been read. */
static void emitted(void)
{
	int c;

	fflush(stdout);
	if (getenv("BENCH_WAITS") == NULL)
		return;
	while ((c = getchar()) != '\n' && c != EOF)
		;
}

static double start(const char *name)
{
	load.name = name;
	load.done = 0;
	printf("{\"begin\": \"%s\"}\n", name);
	emitted();
	load.end = now() + seconds;
	return now();
}

static void report(const char *name, double rate, long operations)
{
	printf("{\"workload\": \"%s\", \"value\": %f, \"unit\": \"/s\", \"operations\": %ld}\n", name, rate, operations);
	emitted();
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
		start_worker("[\"workflows\"]", queue, n > IN_FLIGHT ? n : IN_FLIGHT, steps);
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
	start("drain");
	start_worker("[\"batch\"]", "batch", HELD, 0);
	last = started = now();
	load.end = started + seconds;
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

/* Answers milliseconds. */
static double quantile(const double *sorted, int n, int percent)
{
	return n > 0 ? sorted[(percent * (long)n + 99) / 100 - 1] * 1000 : 0;
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
	       quantile(took, n, 50), quantile(took, n, 99), n);
	emitted();
}

/* Keeps workflows in flight, and tells what came of it at the end of each window. */
static void sustained(void)
{
	static double took[SAMPLES];
	double window = getenv("BENCH_WINDOW") != NULL ? atof(getenv("BENCH_WINDOW")) : 60, began;
	int i;

	load.create = "workflows", load.name = "sustained", load.awaits = 1, load.again = 1;
	load.took = took;
	start_worker("[\"workflows\"]", "workflows", IN_FLIGHT, 0);
	began = now();
	load.end = began + seconds;
	for (i = 0; i < IN_FLIGHT; i++)
		create();
	for (i = 1; i * window <= seconds + 0.001; i++) {
		while (now() < began + i * window)
			pump(100);
		qsort(took, (size_t)load.took_n, sizeof *took, order);
		printf("{\"window\": %d, \"until\": %f, \"value\": %f, \"p50\": %f, \"p99\": %f}\n", i, i * window,
		       load.took_n / window, quantile(took, load.took_n, 50), quantile(took, load.took_n, 99));
		fflush(stdout);
		load.took_n = 0;
	}
	stop_worker();
}

static const char *both = "[\"pickup\",\"workflows\"]";

/* Has a worker that has nothing to do. */
static void idle(void)
{
	double until;

	load.name = "idle";
	start_worker(both, "both", IN_FLIGHT, 0);
	for (until = now() + 2; now() < until;) /* what a start brings is over */
		pump(100);
	for (until = start("idle") + seconds; now() < until;)
		pump(1000);
	puts("{\"workload\": \"idle\"}");
	emitted();
	stop_worker();
}

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

static void all(char *program)
{
	rate("enqueue_single", "single", CALLERS, 0, 0);
	rate("enqueue_batch", "batch", WRITERS, 0, 0);
	drain();
	rate("workflow_1", "workflows", 1, 1, 0);
	rate("workflow_100", "workflows", IN_FLIGHT, 1, 0);
	rate("workflow_1000", "workflows", 1000, 1, 0);
	rate("steps_100", "workflows", IN_FLIGHT, 1, STEPS);
	if (wanted("pickup") || wanted("result")) {
		start_worker(both, "both", IN_FLIGHT, 0);
		latency("pickup", 1, 0);
		latency("result", 0, 0);
		stop_worker();
	}
	apart(program);
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
	if (strcmp(only, "idle") == 0)
		idle();
	else if (strcmp(only, "sustained") == 0)
		sustained();
	else
		all(argv[0]);
	return wf_close(engine, 1000) == WF_OK ? 0 : 1;
}
