package engine

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

const (
	// lookAhead covers two polls, so that a timer is not late by one.
	lookAhead    = 2 * time.Second
	tickLimit    = 5 * time.Second
	promoteBatch = 1000
	timerBatch   = 500
	recoverBatch = 500
	// tickAgain spaces ticks while there is more, or while somebody locks what is due.
	tickAgain = 10 * time.Millisecond
)

// ticker looks once a poll interval for what is due: timers, scheduled rows,
// silent workers, work that no hint announced. It serves all workers of the
// process, and wakes earlier for what it knows to fall due.
type ticker struct {
	engine *Engine
	once   sync.Once
	poke   chan struct{}

	mu sync.Mutex
	// next is the earliest thing known to fall due, by our clock.
	next time.Time
	// ahead is how far the database's clock is ahead of ours.
	ahead time.Duration

	watch watch
}

func newTicker(e *Engine) *ticker {
	return &ticker{engine: e, poke: make(chan struct{}, 1), watch: watch{seen: map[uuid.UUID]sighting{}}}
}

func (t *ticker) start() { t.once.Do(func() { t.engine.spawn("ticker", t.loop) }) }

// in announces something that falls due after ms milliseconds.
func (t *ticker) in(ms int64) { t.schedule(time.Now().Add(time.Duration(ms) * time.Millisecond)) }

// at announces something that falls due at an instant of the database's clock.
func (t *ticker) at(due time.Time) {
	t.mu.Lock()
	ahead := t.ahead
	t.mu.Unlock()
	t.schedule(due.Add(-ahead))
}

// schedule tells the other processes too if a poll of theirs could miss it.
func (t *ticker) schedule(due time.Time) {
	if time.Until(due) > lookAhead {
		return
	}
	t.note(due)
	t.mu.Lock()
	ahead := t.ahead
	t.mu.Unlock()
	t.engine.hints.announceSoon(due.Add(ahead))
}

// hear is schedule for what another process announced.
func (t *ticker) hear(due time.Time) {
	t.mu.Lock()
	ahead := t.ahead
	t.mu.Unlock()
	t.note(due.Add(-ahead))
}

func (t *ticker) note(due time.Time) {
	t.mu.Lock()
	earlier := t.next.IsZero() || due.Before(t.next)
	if earlier {
		t.next = due
	}
	t.mu.Unlock()
	if earlier {
		poke(t.poke)
	}
}

// interval is the shortest poll interval of the workers, jittered so that
// processes started together do not stay together.
func (t *ticker) interval() time.Duration {
	return time.Duration(float64(t.longest()) * (0.9 + 0.2*rand.Float64()))
}

// longest is the interval before its jitter.
func (t *ticker) longest() time.Duration {
	shortest := int64(0)
	for _, w := range t.engine.listWorkers() {
		if ms := w.request.PollIntervalMS; shortest == 0 || ms < shortest {
			shortest = ms
		}
	}
	if shortest == 0 {
		shortest = defaultPollMS
	}
	return time.Duration(shortest) * time.Millisecond
}

func (t *ticker) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		poll := time.Now().Add(t.interval())
		for waiting := true; waiting; {
			timer.Reset(time.Until(t.wakeAt(poll)))
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
				waiting = false
			case <-t.poke:
			}
		}
		if len(t.engine.listWorkers()) == 0 {
			t.relax()
			continue
		}
		if err := t.tick(ctx); err != nil && ctx.Err() == nil {
			t.relax()
			t.engine.mindRoom(err)
			slog.Warn("a look for what is due failed; the next poll tries again", "error", err)
		}
	}
}

// relax forgets what is due: after an error the next poll is soon enough.
func (t *ticker) relax() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next = time.Time{}
}

func (t *ticker) wakeAt(poll time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.next.IsZero() && t.next.Before(poll) {
		return t.next
	}
	return poll
}

