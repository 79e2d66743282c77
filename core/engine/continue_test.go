package engine

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

// events answers the history of one run.
func (w *world) events(id uuid.UUID, run int) []model.Event {
	w.Helper()
	reply, err := w.GetHistory(w.ctx, model.GetHistoryRequest{ID: id, Run: run})
	if err != nil {
		w.Fatalf("history: %v", err)
	}
	return reply.Events
}

// payloads of the signals among events, in order.
func payloads(events []model.Event) (sent []string) {
	for _, e := range events {
		if e.Type == model.EventSignalReceived {
			sent = append(sent, string(e.Payload))
		}
	}
	return sent
}

func (w *world) goOn(e *Engine, c model.Claimed, a model.Advance) {
	w.Helper()
	a.Then = model.ThenContinue
	if got := w.advance(e, c, a); got.Status != model.Pending || len(got.Events) != 0 {
		w.Fatalf("continuing was answered %s", asText(got))
	}
}

func TestAContinuedWorkflowBeginsItsNextRunWithWhatNobodyHasTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.create(model.NewExecution{Kind: model.Workflow, Name: "flow", Args: model.Payload(`["one"]`), TimeoutMS: 3_600_000})[0].ID
	for _, n := range []string{"1", "2", "3"} {
		w.signal(id, "s", n)
	}
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	a := w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep, Commands: []model.Command{
		{Type: model.CommandSetState, Sequence: 1, State: model.Payload(`"early"`)}, timer(2, 3_600_000),
	}})
	w.signal(id, "s", "4") // after the position that the code has seen
	w.goOn(w.Engine, c, model.Advance{
		Position: a.Position, Args: model.Payload(`["two"]`), Kwargs: model.Payload(`{"k": 1}`), Carry: []int{3, 1, 3, 4},
		Commands: []model.Command{timer(3, 50), {Type: model.CommandMarkVersion, Sequence: 4, Name: "v", Version: 1}},
	})
	between := w.wants(id, model.Pending)
	if between.Run != 2 || string(between.Args) != `["two"]` || between.HistoryLength != 3 || between.Language != nil || string(between.State) != `"early"` {
		t.Fatalf("between the runs it is %s", asText(between))
	}
	if n := w.count(`SELECT count(*) FROM workflows.timers WHERE kind = 'sleep'`); n != 0 {
		t.Fatalf("%d sleeps of the old run are left", n)
	}
	old := w.events(id, 1)
	if last := old[len(old)-1]; last.Type != model.EventContinued || string(last.Payload) != `{"args" : ["one"], "kwargs" : {}}` || last.Position != 10 {
		t.Fatalf("the old run ends with %s", asText(last))
	}
	next := w.claimOne(w.Engine, worker)
	if want := []string{"1", "3", "4"}; !slices.Equal(payloads(next.Events), want) || next.Events[0].At != old[0].At {
		t.Fatalf("the new run begins with %s, want the signals %v", asText(next.Events), want)
	}
	if last := next.Events[3]; len(next.Events) != 4 || last.Type != model.EventStarted || next.Position != 4 || !last.At.After(next.Events[2].At) {
		t.Fatalf("it was started by %s at %d", asText(last), next.Position)
	}
	if next.Run != 2 || next.Attempt != 1 || string(next.Kwargs) != `{"k": 1}` || next.DeadlineAt == nil || !next.DeadlineAt.Equal(*c.DeadlineAt) || next.Lease.Epoch != 2 {
		t.Fatalf("claimed %s", asText(next))
	}
	b := w.advance(w.Engine, next, model.Advance{Then: model.ThenKeep, Commands: []model.Command{timer(1, 1), timer(2, 3_600_000)}})
	w.eventually("a timer of the new run", func() bool { return slices.Contains(w.history(id), model.EventTimerFired) })
	if events := w.events(id, 2); len(events) != b.Position+1 {
		t.Fatalf("a timer of the old run fired in the new one: %s", asText(events))
	}
}

