package memory

import (
	"fmt"
	"slices"
	"time"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// continueAsNew ends runs and begins the next ones, with the signals that nobody has
// taken. Whoever was asked to stop does not go on.
func (s *State) continueAsNew(now time.Time, items []store.Finish, finished []*store.Finished) {
	for i := range items {
		f := &items[i]
		e := s.Find(f.ID)
		if f.Continue == nil || !s.knows(e, f.Lease, f.Position) || !e.isWorkflow() || e.CancelRequestedAt != nil {
			continue
		}
		*finished[i] = store.Finished{Continued: true, Queue: e.Queue}
		if s.hasChildrenToClose(e, nil) {
			finished[i].Closing = s.setTimer(Timer{Execution: e.ID, Run: e.Run, Kind: "close", Sequence: int32(e.Run), DueAt: now})
		}
		s.nextRun(now, e, f)
	}
}

func (s *State) nextRun(now time.Time, e *Execution, f *store.Finish) {
	carried := s.carried(e, f)
	e.append(model.Event{Type: model.EventContinued, At: now,
		Payload: fmt.Appendf(nil, `{"args":%s,"kwargs":%s}`, or(e.Args, model.Payload("[]")), or(e.Kwargs, model.Payload("{}")))})
	e.Run++
	e.HistoryLength = 0
	for _, x := range carried {
		e.append(x.Event)
		e.History[len(e.History)-1].Key = x.Key
	}
	e.Status, e.RunAt, e.Language, e.Attempts, e.Crashes, e.SuspendedPosition = model.Pending, now, nil, 0, 0, nil
	e.Args, e.Kwargs = f.Continue.Args, f.Continue.Kwargs
	s.takeTimers(func(t *Timer) bool { return t.Execution == e.ID && t.Kind == "sleep" })
}

// carried are the signals that the code has not taken, and those that it has not seen.
func (s *State) carried(e *Execution, f *store.Finish) (carried []Event) {
	for _, x := range e.History {
		untaken := x.Position > f.Position && !s.Without[GuardCarry] || slices.Contains(f.Continue.Carry, int32(x.Position))
		if x.Run == e.Run && x.Type == model.EventSignalReceived && untaken {
			carried = append(carried, x)
		}
	}
	return carried
}
