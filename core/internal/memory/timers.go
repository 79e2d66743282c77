package memory

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// Promote makes due what was scheduled.
func (s *State) Promote(now time.Time, limit int) (queues []string, promoted int) {
	var due []*Execution
	for _, e := range s.Executions {
		if e.Status == model.Scheduled && (!e.RunAt.After(now) || s.Without[GuardPromoteDue]) {
			due = append(due, e)
		}
	}
	slices.SortStableFunc(due, func(a, b *Execution) int { return a.RunAt.Compare(b.RunAt) })
	for _, e := range due[:min(len(due), limit)] {
		e.Status = model.Pending
		queues, promoted = append(queues, e.Queue), promoted+1
	}
	slices.Sort(queues)
	return slices.Compact(queues), promoted
}

// DueTimers answers executions with due timers, by kind of timer.
func (s *State) DueTimers(now time.Time, limit int) map[string][]uuid.UUID {
	var timers []*Timer
	for _, t := range s.Timers {
		if s.isDue(t, now) {
			timers = append(timers, t)
		}
	}
	slices.SortStableFunc(timers, func(a, b *Timer) int {
		return cmp.Or(a.DueAt.Compare(b.DueAt), compare(a.Execution, b.Execution))
	})
	due := map[string][]uuid.UUID{}
	for _, t := range timers[:min(len(timers), limit)] {
		due[t.Kind] = append(due[t.Kind], t.Execution)
	}
	return due
}

func (s *State) isDue(t *Timer, now time.Time) bool {
	return !t.DueAt.After(now) || t.Kind == "sleep" && s.Without[GuardTimerDue]
}

// Fire turns due sleeps into events.
func (s *State) Fire(now time.Time, ids []uuid.UUID) (fired []store.Woken) {
	which := func(t *Timer) bool { return slices.Contains(ids, t.Execution) && t.Kind == "sleep" && s.isDue(t, now) }
	taken := s.takeTimers(which)
	if s.Without[GuardTimerOnce] {
		s.Timers = append(s.Timers, taken...)
	}
	for _, id := range unique(ids) {
		e, n := s.Find(id), 0
		for _, t := range taken {
			if t.Execution == id && e.isLive() && e.Run == t.Run {
				sequence := int(t.Sequence)
				e.append(model.Event{Type: model.EventTimerFired, Sequence: &sequence, At: now})
				n++
			}
		}
		if n > 0 {
			s.wake(e, now)
			w := woken(id, e)
			w.Changed = true
			fired = append(fired, w)
		}
	}
	return fired
}

// unique answers ids once, in ascending order.
func unique(ids []uuid.UUID) []uuid.UUID {
	return slices.Compact(slices.SortedFunc(slices.Values(ids), compare))
}

// Expire ends what is past a deadline.
func (s *State) Expire(now time.Time, ids []uuid.UUID) (expired []store.Expired) {
	taken := s.takeTimers(func(t *Timer) bool {
		return slices.Contains(ids, t.Execution) && (t.Kind == "deadline" || t.Kind == "schedule") && s.isDue(t, now) && !s.awaitsParent(t, ids)
	})
	x := s.ending(now)
	for _, id := range unique(ids) {
		s.expireOne(x, s.Find(id), taken)
	}
	x.settle()
	for _, e := range x.done {
		expired = append(expired, store.Expired{ID: e.ID, Worker: e.Worker, Told: x.toldOf(e)})
	}
	return expired
}

// awaitsParent: a workflow is not told of what ends with itself.
func (s *State) awaitsParent(t *Timer, ids []uuid.UUID) bool {
	c := s.Find(t.Execution)
	if t.Kind != "deadline" || c == nil || c.ParentID == nil {
		return false
	}
	p := s.Find(*c.ParentID)
	return p != nil && p.Run == c.ParentRun && p.DeadlineAt != nil && !p.DeadlineAt.After(t.DueAt) && !slices.Contains(ids, p.ID) && p.isLive()
}

func (s *State) expireOne(x *ending, e *Execution, taken []*Timer) {
	due, deadline := false, false
	for _, t := range taken {
		if e != nil && t.Execution == e.ID {
			due, deadline = true, deadline || t.Kind == "deadline"
		}
	}
	if !due || !e.isLive() || (!deadline && e.StartedAt != nil) {
		return
	}
	e.Parked, e.Error = nil, coreError("ScheduleTimeout", "no worker started the execution within its schedule timeout")
	if deadline {
		e.Error = coreError("ExecutionTimeout", "the execution did not end within its timeout")
	}
	x.set(e, model.Failed)
}

// toClose are the children that a closing note is about.
func (s *State) toClose(t *Timer) (children []uuid.UUID) {
	for _, c := range s.Executions {
		if c.ParentID != nil && *c.ParentID == t.Execution && c.ParentRun == t.Run && c.ClosePolicy == string(model.CloseCancel) && c.CancelRequestedAt == nil && c.isLive() {
			children = append(children, c.ID)
		}
	}
	return children
}

// ChildrenToClose lists a level of a cascade.
func (s *State) ChildrenToClose(parents []uuid.UUID, limit int) (children []uuid.UUID) {
	for _, t := range s.Timers {
		if t.Kind == "close" && slices.Contains(parents, t.Execution) {
			children = append(children, s.toClose(t)...)
		}
	}
	slices.SortFunc(children, compare)
	return children[:min(len(children), limit)]
}

// Closed forgets the notes of parents whose children are all taken care of.
func (s *State) Closed(parents []uuid.UUID) {
	s.takeTimers(func(t *Timer) bool {
		return t.Kind == "close" && slices.Contains(parents, t.Execution) && len(s.toClose(t)) == 0
	})
}
