package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

var null = []byte("null")

// CreateExecution starts executions: all of them or none.
//
// An idempotency key that is taken, by whatever state the first one is in,
// answers that one's id with created=false.
//
// Signals of a workflow are stored together with it. If it was there already,
// they are sent to the first one after, and signaled says whether it took them.
//
// With wait_ms it also waits for the ends, and answers those that came in time. That
// an end cannot be found out is no error: the executions are there.
//
// Errors: invalid_request, invalid_payload, payload_too_large, busy, database_unavailable, schema_missing, schema_outdated, schema_too_new.
func (e *Engine) CreateExecution(ctx context.Context, req model.CreateExecutionRequest) (model.CreateExecutionReply, error) {
	if err := checkItems(len(req.Items)); err != nil {
		return model.CreateExecutionReply{}, err
	}
	if err := checkDelay(fieldAt("wait_ms"), req.WaitMS); err != nil {
		return model.CreateExecutionReply{}, err
	}
	w := &work{creates: make([]store.NewRow, len(req.Items))}
	ids := make(map[uuid.UUID]bool, len(req.Items))
	for i := range req.Items {
		row, err := e.newRow(itemAt(i), &req.Items[i])
		if err != nil {
			return model.CreateExecutionReply{}, err
		}
		if ids[row.ID] {
			return model.CreateExecutionReply{}, invalid(itemAt(i).at(".id"), "is there twice; ids must differ")
		}
		ids[row.ID] = true
		row.Awaited = row.Awaited || req.WaitMS > 0
		w.creates[i] = row
		w.signals = append(w.signals, row.Signals...)
		w.size += rowSize(&row)
	}
	if len(w.signals) > maxItems {
		return model.CreateExecutionReply{}, invalid(fieldAt("items"), "have %d signals; at most %d are sent at once", len(w.signals), maxItems)
	}
	w.root = w.creates[0].ID
	waits := e.expectEnds(req.WaitMS, w.creates)
	defer waits.remove()
	if err := e.start(ctx, w); err != nil {
		return model.CreateExecutionReply{}, err
	}
	reply := created(w)
	if err := e.signalCreated(ctx, w, reply.Results); err != nil {
		return reply, err
	}
	if req.WaitMS > 0 {
		e.awaitCreated(ctx, req.WaitMS, waits, reply.Results)
	}
	return reply, nil
}

// expected are waits for the outcomes of rows that are about to be created: they may have
// ended before whoever created them hears of it.
type expected struct {
	waits   []*wait
	removes []func()
}

func (e *Engine) expectEnds(waitMS int64, rows []store.NewRow) (x expected) {
	if waitMS <= 0 {
		return x
	}
	for i := range rows {
		waiting, _, remove := e.waiters.add(rows[i].ID, true)
		x.waits, x.removes = append(x.waits, waiting), append(x.removes, remove)
	}
	return x
}

func (x *expected) remove() {
	for _, remove := range x.removes {
		remove()
	}
}

// awaitCreated waits for what was created, one after another, and notes what has ended.
func (e *Engine) awaitCreated(ctx context.Context, waitMS int64, waits expected, results []model.Created) {
	until := time.Now().Add(time.Duration(waitMS) * time.Millisecond)
	for i := range results {
		req := model.WaitExecutionRequest{ID: results[i].ID, WaitMS: max(time.Until(until).Milliseconds(), 0)}
		var x model.Execution
		var err error
		if results[i].Created {
			x, err = e.waitTold(ctx, req, waits.waits[i].told)
		} else { // another one has the key
			x, err = e.WaitExecution(ctx, req)
		}
		if err != nil {
			return
		}
		if x.Status.Final() {
			results[i].Outcome = &model.Outcome{Status: x.Status, Result: x.Result, Error: x.Error}
		}
	}
}

func rowSize(row *store.NewRow) int {
	size := len(row.Args) + len(row.Kwargs) + 200
	for i := range row.Signals {
		size += signalSize(&row.Signals[i])
	}
	return size
}

