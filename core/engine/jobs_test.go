package engine

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

func TestAJobRunsFromCreationToResult(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	id := w.create(model.NewExecution{Kind: model.Job, Name: "add", Args: model.Payload(`[1, 2.50, "\ud800"]`)})[0].ID
	c := w.claimOne(w.Engine, worker)
	if c.ID != id || c.Attempt != 1 || string(c.Args) != `[1, 2.50, "\ud800"]` || c.Kwargs != nil {
		t.Fatalf("claimed %s", asText(c))
	}
	if got := w.complete(w.Engine, c, `{"a": 1E2}`); got.Status != model.Completed {
		t.Fatalf("completed as %s", got.Status)
	}
	done := w.wants(id, model.Completed)
	if string(done.Result) != `{"a": 1E2}` {
		t.Fatalf("the result came back as %s", done.Result)
	}
}

func TestAClaimThatWaitsIsWokenByACreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.another(model.Config{})
	worker := w.worker(other, func(r *model.StartWorkerRequest) { r.PollIntervalMS = 60_000 })
	claimed := make(chan []model.Claimed, 1)
	go func() {
		reply, _ := other.Claim(w.ctx, model.ClaimRequest{WorkerID: worker, N: 5, WaitMS: patienceInTests.Milliseconds()})
		claimed <- reply.Executions
	}()
	w.createOne(model.Job, "x")
	if got := <-claimed; len(got) != 1 {
		t.Fatalf("claimed %d", len(got))
	}
}

// Q1, Q2
func TestHigherPriorityRunsFirstAndTheFutureDoesNotBlock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	job := func(name string, priority int, delay int64) model.NewExecution {
		return model.NewExecution{Kind: model.Job, Name: name, Priority: &priority, DelayMS: delay}
	}
	w.create(job("5a", 5, 0), job("5b", 5, 0), job("9", 9, 0), job("1", 1, 0), job("later", 10, 3_600_000))
	worker := w.worker(w.Engine)
	for _, want := range []string{"9", "5a", "5b", "1"} {
		c := w.claimOne(w.Engine, worker)
		if c.Name != want {
			t.Fatalf("%s ran, want %s", c.Name, want)
		}
		w.complete(w.Engine, c, "null")
	}
}

// Q4
func TestFiftyCreatesWithOneKeyGiveOneExecution(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.another(model.Config{})
	ids := make([]model.Created, 50)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			e := w.Engine
			if i%2 == 1 {
				e = other
			}
			reply, err := e.CreateExecution(w.ctx, model.CreateExecutionRequest{Items: []model.NewExecution{
				{Kind: model.Job, Name: "once", IdempotencyKey: pointer("k")},
			}})
			if err != nil {
				t.Errorf("create: %v", err)
				return
			}
			ids[i] = reply.Results[0]
		})
	}
	all.Wait()
	created := 0
	for _, c := range ids {
		if c.ID != ids[0].ID {
			t.Fatalf("two ids: %s and %s", c.ID, ids[0].ID)
		}
		if c.Created {
			created++
		}
	}
	if created != 1 {
		t.Fatalf("%d calls were told that they created it", created)
	}
}

// Q4: whatever state the first is in.
func TestATakenKeyAnswersTheFirstIdAfterCompletionToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keyed := model.NewExecution{Kind: model.Job, Name: "once", IdempotencyKey: pointer("k")}
	first := w.create(keyed)[0]
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	if again := w.create(keyed)[0]; again.Created || again.ID != first.ID {
		t.Fatalf("while running: %v", again)
	}
	w.complete(w.Engine, c, "1")
	if again := w.create(keyed)[0]; again.Created || again.ID != first.ID {
		t.Fatalf("after completion: %v", again)
	}
	if other := w.create(model.NewExecution{Kind: model.Job, Name: "another", IdempotencyKey: pointer("k")})[0]; !other.Created {
		t.Fatalf("the same key of another function: %v", other)
	}
}

