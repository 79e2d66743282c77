package engine

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

func takesEarly(r *model.StartWorkerRequest) { r.Early = true }

// earlyWorker answers one that takes workflows before their commit, on an engine that
// knows the time.
func (w *world) earlyWorker(mend ...func(*model.StartWorkerRequest)) uuid.UUID {
	w.Helper()
	rarely := func(r *model.StartWorkerRequest) { r.PollIntervalMS = 10_000 } // a look under way has every free slot
	worker := w.worker(w.Engine, append([]func(*model.StartWorkerRequest){rarely, takesEarly}, mend...)...)
	w.eventually("the database's time", func() bool {
		_, known := w.clock.now()
		return known
	})
	return worker
}

// creating creates in the background.
func (w *world) creating(n model.NewExecution) <-chan error {
	w.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := w.CreateExecution(w.ctx, model.CreateExecutionRequest{Items: []model.NewExecution{n}})
		ended <- err
	}()
	return ended
}

func (w *world) takenEarly(got <-chan []model.Claimed) model.Claimed {
	w.Helper()
	claimed := <-got
	if len(claimed) != 1 || !claimed[0].Early {
		w.Fatalf("claimed %s", asText(claimed))
	}
	return claimed[0]
}

// inserting keeps whoever inserts an execution with this id waiting.
func (w *world) inserting(id uuid.UUID) (undo func()) {
	w.Helper()
	conn, err := pgx.Connect(w.ctx, w.direct)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = conn.Close(context.Background()) })
	const sql = `BEGIN; INSERT INTO workflows.executions (id, root_id, kind, name, queue, status, priority, run_at, created_at)
		SELECT id, id, 'job', 'other', 'other', 'pending', 5, now(), now() FROM CAST('%s' AS uuid) AS id`
	if _, err := conn.Exec(w.ctx, w.inSchema(fmt.Sprintf(sql, id))); err != nil {
		w.Fatal(err)
	}
	return func() {
		if _, err := conn.Exec(w.ctx, "ROLLBACK"); err != nil {
			w.Error(err)
		}
	}
}

func TestAWorkflowBeginsWhileItsStartIsOnItsWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.earlyWorker()
	id := uuid.Must(uuid.NewV7())
	w.namesAreNew = true
	got, undo := w.waiting(worker, 3), w.inserting(id)
	ended := w.creating(model.NewExecution{ID: &id, Kind: model.Workflow, Name: "flow", Args: model.Payload(`[1]`)})
	c := w.takenEarly(got)
	select {
	case err := <-ended:
		t.Fatalf("the start was answered before its commit: %v", err)
	default:
	}
	asked := make(chan model.Advanced, 1)
	go func() {
		asked <- w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep})
	}()
	undo()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if a := <-asked; a.Status != model.Running || a.Position != 1 {
		t.Fatalf("answered %s", asText(a))
	}
	row := w.wants(c.ID, model.Running)
	events, err := w.GetHistory(w.ctx, model.GetHistoryRequest{ID: c.ID})
	if err != nil || asText(events.Events) != asText(c.Events) {
		t.Fatalf("it was told %s\nand history has %s, %v", asText(c.Events), asText(events.Events), err)
	}
	if !row.CreatedAt.Equal(c.Events[0].At) || row.StartedAt == nil || row.Attempts != 1 || row.Language == nil {
		t.Fatalf("the row is %s", asText(row))
	}
	if a := w.complete(w.Engine, c, `"done"`); a.Status != model.Completed {
		t.Fatalf("answered %s", asText(a))
	}
}

