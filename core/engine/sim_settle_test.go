package engine

import (
	"slices"
	"time"

	"github.com/libworkflows/libworkflows/core/internal/memory"
	"github.com/libworkflows/libworkflows/core/model"
)

// settleRounds bounds how long everything may take to come to its end once nothing goes
// wrong any more: I3 and I21.
const settleRounds = 300

// settle lets all processes work until nothing is left to do. What waits for a signal for
// ever is asked to stop; what is parked may stay.
func (s *simulation) settle() {
	s.logf("nothing goes wrong any more")
	s.settling = true
	s.db.haunt()
	for _, p := range s.processes {
		p.stalled = false
	}
	for n := range settleRounds {
		if s.isDone() || s.isOver() {
			return
		}
		s.round(n)
	}
	for _, e := range s.db.state.Executions {
		if !e.Status.Final() && e.Parked == nil {
			s.audit.fail("I3: %s is %s in the end", s.name(e.ID), e.Status)
		}
	}
	if s.audit.wrong == "" {
		s.audit.fail("I3: timers are left of what has ended")
	}
}

func (s *simulation) isOver() bool {
	for _, e := range s.db.state.Executions {
		if !e.Status.Final() && e.Parked == nil {
			return false
		}
	}
	for _, t := range s.db.state.Timers {
		if e := s.db.state.Find(t.Execution); e.Status.Final() {
			return false
		}
	}
	return true
}

// round is a turn of everybody's loops; who ticks takes turns.
func (s *simulation) round(n int) {
	busy := false
	for i := range s.processes {
		p := s.processes[i]
		p.flushAll()
		if time.Since(p.beaten) >= simInterval {
			p.beat()
		}
		if i == n%simProcesses {
			p.tick()
		}
		if len(p.worker.slots.ready) > 0 || s.hasDue() {
			p.claim()
		}
		busy = busy || len(p.bodies) > 0
		for _, b := range append([]*body(nil), p.bodies...) {
			if s.processes[i] == p { // or it died of one
				p.act(b, 9)
			}
		}
		s.processes[i].flushAll()
		if s.isDone() {
			return
		}
	}
	if !busy {
		s.wait()
	}
}

func (s *simulation) hasDue() bool {
	return slices.ContainsFunc(s.db.state.Executions, func(e *memory.Execution) bool { return e.Status == model.Pending })
}

// wait goes to where the next thing is due, or asks those to stop who wait for ever.
func (s *simulation) wait() {
	now := s.db.now()
	next, soon := now.Add(time.Hour), len(s.db.state.Silent(now)) > 0
	for _, t := range s.db.state.Timers {
		next = earliest(next, t.DueAt)
	}
	suspended := []*memory.Execution(nil)
	for _, e := range s.db.state.Executions {
		switch e.Status {
		case model.Scheduled:
			next = earliest(next, e.RunAt)
		case model.Pending, model.Running:
			soon = true
		case model.Suspended:
			suspended = append(suspended, e)
		}
	}
	switch d := next.Sub(now); {
	case soon:
		time.Sleep(simInterval)
	case d < time.Hour:
		time.Sleep(max(d, time.Millisecond))
	default:
		s.release(suspended)
	}
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (s *simulation) release(suspended []*memory.Execution) {
	for _, e := range suspended {
		if e.Parked == nil && e.CancelRequestedAt == nil {
			s.logf("%s waits for ever: it is asked to stop", s.name(e.ID))
			s.tell(s.processes[0], e, move{kind: moveStop, c: 1})
		}
	}
	s.processes[0].flushAll()
}