// T1
func TestRetriesLimitHowOftenAFailingJobRuns(t *testing.T) {
	t.Parallel()
	for _, retries := range []int{0, 3} {
		t.Run(string(rune('0'+retries)), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.create(model.NewExecution{Kind: model.Job, Name: "fails", Retry: &model.RetryPolicy{Retries: &retries, InitialMS: pointer(int64(1)), Jitter: pointer(0.0)}})[0].ID
			worker := w.worker(w.Engine)
			for runs := 1; ; runs++ {
				c := w.claimOne(w.Engine, worker)
				if c.Attempt != runs {
					t.Fatalf("attempt %d on run %d", c.Attempt, runs)
				}
				reply, err := w.FailExecution(w.ctx, model.FailExecutionRequest{Items: []model.Failure{{ID: c.ID, Lease: c.Lease, Error: model.Payload(`{"type":"E","message":"m"}`)}}})
				if got := only(w, reply.Results, err); got.Status == model.Failed {
					if runs != retries+1 {
						t.Fatalf("it failed for good after %d runs, want %d", runs, retries+1)
					}
					break
				}
			}
			w.wants(id, model.Failed)
		})
	}
}

// T4
func TestANonRetryableErrorIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for _, failure := range []string{`{"type":"Fatal","message":"m"}`, `{"type":"E","message":"m","non_retryable":true}`} {
		w := newWorld(t)
		id := w.create(model.NewExecution{Kind: model.Job, Name: "fails", Retry: &model.RetryPolicy{NonRetryable: []string{"Fatal"}}})[0].ID
		c := w.claimOne(w.Engine, w.worker(w.Engine))
		reply, err := w.FailExecution(w.ctx, model.FailExecutionRequest{Items: []model.Failure{{ID: c.ID, Lease: c.Lease, Error: model.Payload(failure)}}})
		if got := only(w, reply.Results, err); got.Status != model.Failed {
			t.Fatalf("%s: %s", failure, got.Status)
		}
		w.wants(id, model.Failed)
	}
}

func TestARepeatedOutcomeIsAcceptedAndAnotherIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createOne(model.Job, "x")
	c := w.claimOne(w.Engine, w.worker(w.Engine))
	w.complete(w.Engine, c, "1")
	if again := w.complete(w.Engine, c, "1"); again.Status != model.Completed {
		t.Fatalf("the repeat was answered %s", again.Status)
	}
	reply, err := w.FailExecution(w.ctx, model.FailExecutionRequest{Items: []model.Failure{{ID: c.ID, Lease: c.Lease, Error: model.Payload(`{"type":"E"}`)}}})
	if code := refused(w, reply.Results, err); code != fault.LeaseLost {
		t.Fatalf("another outcome was answered %s", code)
	}
	forged := c
	forged.Lease.Token = uuid.New()
	again, err := w.CompleteExecution(w.ctx, model.CompleteExecutionRequest{Items: []model.Completion{{ID: c.ID, Lease: forged.Lease}}})
	if code := refused(w, again.Results, err); code != fault.LeaseLost {
		t.Fatalf("a forged token was answered %s", code)
	}
}

// T5, T6: the engine of a worker that is stopped goes silent; its row is taken over.
func TestAnExecutionOfASilentWorkerIsTakenOverAndTheLateWriteRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Job, "x")
	silent := w.another(model.Config{})
	held := w.claimOne(silent, w.worker(silent))
	for _, x := range silent.listWorkers() {
		x.stop() // its heart stops, and nothing else
	}
	began := time.Now()
	taken := w.claimOne(w.Engine, w.worker(w.Engine))
	if taken.ID != id || taken.Lease.Epoch <= held.Lease.Epoch {
		t.Fatalf("taken over as %s", asText(taken))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Fatalf("it took %s with a timeout of 1 s", took)
	}
	late, err := silent.CompleteExecution(w.ctx, model.CompleteExecutionRequest{Items: []model.Completion{{ID: id, Lease: held.Lease, Result: model.Payload("1")}}})
	if code := refused(w, late.Results, err); code != fault.LeaseLost {
		t.Fatalf("the late write was answered %s", code)
	}
	w.complete(w.Engine, taken, "2")
	if got := w.wants(id, model.Completed); string(got.Result) != "2" {
		t.Fatalf("the result is %s", got.Result)
	}
}

