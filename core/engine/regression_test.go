package engine

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

// Each of these was a bug that a reviewer proved.

// lock holds a row as somebody at a psql prompt would, until the answer is called.
func (w *world) lock(id uuid.UUID) (unlock func()) {
	w.Helper()
	conn, err := pgx.Connect(w.ctx, w.direct)
	if err != nil {
		w.Fatal(err)
	}
	tx, err := conn.Begin(w.ctx)
	if err == nil {
		_, err = tx.Exec(w.ctx, "SELECT FROM "+pgx.Identifier{w.schema, "executions"}.Sanitize()+" WHERE id = $1 FOR UPDATE", id)
	}
	if err != nil {
		w.Fatal(err)
	}
	unlock = func() { _ = conn.Close(context.Background()) }
	w.Cleanup(unlock)
	return unlock
}

func (w *world) silence(e *Engine) {
	for _, x := range e.listWorkers() {
		x.stop()
	}
}

func TestRecoveryTellsAParentThatTheSameWorkerHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dead := w.another(model.Config{})
	worker := w.worker(dead)
	parent := w.createOne(model.Workflow, "flow")
	c := w.claimOne(dead, worker)
	w.advance(dead, c, model.Advance{Then: model.ThenKeep, Commands: []model.Command{schedule(1, model.Activity, "a")}})
	activity := w.claimOne(dead, worker)
	w.cancelOne(activity.ID)
	w.silence(dead)
	again := w.claimOne(w.Engine, w.worker(w.Engine))
	if again.ID != parent || again.Events[len(again.Events)-1].Type != model.EventActivityCancelled {
		t.Fatalf("the parent came back as %s", asText(again))
	}
	if got := w.wants(activity.ID, model.Cancelled); len(got.Error) == 0 {
		t.Fatal("it says nothing of why it ended")
	}
}

func TestARowThatAStoppedWorkerLeftIsTakenWithoutCountingACrash(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Job, "x")
	gone := w.worker(w.Engine)
	if _, err := w.StopWorker(w.ctx, model.StopWorkerRequest{WorkerID: gone}); err != nil {
		t.Fatal(err)
	}
	w.exec(`UPDATE workflows.executions SET status = 'running', worker = $1, token = gen_random_uuid(), epoch = 1, attempts = 1`, gone)
	if c := w.claimOne(w.Engine, w.worker(w.Engine)); c.ID != id {
		t.Fatalf("claimed %s", asText(c))
	}
	if got := w.get(id); got.Crashes != 0 {
		t.Fatalf("%d crashes were counted", got.Crashes)
	}
}

func TestStoppingGivesBackRowsWhoseClaimsReplyWasLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Job, "x")
	worker := w.worker(w.Engine, func(r *model.StartWorkerRequest) {
		r.HeartbeatTimeoutMS, r.HeartbeatIntervalMS, r.Queues = 60_000, 20_000, []string{"other"}
	})
	w.exec(`UPDATE workflows.executions SET status = 'running', worker = $1, token = gen_random_uuid(), epoch = 1, attempts = 1`, worker)
	reply, err := w.StopWorker(w.ctx, model.StopWorkerRequest{WorkerID: worker})
	if err != nil || reply.Released != 1 {
		t.Fatalf("stopped: %v, %v", reply, err)
	}
	w.wants(id, model.Pending)
}

func TestARetriedWorkflowAsksAnewForWhatWasOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Workflow, "flow")
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	w.advance(w.Engine, c, model.Advance{
		Then:     model.ThenKeep,
		Commands: []model.Command{schedule(1, model.Activity, "open"), timer(2, 3_600_000)},
		Events:   []model.StepEvent{{Type: model.EventStepCompleted, Sequence: 3, Name: "done", Payload: model.Payload("1")}},
	})
	w.advance(w.Engine, c, model.Advance{
		Then: model.ThenFail, Error: model.Payload(`{"type":"E","message":"\u0000","sequence":4}`),
		Events: []model.StepEvent{{Type: model.EventStepFailed, Sequence: 4, Name: "bad", Payload: model.Payload(`{"error":{}}`)}},
	})
	reply, err := w.RetryExecution(w.ctx, model.TargetsRequest{Items: []model.Target{{ID: id}}})
	only(w, reply.Results, err)
	for {
		c = w.claimOne(w.Engine, worker)
		if c.ID == id {
			break
		}
		w.complete(w.Engine, c, "1")
	}
	if got := types(c.Events); !slices.Equal(got, []model.EventType{model.EventStarted, model.EventStepCompleted, model.EventRetried}) {
		t.Fatalf("run %d has %v", c.Run, got)
	}
	a := w.advance(w.Engine, c, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{schedule(1, model.Activity, "open"), timer(2, 50)}})
	if a.Status != model.Suspended {
		t.Fatalf("it is %s", asText(a))
	}
	w.eventually("the new run's timer", func() bool { return slices.Contains(w.history(id), model.EventTimerFired) })
}

