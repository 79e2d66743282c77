package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

const (
	// waiterPoll is how often those who wait for an end look for it themselves.
	waiterPoll  = time.Second
	waiterRetry = 200 * time.Millisecond
)

// waiters are the calls of this process that wait for an execution to end. One
// query looks for all of them.
type waiters struct {
	engine *Engine
	mu     sync.Mutex
	byID   map[uuid.UUID][]chan struct{}
	now    chan struct{}
	once   sync.Once
}

func newWaiters(e *Engine) *waiters {
	return &waiters{engine: e, byID: map[uuid.UUID][]chan struct{}{}, now: make(chan struct{}, 1)}
}

func (w *waiters) add(id uuid.UUID) (told chan struct{}, remove func()) {
	w.once.Do(func() { w.engine.spawn("waiters", w.loop) })
	told = make(chan struct{}, 1)
	w.mu.Lock()
	w.byID[id] = append(w.byID[id], told)
	w.mu.Unlock()
	return told, func() { w.remove(id, told) }
}

func (w *waiters) remove(id uuid.UUID, told chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := w.byID[id][:0]
	for _, other := range w.byID[id] {
		if other != told {
			kept = append(kept, other)
		}
	}
	if w.byID[id] = kept; len(kept) == 0 {
		delete(w.byID, id)
	}
}

// tell wakes who waits for an execution.
func (w *waiters) tell(id uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, told := range w.byID[id] {
		poke(told)
	}
}

// look polls now instead of at the next turn.
func (w *waiters) look() { poke(w.now) }

func (w *waiters) loop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.now:
		case <-time.After(waiterPoll):
		}
		if ids := w.waiting(); len(ids) > 0 {
			if err := w.poll(ctx, ids); err != nil && ctx.Err() == nil {
				slog.Debug("ends could not be looked up; the next poll does it", "error", err)
			}
		}
	}
}

// poll tells of ends. Deadlines are the workers' business; a process without any
// keeps those that its callers wait for, because there may be no worker at all.
func (w *waiters) poll(ctx context.Context, ids []uuid.UUID) error {
	final, overdue, err := w.engine.store.Ends(ctx, ids, len(w.engine.listWorkers()) == 0)
	for _, id := range final {
		w.tell(id)
	}
	if err != nil || len(overdue) == 0 {
		return err
	}
	defer w.engine.hints.send()
	return w.engine.expire(ctx, overdue)
}

func (w *waiters) waiting() []uuid.UUID {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make([]uuid.UUID, 0, len(w.byID))
	for id := range w.byID {
		ids = append(ids, id)
	}
	return ids
}

// GetExecution reads an execution as it stands.
//
// Errors: execution_not_found, database_unavailable.
func (e *Engine) GetExecution(ctx context.Context, req model.GetExecutionRequest) (model.Execution, error) {
	read, err := e.get(ctx, req.ID)
	return read.Execution, err
}

func (e *Engine) get(ctx context.Context, id uuid.UUID) (store.Read, error) {
	if err := checkID("id", id); err != nil {
		return store.Read{}, err
	}
	if err := e.ready(ctx); err != nil {
		return store.Read{}, err
	}
	return e.reads.get(ctx, id)
}

// WaitExecution waits for an execution to end and answers it as it then stands.
//
// When the wait is over first it answers the execution as it stands then: that
// its status is not final is no error.
//
// Errors: execution_not_found, database_unavailable.
func (e *Engine) WaitExecution(ctx context.Context, req model.WaitExecutionRequest) (model.Execution, error) {
	if err := checkDelay("wait_ms", req.WaitMS); err != nil {
		return model.Execution{}, err
	}
	told, remove := e.waiters.add(req.ID)
	defer remove()
	e.hints.listen()
	read, err := e.get(ctx, req.ID)
	if err != nil || read.Status.Final() || req.WaitMS == 0 {
		return read.Execution, err
	}
	if !read.Awaited {
		if err := e.store.Await(ctx, []uuid.UUID{req.ID}); err != nil && !fault.From(err).Retryable {
			return model.Execution{}, err
		}
		e.waiters.look()
		// A claim passes over a row that is being written: look again.
		e.dueEffects(read.Status, read.Queue, read.RunAt)
		e.hints.send()
	}
	return e.waitTold(ctx, req, told)
}

func (e *Engine) waitTold(ctx context.Context, req model.WaitExecutionRequest, told chan struct{}) (model.Execution, error) {
	over := time.NewTimer(time.Duration(req.WaitMS) * time.Millisecond)
	defer over.Stop()
	for {
		ended := false
		select {
		case <-told:
		case <-over.C:
			ended = true
		case <-ctx.Done():
			return model.Execution{}, fault.New(fault.Cancelled, nil, "the call was cancelled")
		case <-e.ctx.Done():
			return model.Execution{}, fault.New(fault.Closed, nil, "the engine was closed while a call waited")
		}
		read, err := e.get(ctx, req.ID)
		if err != nil && !ended && fault.From(err).Retryable {
			// The database restarts, perhaps; that is no reason to end the wait.
			time.AfterFunc(waiterRetry, func() { poke(told) })
			continue
		}
		if err != nil || ended || read.Status.Final() {
			return read.Execution, err
		}
	}
}
