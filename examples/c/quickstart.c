/*
 * Enqueues a job, claims it as a worker would, runs it, and completes it.
 *
 *     ./quickstart postgres:///app        or with WORKFLOWS_DATABASE_URL
 *
 * The replies are picked apart with strstr to keep to the point; use a JSON library.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <workflows.h>

typedef int operation(uint64_t engine, const char *request, size_t n, char **reply, size_t *reply_n);

static void die(const char *what, int code, const char *why)
{
	fprintf(stderr, "%s: %d %s\n", what, code, why != NULL ? why : "");
	exit(1);
}

/* Answers a reply that wf_free takes back. */
static char *call(const char *name, operation *function, uint64_t engine, const char *request)
{
	char *reply;
	size_t n;
	int code = function(engine, request, strlen(request), &reply, &n);

	/* With several items in a request each has a verdict of its own inside of {"ok": ...}. */
	if (code != WF_OK || strstr(reply, "\"error\":{") != NULL)
		die(name, code, reply);
	printf("%-18s %s\n", name, reply);
	return reply;
}

/* Copies what follows a key up to and with its last character, as in "lease":{...}. */
static void pick(const char *reply, const char *key, char last, char *value, size_t size)
{
	const char *start = strstr(reply, key);
	const char *end = start == NULL ? NULL : strchr(start + strlen(key) + 1, last);

	if (end == NULL || (size_t)(end - start) >= size)
		die(key, 0, reply);
	start += strlen(key);
	memcpy(value, start, (size_t)(end - start) + 1);
	value[end - start + 1] = '\0';
}

static uint64_t open_engine(const char *url)
{
	char config[1024], *error;
	uint64_t engine;
	int code;

	if (url == NULL || strpbrk(url, "\"\\") != NULL || strlen(url) > 900)
		die("usage", 0, "quickstart DATABASE_URL");
	sprintf(config, "{\"database_url\": \"%s\", \"migrate\": true}", url);
	code = wf_open(config, strlen(config), &engine, &error);
	if (code != WF_OK)
		die("wf_open", code, error);
	return engine;
}

static void enqueue(uint64_t engine)
{
	wf_free(call("create_execution", wf_create_execution, engine,
		     "{\"items\": [{\"kind\": \"job\", \"name\": \"greet\", \"queue\": \"c-quickstart\","
		     " \"args\": [\"world\"]}]}"));
}

/* Takes one job, runs it, and hands in its result. The lease proves that it is ours. */
static void work(uint64_t engine, const char *worker, char *id, size_t id_size)
{
	char request[512], lease[128], *claimed;

	sprintf(request, "{\"worker_id\": %s, \"n\": 1, \"wait_ms\": 5000}", worker);
	claimed = call("claim", wf_claim, engine, request);
	pick(claimed, "\"id\":", '"', id, id_size);
	pick(claimed, "\"lease\":", '}', lease, sizeof lease);
	wf_free(claimed);

	sprintf(request, "{\"items\": [{\"id\": %s, \"lease\": %s, \"result\": \"hello, world\"}]}", id, lease);
	wf_free(call("complete_execution", wf_complete_execution, engine, request));
}

int main(int argc, char **argv)
{
	uint64_t engine = open_engine(argc > 1 ? argv[1] : getenv("WORKFLOWS_DATABASE_URL"));
	char worker[64], id[64], request[128], *started;

	started = call("start_worker", wf_start_worker, engine, "{\"queues\": [\"c-quickstart\"], \"language\": \"c\"}");
	pick(started, "\"worker_id\":", '"', worker, sizeof worker);
	wf_free(started);

	enqueue(engine);
	work(engine, worker, id, sizeof id);
	sprintf(request, "{\"id\": %s}", id);
	wf_free(call("get_execution", wf_get_execution, engine, request));

	return wf_close(engine, 1000) == WF_OK ? 0 : 1;
}
