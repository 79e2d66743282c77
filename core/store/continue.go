package store

import (
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

// Continue is what a workflow's next run begins with.
type Continue struct {
	Args, Kwargs model.Payload
	// Carry are the positions of signals that the code has not taken.
	Carry []int32
}

// continueSQL ends a run and begins the next one of the same execution, with the
// signals that nobody has taken, in their order. Nobody else is told: to a parent
// and to those who wait, the execution goes on. Children of the old run are
// closed as at an end; their events name its number, so none reaches the new run.
//
// Whoever was asked to stop does not go on; finish, which follows, decides on it.
var continueSQL = define("continue", `
WITH x AS MATERIALIZED (
    SELECT * FROM `+unnest(1, "x", "id uuid", "epoch bigint", "token uuid", "position int", "args text", "kwargs text")+`),
held AS MATERIALIZED (
    SELECT x.*, e.run, e.history_length, e.args AS old_args, e.kwargs AS old_kwargs
    FROM x CROSS JOIN LATERAL (SELECT * FROM workflows.executions e WHERE e.id = x.id OFFSET 0) e
    WHERE e.status = 'running' AND e.epoch = x.epoch AND e.token = x.token AND e.kind = 'workflow' AND e.cancel_requested_at IS NULL),
untaken AS (
    SELECT held.id, h.* FROM `+unnest(7, "c", "id uuid", "position int")+` JOIN held ON held.id = c.id
    CROSS JOIN LATERAL (
        SELECT * FROM workflows.history h WHERE h.execution_id = held.id AND h.run = held.run AND h.position = c.position OFFSET 0) h
    UNION ALL
    SELECT held.id, h.* FROM held CROSS JOIN LATERAL (
        SELECT * FROM workflows.history h WHERE h.execution_id = held.id AND h.run = held.run AND h.position > held.position OFFSET 0) h),
carried AS MATERIALIZED (
    SELECT *, row_number() OVER (PARTITION BY id ORDER BY position) AS place FROM untaken WHERE type = 'signal_received'),
n AS MATERIALIZED (SELECT id, count(*)::int AS count FROM carried GROUP BY 1),
moved AS (
    UPDATE workflows.executions e SET
        status = 'pending', run = e.run + 1, run_at = now(), language = NULL, attempts = 0, crashes = 0, suspended_position = NULL,
        args = held.args::json, kwargs = held.kwargs::json, history_length = coalesce(n.count, 0)
    FROM held LEFT JOIN n ON n.id = held.id WHERE e.id = held.id
    RETURNING e.id, e.queue, held.ord),
last AS (
    INSERT INTO workflows.history (execution_id, run, position, type, payload, at)
    SELECT id, run, history_length + 1, 'continued',
        json_build_object('args', coalesce(old_args, '[]'), 'kwargs', coalesce(old_kwargs, '{}')), clock_timestamp()
    FROM held),
first AS (
    INSERT INTO workflows.history (execution_id, run, position, type, name, key, payload, at)
    SELECT id, run + 1, place, type, name, key, payload, at FROM carried),
untimed AS (DELETE FROM workflows.timers t USING held WHERE t.execution_id = held.id AND t.kind = 'sleep'),
closing AS (
    INSERT INTO workflows.timers (execution_id, run, kind, sequence, due_at)
    SELECT held.id, held.run, 'close', held.run, now() FROM held WHERE `+hasChildrenToClose("held")+`
    ON CONFLICT DO NOTHING RETURNING execution_id)
SELECT moved.ord, moved.queue, EXISTS (SELECT FROM closing WHERE closing.execution_id = moved.id) FROM moved`)

// continueAsNew notes in finished which of the items have gone on.
func (p *pipeline) continueAsNew(items []Finish, finished []*Finished) {
	args, carried, which := continueArgs(items)
	if len(which) == 0 {
		return
	}
	p.add(continueSQL, func(row pgx.CollectableRow) error {
		var ord int
		f := Finished{Continued: true}
		if err := row.Scan(&ord, &f.Queue, &f.Closing); err != nil {
			return err
		}
		*finished[which[ord-1]] = f
		return nil
	}, append(args, carried...)...)
}

// continueArgs answers the columns of those items that want to go on, those of
// what they carry, and which items they are.
func continueArgs(items []Finish) (args, carried []any, which []int) {
	ids, epochs, tokens, positions := []uuid.UUID{}, []int64{}, []uuid.UUID{}, []int32{}
	argTexts, keywordTexts := []*string{}, []*string{}
	carriers, carry := []uuid.UUID{}, []int32{}
	for i := range items {
		f := &items[i]
		if f.Continue == nil {
			continue
		}
		which = append(which, i)
		ids, epochs, tokens, positions = append(ids, f.ID), append(epochs, f.Lease.Epoch), append(tokens, f.Lease.Token), append(positions, int32(f.Position))
		argTexts, keywordTexts = append(argTexts, text(f.Continue.Args)), append(keywordTexts, text(f.Continue.Kwargs))
		for _, position := range f.Continue.Carry {
			carriers, carry = append(carriers, f.ID), append(carry, position)
		}
	}
	return []any{ids, epochs, tokens, positions, argTexts, keywordTexts}, []any{carriers, carry}, which
}
