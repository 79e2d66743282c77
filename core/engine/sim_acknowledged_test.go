package engine

import (
	"maps"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/internal/memory"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// What the audit makes of answers: whoever was told something may rely on it.

// claimed notes the new holders: I5.
func (a *audit) claimed(claimed []model.Claimed) {
	for i := range claimed {
		c := &claimed[i]
		if l, held := a.holders[c.ID]; held && l.Epoch >= c.Lease.Epoch {
			a.fail("I5: %s was given out under epoch %d after %d", a.name(c.ID), c.Lease.Epoch, l.Epoch)
		}
		e := a.state.Find(c.ID)
		for _, w := range a.state.Workers {
			if w.ID == *e.Worker && w.Status != "active" {
				a.fail("I5: %s was given to a worker that is %s", a.name(c.ID), w.Status)
			}
		}
		a.holders[c.ID] = c.Lease
	}
}

// flushed checks whose writes were accepted: I6.
func (a *audit) flushed(b *store.Batch, f *store.Flushed) {
	a.begun(b, f)
	for i := range b.Progress {
		a.accepted(b.Progress[i].ID, b.Progress[i].Lease, f.Progress[i], true)
	}
	for i := range b.Releases {
		a.accepted(b.Releases[i].ID, b.Releases[i].Lease, f.Releases[i].Held, false)
	}
	for i := range b.Advances {
		a.accepted(b.Advances[i].ID, b.Advances[i].Lease, f.Advances[i].Held, f.Advances[i].Status == model.Running)
		a.knows(b, b.Advances[i].ID, b.Advances[i].Lease, b.Advances[i].Position, f.Advances[i].Held)
	}
	for i := range b.Finishes {
		x, out := &b.Finishes[i], &f.Finishes[i]
		a.accepted(x.ID, x.Lease, out.Held || out.Continued, out.Status == model.Running)
		a.knows(b, x.ID, x.Lease, x.Position, out.Held || out.Continued)
		if out.Continued {
			if a.continued == nil {
				a.continued = map[uuid.UUID]*store.Finish{}
			}
			a.continued[x.ID] = x
		}
	}
	a.claimed(f.Claimed)
	for id, made := range f.Made {
		if old, found := a.known[id]; found && made.Inserted {
			a.fail("I1: %s was made twice, first at %s", a.name(id), old.CreatedAt)
		}
	}
}

// begun: holders who were told of a start before it was written.
func (a *audit) begun(b *store.Batch, f *store.Flushed) {
	a.early = map[uuid.UUID]bool{}
	for i := range b.Creates {
		row := &b.Creates[i]
		if made := f.Made[row.ID]; row.Early != nil && made.Inserted && model.Status(made.Status) == model.Running {
			a.early[row.ID], a.holders[row.ID] = true, model.Lease{Epoch: 1, Token: row.Early.Token}
		}
	}
}

// then answers what an execution was, to those who write to it in this batch.
func (a *audit) then(id uuid.UUID) memory.Execution {
	if a.early[id] {
		return memory.Execution{Status: model.Running, HistoryLength: 1}
	}
	return a.known[id]
}

// accepted: only the last one that it was given to may write, and only as long as it is running.
func (a *audit) accepted(id uuid.UUID, l model.Lease, held, goesOn bool) {
	if !held {
		return
	}
	old := a.then(id)
	if holder, found := a.holders[id]; !found || holder != l {
		a.fail("I6: a write to %s was accepted under epoch %d of another holder", a.name(id), l.Epoch)
	}
	if old.Status != model.Running {
		a.fail("I6: a write to %s was accepted while it was %s", a.name(id), old.Status)
	}
	if !goesOn {
		delete(a.holders, id)
	}
}

// knows: I7, nobody writes behind events that are not there. That others have taken the
// place of those that a failover has lost, nobody can tell: with a write of who saw the
// lost ones the schedule is over.
func (a *audit) knows(b *store.Batch, id uuid.UUID, l model.Lease, position int, held bool) {
	length := a.then(id).HistoryLength
	for i := range b.Signals {
		if b.Signals[i].ID == id {
			length++
		}
	}
	switch {
	case !held:
	case position > length:
		a.fail("I7: a write to %s was accepted at position %d of %d", a.name(id), position, length)
	case a.deceived[id] == l:
		a.isOver = true
	}
}

// given checks what a worker is told of a workflow: all of its history, and no more.
func (a *audit) given(b *body) {
	e := a.state.Find(b.ID)
	if b.Kind != model.Workflow || !a.state.IsHeld(e, b.Lease) {
		return
	}
	have := e.Events(0)
	if len(b.events) != b.position || len(have) < len(b.events) {
		a.fail("%s was given %d events up to position %d", a.name(b.ID), len(b.events), b.position)
		return
	}
	for i := range b.events {
		if b.events[i].Type != have[i].Type || b.events[i].Position != i+1 {
			a.fail("%s was given another history than it has, at position %d", a.name(b.ID), i+1)
		}
	}
}

// steps begin: I8, none whose success is recorded while its holder holds.
func (a *audit) steps(b *body, steps []model.StepEvent) {
	e := a.state.Find(b.ID)
	if len(steps) == 0 || !a.state.IsHeld(e, b.Lease) || e.Run != b.Run {
		return
	}
	for _, x := range e.Events(b.position) {
		if x.Type == model.EventStepCompleted && *x.Sequence == steps[0].Sequence && a.holders[b.ID] == b.Lease && x.Position <= b.Position {
			a.fail("I8: %s runs step %d again", a.name(b.ID), *x.Sequence)
		}
	}
}

func (a *audit) beaten(id uuid.UUID) {
	if a.isDead(id) {
		a.fail("I22: a worker that was declared dead went on beating")
	}
	a.beats[id] = time.Now()
}

// buried: I22, nobody who was heard lately.
func (a *audit) buried(id uuid.UUID) {
	if silent := time.Since(a.beats[id]); silent < simTimeout/2 {
		a.fail("I22: a worker was declared dead %s after its beat", silent)
	}
}

func (a *audit) recovered(worker uuid.UUID) {
	for _, w := range a.state.Workers {
		if w.ID == worker && (w.Status == "active" || w.Status == "draining") {
			a.fail("I22: a worker was recovered from while it was %s", w.Status)
		}
	}
	for id, old := range a.known {
		if old.Worker != nil && *old.Worker == worker && old.Status == model.Running && a.state.Find(id).Status != model.Running {
			delete(a.holders, id)
		}
	}
}

// first is the first living worker.
func (a *audit) first() uuid.UUID {
	for _, w := range a.state.Workers {
		if w.Status == "active" {
			return w.ID
		}
	}
	return uuid.Nil
}

// started notes an acknowledged start: I1.
func (a *audit) started(n *model.NewExecution, c model.Created) {
	if a.state.Find(c.ID) == nil {
		a.fail("I1: the start of %s was acknowledged, and it is not there", c.ID)
	}
	if n.IdempotencyKey == nil {
		return
	}
	key := n.Name + " " + *n.IdempotencyKey
	if first, found := a.keys[key]; found && first != c.ID {
		a.fail("I1: key %s started %s and %s", key, a.name(first), a.name(c.ID))
	}
	a.keys[key] = c.ID
}

// signaled notes an acknowledged signal: I12.
func (a *audit) signaled(id uuid.UUID, key string) {
	e, n := a.state.Find(id), 0
	if e == nil {
		return
	}
	for i := range e.History {
		if e.History[i].Key == key {
			n++
		}
	}
	if n == 0 {
		a.fail("I12: a signal to %s was acknowledged, and is not there", a.name(id))
	}
}

// askedToStop notes an acknowledged request to stop: I17.
func (a *audit) askedToStop(id uuid.UUID) {
	e := a.state.Find(id)
	if e == nil {
		return
	}
	if !e.Status.Final() && e.CancelRequestedAt == nil && e.Run == a.known[id].Run {
		a.fail("I17: %s was asked to stop, and knows nothing of it", a.name(id))
	}
}

// copied remembers what there is, for a failover.
func (a *audit) copied() audit {
	c := audit{known: map[uuid.UUID]memory.Execution{}, holders: maps.Clone(a.holders), beats: maps.Clone(a.beats)}
	for _, e := range a.state.Clone().Executions {
		c.known[e.ID] = *e
	}
	return c
}

// restore forgets what was lost with the tail.
func (a *audit) restore(c audit) {
	a.known, a.holders, a.beats = c.known, c.holders, c.beats
	clear(a.keys)
}
