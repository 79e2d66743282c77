package engine

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// Defaults and bounds of a worker.
const (
	defaultConcurrency = 10
	maxConcurrency     = 10_000
	defaultTimeoutMS   = 10_000
	minTimeoutMS       = 100
	defaultPollMS      = 1000
	minPollMS          = 10
	maxQueues          = 1000
	// staleShare of the heartbeat timeout: older leases start no new body.
	staleShare = 0.8
)

// worker is one registered worker of this process.
type worker struct {
	engine *Engine
	// handle is what the caller knows it by; it outlives a declaration of death.
	handle  uuid.UUID
	request model.StartWorkerRequest
	// started is the payload of the started event of what it begins early.
	started model.Payload
	// beatNow asks for a beat, wake for a claim.
	beatNow, wake chan struct{}
	stop          context.CancelFunc
	stopped       chan struct{}

	draining atomic.Bool
	slots    *slots
	rumour   rumour
	// claiming lets one claim ask for all free slots.
	claiming chan struct{}
	// exhausted: the last look took all that was due.
	exhausted atomic.Bool
	// known is how much the present look has to find, at most.
	known int
	// isScarce: it found less than it asked for.
	isScarce bool

	// beats one at a time, with the rows that the last one found and nobody knew.
	beats  sync.Mutex
	strays map[uuid.UUID]model.Lease

	mu sync.Mutex
	// id is the present incarnation, the one that leases name.
	id uuid.UUID
	// acknowledged is when the last acknowledged beat was sent, on bootTime.
	acknowledged time.Duration
	// claims under way, by token.
	claims  map[uuid.UUID]bool
	notices []model.Notice
	noticed chan struct{}
}

// StartWorker registers a worker and keeps its leases alive from then on: the
// heartbeat does not depend on the caller, whose event loop may be blocked.
//
// A worker that was silent for too long and was declared dead loses its leases,
// which pull_events reports, and is registered anew under the same id.
//
// Errors: invalid_request, schema_missing, schema_outdated, schema_too_new, database_unavailable.
func (e *Engine) StartWorker(ctx context.Context, req model.StartWorkerRequest) (model.StartWorkerReply, error) {
	if err := checkWorker(&req); err != nil {
		return model.StartWorkerReply{}, err
	}
	if err := e.ready(ctx); err != nil {
		return model.StartWorkerReply{}, err
	}
	id := uuid.New()
	w := newWorker(e, id, req)
	if err := e.store.Register(ctx, id, req); err != nil {
		return model.StartWorkerReply{}, err
	}
	e.mu.Lock()
	e.workers[id] = w
	e.mu.Unlock()
	life, stop := context.WithCancel(e.ctx)
	w.stop = stop
	e.spawn("heartbeat", func(context.Context) { w.beating(life) })
	e.ticker.start()
	e.hints.listen()
	return model.StartWorkerReply{WorkerID: id, MaxHistory: e.settings.maxHistory}, nil
}

// newWorker answers one that does not beat yet.
func newWorker(e *Engine, id uuid.UUID, req model.StartWorkerRequest) *worker {
	return &worker{
		engine: e, handle: id, id: id, request: req, started: startedBy(&req),
		beatNow: make(chan struct{}, 1), wake: make(chan struct{}, 1), noticed: make(chan struct{}, 1),
		claiming: make(chan struct{}, 1), stopped: make(chan struct{}),
		slots: newSlots(), claims: map[uuid.UUID]bool{}, acknowledged: bootTime(),
	}
}

func checkWorker(req *model.StartWorkerRequest) error {
	if len(req.Queues) == 0 || len(req.Queues) > maxQueues {
		return invalid(fieldAt("queues"), "has %d entries; a worker serves 1 to %d queues", len(req.Queues), maxQueues)
	}
	for _, queue := range req.Queues {
		if err := checkName(fieldAt("queues"), queue); err != nil {
			return err
		}
	}
	req.Queues = slices.Compact(slices.Sorted(slices.Values(req.Queues)))
	for _, field := range []struct {
		name           string
		value          *int64
		initial, least int64
	}{
		{"heartbeat_timeout_ms", &req.HeartbeatTimeoutMS, defaultTimeoutMS, minTimeoutMS},
		{"poll_interval_ms", &req.PollIntervalMS, defaultPollMS, minPollMS},
	} {
		if *field.value == 0 {
			*field.value = field.initial
		}
		if *field.value < field.least || *field.value > maxDelayMS {
			return invalid(fieldAt(field.name), "is %d; it must be at least %d", *field.value, field.least)
		}
	}
	return checkWorkerSizes(req)
}

