package engine

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

const (
	maxClaim   = 1000
	maxLacking = 1000
	claimLimit = 10 * time.Second
	// writeLag is how late writes may be before the worker takes nothing more.
	writeLag = time.Second
)

// Claim hands a worker executions that are due, highest priority first, and
// waits for the first if there are none.
//
// Workflows come with their history. What was claimed is the worker's until it
// reports an outcome, releases it, or is declared dead. A claim that is
// cancelled gives back what it was about to hand over.
//
// Errors: worker_not_found, invalid_request, schema_missing, schema_outdated, schema_too_new, database_unavailable.
func (e *Engine) Claim(ctx context.Context, req model.ClaimRequest) (model.ClaimReply, error) {
	w, err := e.findWorker(req.WorkerID)
	if err != nil {
		return model.ClaimReply{}, err
	}
	if req.N < 1 || req.N > maxClaim {
		return model.ClaimReply{}, invalid("n", "is %d; it must be 1 to %d", req.N, maxClaim)
	}
	if len(req.Lacking) > maxLacking {
		return model.ClaimReply{}, invalid("lacking", "has %d entries; it must have at most %d", len(req.Lacking), maxLacking)
	}
	if err := checkDelay("wait_ms", req.WaitMS); err != nil {
		return model.ClaimReply{}, err
	}
	if err := e.ready(ctx); err != nil {
		return model.ClaimReply{}, err
	}
	select {
	case w.claiming <- struct{}{}:
		defer func() { <-w.claiming }()
	case <-ctx.Done():
		return model.ClaimReply{}, fault.New(fault.Cancelled, nil, "the claim was cancelled")
	}
	return w.claim(ctx, req)
}

func (w *worker) claim(ctx context.Context, req model.ClaimRequest) (model.ClaimReply, error) {
	over := time.NewTimer(time.Duration(req.WaitMS) * time.Millisecond)
	defer over.Stop()
	for {
		if w.draining.Load() {
			return model.ClaimReply{Executions: []model.Claimed{}, Draining: true}, nil
		}
		claimed, err := w.tryClaim(ctx, req)
		if err != nil {
			return model.ClaimReply{}, err
		}
		if len(claimed) > 0 {
			return model.ClaimReply{Executions: claimed}, nil
		}
		select {
		case <-w.wake:
		case <-over.C:
			return model.ClaimReply{Executions: []model.Claimed{}}, nil
		case <-ctx.Done():
			return model.ClaimReply{}, fault.New(fault.Cancelled, nil, "the claim was cancelled")
		}
	}
}

// tryClaim asks the database once, if the worker may take anything now.
func (w *worker) tryClaim(ctx context.Context, req model.ClaimRequest) ([]model.Claimed, error) {
	if w.stale() {
		poke(w.beatNow)
		return nil, nil
	}
	if w.engine.behind() > writeLag {
		time.AfterFunc(writeLag/10, func() { poke(w.wake) })
		return nil, nil
	}
	// One claim of the process at a time decides, so that nothing slips in beside
	// what is to run alone.
	w.engine.claiming.Lock()
	defer w.engine.claiming.Unlock()
	suspect, may := w.engine.solo.mode(w.engine.leases.len())
	switch {
	case !may:
		return nil, nil
	case !suspect:
		return w.ask(ctx, req, req.N, false)
	}
	claimed, err := w.ask(ctx, req, 1, true)
	w.engine.solo.took(len(claimed))
	if err == nil && len(claimed) == 0 {
		return w.ask(ctx, req, req.N, false)
	}
	return claimed, err
}

// ask claims under a token of its own. The query is not cut short when the
// caller gives up, because then nobody would know what it took.
func (w *worker) ask(ctx context.Context, req model.ClaimRequest, n int, suspect bool) ([]model.Claimed, error) {
	token := uuid.New()
	w.mu.Lock()
	id := w.id
	w.claims[token] = true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.claims, token)
		w.mu.Unlock()
	}()
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimLimit)
	defer cancel()
	claimed, err := w.engine.store.Claim(limited, store.Claim{
		Worker: id, Queues: w.request.Queues, N: n, Token: token, Suspect: suspect, Lacking: req.Lacking, Warm: w.request.Warm,
	})
	if err != nil {
		poke(w.beatNow) // it may have taken some all the same: the beat finds out
		return nil, err
	}
	if len(claimed) == 0 {
		return nil, nil
	}
	if id != w.current() {
		return nil, nil // declared dead meanwhile; others recover these
	}
	w.engine.leases.add(w, claimed)
	if ctx.Err() != nil {
		w.putBack(claimed)
		return nil, fault.New(fault.Cancelled, nil, "the claim was cancelled")
	}
	return claimed, nil
}

// putBack releases what a cancelled claim took.
func (w *worker) putBack(claimed []model.Claimed) {
	for i := range claimed {
		c := &claimed[i]
		release := &work{root: c.RootID, ctx: context.WithoutCancel(w.engine.ctx), release: &store.Release{ID: c.ID, Lease: c.Lease, Reason: model.ReleaseDrain}}
		w.engine.leases.end(c.ID, c.Lease, false, 0)
		if err := w.engine.enqueue(release); err != nil {
			slog.Warn("a cancelled claim could not be given back; the next beat does it", "execution", c.ID, "error", err)
		}
	}
}
