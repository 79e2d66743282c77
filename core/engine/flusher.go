package engine

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

const (
	// lanes: a second flush sets out beside one that takes longer than stagger, so that a
	// slow disk is not waited for twice. Sooner it would only halve the batches.
	lanes      = 2
	stagger    = 5 * time.Millisecond
	batchItems = 500
	batchBytes = 8 << 20
	queueItems = 65_536
	queueBytes = 256 << 20
	// patience is how long a write is tried again while the database is away.
	patience = 30 * time.Second
	// flushLimit bounds one try, so that a connection that has gone dead is given up.
	flushLimit = 10 * time.Second
)

// flusher gathers writes. It takes what has come while its last flush was on
// its way, so that nobody waits for a timer and the busier it is the larger the
// batches are.
type flusher struct {
	engine *Engine
	mu     sync.Mutex
	queue  []*work
	// bytes of what is queued.
	bytes int
	// refused: the engine has ended and nobody will write any more.
	refused bool
	// changed: something was queued, or a flush is over, or it takes long.
	changed *sync.Cond
	// busy counts flushes on their way, the last since began, and flying what they write by root:
	// what follows for one of these waits, so that works of one root are written in order.
	busy   int
	began  time.Time
	flying map[uuid.UUID]int
	// early are queued starts whose holders have not asked for anything yet, and alarm is when
	// the next of them departs all the same.
	early map[uuid.UUID]*early
	alarm time.Time
	// beside counts works that wait for somebody else's lock.
	beside int
}

func newFlusher(e *Engine) *flusher {
	f := &flusher{engine: e, flying: map[uuid.UUID]int{}, early: map[uuid.UUID]*early{}}
	f.changed = sync.NewCond(&f.mu)
	return f
}

// write queues one work and waits for its outcome.
func (e *Engine) write(ctx context.Context, w *work) error {
	if err := e.submit(ctx, w); err != nil {
		return err
	}
	return w.wait(ctx)
}

// submit queues a work without waiting. Works of one root are written in order.
func (e *Engine) submit(ctx context.Context, w *work) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	w.ctx = ctx
	if x := w.awaits; x != nil {
		e.flusher.hasAsked(x)
		if x.join(w) {
			return nil
		}
	}
	return e.enqueue(w)
}

// enqueue queues a work even while the engine closes, for what its end needs.
func (e *Engine) enqueue(w *work) error {
	w.done = make(chan error, 1)
	return e.flusher.add(w)
}

func (f *flusher) add(w *work) error {
	w.since = time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refused {
		return fault.New(fault.Closed, nil, "the engine is closed; open another")
	}
	if len(f.queue) >= queueItems || f.bytes > queueBytes {
		return fault.New(fault.Busy, nil, "%d writes wait for the database already; try again later", len(f.queue))
	}
	f.noteEarly(w)
	f.queue, f.bytes = append(f.queue, w), f.bytes+w.size
	f.changed.Broadcast()
	return nil
}

// poke wakes a loop that may be asleep, once.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// loop flushes what gathers; each lane has one.
func (f *flusher) loop(ctx context.Context) {
	stop := f.engine.whenDone(ctx, "the end of the flusher", f.refuse)
	defer stop()
	for works := f.next(); works != nil; works = f.next() {
		f.flushNext(ctx, works)
	}
}

// flushNext flushes what next has answered. After a panic, too, the next may follow.
func (f *flusher) flushNext(ctx context.Context, works []*work) {
	defer f.over(works)
	f.flush(ctx, works)
}

// next waits for a batch; it answers none once the engine has ended.
func (f *flusher) next() []*work {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.refused {
		if f.busy > 0 && len(f.queue) > 0 {
			if left := stagger - time.Since(f.began); left > 0 {
				f.engine.after(left, "the next flush", f.rouse)
				f.changed.Wait()
				continue
			}
		}
		if works := f.depart(); len(works) > 0 {
			return works
		}
		f.setAlarm()
		f.changed.Wait()
	}
	return nil
}

