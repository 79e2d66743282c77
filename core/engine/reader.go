package engine

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/store"
)

const (
	readBatch = 500
	readLimit = 30 * time.Second
)

// reader gathers reads as the flushers gather writes.
type reader struct {
	engine *Engine
	mu     sync.Mutex
	queue  []read
	more   chan struct{}
}

type read struct {
	id   uuid.UUID
	done chan answer
}

type answer struct {
	read store.Read
	err  error
}

func newReader(e *Engine) *reader { return &reader{engine: e, more: make(chan struct{}, 1)} }

func (r *reader) get(ctx context.Context, id uuid.UUID) (store.Read, error) {
	x := read{id, make(chan answer, 1)}
	r.mu.Lock()
	r.queue = append(r.queue, x)
	r.mu.Unlock()
	poke(r.more)
	select {
	case a := <-x.done:
		return a.read, a.err
	case <-ctx.Done():
		return store.Read{}, fault.New(fault.Cancelled, nil, "the call was cancelled")
	case <-r.engine.ctx.Done():
		return store.Read{}, fault.New(fault.Closed, nil, "the engine was closed while a call waited")
	}
}

func (r *reader) loop(ctx context.Context) {
	for {
		for reads := r.take(); len(reads) > 0; reads = r.take() { // first, for a loop that starts anew
			r.read(ctx, reads)
		}
		select {
		case <-ctx.Done():
			return
		case <-r.more:
		}
	}
}

func (r *reader) take() []read {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.queue), readBatch)
	batch := r.queue[:n:n]
	r.queue = r.queue[n:]
	return batch
}

func (r *reader) read(ctx context.Context, reads []read) {
	defer func() {
		// A panic must not leave callers waiting; the loop's guard logs it.
		if r := recover(); r != nil {
			for _, x := range reads {
				select {
				case x.done <- answer{err: fault.New(fault.Internal, nil, "the library failed while it read this; its log has the stack")}:
				default: // it had its answer
				}
			}
			panic(r)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	defer func() {
		// A panic must not leave callers waiting, nor those who came behind them; the loop's guard logs it.
		if p := recover(); p != nil {
			poke(r.more)
			for _, x := range reads {
				x.answer(answer{err: fault.New(fault.Internal, nil, "the library failed while it read this; its log has the stack")})
			}
			panic(p)
		}
	}()
	ids := make([]uuid.UUID, len(reads))
	for i, x := range reads {
		ids[i] = x.id
	}
	found, err := r.engine.store.Get(ctx, ids)
	for _, x := range reads {
		a := answer{err: err}
		if err == nil {
			var ok bool
			if a.read, ok = found[x.id]; !ok {
				a.err = notFound(x.id)
			}
		}
		x.answer(a)
	}
}

// answer answers once.
func (x read) answer(a answer) {
	select {
	case x.done <- a:
	default:
	}
}

func notFound(id uuid.UUID) error {
	return fault.New(fault.ExecutionNotFound, fault.Details{"id": id}, "no execution has id %s; check the id and the schema", id)
}

func lost(id uuid.UUID) error {
	return fault.New(fault.LeaseLost, fault.Details{"id": id},
		"execution %s is no longer held under this lease; stop working on it, whoever holds it now goes on", id)
}
