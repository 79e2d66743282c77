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
// A caller that waits, with wait_ms, is expected to claim again. Of the n that it
// can take, what it was not given is filled meanwhile with what this process
// itself makes due, which the next claim answers at once. What nobody comes for
// within a second or so is put back and counts as no attempt.
//
// Errors: worker_not_found, invalid_request, schema_missing, schema_outdated, schema_too_new, database_unavailable.
func (e *Engine) Claim(ctx context.Context, req model.ClaimRequest) (model.ClaimReply, error) {
	w, err := e.findWorker(req.WorkerID)
	if err != nil {
		return model.ClaimReply{}, err
	}
	if req.N < 1 || req.N > maxClaim {
		return model.ClaimReply{}, invalid(fieldAt("n"), "is %d; it must be 1 to %d", req.N, maxClaim)
	}
	if len(req.Lacking) > maxLacking {
		return model.ClaimReply{}, invalid(fieldAt("lacking"), "has %d entries; it must have at most %d", len(req.Lacking), maxLacking)
	}
	if err := checkDelay(fieldAt("wait_ms"), req.WaitMS); err != nil {
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
	if w.slots.open(req) {
		w.exhausted.Store(false) // what the last look passed over may be due
	}
	defer func() { w.slots.close(req.WaitMS > 0 && ctx.Err() == nil) }()
	for {
		if w.draining.Load() {
			return model.ClaimReply{Executions: []model.Claimed{}, Draining: true}, nil
		}
		claimed, err := w.collect(req.N), error(nil)
		if len(claimed) == 0 {
			claimed, err = w.look(ctx)
		}
		if ctx.Err() != nil {
			w.putBack(claimed)
			w.returnReady()
			return model.ClaimReply{}, fault.New(fault.Cancelled, nil, "the claim was cancelled")
		}
		if err != nil || len(claimed) > 0 {
			return model.ClaimReply{Executions: claimed}, err
		}
		select {
		case <-w.wake:
		case <-w.slots.filled:
		case <-over.C:
			return model.ClaimReply{Executions: []model.Claimed{}}, nil
		case <-ctx.Done():
		}
	}
}

// collect takes what flushes have claimed and the worker still holds. Whoever is to stop
// was told so before the caller knew of it.
func (w *worker) collect(n int) (claimed []model.Claimed) {
	for _, c := range w.slots.collect(n) {
		if held, cancelled := w.engine.leases.holds(c.ID, c.Lease); held {
			c.CancelRequested = c.CancelRequested || cancelled
			claimed = append(claimed, c)
		}
	}
	return claimed
}

// look claims, unless the last look took all that was due and nobody has said since
// that there is more. Where it is known how much more, it asks for that, and leaves the
// other slots for flushes to fill.
func (w *worker) look(ctx context.Context) ([]model.Claimed, error) {
	known, beyond := w.rumour.take()
	if w.exhausted.Load() && known == 0 && !beyond {
		return nil, nil
	}
	if w.known = maxClaim; w.exhausted.Load() && !beyond {
		w.known = known
	}
	w.exhausted.Store(false)
	if ctx.Err() != nil || !w.mayClaim() {
		return nil, nil
	}
	return w.tryClaim(ctx)
}

// tryClaim asks the database once. What is to run alone excludes every other claim of
// the process, so that nothing slips in beside it.
func (w *worker) tryClaim(ctx context.Context) ([]model.Claimed, error) {
	e := w.engine
	e.claiming.RLock()
	suspect, may := e.solo.mode(e.leases.len())
	if may && !suspect {
		defer e.claiming.RUnlock()
		return w.ask(ctx, w.known, false)
	}
	e.claiming.RUnlock()
	if !may {
		return nil, nil
	}
	return w.tryAlone(ctx)
}

func (w *worker) tryAlone(ctx context.Context) ([]model.Claimed, error) {
	e := w.engine
	e.claiming.Lock()
	defer e.claiming.Unlock()
	if suspect, may := e.solo.mode(e.leases.len()); !suspect || !may {
		w.rouse(0)
		return nil, nil
	}
	claimed, err := w.ask(ctx, 1, true)
	e.solo.took(len(claimed))
	if err == nil && len(claimed) == 0 {
		return w.ask(ctx, w.known, false)
	}
	return claimed, err
}

// mayClaim: leases are fresh, and writes keep up.
func (w *worker) mayClaim() bool {
	if w.draining.Load() {
		return false
	}
	if w.stale() {
		poke(w.beatNow)
		return false
	}
	if w.engine.behind() > writeLag {
		w.engine.after(writeLag/10, "a claim", func() { w.rouse(0) })
		return false
	}
	return true
}

// ask claims for the free slots under a token of its own. The query is not cut short when
// the caller gives up, because then nobody would know what it took.
func (w *worker) ask(ctx context.Context, n int, suspect bool) (claimed []model.Claimed, err error) {
	isKnown := n < maxClaim && !suspect
	if n = w.slots.reserve(n, true, w.isScarce && !isKnown); n == 0 {
		return nil, nil // a flush fills them
	}
	defer func() { w.slots.settle(n, len(claimed)) }()
	claim := w.newClaim(n, suspect)
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimLimit)
	defer cancel()
	err = errUnsettled // what a panic leaves behind is looked for like what an error does
	defer func() { claimed = w.took(claim, claimed, err) }()
	claimed, err = w.engine.store.Claim(limited, claim)
	w.engine.mindRoom(err)
	w.isScarce = err == nil && len(claimed) < n
	w.exhausted.Store(err == nil && !suspect && (w.isScarce || isKnown && n == w.known))
	return claimed, err
}

// newClaim makes a claim and notes that it is under way.
func (w *worker) newClaim(n int, suspect bool) store.Claim {
	lacking := w.slots.lacking()
	w.mu.Lock()
	defer w.mu.Unlock()
	token := uuid.New()
	w.claims[token] = true
	return store.Claim{Worker: w.id, Queues: w.request.Queues, N: n, Token: token, Suspect: suspect, Lacking: lacking, Warm: w.request.Warm}
}

// took takes in what a claim brought, and answers what of it the worker holds.
func (w *worker) took(c store.Claim, claimed []model.Claimed, err error) []model.Claimed {
	switch {
	case err != nil:
		claimed = nil
		poke(w.beatNow) // it may have taken some all the same: the beat finds out
	case c.Worker != w.current():
		claimed = nil // declared dead meanwhile; others recover these
	}
	w.engine.leases.add(w, claimed)
	w.mu.Lock()
	delete(w.claims, c.Token)
	w.mu.Unlock()
	return claimed
}

// returnReady gives back what flushes have claimed for a caller who does not come for it.
func (w *worker) returnReady() { w.putBack(w.slots.collect(maxConcurrency)) }

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