func TestWhatItAsksForFirstGoesAlong(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]model.Advance{
		"an end":          {Then: model.ThenComplete, Result: model.Payload("1")},
		"a failure":       {Then: model.ThenFail, Error: model.Payload(`{"type":"E","message":""}`)},
		"a wait":          {Then: model.ThenSuspend},
		"an activity":     {Then: model.ThenSuspend, Commands: []model.Command{schedule(1, model.Activity, "a")}},
		"a step":          {Then: model.ThenKeep, Events: []model.StepEvent{{Type: model.EventStepCompleted, Sequence: 1, Name: "s", Payload: model.Payload("1")}}},
		"a version, then": {Then: model.ThenContinue, Commands: []model.Command{{Type: model.CommandMarkVersion, Sequence: 1, Name: "v", Version: 2}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			worker := w.earlyWorker()
			w.eventually("one transaction", func() bool { // where the machine keeps it waiting, it takes two
				got := w.waiting(worker, 3)
				ended := w.creating(model.NewExecution{Kind: model.Workflow, Name: "flow"})
				claimed := <-got
				if len(claimed) != 1 || !claimed[0].Early { // what the round before has left was due
					if err := <-ended; err != nil {
						t.Fatal(err)
					}
					return false
				}
				c := claimed[0]
				w.advance(w.Engine, c, then)
				if err := <-ended; err != nil {
					t.Fatal(err)
				}
				return w.count(`SELECT count(*) FROM workflows.executions e JOIN workflows.history h ON h.execution_id = e.id
					AND h.run = 1 AND h.type = 'started' AND h.xmin = e.xmin AND e.id = $1`, c.ID) == 1
			})
		})
	}
}

func TestAStartOfADeadWorkerWasNeverHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.earlyWorker()
	got := w.waiting(worker, 1)
	w.exec(`UPDATE workflows.workers SET status = 'dead'`) // of which it has not heard
	ended := w.creating(model.NewExecution{Kind: model.Workflow, Name: "flow"})
	c := w.takenEarly(got)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	w.isLost(c)
	w.wants(c.ID, model.Pending)
	again := w.claimOne(w.Engine, w.worker(w.Engine))
	if again.ID != c.ID || again.Early || again.Attempt != 1 || len(again.Events) != 1 {
		t.Fatalf("claimed %s", asText(again))
	}
	if a := w.complete(w.Engine, again, "1"); a.Status != model.Completed {
		t.Fatalf("answered %s", asText(a))
	}
}

// An empty advance is how holders ask for news, too.
func TestNewsReachesWhatBeganEarly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.earlyWorker()
	got := w.waiting(worker, 1)
	ended := w.creating(model.NewExecution{Kind: model.Workflow, Name: "flow"})
	c := w.takenEarly(got)
	if a := w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep}); a.Status != model.Running || len(a.Events) != 0 {
		t.Fatalf("answered %s", asText(a))
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	w.signal(c.ID, "s", "1")
	reply, err := w.PullEvents(w.ctx, model.PullEventsRequest{WorkerID: worker, WaitMS: patienceInTests.Milliseconds()})
	if err != nil || len(reply.Notices) != 1 || !reply.Notices[0].NewEvents {
		t.Fatalf("told %s, %v", asText(reply.Notices), err)
	}
	if a := w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep}); len(a.Events) != 1 || a.Events[0].Type != model.EventSignalReceived {
		t.Fatalf("answered %s", asText(a))
	}
}

func TestNobodyTakesEarlyWhatRunsHere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.earlyWorker()
	w.namesAreNew = true // which is not so
	id := w.createOne(model.Workflow, "flow")
	c := w.claimOne(w.Engine, worker)
	got := w.waiting(worker, 1)
	if made := w.create(model.NewExecution{ID: &id, Kind: model.Workflow, Name: "again"})[0]; made.Created {
		t.Fatalf("answered %s", asText(made))
	}
	if !w.leases.knows(id, c.Lease) {
		t.Fatal("its holder is forgotten")
	}
	w.complete(w.Engine, c, "1")
	w.createOne(model.Job, "last")
	if claimed := <-got; len(claimed) != 1 || claimed[0].Kind != model.Job {
		t.Fatalf("claimed %s", asText(claimed))
	}
}