// depart takes the next batch, and notes that it is on its way. The caller holds the lock.
func (f *flusher) depart() []*work {
	works := f.take()
	if len(works) > 0 {
		f.busy, f.began = f.busy+1, time.Now()
	}
	for _, w := range works {
		f.flying[w.root]++
		if w.early != nil && f.early[w.root] == w.early {
			delete(f.early, w.root)
		}
	}
	return works
}

func (f *flusher) over(works []*work) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy--
	for _, w := range works {
		if f.flying[w.root]--; f.flying[w.root] == 0 {
			delete(f.flying, w.root)
		}
	}
	f.changed.Broadcast()
}

// take removes the next batch from the queue. A work that writes an execution
// which the batch already writes stays for the next one, and so does all that
// follows it for that execution. What the holder of a start asks for first goes along
// with it. The caller holds the lock.
func (f *flusher) take() []*work {
	var batch, rest []*work
	written := map[uuid.UUID]*work{}
	size, now := 0, time.Now()
	for i, w := range f.queue {
		if len(batch) >= batchItems || size >= batchBytes {
			rest = append(rest, f.queue[i:]...)
			break
		}
		id := w.target()
		if f.flying[w.root] > 0 || id != uuid.Nil && !w.mayFollow(written[id]) || w.lingers(now) > 0 {
			rest = append(rest, w)
			continue
		}
		written[id] = w
		batch, size = append(batch, w), size+w.size
	}
	f.queue, f.bytes = rest, f.bytes-size
	return batch
}

// refuse ends what nobody will write any more.
func (f *flusher) refuse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.queue {
		w.finish(fault.New(fault.Closed, nil, "the engine was closed before this was written"))
	}
	f.queue, f.bytes, f.refused = nil, 0, true
	f.changed.Broadcast()
}

// flush writes a batch, for as long as it takes or its works have patience.
func (f *flusher) flush(ctx context.Context, works []*work) {
	defer func() {
		// A panic must not leave callers waiting; the loop's guard logs it.
		if r := recover(); r != nil {
			finishAll(works, errPanicked())
			panic(r)
		}
	}()
	delay := 20 * time.Millisecond
	for {
		works = withoutAbandoned(works)
		err, panicked := guarded(works, func() error { return f.attempt(ctx, works) })
		if store.IsLockTimeout(err) {
			works, panicked = f.setAside(ctx, works)
		}
		if panicked {
			f.flushAlone(ctx, works)
			return
		}
		if err == nil {
			return
		}
		if store.SplitWorthwhile(err) && len(works) > 1 {
			f.flush(ctx, works[:len(works)/2])
			f.flush(ctx, works[len(works)/2:])
			return
		}
		if !fault.From(err).Retryable {
			finishAll(works, blame(err))
			return
		}
		f.engine.mindRoom(err)
		if works = withPatience(works, err); len(works) == 0 {
			return
		}
		slog.Warn("a write is tried again", "writes", len(works), "error", err)
		select {
		case <-ctx.Done():
			finishAll(works, fault.New(fault.Closed, nil, "the engine was closed while the database could not be reached"))
			return
		case <-time.After(delay):
			delay = min(2*delay, time.Second)
		}
	}
}

// guarded does a part of a flush, and says whether it panicked.
func guarded(works []*work, part func() error) (err error, panicked bool) {
	defer func() {
		if r := recover(); r != nil {
			panicked = true
			slog.Error("a write panicked", "writes", len(works), "panic", r, "stack", string(debug.Stack()))
		}
	}()
	return part(), false
}

// flushAlone goes on after a panic with each work of the batch by itself, once: whose panic it
// is fails, and nobody else. What was written all the same is known by its tokens.
func (f *flusher) flushAlone(ctx context.Context, works []*work) {
	for _, w := range works {
		switch {
		case w.written:
		case w.panicked, time.Since(w.since) > patience:
			w.finish(errPanicked())
		default:
			w.panicked = true
			w.tries++
			f.flush(ctx, []*work{w})
		}
	}
}

func errPanicked() error {
	return fault.New(fault.Internal, nil, "the library failed while it wrote this; its log has the stack")
}

