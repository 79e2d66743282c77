/*
 * The C interface as a contestant: what the library does without a language.
 *
 * One thread and one channel, which is how an event loop would use it. Client and
 * worker share the process; "apart" the worker is this program again, as `c worker`.
 * Replies are picked apart with strstr and friends, because they are known here.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>
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
	SAMPLES = 1 << 20
};

/* What the worker holds. */
struct held {
	char id[40];
	char lease[96];
	int position;
	int step;
	double sent;
};

enum tag { NONE, CREATED, CLAIMED, COMPLETED, RECORDED, OTHER };

/* A call in flight, by the low bits of its token. */
struct call {
	enum tag tag;
	int n;
	struct held *items;
	double at; /* when it was created that is awaited */
};

extern uint64_t engine, channel;
extern struct call calls[CALLS];
extern int in_flight;

extern struct worker {
	char id[64];
	const char *queue;
	int slots, steps, held, claiming, draining;
	struct held ready[HELD];
	int ready_n;
} worker;

/* What the running workload does when a create or a wait is answered. */
extern struct load {
	const char *name, *create;
	int again, awaits;
	double end;
	long done;
	double picked_up;
	int answered;
	double *took; /* if not NULL: how long each took that was awaited */
	int took_n;
} load;

/* requests.c */
void die(const char *what, const char *why);
double now(void);
void nap(double duration);
void put(const char *format, ...);
struct call *begin(int operation, enum tag tag);
void finish(void); /* the request that was begun */
void submit(void); /* hands in all that were finished */

/* worker.c */
void create(void);
void work(void);
void pump(int timeout_ms);
void settle(void);

#endif
