package memory

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// ending is a statement that ends executions. What its conditions read is the state
// before it; so the ends are gathered first, and written at once.
type ending struct {
	state *State
	now   time.Time
	// done are the rows that it has written, with what they were before.
	done   []*Execution
	before map[uuid.UUID]model.Status
	closed map[uuid.UUID]bool
	told   map[uuid.UUID]bool
}

func (s *State) ending(now time.Time) *ending {
	return &ending{state: s, now: now, before: map[uuid.UUID]model.Status{}, closed: map[uuid.UUID]bool{}, told: map[uuid.UUID]bool{}}
}

// set writes a row's new status.
func (x *ending) set(e *Execution, status model.Status) {
	x.before[e.ID] = e.Status
	e.Status = status
	if status.Final() {
		at := x.now
		e.FinishedAt = &at
	}
	x.done = append(x.done, e)
}

// settle is what follows every end: timers go, the closing of children is noted, the
// parent gets the event and wakes.
func (x *ending) settle() {
	x.settleRoots()
	x.tell()
}

func (x *ending) settleRoots() {
	for _, e := range x.done {
		if !e.Status.Final() {
			continue
		}
		x.state.takeTimers(func(t *Timer) bool { return t.Execution == e.ID && t.Kind != "close" })
		if e.isWorkflow() && x.state.hasChildrenToClose(e, x.before) {
			x.closed[e.ID] = x.state.setTimer(Timer{Execution: e.ID, Run: e.Run, Kind: "close", Sequence: int32(e.Run), DueAt: x.now})
		}
	}
}

// hasChildrenToClose says whether the run of a row has children that end with it, of
// those that lived before the statement.
func (s *State) hasChildrenToClose(parent *Execution, before map[uuid.UUID]model.Status) bool {
	for _, c := range s.Executions {
		status := c.Status
		if old, changed := before[c.ID]; changed {
			status = old
		}
		if c.ParentID != nil && *c.ParentID == parent.ID && c.ParentRun == parent.Run && c.ClosePolicy == string(model.CloseCancel) && !status.Final() {
			return !s.Without[GuardClose]
		}
	}
	return false
}

func (x *ending) tell() {
	for _, e := range x.state.Executions { // by id
		if _, ended := x.before[e.ID]; !ended || !e.Status.Final() || e.ParentID == nil || e.Reported {
			continue
		}
		p := x.state.Find(*e.ParentID)
		if p == nil || (p.Run != e.ParentRun && !x.state.Without[GuardParentRun]) || x.state.Without[GuardTold] {
			continue
		}
		if _, ends := x.before[p.ID]; ends || !p.isLive() {
			continue
		}
		p.append(endOf(e, x.now))
		x.state.wake(p, x.now)
		x.told[p.ID] = true
	}
}

// endOf is the event that a parent gets.
func endOf(e *Execution, now time.Time) model.Event {
	kind := "activity_"
	if e.isWorkflow() {
		kind = "child_"
	}
	sequence, name := int(e.Sequence), e.Name
	event := model.Event{Type: model.EventType(kind + string(e.Status)), Sequence: &sequence, Name: &name, At: now, Payload: e.Result}
	if e.Status != model.Completed {
		event.Payload = fmt.Appendf(nil, `{"error":%s,"attempts":%d}`, or(e.Error, model.Payload("null")), e.Attempts)
	}
	return event
}

// toldOf is what the end of a row means to others.
func (x *ending) toldOf(e *Execution) store.Told {
	t := store.Told{Awaited: e.Awaited, Closing: x.closed[e.ID]}
	if e.ParentID == nil || !x.told[*e.ParentID] {
		return t
	}
	p := x.state.Find(*e.ParentID)
	status, length := string(p.Status), p.HistoryLength
	t.Parent, t.ParentQueue, t.ParentStatus, t.ParentWorker, t.HistoryLength = &p.ID, &p.Queue, &status, p.Worker, &length
	return t
}
