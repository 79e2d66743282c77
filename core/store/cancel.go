package store

import (
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

// Cancel asks one execution to stop: by its id, or as the child of the holder
// of a lease.
type Cancel struct {
	// ID of the execution, or of the parent when Sequence is set.
	ID       uuid.UUID
	Sequence *int32
	// Token of the parent's lease.
	Token *uuid.UUID
	// Force ends it at once, whatever it is doing.
	Force bool
	// Reason for whoever reads it, as an error payload.
	Error model.Payload
}

// targetsOfCancel resolve children; a child that its parent cancels need not
// report its end, the parent has recorded it as cancelled already.
var targetsOfCancel = `
WITH x AS MATERIALIZED (
    SELECT coalesce(c.id, g.id) AS id, c.id IS NOT NULL AS mute, g.force, g.error, g.ord
    FROM ` + unnest(1, "g", "id uuid", "sequence int", "token uuid", "force boolean", "error text") + `
    LEFT JOIN workflows.executions p ON g.sequence IS NOT NULL AND p.id = g.id AND p.token = g.token
    LEFT JOIN workflows.executions c ON c.parent_id = p.id AND c.parent_run = p.run AND c.sequence = g.sequence
    WHERE g.sequence IS NULL OR c.id IS NOT NULL)`

// markCancelSQL marks what cannot be stopped from outside: a running body, and
// a workflow that has begun and may want to clean up after itself. One that waits
// to begin another run is told by the claim, behind "started": until then its error
// says why. One that was put back for want of its function has begun all the same,
// though nobody's language holds it.
var markCancelSQL = define("mark_cancel", targetsOfCancel+`,
asked AS MATERIALIZED (
    SELECT x.id, x.mute, e.cancel_requested_at IS NULL AS fresh, e.kind = 'workflow' AND (e.language IS NOT NULL OR `+isBegun+`) AS told, x.error
    FROM (SELECT id, bool_or(mute) AS mute, (array_agg(error ORDER BY ord))[1] AS error FROM x WHERE NOT force GROUP BY 1) x JOIN workflows.executions e ON e.id = x.id
    WHERE e.parked IS NULL AND (e.cancel_requested_at IS NULL OR (x.mute AND NOT e.reported))
        AND (e.status = 'running' OR (e.kind = 'workflow' AND e.started_at IS NOT NULL AND e.status IN ('scheduled', 'pending', 'suspended')))),
marked AS (
    UPDATE workflows.executions e SET
        cancel_requested_at = coalesce(e.cancel_requested_at, now()),
        reported = e.reported OR asked.mute,
        history_length = e.history_length + (asked.fresh AND asked.told)::int,
        error = CASE WHEN asked.fresh AND e.kind = 'workflow' AND NOT asked.told THEN asked.error::json ELSE e.error END,
        run_at = CASE WHEN asked.fresh AND e.status = 'suspended' THEN now() ELSE e.run_at END,
        status = CASE WHEN asked.fresh AND e.status = 'suspended' THEN 'pending' ELSE e.status END
    FROM asked WHERE e.id = asked.id
    RETURNING e.id, e.run, e.kind, e.status, e.queue, e.worker, e.history_length, asked.fresh, asked.told, asked.error),
events AS (
    INSERT INTO workflows.history (execution_id, run, position, type, payload, at)
    SELECT id, run, history_length, 'cancel_requested', error::json, clock_timestamp() FROM marked WHERE fresh AND told)
SELECT x.ord, x.id, e.id IS NOT NULL, coalesce(e.kind, ''), coalesce(marked.status, e.status, ''), coalesce(marked.fresh, false),
    coalesce(e.queue, ''), e.worker, coalesce(marked.history_length, e.history_length, 0)
FROM x LEFT JOIN workflows.executions e ON e.id = x.id LEFT JOIN marked ON marked.id = x.id`)

// endSQL ends what nobody runs, and what is to be ended at any price.
var endSQL = define("end", targetsOfCancel+`,
done AS (
    UPDATE workflows.executions e SET
        status = 'cancelled', error = x.error::json, parked = NULL, reported = e.reported OR x.mute,
        cancel_requested_at = coalesce(e.cancel_requested_at, now()), finished_at = clock_timestamp()
    FROM (SELECT DISTINCT ON (id) id, error, bool_or(force) OVER (PARTITION BY id) AS force, bool_or(mute) OVER (PARTITION BY id) AS mute
        FROM x ORDER BY id, ord) x
    WHERE e.id = x.id AND (
        (x.force AND e.status IN ('scheduled', 'pending', 'running', 'suspended'))
        OR e.parked IS NOT NULL AND e.status = 'suspended'
        OR (e.status IN ('scheduled', 'pending') AND (e.kind <> 'workflow' OR e.started_at IS NULL)))
    RETURNING `+endedColumns+`, e.worker),`+settle+`
SELECT x.ord, x.id, e.id IS NOT NULL, coalesce(d.status, e.status, ''), d.id IS NOT NULL, e.worker, `+toldColumns+`
FROM x LEFT JOIN workflows.executions e ON e.id = x.id LEFT JOIN done d ON d.id = x.id LEFT JOIN told ON told.id = d.parent_id`)

// Ended is what became of an end from outside.
type Ended struct {
	ID     uuid.UUID
	Found  bool
	Status model.Status
	Ended  bool
	Worker *uuid.UUID
	Told
}

// cancel marks first and ends then: two statements, because the end of a child
// writes its parent's row, which may be among the marked.
func (p *pipeline) cancel(items []Cancel, marked []Woken, ended []Ended) {
	if len(items) == 0 {
		return
	}
	args := cancelArgs(items)
	p.add(markCancelSQL, scanWoken(marked), args...)
	p.add(endSQL, func(row pgx.CollectableRow) error {
		var ord int
		var e Ended
		if err := scanInto(row, []any{&ord, &e.ID, &e.Found, &e.Status, &e.Ended, &e.Worker}, e.targets()); err != nil {
			return err
		}
		ended[ord-1] = e
		return nil
	}, args...)
}

func cancelArgs(items []Cancel) []any {
	n := len(items)
	ids, sequences, tokens := make([]uuid.UUID, n), make([]*int32, n), make([]*uuid.UUID, n)
	forces, errors := make([]bool, n), make([]*string, n)
	for i := range items {
		c := &items[i]
		ids[i], sequences[i], tokens[i], forces[i], errors[i] = c.ID, c.Sequence, c.Token, c.Force, text(c.Error)
	}
	return []any{ids, sequences, tokens, forces, errors}
}
