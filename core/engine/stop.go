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
	poke(w.wake)
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
	e.drainFlushers(ctx)
	for _, held := range e.leases.heldBy(w) {
		if e.giveUp(ctx, held) {
			released++
		}
	}
	w.stop()
	<-w.stopped
	e.mu.Lock()
	delete(e.workers, w.handle)
	e.mu.Unlock()
	return released, e.store.SetWorker(ctx, w.current(), "stopped")
}

// giveUp puts one execution back on behalf of a worker that ends.
func (e *Engine) giveUp(ctx context.Context, held *lease) bool {
	w := &work{root: held.root, release: &store.Release{ID: held.id, Lease: held.lease, Reason: model.ReleaseDrain}}
	w.ctx = ctx
	err := e.enqueue(w)
	if err == nil {
		err = w.wait(ctx)
	}
	e.leases.forget(held)
	return err == nil && w.out.release.Held
}
