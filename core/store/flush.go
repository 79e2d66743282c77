package store

import (
	"context"
	"log/slog"
	"slices"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
)

// Batch is what one flush writes: many callers' requests in one transaction.
// An execution stands at most once in each of Advances, Finishes, Releases and
// Progress: an UPDATE applies a row once.
type Batch struct {
	Creates  []NewRow
	Signals  []Signal
	Progress []Progress
	Releases []Release
	Advances []Advance
	Finishes []Finish
	Cancels  []Cancel
	// Awaited are executions to read once everything is written.
	Awaited []uuid.UUID
	// Claim is taken along: what the batch makes due is claimed by the same commit.
	Claim *Claim
	// Look for what is due: new rows can be handed over without.
	Look bool
	// MaxHistory is how long a signal may make a history.
	MaxHistory int
}

// Flushed answers a batch, item by item.
type Flushed struct {
	Made     map[uuid.UUID]*Made
	Signals  []Signaled
	Progress []bool
	Releases []Released
	Advances []Advanced
	Finishes []Finished
	Marked   []Woken
	Ended    []Ended
	Awaited  map[uuid.UUID]Read
	Claimed  []model.Claimed
}

// Flush writes a batch in one round trip, unless some of it turns out not to be as plain
// as it looked: that takes another. Keyed inserts come first and in key order, then the
// one lock, then signals before outcomes, advances before new runs, and those before ends,
// so that each sees what the ones before it wrote. A claim is last: it waits for no lock,
// so its rows may be out of order.
func (s *Store) Flush(ctx context.Context, b Batch) (Flushed, error) {
	f := Flushed{
		Made:     make(map[uuid.UUID]*Made, len(b.Creates)),
		Signals:  make([]Signaled, len(b.Signals)),
		Progress: make([]bool, len(b.Progress)),
		Releases: make([]Released, len(b.Releases)),
		Advances: make([]Advanced, len(b.Advances)),
		Finishes: make([]Finished, len(b.Finishes)),
		Marked:   make([]Woken, len(b.Cancels)),
		Ended:    make([]Ended, len(b.Cancels)),
		Awaited:  make(map[uuid.UUID]Read, len(b.Awaited)),
	}
	plain, rest := plainOf(&b, &f), outcomesOf(&b, &f)
	p := s.pipeline()
	p.create(b.Creates, plain.endsOf(&b), b.Claim, f.Made, &f.Claimed)
	p.lock(b)
	p.signal(b.Signals, b.MaxHistory, f.Signals)
	p.progress(b.Progress, f.Progress)
	p.release(b.Releases, f.Releases)
	p.plain(plain.others())
	p.plainSchedules(plain.schedules, b.Claim, &f.Claimed)
	p.plainChildren(plain.children, b.Claim, &f.Claimed)
	p.advance(rest.advances, b.Claim, rest.advanced, &f.Claimed)
	p.cancel(b.Cancels, f.Marked, f.Ended)
	p.continueAsNew(rest.finishes, rest.finished)
	p.finish(rest.finishes, rest.finished)
	p.readNews(rest)
	p.get(b.Awaited, f.Awaited)
	if b.Look {
		p.claim(*b.Claim, &f.Claimed)
	}
	if err := p.run(ctx, s.pool); err != nil {
		return f, err
	}
	if err := s.flushUnplain(ctx, plain); err != nil {
		return f, err
	}
	if err := s.missed(ctx, b, &f); err != nil {
		// They are written all the same: whoever asks again, at its position, gets them.
		slog.Warn("events that a workflow has missed could not be read; it is told when it asks again", "error", err)
	}
	return f, nil
}

// outcomes are the advances and finishes of a batch that are not plain, each with the
// place for its answer.
type outcomes struct {
	advances []Advance
	advanced []*Advanced
	finishes []Finish
	finished []*Finished
}

func outcomesOf(b *Batch, f *Flushed) (o outcomes) {
	for i := range b.Advances {
		if a := &b.Advances[i]; !a.IsPlain() && !a.IsPlainSchedule() {
			o.advances, o.advanced = append(o.advances, b.Advances[i]), append(o.advanced, &f.Advances[i])
		}
	}
	for i := range b.Finishes {
		if !b.Finishes[i].Plain {
			o.finishes, o.finished = append(o.finishes, b.Finishes[i]), append(o.finished, &f.Finishes[i])
		}
	}
	return o
}

