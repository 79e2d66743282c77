package engine

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/internal/memory"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// fate is what becomes of one call to the database.
type fate int

const (
	granted   fate = iota
	unsent         // it never got there
	replyLost      // it was committed, and its reply was lost
	late           // as lost, but it is committed only later
	torn           // as a lost reply, and of a flush only the first of its two transactions
	fates
)

// simStore is a database in memory whose calls have fates. Each is one commit, audited
// before and after. With a twin, the same is asked of PostgreSQL, and compared.
type simStore struct {
	database // what no simulated engine asks
	mu       sync.Mutex
	state    *memory.State
	audit    *audit
	// skew is how far the database's clock is from the machine's.
	skew time.Duration
	// down: no call arrives.
	down bool
	// fate of the next call.
	fate fate
	// ghosts are commits that are still on their way.
	ghosts []func()
	// between runs before a call, in the midst of an operation of several.
	between func()
	// beforeBury runs before a worker is declared dead, which was seen to be silent.
	beforeBury func(id uuid.UUID)
	twin       *twin
	logf       func(format string, args ...any)
	commits    int
}

func (d *simStore) now() time.Time { return time.Now().Add(d.skew).UTC().Truncate(time.Microsecond) }

var errCut = fault.New(fault.DatabaseUnavailable, nil, "the connection was cut")

// ask makes one call: one commit, or none.
func ask[T any](d *simStore, name string, inMemory func(now time.Time) T, real func(ctx context.Context, s *store.Store) (T, error)) (T, error) {
	if between := d.between; between != nil {
		d.between = nil
		between()
	}
	what := d.takeFate()
	var answer, none T
	commit := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.commits++
		d.audit.before(name)
		answer = inMemory(d.now())
		d.audit.after(name)
		if d.twin != nil {
			compareTwin(d, name, answer, real)
		}
	}
	switch what {
	case unsent:
		d.logf("  %s never arrives", name)
		return none, errCut
	case late:
		d.logf("  %s is cut off, and is still under way", name)
		d.ghosts = append(d.ghosts, func() { d.logf("  %s arrives late", name); commit() })
		return none, errCut
	case replyLost, torn:
		d.logf("  the reply to %s is lost", name)
		commit()
		return none, errCut
	}
	commit()
	return answer, nil
}

func (d *simStore) takeFate() fate {
	d.mu.Lock()
	defer d.mu.Unlock()
	what := d.fate
	if d.fate = granted; d.down {
		return unsent
	}
	return what
}

// setDown begins an outage, or ends it.
func (d *simStore) setDown(down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = down
}

// haunt commits what is still under way.
func (d *simStore) haunt() {
	ghosts := d.ghosts
	d.ghosts = nil
	for _, commit := range ghosts {
		commit()
	}
}

func (d *simStore) Flush(_ context.Context, b store.Batch) (store.Flushed, error) {
	b = cloned(b)
	write := d.state.Flush
	if d.fate == torn && d.twin == nil {
		write = d.state.FlushTorn
	}
	return ask(d, "flush", func(now time.Time) store.Flushed {
		f, err := write(now, b)
		if err != nil {
			d.audit.fail("flush: %v", err)
		}
		d.audit.flushed(&b, &f)
		f.Claimed = sorted(f.Claimed, func(c model.Claimed) uuid.UUID { return c.ID })
		return f
	}, func(ctx context.Context, s *store.Store) (store.Flushed, error) {
		f, err := s.Flush(ctx, b)
		f.Claimed = sorted(f.Claimed, func(c model.Claimed) uuid.UUID { return c.ID })
		return f, err
	})
}

// cloned is a batch that a further try of the same works does not change.
func cloned(b store.Batch) store.Batch {
	b.Advances = slices.Clone(b.Advances)
	for i := range b.Advances {
		b.Advances[i].Children = slices.Clone(b.Advances[i].Children)
	}
	if b.Claim != nil {
		claim := *b.Claim
		b.Claim = &claim
	}
	return b
}

func (d *simStore) Claim(_ context.Context, c store.Claim) ([]model.Claimed, error) {
	return ask(d, "claim", func(now time.Time) []model.Claimed {
		claimed := d.state.Claim(now, c)
		d.audit.claimed(claimed)
		return claimed
	}, func(ctx context.Context, s *store.Store) ([]model.Claimed, error) { return s.Claim(ctx, c) })
}