func TestARetriedCancelledWorkflowStartsFromBeforeTheCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Workflow, "flow")
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	w.cancelOne(id)
	undo := model.StepEvent{Type: model.EventStepCompleted, Sequence: 1, Name: "undo", Payload: model.Payload("1")}
	a := w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep, Events: []model.StepEvent{undo}})
	c.Position = a.Position
	if got := w.complete(w.Engine, c, "1"); got.Status != model.Cancelled {
		t.Fatalf("it ended %s", got.Status)
	}
	reply, err := w.RetryExecution(w.ctx, model.TargetsRequest{Items: []model.Target{{ID: id}}})
	only(w, reply.Results, err)
	if got := types(w.claimOne(w.Engine, worker).Events); !slices.Equal(got, []model.EventType{model.EventStarted, model.EventRetried}) {
		t.Fatalf("the new run has %v", got)
	}
}

func TestALockedRowStopsNeitherTimersNorRecovery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	for range 2 {
		w.createOne(model.Workflow, "flow")
	}
	var flows []model.Claimed
	for len(flows) < 2 {
		flows = append(flows, w.claim(w.Engine, worker, 2)...)
	}
	unlock := w.lock(flows[0].ID)
	defer unlock()
	w.exec(`UPDATE workflows.executions SET status = 'suspended' WHERE id = $1`, flows[1].ID)
	for _, flow := range flows {
		w.exec(`INSERT INTO workflows.timers VALUES ($1, 1, 'sleep', 9, now())`, flow.ID)
	}
	dead := w.another(model.Config{})
	deadWorker := w.worker(dead, func(r *model.StartWorkerRequest) { r.Queues = []string{"d"} })
	lost := w.create(model.NewExecution{Kind: model.Job, Name: "lost", Queue: "d"})[0].ID
	w.claimOne(dead, deadWorker)
	w.silence(dead)
	w.eventually("the free one's timer", func() bool { return slices.Contains(w.history(flows[1].ID), model.EventTimerFired) })
	w.eventually("the recovery", func() bool { return w.get(lost).Status == model.Pending })
	if slices.Contains(w.history(flows[0].ID), model.EventTimerFired) {
		t.Fatal("the locked one was written")
	}
}

func TestALockedRowHoldsUpNothingBehindIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	locked := w.createOne(model.Workflow, "locked")
	unlock := w.lock(locked)
	defer unlock()
	stuck := make(chan error, 1)
	go func() {
		_, err := w.SendSignal(w.ctx, model.SendSignalRequest{Items: []model.Signal{{ID: locked, Name: "s"}}})
		stuck <- err
	}()
	began := time.Now()
	for range 40 {
		w.createOne(model.Job, "free")
	}
	if took := time.Since(began); took > 6*time.Second {
		t.Fatalf("40 creates took %s beside one locked row", took)
	}
	unlock()
	if err := <-stuck; err != nil {
		t.Fatalf("the locked one was answered %v", err)
	}
	if got := w.get(locked).HistoryLength; got != 1 {
		t.Fatalf("its history has %d events", got)
	}
}

func TestASuspectDoesNotStopABusyWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	w.createOne(model.Job, "long")
	w.claimOne(w.Engine, worker)
	suspect := w.createOne(model.Job, "suspect")
	w.exec(`UPDATE workflows.executions SET crashes = 2 WHERE id = $1`, suspect)
	w.eventually("a tick that sees it", func() bool { return w.solo.waits() })
	innocent := w.createOne(model.Job, "innocent")
	if c := w.claimOne(w.Engine, worker); c.ID != innocent {
		t.Fatalf("claimed %s", asText(c))
	}
}

func TestASuspectRunsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	suspect := w.createOne(model.Job, "suspect")
	w.exec(`UPDATE workflows.executions SET crashes = 2 WHERE id = $1`, suspect)
	worker, second := w.worker(w.Engine), w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	if c.ID != suspect {
		t.Fatalf("claimed %s", asText(c))
	}
	w.createOne(model.Job, "innocent")
	for _, x := range []uuid.UUID{worker, second} {
		reply, err := w.Claim(w.ctx, model.ClaimRequest{WorkerID: x, N: 1, WaitMS: 300})
		if err != nil || len(reply.Executions) != 0 {
			t.Fatalf("beside it: %s, %v", asText(reply), err)
		}
	}
	w.complete(w.Engine, c, "1")
	if got := w.claimOne(w.Engine, worker); got.Name != "innocent" {
		t.Fatalf("after it: %s", asText(got))
	}
}

