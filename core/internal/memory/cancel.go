package memory

import (
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// stop is all that a batch asks of one execution.
type stop struct {
	id          uuid.UUID
	mute, force bool
	// markMute and markError come from those that do not force.
	asks, markMute   bool
	error, markError model.Payload
	ords             []int
}

// cancel marks what cannot be stopped from outside, and ends the rest.
func (s *State) cancel(now time.Time, items []store.Cancel, f *store.Flushed) {
	if len(items) == 0 {
		return
	}
	stops := s.stops(items)
	for _, x := range stops {
		s.mark(now, x, f.Marked)
	}
	stops = s.stops(items)
	end := s.ending(now)
	for _, x := range stops {
		s.endAtOnce(end, x, f.Ended)
	}
	end.settle()
	for _, x := range stops {
		if _, ended := end.before[x.id]; ended {
			for _, ord := range x.ords {
				f.Ended[ord].Told = end.toldOf(s.Find(x.id))
			}
		}
	}
}

// stops finds out who is meant, by id or as the child of a lease's holder.
func (s *State) stops(items []store.Cancel) (stops []*stop) {
	byID := map[uuid.UUID]*stop{}
	for i := range items {
		c := &items[i]
		id, mute := c.ID, false
		if c.Sequence != nil {
			p := s.Find(c.ID)
			if p == nil || p.Token == nil || *p.Token != *c.Token {
				continue
			}
			child := s.child(p.ID, p.Run, *c.Sequence)
			if child == nil {
				continue
			}
			id, mute = child.ID, true
		}
		x := byID[id]
		if x == nil {
			x = &stop{id: id, error: c.Error}
			byID[id] = x
			stops = append(stops, x)
		}
		x.add(i, mute, c)
	}
	return stops
}

func (x *stop) add(ord int, mute bool, c *store.Cancel) {
	x.ords = append(x.ords, ord)
	x.mute, x.force = x.mute || mute, x.force || c.Force
	if c.Force {
		return
	}
	if !x.asks {
		x.markError = c.Error
	}
	x.asks, x.markMute = true, x.markMute || mute
}

func (s *State) mark(now time.Time, x *stop, marked []store.Woken) {
	e := s.Find(x.id)
	w := woken(x.id, e)
	if e != nil && x.asks && s.isMarked(e, x.markMute) {
		w = s.markOne(now, e, x)
	}
	for _, ord := range x.ords {
		marked[ord] = w
	}
}

// isMarked: it runs, or is a workflow that has begun and may want to clean up.
func (s *State) isMarked(e *Execution, mute bool) bool {
	return e.Parked == nil && (e.CancelRequestedAt == nil || mute && !e.Reported) &&
		(e.Status == model.Running || e.isWorkflow() && e.StartedAt != nil && e.isLive())
}

func (s *State) markOne(now time.Time, e *Execution, x *stop) store.Woken {
	fresh, told := e.CancelRequestedAt == nil, e.isWorkflow() && (e.Language != nil || e.isBegun())
	if fresh {
		e.CancelRequestedAt = &now
	}
	e.Reported = e.Reported || x.markMute
	switch {
	case fresh && told:
		e.append(model.Event{Type: model.EventCancelRequested, Payload: x.markError, At: now})
	case fresh && e.isWorkflow():
		e.Error = x.markError
	}
	if fresh {
		s.wake(e, now)
	}
	w := woken(x.id, e)
	w.Changed = fresh
	return w
}

func (s *State) endAtOnce(end *ending, x *stop, ended []store.Ended) {
	e := s.Find(x.id)
	answer := store.Ended{ID: x.id}
	if e != nil {
		answer.Found, answer.Status, answer.Worker = true, e.Status, e.Worker
		if s.isEnded(e, x.force) {
			s.stopOne(end, e, x)
			answer.Status, answer.Ended = model.Cancelled, true
		}
	}
	for _, ord := range x.ords {
		ended[ord] = answer
	}
}

func (s *State) isEnded(e *Execution, force bool) bool {
	switch {
	case force:
		return e.isLive() || s.Without[GuardFinal]
	case e.Parked != nil && e.Status == model.Suspended:
		return true
	}
	return (e.Status == model.Scheduled || e.Status == model.Pending) && (!e.isWorkflow() || e.StartedAt == nil)
}

func (s *State) stopOne(end *ending, e *Execution, x *stop) {
	e.Error, e.Result, e.Parked, e.Reported = x.error, nil, nil, e.Reported || x.mute
	if e.CancelRequestedAt == nil {
		at := end.now
		e.CancelRequestedAt = &at
	}
	end.set(e, model.Cancelled)
}