func checkWorkerSizes(req *model.StartWorkerRequest) error {
	if req.HeartbeatIntervalMS == 0 {
		req.HeartbeatIntervalMS = req.HeartbeatTimeoutMS / 4
	}
	if req.HeartbeatIntervalMS < 1 || req.HeartbeatIntervalMS*2 > req.HeartbeatTimeoutMS {
		return invalid(fieldAt("heartbeat_interval_ms"), "is %d; it must be at most half of the timeout, %d", req.HeartbeatIntervalMS, req.HeartbeatTimeoutMS)
	}
	if req.Concurrency == 0 {
		req.Concurrency = defaultConcurrency
	}
	if req.Concurrency < 1 || req.Concurrency > maxConcurrency {
		return invalid(fieldAt("concurrency"), "is %d; it must be 1 to %d", req.Concurrency, maxConcurrency)
	}
	for name, text := range map[string]string{"name": req.Name, "language": req.Language, "runtime": req.Runtime, "sdk_version": req.SDKVersion} {
		if text != "" {
			if err := checkName(fieldAt(name), text); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Engine) listWorkers() []*worker {
	e.mu.Lock()
	defer e.mu.Unlock()
	workers := make([]*worker, 0, len(e.workers))
	for _, w := range e.workers {
		workers = append(workers, w)
	}
	return workers
}

func (e *Engine) findWorker(id uuid.UUID) (*worker, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w, ok := e.workers[id]; ok {
		return w, nil
	}
	return nil, fault.New(fault.WorkerNotFound, fault.Details{"worker_id": id}, "no worker of this process has id %s; start_worker makes one", id)
}

func (w *worker) serves(queue string) bool {
	_, found := slices.BinarySearch(w.request.Queues, queue)
	return found
}

// current is the id that the database knows the worker by.
func (w *worker) current() uuid.UUID {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.id
}

// notify leaves a notice for pull_events.
func (w *worker) notify(n model.Notice) {
	w.mu.Lock()
	w.notices = append(w.notices, n)
	w.mu.Unlock()
	poke(w.noticed)
}

// freed: a slot came free. What waits to run alone may be able to now.
func (w *worker) freed() {
	if w.engine.solo.waits() {
		go w.engine.guarded("waking", func(context.Context) { w.engine.wakeAll() }) // not under the lock of the caller
	}
}

// beating renews the leases until the worker ends.
func (w *worker) beating(ctx context.Context) {
	interval := time.Duration(w.request.HeartbeatIntervalMS) * time.Millisecond
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			close(w.stopped) // here alone: after a panic the loop starts anew
			return
		case <-timer.C:
		case <-w.beatNow:
		}
		if err := w.beat(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("a heartbeat failed; the leases last until the timeout", "worker", w.current(), "error", err)
		}
		timer.Reset(interval)
	}
}

func (w *worker) beat(ctx context.Context) error {
	w.beats.Lock()
	defer w.beats.Unlock()
	limit := time.Duration(w.request.HeartbeatTimeoutMS) * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	sent, asked, id, underWay := bootTime(), time.Now(), w.current(), w.claimsNow()
	alive, rows, err := w.engine.store.Beat(ctx, id)
	if err != nil {
		w.engine.mindRoom(err)
		return err
	}
	if !alive {
		return w.declaredDead(ctx, id)
	}
	w.mu.Lock()
	w.acknowledged = sent
	w.mu.Unlock()
	w.giveBack(w.engine.leases.reconcile(w, rows, asked), underWay)
	w.putBack(w.slots.abandoned())
	return nil
}

// declaredDead drops every lease and registers anew: somebody else may run by
// now what this worker held.
func (w *worker) declaredDead(ctx context.Context, id uuid.UUID) error {
	if w.draining.Load() {
		w.engine.leases.loseAll(w)
		return nil
	}
	slog.Warn("this worker was silent for too long and was declared dead; it drops its leases and starts anew", "worker", id)
	w.engine.leases.loseAll(w)
	next, sent := uuid.New(), bootTime()
	if err := w.engine.store.Register(ctx, next, w.request); err != nil {
		return err
	}
	w.mu.Lock()
	w.id, w.acknowledged = next, sent
	w.mu.Unlock()
	w.rouse(0)
	return nil
}

// giveBack releases rows that the database says are held here and nobody here
// knows, at two beats in a row: the reply of their claim was lost, and a healthy
// heartbeat would keep them for ever.
func (w *worker) giveBack(unknown []store.Held, underWay map[uuid.UUID]bool) {
	now, strays := w.claimsNow(), map[uuid.UUID]model.Lease{}
	for _, row := range unknown {
		if underWay[row.Lease.Token] || now[row.Lease.Token] || w.engine.leases.knows(row.ID, row.Lease) {
			continue
		}
		if strays[row.ID] = row.Lease; w.strays[row.ID] != row.Lease {
			continue // it may have ended while the beat was on its way
		}
		slog.Warn("an execution is held without being run here; it is given back", "execution", row.ID)
		release := &work{root: row.ID, ctx: context.WithoutCancel(w.engine.ctx), release: &store.Release{ID: row.ID, Lease: row.Lease, Reason: model.ReleaseDrain}}
		if err := w.engine.enqueue(release); err != nil {
			slog.Warn("an execution could not be given back; the next beat tries again", "execution", row.ID, "error", err)
		}
	}
	w.strays = strays
}

func (w *worker) claimsNow() map[uuid.UUID]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	tokens := make(map[uuid.UUID]bool, len(w.claims))
	for token := range w.claims {
		tokens[token] = true
	}
	return tokens
}

// stale says that the leases are so old that no new body may start: the next
// beat decides whether they still hold.
func (w *worker) stale() bool { return w.unheard(staleShare) }

// unheard says that no beat was acknowledged for this share of the timeout.
func (w *worker) unheard(share float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	age := bootTime() - w.acknowledged
	return age > time.Duration(share*float64(w.request.HeartbeatTimeoutMS))*time.Millisecond
}
