package store

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

// plainSQL writes what has nothing to mind but the execution's own row: a result, or one
// event of a workflow that has seen all of its history. That takes one update, where the
// statements for everything that may be cost several times as much, whatever they find.
//
// The row itself tells whether more is to be minded: news that came in between, a
// request to stop, a deadline whose timer has to go. Then it is left as it is, and the
// caller goes the long way. Rows are locked in the order in which they are given, by id.
var plainSQL = define("plain", `
WITH moved AS (
    UPDATE workflows.executions e SET
        status = CASE WHEN x.ends THEN 'completed' ELSE e.status END,
        result = CASE WHEN x.ends THEN x.payload::json END,
        error = CASE WHEN x.ends THEN NULL ELSE e.error END,
        failed_sequence = CASE WHEN x.ends THEN NULL ELSE e.failed_sequence END,
        finished_at = CASE WHEN x.ends THEN clock_timestamp() END,
        history_length = e.history_length + (NOT x.ends)::int,
        crashes = 0
    FROM `+unnest(1, "x", "id uuid", "epoch bigint", "token uuid", "position int", "ends boolean", "payload text", "type text", "sequence int", "name text")+`
    WHERE e.id = x.id AND `+holds("e", "x")+`
        AND CASE WHEN e.kind = 'workflow' THEN e.history_length = x.position ELSE x.ends END
        AND (NOT x.ends OR e.cancel_requested_at IS NULL AND e.parent_id IS NULL AND e.deadline_at IS NULL)
    RETURNING x.ord, x.ends, x.payload, x.type, x.sequence, x.name, e.id, e.run, e.kind, e.queue, e.awaited, e.history_length, clock_timestamp() AS at),
written AS (
    INSERT INTO workflows.history (execution_id, run, position, type, sequence, name, payload, at)
    SELECT id, run, history_length, type, sequence, name, payload::json, at FROM moved WHERE NOT ends)
SELECT ord, kind, queue, awaited, at FROM moved`)

// holds says whether a row is held under an item's lease. It is a CASE, lest the planner
// looks for what is running by the index of that, which was empty when the plan was made,
// instead of by id.
func holds(row, item string) string {
	return fmt.Sprintf("CASE WHEN %[1]s.status = 'running' THEN %[1]s.epoch = %[2]s.epoch AND %[1]s.token = %[2]s.token ELSE false END", row, item)
}

// IsPlain says whether an advance is but one event, and leaves the workflow with its holder.
// What comes before an end is not: if news kept it from being written plainly, the end would
// go first, and leave nobody who may write it.
func (a *Advance) IsPlain() bool {
	return !a.Ending && len(a.Entries) == 1 && a.Entries[0].isPlain() && len(a.Children) == 0 && a.State == nil && (a.Waking || !a.Suspend)
}

// IsPlainSchedule says whether an advance is but one activity, due at once and without a deadline.
func (a *Advance) IsPlainSchedule() bool {
	if a.Ending || len(a.Entries) != 1 || len(a.Children) != 1 || a.State != nil {
		return false
	}
	c := &a.Children[0]
	return c.Kind != model.Workflow && !c.Dead && c.RunAt == nil && c.DelayMS == 0 && c.TimeoutMS == 0 && c.ScheduleTimeoutMS == 0
}

func (e *Entry) isPlain() bool { return !e.Cancel && e.DelayMS == 0 }

// plainWrite is a plain finish or advance, and where its answer goes. Each kind has a
// statement: plainSQL for what stays in its own row, and the two for a child's begin and end.
type plainWrite struct {
	finish   *Finish
	finished *Finished
	advance  *Advance
	advanced *Advanced
	// begins: the row is inserted as it ends.
	begins bool
}

func (w *plainWrite) id() uuid.UUID {
	if w.finish != nil {
		return w.finish.ID
	}
	return w.advance.ID
}

// plainWrites are what is plain in a batch, by statement, each in the order of ids.
type plainWrites struct{ own, schedules, children []plainWrite }

func plainOf(b *Batch, f *Flushed) (p plainWrites) {
	for i := range b.Finishes {
		switch x := &b.Finishes[i]; {
		case x.Plain && x.Root:
			p.own = append(p.own, plainWrite{finish: x, finished: &f.Finishes[i]})
		case x.Plain:
			p.children = append(p.children, plainWrite{finish: x, finished: &f.Finishes[i]})
		}
	}
	for i := range b.Advances {
		switch x := &b.Advances[i]; {
		case x.IsPlain():
			p.own = append(p.own, plainWrite{advance: x, advanced: &f.Advances[i]})
		case x.IsPlainSchedule():
			p.schedules = append(p.schedules, plainWrite{advance: x, advanced: &f.Advances[i]})
		}
	}
	for _, writes := range [][]plainWrite{p.own, p.schedules, p.children} {
		slices.SortFunc(writes, func(a, b plainWrite) int {
			x, y := a.id(), b.id()
			return bytes.Compare(x[:], y[:])
		})
	}
	return p
}

