package engine

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/internal/pgtest"
	"github.com/libworkflows/libworkflows/core/model"
)

// O17
func TestO17EverythingWorksThroughAPooler(t *testing.T) {
	t.Parallel()
	p := pgtest.PgBouncer(t)
	for listen, where := range map[string]string{"off": "off", "directly": p.Direct(), "not said": ""} {
		t.Run("listening "+listen, func(t *testing.T) {
			t.Parallel()
			w := openWorld(t, p.URL(), p.Direct(), where, p.Schema())
			w.reportsItsWay(where)
			w.livesThroughAWorkflow()
			w.keepsItsLease()
			w.stopsWhatIsCancelled()
		})
	}
}

// reportsItsWay: stats tell what doctor shows.
func (w *world) reportsItsWay(listen string) {
	w.Helper()
	stats, err := w.Stats(w.ctx, model.StatsRequest{TryListen: true})
	if err != nil || !stats.Pooled {
		w.Errorf("pooled: %v, %v", stats.Pooled, err)
	}
	known := map[string]string{"off": "off", w.direct: "on"}[listen]
	if known != "" && stats.Listening != known || known == "" && len(stats.Listening) < len("off")+1 {
		w.Errorf("listening with %q: %q", listen, stats.Listening)
	}
}

// livesThroughAWorkflow has an activity, a timer, a signal, a child and a result.
func (w *world) livesThroughAWorkflow() {
	w.Helper()
	worker := w.worker(w.Engine, func(r *model.StartWorkerRequest) { r.HeartbeatTimeoutMS = 30_000 })
	id := w.createOne(model.Workflow, "flow")
	result := make(chan model.Execution, 1)
	go func() { result <- w.waitFor(id) }()
	c := w.claimOne(w.Engine, worker)
	w.signal(id, "s", `"hello"`)
	commands := []model.Command{schedule(1, model.Activity, "a"), timer(2, 50), schedule(3, model.Workflow, "child")}
	for suspended := false; !hasAll(c.Events, model.EventActivityCompleted, model.EventTimerFired, model.EventChildCompleted, model.EventSignalReceived); {
		if !suspended {
			a := w.advance(w.Engine, c, model.Advance{Position: c.Position, Then: model.ThenSuspend, Commands: commands})
			c.Events, c.Position, commands = append(c.Events, a.Events...), a.Position, nil
			suspended = a.Status == model.Suspended
		} else if next := w.claimOne(w.Engine, worker); next.ID == id {
			c, suspended = next, false
		} else {
			w.complete(w.Engine, next, `1`)
		}
	}
	w.complete(w.Engine, c, `"done"`)
	if done := <-result; done.Status != model.Completed || string(done.Result) != `"done"` {
		w.Errorf("it ended as %s", asText(done))
	}
}

func hasAll(events []model.Event, wanted ...model.EventType) bool {
	have := types(events)
	return !slices.ContainsFunc(wanted, func(t model.EventType) bool { return !slices.Contains(have, t) })
}

// keepsItsLease: heartbeats go through the pooler, and so does what they bring.
func (w *world) keepsItsLease() {
	w.Helper()
	worker := w.worker(w.Engine, func(r *model.StartWorkerRequest) { r.HeartbeatTimeoutMS, r.HeartbeatIntervalMS = 2000, 100 })
	w.createOne(model.Job, "long")
	c := w.claimOne(w.Engine, worker)
	var first, now time.Time
	w.eventually("beats for longer than the timeout", func() bool {
		reply, err := w.Heartbeat(w.ctx, model.HeartbeatRequest{WorkerID: worker, Items: []model.Progress{{ID: c.ID, Lease: c.Lease, Progress: model.Payload(`1`)}}})
		only(w, reply.Results, err)
		stats, err := w.Stats(w.ctx, model.StatsRequest{})
		if err != nil {
			w.Fatal(err)
		}
		i := slices.IndexFunc(stats.Workers, func(x model.Worker) bool { return x.ID == worker })
		if now = stats.Workers[i].HeartbeatAt; first.IsZero() {
			first = now
		}
		return now.Sub(first) > 2500*time.Millisecond
	})
	w.complete(w.Engine, c, `1`)
}

