package engine

import (
	"testing"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

// writes are all that a holder can say of what it holds.
var writes = map[string]func(w *world, worker uuid.UUID, c model.Claimed) fault.Code{
	"complete": func(w *world, _ uuid.UUID, c model.Claimed) fault.Code {
		reply, err := w.CompleteExecution(w.ctx, model.CompleteExecutionRequest{Items: []model.Completion{{ID: c.ID, Lease: c.Lease, Position: c.Position}}})
		return refused(w, reply.Results, err)
	},
	"fail": func(w *world, _ uuid.UUID, c model.Claimed) fault.Code {
		reply, err := w.FailExecution(w.ctx, model.FailExecutionRequest{Items: []model.Failure{{ID: c.ID, Lease: c.Lease, Error: model.Payload(`{"type":"E","message":""}`), Position: c.Position}}})
		return refused(w, reply.Results, err)
	},
	"release": func(w *world, _ uuid.UUID, c model.Claimed) fault.Code {
		reply, err := w.Release(w.ctx, model.ReleaseRequest{Items: []model.Release{{ID: c.ID, Lease: c.Lease, Reason: model.ReleaseDrain}}})
		return refused(w, reply.Results, err)
	},
	"report progress": func(w *world, worker uuid.UUID, c model.Claimed) fault.Code {
		reply, err := w.Heartbeat(w.ctx, model.HeartbeatRequest{WorkerID: worker, Items: []model.Progress{{ID: c.ID, Lease: c.Lease, Progress: model.Payload(`1`)}}})
		return refused(w, reply.Results, err)
	},
	"advance":              refusedAdvance(model.Advance{Then: model.ThenKeep, Commands: []model.Command{timer(1, 1000)}}),
	"record a step":        refusedAdvance(model.Advance{Then: model.ThenKeep, Events: []model.StepEvent{{Type: model.EventStepCompleted, Sequence: 1, Name: "s"}}}),
	"schedule an activity": refusedAdvance(model.Advance{Then: model.ThenSuspend, Commands: []model.Command{schedule(1, model.Activity, "a")}}),
	"schedule":             refusedAdvance(model.Advance{Then: model.ThenKeep, Commands: []model.Command{schedule(1, model.Job, "child")}}),
	"suspend":              refusedAdvance(model.Advance{Then: model.ThenSuspend}),
	"continue":             refusedAdvance(model.Advance{Then: model.ThenContinue}),
	"end with":             refusedAdvance(model.Advance{Then: model.ThenComplete, Commands: []model.Command{timer(1, 1000)}}),
}

func refusedAdvance(a model.Advance) func(*world, uuid.UUID, model.Claimed) fault.Code {
	return func(w *world, _ uuid.UUID, c model.Claimed) fault.Code {
		a.ID, a.Lease, a.Position = c.ID, c.Lease, c.Position
		reply, err := w.AdvanceWorkflow(w.ctx, model.AdvanceWorkflowRequest{Items: []model.Advance{a}})
		return refused(w, reply.Results, err)
	}
}

// A commit that a failover has lost can make the epoch repeat, and only the token tells;
// and no token is to count without the claim that it was made for.
func TestEveryWriteUnderALeaseComparesItsEpochAndItsToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, c := w.begun(model.NewExecution{})
	for name, write := range writes {
		for what, change := range map[string]func(*model.Lease){
			"an earlier epoch": func(l *model.Lease) { l.Epoch-- },
			"a later epoch":    func(l *model.Lease) { l.Epoch++ },
			"another token":    func(l *model.Lease) { l.Token = uuid.New() },
		} {
			other := c
			change(&other.Lease)
			if code := write(w, worker, other); code != fault.LeaseLost {
				t.Errorf("%s with %s: %q", name, what, code)
			}
		}
	}
	if got := w.wants(c.ID, model.Running); got.HistoryLength != 1 || got.Progress != nil {
		t.Fatalf("something was written: %s", asText(got))
	}
	w.complete(w.Engine, c, "1")
}
