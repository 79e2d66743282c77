package engine

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/store"
)

func queued(works ...*work) *flusher {
	f := newFlusher(&Engine{})
	for _, w := range works {
		w.ctx, w.done = context.Background(), make(chan error, 1)
	}
	f.queue = works
	return f
}

func advanceOf(id uuid.UUID) *work { return &work{advance: &store.Advance{ID: id}} }

func TestABatchWritesAnExecutionOnceAndKeepsTheOrder(t *testing.T) {
	t.Parallel()
	a, b := uuid.New(), uuid.New()
	works := []*work{advanceOf(a), advanceOf(b), advanceOf(a), {finished: &store.Finish{ID: a}}, {signals: []store.Signal{{ID: a}}}}
	f := queued(works...)
	want := [][]*work{{works[0], works[1], works[4]}, {works[2]}, {works[3]}, nil}
	for i := range want {
		batch := f.take()
		if len(batch) != len(want[i]) {
			t.Fatalf("batch %d has %d works, want %d", i, len(batch), len(want[i]))
		}
		for j := range batch {
			if batch[j] != want[i][j] {
				t.Fatalf("batch %d is in another order", i)
			}
		}
	}
}

func TestABatchIsBoundedInItemsAndBytes(t *testing.T) {
	t.Parallel()
	var works []*work
	for range batchItems + 7 {
		works = append(works, &work{signals: []store.Signal{{}}})
	}
	f := queued(works...)
	if n := len(f.take()); n != batchItems {
		t.Fatalf("%d works in a batch", n)
	}
	if n := len(f.take()); n != 7 {
		t.Fatalf("%d works in the rest", n)
	}
	f = queued(&work{size: batchBytes}, &work{size: 1})
	if n := len(f.take()); n != 1 {
		t.Fatalf("%d works beside a huge one", n)
	}
}

func TestWhatIsQueuedWhenTheEngineEndsIsRefused(t *testing.T) {
	t.Parallel()
	w := &work{signals: []store.Signal{{}}}
	f := queued(w)
	f.refuse()
	if code := fault.CodeOf(<-w.done); code != fault.Closed {
		t.Fatalf("refused with %s", code)
	}
}

func TestAnAbandonedWriteIsNotMadeButATriedOneIs(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	fresh := &work{ctx: ctx, done: make(chan error, 1)}
	tried := &work{ctx: ctx, done: make(chan error, 1), tries: 1}
	if kept := withoutAbandoned([]*work{fresh, tried}); len(kept) != 1 || kept[0] != tried {
		t.Fatal("the wrong one was kept")
	}
	if code := fault.CodeOf(<-fresh.done); code != fault.Cancelled {
		t.Fatalf("answered %s", code)
	}
}

func TestASecondFlushSetsOutBesideASlowOneAndLeavesItsRootsAlone(t *testing.T) {
	t.Parallel()
	slow, other := uuid.New(), uuid.New()
	f := queued(&work{root: slow, signals: []store.Signal{{ID: slow}}})
	first := f.next()
	follows, free := &work{root: slow, signals: []store.Signal{{ID: slow}}}, &work{root: other, signals: []store.Signal{{ID: other}}}
	f.queue = []*work{follows, free}
	began := time.Now()
	second := f.next()
	if len(second) != 1 || second[0] != free {
		t.Fatalf("%d works set out beside the first", len(second))
	}
	if took := time.Since(began); took < stagger {
		t.Fatalf("it set out after %s", took)
	}
	time.AfterFunc(stagger, func() { f.over(first) })
	if third := f.next(); len(third) != 1 || third[0] != follows {
		t.Fatal("what follows on the first did not follow")
	}
	f.over(second)
	f.over([]*work{follows})
	if f.busy != 0 || len(f.flying) != 0 {
		t.Fatalf("%d flushes are on their way with %d roots", f.busy, len(f.flying))
	}
}

func TestNobodyWaitsForABatchOfAnEndedEngine(t *testing.T) {
	t.Parallel()
	f := queued()
	time.AfterFunc(time.Millisecond, f.refuse)
	if works := f.next(); works != nil {
		t.Fatalf("%d works were taken", len(works))
	}
}
