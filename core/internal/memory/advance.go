package memory

import (
	"time"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// advance appends holders' events, and suspends where nothing newer has come.
func (s *State) advance(now time.Time, items []store.Advance, to *store.Claim, advanced []*store.Advanced, f *store.Flushed) error {
	ahead, hands := s.ahead(to), handsOver(items)
	for i := range items {
		a := &items[i]
		e := s.Find(a.ID)
		if e == nil {
			continue
		}
		*advanced[i] = store.Advanced{Found: true, SameLease: s.isSame(e, a.Lease), Status: e.Status}
		if !s.knows(e, a.Lease, a.Position) || !e.isWorkflow() {
			continue
		}
		entries := s.freshEntries(e, a)
		s.move(now, e, a, entries)
		*advanced[i] = store.Advanced{Found: true, Held: true, SameLease: advanced[i].SameLease, Status: e.Status, HistoryLength: e.HistoryLength, Queue: e.Queue}
		for j := range a.Children {
			if !schedules(entries, *a.Children[j].Sequence) {
				continue
			}
			if err := s.handChild(now, e, &a.Children[j], to, hands, ahead, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// handsOver: a batch with timers sends its children through the queue.
func handsOver(items []store.Advance) bool {
	hands, timed := false, false
	for i := range items {
		for j := range items[i].Entries {
			timed = timed || items[i].Entries[j].Cancel || items[i].Entries[j].DelayMS > 0
		}
		for j := range items[i].Children {
			hands = hands || items[i].Children[j].HandOver
		}
	}
	return hands && !timed
}

func (s *State) handChild(now time.Time, parent *Execution, row *store.NewRow, to *store.Claim, hands bool, ahead map[string]int, f *store.Flushed) error {
	var holder *Worker
	if hands {
		holder = s.holderOf(row, to, ahead)
	}
	e, err := s.schedule(now, parent, row, holder, to)
	if err == nil && holder != nil {
		h := handedOver(e, holder)
		f.Claimed = append(f.Claimed, h.ClaimedOf(row, to.Token))
	}
	return err
}

func schedules(entries []store.Entry, sequence int32) bool {
	for i := range entries {
		if x := &entries[i]; x.Sequence == int(sequence) && (x.Type == model.EventActivityScheduled || x.Type == model.EventChildStarted) {
			return true
		}
	}
	return false
}

// freshEntries leaves out what the history has already after the holder's position, and
// finds out what a cancel has come in time for.
func (s *State) freshEntries(e *Execution, a *store.Advance) (entries []store.Entry) {
	var cancelled []store.Entry
	for _, x := range a.Entries {
		switch {
		case e.hasEntry(a.Position, &x) && !s.Without[GuardEntryOnce]:
		case !x.Cancel:
			entries = append(entries, x)
		default:
			cancelled = append(cancelled, x)
		}
	}
	for _, x := range cancelled {
		entries = append(entries, s.cancelledEntries(e, x)...)
	}
	return inOrder(a.Entries, entries)
}

// inOrder sorts entries as they were given.
func inOrder(given, entries []store.Entry) []store.Entry {
	var sorted []store.Entry
	for _, g := range given {
		for _, x := range entries {
			if x.Sequence == g.Sequence && (x.Type == g.Type || g.Cancel && x.Cancel) {
				sorted = append(sorted, x)
			}
		}
	}
	return sorted
}

func (e *Execution) hasEntry(after int, x *store.Entry) bool {
	for _, event := range e.Events(after) {
		if event.Type == x.Type && event.Sequence != nil && *event.Sequence == x.Sequence {
			return true
		}
	}
	return false
}

// cancelledEntries answers what is left to cancel of a sequence.
func (s *State) cancelledEntries(e *Execution, x store.Entry) (entries []store.Entry) {
	x.DelayMS, x.Payload = 0, nil
	timers := s.takeTimers(func(t *Timer) bool {
		return t.Execution == e.ID && t.Kind == "sleep" && t.Sequence == int32(x.Sequence) && t.Run == e.Run
	})
	if s.Without[GuardUntimed] {
		s.Timers = append(s.Timers, timers...)
	}
	if len(timers) > 0 {
		x.Type = model.EventTimerCancelled
		entries = append(entries, x)
	}
	c := s.child(e.ID, e.Run, int32(x.Sequence))
	if c == nil || c.Reported || !c.isLive() {
		return entries
	}
	x.Type, x.Name = model.EventActivityCancelled, &c.Name
	if c.isWorkflow() {
		x.Type = model.EventChildCancelled
	}
	return append(entries, x)
}

// move writes a holder's events, and its workflow's new state.
func (s *State) move(now time.Time, e *Execution, a *store.Advance, entries []store.Entry) {
	suspends := a.Suspend && !a.Waking && (e.HistoryLength == a.Position || s.Without[GuardPosition])
	for i := range entries {
		s.write(now, e, &entries[i])
	}
	if suspends {
		position := e.HistoryLength
		e.Status, e.SuspendedPosition = model.Suspended, &position
	} else {
		e.Status = model.Running
	}
	if len(a.State) > 0 {
		e.State = a.State
	}
	s.resetCrashes(e)
}

func (s *State) resetCrashes(e *Execution) {
	if !s.Without[GuardReset] {
		e.Crashes = 0
	}
}

func (s *State) write(now time.Time, e *Execution, x *store.Entry) {
	sequence := x.Sequence
	e.append(model.Event{Type: x.Type, Sequence: &sequence, Name: x.Name, Payload: x.Payload, At: now})
	if x.Type != model.EventTimerStarted || x.DelayMS <= 0 {
		return
	}
	s.takeTimers(func(t *Timer) bool {
		return t.Execution == e.ID && t.Kind == "sleep" && t.Sequence == int32(sequence)
	})
	s.setTimer(Timer{Execution: e.ID, Run: e.Run, Kind: "sleep", Sequence: int32(sequence), DueAt: now.Add(time.Duration(x.DelayMS) * time.Millisecond)})
}
