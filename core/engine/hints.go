package engine

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

const (
	// hintBytes keeps a payload below PostgreSQL's 8000.
	hintBytes = 7000
	// hintSize bounds what one name adds, quotes and comma included.
	hintSize = 40
	// hintGap is the least time between two notifications: under load they gather.
	hintGap = 5 * time.Millisecond
)

// hints gathers what other processes should look at, and sends it after the
// commit that it speaks of. It may be lost: polling stands behind it.
type hints struct {
	engine *Engine
	// own is how a payload of this engine begins; it need not be read.
	own    string
	mu     sync.Mutex
	queues map[string]bool
	// workers whose leases have news.
	workers map[uuid.UUID]bool
	// ended executions that somebody waits for.
	ended []uuid.UUID
	// soon is when something falls due that a poll could miss.
	soon time.Time
	more chan struct{}

	listening sync.Once
}

// hint is the payload of a notification.
type hint struct {
	// From is the sender, who knows already.
	From    uuid.UUID   `json:"from"`
	Queues  []string    `json:"queues,omitempty"`
	Workers []uuid.UUID `json:"workers,omitempty"`
	Ended   []uuid.UUID `json:"ended,omitempty"`
	// SoonMS is an instant, in milliseconds since 1970 by the database's clock.
	SoonMS int64 `json:"soon_ms,omitempty"`
}

func newHints(e *Engine) *hints {
	own := strings.TrimSuffix(hint{From: e.id}.text(), "}")
	return &hints{engine: e, own: own, queues: map[string]bool{}, workers: map[uuid.UUID]bool{}, more: make(chan struct{}, 1)}
}

// wake tells workers of a queue that something is due there.
func (e *Engine) wake(queue string) {
	e.wakeAbout(queue, 0)
}

// wakeForOne does so for a single execution that this process has made due.
func (e *Engine) wakeForOne(queue string) { e.wakeAbout(queue, 1) }

func (e *Engine) wakeAbout(queue string, known int) {
	e.wakeLocal(queue, known)
	e.hints.mu.Lock()
	e.hints.queues[queue] = true
	e.hints.mu.Unlock()
}

func (e *Engine) wakeLocal(queue string, known int) {
	for _, w := range e.listWorkers() {
		if w.serves(queue) {
			w.rouse(known)
		}
	}
}

// news tells the holder of a lease that there is something to know.
func (e *Engine) news(worker *uuid.UUID, w store.Woken) {
	if worker == nil || e.leases.tell(w) || e.beatLocal(*worker) {
		return
	}
	e.hints.mu.Lock()
	e.hints.workers[*worker] = true
	e.hints.mu.Unlock()
}

// beatLocal makes a worker of this process look at its leases now.
func (e *Engine) beatLocal(worker uuid.UUID) bool {
	for _, w := range e.listWorkers() {
		if w.current() == worker {
			poke(w.beatNow)
			return true
		}
	}
	return false
}

// ownIDs are what the database knows the workers of this process by.
func (e *Engine) ownIDs() []string {
	ids := []string{}
	for _, w := range e.listWorkers() {
		ids = append(ids, w.current().String())
	}
	return ids
}

// languages are those of the workers of this process.
func (e *Engine) languages() []string {
	languages := []string{}
	for _, w := range e.listWorkers() {
		languages = append(languages, w.request.Language)
	}
	return languages
}

// ended tells those who wait for an execution.
func (e *Engine) ended(id uuid.UUID, awaited bool) {
	if e.waiters.tell(id, nil); !awaited {
		return
	}
	e.hints.mu.Lock()
	e.hints.ended = append(e.hints.ended, id)
	e.hints.mu.Unlock()
}

// dueEffects: an execution is due, or will be.
func (e *Engine) dueEffects(status model.Status, queue string, at time.Time) {
	switch status {
	case model.Pending:
		e.wakeForOne(queue)
	case model.Scheduled:
		e.ticker.at(at)
	}
}

