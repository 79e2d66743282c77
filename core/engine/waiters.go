package engine

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

const (
	// maxAwaited bounds how many starts are remembered. Beyond it they are forgotten,
	// and who waits for them looks once more than is needed.
	maxAwaited = 100_000
	// waiterPoll is how often those who wait for an end look for it themselves.
	waiterPoll  = time.Second
	waiterRetry = 200 * time.Millisecond
)

// waiters are the calls of this process that wait for an execution to end. One
// query looks for all of them.
type waiters struct {
	engine *Engine
	mu     sync.Mutex
	byID   map[uuid.UUID][]*wait
	// awaited are executions that were started here, by somebody who said that they will
	// wait, and that have not ended as far as is known.
	awaited map[uuid.UUID]bool
	now     chan struct{}
	once    sync.Once
}

// wait is one call's. It is told of the end, with the execution as it has ended if that is
// known; who wants no more than the outcome gets just that in it.
type wait struct {
	told    chan *store.Read
	outcome bool
}

func newWaiters(e *Engine) *waiters {
	return &waiters{engine: e, byID: map[uuid.UUID][]*wait{}, awaited: map[uuid.UUID]bool{}, now: make(chan struct{}, 1)}
}

// expect remembers an execution that was started to be awaited.
func (w *waiters) expect(id uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.awaited) >= maxAwaited {
		clear(w.awaited)
	}
	w.awaited[id] = true
}

// add begins a wait. What is known not to have ended need not be looked at first.
func (w *waiters) add(id uuid.UUID, outcome bool) (x *wait, awaited bool, remove func()) {
	w.once.Do(func() { w.engine.spawn("waiters", w.loop) })
	x = &wait{make(chan *store.Read, 1), outcome}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.byID[id] = append(w.byID[id], x)
	return x, w.awaited[id], func() { w.remove(id, x) }
}

func (w *waiters) remove(id uuid.UUID, x *wait) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := slices.DeleteFunc(w.byID[id], func(other *wait) bool { return other == x })
	if w.byID[id] = kept; len(kept) == 0 {
		delete(w.byID, id)
	}
}

// among answers those that some call waits for to have them whole.
func (w *waiters) among(finishes []store.Finish) (ids []uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range finishes {
		if slices.ContainsFunc(w.byID[finishes[i].ID], func(x *wait) bool { return !x.outcome }) {
			ids = append(ids, finishes[i].ID)
		}
	}
	return ids
}

// hand hands over executions that have ended.
func (w *waiters) hand(reads map[uuid.UUID]store.Read) {
	for id, read := range reads {
		if read.Status.Final() {
			w.tell(id, &read)
		}
	}
}

// tell wakes who waits for an execution, with the execution as it has ended if that is known.
func (w *waiters) tell(id uuid.UUID, ended *store.Read) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.awaited, id)
	for _, x := range w.byID[id] {
		pass(x.told, ended)
	}
}

// settle tells who wants no more than the outcome what a finish has written.
func (w *waiters) settle(x *store.Finish, f *store.Finished) {
	ended := store.Read{Execution: model.Execution{ID: x.ID, Status: f.Status}}
	switch {
	case !f.Held:
		return
	case f.Status == model.Completed:
		if ended.Result = x.Result; len(x.Result) == 0 {
			ended.Result = null
		}
	case f.Status == model.Failed:
		ended.Error = x.Error
	default:
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, waiting := range w.byID[x.ID] {
		if waiting.outcome {
			pass(waiting.told, &ended)
		}
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
		w.tell(id, nil)
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
	if err := checkID(fieldAt("id"), id); err != nil {
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
	if err := checkDelay(fieldAt("wait_ms"), req.WaitMS); err != nil {
		return model.Execution{}, err
	}
	x, awaited, remove := e.waiters.add(req.ID, false)
	defer remove()
	if awaited && req.WaitMS > 0 {
		return e.waitTold(ctx, req, x.told)
	}
	return e.waitFor(ctx, req, x.told)
}

// waitFor looks first, and waits for what has not ended.
func (e *Engine) waitFor(ctx context.Context, req model.WaitExecutionRequest, told chan *store.Read) (model.Execution, error) {
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

func (e *Engine) waitTold(ctx context.Context, req model.WaitExecutionRequest, told chan *store.Read) (model.Execution, error) {
	e.hints.listen()
	over := time.NewTimer(time.Duration(req.WaitMS) * time.Millisecond)
	defer over.Stop()
	for {
		ended := false
		select {
		case read := <-told:
			if read != nil {
				return read.Execution, nil
			}
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
			e.after(waiterRetry, "a wait", func() { pass(told, nil) })
			continue
		}
		if err != nil || ended || read.Status.Final() {
			return read.Execution, err
		}
	}
}

// pass tells a wait, unless it has been told already and not looked yet.
func pass(told chan *store.Read, ended *store.Read) {
	select {
	case told <- ended:
	default:
	}
}
