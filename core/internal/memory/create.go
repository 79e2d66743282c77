package memory

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// create inserts roots; whose id or key is taken is left out.
func (s *State) create(now time.Time, rows []store.NewRow, to *store.Claim, f *store.Flushed) {
	ordered := make([]*store.NewRow, len(rows))
	for i := range rows {
		ordered[i] = &rows[i]
		f.Made[rows[i].ID] = &store.Made{Winner: rows[i].ID}
	}
	slices.SortStableFunc(ordered, func(a, b *store.NewRow) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), compareKeys(a.IdempotencyKey, b.IdempotencyKey))
	})
	ahead := s.ahead(to)
	for _, row := range ordered {
		if s.isTaken(row) {
			continue
		}
		if row.Early != nil {
			s.createEarly(row, f)
			continue
		}
		holder := s.holderOf(row, to, ahead)
		e := s.insert(now, row, holder, to)
		e.RootID = e.ID
		m := store.Made{Inserted: true, Winner: e.ID, Queue: e.Queue, Status: string(e.Status), RunAt: e.RunAt, HandedOver: handedOver(e, holder)}
		f.Made[row.ID] = &m
		if m.At != nil {
			f.Claimed = append(f.Claimed, m.ClaimedOf(row, to.Token))
		}
	}
	s.winners(rows, f)
}

// createEarly inserts a root as its holder was told, if that is alive.
func (s *State) createEarly(row *store.NewRow, f *store.Flushed) {
	holder := s.worker(row.Early.Worker)
	if holder != nil && holder.Status != "active" {
		holder = nil
	}
	e := s.insert(row.Early.At, row, holder, &store.Claim{Token: row.Early.Token})
	e.RootID = e.ID
	f.Made[row.ID] = &store.Made{Inserted: true, Winner: e.ID, Queue: e.Queue, Status: string(e.Status), RunAt: e.RunAt}
}

// compareKeys puts rows without a key last, as PostgreSQL does.
func compareKeys(a, b *string) int {
	switch {
	case a != nil && b != nil:
		return cmp.Compare(*a, *b)
	case a != nil:
		return -1
	case b != nil:
		return 1
	}
	return 0
}

func (s *State) isTaken(row *store.NewRow) bool {
	if e := s.Find(row.ID); e != nil {
		if s.Without[GuardIDOnce] {
			s.remove(e)
		}
		return !s.Without[GuardIDOnce]
	}
	return row.IdempotencyKey != nil && s.keyed(row.Name, *row.IdempotencyKey) != nil && !s.Without[GuardKeyOnce]
}

func (s *State) remove(e *Execution) {
	s.Executions = slices.DeleteFunc(s.Executions, func(x *Execution) bool { return x == e })
	delete(s.byID, e.ID)
}

func (s *State) keyed(name, key string) *Execution {
	for _, e := range s.Executions {
		if e.Name == name && e.Key != nil && *e.Key == key {
			return e
		}
	}
	return nil
}

func (s *State) winners(rows []store.NewRow, f *store.Flushed) {
	for i := range rows {
		if key := rows[i].IdempotencyKey; key != nil {
			if e := s.keyed(rows[i].Name, *key); e != nil {
				f.Made[rows[i].ID].Winner = e.ID
			}
		}
	}
}

// ahead answers, for each queue, the priority that a row has to exceed to be handed over
// before what waits: as many as the worker has slots to spare do not count.
func (s *State) ahead(to *store.Claim) map[string]int {
	waiting := map[string][]int{}
	for _, e := range s.Executions {
		if e.Status == model.Pending && e.Crashes < 2 {
			waiting[e.Queue] = append(waiting[e.Queue], e.Priority)
		}
	}
	spare, highest := 0, map[string]int{}
	if to != nil {
		spare = to.Spare
	}
	for queue, priorities := range waiting {
		slices.SortFunc(priorities, func(a, b int) int { return b - a })
		if spare < len(priorities) {
			highest[queue] = priorities[spare]
		}
	}
	return highest
}

// holderOf is the worker that a new row is handed over to, if it is.
func (s *State) holderOf(row *store.NewRow, to *store.Claim, ahead map[string]int) *Worker {
	if !row.HandOver {
		return nil
	}
	w := s.worker(to.Worker)
	if highest, found := ahead[row.Queue]; w == nil || w.Status != "active" || found && highest >= *row.Priority {
		return nil
	}
	return w
}

