package engine

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

func TestWhatWasStartedToBeAwaitedIsNotReadBeforeItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.another(model.Config{})
	for name, e := range map[string]*Engine{"here": w.Engine, "elsewhere": other} {
		worker := w.worker(e, func(r *model.StartWorkerRequest) { r.Queues = []string{name} })
		id := w.create(model.NewExecution{Kind: model.Job, Name: name, Awaited: true, Queue: name})[0].ID
		if _, awaited, remove := w.waiters.add(id, false); !awaited {
			t.Fatalf("%s: nobody remembers the start", name)
		} else {
			remove()
		}
		ended := make(chan model.Execution, 1)
		go func() {
			x, err := w.WaitExecution(w.ctx, model.WaitExecutionRequest{ID: id, WaitMS: patienceInTests.Milliseconds()})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			ended <- x
		}()
		w.eventually("the wait", func() bool { return len(w.waiters.waiting()) == 1 })
		began := time.Now()
		w.complete(e, w.claimOne(e, worker), `"done"`)
		if x := <-ended; x.Status != model.Completed || string(x.Result) != `"done"` || x.Name != name {
			t.Fatalf("%s: answered %s", name, asText(x))
		}
		if took := time.Since(began); took > waiterPoll/2 {
			t.Fatalf("%s: the end was found by polling only, after %s", name, took)
		}
		w.waiters.mu.Lock()
		left := len(w.waiters.awaited)
		w.waiters.mu.Unlock()
		if x := w.waitFor(id); left != 0 || x.Status != model.Completed {
			t.Fatalf("%s: %d are remembered, and a later wait answers %s", name, left, asText(x))
		}
	}
}

func TestStartsThatNobodyComesForAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWaiters(nil)
	for range maxAwaited + 1 {
		w.expect(uuid.New())
	}
	if n := len(w.awaited); n != 1 {
		t.Fatalf("%d are remembered", n)
	}
}

func TestOnlyWhatHasEndedIsHandedToWhoWaits(t *testing.T) {
	t.Parallel()
	w := newWaiters(nil)
	w.once.Do(func() {}) // no loop: there is no database
	id := uuid.New()
	x, _, remove := w.add(id, false)
	defer remove()
	w.hand(map[uuid.UUID]store.Read{id: {Execution: model.Execution{ID: id, Status: model.Scheduled}}})
	if len(x.told) != 0 {
		t.Fatal("it was told of an attempt's end")
	}
	if ids := w.among([]store.Finish{{ID: uuid.New()}, {ID: id}}); len(ids) != 1 || ids[0] != id {
		t.Fatalf("waits for %v", ids)
	}
	w.hand(map[uuid.UUID]store.Read{id: {Execution: model.Execution{ID: id, Status: model.Failed}}})
	if read := <-x.told; read == nil || read.Status != model.Failed {
		t.Fatal("it was not told of the end")
	}
}

func TestWhoWantsTheOutcomeOnlyIsToldWithoutReadingIt(t *testing.T) {
	t.Parallel()
	w := newWaiters(nil)
	w.once.Do(func() {}) // no loop: there is no database
	id := uuid.New()
	x, _, remove := w.add(id, true)
	defer remove()
	if ids := w.among([]store.Finish{{ID: id}}); len(ids) != 0 {
		t.Fatalf("%v are read", ids)
	}
	w.settle(&store.Finish{ID: id}, &store.Finished{Held: true, Status: model.Scheduled})
	w.settle(&store.Finish{ID: id}, &store.Finished{Status: model.Completed})
	if len(x.told) != 0 {
		t.Fatal("it was told of an attempt's end, or of a write that was refused")
	}
	w.settle(&store.Finish{ID: id, OK: true}, &store.Finished{Held: true, Status: model.Completed})
	if read := <-x.told; read == nil || read.Status != model.Completed || string(read.Result) != "null" {
		t.Fatalf("told %s", asText(read))
	}
	w.settle(&store.Finish{ID: id, Error: model.Payload(`{"type":"E"}`)}, &store.Finished{Held: true, Status: model.Failed})
	if read := <-x.told; read == nil || read.Status != model.Failed || string(read.Error) != `{"type":"E"}` {
		t.Fatalf("told %s", asText(read))
	}
}

func TestAStartCanWaitForItsOwnEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	start := func(ms int64, names ...string) <-chan []model.Created {
		items := make([]model.NewExecution, len(names))
		for i, name := range names {
			items[i] = model.NewExecution{Kind: model.Job, Name: name, Awaited: true, Retry: &model.RetryPolicy{Retries: pointer(0)}}
		}
		answered := make(chan []model.Created, 1)
		go func() {
			reply, err := w.CreateExecution(w.ctx, model.CreateExecutionRequest{Items: items, WaitMS: ms})
			if err != nil {
				t.Errorf("create: %v", err)
			}
			answered <- reply.Results
		}()
		return answered
	}

	both := start(patienceInTests.Milliseconds(), "a", "b")
	for _, c := range w.claimAll(worker, 2) {
		if c.Name == "a" {
			w.complete(w.Engine, c, `"done"`)
			continue
		}
		reply, err := w.FailExecution(w.ctx, model.FailExecutionRequest{Items: []model.Failure{{ID: c.ID, Lease: c.Lease, Error: model.Payload(`{"type":"E"}`)}}})
		only(w, reply.Results, err)
	}
	got := <-both
	if a, b := got[0].Outcome, got[1].Outcome; a == nil || a.Status != model.Completed || string(a.Result) != `"done"` || b == nil || b.Status != model.Failed || string(b.Error) != `{"type":"E"}` {
		t.Fatalf("answered %s", asText(got))
	}

	if got := <-start(1, "late"); !got[0].Created || got[0].Outcome != nil {
		t.Fatalf("answered %s", asText(got))
	}
	_, err := w.CreateExecution(w.ctx, model.CreateExecutionRequest{Items: []model.NewExecution{{Kind: model.Job, Name: "j"}}, WaitMS: -1})
	if fault.CodeOf(err) != fault.InvalidRequest {
		t.Fatalf("a negative wait is answered %v", err)
	}
}

// claimAll claims until it has so many.
func (w *world) claimAll(worker uuid.UUID, n int) (claimed []model.Claimed) {
	w.Helper()
	for len(claimed) < n {
		claimed = append(claimed, w.claim(w.Engine, worker, n-len(claimed))...)
	}
	return claimed
}
