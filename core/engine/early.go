package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// earlyPatience is how long a start waits for what its code asks for first. Most code
// takes a tenth of that, and saves the wait for a commit of its own.
const earlyPatience = time.Millisecond

// early is a workflow whose holder was told of it before the commit that starts it. Its
// code is a function of its history and does nothing by itself, so that it can run while
// the commit is under way; what it asks for first goes along with it. Should the row not
// be there in the end, or be somebody else's, the lease was never held, and every write
// under it is refused.
type early struct {
	worker  *worker
	claimed model.Claimed
	// answered: what the code asks for is queued. The flusher's lock guards it.
	answered bool

	mu sync.Mutex
	// over: what became of the start is known: whether the lease holds, or that only the
	// row can tell, since the answer to a try was lost.
	over, holds, unsure bool
	waiting             []*work
}

// start writes a create, and lets a worker of this process have it at once if it can.
func (e *Engine) start(ctx context.Context, w *work) error {
	w.early = e.earlyOf(w)
	if err := e.submit(ctx, w); err != nil {
		w.finish(err)
		if w.early != nil {
			w.early.worker.slots.settle(1, 1)
		}
		return err
	}
	if w.early != nil { // not before: what it asks for comes behind it
		w.early.give()
	}
	return w.wait(ctx)
}

// earlyOf finds a worker with a free slot for the one row of a create.
func (e *Engine) earlyOf(w *work) *early {
	if len(w.creates) != 1 || !e.isSimple(&w.creates[0]) {
		return nil
	}
	row := &w.creates[0]
	at, known := e.clock.now()
	if !known {
		return nil
	}
	for _, worker := range e.listWorkers() {
		if !worker.request.Early || !worker.serves(row.Queue) || !e.claiming.TryRLock() {
			continue
		}
		if x := worker.takeEarly(row, at); x != nil {
			return x
		}
	}
	return nil
}

// isSimple: nothing about it is for the database to decide but who holds it. An id that
// the caller has chosen may be taken, by what runs here perhaps.
func (e *Engine) isSimple(row *store.NewRow) bool {
	return (row.NewExecution.ID == nil || e.namesAreNew) && row.Kind == model.Workflow && row.IdempotencyKey == nil && len(row.Signals) == 0 &&
		row.RunAt == nil && row.DelayMS <= 0 && row.TimeoutMS == 0 && row.ScheduleTimeoutMS == 0
}

// takeEarly decides as every claim does. Nothing waits that ranks before it, as far as the
// worker has heard. The caller has locked claiming, to be read.
func (w *worker) takeEarly(row *store.NewRow, at time.Time) *early {
	e := w.engine
	defer e.claiming.RUnlock()
	if suspect, may := e.solo.mode(e.leases.len()); suspect || !may || !w.isIdleQueue() || !w.mayClaim() {
		return nil
	}
	if slices.Contains(w.slots.lacking(), model.FunctionName{Kind: row.Kind, Name: row.Name}) || w.slots.reserve(1, false, false) == 0 {
		return nil
	}
	row.Early = &store.Early{Worker: w.current(), Token: uuid.New(), At: at, Started: w.started}
	x := &early{worker: w, claimed: row.Early.Claimed(row)}
	if !e.leases.addEarly(x) {
		row.Early = nil
		w.slots.settle(1, 0)
		return nil
	}
	return x
}

// startedBy is the payload of a started event.
func startedBy(r *model.StartWorkerRequest) []byte {
	texts := []any{r.Language, r.Runtime, r.SDKVersion}
	for i := range texts {
		texts[i], _ = json.Marshal(texts[i]) // a string always encodes
	}
	return fmt.Appendf(nil, `{"language":%s,"runtime":%s,"sdk_version":%s}`, texts...)
}

// give lets the worker have it. The slot stays reserved until then, lest a claim counts it
// as free.
func (x *early) give() {
	x.worker.slots.fill([]model.Claimed{x.claimed})
	x.worker.slots.settle(1, 1)
	if x.worker.draining.Load() {
		x.worker.returnReady()
	}
}