func TestAWorkerThatWasDeclaredDeadStartsAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createOne(model.Job, "x")
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	w.exec(`UPDATE workflows.workers SET status = 'dead'`)
	reply, err := w.PullEvents(w.ctx, model.PullEventsRequest{WorkerID: worker, WaitMS: patienceInTests.Milliseconds()})
	if err != nil || len(reply.Notices) != 1 || !reply.Notices[0].Lost || reply.Notices[0].ID != c.ID {
		t.Fatalf("pulled %s, %v", asText(reply), err)
	}
	again := w.claimOne(w.Engine, worker) // recovered from its own dead incarnation
	if again.ID != c.ID || again.Lease.Epoch != c.Lease.Epoch+1 {
		t.Fatalf("claimed %s", asText(again))
	}
}

// T10
func TestAPoisonPillIsParkedAfterThreeCrashesAndTheInnocentFinish(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	poison := w.createOne(model.Job, "poison")
	innocent := w.createOne(model.Job, "innocent")
	crashed := 0
	w.eventually("the poison's end", func() bool {
		if w.get(poison).Status.Final() {
			return true
		}
		e := w.another(model.Config{})
		worker := w.worker(e)
		for _, c := range w.claim(e, worker, 10) {
			if c.ID == innocent && crashed >= 2 {
				w.complete(e, c, "1")
			}
			if c.ID == poison {
				crashed++
			}
		}
		for _, x := range e.listWorkers() {
			x.stop()
		}
		reply, err := w.Recover(w.ctx, model.RecoverRequest{WaitMS: 5000})
		return err == nil && reply.Parked > 0
	})
	if crashed != 3 {
		t.Fatalf("the poison ran %d times, want 3", crashed)
	}
	if got := w.wants(poison, model.Failed); got.Parked == nil || *got.Parked != "worker_lost" {
		t.Fatalf("parked as %v", got.Parked)
	}
	if got := w.get(innocent); got.Status == model.Failed {
		t.Fatal("the innocent was parked too")
	}
}

// C1, C2, C4
func TestCancelStopsWhatWaitsAndAsksWhatRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	waiting := w.createOne(model.Job, "waiting")
	if got := w.cancelOne(waiting); !got.Changed || got.Status != model.Cancelled {
		t.Fatalf("a pending one: %v", got)
	}
	running := w.createOne(model.Job, "running")
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	if got := w.cancelOne(running); !got.Changed || got.Status != model.Running {
		t.Fatalf("a running one: %v", got)
	}
	notices, err := w.PullEvents(w.ctx, model.PullEventsRequest{WorkerID: worker, WaitMS: patienceInTests.Milliseconds()})
	if err != nil || len(notices.Notices) != 1 || !notices.Notices[0].CancelRequested {
		t.Fatalf("its worker heard %s, %v", asText(notices), err)
	}
	if got := w.complete(w.Engine, c, "1"); got.Status != model.Cancelled {
		t.Fatalf("its result was taken: %s", got.Status)
	}
	if got := w.cancelOne(running); got.Changed || got.Status != model.Cancelled {
		t.Fatalf("a finished one: %v", got)
	}
	reply, err := w.CancelExecution(w.ctx, model.TargetsRequest{Items: []model.Target{{ID: uuid.New()}}})
	if code := refused(w, reply.Results, err); code != fault.ExecutionNotFound {
		t.Fatalf("an unknown one: %s", code)
	}
}

func (w *world) cancelOne(id uuid.UUID) model.Change {
	w.Helper()
	reply, err := w.CancelExecution(w.ctx, model.TargetsRequest{Items: []model.Target{{ID: id}}})
	return only(w, reply.Results, err)
}

// R17
func TestAReleaseForWantOfTheFunctionBurnsNoAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createOne(model.Job, "unknown")
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	reply, err := w.Release(w.ctx, model.ReleaseRequest{Items: []model.Release{{ID: c.ID, Lease: c.Lease, Reason: model.ReleaseNoFunction}}})
	if got := only(w, reply.Results, err); got.Status != model.Scheduled {
		t.Fatalf("released to %s", got.Status)
	}
	if again := w.claimOne(w.Engine, worker); again.Attempt != 1 {
		t.Fatalf("attempt %d after a release", again.Attempt)
	}
}