func TestChildrenOfAContinuedRunAreClosedAndTellTheNextOneNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, c := w.begun(model.NewExecution{})
	detached := schedule(3, model.Activity, "detached")
	detached.ClosePolicy = model.CloseDetach
	w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep, Commands: []model.Command{schedule(1, model.Activity, "held"), detached}})
	held := map[string]model.Claimed{}
	for range 2 {
		child := w.claimOne(w.Engine, worker)
		held[child.Name] = child
	}
	waiting := schedule(2, model.Workflow, "waiting")
	waiting.Execution.DelayMS, waiting.Execution.ID = 3_600_000, pointer(uuid.Must(uuid.NewV7()))
	w.goOn(w.Engine, c, model.Advance{Position: 3, Commands: []model.Command{waiting}})
	w.eventually("the child's end", func() bool { return w.get(*waiting.Execution.ID).Status == model.Cancelled })
	w.eventually("the request to the held one", func() bool { return w.get(held["held"].ID).CancelRequestedAt != nil })
	if got := w.complete(w.Engine, held["held"], "1"); got.Status != model.Cancelled {
		t.Fatalf("the held child ended %s", got.Status)
	}
	if got := w.complete(w.Engine, held["detached"], "1"); got.Status != model.Completed {
		t.Fatalf("the detached child ended %s", got.Status)
	}
	if next := w.claimOne(w.Engine, worker); next.Run != 2 || !slices.Equal(types(next.Events), []model.EventType{model.EventStarted}) {
		t.Fatalf("the next run has %s", asText(next.Events))
	}
}

func TestAParentHearsOfTheEndOfAContinuedChildOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, c := w.begun(model.NewExecution{})
	w.advance(w.Engine, c, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{schedule(1, model.Workflow, "child")}})
	for run := 1; run <= 3; run++ {
		child := w.claimOne(w.Engine, worker)
		if child.ID == c.ID || child.Run != run {
			t.Fatalf("claimed %s", asText(child))
		}
		if run < 3 {
			w.goOn(w.Engine, child, model.Advance{})
		} else {
			w.complete(w.Engine, child, `"last"`)
		}
	}
	c = w.claimOne(w.Engine, worker)
	last := c.Events[len(c.Events)-1]
	if len(c.Events) != 3 || last.Type != model.EventChildCompleted || *last.Sequence != 1 || string(last.Payload) != `"last"` {
		t.Fatalf("the parent has %s", asText(c.Events))
	}
}

func TestARepeatedContinueIsAnsweredAsBeforeUntilTheNextRunIsHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, c := w.begun(model.NewExecution{})
	request := model.Advance{Position: 1, Commands: []model.Command{schedule(1, model.Activity, "a")}}
	w.goOn(w.Engine, c, request)
	w.goOn(w.Engine, c, request)
	if got := w.get(c.ID); got.Run != 2 {
		t.Fatalf("it is in run %d", got.Run)
	}
	for x := w.claimOne(w.Engine, worker); x.ID != c.ID; x = w.claimOne(w.Engine, worker) {
		w.complete(w.Engine, x, "1")
	}
	request.ID, request.Lease, request.Then = c.ID, c.Lease, model.ThenContinue
	reply, err := w.AdvanceWorkflow(w.ctx, model.AdvanceWorkflowRequest{Items: []model.Advance{request}})
	if code := refused(w, reply.Results, err); code != fault.LeaseLost {
		t.Fatalf("answered %s", code)
	}
	if got := w.wants(c.ID, model.Running); got.Run != 2 {
		t.Fatalf("it is in run %d", got.Run)
	}
}

func TestContinuingBeforeACancelWasSeenIsAnsweredWithItAndAfterItEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, c := w.begun(model.NewExecution{Awaited: true})
	w.cancelOne(c.ID)
	early := model.Advance{Then: model.ThenContinue, Commands: []model.Command{timer(1, 3_600_000)}}
	got := w.advance(w.Engine, c, early)
	if got.Status != model.Running || !slices.Equal(types(got.Events), []model.EventType{model.EventCancelRequested, model.EventTimerStarted}) {
		t.Fatalf("answered %s", asText(got))
	}
	got = w.advance(w.Engine, c, model.Advance{Position: got.Position, Then: model.ThenContinue})
	if got.Status != model.Cancelled {
		t.Fatalf("then it was %s", asText(got))
	}
	if again := w.advance(w.Engine, c, model.Advance{Position: 3, Then: model.ThenContinue}); again.Status != model.Cancelled {
		t.Fatalf("a repeat was answered %s", asText(again))
	}
	if end := w.waitFor(c.ID); end.Run != 1 || end.Status != model.Cancelled {
		t.Fatalf("it ended as %s", asText(end))
	}
}