type changed struct {
	Queue   string
	Changed bool
}

func (d *simStore) Resume(_ context.Context, id uuid.UUID) (string, bool, error) {
	c, err := ask(d, "resume", func(now time.Time) (c changed) {
		c.Queue, c.Changed = d.state.Resume(now, id)
		return c
	}, func(ctx context.Context, s *store.Store) (c changed, err error) {
		c.Queue, c.Changed, err = s.Resume(ctx, id)
		return c, err
	})
	return c.Queue, c.Changed, err
}

func (d *simStore) Retry(_ context.Context, id uuid.UUID) (string, bool, error) {
	c, err := ask(d, "retry", func(now time.Time) (c changed) {
		c.Queue, c.Changed = d.state.Retry(now, id)
		return c
	}, func(ctx context.Context, s *store.Store) (c changed, err error) {
		c.Queue, c.Changed, err = s.Retry(ctx, id)
		return c, err
	})
	return c.Queue, c.Changed, err
}

func (d *simStore) Status(_ context.Context, id uuid.UUID) (model.Status, bool, error) {
	status, found := d.state.Status(id)
	return status, found, nil
}

func (d *simStore) Register(_ context.Context, id uuid.UUID, r model.StartWorkerRequest) error {
	_, err := ask(d, "register", func(now time.Time) bool {
		d.state.Register(now, id, r)
		d.audit.beaten(id)
		return true
	}, func(ctx context.Context, s *store.Store) (bool, error) { return true, s.Register(ctx, id, r) })
	return err
}

type beaten struct {
	Alive bool
	Held  []store.Held
}

func (d *simStore) Beat(_ context.Context, id uuid.UUID) (bool, []store.Held, error) {
	b, err := ask(d, "beat", func(now time.Time) (b beaten) {
		b.Alive, b.Held = d.state.Beat(now, id)
		if b.Alive {
			d.audit.beaten(id)
		}
		return b
	}, func(ctx context.Context, s *store.Store) (b beaten, err error) {
		b.Alive, b.Held, err = s.Beat(ctx, id)
		b.Held = sorted(b.Held, func(h store.Held) uuid.UUID { return h.ID })
		return b, err
	})
	return b.Alive, b.Held, err
}

func (d *simStore) SetWorker(_ context.Context, id uuid.UUID, status string) error {
	_, err := ask(d, "set_worker", func(time.Time) bool { d.state.SetWorker(id, status); return true },
		func(ctx context.Context, s *store.Store) (bool, error) { return true, s.SetWorker(ctx, id, status) })
	return err
}

func (d *simStore) Silences(_ context.Context, ids []uuid.UUID) ([]store.Silence, error) {
	return ask(d, "silence", func(now time.Time) []store.Silence { return d.state.Silences(now, ids) },
		func(ctx context.Context, s *store.Store) ([]store.Silence, error) {
			silences, err := s.Silences(ctx, ids)
			return inOrderOf(d.state.Workers, silences), err
		})
}

// inOrderOf sorts what PostgreSQL answers in no order.
func inOrderOf(workers []*memory.Worker, silences []store.Silence) (sorted []store.Silence) {
	for _, w := range workers {
		for _, s := range silences {
			if s.ID == w.ID {
				sorted = append(sorted, s)
			}
		}
	}
	return sorted
}

func (d *simStore) Bury(_ context.Context, id uuid.UUID, seen time.Time) (bool, error) {
	if d.beforeBury != nil {
		d.beforeBury(id)
	}
	return ask(d, "bury", func(time.Time) bool {
		dead := d.state.Bury(id, seen)
		if dead {
			d.audit.buried(id)
		}
		return dead
	}, func(ctx context.Context, s *store.Store) (bool, error) { return s.Bury(ctx, id, seen) })
}

