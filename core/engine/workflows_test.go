package engine

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

func (w *world) signal(id uuid.UUID, name, payload string) {
	w.Helper()
	reply, err := w.SendSignal(w.ctx, model.SendSignalRequest{Items: []model.Signal{{ID: id, Name: name, Payload: model.Payload(payload)}}})
	if got := only(w, reply.Results, err); !got.Delivered {
		w.Fatal("the signal was not delivered")
	}
}

func TestAWorkflowGathersActivitiesAndCompletes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Workflow, "flow")
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	if !slices.Equal(types(c.Events), []model.EventType{model.EventStarted}) || c.Position != 1 {
		t.Fatalf("claimed with %s", asText(c.Events))
	}
	a := w.advance(w.Engine, c, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{
		schedule(1, model.Activity, "a"), schedule(2, model.Activity, "b"), timer(3, 3_600_000),
	}})
	if a.Status != model.Suspended || a.Position != 4 || len(a.Events) != 3 {
		t.Fatalf("suspended: %s", asText(a))
	}
	for _, activity := range w.claim(w.Engine, worker, 2) {
		if activity.ParentID == nil || *activity.ParentID != id || activity.RootID != id {
			t.Fatalf("an activity without its parent: %s", asText(activity))
		}
		w.complete(w.Engine, activity, `"`+activity.Name+`"`)
	}
	again := w.claimOne(w.Engine, worker)
	if again.ID != id || len(again.Events) < 5 {
		t.Fatalf("woken as %s", asText(again))
	}
	if got := w.complete(w.Engine, again, `"done"`); got.Status == model.Running {
		t.Fatalf("completed: %s", asText(got))
	}
	done := w.wants(id, model.Completed)
	if done.Attempts != 1 {
		t.Fatalf("a replay counted as an attempt: %d", done.Attempts)
	}
}

func TestSuspendingWhereNewsHasComeAnswersTheNews(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Workflow, "flow")
	c := w.claimOne(w.Engine, w.worker(w.Engine))
	w.signal(id, "s", `{"n": 1}`)
	a := w.advance(w.Engine, c, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{timer(1, 3_600_000)}})
	if a.Status != model.Running || !slices.Equal(types(a.Events), []model.EventType{model.EventSignalReceived, model.EventTimerStarted}) {
		t.Fatalf("answered %s", asText(a))
	}
	if string(a.Events[0].Payload) != `{"n": 1}` || *a.Events[0].Name != "s" {
		t.Fatalf("the signal came as %s", asText(a.Events[0]))
	}
	if b := w.advance(w.Engine, c, model.Advance{Position: a.Position, Then: model.ThenSuspend}); b.Status != model.Suspended {
		t.Fatalf("then %s", asText(b))
	}
}

// S2
func TestASignalAtTheMomentOfTheSuspendNeverLeavesAWorkflowHanging(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.another(model.Config{})
	worker := w.worker(w.Engine)
	for range 200 {
		id := w.createOne(model.Workflow, "flow")
		c := w.claimOne(w.Engine, worker)
		var both sync.WaitGroup
		var a model.Advanced
		both.Go(func() {
			reply, err := w.AdvanceWorkflow(w.ctx, model.AdvanceWorkflowRequest{Items: []model.Advance{{ID: id, Lease: c.Lease, Position: 1, Then: model.ThenSuspend}}})
			if err == nil && reply.Results[0].OK != nil {
				a = *reply.Results[0].OK
			}
		})
		both.Go(func() {
			_, _ = other.SendSignal(w.ctx, model.SendSignalRequest{Items: []model.Signal{{ID: id, Name: "s"}}})
		})
		both.Wait()
		if a.Status == model.Suspended {
			c = w.claimOne(w.Engine, worker)
			a.Events = c.Events
		}
		if c.ID != id || !slices.Contains(types(a.Events), model.EventSignalReceived) {
			t.Fatalf("the signal was lost: %s", asText(a))
		}
		w.complete(w.Engine, c, "null")
	}
}

// S3, S1, S11
func TestSignalsAreBufferedInOrderAndKeyedOnesDeliveredOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Workflow, "flow")
	other := w.createOne(model.Workflow, "other")
	for _, n := range []string{"1", "2", "3"} {
		w.signal(id, "s", n)
	}
	keyed := func(to uuid.UUID) bool {
		reply, err := w.SendSignal(w.ctx, model.SendSignalRequest{Items: []model.Signal{{ID: to, Name: "k", IdempotencyKey: pointer("key")}}})
		return only(w, reply.Results, err).Delivered
	}
	if !keyed(id) || keyed(id) || !keyed(other) {
		t.Fatal("a keyed signal was not delivered exactly once to each")
	}
	c := w.claimOne(w.Engine, w.worker(w.Engine))
	var payloads []string
	for _, e := range c.Events {
		if e.Type == model.EventSignalReceived && *e.Name == "s" {
			payloads = append(payloads, string(e.Payload))
		}
	}
	if !slices.Equal(payloads, []string{"1", "2", "3"}) {
		t.Fatalf("signals came as %v", payloads)
	}
}

