package engine

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// withoutStore is an engine whose every loop panics as soon as it has something to do.
func withoutStore(t *testing.T) *Engine {
	t.Helper()
	e := assemble(nil, settings{maxPayload: defaultMaxPayload, listenURL: listenOff}, func() error { return nil })
	e.checked.Store(true)
	t.Cleanup(func() { e.end(); e.loops.Wait() })
	return e
}

func TestWhoWaitsForALoopThatPanicsIsToldAndTheLoopStartsAnew(t *testing.T) {
	t.Parallel()
	e := withoutStore(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for range 4 { // the flusher and the reader
		if _, err := e.reads.get(ctx, uuid.New()); fault.CodeOf(err) != fault.Internal {
			t.Fatalf("a read: %v", err)
		}
		id := uuid.New()
		if err := e.write(ctx, &work{root: id, cancels: []store.Cancel{{ID: id}}}); fault.CodeOf(err) != fault.Internal {
			t.Fatalf("a write: %v", err)
		}
	}
}

func TestALoopThatPanicsIsStartedAnewUntilTheEngineEnds(t *testing.T) {
	t.Parallel()
	e := withoutStore(t)
	begun := make(chan struct{})
	e.spawn("test", func(context.Context) {
		begun <- struct{}{}
		panic("as the test wants it")
	})
	<-begun
	<-begun
	e.ticker.start()
	e.hints.mu.Lock()
	e.hints.queues["q"] = true
	e.hints.mu.Unlock()
	e.hints.send()
}

func TestAPanicWhileLockedRowsAreLookedForIsNoEndOfTheBatch(t *testing.T) {
	t.Parallel()
	works := []*work{
		{cancels: []store.Cancel{{ID: uuid.New()}}},
		{cancels: []store.Cancel{{ID: uuid.New()}}},
	}
	rest, panicked := withoutStore(t).flusher.setAside(t.Context(), works)
	if !panicked || len(rest) != 2 {
		t.Fatalf("panicked %v, and %d of 2 are left", panicked, len(rest))
	}
}

func TestWhatAFlushClaimedThatPanickedBeforeItsAnswersGoesBack(t *testing.T) {
	t.Parallel()
	for told, want := range map[bool]int{true: 1, false: 0} {
		e := withoutStore(t)
		w := newWorker(e, uuid.New(), model.StartWorkerRequest{Queues: []string{"q"}, Concurrency: 1})
		w.slots.open(model.ClaimRequest{N: 1, WaitMS: 1000})
		id, lease := uuid.New(), model.Lease{Epoch: 1, Token: uuid.New()}
		claimed := []model.Claimed{{ID: id, RootID: id, Kind: model.Job, Queue: "q", Lease: lease}}
		e.claiming.RLock()
		h := &handover{worker: w, reserved: w.slots.reserve(1, false, false), claim: w.newClaim(1, false)}
		h.settle(claimed, nil)
		h.fill(claimed, told)
		if ready := w.slots.collect(1); len(ready) != want || e.leases.knows(id, lease) != told {
			t.Errorf("told %v: the worker is given %d, and holds it: %v", told, len(ready), e.leases.knows(id, lease))
		}
		select {
		case <-w.slots.filled:
		default:
			t.Errorf("told %v: a claim that left its slots to the flush sleeps on", told)
		}
	}
}

func TestWhoGivesUpWhileAStartBecomesUnsureDisturbsNothing(t *testing.T) {
	t.Parallel()
	e := withoutStore(t)
	w := newWorker(e, uuid.New(), model.StartWorkerRequest{Queues: []string{"q"}, Concurrency: 1})
	for range 200 {
		id, lease := uuid.New(), model.Lease{Epoch: 1, Token: uuid.New()}
		x := &early{worker: w, claimed: model.Claimed{ID: id, RootID: id, Kind: model.Workflow, Lease: lease, Position: 1}}
		e.leases.addEarly(x)
		asks := &work{root: id, ctx: t.Context(), awaits: x, asked: &store.Advance{ID: id, Lease: lease, Position: 1}}
		if !x.join(asks) {
			t.Fatal("it does not wait")
		}
		begin, over := make(chan struct{}), make(chan struct{})
		for _, act := range []func(){func() { x.end(true, true) }, func() { e.abandon(asks) }} {
			go func() {
				<-begin
				act()
				over <- struct{}{}
			}()
		}
		close(begin)
		<-over
		<-over
		if asks.advance == nil {
			t.Fatal("the row is not asked")
		}
	}
}