func TestAnEngineWithoutWorkersDoesNotSpin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	if _, err := w.StopWorker(w.ctx, model.StopWorkerRequest{WorkerID: worker}); err != nil {
		t.Fatal(err)
	}
	w.create(model.NewExecution{Kind: model.Job, Name: "j", DelayMS: 1})
	w.eventually("the ticker's rest", func() bool {
		w.ticker.mu.Lock()
		defer w.ticker.mu.Unlock()
		return w.ticker.next.IsZero()
	})
}

func TestAWorkAfterTheEndIsRefused(t *testing.T) {
	t.Parallel()
	f := queued()
	f.refuse()
	e := &Engine{flusher: f}
	if err := e.enqueue(&work{ctx: t.Context()}); fault.CodeOf(err) != fault.Closed {
		t.Fatalf("answered %v", err)
	}
}

func TestClosingGivesBackAThousandLeasesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	items := make([]model.NewExecution, 1000)
	for i := range items {
		items[i] = model.NewExecution{Kind: model.Job, Name: "j"}
	}
	w.create(items...)
	e := w.another(model.Config{})
	worker := w.worker(e, func(r *model.StartWorkerRequest) {
		r.Concurrency, r.HeartbeatTimeoutMS, r.HeartbeatIntervalMS = 1000, 30_000, 10_000
	})
	if n := len(w.claim(e, worker, 1000)); n != 1000 {
		t.Fatalf("claimed %d", n)
	}
	if err := e.Close(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	page, err := w.ListExecutions(w.ctx, model.ListExecutionsRequest{Status: []model.Status{model.Pending}, Limit: 1000})
	if err != nil || len(page.Executions) != 1000 {
		t.Fatalf("%d were given back, %v", len(page.Executions), err)
	}
}

func TestAJobThatWasAskedToStopIsNotPutBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	parent := w.createOne(model.Workflow, "flow")
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	w.advance(w.Engine, c, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{schedule(1, model.Activity, "a")}})
	activity := w.claimOne(w.Engine, worker)
	w.cancelOne(activity.ID)
	reply, err := w.Release(w.ctx, model.ReleaseRequest{Items: []model.Release{{ID: activity.ID, Lease: activity.Lease, Reason: model.ReleaseNoFunction}}})
	if got := only(w, reply.Results, err); got.Status != model.Cancelled {
		t.Fatalf("released to %s", got.Status)
	}
	if c := w.claimOne(w.Engine, worker); c.ID != parent || !slices.Contains(types(c.Events), model.EventActivityCancelled) {
		t.Fatalf("its parent was not told: %s", asText(c))
	}
}

func TestAChildThatIsCancelledTwiceIsRecordedAsCancelledOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Workflow, "flow")
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep, Commands: []model.Command{schedule(1, model.Activity, "a"), timer(2, 3_600_000)}})
	activity := w.claimOne(w.Engine, worker)
	w.cancelOne(activity.ID)
	stop := func(sequence int) model.Command { return model.Command{Type: model.CommandCancel, Sequence: sequence} }
	w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep, Commands: []model.Command{stop(1), stop(1), stop(2), stop(2)}})
	w.complete(w.Engine, activity, "1")
	counts := map[model.EventType]int{}
	for _, e := range w.history(id) {
		counts[e]++
	}
	if counts[model.EventActivityCancelled] != 1 || counts[model.EventTimerCancelled] != 1 {
		t.Fatalf("recorded %v", counts)
	}
}

func TestASignalThatWasNeverWrittenIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Workflow, "flow")
	w.complete(w.Engine, w.claimOne(w.Engine, w.worker(w.Engine)), "1")
	x, err := w.prepareSignal(0, model.Signal{ID: id, Name: "s"})
	if err != nil {
		t.Fatal(err)
	}
	x.tries = 1 // as after a try that failed before the workflow ended
	if err := w.write(w.ctx, x); err != nil {
		t.Fatal(err)
	}
	if _, err := w.sent(x); fault.CodeOf(err) != fault.ExecutionFinished {
		t.Fatalf("answered %v", err)
	}
}

func TestAnErrorTypeThatPostgreSQLCannotReadIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.CreateExecution(w.ctx, model.CreateExecutionRequest{Items: []model.NewExecution{
		{Kind: model.Job, Name: "j", Retry: &model.RetryPolicy{NonRetryable: []string{"a\x00b"}}},
	}})
	if fault.CodeOf(err) != fault.InvalidRequest {
		t.Fatalf("answered %v", err)
	}
}
