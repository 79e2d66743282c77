package engine

import (
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// waiting is a workflow that a worker of this process has in memory, and that was suspended as
// it scheduled one activity, which was handed over to this process by the same commit. When the
// activity ends, its code can go on before that is committed: what it asks for is written by the
// same commit, if nothing else has come in between.
type waiting struct {
	worker *worker
	// incarnation of the worker, by which the row knows it.
	incarnation uuid.UUID
	// claimed as it was told last, and at the position at which it waits.
	claimed  model.Claimed
	sequence int
	name     *string
	// since is when it was suspended, by the database's clock.
	since time.Time
}

// noteWaiting notes with an activity who waits for it. It comes before the answer to the
// suspension, with which the lease is over.
func (e *Engine) noteWaiting(w *work, claimed map[uuid.UUID]bool) {
	a, out := w.advance, &w.out.advance
	if a == nil || !a.Suspend || !a.IsPlainSchedule() || !claimed[a.Children[0].ID] || !out.Held || out.Status != model.Suspended || len(out.Events) != 1 {
		return
	}
	e.leases.wait(a.ID, a.Lease, a.Children[0].ID, &out.Events[0])
}

// wait notes that a workflow was suspended with the event that scheduled an activity.
func (t *leaseTable) wait(id uuid.UUID, l model.Lease, activity uuid.UUID, scheduled *model.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	parent, child := t.leases[id], t.leases[activity]
	if parent == nil || child == nil || parent.lease != l || parent.cancelTold || parent.claimed == nil {
		return
	}
	child.waiting = &waiting{
		worker: parent.worker, incarnation: parent.worker.current(), claimed: *parent.claimed,
		sequence: *scheduled.Sequence, name: scheduled.Name, since: scheduled.At,
	}
	child.waiting.claimed.Position = scheduled.Position
	t.waiting[id] = child
}

// waitsNoMore forgets what a workflow waited for: somebody has it again, or the activity is gone.
// The caller holds the lock.
func (t *leaseTable) waitsNoMore(id uuid.UUID) {
	if activity := t.waiting[id]; activity != nil {
		activity.waiting = nil
		delete(t.waiting, id)
	}
}

// earlyParent lets a parent go on with the result of an activity before that is written, if
// its worker would be given it by a claim.
func (e *Engine) earlyParent(parent *waiting, finish *store.Finish) *early {
	if parent == nil || !finish.OK {
		return nil
	}
	at, known := e.clock.now()
	if !known || !e.claiming.TryRLock() {
		return nil
	}
	defer e.claiming.RUnlock()
	w := parent.worker
	if w.current() != parent.incarnation || !w.reserveEarly(parent.claimed.Name) {
		return nil
	}
	if at.Before(parent.since) { // the time of a workflow does not go back
		at = parent.since
	}
	resume := parent.resume(at)
	x := &early{worker: w, claimed: parent.next(resume, finish.Result)}
	if !e.leases.addEarly(x) {
		w.slots.settle(1, 0)
		return nil
	}
	finish.Resume = resume
	return x
}

func (p *waiting) resume(at time.Time) *store.Resumption {
	return &store.Resumption{
		Worker: p.incarnation, Token: uuid.New(), Early: &store.ToldEarly{Epoch: p.claimed.Lease.Epoch, At: at},
	}
}

// next is what a claim would answer once the result is written.
func (p *waiting) next(r *store.Resumption, result model.Payload) model.Claimed {
	if len(result) == 0 {
		result = null
	}
	c, previous := p.claimed, p.claimed.Lease.Token
	c.Early, c.After, c.Seen, c.PreviousToken = true, c.Position, c.Position, &previous
	c.Position++
	c.Lease = model.Lease{Epoch: c.Lease.Epoch + 1, Token: r.Token}
	c.Events = []model.Event{{
		Position: c.Position, Type: model.EventActivityCompleted, Sequence: &p.sequence, Name: p.name, At: r.Early.At, Payload: result,
	}}
	return c
}

// endResumed tells the holder of a parent what a flush has made of the end that it waits for.
func (w *work) endResumed() {
	out := &w.out.finished
	if out.Resumed || out.Held {
		w.early.end(out.Resumed, false)
		return
	}
	// The try before, whose answer was lost, may have written it.
	w.early.end(w.tries > 0, w.tries > 0)
}