// S10
func TestASignalToNobodyOrToTheDeadIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Workflow, "flow")
	w.complete(w.Engine, w.claimOne(w.Engine, w.worker(w.Engine)), "1")
	for target, want := range map[uuid.UUID]fault.Code{
		id: fault.ExecutionFinished, uuid.New(): fault.ExecutionNotFound, w.createOne(model.Job, "j"): fault.InvalidState,
	} {
		reply, err := w.SendSignal(w.ctx, model.SendSignalRequest{Items: []model.Signal{{ID: target, Name: "s"}}})
		if code := refused(w, reply.Results, err); code != want {
			t.Fatalf("answered %s, want %s", code, want)
		}
	}
	w.wants(id, model.Completed)
}

// O2: and none before it is due.
func TestATimerFiresWhenItIsDueAndZeroAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createOne(model.Workflow, "flow")
	worker := w.worker(w.Engine, func(r *model.StartWorkerRequest) { r.PollIntervalMS = 1000 })
	c := w.claimOne(w.Engine, worker)
	a := w.advance(w.Engine, c, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{timer(1, 0)}})
	if a.Status != model.Running || !slices.Equal(types(a.Events), []model.EventType{model.EventTimerStarted, model.EventTimerFired}) {
		t.Fatalf("a timer of 0: %s", asText(a))
	}
	began := time.Now()
	a = w.advance(w.Engine, c, model.Advance{Position: a.Position, Then: model.ThenSuspend, Commands: []model.Command{timer(2, 300)}})
	c = w.claimOne(w.Engine, worker)
	took := time.Since(began)
	if c.Events[len(c.Events)-1].Type != model.EventTimerFired || took < 300*time.Millisecond || took > 1500*time.Millisecond {
		t.Fatalf("it fired after %s: %s", took, asText(c.Events))
	}
	_ = a
}

func TestARepeatedAdvanceWritesNothingTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Workflow, "flow")
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	step := model.StepEvent{Type: model.EventStepCompleted, Sequence: 2, Name: "s", Payload: model.Payload("1")}
	request := model.Advance{Then: model.ThenKeep, Commands: []model.Command{schedule(1, model.Activity, "a"), timer(3, 3_600_000)}, Events: []model.StepEvent{step}}
	one := w.advance(w.Engine, c, request)
	two := w.advance(w.Engine, c, request)
	if len(one.Events) != 3 || asText(one.Events) != asText(two.Events) || two.Position != 4 {
		t.Fatalf("first %s\nthen  %s", asText(one), asText(two))
	}
	if got := len(w.claim(w.Engine, worker, 10)); got != 1 {
		t.Fatalf("%d activities were started", got)
	}
	w.wants(id, model.Running)
}

// C6
func TestACancelledWorkflowMayCleanUpAndEndsCancelled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Workflow, "flow")
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	w.advance(w.Engine, c, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{schedule(1, model.Activity, "a"), timer(2, 3_600_000)}})
	if got := w.cancelOne(id); !got.Changed || got.Status != model.Pending {
		t.Fatalf("cancelled: %v", got)
	}
	var flow, activity model.Claimed
	for range 2 {
		if x := w.claimOne(w.Engine, worker); x.Kind == model.Workflow {
			flow = x
		} else {
			activity = x
		}
	}
	if last := flow.Events[len(flow.Events)-1]; last.Type != model.EventCancelRequested {
		t.Fatalf("woken with %s", asText(flow.Events))
	}
	a := w.advance(w.Engine, flow, model.Advance{Then: model.ThenKeep, Commands: []model.Command{
		{Type: model.CommandCancel, Sequence: 1}, {Type: model.CommandCancel, Sequence: 2}, schedule(3, model.Activity, "undo"),
	}})
	want := []model.EventType{model.EventActivityCancelled, model.EventTimerCancelled, model.EventActivityScheduled}
	if !slices.Equal(types(a.Events), want) {
		t.Fatalf("wrote %v, want %v", types(a.Events), want)
	}
	if got := w.complete(w.Engine, activity, "1"); got.Status != model.Cancelled {
		t.Fatalf("the activity ended %s", got.Status)
	}
	flow.Position = a.Position
	if got := w.complete(w.Engine, flow, "1"); got.Status != model.Cancelled {
		t.Fatalf("the workflow ended %s", got.Status)
	}
	if history := w.history(id); slices.Contains(history, model.EventActivityCompleted) {
		t.Fatalf("the late result was told: %v", history)
	}
}

