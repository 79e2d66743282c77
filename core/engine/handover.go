package engine

import (
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// handover is a claim that a flush takes along for a worker of this process.
type handover struct {
	worker   *worker
	reserved int
	claim    store.Claim
	settled  bool
}

// handover finds a worker with free slots for what works make due. It decides as every
// claim does; while something is to run alone, there is none.
func (e *Engine) handover(works []*work) *handover {
	for _, w := range e.listWorkers() {
		n := w.wants(works)
		if n == 0 {
			continue
		}
		if !e.claiming.TryRLock() {
			return nil
		}
		if suspect, may := e.solo.mode(e.leases.len()); !suspect && may && w.mayClaim() {
			if n = w.slots.reserve(n, false, false); n > 0 {
				claim := w.newClaim(n, false)
				claim.Spare = w.slots.spare()
				return &handover{worker: w, reserved: n, claim: claim}
			}
		}
		e.claiming.RUnlock()
	}
	return nil
}

// wants counts what the works make due in a worker's queues.
func (w *worker) wants(works []*work) (n int) {
	for _, x := range works {
		for i := range x.creates {
			n += w.wantsRow(&x.creates[i])
		}
		if x.advance != nil {
			for i := range x.advance.Children {
				n += w.wantsRow(&x.advance.Children[i])
			}
		}
		if x.endsForAnother() {
			n++
		}
	}
	return n
}

// wantsRow: a new row is due at once, unless it is for later.
func (w *worker) wantsRow(row *store.NewRow) int {
	if row.Dead || row.Early != nil || row.RunAt != nil || row.DelayMS > 0 || !w.serves(row.Queue) {
		return 0
	}
	return 1
}

// endsForAnother: with the end its parent goes on, and is likely to be this worker's; or
// its own next run does.
func (x *work) endsForAnother() bool {
	return x.finished != nil && (x.root != x.finished.ID || x.finished.Continue != nil)
}

// attach takes the claim along with a batch of works. New rows are handed over as they
// are written, and parents by the end of a child; for the rest the batch looks into the
// queue.
func (h *handover) attach(works []*work, b *store.Batch) {
	parents := map[uuid.UUID]bool{}
	for _, w := range works {
		for i := range w.creates {
			h.mark(&w.creates[i], w.tries == 0, b)
		}
		if w.advance != nil {
			for i := range w.advance.Children {
				h.mark(&w.advance.Children[i], w.tries == 0, b)
			}
		}
		if w.finished != nil && w.finished.Parent != uuid.Nil {
			w.finished.Plain = !parents[w.finished.Parent]
			parents[w.finished.Parent] = true
		}
		b.Look = b.Look || w.endsForAnother() && !h.resume(w.finished)
	}
	if h == nil {
		b.Look = false
		return
	}
	b.Claim, b.Look = &h.claim, b.Look && h.claim.N > 0
}

// resume lets the end of a child give its parent a slot.
func (h *handover) resume(child *store.Finish) bool {
	child.Resume = child.Plain && child.Parent != uuid.Nil && h != nil && h.claim.Warm && h.claim.N > 0
	if child.Resume {
		h.claim.N--
	}
	return child.Resume
}

// mark hands a row over, unless it is there already perhaps: a try before this one may
// have written it.
func (h *handover) mark(row *store.NewRow, first bool, b *store.Batch) {
	row.HandOver = false
	switch {
	case h == nil || h.worker.wantsRow(row) == 0:
	case h.claim.N == 0 || !first || len(row.Signals) > 0 || h.lacks(row):
		b.Look = true
	default:
		row.HandOver = true
		h.claim.N--
	}
}

func (h *handover) lacks(row *store.NewRow) bool {
	return slices.Contains(h.claim.Lacking, model.FunctionName{Kind: row.Kind, Name: row.Name})
}

// settle takes in what a flush has claimed, and answers its ids: nobody need be woken for
// them. They are filled into their slots by fill.
func (h *handover) settle(claimed []model.Claimed, err error) map[uuid.UUID]bool {
	if h == nil {
		return nil
	}
	h.settled = true
	claimed = h.worker.took(h.claim, claimed, err)
	h.worker.slots.settle(h.reserved, len(claimed))
	h.worker.engine.claiming.RUnlock()
	ids := make(map[uuid.UUID]bool, len(claimed))
	for i := range claimed {
		ids[claimed[i].ID] = true
	}
	return ids
}

// fill lets the worker have them. It follows the answers to the flush's works, of which all
// were told unless there was a panic: a workflow is suspended before it goes on. Else they go
// back, and come again behind the answers.
func (h *handover) fill(claimed []model.Claimed, told bool) {
	if h == nil {
		return
	}
	if !h.settled { // a panic, too
		h.settle(nil, errUnsettled)
	}
	if !told {
		h.worker.putBack(claimed)
		poke(h.worker.slots.filled) // who left the slots to this flush looks itself
		return
	}
	h.worker.slots.fill(claimed)
	if h.worker.draining.Load() {
		h.worker.returnReady()
	}
}

var errUnsettled = errors.New("it did not come to its end")