func (h *hints) announceSoon(at time.Time) {
	h.mu.Lock()
	if h.soon.IsZero() || at.Before(h.soon) {
		h.soon = at
	}
	h.mu.Unlock()
	h.send()
}

// send wakes the sender, if there is anything to send.
func (h *hints) send() { poke(h.more) }

func (h *hints) loop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.more:
			h.flush(ctx)
			select {
			case <-ctx.Done():
				return
			case <-time.After(hintGap):
			}
		}
	}
}

// flush sends what has gathered.
func (h *hints) flush(ctx context.Context) {
	payloads := h.take()
	if len(payloads) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := h.engine.store.Notify(ctx, payloads); err != nil && ctx.Err() == nil {
		slog.Debug("a hint was lost; polling finds what it was about", "error", err)
	}
}

func (h *hints) take() []string {
	h.mu.Lock()
	queues, workers, ended, soon := h.queues, h.workers, h.ended, h.soon
	if len(queues)+len(workers)+len(ended) == 0 && soon.IsZero() {
		h.mu.Unlock()
		return nil
	}
	h.queues, h.workers, h.ended, h.soon = map[string]bool{}, map[uuid.UUID]bool{}, nil, time.Time{}
	h.mu.Unlock()
	return h.encode(queues, workers, ended, soon)
}

// encode packs names into as many payloads as they need.
func (h *hints) encode(queues map[string]bool, workers map[uuid.UUID]bool, ended []uuid.UUID, soon time.Time) (payloads []string) {
	next, size := hint{From: h.engine.id}, 0
	if !soon.IsZero() {
		next.SoonMS = soon.UnixMilli()
	}
	room := func(bytes int) {
		if size += bytes; size > hintBytes {
			payloads = append(payloads, next.text())
			next, size = hint{From: h.engine.id}, bytes
		}
	}
	for queue := range queues {
		room(6*len(queue) + 3) // each byte may need an escape
		next.Queues = append(next.Queues, queue)
	}
	for worker := range workers {
		room(hintSize)
		next.Workers = append(next.Workers, worker)
	}
	for _, id := range ended {
		room(hintSize)
		next.Ended = append(next.Ended, id)
	}
	return append(payloads, next.text())
}

func (h hint) text() string {
	raw, err := json.Marshal(h)
	if err != nil {
		return "{}" // names and ids always encode
	}
	return string(raw)
}

// listen makes this process hear hints, from its first worker or waiter on.
func (h *hints) listen() {
	if h.engine.settings.listenURL == listenOff {
		return
	}
	h.listening.Do(func() { h.engine.spawn("listener", h.hearing) })
}

func (h *hints) hearing(ctx context.Context) {
	delay := 100 * time.Millisecond
	for ctx.Err() == nil {
		err := h.engine.store.Listen(ctx, h.engine.settings.listenURL, func() {
			delay = 100 * time.Millisecond
			h.missed()
		}, h.hear)
		if ctx.Err() != nil {
			return
		}
		if fault.CodeOf(err) == fault.InvalidConfig {
			slog.Warn("hints are not heard; work is found by polling", "error", err)
			return
		}
		slog.Debug("hints are not heard for now; polling goes on", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(delay):
			delay = min(2*delay, 10*time.Second)
		}
	}
}

// missed makes up for what was not heard: everybody looks once.
func (h *hints) missed() {
	for _, w := range h.engine.listWorkers() {
		w.rouse(0)
		poke(w.beatNow)
	}
	h.engine.ticker.in(0)
	h.engine.waiters.look()
}

func (h *hints) hear(payload string) {
	var x hint
	if strings.HasPrefix(payload, h.own) || json.Unmarshal([]byte(payload), &x) != nil {
		return
	}
	for _, queue := range x.Queues {
		h.engine.wakeLocal(queue, 0)
	}
	for _, worker := range x.Workers {
		h.engine.beatLocal(worker)
	}
	for _, id := range x.Ended {
		h.engine.waiters.tell(id, nil)
	}
	if x.SoonMS > 0 {
		h.engine.ticker.hear(time.UnixMilli(x.SoonMS))
	}
}