// R17: and what it has put back once it is not handed again, in whatever queue.
func TestAClaimPassesOverWhatTheWorkerLacks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createOne(model.Job, "mine")
	w.createOne(model.Job, "theirs")
	w.createOne(model.Workflow, "theirs")
	worker := w.worker(w.Engine)
	lacking := []model.FunctionName{{Kind: model.Job, Name: "theirs"}, {Kind: model.Workflow, Name: "mine"}}
	reply, err := w.Claim(w.ctx, model.ClaimRequest{WorkerID: worker, N: 10, Lacking: lacking})
	if err != nil || len(reply.Executions) != 2 || reply.Executions[0].Name != "mine" || reply.Executions[1].Kind != model.Workflow {
		t.Fatalf("claimed %s, %v", asText(reply), err)
	}
	if rest := w.claimOne(w.Engine, worker); rest.Name != "theirs" || rest.Kind != model.Job {
		t.Fatalf("left was %s", asText(rest))
	}
	_, err = w.Claim(w.ctx, model.ClaimRequest{WorkerID: worker, N: 1, Lacking: make([]model.FunctionName, maxLacking+1)})
	if fault.CodeOf(err) != fault.InvalidRequest {
		t.Fatalf("too many were answered with %v", err)
	}
}

// R17: whoever claims a workflow that it has no code for has not begun it, whatever
// came to it meanwhile; whoever has commanded something has.
func TestAWorkflowThatWasPutBackMayBeBegunInAnotherLanguage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Workflow, "flow")
	here := w.worker(w.Engine)
	other := w.another(model.Config{})
	there := w.worker(other, func(r *model.StartWorkerRequest) { r.Language, r.Runtime = "other", "2" })
	release := func(e *Engine, c model.Claimed) {
		t.Helper()
		item := model.Release{ID: c.ID, Lease: c.Lease, Reason: model.ReleaseNoFunction}
		if reply, err := e.Release(w.ctx, model.ReleaseRequest{Items: []model.Release{item}}); err != nil || reply.Results[0].Error != nil {
			t.Fatalf("released: %s, %v", asText(reply), err)
		}
	}
	first := w.claimOne(w.Engine, here)
	w.signal(id, "s", "1")
	release(w.Engine, first)
	if row := w.get(id); row.Language != nil || row.Attempts != 1 {
		t.Fatalf("put back as %s", asText(row))
	}
	second := w.claimOne(other, there)
	if got := types(second.Events); !slices.Equal(got, []model.EventType{model.EventStarted, model.EventSignalReceived}) {
		t.Fatalf("its history is %s", asText(second))
	}
	if by := string(second.Events[0].Payload); !strings.Contains(by, `"other"`) || second.Attempt != 1 || *w.get(id).Language != "other" {
		t.Fatalf("begun by %s: %s", by, asText(w.get(id)))
	}
	w.advance(other, second, model.Advance{Position: 2, Then: model.ThenKeep, Commands: []model.Command{timer(1, 3_600_000)}})
	release(other, second)
	w.eventually("its being due again", func() bool { return w.get(id).Status == model.Pending })
	taken, err := w.Claim(w.ctx, model.ClaimRequest{WorkerID: here, N: 1})
	if err != nil || len(taken.Executions) != 0 {
		t.Fatalf("another language took what was begun: %s, %v", asText(taken), err)
	}
}

// T9
func TestStoppingAWorkerGivesBackWhatItHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Job, "x")
	worker := w.worker(w.Engine)
	w.claimOne(w.Engine, worker)
	reply, err := w.StopWorker(w.ctx, model.StopWorkerRequest{WorkerID: worker})
	if err != nil || reply.Released != 1 {
		t.Fatalf("stopped: %v, %v", reply, err)
	}
	if got := w.wants(id, model.Pending); got.Attempts != 0 || got.Crashes != 0 {
		t.Fatalf("it counted: %s", asText(got))
	}
}

func TestRowsHeldWithoutBeingRunAreGivenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Job, "x")
	worker := w.worker(w.Engine)
	w.exec(`UPDATE workflows.executions SET status = 'running', worker = $1, token = gen_random_uuid(), epoch = 7`, worker)
	if c := w.claimOne(w.Engine, worker); c.ID != id || c.Lease.Epoch != 8 {
		t.Fatalf("claimed %s", asText(c))
	}
}