func (w *world) history(id uuid.UUID) []model.EventType {
	w.Helper()
	reply, err := w.GetHistory(w.ctx, model.GetHistoryRequest{ID: id})
	if err != nil {
		w.Fatalf("history: %v", err)
	}
	return types(reply.Events)
}

func TestCompletingBeforeACancelWasSeenIsAnsweredWithIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Workflow, "flow")
	c := w.claimOne(w.Engine, w.worker(w.Engine))
	w.cancelOne(id)
	got := w.complete(w.Engine, c, "1")
	if got.Status != model.Running || !slices.Equal(types(got.Events), []model.EventType{model.EventCancelRequested}) {
		t.Fatalf("answered %s", asText(got))
	}
	c.Position = got.Position
	if got := w.complete(w.Engine, c, "1"); got.Status != model.Cancelled {
		t.Fatalf("then it ended %s", got.Status)
	}
}

// R16, C3
func TestChildrenOfAnEndedWorkflowAreCancelledUnlessDetached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createOne(model.Workflow, "flow")
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	detached := schedule(2, model.Workflow, "detached")
	detached.ClosePolicy = model.CloseDetach
	detached.Execution.DelayMS, detached.Execution.ID = 60_000, pointer(uuid.Must(uuid.NewV7()))
	owned := schedule(1, model.Workflow, "owned")
	owned.Execution.DelayMS, owned.Execution.ID = 60_000, pointer(uuid.Must(uuid.NewV7()))
	w.advance(w.Engine, c, model.Advance{Then: model.ThenComplete, Commands: []model.Command{owned, detached}})
	w.eventually("the child's end", func() bool { return w.get(*owned.Execution.ID).Status == model.Cancelled })
	w.wants(*detached.Execution.ID, model.Scheduled)
}

func TestAChildsEndReachesItsParentAlsoWhenBothAreInOneBatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	parent := w.createOne(model.Workflow, "parent")
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep, Commands: []model.Command{schedule(1, model.Workflow, "child")}})
	child := w.claimOne(w.Engine, worker)
	reply, err := w.AdvanceWorkflow(w.ctx, model.AdvanceWorkflowRequest{Items: []model.Advance{
		{ID: child.ID, Lease: child.Lease, Position: 1, Then: model.ThenFail, Error: model.Payload(`{"type":"E","message":"m"}`)},
		{ID: c.ID, Lease: c.Lease, Position: 2, Then: model.ThenSuspend},
	}})
	if err != nil || reply.Results[0].Error != nil || reply.Results[1].Error != nil {
		t.Fatalf("answered %s, %v", asText(reply), err)
	}
	if reply.Results[1].OK.Status == model.Suspended {
		c = w.claimOne(w.Engine, worker)
	}
	if h := w.history(parent); !slices.Equal(h, []model.EventType{model.EventStarted, model.EventChildStarted, model.EventChildFailed}) {
		t.Fatalf("the parent's history is %v", h)
	}
}

func TestACancelOfWhatTheSameAdvanceStartsNeverRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createOne(model.Workflow, "flow")
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	a := w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep, Commands: []model.Command{
		schedule(1, model.Activity, "a"), timer(2, 50), {Type: model.CommandCancel, Sequence: 1}, {Type: model.CommandCancel, Sequence: 2},
	}})
	want := []model.EventType{model.EventActivityScheduled, model.EventTimerStarted, model.EventActivityCancelled, model.EventTimerCancelled}
	if !slices.Equal(types(a.Events), want) {
		t.Fatalf("wrote %v, want %v", types(a.Events), want)
	}
	reply, err := w.Claim(w.ctx, model.ClaimRequest{WorkerID: worker, N: 1, WaitMS: 200})
	if err != nil || len(reply.Executions) != 0 {
		t.Fatalf("claimed %s, %v", asText(reply), err)
	}
}

// R2: parked, visible, and retried when the code fits again.
func TestAWorkflowWhoseCodeDoesNotFitIsParkedAndCanBeRetried(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Workflow, "flow")
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	reply, err := w.Release(w.ctx, model.ReleaseRequest{Items: []model.Release{{ID: id, Lease: c.Lease, Reason: model.ReleaseNonDeterminism, Message: "position 3"}}})
	only(w, reply.Results, err)
	w.signal(id, "s", "1") // must not wake it
	parked, err := w.ListExecutions(w.ctx, model.ListExecutionsRequest{Parked: true})
	if err != nil || len(parked.Executions) != 1 || *parked.Executions[0].Parked != "position 3" || parked.Executions[0].Status != model.Suspended {
		t.Fatalf("parked: %s, %v", asText(parked), err)
	}
	retried, err := w.RetryExecution(w.ctx, model.TargetsRequest{Items: []model.Target{{ID: id}}})
	only(w, retried.Results, err)
	if c := w.claimOne(w.Engine, worker); c.ID != id || c.Run != 1 || len(c.Events) != 2 {
		t.Fatalf("claimed %s", asText(c))
	}
}