func TestWhereTheAnswerToAStartIsLostTheRowIsAsked(t *testing.T) {
	t.Parallel()
	for name, dead := range map[string]bool{"it holds": false, "its worker was dead": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProxied(t)
			worker := p.earlyWorker()
			got := p.waiting(worker, 5)
			if dead {
				p.exec(`UPDATE workflows.workers SET status = 'dead'`)
			}
			p.cut("create_early")
			ended := p.creating(aFlow)
			c := p.takenEarly(got)
			reply, err := p.AdvanceWorkflow(p.ctx, model.AdvanceWorkflowRequest{Items: []model.Advance{{ID: c.ID, Lease: c.Lease, Position: 1, Then: model.ThenKeep}}})
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if dead {
				if code := refused(p.world, reply.Results, err); code != fault.LeaseLost {
					t.Fatalf("answered %s", code)
				}
				return
			}
			if a := only(p.world, reply.Results, err); a.Status != model.Running {
				t.Fatalf("answered %s", asText(a))
			}
			p.complete(p.Engine, c, "1")
		})
	}
}

func TestNobodyOvertakesWhatIsKnownToWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.earlyWorker()
	x, err := w.findWorker(worker)
	if err != nil {
		t.Fatal(err)
	}
	row, err := w.newRow(itemAt(0), &model.NewExecution{Kind: model.Workflow, Name: "flow"})
	if err != nil {
		t.Fatal(err)
	}
	start := &work{root: row.ID, creates: []store.NewRow{row}}
	w.offers(worker, model.ClaimRequest{N: 2})
	x.rumour.hear(0)
	if w.earlyOf(start) != nil {
		t.Fatal("taken before what somebody has told of")
	}
	x.rumour.take()
	x.exhausted.Store(false)
	if w.earlyOf(start) != nil {
		t.Fatal("taken before what the last look has left")
	}
	x.exhausted.Store(true)
	if w.earlyOf(start) == nil {
		t.Fatal("not taken, and nothing waits")
	}
}

func TestAnIdThatIsTakenIsHeldByWhoHasIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.earlyWorker()
	id := w.createOne(model.Job, "first")
	w.complete(w.Engine, w.claimOne(w.Engine, worker), "1")
	got := w.waiting(worker, 1)
	w.namesAreNew = true // which is not so
	ended := w.creating(model.NewExecution{ID: &id, Kind: model.Workflow, Name: "flow"})
	c := w.takenEarly(got)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	w.isLost(c)
	if row := w.wants(id, model.Completed); row.Name != "first" {
		t.Fatalf("the row is %s", asText(row))
	}
}

// isLost: no write of the holder is taken, and it is told so.
func (w *world) isLost(c model.Claimed) {
	w.Helper()
	for _, a := range []model.Advance{{Then: model.ThenKeep}, {Then: model.ThenSuspend}, {Then: model.ThenComplete, Result: model.Payload("1")}} {
		a.ID, a.Lease, a.Position = c.ID, c.Lease, c.Position
		reply, err := w.AdvanceWorkflow(w.ctx, model.AdvanceWorkflowRequest{Items: []model.Advance{a}})
		if code := refused(w, reply.Results, err); code != fault.LeaseLost && code != fault.ExecutionNotFound {
			w.Fatalf("%s: %s", a.Then, code)
		}
	}
}

func TestOnlyWhoSaysSoTakesWorkflowsEarly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	w.eventually("the database's time", func() bool {
		_, known := w.clock.now()
		return known
	})
	got := w.waiting(worker, 3)
	w.createOne(model.Workflow, "flow")
	if claimed := <-got; len(claimed) != 1 || claimed[0].Early {
		t.Fatalf("claimed %s", asText(claimed))
	}
}

func TestWhatTheDatabaseHasToDecideIsNotTakenEarly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.earlyWorker()
	key, id := "k", uuid.Must(uuid.NewV7())
	for name, n := range map[string]model.NewExecution{
		"a job":               {Kind: model.Job},
		"an id":               {ID: &id},
		"a key":               {IdempotencyKey: &key},
		"a deadline":          {TimeoutMS: 60_000},
		"a schedule deadline": {ScheduleTimeoutMS: 60_000},
		"a signal":            {Signals: []model.StartSignal{{Name: "s"}}},
	} {
		if n.Kind == "" {
			n.Kind = model.Workflow
		}
		n.Name = "n"
		got := w.waiting(worker, 3)
		w.create(n)
		if claimed := <-got; len(claimed) != 1 || claimed[0].Early {
			t.Fatalf("%s: claimed %s", name, asText(claimed))
		}
	}
}

