package memory

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// Claim hands due executions to a worker that is alive.
func (s *State) Claim(now time.Time, c store.Claim) (claimed []model.Claimed) {
	w := s.worker(c.Worker)
	if w == nil || (w.Status != "active" && !s.Without[GuardAlive]) {
		return nil
	}
	for _, e := range s.due(w, c) {
		claimed = append(claimed, s.take(now, e, w, c))
	}
	return claimed
}

// due are those that a claim gets, in their order.
func (s *State) due(w *Worker, c store.Claim) (due []*Execution) {
	for _, e := range s.Executions {
		if s.mayTake(e, w, c) {
			due = append(due, e)
		}
	}
	slices.SortFunc(due, func(a, b *Execution) int {
		return cmp.Or(b.Priority-a.Priority, a.RunAt.Compare(b.RunAt), compare(a.ID, b.ID))
	})
	return due[:min(len(due), c.N)]
}

func (s *State) mayTake(e *Execution, w *Worker, c store.Claim) bool {
	isTaken := e.Status == model.Running && s.Without[GuardPending]
	switch {
	case e.Status != model.Pending && !isTaken:
	case c.Suspect != (e.Crashes >= 2) && !s.Without[GuardSuspect]:
	case !slices.Contains(c.Queues, e.Queue):
	case e.isWorkflow() && e.Language != nil && *e.Language != w.Request.Language:
	case slices.Contains(c.Lacking, model.FunctionName{Kind: e.Kind, Name: e.Name}):
	default:
		return true
	}
	return false
}

// take makes a worker the holder. A workflow without a language begins, or begins
// another run; one that was put back for want of the function has its "started" already.
func (s *State) take(now time.Time, e *Execution, w *Worker, c store.Claim) model.Claimed {
	seen, previous, token := e.SuspendedPosition, e.Token, c.Token
	fresh := e.isWorkflow() && e.Language == nil && !e.isBegun()
	if !c.Warm || e.Worker == nil || *e.Worker != c.Worker {
		e.SuspendedPosition = nil
	}
	e.Status, e.Epoch, e.Alone = model.Running, e.Epoch+1, c.Suspect
	e.Worker, e.Token = &w.ID, &token
	if !e.isWorkflow() || fresh {
		e.Attempts++
	}
	if e.StartedAt == nil {
		e.StartedAt = &now
	}
	switch {
	case fresh:
		s.begin(e, w, now)
		if e.CancelRequestedAt != nil {
			e.append(model.Event{Type: model.EventCancelRequested, Payload: e.Error, At: now})
		}
	case e.isWorkflow() && e.Language == nil:
		e.rename(w)
	}
	return e.claimed(seen, previous)
}

// isBegun: it has been put back, but not before it had begun its run.
func (e *Execution) isBegun() bool { return e.Releases > 0 && e.has(0, model.EventStarted) }

// rename lets the "started" of this run name who begins it in truth.
func (e *Execution) rename(w *Worker) {
	e.Language = &w.Request.Language
	for i := range e.History {
		if x := &e.History[i]; x.Run == e.Run && x.Type == model.EventStarted {
			x.Payload = startedBy(w)
		}
	}
}

// claimed is what its new holder is told.
func (e *Execution) claimed(seen *int, previous *uuid.UUID) model.Claimed {
	x := model.Claimed{
		ID: e.ID, Run: e.Run, Kind: e.Kind, Name: e.Name, Queue: e.Queue, RootID: e.RootID, ParentID: e.ParentID,
		Lease: model.Lease{Epoch: e.Epoch, Token: *e.Token}, Priority: e.Priority, Attempt: e.Attempts,
		Args: e.Args, Kwargs: e.Kwargs, Retry: e.Retry, AttemptTimeoutMS: e.AttemptTimeoutMS,
		DeadlineAt: e.DeadlineAt, CancelRequested: e.CancelRequestedAt != nil,
		Progress: e.Progress, Version: e.Version,
	}
	if seen != nil {
		x.Seen = *seen
	}
	if e.SuspendedPosition != nil {
		x.After = *e.SuspendedPosition
	}
	if x.After > 0 {
		x.PreviousToken = previous
	}
	if e.isWorkflow() {
		x.Position, x.Events = e.HistoryLength, e.Events(x.After)
	}
	return x
}
