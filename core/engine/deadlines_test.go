package engine

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

// T13: nobody is there to tick but the one who waits.
func TestWhoWaitsWhereNoWorkerLivesSeesDeadlinesKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for kind, n := range map[string]model.NewExecution{
		"ScheduleTimeout":  {Kind: model.Job, Name: "unstarted", ScheduleTimeoutMS: 50},
		"ExecutionTimeout": {Kind: model.Workflow, Name: "late", TimeoutMS: 50, DelayMS: 3_600_000},
	} {
		if end := w.waitFor(w.create(n)[0].ID); end.Status != model.Failed || !strings.Contains(string(end.Error), kind) {
			t.Errorf("%s: it ended as %s", kind, asText(end))
		}
	}
}

// T13: never after the start.
func TestWhoWaitsEndsNothingThatHasStarted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.create(model.NewExecution{Kind: model.Job, Name: "started", ScheduleTimeoutMS: 1})[0].ID
	w.exec(`UPDATE workflows.executions SET status = 'running', started_at = now(), worker = $1, token = $1`, uuid.New())
	ctx, stop := context.WithCancel(w.ctx)
	over := make(chan error, 1)
	go func() {
		_, err := w.WaitExecution(ctx, model.WaitExecutionRequest{ID: id, WaitMS: patienceInTests.Milliseconds()})
		over <- err
	}()
	w.eventually("the timer's end", func() bool { return w.count(`SELECT count(*) FROM workflows.timers`) == 0 })
	w.wants(id, model.Running)
	stop()
	if code := fault.CodeOf(<-over); code != fault.Cancelled {
		t.Fatalf("the wait was answered %s", code)
	}
}

// children schedules one of each policy and answers their rows, by name.
func (w *world) children(c model.Claimed, mend func(*model.NewExecution)) map[string]model.Execution {
	w.Helper()
	var commands []model.Command
	for i, policy := range []model.ClosePolicy{model.CloseCancel, model.CloseDetach, ""} {
		command := schedule(i+1, model.Activity, "policy "+string(policy))
		command.ClosePolicy, command.Execution.ID = policy, pointer(uuid.Must(uuid.NewV7()))
		mend(command.Execution)
		commands = append(commands, command)
	}
	w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep, Commands: commands})
	rows := map[string]model.Execution{}
	for _, command := range commands {
		rows[command.Execution.Name] = w.get(*command.Execution.ID)
	}
	return rows
}

func TestChildrenInheritTheEarlierDeadlineUnlessDetached(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		parent, child int64
		want          map[string]int64 // timeouts by policy; 0 is none
	}{
		"the child has none":     {60_000, 0, map[string]int64{"cancel": 60_000, "detach": 0, "": 60_000}},
		"the child's is later":   {60_000, 90_000, map[string]int64{"cancel": 60_000, "detach": 90_000, "": 60_000}},
		"the child's is earlier": {60_000, 30_000, map[string]int64{"cancel": 30_000, "detach": 30_000, "": 30_000}},
		"the parent has none":    {0, 30_000, map[string]int64{"cancel": 30_000, "detach": 30_000, "": 30_000}},
		"neither has one":        {0, 0, map[string]int64{"cancel": 0, "detach": 0, "": 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			_, c := w.begun(model.NewExecution{TimeoutMS: x.parent})
			timers := 0
			if x.parent > 0 {
				timers++
			}
			for policy, child := range w.children(c, func(n *model.NewExecution) { n.TimeoutMS = x.child }) {
				want := x.want[strings.TrimPrefix(policy, "policy ")]
				switch {
				case (child.DeadlineAt == nil) != (want == 0):
					t.Errorf("%s: its deadline is %v, want %d ms", policy, child.DeadlineAt, want)
				case want == x.parent && want > 0 && !child.DeadlineAt.Equal(*c.DeadlineAt):
					t.Errorf("%s: its deadline is %v, not its parent's, %v", policy, child.DeadlineAt, c.DeadlineAt)
				case want != x.parent && want > 0 && !child.DeadlineAt.Equal(child.CreatedAt.Add(time.Duration(want)*time.Millisecond)):
					t.Errorf("%s: its deadline is %v, created %v", policy, child.DeadlineAt, child.CreatedAt)
				}
				if want > 0 {
					timers++
				}
			}
			if n := w.count(`SELECT count(*) FROM workflows.timers t JOIN workflows.executions e ON e.id = t.execution_id AND e.deadline_at = t.due_at`); n != timers {
				t.Errorf("%d timers keep the deadlines, want %d", n, timers)
			}
		})
	}
}