func (d *simStore) RecoverFrom(_ context.Context, id uuid.UUID, crashed bool, limit int) ([]store.Recovered, error) {
	return ask(d, "recover", func(now time.Time) []store.Recovered {
		recovered := d.state.RecoverFrom(now, id, crashed, limit)
		d.audit.recovered(id)
		return sorted(recovered, func(r store.Recovered) uuid.UUID { return r.ID })
	}, func(ctx context.Context, s *store.Store) ([]store.Recovered, error) {
		recovered, err := s.RecoverFrom(ctx, id, crashed, limit)
		return sorted(recovered, func(r store.Recovered) uuid.UUID { return r.ID }), err
	})
}

func (d *simStore) Tick(_ context.Context, queues []string, ahead time.Duration, ours, languages []string) (store.Due, error) {
	due, err := ask(d, "tick", func(now time.Time) store.Due { return d.state.Look(now, queues, ahead, ours, languages) },
		func(ctx context.Context, s *store.Store) (store.Due, error) {
			due, err := s.Tick(ctx, queues, ahead, ours, languages)
			due.Silent = idsInOrder(d.state.Workers, due.Silent)
			return due, err
		})
	due.First = slices.Contains(ours, d.audit.first().String()) // by id, it would be chance
	return due, err
}

func idsInOrder(workers []*memory.Worker, ids []uuid.UUID) (sorted []uuid.UUID) {
	for _, w := range workers {
		if slices.Contains(ids, w.ID) {
			sorted = append(sorted, w.ID)
		}
	}
	return sorted
}

type promoted struct {
	Queues   []string
	Promoted int
}

func (d *simStore) Promote(_ context.Context, limit int) ([]string, int, error) {
	p, err := ask(d, "promote", func(now time.Time) (p promoted) {
		p.Queues, p.Promoted = d.state.Promote(now, limit)
		return p
	}, func(ctx context.Context, s *store.Store) (p promoted, err error) {
		p.Queues, p.Promoted, err = s.Promote(ctx, limit)
		slices.Sort(p.Queues)
		return p, err
	})
	return p.Queues, p.Promoted, err
}

func (d *simStore) DueTimers(_ context.Context, limit int) (map[string][]uuid.UUID, error) {
	return ask(d, "due_timers", func(now time.Time) map[string][]uuid.UUID { return d.state.DueTimers(now, limit) },
		func(ctx context.Context, s *store.Store) (map[string][]uuid.UUID, error) {
			return s.DueTimers(ctx, limit)
		})
}

func (d *simStore) Fire(_ context.Context, ids []uuid.UUID) ([]store.Woken, error) {
	return ask(d, "fire", func(now time.Time) []store.Woken { return d.state.Fire(now, ids) },
		func(ctx context.Context, s *store.Store) ([]store.Woken, error) {
			fired, err := s.Fire(ctx, slices.Clone(ids))
			return sorted(fired, func(w store.Woken) uuid.UUID { return w.ID }), err
		})
}

func (d *simStore) Expire(_ context.Context, ids []uuid.UUID) ([]store.Expired, error) {
	return ask(d, "expire", func(now time.Time) []store.Expired { return d.state.Expire(now, ids) },
		func(ctx context.Context, s *store.Store) ([]store.Expired, error) {
			expired, err := s.Expire(ctx, slices.Clone(ids))
			return sorted(expired, func(x store.Expired) uuid.UUID { return x.ID }), err
		})
}

func (d *simStore) ChildrenToClose(_ context.Context, parents []uuid.UUID, limit int) ([]uuid.UUID, error) {
	return ask(d, "children_to_close", func(time.Time) []uuid.UUID { return d.state.ChildrenToClose(parents, limit) },
		func(ctx context.Context, s *store.Store) ([]uuid.UUID, error) {
			return s.ChildrenToClose(ctx, parents, limit)
		})
}

func (d *simStore) Closed(_ context.Context, parents []uuid.UUID) error {
	_, err := ask(d, "closed", func(time.Time) bool { d.state.Closed(parents); return true },
		func(ctx context.Context, s *store.Store) (bool, error) { return true, s.Closed(ctx, parents) })
	return err
}

// sorted brings answers that have no order into one.
func sorted[T any](list []T, id func(T) uuid.UUID) []T {
	slices.SortStableFunc(list, func(a, b T) int {
		x, y := id(a), id(b)
		return slices.Compare(x[:], y[:])
	})
	return list
}
