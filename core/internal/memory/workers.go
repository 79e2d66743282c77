package memory

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// Register adds a worker. Repeating it changes nothing.
func (s *State) Register(now time.Time, id uuid.UUID, r model.StartWorkerRequest) {
	if s.worker(id) == nil {
		s.Workers = append(s.Workers, &Worker{ID: id, Request: r, Status: "active", HeartbeatAt: now})
	}
}

func (w *Worker) isAlive() bool { return w.Status == "active" || w.Status == "draining" }

// Beat renews a worker's leases and lists them.
func (s *State) Beat(now time.Time, id uuid.UUID) (alive bool, held []store.Held) {
	if w := s.worker(id); w != nil && (w.isAlive() || s.Without[GuardBeat]) {
		w.HeartbeatAt, alive = now, true
	}
	for _, e := range s.heldBy(id) {
		held = append(held, store.Held{
			ID: e.ID, Lease: model.Lease{Epoch: e.Epoch, Token: *e.Token}, HistoryLength: e.HistoryLength, CancelRequested: e.CancelRequestedAt != nil,
		})
	}
	return alive, held
}

func (s *State) heldBy(worker uuid.UUID) (held []*Execution) {
	for _, e := range s.Executions {
		if e.Worker != nil && *e.Worker == worker && e.Status == model.Running {
			held = append(held, e)
		}
	}
	return held
}

// SetWorker marks a living worker as draining or stopped.
func (s *State) SetWorker(id uuid.UUID, status string) {
	if w := s.worker(id); w != nil && w.isAlive() {
		w.Status = status
	}
}

// Silent answers those who have missed a beat, or are gone and still hold something.
func (s *State) Silent(now time.Time) (ids []uuid.UUID) {
	for _, w := range s.Workers {
		late := w.HeartbeatAt.Before(now.Add(-time.Duration(w.Request.HeartbeatTimeoutMS) * time.Millisecond * 2 / 5))
		if w.isAlive() && late || !w.isAlive() && len(s.heldBy(w.ID)) > 0 {
			ids = append(ids, w.ID)
		}
	}
	return ids
}

// Silences reads the last beats of workers.
func (s *State) Silences(now time.Time, ids []uuid.UUID) (silences []store.Silence) {
	for _, w := range s.Workers {
		if timeout := time.Duration(w.Request.HeartbeatTimeoutMS) * time.Millisecond; slices.Contains(ids, w.ID) {
			silences = append(silences, store.Silence{
				ID: w.ID, HeartbeatAt: w.HeartbeatAt, Timeout: timeout, Overdue: now.Sub(w.HeartbeatAt) >= timeout,
				Dead: !w.isAlive(), Stopped: w.Status == "stopped",
			})
		}
	}
	return silences
}

// Bury declares a worker dead, unless it has beaten since.
func (s *State) Bury(id uuid.UUID, seen time.Time) (dead bool) {
	w := s.worker(id)
	if w == nil || !w.isAlive() || (!w.HeartbeatAt.Equal(seen) && !s.Without[GuardBury]) {
		return false
	}
	w.Status = "dead"
	return true
}

// RecoverFrom takes up to limit executions from a worker that is gone.
func (s *State) RecoverFrom(now time.Time, worker uuid.UUID, crashed bool, limit int) (recovered []store.Recovered) {
	held := s.heldBy(worker)
	held = held[:min(len(held), limit)]
	crashed = crashed && !s.Without[GuardCrash]
	x := s.ending(now)
	for _, e := range held {
		if s.isLostForGood(e, crashed) {
			s.endLost(x, e, crashed)
		}
	}
	x.settle()
	for _, e := range x.done {
		recovered = append(recovered, store.Recovered{ID: e.ID, Status: e.Status, Queue: e.Queue, Told: x.toldOf(e)})
	}
	for _, e := range held {
		if e.Status == model.Running {
			s.requeue(e, crashed)
			recovered = append(recovered, store.Recovered{ID: e.ID, Status: e.Status, Queue: e.Queue})
		}
	}
	return recovered
}

// isLostForGood: it was asked to stop anyway, or this was its third crash in a row and
// nobody else can have been to blame.
func (s *State) isLostForGood(e *Execution, crashed bool) bool {
	return e.CancelRequestedAt != nil && !e.isWorkflow() || crashed && e.Crashes >= 2 && (e.Alone || s.Without[GuardAlone])
}

func (s *State) endLost(x *ending, e *Execution, crashed bool) {
	status := model.Failed
	parked := "worker_lost"
	e.Parked = &parked
	e.Error = coreError("WorkerLost", fmt.Sprintf("the worker died %d times in a row while it ran this", e.Crashes+1))
	if e.CancelRequestedAt != nil && !e.isWorkflow() {
		status, e.Parked, e.Error = model.Cancelled, nil, coreError("Cancelled", "it was asked to stop, and its worker died")
	}
	if crashed {
		e.Crashes++
	}
	e.Token, e.Alone = nil, false
	x.set(e, status)
}

func (s *State) requeue(e *Execution, crashed bool) {
	if crashed && (e.Crashes < 2 || e.Alone) {
		e.Crashes++
	}
	e.Status, e.Token, e.Alone, e.SuspendedPosition = model.Pending, nil, false, nil
}

// Look answers a tick: what is due, and when the next thing will be.
func (s *State) Look(now time.Time, queues []string, ahead time.Duration, ours, languages []string) store.Due {
	d := store.Due{Now: now, Silent: s.Silent(now), Queues: []string{}}
	until := now.Add(ahead)
	for _, t := range s.Timers {
		d.Timer = earlier(d.Timer, t.DueAt, until)
	}
	waits := map[string]bool{}
	for _, e := range s.Executions {
		switch {
		case e.Status == model.Scheduled:
			d.Promote = earlier(d.Promote, e.RunAt, until)
		case e.Status != model.Pending:
		case e.Crashes < 2:
			waits[e.Queue] = true
		case slices.Contains(queues, e.Queue) && (e.Language == nil || slices.Contains(languages, *e.Language)):
			d.Suspect = earlier(d.Suspect, e.RunAt, e.RunAt)
		}
	}
	for _, q := range queues {
		if waits[q] {
			d.Queues = append(d.Queues, q)
		}
	}
	d.First = s.isFirst(queues, ours)
	return d
}

func earlier(known *time.Time, at, until time.Time) *time.Time {
	if at.After(until) || known != nil && !at.Before(*known) {
		return known
	}
	return &at
}

// isFirst: a worker of ours comes first among those that serve the queues.
func (s *State) isFirst(queues, ours []string) bool {
	least := ""
	for _, w := range s.Workers {
		serves := slices.ContainsFunc(w.Request.Queues, func(q string) bool { return slices.Contains(queues, q) })
		if id := w.ID.String(); w.Status == "active" && serves && (least == "" || id < least) {
			least = id
		}
	}
	return least != "" && slices.Contains(ours, least)
}
