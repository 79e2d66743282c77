package engine

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// watch keeps what this process itself has seen of silent workers. A heartbeat
// that is stale by the database's clock is not enough: after an outage or a
// step of the clock every worker looks stale.
type watch struct {
	mu   sync.Mutex
	seen map[uuid.UUID]sighting
	last time.Time
	// blind until then: there was no room for a write.
	blind time.Time
}

type sighting struct {
	heartbeat time.Time
	since     time.Time
}

// gapSlack is what a look may come late, beyond two poll intervals, before
// observations start anew.
const gapSlack = 2 * time.Second

// blindness outlasts the pause between two tries of a write that are refused at once.
const blindness = 2 * time.Second

// mindRoom: a database that had no room for a write of this process may have none for the
// heartbeats of others, although it takes ours.
func (e *Engine) mindRoom(err error) {
	if !store.IsDiskFull(err) {
		return
	}
	x := &e.ticker.watch
	x.mu.Lock()
	defer x.mu.Unlock()
	clear(x.seen) // whether or not somebody looks before it is over
	x.blind = time.Now().Add(blindness)
}

// forget starts all observations anew.
func (x *watch) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	clear(x.seen)
}

// dead notes what was seen and answers which workers count as dead now. After a gap in
// which nobody looked, or could trust what he saw, observations start anew.
func (x *watch) dead(silences []store.Silence, now time.Time, gap time.Duration) (dead []store.Silence) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if now.Sub(x.last) > gap || now.Before(x.blind) {
		clear(x.seen)
	}
	x.last = now
	silent := make(map[uuid.UUID]bool, len(silences))
	for _, s := range silences {
		silent[s.ID] = true
		before, ok := x.seen[s.ID]
		if !ok || !before.heartbeat.Equal(s.HeartbeatAt) {
			x.seen[s.ID] = sighting{s.HeartbeatAt, now}
			before = x.seen[s.ID]
		}
		if s.Dead || (s.Overdue && now.Sub(before.since) >= s.Timeout/2) {
			dead = append(dead, s)
		}
	}
	for id := range x.seen {
		if !silent[id] {
			delete(x.seen, id)
		}
	}
	return dead
}

// Recover takes executions from dead workers now; engines with workers do so by
// themselves, once a poll interval.
//
// A worker is dead when its heartbeat is older than its timeout by the
// database's clock, and this process has itself seen it unchanged for half of
// that. So the first call may only begin to watch: give WaitMS time to see it.
//
// Errors: database_unavailable.
func (e *Engine) Recover(ctx context.Context, req model.RecoverRequest) (model.RecoverReply, error) {
	if err := checkDelay(fieldAt("wait_ms"), req.WaitMS); err != nil {
		return model.RecoverReply{}, err
	}
	if err := e.ready(ctx); err != nil {
		return model.RecoverReply{}, err
	}
	until := time.Now().Add(time.Duration(req.WaitMS) * time.Millisecond)
	for {
		due, err := e.store.Tick(ctx, []string{}, 0, []string{}, []string{})
		if err != nil {
			return model.RecoverReply{}, err
		}
		reply, err := e.watchSilent(ctx, due.Silent)
		if err != nil || reply.Workers > 0 || time.Now().After(until) {
			return reply, err
		}
		select {
		case <-ctx.Done():
			return reply, ctx.Err()
		case <-time.After(min(time.Until(until)+time.Millisecond, 100*time.Millisecond)):
		}
	}
}

// watchSilent observes silent workers, and buries and robs those that are dead. A
// database that takes no beat of this process, as with a full disk, may take
// nobody's: what it shows of others means nothing then.
func (e *Engine) watchSilent(ctx context.Context, silent []uuid.UUID) (model.RecoverReply, error) {
	var reply model.RecoverReply
	if slices.ContainsFunc(e.listWorkers(), func(w *worker) bool { return !w.draining.Load() && w.unheard(0.5) }) {
		e.ticker.watch.forget()
		return reply, nil
	}
	var silences []store.Silence
	if len(silent) > 0 {
		var err error
		if silences, err = e.store.Silences(ctx, silent); err != nil {
			return reply, err
		}
	}
	for _, s := range e.ticker.watch.dead(silences, time.Now(), 2*e.ticker.longest()+gapSlack) {
		if err := e.recoverWorker(ctx, s, &reply); err != nil {
			return reply, err
		}
	}
	return reply, nil
}

func (e *Engine) recoverWorker(ctx context.Context, s store.Silence, reply *model.RecoverReply) error {
	if !s.Dead {
		dead, err := e.store.Bury(ctx, s.ID, s.HeartbeatAt)
		if err != nil || !dead {
			return err
		}
		slog.Info("a worker is dead; what it held is taken over", "worker", s.ID, "silent_since", s.HeartbeatAt)
		reply.Workers++
	}
	defer e.hints.send()
	for {
		recovered, err := e.store.RecoverFrom(ctx, s.ID, !s.Stopped, recoverBatch)
		if err != nil {
			return err
		}
		for i := range recovered {
			e.recoveredEffects(&recovered[i], reply)
		}
		if len(recovered) < recoverBatch {
			return nil
		}
	}
}

func (e *Engine) recoveredEffects(r *store.Recovered, reply *model.RecoverReply) {
	reply.Executions++
	if r.Status.Final() {
		if r.Status == model.Failed {
			reply.Parked++
		}
		e.toldEffects(r.ID, &r.Told)
		return
	}
	e.wake(r.Queue)
}