// endsOf answers those ends, by id, whose rows are started by the same batch under the same lease:
// their holder has asked for nothing else. plain does not write them, then. A signal that the batch
// brings comes before the end.
func (p *plainWrites) endsOf(b *Batch) map[uuid.UUID]*plainWrite {
	begun := map[uuid.UUID]*Early{}
	for i := range b.Creates {
		if early := b.Creates[i].Early; early != nil {
			begun[b.Creates[i].ID] = early
		}
	}
	for i := range b.Signals {
		delete(begun, b.Signals[i].ID)
	}
	ends := map[uuid.UUID]*plainWrite{}
	for i := range p.own {
		w := &p.own[i]
		if early := begun[w.id()]; early != nil && w.finish != nil && w.finish.Position == 1 && w.finish.Lease == early.lease() {
			ends[w.id()], w.begins = w, true
		}
	}
	return ends
}

// others are the writes of rows that are there already.
func (p *plainWrites) others() []*plainWrite {
	var writes []*plainWrite
	for i := range p.own {
		if !p.own[i].begins {
			writes = append(writes, &p.own[i])
		}
	}
	return writes
}

func (w *plainWrite) isWritten() bool {
	if w.finish != nil {
		return w.finished.Held
	}
	return w.advanced.Held
}

// plain writes what can be written so; the answers to the rest stay empty.
func (p *pipeline) plain(writes []*plainWrite) {
	if len(writes) == 0 {
		return
	}
	p.add(plainSQL, func(row pgx.CollectableRow) error {
		var ord int
		var x plainAnswer
		if err := row.Scan(&ord, &x.kind, &x.queue, &x.awaited, &x.at); err != nil {
			return err
		}
		writes[ord-1].answer(&x)
		return nil
	}, plainArgs(writes)...)
}

type plainAnswer struct {
	kind    model.Kind
	queue   string
	awaited bool
	at      time.Time
}

// answer fills in what the statement for everything else would have answered.
func (w *plainWrite) answer(x *plainAnswer) {
	if w.finish != nil {
		w.answerFinish(x)
		return
	}
	w.answerAdvance(x.queue, x.at)
}

func (w *plainWrite) answerFinish(x *plainAnswer) {
	*w.finished = Finished{Found: true, Held: true, SameLease: true, Status: model.Completed, Kind: x.kind, Queue: x.queue}
	w.finished.Awaited = x.awaited
}

func (w *plainWrite) answerAdvance(queue string, at time.Time) {
	a, e := w.advance, &w.advance.Entries[0]
	position, sequence, status := a.Position+1, e.Sequence, model.Running
	if a.Suspend && !a.Waking {
		status = model.Suspended
	}
	*w.advanced = Advanced{
		Found: true, Held: true, SameLease: true, Status: status, HistoryLength: position, Queue: queue,
		Events: []model.Event{{Position: position, Type: e.Type, Sequence: &sequence, Name: e.Name, At: at, Payload: e.Payload}},
	}
}

func plainArgs(writes []*plainWrite) []any {
	n := len(writes)
	ids, epochs, tokens, positions := make([]uuid.UUID, n), make([]int64, n), make([]uuid.UUID, n), make([]int32, n)
	ends, payloads := make([]bool, n), make([]*string, n)
	types, sequences, names := make([]string, n), make([]*int32, n), make([]*string, n)
	for i := range writes {
		if f := writes[i].finish; f != nil {
			ids[i], epochs[i], tokens[i], positions[i] = f.ID, f.Lease.Epoch, f.Lease.Token, int32(f.Position)
			ends[i], payloads[i] = true, text(orNull(f.Result))
			continue
		}
		a := writes[i].advance
		e := &a.Entries[0]
		sequence := int32(e.Sequence)
		ids[i], epochs[i], tokens[i], positions[i] = a.ID, a.Lease.Epoch, a.Lease.Token, int32(a.Position)
		types[i], sequences[i], names[i], payloads[i] = string(e.Type), &sequence, e.Name, text(e.Payload)
	}
	return []any{ids, epochs, tokens, positions, ends, payloads, types, sequences, names}
}

func orNull(p model.Payload) model.Payload {
	if len(p) == 0 {
		return model.Payload("null")
	}
	return p
}