func TestAStartThatIsNotWrittenWasNeverHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.earlyWorker()
	got := w.waiting(worker, 5)
	x, err := w.findWorker(worker)
	if err != nil {
		t.Fatal(err)
	}
	row, err := w.newRow(itemAt(0), &model.NewExecution{Kind: model.Workflow, Name: "flow"})
	if err != nil {
		t.Fatal(err)
	}
	start := &work{root: row.ID, creates: []store.NewRow{row}, done: make(chan error, 1)}
	if start.early = w.earlyOf(start); start.early == nil {
		t.Fatal("nobody takes it")
	}
	start.early.give()
	c := w.takenEarly(got)
	start.finish(fault.New(fault.Cancelled, nil, "the call was cancelled before it was written"))
	w.isLost(c)
	reply, err := w.PullEvents(w.ctx, model.PullEventsRequest{WorkerID: worker})
	if err != nil || len(reply.Notices) != 1 || !reply.Notices[0].Lost || reply.Notices[0].ID != c.ID {
		t.Fatalf("told %s, %v", asText(reply.Notices), err)
	}
	x.slots.mu.Lock()
	defer x.slots.mu.Unlock()
	if x.slots.free != 5 || x.slots.reserved != 0 {
		t.Fatalf("%d slots of 5 are free", x.slots.free)
	}
}

func TestManyStartsAtOnceAllEndOnce(t *testing.T) {
	t.Parallel()
	const slots, each = 50, 40
	w := newWorld(t)
	worker := w.earlyWorker(func(r *model.StartWorkerRequest) { r.Concurrency = slots })
	ctx, cancel := context.WithCancel(w.ctx)
	var early, lost atomic.Int64
	var held atomic.Int64
	claimer := make(chan struct{})
	go func() {
		defer close(claimer)
		for ctx.Err() == nil {
			reply, err := w.Claim(ctx, model.ClaimRequest{WorkerID: worker, N: max(slots-int(held.Load()), 1), WaitMS: 100})
			if err != nil && ctx.Err() == nil {
				t.Errorf("claim: %v", err)
			}
			for _, c := range reply.Executions {
				held.Add(1)
				if c.Early {
					early.Add(1)
				}
				go func() {
					defer held.Add(-1)
					answer, err := w.CompleteExecution(w.ctx, model.CompleteExecutionRequest{Items: []model.Completion{{ID: c.ID, Lease: c.Lease, Position: c.Position, Result: model.Payload("1")}}})
					if err != nil || answer.Results[0].Error != nil {
						lost.Add(1)
						t.Errorf("complete: %v %s\n%s\n%s", err, asText(answer), asText(c), asText(w.get(c.ID)))
					}
				}()
			}
		}
	}()
	var starts sync.WaitGroup
	for range slots {
		starts.Go(func() {
			for range each {
				reply, err := w.CreateExecution(w.ctx, model.CreateExecutionRequest{WaitMS: 20_000, Items: []model.NewExecution{{Kind: model.Workflow, Name: "flow"}}})
				if err != nil || reply.Results[0].Outcome == nil {
					t.Errorf("create: %v %s", err, asText(reply))
				}
			}
		})
	}
	starts.Wait()
	cancel()
	<-claimer
	if n := w.count(`SELECT count(*) FROM workflows.executions WHERE status = 'completed' AND attempts = 1 AND epoch = 1`); n != slots*each {
		t.Errorf("%d of %d have ended after one attempt", n, slots*each)
	}
	if early.Load() == 0 {
		t.Error("none began early")
	}
	t.Logf("%d of %d began early", early.Load(), slots*each)
}
