package store

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// insertColumns are what both a root and a child are inserted with.
const insertColumns = `id, root_id, parent_id, parent_run, sequence, close_policy, reported, kind, name, queue, idempotency_key,
    status, priority, awaited, run_at, created_at, finished_at, deadline_at, attempt_timeout_ms, version, retry, args, kwargs`

// insertValues read a new row x with its parent's deadline; the caller puts root
// and the parent's run in front of it.
const insertValues = `x.sequence, x.close_policy, x.dead, x.kind, x.name, x.queue, x.idempotency_key,
    CASE WHEN x.dead THEN 'cancelled' WHEN x.delay_ms > 0 OR x.run_at > now() THEN 'scheduled' ELSE 'pending' END,
    x.priority, x.awaited, coalesce(x.run_at, now() + greatest(x.delay_ms, 0) * interval '1 ms'), now(),
    CASE WHEN x.dead THEN now() END,
    ` + deadlineOfNew + `,
    nullif(x.attempt_timeout_ms, 0), x.version, x.retry::json, x.args::json, x.kwargs::json`

// deadlineOfNew is a row's own deadline or its parent's, whichever is earlier.
const deadlineOfNew = `least(CASE WHEN x.timeout_ms > 0 THEN now() + x.timeout_ms * interval '1 ms' END, x.parent_deadline)`

// timersOfNew insert the deadlines of those rows in x that were made: a timer for
// an execution that was there already would end it.
const timersOfNew = `INSERT INTO workflows.timers (execution_id, run, kind, sequence, due_at)
    SELECT x.id, 1, t.kind, 0, t.due_at
    FROM x JOIN made ON made.id = x.id CROSS JOIN LATERAL (VALUES ('deadline', ` + deadlineOfNew + `),
        ('schedule', CASE WHEN x.schedule_timeout_ms > 0 THEN now() + x.schedule_timeout_ms * interval '1 ms' END)) AS t(kind, due_at)
    WHERE t.due_at IS NOT NULL AND NOT x.dead
    ON CONFLICT DO NOTHING`

// createSQL inserts roots. Keyed rows go in the order of their keys, which two
// batches with the same keys need in order not to deadlock.
var createSQL = define("create", `
WITH x AS MATERIALIZED (SELECT x.*, NULL::timestamptz AS parent_deadline FROM `+unnest(1, "x", newRowTypes...)+`),
made AS (
    INSERT INTO workflows.executions (`+insertColumns+`)
    SELECT x.id, x.id, NULL, NULL, `+insertValues+`
    FROM x ORDER BY x.name, x.idempotency_key, x.ord
    ON CONFLICT DO NOTHING
    RETURNING id, queue, status, run_at),
timed AS (`+timersOfNew+`)
SELECT id, queue, status, run_at FROM made`)

// winnersSQL finds who has the key. It follows the insert, because what the
// insert ran into is not in the insert's own snapshot.
var winnersSQL = define("winners", `
SELECT x.id, e.id FROM unnest($1::uuid[], $2::text[], $3::text[]) AS x(id, name, idempotency_key)
CROSS JOIN LATERAL (SELECT e.id FROM workflows.executions e WHERE e.name = x.name AND e.idempotency_key = x.idempotency_key OFFSET 0) e`)

// Made answers one row of a create.
type Made struct {
	Inserted bool
	// Winner is the execution that has the idempotency key.
	Winner uuid.UUID
	Queue  string
	Status string
	RunAt  time.Time
}

// create inserts rows and keeps in made, by id, what became of each.
func (p *pipeline) create(rows []NewRow, made map[uuid.UUID]*Made) {
	if len(rows) == 0 {
		return
	}
	for i := range rows {
		made[rows[i].ID] = &Made{Winner: rows[i].ID}
	}
	p.add(createSQL, func(row pgx.CollectableRow) error {
		var id uuid.UUID
		var m Made
		if err := row.Scan(&id, &m.Queue, &m.Status, &m.RunAt); err != nil {
			return err
		}
		m.Inserted, m.Winner = true, id
		*made[id] = m
		return nil
	}, newRowArgs(rows)...)
	p.winners(rows, made)
}

func (p *pipeline) winners(rows []NewRow, made map[uuid.UUID]*Made) {
	var ids []uuid.UUID
	var names, keys []string
	for i := range rows {
		if key := rows[i].IdempotencyKey; key != nil {
			ids, names, keys = append(ids, rows[i].ID), append(names, rows[i].Name), append(keys, *key)
		}
	}
	if len(ids) == 0 {
		return
	}
	p.add(winnersSQL, func(row pgx.CollectableRow) error {
		var id, winner uuid.UUID
		if err := row.Scan(&id, &winner); err != nil {
			return err
		}
		made[id].Winner = winner
		return nil
	}, ids, names, keys)
}
