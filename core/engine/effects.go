package engine

import (
	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// effects tells whoever is concerned by a write that was committed: workers of
// a queue, the holder of a parent, those who wait for an end. In this process
// directly; others by hint. What the same commit has claimed needs nobody else.
func (e *Engine) effects(w *work, claimed map[uuid.UUID]bool) {
	for i := range w.out.made {
		if made := &w.out.made[i]; made.Inserted && w.creates[i].Awaited {
			e.waiters.expect(w.creates[i].ID)
		}
		if !claimed[w.creates[i].ID] {
			e.madeEffects(&w.out.made[i])
		}
	}
	for i := range w.out.signals {
		if signaled := &w.out.signals[i].Woken; !claimed[signaled.ID] {
			e.wokenEffects(*signaled)
		}
	}
	if w.release != nil && w.out.release.Held {
		e.dueEffects(w.out.release.Status, w.out.release.Queue, w.out.release.RunAt)
		if w.out.release.Status.Final() {
			e.toldEffects(w.release.ID, &w.out.release.Told)
		}
	}
	if w.advance != nil && w.out.advance.Held {
		e.advanceEffects(w.advance, claimed)
	}
	for i := range w.cancels {
		e.cancelEffects(&w.out.marked[i], &w.out.ended[i])
	}
	if w.finished != nil {
		e.finishEffects(w.finished.ID, &w.out.finished, claimed)
	}
}

func (e *Engine) madeEffects(m *store.Made) {
	if m.Inserted {
		e.dueEffects(model.Status(m.Status), m.Queue, m.RunAt)
	}
}

func (e *Engine) finishEffects(id uuid.UUID, f *store.Finished, claimed map[uuid.UUID]bool) {
	if f.Continued && f.Closing {
		e.ticker.in(0)
	}
	switch {
	case claimed[id]:
	case f.Continued:
		e.wakeForOne(f.Queue)
	case f.Held && f.Status.Final():
		if f.Parent != nil && claimed[*f.Parent] {
			f.Parent = nil
		}
		e.toldEffects(id, &f.Told)
	case f.Held:
		e.dueEffects(f.Status, f.Queue, f.RunAt)
	}
}

func (e *Engine) advanceEffects(a *store.Advance, claimed map[uuid.UUID]bool) {
	for i := range a.Children {
		switch c := &a.Children[i]; {
		case c.Dead, claimed[c.ID]:
		case c.DelayMS > 0:
			e.ticker.in(c.DelayMS)
		case c.RunAt != nil:
			e.ticker.at(*c.RunAt)
		default:
			e.wakeForOne(c.Queue)
		}
	}
	for i := range a.Entries {
		if a.Entries[i].Type == model.EventTimerStarted && a.Entries[i].DelayMS > 0 {
			e.ticker.in(a.Entries[i].DelayMS)
		}
	}
}

func (e *Engine) cancelEffects(marked *store.Woken, ended *store.Ended) {
	e.wokenEffects(*marked)
	if ended.Ended {
		e.toldEffects(ended.ID, &ended.Told)
		e.news(ended.Worker, store.Woken{ID: ended.ID})
	}
}

// wokenEffects: an event reached an execution from outside.
func (e *Engine) wokenEffects(w store.Woken) {
	if !w.Changed {
		return
	}
	switch w.Status {
	case model.Pending:
		e.wakeForOne(w.Queue)
	case model.Running:
		e.news(w.Worker, w)
	}
}

// toldEffects: an execution ended.
func (e *Engine) toldEffects(id uuid.UUID, t *store.Told) {
	e.ended(id, t.Awaited)
	if t.Closing {
		e.ticker.in(0)
	}
	if t.Parent != nil {
		e.wokenEffects(store.Woken{
			ID: *t.Parent, Kind: model.Workflow, Changed: true, Status: model.Status(*t.ParentStatus),
			Queue: *t.ParentQueue, Worker: t.ParentWorker, HistoryLength: *t.HistoryLength,
		})
	}
}
