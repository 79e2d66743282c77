package engine

import (
	"context"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// StopWorker ends a worker, or first only stops it from claiming.
//
// What it still holds at its end is given back at once and counts as no
// attempt. Writes under way are finished before.
//
// Errors: worker_not_found, database_unavailable.
func (e *Engine) StopWorker(ctx context.Context, req model.StopWorkerRequest) (model.StopWorkerReply, error) {
	w, err := e.findWorker(req.WorkerID)
	if err != nil {
		return model.StopWorkerReply{}, err
	}
	if req.Drain {
		return model.StopWorkerReply{}, e.drainWorker(ctx, w)
	}
	released, err := e.stopWorker(ctx, w)
	return model.StopWorkerReply{Released: released}, err
}

// drainWorker comes first in the database: a claim under way that sees it
// afterwards takes nothing.
func (e *Engine) drainWorker(ctx context.Context, w *worker) error {
	w.draining.Store(true)
	w.rouse(0)
	w.returnReady()
	return e.store.SetWorker(ctx, w.current(), "draining")
}

func (e *Engine) stopWorker(ctx context.Context, w *worker) (released int, err error) {
	if err := e.drainWorker(ctx, w); err != nil {
		return 0, err
	}
	select { // a claim under way ends before its rows are counted
	case w.claiming <- struct{}{}:
		defer func() { <-w.claiming }()
	case <-ctx.Done():
	}
	e.drainFlusher(ctx)
	if released, err = e.giveUpAll(ctx, w); err != nil {
		return released, err
	}
	w.stop()
	<-w.stopped
	e.mu.Lock()
	delete(e.workers, w.handle)
	e.mu.Unlock()
	return released, e.store.SetWorker(ctx, w.current(), "stopped")
}

// giveUpAll puts back what the database says a worker holds, which is more than
// the worker knows when the reply of a claim was lost.
func (e *Engine) giveUpAll(ctx context.Context, w *worker) (released int, err error) {
	_, rows, err := e.store.Beat(ctx, w.current())
	if err != nil {
		return 0, err
	}
	works := make([]*work, 0, len(rows))
	for _, row := range rows {
		x := &work{root: row.ID, ctx: ctx, release: &store.Release{ID: row.ID, Lease: row.Lease, Reason: model.ReleaseDrain}}
		if err := e.enqueue(x); err != nil {
			return released, err
		}
		works = append(works, x)
	}
	for _, x := range works {
		if err := x.wait(ctx); err != nil {
			return released, err
		}
		if x.out.release.Held {
			released++
		}
	}
	for _, held := range e.leases.heldBy(w) {
		e.leases.forget(held)
	}
	return released, nil
}