func TestAGrandchildEndsWithTheDeadlineOfTheRoot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, c := w.begun(model.NewExecution{TimeoutMS: 700})
	w.advance(w.Engine, c, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{schedule(1, model.Workflow, "child")}})
	child := w.claimOne(w.Engine, worker)
	grandchild := schedule(1, model.Activity, "grandchild")
	grandchild.Execution.Queue, grandchild.Execution.ID = "nobody", pointer(uuid.Must(uuid.NewV7()))
	w.advance(w.Engine, child, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{grandchild}})
	for _, id := range []uuid.UUID{c.ID, child.ID, *grandchild.Execution.ID} {
		if end := w.waitFor(id); end.Status != model.Failed || !strings.Contains(string(end.Error), "ExecutionTimeout") {
			t.Fatalf("%s ended as %s", end.Name, asText(end))
		}
	}
}

// The parent cannot be ended while somebody has a lock on the one that is to be told.
func TestAWorkflowIsNotToldOfWhatEndsWithItsOwnDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, root := w.begun(model.NewExecution{})
	child := schedule(1, model.Workflow, "child")
	child.Execution.TimeoutMS = 300
	w.advance(w.Engine, root, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{child}})
	parent := w.claimOne(w.Engine, worker)
	activity := schedule(1, model.Activity, "a")
	activity.Execution.Queue, activity.Execution.ID = "nobody", pointer(uuid.Must(uuid.NewV7()))

	w.advance(w.Engine, parent, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{activity}})
	unlock := w.lock(root.ID)
	w.eventually("the deadline", func() bool {
		return w.count(`SELECT count(*) FROM workflows.timers WHERE due_at <= now()`) == 2
	})
	for range 3 {
		if err := w.expire(w.ctx, []uuid.UUID{parent.ID, *activity.Execution.ID}); err != nil {
			t.Fatal(err)
		}
	}
	w.wants(*activity.Execution.ID, model.Pending)
	unlock()
	for _, id := range []uuid.UUID{parent.ID, *activity.Execution.ID} {
		if end := w.waitFor(id); end.Status == model.Completed {
			t.Fatalf("%s ended as %s", end.Name, asText(end))
		}
	}
	if n := w.count(`SELECT count(*) FROM workflows.history WHERE execution_id = $1 AND type = 'activity_failed'`, parent.ID); n != 0 {
		t.Fatalf("it was told of %d", n)
	}
}

func TestAStartThatIsRepeatedWithAnotherTimeoutGivesNobodyADeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := uuid.Must(uuid.NewV7())
	w.create(model.NewExecution{ID: &id, Kind: model.Job, Name: "j"})
	again := w.create(model.NewExecution{ID: &id, Kind: model.Job, Name: "j", TimeoutMS: 1, ScheduleTimeoutMS: 1})
	if again[0].Created || again[0].ID != id {
		t.Fatalf("created %s", asText(again))
	}
	if n := w.count(`SELECT count(*) FROM workflows.timers`); n != 0 {
		t.Fatalf("%d timers were made", n)
	}
}

func TestAChildWhoseIDIsTakenIsRefusedAndNothingIsWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stranger := w.create(model.NewExecution{Kind: model.Job, Name: "stranger", Queue: "nobody"})[0].ID
	worker, c := w.begun(model.NewExecution{})
	command := schedule(1, model.Activity, "a")
	command.Execution.ID = &stranger
	request := model.Advance{ID: c.ID, Lease: c.Lease, Position: c.Position, Then: model.ThenKeep, Commands: []model.Command{command, timer(2, 3_600_000)}}
	reply, err := w.AdvanceWorkflow(w.ctx, model.AdvanceWorkflowRequest{Items: []model.Advance{request}})
	if code := refused(w, reply.Results, err); code != fault.InvalidRequest || !strings.Contains(reply.Results[0].Error.Error(), "taken") {
		t.Fatalf("answered %s", asText(reply))
	}
	if got := w.wants(c.ID, model.Running); got.HistoryLength != 1 {
		t.Fatalf("its history has %v", w.history(c.ID))
	}
	own := uuid.Must(uuid.NewV7())
	command.Execution.ID = &own
	first := w.advance(w.Engine, c, request)
	again := w.advance(w.Engine, c, request)
	if asText(first) != asText(again) || !slices.Equal(types(again.Events), []model.EventType{model.EventActivityScheduled, model.EventTimerStarted}) {
		t.Fatalf("first %s\nthen  %s", asText(first), asText(again))
	}
	if a := w.claimOne(w.Engine, worker); a.ID != own {
		t.Fatalf("claimed %s", asText(a))
	}
}