// insert adds a row, with its deadlines and, if it has a holder, its beginning.
func (s *State) insert(now time.Time, row *store.NewRow, holder *Worker, to *store.Claim) *Execution {
	e := &Execution{
		ID: row.ID, ParentID: row.ParentID, Kind: row.Kind, Name: row.Name, Queue: row.Queue, Key: row.IdempotencyKey, Run: 1,
		Status: model.Pending, Priority: *row.Priority, Awaited: row.Awaited, RunAt: now.Add(time.Duration(max(row.DelayMS, 0)) * time.Millisecond),
		CreatedAt: now, AttemptTimeoutMS: row.AttemptTimeoutMS, Version: row.Version, Retry: row.Retry, Args: row.Args, Kwargs: row.Kwargs,
	}
	if row.RunAt != nil {
		e.RunAt = *row.RunAt
	}
	if row.TimeoutMS > 0 {
		due := now.Add(time.Duration(row.TimeoutMS) * time.Millisecond)
		e.DeadlineAt = &due
	}
	switch {
	case row.Dead:
		e.Status, e.FinishedAt, e.Reported = model.Cancelled, &now, true
	case row.DelayMS > 0 || e.RunAt.After(now):
		e.Status = model.Scheduled
	case holder != nil:
		e.Status = model.Running
	}
	s.add(e)
	if holder != nil {
		token := to.Token
		e.Worker, e.Token, e.Epoch, e.Attempts, e.StartedAt = &holder.ID, &token, 1, 1, &now
		s.begin(e, holder, now)
	}
	if !row.Dead {
		s.limit(now, e, row)
	}
	return e
}

// begin writes a workflow's first event.
func (s *State) begin(e *Execution, w *Worker, now time.Time) {
	if e.isWorkflow() {
		e.Language = &w.Request.Language
		e.append(model.Event{Type: model.EventStarted, At: now, Payload: startedBy(w)})
	}
}

// limit sets the timers of an execution's deadlines.
func (s *State) limit(now time.Time, e *Execution, row *store.NewRow) {
	if e.DeadlineAt != nil {
		s.setTimer(Timer{Execution: e.ID, Run: 1, Kind: "deadline", DueAt: *e.DeadlineAt})
	}
	if row.ScheduleTimeoutMS > 0 {
		s.setTimer(Timer{Execution: e.ID, Run: 1, Kind: "schedule", DueAt: now.Add(time.Duration(row.ScheduleTimeoutMS) * time.Millisecond)})
	}
}

// schedule inserts a child of a workflow.
func (s *State) schedule(now time.Time, parent *Execution, row *store.NewRow, holder *Worker, to *store.Claim) (*Execution, error) {
	if s.Find(row.ID) != nil {
		return nil, fmt.Errorf("the id of a child is taken: %s", row.ID)
	}
	e := s.insert(now, &store.NewRow{
		ID: row.ID, ParentID: row.ParentID, Dead: row.Dead, NewExecution: withoutLimits(row.NewExecution),
	}, holder, to)
	e.RootID, e.ParentRun, e.Sequence, e.ClosePolicy = parent.RootID, parent.Run, *row.Sequence, *row.ClosePolicy
	e.DeadlineAt = deadlineOf(now, parent, row)
	if !row.Dead {
		s.limit(now, e, row)
	}
	return e, nil
}

func withoutLimits(n model.NewExecution) model.NewExecution {
	n.TimeoutMS, n.ScheduleTimeoutMS = 0, 0
	return n
}

// deadlineOf a child is its own or its parent's, whichever is earlier.
func deadlineOf(now time.Time, parent *Execution, row *store.NewRow) *time.Time {
	var own *time.Time
	if row.TimeoutMS > 0 {
		due := now.Add(time.Duration(row.TimeoutMS) * time.Millisecond)
		own = &due
	}
	theirs := parent.DeadlineAt
	switch {
	case *row.ClosePolicy == string(model.CloseDetach) || theirs == nil:
		return own
	case own == nil || theirs.Before(*own):
		return theirs
	}
	return own
}

func handedOver(e *Execution, holder *Worker) store.HandedOver {
	h := store.HandedOver{Root: e.RootID, DeadlineAt: e.DeadlineAt}
	if holder != nil {
		started := string(startedBy(holder))
		h.At, h.Started = e.StartedAt, &started
	}
	return h
}

// Status reads where an execution stands.
func (s *State) Status(id uuid.UUID) (status model.Status, found bool) {
	if e := s.Find(id); e != nil {
		return e.Status, true
	}
	return "", false
}
