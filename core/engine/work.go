package engine

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// work is one caller's write and, afterwards, its outcome. It has one target,
// and at most one of each part.
type work struct {
	// root decides the flusher.
	root uuid.UUID
	// size in bytes, roughly.
	size int

	// early is the holder of its one create, and awaits one whose start it asks for. What it asks
	// becomes its advance only if the start does not tell.
	early, awaits *early
	asked         *store.Advance

	creates  []store.NewRow
	signals  []store.Signal
	progress *store.Progress
	release  *store.Release
	advance  *store.Advance
	cancels  []store.Cancel
	finished *store.Finish

	ctx   context.Context
	since time.Time
	tries int
	// aside: it waits by itself for a row that somebody else has locked.
	aside bool
	// panicked: a flush of it did; the next one that does is its last.
	panicked, written bool

	done chan error

	out outcome
}

// outcome holds what became of each part of a work.
type outcome struct {
	made     []store.Made
	signals  []store.Signaled
	progress bool
	release  store.Released
	advance  store.Advanced
	marked   []store.Woken
	ended    []store.Ended
	finished store.Finished
}

// cursor is how far the answers of a flush have been handed out.
type cursor struct{ signals, progress, releases, advances, cancels, finishes int }

// target is the execution that the work writes under a lease. A batch writes
// each at most once.
func (w *work) target() uuid.UUID {
	switch {
	case w.advance != nil:
		return w.advance.ID
	case w.finished != nil:
		return w.finished.ID
	case w.release != nil:
		return w.release.ID
	case w.progress != nil:
		return w.progress.ID
	case len(w.creates) == 1:
		return w.creates[0].ID // the caller may have chosen it, twice
	}
	return uuid.Nil
}

// row is the execution that the work needs a lock on, held under a lease or not.
func (w *work) row() uuid.UUID {
	switch {
	case len(w.signals) > 0:
		return w.signals[0].ID
	case len(w.cancels) > 0:
		return w.cancels[0].ID
	}
	return w.target()
}

func (w *work) addTo(b *store.Batch) {
	b.Creates = append(b.Creates, w.creates...)
	b.Cancels = append(b.Cancels, w.cancels...)
	b.Signals = append(b.Signals, w.signals...)
	b.Progress = appendSet(b.Progress, w.progress)
	b.Releases = appendSet(b.Releases, w.release)
	b.Advances = appendSet(b.Advances, w.advance)
	b.Finishes = appendSet(b.Finishes, w.finished)
}

func appendSet[T any](to []T, part *T) []T {
	if part == nil {
		return to
	}
	return append(to, *part)
}

// takeFrom picks the work's outcome out of a flush, in the order of addTo.
func (w *work) takeFrom(f *store.Flushed, c cursor) cursor {
	w.out = outcome{}
	for i := range w.creates {
		w.out.made = append(w.out.made, *f.Made[w.creates[i].ID])
	}
	if n := len(w.cancels); n > 0 {
		w.out.marked, w.out.ended = f.Marked[c.cancels:c.cancels+n], f.Ended[c.cancels:c.cancels+n]
		c.cancels += n
	}
	w.out.signals = f.Signals[c.signals : c.signals+len(w.signals)]
	c.signals += len(w.signals)
	c.progress = takeSet(f.Progress, w.progress != nil, c.progress, &w.out.progress)
	c.releases = takeSet(f.Releases, w.release != nil, c.releases, &w.out.release)
	c.advances = takeSet(f.Advances, w.advance != nil, c.advances, &w.out.advance)
	c.finishes = takeSet(f.Finishes, w.finished != nil, c.finishes, &w.out.finished)
	return c
}

func takeSet[T any](from []T, set bool, at int, to *T) int {
	if !set {
		return at
	}
	*to = from[at]
	return at + 1
}

// finish tells the caller, once.
func (w *work) finish(err error) {
	if err != nil && w.early != nil {
		w.early.end(false, false)
	}
	select {
	case w.done <- err:
	default:
	}
}

func (w *work) wait(ctx context.Context) error {
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return fault.New(fault.Cancelled, nil, "the call was cancelled; it may have been written already")
	}
}

// each runs a batch's items as works of their own and answers them in order,
// each with its own verdict.
func each[I, R any](ctx context.Context, e *Engine, items []I, prepare func(i int, item I) (*work, error), answer func(w *work) (R, error)) ([]model.Result[R], error) {
	if err := checkItems(len(items)); err != nil {
		return nil, err
	}
	if err := e.ready(ctx); err != nil {
		return nil, err
	}
	results := make([]model.Result[R], len(items))
	works := make([]*work, len(items))
	for i, item := range items {
		w, err := prepare(i, item)
		if err == nil {
			if err = e.submit(ctx, w); err != nil {
				e.abandon(w)
			}
		}
		if err != nil {
			results[i].Error = fault.From(err)
			continue
		}
		works[i] = w
	}
	for i, w := range works {
		if w == nil {
			continue
		}
		ok, err := answerOf(ctx, e, w, answer)
		if err != nil {
			results[i].Error = fault.From(err)
			continue
		}
		results[i].OK = &ok
	}
	return results, nil
}

func answerOf[R any](ctx context.Context, e *Engine, w *work, answer func(*work) (R, error)) (R, error) {
	if err := w.wait(ctx); err != nil {
		e.abandon(w)
		var none R
		return none, err
	}
	return answer(w)
}

// abandon notes that nobody waits for the outcome of a write under a lease: from
// here on the database's word on that lease counts again.
func (e *Engine) abandon(w *work) {
	switch {
	case w.awaits != nil:
		e.leases.end(w.awaits.claimed.ID, w.awaits.claimed.Lease, true, 0)
	case w.advance != nil:
		e.leases.end(w.advance.ID, w.advance.Lease, true, 0)
	case w.finished != nil:
		e.leases.end(w.finished.ID, w.finished.Lease, true, 0)
	case w.release != nil:
		e.leases.end(w.release.ID, w.release.Lease, true, 0)
	case w.progress != nil:
		e.leases.end(w.progress.ID, w.progress.Lease, true, 0)
	}
}