func (w *world) stopsWhatIsCancelled() {
	w.Helper()
	worker := w.worker(w.Engine, func(r *model.StartWorkerRequest) { r.HeartbeatTimeoutMS = 30_000 })
	parent := w.createOne(model.Workflow, "parent")
	c := w.claimOne(w.Engine, worker)
	w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep, Commands: []model.Command{schedule(1, model.Activity, "a")}})
	activity := w.claimOne(w.Engine, worker)
	w.cancelOne(parent)
	w.eventually("the holder's notice", func() bool {
		reply, err := w.PullEvents(w.ctx, model.PullEventsRequest{WorkerID: worker, WaitMS: 100})
		if err != nil {
			w.Fatal(err)
		}
		return slices.ContainsFunc(reply.Notices, func(n model.Notice) bool { return n.ID == parent && n.CancelRequested })
	})
	w.complete(w.Engine, activity, `1`)
	w.eventually("the end of the parent", func() bool {
		a := w.advance(w.Engine, c, model.Advance{Position: w.get(parent).HistoryLength, Then: model.ThenFail, Error: model.Payload(`{"type":"CancelledError"}`)})
		return a.Status == model.Cancelled
	})
}

// O17: what a plan is like does not depend on who planned it, nor when.
func TestO17NoStatementThroughAPoolerReadsAWholeTable(t *testing.T) {
	t.Parallel()
	p := pgtest.PgBouncer(t)
	openWorld(t, p.URL(), p.Direct(), "off", p.Schema()).worksWithoutScans()
}

// O17, T15: sessions are shared for certain where twenty engines have three. A
// restart of PostgreSQL, and one of the pooler, lose and double nothing.
func TestO17TwentyEnginesShareThreeSessionsOverRestarts(t *testing.T) {
	t.Parallel()
	const engines, jobsEach = 20, 30
	p, server := pgtest.PgBouncerWithServer(t)
	w := openWorld(t, p.URL(), p.Direct(), "off", "workflows")
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	w.ctx = ctx
	crowd := crowd{world: w, want: engines * jobsEach}
	for i := range engines {
		e := w.another(model.Config{PoolSize: 2, ListenURL: []string{"off", p.Direct()}[i%2]})
		worker := w.worker(e, func(r *model.StartWorkerRequest) { r.HeartbeatTimeoutMS, r.HeartbeatIntervalMS = 60_000, 500 })
		crowd.all.Go(func() { crowd.create(e, jobsEach) })
		crowd.all.Go(func() { crowd.work(e, worker) })
	}
	crowd.reaches(engines * jobsEach / 4)
	if n := strings.Count(p.Log(), "new connection to server"); n == 0 || n > 3 {
		t.Errorf("the pooler has %d sessions to lend, and 3 are allowed", n)
	}
	server.Restart(pgtest.Immediate)
	crowd.reaches(engines * jobsEach / 2)
	p.Stop()
	p.Start()
	crowd.all.Wait()

	for what, condition := range map[string]string{"created": "true", "completed": "status = 'completed'", "without a failure or a crash": "failures = 0 AND crashes = 0"} {
		if n := w.count("SELECT count(*) FROM workflows.executions WHERE " + condition); n != engines*jobsEach {
			t.Errorf("%d executions of %d are %s", n, engines*jobsEach, what)
		}
	}
}

// crowd is many engines at work on the same jobs.
type crowd struct {
	*world
	want int
	done atomic.Int64
	ran  sync.Map
	all  sync.WaitGroup
}

func (c *crowd) create(e *Engine, n int) {
	for range n {
		if _, err := e.CreateExecution(c.ctx, model.CreateExecutionRequest{Items: []model.NewExecution{{Kind: model.Job, Name: "j"}}}); err != nil {
			c.Errorf("a create failed: %v", err)
		}
	}
}

func (c *crowd) work(e *Engine, worker uuid.UUID) {
	for c.done.Load() < int64(c.want) && c.ctx.Err() == nil {
		reply, err := e.Claim(c.ctx, model.ClaimRequest{WorkerID: worker, N: 5, WaitMS: 500})
		if err != nil {
			if !fault.From(err).Retryable {
				c.Errorf("a claim failed: %v", err)
				return
			}
			time.Sleep(50 * time.Millisecond) // an outage answers at once
		}
		for _, x := range reply.Executions {
			if _, twice := c.ran.LoadOrStore(x.ID, true); twice {
				c.Errorf("%s ran twice", x.ID)
			}
			outcome, err := e.CompleteExecution(c.ctx, model.CompleteExecutionRequest{Items: []model.Completion{{ID: x.ID, Lease: x.Lease}}})
			if err != nil || outcome.Results[0].Error != nil {
				c.Errorf("a completion failed: %v %s", err, asText(outcome))
			}
			c.done.Add(1)
		}
	}
}

func (c *crowd) reaches(n int) {
	c.Helper()
	for c.done.Load() < int64(n) {
		if c.ctx.Err() != nil {
			c.Fatalf("%d of %d jobs were done", c.done.Load(), c.want)
		}
		time.Sleep(5 * time.Millisecond) // polling, bounded by ctx
	}
}
