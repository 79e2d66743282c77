package memory

import (
	"math"
	"time"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// release puts executions back; what was asked to stop is ended instead.
func (s *State) release(now time.Time, items []store.Release, released []store.Released) {
	x := s.ending(now)
	for i := range items {
		e := s.Find(items[i].ID)
		if s.IsHeld(e, items[i].Lease) && e.CancelRequestedAt != nil && !e.isWorkflow() {
			e.Releases++
			e.Error = coreError("Cancelled", "it was asked to stop before it ran")
			x.set(e, model.Cancelled)
		}
	}
	x.settle()
	for i := range items {
		r := &items[i]
		e := s.Find(r.ID)
		released[i].RunAt = now
		if e == nil {
			continue
		}
		released[i] = store.Released{Found: true, SameLease: s.isSame(e, r.Lease), Status: e.Status, Queue: e.Queue, RunAt: now}
		if _, ended := x.before[e.ID]; ended && s.isSame(e, r.Lease) {
			released[i].Held, released[i].Told = true, x.toldOf(e)
		} else if s.IsHeld(e, r.Lease) && (r.Reason != model.ReleaseNonDeterminism || e.isWorkflow()) {
			s.putBack(now, e, r)
			released[i].Held, released[i].Status, released[i].RunAt = true, e.Status, e.RunAt
		}
	}
}

// putBack gives an attempt back: a release is no attempt and no crash.
func (s *State) putBack(now time.Time, e *Execution, r *store.Release) {
	e.Parked = nil
	switch r.Reason {
	case model.ReleaseDrain:
		e.Status = model.Pending
	case model.ReleaseNoFunction:
		e.Status = model.Scheduled
		e.RunAt = after(now, min(30000, 500*math.Pow(2, float64(min(e.Releases, 10)))))
		if !e.hasCommanded() {
			e.Language = nil
		}
	default:
		e.Status, e.Parked = model.Suspended, &r.Parked
	}
	if !e.isWorkflow() {
		if e.Attempts == 1 {
			e.StartedAt = nil
		}
		e.Attempts--
	}
	e.Releases++
	e.Crashes, e.SuspendedPosition, e.Token = 0, nil, nil
	if s.Without[GuardRelease] {
		e.Crashes = 1
	}
}

// hasCommanded says whether code has left a trace in this run.
func (e *Execution) hasCommanded() bool {
	for _, x := range e.Events(0) {
		if x.Type != model.EventStarted && x.Type != model.EventSignalReceived && x.Type != model.EventCancelRequested {
			return true
		}
	}
	return false
}
