package memory

import (
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// signal appends signals in the order in which they were sent, each key once for an
// execution, as long as there is room.
func (s *State) signal(now time.Time, items []store.Signal, maxHistory int, signaled []store.Signaled) {
	before := map[uuid.UUID]store.Woken{}
	for i := range items {
		before[items[i].ID] = woken(items[i].ID, s.Find(items[i].ID))
	}
	taken, again, room := map[string]bool{}, map[string]bool{}, map[uuid.UUID]int{}
	for i := range items {
		x := &items[i]
		key := x.ID.String() + x.Key
		w := before[x.ID]
		signaled[i] = store.Signaled{Woken: w, Known: taken[key] || w.Found && !again[key] && s.Find(x.ID).hasSignal(x.Key)}
		first := !again[key] && !signaled[i].Known || s.Without[GuardSignalOnce]
		again[key] = true
		if !w.Found || w.Kind != model.Workflow || w.Status.Final() || !first {
			continue
		}
		if room[x.ID]++; w.HistoryLength+room[x.ID] <= maxHistory {
			s.receive(now, s.Find(x.ID), x)
			signaled[i].Changed, taken[key] = true, true
		}
	}
	for i := range items {
		if e := s.Find(items[i].ID); e != nil {
			signaled[i].Status, signaled[i].HistoryLength = e.Status, e.HistoryLength
		}
	}
}

func (s *State) receive(now time.Time, e *Execution, x *store.Signal) {
	name := x.Name
	e.append(model.Event{Type: model.EventSignalReceived, Name: &name, Payload: x.Payload, At: now})
	e.History[len(e.History)-1].Key = x.Key
	s.wake(e, now)
}

func (e *Execution) hasSignal(key string) bool {
	for i := range e.History {
		if e.History[i].Key == key {
			return true
		}
	}
	return false
}

// woken is an execution as a statement finds it.
func woken(id uuid.UUID, e *Execution) store.Woken {
	if e == nil {
		return store.Woken{ID: id}
	}
	return store.Woken{ID: id, Found: true, Kind: e.Kind, Status: e.Status, Queue: e.Queue, Worker: e.Worker, HistoryLength: e.HistoryLength}
}
