package memory

import (
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
)

// Resume lets a parked workflow go on.
func (s *State) Resume(now time.Time, id uuid.UUID) (queue string, changed bool) {
	e := s.Find(id)
	if e == nil || e.Status != model.Suspended || e.Parked == nil {
		return "", false
	}
	e.Status, e.Parked, e.RunAt = model.Pending, nil, now
	return e.Queue, true
}

// Retry starts the next run of what failed or was cancelled, a workflow from a copy of
// its history up to where it went wrong.
func (s *State) Retry(now time.Time, id uuid.UUID) (queue string, changed bool) {
	e := s.Find(id)
	if e == nil || (e.Status != model.Failed && e.Status != model.Cancelled) {
		return "", false
	}
	kept, length := e.kept(), e.HistoryLength
	mark := model.Event{Type: model.EventRetried, At: now, Payload: fmt.Appendf(nil, `{"error":%s,"voided":%s}`, or(e.Error, model.Payload("null")), number(e.FailedSequence))}
	e.Run++
	e.HistoryLength = 0
	for _, x := range kept {
		e.append(x.Event)
		e.History[len(e.History)-1].Key = x.Key
	}
	if length > 0 {
		e.append(mark)
	}
	e.Status, e.RunAt, e.FinishedAt, e.CancelRequestedAt, e.Parked = model.Pending, now, nil, nil, nil
	e.Result, e.Error, e.FailedSequence, e.Failures, e.Crashes = nil, nil, nil, 0, 0
	e.DeadlineAt, e.Reported, e.SuspendedPosition = nil, true, nil
	return e.Queue, true
}

func number(n *int32) string {
	if n == nil {
		return "null"
	}
	return fmt.Sprint(*n)
}

// outcomes of what a command started; cancelled ones are asked for anew, and failures of
// which the code has not heard.
var (
	asking   = map[model.EventType]bool{model.EventActivityScheduled: true, model.EventChildStarted: true, model.EventTimerStarted: true}
	undone   = map[model.EventType]bool{model.EventActivityCancelled: true, model.EventChildCancelled: true, model.EventTimerCancelled: true}
	failures = map[model.EventType]bool{model.EventActivityFailed: true, model.EventChildFailed: true, model.EventStepFailed: true}
	wrongs   = map[model.EventType]bool{
		model.EventActivityFailed: true, model.EventChildFailed: true, model.EventStepFailed: true, model.EventActivityCancelled: true, model.EventChildCancelled: true,
	}
)

// kept is what a retry goes on from: of what was asked for before it went wrong, what
// had an outcome, and every event of nobody's asking but the request to stop.
func (e *Execution) kept() (kept []Event) {
	var run []Event
	for _, x := range e.History {
		if x.Run == e.Run {
			run = append(run, x)
		}
	}
	wrong, last := math.MaxInt32, 0
	for _, x := range run {
		if x.Type == model.EventCancelRequested || e.isVoided(&x) && wrongs[x.Type] {
			wrong = min(wrong, x.Position)
		}
	}
	for _, x := range run {
		if x.Position < wrong && x.Sequence != nil {
			last = max(last, *x.Sequence)
		}
	}
	settled := map[int]bool{}
	for _, x := range run {
		if x.Sequence != nil && *x.Sequence <= last && !e.isVoided(&x) && !asking[x.Type] {
			settled[*x.Sequence] = true
		}
	}
	for _, x := range run {
		if undone[x.Type] || x.Position > wrong && failures[x.Type] {
			delete(settled, *x.Sequence)
		}
	}
	for _, x := range run {
		if x.Type != model.EventCancelRequested && (x.Sequence == nil || settled[*x.Sequence]) {
			kept = append(kept, x)
		}
	}
	return kept
}

func (e *Execution) isVoided(x *Event) bool {
	return e.FailedSequence != nil && x.Sequence != nil && *x.Sequence == int(*e.FailedSequence)
}
