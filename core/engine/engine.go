// Package engine holds the rules, one file a verb. It decides what is asked of
// the database, gathers it into batches, keeps the leases of its workers, and
// wakes whoever waits.
package engine

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/failpoint"
	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// Engine serves one schema of one database.
type Engine struct {
	id       uuid.UUID
	settings settings
	store    database
	// release gives an embedded server back.
	release func() error

	flusher *flusher
	reads   *reader
	waiters *waiters
	hints   *hints
	leases  *leaseTable
	ticker  *ticker
	solo    solo
	clock   databaseClock
	// namesAreNew: no id is chosen twice, which tests know that choose them.
	namesAreNew bool

	// claiming is shared by claims, and whole for one that is to run alone.
	claiming sync.RWMutex

	mu      sync.Mutex
	workers map[uuid.UUID]*worker

	// checked is set once the schema's version was found to be this library's.
	checked atomic.Bool

	ctx    context.Context
	end    context.CancelFunc
	closed atomic.Bool
	loops  sync.WaitGroup
}

// Open reaches the database and starts an engine. It starts an embedded
// PostgreSQL when no database is configured.
//
// Errors: invalid_config, database_unavailable.
func Open(ctx context.Context, config model.Config) (*Engine, error) {
	settings, err := resolve(config)
	if err != nil {
		return nil, err
	}
	url, release, err := settings.locate(ctx)
	if err != nil {
		return nil, err
	}
	s, err := store.Open(ctx, store.Config{URL: url, Schema: settings.schema, PoolSize: settings.poolSize})
	if err != nil {
		_ = release()
		return nil, err
	}
	e := assemble(s, settings, release)
	if settings.migrate {
		if _, err := e.Migrate(ctx, model.MigrateRequest{}); err != nil {
			_ = e.Close(0)
			return nil, err
		}
	}
	return e, nil
}

func assemble(s *store.Store, settings settings, release func() error) *Engine {
	e := newEngine(s, settings)
	e.release = release
	for range lanes {
		e.spawn("flusher", e.flusher.loop)
	}
	e.spawn("reader", e.reads.loop)
	e.spawn("hints", e.hints.loop)
	return e
}

// newEngine answers one whose loops do not run yet.
func newEngine(s database, settings settings) *Engine {
	e := &Engine{
		id:       uuid.New(),
		settings: settings,
		store:    s,
		leases:   newLeaseTable(),
		workers:  map[uuid.UUID]*worker{},
	}
	e.ctx, e.end = context.WithCancel(context.Background())
	e.hints = newHints(e)
	e.waiters = newWaiters(e)
	e.reads = newReader(e)
	e.ticker = newTicker(e)
	e.flusher = newFlusher(e)
	return e
}

// Close stops the workers, giving what they hold back, writes what waits to be
// written for at most grace, and ends the connections. It may be called twice.
func (e *Engine) Close(grace time.Duration) error {
	if e.closed.Swap(true) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), max(grace, time.Second))
	defer cancel()
	for _, w := range e.listWorkers() {
		if _, err := e.stopWorker(ctx, w); err != nil {
			slog.Warn("a worker could not be stopped; others will recover what it held", "worker", w.current(), "error", err)
		}
	}
	e.drainFlusher(ctx)
	e.hints.flush(ctx)
	e.end()
	e.loops.Wait()
	e.store.Close()
	return e.release()
}

// ready refuses to work on a schema that this library was not written for.
func (e *Engine) ready(ctx context.Context) error {
	if e.closed.Load() {
		return fault.New(fault.Closed, nil, "the engine is closed; open another")
	}
	if e.checked.Load() {
		return nil
	}
	if err := e.store.CheckVersion(ctx); err != nil {
		return err
	}
	e.checked.Store(true)
	return nil
}

// spawn starts a loop that lives as long as the engine. A panic in it is logged
// and the loop starts anew: it must not end the host process, nor leave the
// engine without it.
func (e *Engine) spawn(name string, loop func(context.Context)) {
	e.loops.Add(1)
	go func() {
		defer e.loops.Done()
		for e.guarded(name, loop) {
			select {
			case <-e.ctx.Done():
				return
			case <-time.After(time.Second):
			}
		}
	}()
}

// after has something called a while later, in a goroutine of its own. It must be harmless
// to call twice: that is done after a panic, so that nobody waits for ever for what it tells.
func (e *Engine) after(d time.Duration, name string, call func()) {
	time.AfterFunc(d, func() { e.callOut(name, call) })
}

// whenDone has something called once a context is done; stop forgets it. As after.
func (e *Engine) whenDone(ctx context.Context, name string, call func()) (stop func() bool) {
	return context.AfterFunc(ctx, func() { e.callOut(name, call) })
}

func (e *Engine) callOut(name string, call func()) {
	loop := func(context.Context) { call() }
	if e.guarded(name, loop) {
		e.guarded(name, loop)
	}
}

// guarded runs a loop and says whether it panicked.
func (e *Engine) guarded(name string, loop func(context.Context)) (panicked bool) {
	defer func() {
		if r := recover(); r != nil {
			panicked = true
			slog.Error("a loop of the engine panicked and is started anew", "loop", name, "panic", r, "stack", string(debug.Stack()))
		}
	}()
	failpoint.Pass("loop", name)
	loop(e.ctx)
	return false
}
