package engine

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
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