func (f *flusher) attempt(ctx context.Context, works []*work) error {
	if len(works) == 0 {
		return nil
	}
	e := f.engine
	ctx, cancel := context.WithTimeout(ctx, flushLimit)
	defer cancel()
	b := store.Batch{MaxHistory: e.settings.maxHistory}
	h := e.handover(works)
	var taken []model.Claimed
	told := false
	defer func() { h.fill(taken, told) }()
	h.attach(works, &b)
	for _, w := range works {
		w.addTo(&b)
	}
	b.Awaited = e.waiters.among(b.Finishes)
	flushed, err := e.store.Flush(ctx, b)
	claimed := h.settle(flushed.Claimed, err)
	if err != nil {
		for _, w := range works {
			w.tries++
		}
		return err
	}
	taken = flushed.Claimed
	e.waiters.hand(flushed.Awaited)
	var next cursor
	for _, w := range works {
		next = w.takeFrom(&flushed, next)
		if w.finished != nil {
			e.waiters.settle(w.finished, &w.out.finished)
		}
		if w.early != nil {
			w.endEarly()
		}
		e.effects(w, claimed)
		w.written = true
		w.finish(nil)
	}
	e.hints.send()
	told = true
	return nil
}

// setAside takes those works out of a batch whose rows somebody else has locked,
// and goes on with them beside it: one locked row must not hold up 499.
func (f *flusher) setAside(ctx context.Context, works []*work) (rest []*work, panicked bool) {
	if len(works) == 1 && works[0].aside {
		return works, false
	}
	var b store.Batch
	for _, w := range works {
		w.addTo(&b)
	}
	var locked map[uuid.UUID]bool
	err, panicked := guarded(works, func() (err error) {
		locked, err = f.engine.store.Locked(ctx, b)
		return err
	})
	if err != nil || panicked {
		return works, panicked
	}
	for _, w := range works {
		if !locked[w.row()] {
			rest = append(rest, w)
			continue
		}
		w.aside = true
		f.mu.Lock()
		f.beside++
		f.mu.Unlock()
		tried := false
		f.engine.spawn("set aside", func(ctx context.Context) {
			if tried { // it panicked, and its caller was told
				return
			}
			tried = true
			defer f.returned()
			f.flush(ctx, []*work{w})
		})
	}
	return rest, false
}

func (f *flusher) returned() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.beside--
	f.changed.Broadcast()
}

// behind is how long the oldest queued write has waited.
func (e *Engine) behind() time.Duration {
	f := e.flusher
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) == 0 {
		return 0
	}
	return time.Since(f.queue[0].since)
}

func withoutAbandoned(works []*work) []*work {
	kept := works[:0:0]
	for _, w := range works {
		// What was tried may have been written; its outcome is still to be found out.
		if w.tries == 0 && w.ctx.Err() != nil {
			w.finish(fault.New(fault.Cancelled, nil, "the call was cancelled before it was written"))
			continue
		}
		kept = append(kept, w)
	}
	return kept
}

func withPatience(works []*work, err error) []*work {
	kept := works[:0:0]
	for _, w := range works {
		if time.Since(w.since) > patience {
			w.finish(err)
			continue
		}
		kept = append(kept, w)
	}
	return kept
}

func finishAll(works []*work, err error) {
	for _, w := range works {
		w.finish(err)
	}
}

// blame makes a data error, which split down to one work, that work's fault.
func blame(err error) error {
	if !store.SplitWorthwhile(err) || fault.CodeOf(err) != fault.Internal {
		return err
	}
	return fault.New(fault.InvalidPayload, fault.From(err).Details, "PostgreSQL refuses a value in this request; check its payloads and ids").Because(err)
}

// drainFlusher waits until nothing is queued or on its way.
func (e *Engine) drainFlusher(ctx context.Context) {
	f := e.flusher
	stop := e.whenDone(ctx, "the end of a drain", f.rouse)
	defer stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for (f.busy > 0 || f.beside > 0 || len(f.queue) > 0) && ctx.Err() == nil {
		f.changed.Wait()
	}
}
