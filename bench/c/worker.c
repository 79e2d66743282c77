/* Creates and works: what to ask next, from what was answered. */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { WAIT_MS = 30000 };

struct worker worker;
struct load load;

void create(void)
{
	if (load.create == NULL) { /* a job that says when it was sent */
		begin(WF_OP_CREATE_EXECUTION, CREATED);
		put("{\"items\":[{\"kind\":\"job\",\"name\":\"timed\",\"queue\":\"pickup\",\"args\":[%.9f]}],\"wait_ms\":%d}",
		    now(), load.awaits ? WAIT_MS : 0);
	} else {
		int i, n = strcmp(load.create, "batch") == 0 ? BATCH : 1;
		int job = strcmp(load.create, "workflows") != 0;

		begin(WF_OP_CREATE_EXECUTION, CREATED)->n = n;
		put("{\"items\":[");
		for (i = 0; i < n; i++)
			put("%s{\"kind\":\"%s\",\"name\":\"noop\",\"queue\":\"%s\"}", i > 0 ? "," : "", job ? "job" : "workflow", load.create);
		put("],\"wait_ms\":%d}", job ? 0 : WAIT_MS);
	}
	finish();
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
	int many = worker.slots > CLAIM; /* then a second claim waits until the first is answered */
	int free_slots = worker.slots - worker.held - worker.claiming * CLAIM;

	if (worker.claiming > many || worker.draining || free_slots <= 0 || (many && free_slots < CLAIM))
		return;
	worker.claiming++;
	begin(WF_OP_CLAIM, CLAIMED);
	put("{\"worker_id\":%s,\"n\":%d,\"wait_ms\":10000}", worker.id, free_slots < CLAIM ? free_slots : CLAIM);
	finish();
}

/* Claims anew, and writes what has become of what is held: one request for each kind of write. */
void work(void)
{
	int i, round;

	claim(); /* first: the database has it while the rest is put together */
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
			finish();
		}
	}
	worker.ready_n = 0;
}

static void claimed(char *reply)
{
	char *p = after(reply, "\"executions\":["), *stop, kept;
	double at = now();

	worker.claiming--;
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
	if (!load.awaits) {
		load.done += call->n;
	} else {
		char *result;

		if (strstr(reply, "\"outcome\":{\"status\":\"completed\"") == NULL)
			die("create_execution", reply);
		result = after(reply, "\"result\":");
		if (*result != 'n') /* null */
			load.picked_up = atof(result);
		if (load.took != NULL && load.took_n < SAMPLES)
			load.took[load.took_n++] = now() - call->at;
		load.done++;
	}
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
void pump(int timeout_ms)
{
	char *text, *p, *stop;
	size_t n;
	int left = 1;

	submit();
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
		submit();
	}
}

void settle(void)
{
	while (in_flight > 0)
		pump(100);
}