// isIdleQueue: the last look took all that was due, and nobody has said since that there is
// more.
func (w *worker) isIdleQueue() bool {
	w.rumour.mu.Lock()
	defer w.rumour.mu.Unlock()
	return w.exhausted.Load() && w.rumour.known == 0 && !w.rumour.beyond
}

// end says what became of the start, once.
func (x *early) end(holds, unsure bool) {
	x.mu.Lock()
	if x.over {
		x.mu.Unlock()
		return
	}
	x.over, x.holds, x.unsure = true, holds, unsure
	waiting := x.waiting
	x.mu.Unlock()
	w, c := x.worker, &x.claimed
	w.engine.leases.end(c.ID, c.Lease, holds, c.Position)
	if !holds {
		w.notify(model.Notice{ID: c.ID, Lease: c.Lease, Lost: true})
	}
	for _, each := range waiting {
		if !unsure {
			each.finish(nil)
		} else if err := w.engine.flusher.add(each.asking()); err != nil {
			each.finish(err)
		}
	}
}

// join lets a work wait for the end of the start, and says whether it does: where that has
// told nothing, the work has to ask the row.
func (x *early) join(w *work) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.over && x.unsure:
		w.asking()
		return false
	case x.over:
		w.done = make(chan error, 1)
		w.finish(nil)
	default:
		w.done = make(chan error, 1)
		x.waiting = append(x.waiting, w)
	}
	return true
}

// asking makes an advance of what only waited for a start.
func (w *work) asking() *work {
	w.advance = w.asked
	return w
}

// advanced answers who wanted to know whether it has started.
func (x *early) advanced() (model.Advanced, error) {
	leases, c := x.worker.engine.leases, &x.claimed
	x.mu.Lock()
	holds := x.holds && leases.knows(c.ID, c.Lease)
	x.mu.Unlock()
	leases.end(c.ID, c.Lease, holds, c.Position)
	if !holds {
		return model.Advanced{}, lost(c.ID)
	}
	return model.Advanced{Status: model.Running, Position: c.Position, Events: []model.Event{}}, nil
}

// endEarly tells the holder of a start what a flush has made of it.
func (w *work) endEarly() {
	made := &w.out.made[0]
	if made.Inserted {
		w.early.end(model.Status(made.Status) == model.Running, false)
		return
	}
	// The try before, whose answer was lost, may have written it.
	w.early.end(w.tries > 0, w.tries > 0)
}

// mayFollow: a batch writes each execution once, but for one that it starts.
func (w *work) mayFollow(written *work) bool {
	return written == nil || written.early != nil && len(w.creates) == 0
}

// lingers is how much longer a start waits for what its code asks for.
func (w *work) lingers(now time.Time) time.Duration {
	if w.early == nil || w.early.answered {
		return 0
	}
	return w.since.Add(earlyPatience).Sub(now)
}

// noteEarly notes starts, and what their code asks for. The caller holds the lock.
func (f *flusher) noteEarly(w *work) {
	switch {
	case w.early != nil:
		f.early[w.root] = w.early
	case f.early[w.root] != nil:
		f.early[w.root].answered = true
	}
}

// hasAsked notes that a start's code waits for nothing but its commit.
func (f *flusher) hasAsked(x *early) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x.answered = true
	f.changed.Broadcast()
}

func (f *flusher) rouse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed.Broadcast()
}

// setAlarm wakes the lanes for starts whose code asks for nothing. The caller holds the lock.
func (f *flusher) setAlarm() {
	now := time.Now()
	if len(f.early) == 0 || f.alarm.After(now) {
		return
	}
	for _, w := range f.queue {
		if left := w.lingers(now); left > 0 {
			f.alarm = now.Add(left)
			f.engine.after(left, "the start of what is early", f.rouse)
			return // the oldest
		}
	}
}