// flushUnplain writes what was taken for plain and has more to mind: what the rest goes
// through, a little later. If it fails, the whole batch is written again, and finds what
// it wrote before.
func (s *Store) flushUnplain(ctx context.Context, plain plainWrites) error {
	var b Batch
	var o outcomes
	writes := slices.Concat(plain.own, plain.schedules, plain.children)
	for i := range writes {
		switch w := &writes[i]; {
		case w.isWritten():
		case w.finish != nil:
			b.Finishes = append(b.Finishes, *w.finish)
			o.finishes, o.finished = append(o.finishes, *w.finish), append(o.finished, w.finished)
		default:
			a := *w.advance
			a.Children = queued(a.Children)
			b.Advances = append(b.Advances, a)
			o.advances, o.advanced = append(o.advances, a), append(o.advanced, w.advanced)
		}
	}
	p := s.pipeline()
	p.lockAll(b) // they are not as plain as they say
	p.advance(o.advances, nil, o.advanced, nil)
	p.finish(o.finishes, o.finished)
	p.readNews(o)
	return p.run(ctx, s.pool)
}

// queued are rows that are handed over to nobody.
func queued(rows []NewRow) []NewRow {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].HandOver = false
	}
	return rows
}

// lock locks all that a batch writes but new rows, unless one statement does.
func (p *pipeline) lock(b Batch) {
	if !b.isPlain() {
		p.lockAll(b)
	}
}

func (p *pipeline) lockAll(b Batch) {
	if ids, parents, sequences := b.targets(); len(ids) > 0 {
		p.add(lockSQL, nil, ids, orEmpty(parents), orEmpty(sequences))
	}
}

// isPlain: one statement locks all that there is to lock, in the order of ids.
func (b *Batch) isPlain() bool {
	if len(b.Signals)+len(b.Progress)+len(b.Releases)+len(b.Cancels) > 0 {
		return false
	}
	for i := range b.Finishes {
		if !b.Finishes[i].Plain || !b.Finishes[i].Root {
			return false
		}
	}
	for i := range b.Advances {
		if !b.Advances[i].IsPlain() {
			return false
		}
	}
	return true
}

// targets are the executions that a batch writes: by id, and children by their
// parent's sequence.
func (b Batch) targets() (ids, parents []uuid.UUID, sequences []int32) {
	for i := range b.Signals {
		ids = append(ids, b.Signals[i].ID)
	}
	for i := range b.Progress {
		ids = append(ids, b.Progress[i].ID)
	}
	for i := range b.Releases {
		ids = append(ids, b.Releases[i].ID)
	}
	for i := range b.Advances {
		ids = append(ids, b.Advances[i].ID)
	}
	for i := range b.Finishes {
		ids = append(ids, b.Finishes[i].ID)
	}
	for i := range b.Cancels {
		ids = append(ids, b.Cancels[i].ID)
		if sequence := b.Cancels[i].Sequence; sequence != nil {
			parents, sequences = append(parents, b.Cancels[i].ID), append(sequences, *sequence)
		}
	}
	return ids, parents, sequences
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// readNews reads last what holders have not seen, in a snapshot after every write.
func (p *pipeline) readNews(o outcomes) {
	n := len(o.advances)
	ids, tokens, positions, sinks := make([]uuid.UUID, n), make([]uuid.UUID, n), make([]int32, n), make([]*[]model.Event, n)
	for i := range o.advances {
		a := &o.advances[i]
		ids[i], tokens[i], positions[i], sinks[i] = a.ID, a.Lease.Token, int32(a.Position), &o.advanced[i].Events
	}
	p.news(ids, positions, tokens, sinks)
}

// missed reads what workflows have not seen whose ends came too early, which is rare.
func (s *Store) missed(ctx context.Context, b Batch, f *Flushed) error {
	var ids, tokens []uuid.UUID
	var positions []int32
	var sinks []*[]model.Event
	for i := range b.Finishes {
		x := &b.Finishes[i]
		if x.Workflow && f.Finishes[i].Held && f.Finishes[i].Status == model.Running {
			ids, tokens = append(ids, x.ID), append(tokens, x.Lease.Token)
			positions, sinks = append(positions, int32(x.Position)), append(sinks, &f.Finishes[i].Events)
		}
	}
	p := s.pipeline()
	p.news(ids, positions, tokens, sinks)
	return p.run(ctx, s.pool)
}
