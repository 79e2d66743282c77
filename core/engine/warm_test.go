package engine

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
)

func warm(r *model.StartWorkerRequest) { r.Warm = true }

// resting answers a workflow that a worker has suspended at position 3, and the
// lease under which it did.
func (w *world) resting(e *Engine, worker uuid.UUID) model.Claimed {
	w.Helper()
	w.createOne(model.Workflow, "flow")
	c := w.claimOne(e, worker)
	a := w.advance(e, c, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{
		timer(1, 3_600_000), {Type: model.CommandMarkVersion, Sequence: 2, Name: "v", Version: 1},
	}})
	if a.Status != model.Suspended || a.Position != 3 {
		w.Fatalf("suspending was answered %s", asText(a))
	}
	return c
}

// wantsCold fails unless a claim brought the whole history.
func (w *world) wantsCold(c model.Claimed) {
	w.Helper()
	if c.After != 0 || c.PreviousToken != nil || len(c.Events) != c.Position || c.Events[0].Position != 1 {
		w.Fatalf("it should come with all its events: %s", asText(c))
	}
}

func TestAWarmWorkerGetsOnlyTheEventsThatItHasNotSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine, warm)
	before := w.resting(w.Engine, worker)
	w.wantsCold(before)
	for turn, after := range []int{3, 5, 7} {
		w.signal(before.ID, "s", "1")
		c := w.claimOne(w.Engine, worker)
		if c.After != after || c.Position != after+1 || *c.PreviousToken != before.Lease.Token || !slices.Equal(payloads(c.Events), []string{"1"}) || len(c.Events) != 1 {
			t.Fatalf("turn %d: claimed %s, before %s", turn, asText(c), asText(before.Lease))
		}
		a := w.advance(w.Engine, c, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{timer(10+turn, 3_600_000)}})
		if a.Status != model.Suspended || a.Position != after+2 {
			t.Fatalf("turn %d: suspended %s", turn, asText(a))
		}
		before = c
	}
	if rest := w.events(before.ID, 1); len(rest) != 9 {
		t.Fatalf("the history has %d events", len(rest))
	}
}

func TestAWorkerThatIsNotWarmGetsThemAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	c := w.resting(w.Engine, worker)
	w.signal(c.ID, "s", "1")
	w.wantsCold(w.claimOne(w.Engine, worker))
}

func TestAWorkflowThatAnotherWorkerHeldComesBackCold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.another(model.Config{})
	first, second := w.worker(w.Engine, warm), w.worker(other, warm)
	c := w.resting(w.Engine, first)
	for _, by := range []struct {
		engine *Engine
		worker uuid.UUID
	}{{other, second}, {w.Engine, first}} {
		w.signal(c.ID, "s", "1")
		c = w.claimOne(by.engine, by.worker)
		w.wantsCold(c)
		if a := w.advance(by.engine, c, model.Advance{Then: model.ThenSuspend}); a.Status != model.Suspended {
			t.Fatalf("suspended %s", asText(a))
		}
	}
	w.signal(c.ID, "s", "1")
	if c = w.claimOne(w.Engine, first); c.After != 5 {
		t.Fatalf("now it should be warm: %s", asText(c))
	}
}

func TestAWorkerThatWasDeclaredDeadStartsCold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine, warm)
	c := w.resting(w.Engine, worker)
	w.exec(`UPDATE workflows.workers SET status = 'dead'`)
	x, err := w.findWorker(worker)
	if err != nil {
		t.Fatal(err)
	}
	w.eventually("its registering anew", func() bool { return x.current() != worker })
	w.signal(c.ID, "s", "1")
	w.wantsCold(w.claimOne(w.Engine, worker))
}

// What a claim handed over warm and was given back has been told; whether the
// worker took it in, nobody knows.
func TestAWorkflowThatWasGivenBackComesCold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine, warm)
	c := w.resting(w.Engine, worker)
	for _, reason := range []model.ReleaseReason{model.ReleaseDrain, model.ReleaseNoFunction, model.ReleaseNonDeterminism} {
		w.signal(c.ID, "s", "1")
		if c = w.claimOne(w.Engine, worker); c.After == 0 {
			t.Fatalf("%s: it should come warm: %s", reason, asText(c))
		}
		reply, err := w.Release(w.ctx, model.ReleaseRequest{Items: []model.Release{{ID: c.ID, Lease: c.Lease, Reason: reason}}})
		only(w, reply.Results, err)
		if reason == model.ReleaseNonDeterminism {
			resumed, err := w.ResumeWorkflow(w.ctx, model.TargetsRequest{Items: []model.Target{{ID: c.ID}}})
			only(w, resumed.Results, err)
		}
		c = w.claimOne(w.Engine, worker)
		w.wantsCold(c)
		if a := w.advance(w.Engine, c, model.Advance{Then: model.ThenSuspend}); a.Status != model.Suspended {
			t.Fatalf("%s: suspended %s", reason, asText(a))
		}
	}
}

func TestARunBeginsCold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine, warm)
	c := w.resting(w.Engine, worker)
	w.signal(c.ID, "s", "1")
	c = w.claimOne(w.Engine, worker)
	w.goOn(w.Engine, c, model.Advance{Carry: []int{4}})
	c = w.claimOne(w.Engine, worker)
	w.wantsCold(c)
	if a := w.advance(w.Engine, c, model.Advance{Then: model.ThenSuspend}); a.Status != model.Suspended {
		t.Fatalf("suspended %s", asText(a))
	}
	reply, err := w.TerminateExecution(w.ctx, model.TargetsRequest{Items: []model.Target{{ID: c.ID}}})
	only(w, reply.Results, err)
	reply, err = w.RetryExecution(w.ctx, model.TargetsRequest{Items: []model.Target{{ID: c.ID}}})
	only(w, reply.Results, err)
	c = w.claimOne(w.Engine, worker)
	if w.wantsCold(c); c.Run != 3 {
		t.Fatalf("claimed run %d", c.Run)
	}
}

func TestAWarmWorkflowWhoseWorkerDiedIsTakenOverCold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dead := w.another(model.Config{})
	worker := w.worker(dead, warm)
	c := w.resting(dead, worker)
	w.signal(c.ID, "s", "1")
	if c = w.claimOne(dead, worker); c.After != 3 {
		t.Fatalf("it should come warm: %s", asText(c))
	}
	w.silence(dead)
	w.wantsCold(w.claimOne(w.Engine, w.worker(w.Engine, warm)))
}

func TestAColdClaimTellsUpToWhereTheCodeHasRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	c := w.resting(w.Engine, worker)
	if c.Seen != 0 {
		t.Fatalf("no code has run before the first claim: %s", asText(c))
	}
	w.signal(c.ID, "s", "1")
	w.signal(c.ID, "s", "2")
	if c = w.claimOne(w.Engine, worker); c.Seen != 3 || c.Position != 5 {
		t.Fatalf("claimed %s", asText(c))
	}
	w.wantsCold(c)
}