// It has begun, in its earlier runs, and may hold what only its code can give back.
func TestACancelBetweenTwoRunsIsToldBehindTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, c := w.begun(model.NewExecution{})
	w.goOn(w.Engine, c, model.Advance{})
	w.signal(c.ID, "s", "1")
	reply, err := w.CancelExecution(w.ctx, model.TargetsRequest{Items: []model.Target{{ID: c.ID, Reason: "enough"}}})
	if got := only(w, reply.Results, err); !got.Changed || got.Status != model.Pending {
		t.Fatalf("cancelled: %s", asText(got))
	}
	if got := w.cancelOne(c.ID); got.Changed {
		t.Fatal("a second request changed something")
	}
	w.signal(c.ID, "s", "2")
	next := w.claimOne(w.Engine, worker)
	want := []model.EventType{model.EventSignalReceived, model.EventSignalReceived, model.EventStarted, model.EventCancelRequested}
	if !slices.Equal(types(next.Events), want) || next.Position != 4 || !next.CancelRequested || !strings.Contains(string(next.Events[3].Payload), "enough") {
		t.Fatalf("claimed %s", asText(next))
	}
	a := w.advance(w.Engine, next, model.Advance{Then: model.ThenKeep, Events: []model.StepEvent{{Type: model.EventStepCompleted, Sequence: 1, Name: "clean up"}}})
	if a.Position != 5 || len(a.Events) != 1 {
		t.Fatalf("cleaning up was answered %s", asText(a))
	}
	next.Position = a.Position
	if got := w.complete(w.Engine, next, "1"); got.Status != model.Cancelled {
		t.Fatalf("it ended %s", got.Status)
	}
}

func TestASignalsKeyHoldsAcrossRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, c := w.begun(model.NewExecution{})
	keyed := func(key string) bool {
		reply, err := w.SendSignal(w.ctx, model.SendSignalRequest{Items: []model.Signal{{ID: c.ID, Name: "s", IdempotencyKey: &key}}})
		return only(w, reply.Results, err).Delivered
	}
	if !keyed("taken") || !keyed("carried") {
		t.Fatal("the first ones were not delivered")
	}
	w.goOn(w.Engine, c, model.Advance{Position: 3, Carry: []int{3}})
	if n := w.count(`SELECT count(*) FROM workflows.history WHERE run = 2 AND key = 'k:carried'`); n != 1 {
		t.Fatal("the carried signal has lost its key, which must outlive the old run's history")
	}
	if keyed("taken") || keyed("carried") || !keyed("new") {
		t.Fatal("a signal was delivered twice, or not at all")
	}
	c = w.claimOne(w.Engine, worker)
	w.goOn(w.Engine, c, model.Advance{Position: 3, Carry: []int{1, 2}})
	if keyed("taken") || keyed("carried") || keyed("new") {
		t.Fatal("a signal was delivered twice")
	}
	if c = w.claimOne(w.Engine, worker); len(payloads(c.Events)) != 2 {
		t.Fatalf("the third run has %s", asText(c.Events))
	}
}

func TestContinuingWakesWhoWaitsForWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createOne(model.Workflow, "flow")
	worker := w.worker(w.Engine, func(r *model.StartWorkerRequest) { r.PollIntervalMS = 10 * patienceInTests.Milliseconds() })
	c := w.claimOne(w.Engine, worker)
	x, err := w.findWorker(worker)
	if err != nil {
		t.Fatal(err)
	}
	next := make(chan model.ClaimReply, 1)
	go func() {
		reply, _ := w.Claim(w.ctx, model.ClaimRequest{WorkerID: worker, N: 1, WaitMS: patienceInTests.Milliseconds()})
		next <- reply
	}()
	w.eventually("a claim that waits", func() bool { return len(x.claiming) == 1 })
	w.goOn(w.Engine, c, model.Advance{})
	if reply := <-next; len(reply.Executions) != 1 || reply.Executions[0].Run != 2 {
		t.Fatalf("claimed %s", asText(reply))
	}
}

func TestTheNextRunIsFreeForAnotherLanguage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, c := w.begun(model.NewExecution{})
	foreign := w.another(model.Config{})
	other := w.worker(foreign, func(r *model.StartWorkerRequest) { r.Language = "other" })
	w.goOn(w.Engine, c, model.Advance{})
	next := w.claimOne(foreign, other)
	if started := next.Events[0]; next.Run != 2 || !strings.Contains(string(started.Payload), `"other"`) {
		t.Fatalf("claimed %s", asText(next))
	}
}

