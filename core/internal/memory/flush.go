package memory

import (
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// Flush writes a batch, in the order in which the store's statements do. After an
// error the state is of no use: the caller's transaction would be rolled back.
func (s *State) Flush(now time.Time, b store.Batch) (store.Flushed, error) {
	f, plain, err := s.flush(now, b)
	if err != nil {
		return f, err
	}
	if err := s.flushRest(now, plain.unwritten(), nil, &f); err != nil {
		return f, err
	}
	s.missed(b, &f)
	return f, nil
}

// FlushTorn writes only what the first of a flush's two transactions does.
func (s *State) FlushTorn(now time.Time, b store.Batch) (store.Flushed, error) {
	f, _, err := s.flush(now, b)
	return f, err
}

func (s *State) flush(now time.Time, b store.Batch) (f store.Flushed, plain plainWrites, err error) {
	f = store.Flushed{
		Made:     map[uuid.UUID]*store.Made{},
		Signals:  make([]store.Signaled, len(b.Signals)),
		Progress: make([]bool, len(b.Progress)),
		Releases: make([]store.Released, len(b.Releases)),
		Advances: make([]store.Advanced, len(b.Advances)),
		Finishes: make([]store.Finished, len(b.Finishes)),
		Marked:   make([]store.Woken, len(b.Cancels)),
		Ended:    make([]store.Ended, len(b.Cancels)),
		Awaited:  map[uuid.UUID]store.Read{},
	}
	plain, rest := plainOf(&b, &f)
	s.create(now, b.Creates, b.Claim, &f)
	s.signal(now, b.Signals, b.MaxHistory, f.Signals)
	s.progress(b.Progress, f.Progress)
	s.release(now, b.Releases, f.Releases)
	if err := s.plain(now, plain, b.Claim, &f); err != nil {
		return f, plain, err
	}
	rest.cancels = b.Cancels
	if err := s.flushRest(now, rest, b.Claim, &f); err != nil {
		return f, plain, err
	}
	for _, id := range b.Awaited {
		if e := s.Find(id); e != nil {
			f.Awaited[id] = store.Read{Execution: e.model(), Awaited: e.Awaited}
		}
	}
	if b.Look {
		f.Claimed = append(f.Claimed, s.Claim(now, *b.Claim)...)
	}
	return f, plain, nil
}

// flushRest writes what is not plain.
func (s *State) flushRest(now time.Time, o outcomes, to *store.Claim, f *store.Flushed) error {
	if err := s.advance(now, o.advances, to, o.advanced, f); err != nil {
		return err
	}
	s.cancel(now, o.cancels, f)
	s.continueAsNew(now, o.finishes, o.finished)
	s.finish(now, o.finishes, o.finished)
	for i := range o.advances {
		a := &o.advances[i]
		o.advanced[i].Events = s.news(a.ID, a.Lease, a.Position)
	}
	return nil
}

// news answers what a holder has not seen, as long as it holds.
func (s *State) news(id uuid.UUID, l model.Lease, position int) []model.Event {
	e := s.Find(id)
	if e == nil || e.Token == nil || *e.Token != l.Token || (e.Status != model.Running && e.Status != model.Suspended) {
		return nil
	}
	return e.Events(position)
}

func (s *State) missed(b store.Batch, f *store.Flushed) {
	for i := range b.Finishes {
		x := &b.Finishes[i]
		if x.Workflow && f.Finishes[i].Held && f.Finishes[i].Status == model.Running {
			f.Finishes[i].Events = s.news(x.ID, x.Lease, x.Position)
		}
	}
}

// model is the execution as it is read.
func (e *Execution) model() model.Execution {
	x := model.Execution{
		ID: e.ID, Kind: e.Kind, Name: e.Name, Queue: e.Queue, Status: e.Status, Priority: e.Priority, Run: e.Run, RootID: e.RootID,
		ParentID: e.ParentID, IdempotencyKey: e.Key, Worker: e.Worker, Attempts: e.Attempts, Failures: e.Failures, Crashes: e.Crashes,
		Releases: e.Releases, HistoryLength: e.HistoryLength, Parked: e.Parked, CancelRequestedAt: e.CancelRequestedAt, CreatedAt: e.CreatedAt,
		RunAt: e.RunAt, StartedAt: e.StartedAt, FinishedAt: e.FinishedAt, DeadlineAt: e.DeadlineAt, Language: e.Language, Version: e.Version,
		Args: or(e.Args, model.Payload("[]")), Kwargs: or(e.Kwargs, model.Payload("{}")), Result: e.Result, Error: e.Error, Progress: e.Progress, State: e.State,
	}
	if e.ParentID != nil {
		sequence := int(e.Sequence)
		x.Sequence = &sequence
	}
	return x
}

// progress keeps what running attempts report.
func (s *State) progress(items []store.Progress, kept []bool) {
	for i := range items {
		if e := s.Find(items[i].ID); s.IsHeld(e, items[i].Lease) {
			e.Progress, kept[i] = items[i].Progress, true
		}
	}
}