// signalCreated says who took the signals that came with a start, and sends
// those on whose row lost to an idempotency key.
func (e *Engine) signalCreated(ctx context.Context, w *work, results []model.Created) error {
	outcomes, sent := w.out.signals, make([]*work, len(w.creates))
	for i := range w.creates {
		row, n := &w.creates[i], len(w.creates[i].Signals)
		switch {
		case n == 0:
			continue
		case results[i].ID == row.ID:
			results[i].Signaled = taken(outcomes[:n])
		default:
			sent[i] = redirected(row, results[i].ID)
			if err := e.submit(ctx, sent[i]); err != nil {
				return err
			}
		}
		outcomes = outcomes[n:]
	}
	for i, x := range sent {
		if x == nil {
			continue
		}
		if err := x.wait(ctx); err != nil {
			return err
		}
		results[i].Signaled = taken(x.out.signals)
	}
	return nil
}

// redirected are a row's signals to the execution that has its key. They keep the
// keys that they were given, so that no try of ours doubles them.
func redirected(row *store.NewRow, winner uuid.UUID) *work {
	signals := slices.Clone(row.Signals)
	for i := range signals {
		signals[i].ID = winner
	}
	return &work{root: winner, size: rowSize(row), signals: signals}
}

func taken(signaled []store.Signaled) *bool {
	for i := range signaled {
		if !signaled[i].Changed && !signaled[i].Known {
			return new(bool)
		}
	}
	all := true
	return &all
}

func created(w *work) model.CreateExecutionReply {
	reply := model.CreateExecutionReply{Results: make([]model.Created, len(w.creates))}
	for i := range w.creates {
		made := &w.out.made[i]
		// What an attempt before this one wrote, whose answer was lost, is ours.
		ours := made.Inserted || (w.tries > 0 && made.Winner == w.creates[i].ID)
		reply.Results[i] = model.Created{ID: made.Winner, Created: ours}
	}
	return reply
}

// newRow fills the defaults of a new execution and checks it.
func (e *Engine) newRow(path place, n *model.NewExecution) (store.NewRow, error) {
	row := store.NewRow{NewExecution: *n}
	if row.Queue == "" {
		row.Queue = model.DefaultQueue
	}
	if row.Priority == nil {
		priority := model.DefaultPriority
		row.Priority = &priority
	}
	row.Args, row.Kwargs = absent(row.Args), absent(row.Kwargs)
	if err := e.checkNew(path, &row.NewExecution); err != nil {
		return row, err
	}
	if n.ID != nil {
		row.ID = *n.ID
		if err := checkID(path.at(".id"), row.ID); err != nil {
			return row, err
		}
		return row, e.addSignals(path, n, &row)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return row, err
	}
	row.ID = id
	return row, e.addSignals(path, n, &row)
}

// addSignals checks the signals that come with a start.
func (e *Engine) addSignals(path place, n *model.NewExecution, row *store.NewRow) error {
	if len(n.Signals) > 0 && n.Kind != model.Workflow {
		return invalid(path.at(".signals"), "are for workflows only; this is of kind %s", n.Kind)
	}
	if len(n.Signals) > model.MaxStartSignals {
		return invalid(path.at(".signals"), "has %d entries; at most %d start with a workflow", len(n.Signals), model.MaxStartSignals)
	}
	for i, s := range n.Signals {
		signal, err := e.newSignal(path.in("signals", i), row.ID, s, startKey(row.ID, i, s))
		if err != nil {
			return err
		}
		row.Signals = append(row.Signals, signal)
	}
	return nil
}

// startKey follows from the start alone: who repeats one, with an id of its own,
// sends no signal twice.
func startKey(id uuid.UUID, i int, s model.StartSignal) string {
	digest := sha256.Sum256(append([]byte(s.Name+"\x00"), s.Payload...))
	return fmt.Sprintf("s:%s:%d:%x", id, i, digest[:8])
}

// absent treats a null argument list as none.
func absent(p model.Payload) model.Payload {
	if bytes.Equal(p, null) {
		return nil
	}
	return p
}