func TestRetryingAfterAContinueGoesOnFromTheLatestRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, c := w.begun(model.NewExecution{})
	w.signal(c.ID, "s", "1")
	w.goOn(w.Engine, c, model.Advance{Args: model.Payload(`[2]`)})
	c = w.claimOne(w.Engine, worker)
	w.advance(w.Engine, c, model.Advance{
		Then: model.ThenFail, Error: model.Payload(`{"type":"E","message":"m","sequence":2}`),
		Events: []model.StepEvent{
			{Type: model.EventStepCompleted, Sequence: 1, Name: "a"},
			{Type: model.EventStepFailed, Sequence: 2, Name: "b", Payload: model.Payload(`{"error":{}}`)},
		},
	})
	reply, err := w.RetryExecution(w.ctx, model.TargetsRequest{Items: []model.Target{{ID: c.ID}}})
	only(w, reply.Results, err)
	c = w.claimOne(w.Engine, worker)
	want := []model.EventType{model.EventSignalReceived, model.EventStarted, model.EventStepCompleted, model.EventRetried}
	if c.Run != 3 || string(c.Args) != `[2]` || !slices.Equal(types(c.Events), want) {
		t.Fatalf("claimed %s", asText(c))
	}
	if old := types(w.events(c.ID, 1)); !slices.Equal(old, []model.EventType{model.EventStarted, model.EventSignalReceived, model.EventContinued}) {
		t.Fatalf("the first run has %v", old)
	}
}

func TestADeadlineHoldsAcrossRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, c := w.begun(model.NewExecution{TimeoutMS: 4000, ScheduleTimeoutMS: 3500, Awaited: true})
	w.goOn(w.Engine, c, model.Advance{})
	if end := w.waitFor(c.ID); end.Status != model.Failed || end.Run != 2 || !strings.Contains(string(end.Error), "ExecutionTimeout") {
		t.Fatalf("it ended as %s", asText(end))
	}
}

func TestWhatCannotContinueIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	job := w.createOne(model.Job, "j")
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	for name, x := range map[string]struct {
		advance model.Advance
		code    fault.Code
	}{
		"a job":                     {model.Advance{}, fault.LeaseLost},
		"args that are no array":    {model.Advance{Args: model.Payload(`{}`)}, fault.InvalidPayload},
		"kwargs that are no object": {model.Advance{Kwargs: model.Payload(`[]`)}, fault.InvalidPayload},
		"large args":                {model.Advance{Args: model.Payload(`["` + strings.Repeat("x", 1<<20) + `"]`)}, fault.PayloadTooLarge},
		"a carry of what is unseen": {model.Advance{Position: 2, Carry: []int{3}}, fault.InvalidRequest},
		"a carry of nothing":        {model.Advance{Position: 2, Carry: []int{0}}, fault.InvalidRequest},
	} {
		x.advance.ID, x.advance.Lease, x.advance.Then = job, c.Lease, model.ThenContinue
		reply, err := w.AdvanceWorkflow(w.ctx, model.AdvanceWorkflowRequest{Items: []model.Advance{x.advance}})
		if code := refused(w, reply.Results, err); code != x.code {
			t.Errorf("%s: answered %s", name, code)
		}
	}
	if got := w.wants(job, model.Running); got.Run != 1 {
		t.Fatalf("the job is in run %d", got.Run)
	}
}

// Every signal is taken once, in order, however many runs there are and whenever
// it comes.
func TestSignalsSentWhileAWorkflowContinuesAreNeitherLostNorDoubled(t *testing.T) {
	t.Parallel()
	const signals = 300
	w := newWorld(t)
	sender := w.another(model.Config{})
	worker, c := w.begun(model.NewExecution{})
	id := c.ID
	var sending sync.WaitGroup
	sending.Go(func() {
		for n := range signals {
			_, err := sender.SendSignal(w.ctx, model.SendSignalRequest{Items: []model.Signal{{ID: id, Name: "s", Payload: fmt.Append(nil, n)}}})
			if err != nil {
				t.Errorf("a signal was refused: %v", err)
			}
		}
	})
	var took []string
	for len(took) < signals && w.ctx.Err() == nil {
		var carry []int
		for i, e := range c.Events {
			switch {
			case e.Type != model.EventSignalReceived:
			case i < 3: // some at a time
				took = append(took, string(e.Payload))
			default:
				carry = append(carry, e.Position)
			}
		}
		w.goOn(w.Engine, c, model.Advance{Carry: carry})
		c = w.claimOne(w.Engine, worker)
	}
	sending.Wait()
	for n := range signals {
		if took[n] != fmt.Sprint(n) {
			t.Fatalf("signal %d came as %s; run %d", n, took[n], c.Run)
		}
	}
	if len(took) != signals || len(payloads(c.Events)) != 0 {
		t.Fatalf("%d signals were taken, and %s is left", len(took), asText(c.Events))
	}
}
