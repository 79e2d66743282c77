package memory

import (
	"math"
	"slices"
	"time"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// finish ends attempts.
func (s *State) finish(now time.Time, items []store.Finish, finished []*store.Finished) {
	roots := true
	for i := range items {
		roots = roots && items[i].Root
	}
	x := s.ending(now)
	for _, i := range byID(items) {
		s.finishOne(x, &items[i], finished[i])
	}
	if roots {
		x.settleRoots()
	} else {
		x.settle()
	}
	for i := range items {
		e := s.Find(items[i].ID)
		if _, wrote := x.before[items[i].ID]; wrote && (e.ParentID != nil || e.Awaited || e.isWorkflow()) {
			finished[i].RunAt, finished[i].Told = e.RunAt, x.toldOf(e)
		}
	}
}

func byID(items []store.Finish) []int {
	order := make([]int, len(items))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return compare(items[a].ID, items[b].ID) })
	return order
}

func (s *State) finishOne(x *ending, f *store.Finish, out *store.Finished) {
	e := s.Find(f.ID)
	if e == nil {
		out.RunAt = retryAt(x.now, nil, 40)
		return
	}
	if !out.Continued {
		out.Queue = e.Queue
	}
	out.Found, out.SameLease, out.Status, out.Kind = true, s.isSame(e, f.Lease), e.Status, e.Kind
	out.RunAt = retryAt(x.now, e.Retry, e.Failures)
	verdict := s.verdict(x.now, e, f)
	if out.Held = verdict != ""; !out.Held {
		return
	}
	if out.Status = verdict; verdict == model.Scheduled && out.RunAt.Before(x.now.Add(time.Millisecond)) {
		out.Status = model.Pending
	}
	if verdict != model.Running {
		s.end(x, e, f, verdict, out)
	}
}

// verdict says what an outcome makes of an execution; nothing, if it is not the holder's
// to say, or if another run has begun with it.
func (s *State) verdict(now time.Time, e *Execution, f *store.Finish) model.Status {
	asked := e.CancelRequestedAt != nil
	switch {
	case !s.knows(e, f.Lease, f.Position):
		return ""
	case e.isWorkflow() && asked && e.has(f.Position, model.EventCancelRequested) && !s.Without[GuardUnseen]:
		return model.Running
	case asked && !s.Without[GuardCancelWins]:
		return model.Cancelled
	case f.Continue != nil:
		return ""
	case f.OK:
		return model.Completed
	case s.isRetried(now, e, f):
		return model.Scheduled
	}
	return model.Failed
}

func (s *State) isRetried(now time.Time, e *Execution, f *store.Finish) bool {
	retries, never := 3, []string(nil)
	if e.Retry != nil {
		never = e.Retry.NonRetryable
		if e.Retry.Retries != nil {
			retries = *e.Retry.Retries
		}
	}
	return !e.isWorkflow() && !f.Final && (e.Failures < retries || s.Without[GuardRetries]) && !slices.Contains(never, f.ErrorType) &&
		(e.DeadlineAt == nil || e.DeadlineAt.After(now))
}

// retryAt is when an execution that has failed so often is tried again. Chance is half
// way: no jitter.
func retryAt(now time.Time, r *model.RetryPolicy, failures int) time.Time {
	initial, factor, most := 1000.0, 2.0, 60000.0
	if r != nil && r.InitialMS != nil {
		initial = float64(*r.InitialMS)
	}
	if r != nil && r.Factor != nil {
		factor = *r.Factor
	}
	if r != nil && r.MaxMS != nil {
		most = float64(*r.MaxMS)
	}
	return after(now, min(most, initial*math.Pow(factor, float64(min(failures, 40)))))
}

func (s *State) end(x *ending, e *Execution, f *store.Finish, verdict model.Status, out *store.Finished) {
	e.Result, e.Error, e.FailedSequence = nil, f.Error, f.FailedSequence
	if verdict == model.Completed {
		e.Result, e.Error, e.FailedSequence = or(f.Result, model.Payload("null")), nil, nil
	}
	if !f.OK {
		e.Failures++
	}
	if verdict == model.Scheduled {
		e.RunAt = out.RunAt
	}
	s.resetCrashes(e)
	x.set(e, out.Status)
}