// O9
func TestARetriedWorkflowGoesOnFromItsHistoryWithoutTheFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Workflow, "flow")
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	steps := []model.StepEvent{
		{Type: model.EventStepCompleted, Sequence: 1, Name: "a", Payload: model.Payload("1")},
		{Type: model.EventStepFailed, Sequence: 2, Name: "b", Payload: model.Payload(`{"error":{}}`)},
	}
	w.advance(w.Engine, c, model.Advance{Then: model.ThenFail, Events: steps, Error: model.Payload(`{"type":"E","message":"m","sequence":2}`)})
	w.wants(id, model.Failed)
	reply, err := w.RetryExecution(w.ctx, model.TargetsRequest{Items: []model.Target{{ID: id}}})
	if got := only(w, reply.Results, err); got.Status != model.Pending {
		t.Fatalf("retried to %s", got.Status)
	}
	c = w.claimOne(w.Engine, worker)
	if c.Run != 2 || !slices.Equal(types(c.Events), []model.EventType{model.EventStarted, model.EventStepCompleted, model.EventRetried}) {
		t.Fatalf("claimed run %d with %v", c.Run, types(c.Events))
	}
	w.complete(w.Engine, c, "1")
	again, err := w.RetryExecution(w.ctx, model.TargetsRequest{Items: []model.Target{{ID: id}}})
	if code := refused(w, again.Results, err); code != fault.InvalidState {
		t.Fatalf("retrying a completed one: %s", code)
	}
}

// Whoever holds it, and if nobody ever does.
func TestAnExecutionPastItsDeadlineFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	id := w.create(model.NewExecution{Kind: model.Workflow, Name: "slow", TimeoutMS: 150, Awaited: true})[0].ID
	c := w.claimOne(w.Engine, worker)
	if got := w.waitFor(id); got.Status != model.Failed {
		t.Fatalf("it ended %s", asText(got))
	}
	reply, err := w.CompleteExecution(w.ctx, model.CompleteExecutionRequest{Items: []model.Completion{{ID: id, Lease: c.Lease, Position: 1}}})
	if code := refused(w, reply.Results, err); code != fault.LeaseLost {
		t.Fatalf("its holder was answered %s", code)
	}
	unstarted := w.create(model.NewExecution{Kind: model.Job, Name: "x", Queue: "nobody", ScheduleTimeoutMS: 50})[0].ID
	if got := w.waitFor(unstarted); got.Status != model.Failed {
		t.Fatalf("the unstarted one ended %s", got.Status)
	}
}

func TestTerminateEndsAHeldWorkflowAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Workflow, "flow")
	worker := w.worker(w.Engine)
	w.claimOne(w.Engine, worker)
	reply, err := w.TerminateExecution(w.ctx, model.TargetsRequest{Items: []model.Target{{ID: id, Reason: "enough"}}})
	if got := only(w, reply.Results, err); got.Status != model.Cancelled || !got.Changed {
		t.Fatalf("terminated: %v", got)
	}
	notices, err := w.PullEvents(w.ctx, model.PullEventsRequest{WorkerID: worker, WaitMS: patienceInTests.Milliseconds()})
	if err != nil || len(notices.Notices) != 1 || !notices.Notices[0].Lost {
		t.Fatalf("its holder heard %s, %v", asText(notices), err)
	}
}

// R15
func TestActivitiesThatEndTogetherOnTwoWorkersAreBothInHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.another(model.Config{})
	worker := w.worker(w.Engine)
	for range 100 {
		id := w.createOne(model.Workflow, "flow")
		c := w.claimOne(w.Engine, worker)
		w.advance(w.Engine, c, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{schedule(1, model.Activity, "a"), schedule(2, model.Activity, "b")}})
		activities := w.claim(w.Engine, worker, 2)
		if len(activities) == 1 {
			activities = append(activities, w.claimOne(w.Engine, worker))
		}
		var both sync.WaitGroup
		for i, e := range []*Engine{w.Engine, other} {
			both.Go(func() {
				_, _ = e.CompleteExecution(w.ctx, model.CompleteExecutionRequest{Items: []model.Completion{{ID: activities[i].ID, Lease: activities[i].Lease}}})
			})
		}
		both.Wait()
		c = w.claimOne(w.Engine, worker)
		for a := (model.Advanced{Status: model.Running}); len(w.history(id)) < 5 && a.Status == model.Running; {
			a = w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep})
		}
		if h := w.history(id); len(h) != 5 {
			t.Fatalf("history %v", h)
		}
		c.Position = 5
		w.complete(w.Engine, c, "1")
	}
}