func (t *ticker) tick(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tickLimit)
	defer cancel()
	t.relax()
	asked := time.Now()
	due, err := t.engine.look(ctx)
	if err != nil {
		return err
	}
	t.engine.clock.hear(due.Now)
	t.mu.Lock()
	t.ahead = due.Now.Sub(asked)
	t.mu.Unlock()
	for _, queue := range due.Queues {
		t.engine.wakeLocal(queue, 0)
	}
	t.engine.noteSuspect(due)
	return t.act(ctx, due)
}

// act does what is due, and notes when the next thing will be. What fails does
// not keep the rest from being done.
func (t *ticker) act(ctx context.Context, due store.Due) error {
	var errs []error
	if due.Promote != nil {
		errs = append(errs, t.whenDue(*due.Promote, due.Now, func() error { return t.engine.promote(ctx) }))
	}
	if due.Timer != nil {
		errs = append(errs, t.whenDue(*due.Timer, due.Now, func() error { return t.engine.fireTimers(ctx) }))
	}
	t.engine.mindRoom(errors.Join(errs...))
	_, err := t.engine.watchSilent(ctx, due.Silent)
	return errors.Join(append(errs, err)...)
}

func (t *ticker) whenDue(at, now time.Time, act func() error) error {
	if wait := at.Sub(now); wait > 0 {
		t.note(time.Now().Add(wait + time.Millisecond))
		return nil
	}
	t.note(time.Now().Add(tickAgain)) // there may be more behind what this handles
	return act()
}

// look asks what is due. When nobody could look, what was seen of silent workers
// means nothing any more.
func (e *Engine) look(ctx context.Context) (store.Due, error) {
	due, err := e.store.Tick(ctx, e.servedQueues(), lookAhead, e.ownIDs(), e.languages())
	if err != nil {
		e.ticker.watch.forget()
	}
	return due, err
}

func (e *Engine) servedQueues() []string {
	seen, queues := map[string]bool{}, []string{}
	for _, w := range e.listWorkers() {
		for _, queue := range w.request.Queues {
			if !seen[queue] {
				seen[queue] = true
				queues = append(queues, queue)
			}
		}
	}
	return queues
}

func (e *Engine) promote(ctx context.Context) error {
	queues, _, err := e.store.Promote(ctx, promoteBatch)
	for _, queue := range queues {
		e.wake(queue)
	}
	e.hints.send()
	return err
}

// fireTimers fires sleeps, ends what is past a deadline, and closes children of
// ended workflows, a level at a time.
func (e *Engine) fireTimers(ctx context.Context) error {
	due, err := e.store.DueTimers(ctx, timerBatch)
	if err != nil {
		return err
	}
	defer e.hints.send()
	if ids := due["sleep"]; len(ids) > 0 {
		fired, err := e.store.Fire(ctx, ids)
		if err != nil {
			return err
		}
		for _, w := range fired {
			e.wokenEffects(w)
		}
	}
	if ids := slices.Concat(due["deadline"], due["schedule"]); len(ids) > 0 {
		if err := e.expire(ctx, ids); err != nil {
			return err
		}
	}
	if parents := due["close"]; len(parents) > 0 {
		return e.closeChildren(ctx, parents)
	}
	return nil
}

func (e *Engine) expire(ctx context.Context, ids []uuid.UUID) error {
	expired, err := e.store.Expire(ctx, ids)
	for i := range expired {
		x := &expired[i]
		e.toldEffects(x.ID, &x.Told)
		e.news(x.Worker, store.Woken{ID: x.ID})
	}
	return err
}

// closeChildren cancels the children of workflows that have ended.
func (e *Engine) closeChildren(ctx context.Context, parents []uuid.UUID) error {
	children, err := e.store.ChildrenToClose(ctx, parents, timerBatch)
	if err != nil {
		return err
	}
	if len(children) > 0 {
		targets := make([]model.Target, len(children))
		for i, id := range children {
			targets[i] = model.Target{ID: id, Reason: "its parent ended"}
		}
		if _, err := e.CancelExecution(ctx, model.TargetsRequest{Items: targets}); err != nil {
			return err
		}
	}
	return e.store.Closed(ctx, parents)
}
