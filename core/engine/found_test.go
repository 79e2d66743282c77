package engine

import (
	"testing"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// Each of these was a schedule of the simulation that broke an invariant.

// together writes works in one batch, and waits for them.
func (w *world) together(works ...*work) {
	w.Helper()
	for _, x := range works {
		x.ctx, x.done = w.ctx, make(chan error, 1)
	}
	if err := newFlusher(w.Engine).attempt(w.ctx, works); err != nil {
		w.Fatal(err)
	}
}

func TestAnAdvanceAnswersThePositionOfTheLastEventThatItAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, flow := w.begun(model.NewExecution{})
	first := w.advance(w.Engine, flow, model.Advance{Then: model.ThenKeep, Commands: []model.Command{schedule(1, model.Activity, "a")}})
	activity := w.claimOne(w.Engine, worker)
	steps := []model.StepEvent{{Type: model.EventStepCompleted, Sequence: 2, Name: "s"}, {Type: model.EventStepCompleted, Sequence: 3, Name: "s"}}
	advance, err := w.prepareAdvance(0, model.Advance{ID: flow.ID, Lease: flow.Lease, Position: first.Position, Events: steps, Then: model.ThenKeep})
	if err != nil {
		t.Fatal(err)
	}
	end, err := w.prepareFinish(0, store.Finish{ID: activity.ID, Lease: activity.Lease, Error: model.Payload(`{"type":"X","message":"x"}`), ErrorType: "X", Final: true})
	if err != nil {
		t.Fatal(err)
	}
	w.together(advance, end)
	got, err := w.advanced(advance)
	if err != nil || len(got.Events) != 3 || got.Position != got.Events[2].Position {
		t.Fatalf("answered %s, %v", asText(got), err)
	}
}

func TestWhoHasSeenMoreThanAFailoverHasKeptHoldsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, flow := w.begun(model.NewExecution{})
	known := w.advance(w.Engine, flow, model.Advance{Then: model.ThenKeep, Commands: []model.Command{timer(1, 60_000)}})
	w.exec(`DELETE FROM workflows.history WHERE execution_id = $1 AND position > 1`, flow.ID)
	w.exec(`UPDATE workflows.executions SET history_length = 1 WHERE id = $1`, flow.ID)
	for _, then := range []model.Then{model.ThenSuspend, model.ThenComplete, model.ThenContinue} {
		reply, err := w.AdvanceWorkflow(w.ctx, model.AdvanceWorkflowRequest{Items: []model.Advance{
			{ID: flow.ID, Lease: flow.Lease, Position: known.Position, Commands: []model.Command{timer(2, 60_000)}, Then: then},
		}})
		if code := refused(w, reply.Results, err); code != fault.LeaseLost {
			t.Errorf("%s: refused with %s", then, code)
		}
	}
	if got := w.history(flow.ID); len(got) != 1 {
		t.Fatalf("the history is %v", got)
	}
	if again := w.claimOne(w.Engine, w.worker(w.Engine)); again.ID != flow.ID || again.Position != 1 {
		t.Fatalf("came back as %s", asText(again))
	}
}

func TestASignalSentTwiceAtOnceIsKnownOnlyIfItWasTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, ended := w.begun(model.NewExecution{})
	w.complete(w.Engine, ended, "1")
	w.createOne(model.Workflow, "flow")
	open := w.claimOne(w.Engine, worker)
	signal := func(id uuid.UUID) *work {
		x, err := w.prepareSignal(0, model.Signal{ID: id, Name: "s", IdempotencyKey: pointer("k")})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	works := []*work{signal(ended.ID), signal(ended.ID), signal(open.ID), signal(open.ID)}
	w.together(works...)
	for i, x := range works {
		sent, err := w.sent(x)
		switch {
		case i < 2 && fault.CodeOf(err) != fault.ExecutionFinished:
			t.Errorf("%d: answered %s, %v", i, asText(sent), err)
		case i >= 2 && (err != nil || sent.Delivered != (i == 2)):
			t.Errorf("%d: answered %s, %v", i, asText(sent), err)
		}
	}
}

func TestAWorkflowIsToldOfACancelThatCameWhileNobodyHadItsFunction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, flow := w.begun(model.NewExecution{})
	reply, err := w.Release(w.ctx, model.ReleaseRequest{Items: []model.Release{{ID: flow.ID, Lease: flow.Lease, Reason: model.ReleaseNoFunction}}})
	only(w, reply.Results, err)
	w.cancelOne(flow.ID)
	again := w.claimOne(w.Engine, worker)
	if got := types(again.Events); len(got) != 2 || got[0] != model.EventStarted || got[1] != model.EventCancelRequested {
		t.Fatalf("came back with %v", got)
	}
}

func TestARowThatIsNotHandedOverBearsNoToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	got := w.waiting(worker, 2)
	items := []model.NewExecution{{Kind: model.Job, Name: "now"}, {Kind: model.Job, Name: "later", DelayMS: 60_000}}
	created := w.create(items...)
	if c := <-got; len(c) != 1 || c[0].ID != created[0].ID {
		t.Fatalf("claimed %s", asText(c))
	}
	if n := w.count(`SELECT count(*) FROM workflows.executions WHERE worker IS NULL AND token IS NOT NULL`); n != 0 {
		t.Fatalf("%d rows bear a token and have no holder", n)
	}
}
