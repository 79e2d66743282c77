// Package memory is the store's rules in plain Go: what each statement of package
// store does to executions, their histories, timers and workers. It has no clock, no
// goroutines, no chance and no I/O, so that a schedule can be played on it a hundred
// thousand times a minute, and again from its seed.
//
// The simulation in core/engine runs on it; its conformance test plays the same on
// PostgreSQL, and a difference is a mistake in one of the two.
package memory

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
)

// State is what a schema holds.
type State struct {
	// Executions by id, in ascending order.
	Executions []*Execution
	Timers     []*Timer
	Workers    []*Worker
	// Without are guards that a mutant lacks.
	Without map[Guard]bool

	byID map[uuid.UUID]*Execution
}

// Execution is a row of executions, with its history.
type Execution struct {
	ID, RootID        uuid.UUID
	ParentID          *uuid.UUID
	ParentRun         int
	Sequence          int32
	ClosePolicy       string
	Reported          bool
	Kind              model.Kind
	Name, Queue       string
	Key               *string
	Run               int
	Status            model.Status
	Priority          int
	Awaited, Alone    bool
	RunAt, CreatedAt  time.Time
	StartedAt         *time.Time
	FinishedAt        *time.Time
	CancelRequestedAt *time.Time
	DeadlineAt        *time.Time
	Worker, Token     *uuid.UUID
	Epoch             int64
	HistoryLength     int
	Attempts          int
	Failures          int
	Crashes           int
	Releases          int
	AttemptTimeoutMS  int64
	Parked, Language  *string
	Version           *string
	Retry             *model.RetryPolicy
	Args, Kwargs      model.Payload
	Result, Error     model.Payload
	FailedSequence    *int32
	Progress          model.Payload
	State             model.Payload
	SuspendedPosition *int

	// History has the events of every run.
	History []Event
}

// Event is a row of history.
type Event struct {
	Run int
	Key string
	model.Event
}

// Timer is a row of timers.
type Timer struct {
	Execution uuid.UUID
	Run       int
	Kind      string
	Sequence  int32
	DueAt     time.Time
}

// Worker is a row of workers.
type Worker struct {
	ID          uuid.UUID
	Request     model.StartWorkerRequest
	Status      string
	HeartbeatAt time.Time
}

// New answers an empty schema.
func New() *State { return &State{byID: map[uuid.UUID]*Execution{}} }

// Find answers an execution, nil if there is none.
func (s *State) Find(id uuid.UUID) *Execution { return s.byID[id] }

func (s *State) add(e *Execution) {
	at, _ := slices.BinarySearchFunc(s.Executions, e.ID, func(x *Execution, id uuid.UUID) int { return compare(x.ID, id) })
	s.Executions = slices.Insert(s.Executions, at, e)
	s.byID[e.ID] = e
}

func compare(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }

func (e *Execution) isLive() bool { return !e.Status.Final() }

func (e *Execution) isWorkflow() bool { return e.Kind == model.Workflow }

// IsHeld says whether a lease holds.
func (s *State) IsHeld(e *Execution, l model.Lease) bool {
	return e != nil && (e.Status == model.Running || s.Without[GuardStatus]) && s.isSame(e, l)
}

// knows says whether a lease holds, and its holder has seen no more than there is: a
// failover may have lost the rest.
func (s *State) knows(e *Execution, l model.Lease, position int) bool {
	return s.IsHeld(e, l) && (e.HistoryLength >= position || s.Without[GuardKnows])
}

// isSame says whether the row bears a lease, which may be over.
func (s *State) isSame(e *Execution, l model.Lease) bool {
	return e != nil && (e.Epoch == l.Epoch || s.Without[GuardEpoch]) && (e.Token != nil && *e.Token == l.Token || s.Without[GuardToken])
}

// Events answers those of the present run after a position.
func (e *Execution) Events(after int) (events []model.Event) {
	for i := range e.History {
		if x := &e.History[i]; x.Run == e.Run && x.Position > after {
			events = append(events, x.Event)
		}
	}
	return events
}

func (e *Execution) has(after int, kind model.EventType) bool {
	for i := range e.History {
		if x := &e.History[i]; x.Run == e.Run && x.Position > after && x.Type == kind {
			return true
		}
	}
	return false
}

// append adds an event at the end of the present run.
func (e *Execution) append(x model.Event) {
	e.HistoryLength++
	x.Position = e.HistoryLength
	e.History = append(e.History, Event{Run: e.Run, Event: x})
}

// wake makes a suspended workflow due; a parked one waits for somebody to resume it.
func (s *State) wake(e *Execution, now time.Time) {
	if e.Status != model.Suspended || s.Without[GuardWake] {
		return
	}
	e.RunAt = now
	if e.Parked == nil {
		e.Status = model.Pending
	}
}

func (s *State) timer(id uuid.UUID, kind string, sequence int32) *Timer {
	for _, t := range s.Timers {
		if t.Execution == id && t.Kind == kind && t.Sequence == sequence {
			return t
		}
	}
	return nil
}

// setTimer adds a timer, unless it is there.
func (s *State) setTimer(t Timer) (added bool) {
	if s.timer(t.Execution, t.Kind, t.Sequence) != nil {
		return false
	}
	s.Timers = append(s.Timers, &t)
	return true
}

// takeTimers removes timers, and answers them by due time and sequence.
func (s *State) takeTimers(which func(*Timer) bool) (taken []*Timer) {
	s.Timers = slices.DeleteFunc(s.Timers, func(t *Timer) bool {
		if !which(t) {
			return false
		}
		taken = append(taken, t)
		return true
	})
	slices.SortFunc(taken, func(a, b *Timer) int { return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.Sequence, b.Sequence)) })
	return taken
}

func (s *State) worker(id uuid.UUID) *Worker {
	for _, w := range s.Workers {
		if w.ID == id {
			return w
		}
	}
	return nil
}

// child is the one that a run of a workflow started under a sequence.
func (s *State) child(parent uuid.UUID, run int, sequence int32) *Execution {
	for _, e := range s.Executions {
		if e.ParentID != nil && *e.ParentID == parent && e.ParentRun == run && e.Sequence == sequence {
			return e
		}
	}
	return nil
}

func after(now time.Time, ms float64) time.Time {
	return now.Add(time.Duration(ms*1000) * time.Microsecond)
}

// coreError is what the library itself ends an execution with.
func coreError(name, message string) model.Payload {
	return model.Payload(`{"type":"` + name + `","message":"` + message + `","non_retryable":true,"language":"core"}`)
}

// startedBy is the payload of a started event.
func startedBy(w *Worker) model.Payload {
	return model.Payload(`{"language":"` + w.Request.Language + `","runtime":"` + w.Request.Runtime + `","sdk_version":"` + w.Request.SDKVersion + `"}`)
}

func or(p, otherwise model.Payload) model.Payload {
	if len(p) == 0 {
		return otherwise
	}
	return p
}
