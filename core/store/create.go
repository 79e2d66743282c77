package store

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

// insertColumns are what both a root and a child are inserted with.
const insertColumns = `id, root_id, parent_id, parent_run, sequence, close_policy, reported, kind, name, queue, idempotency_key,
    status, priority, awaited, run_at, created_at, finished_at, deadline_at, attempt_timeout_ms, version, retry, args, kwargs,
    worker, token, epoch, attempts, started_at, language, history_length`

// insertValues read a new row x with its parent's deadline and its holder; the caller
// puts root and the parent's run in front of it.
const insertValues = `x.sequence, x.close_policy, x.dead, x.kind, x.name, x.queue, x.idempotency_key,
    CASE WHEN x.dead THEN 'cancelled' WHEN x.delay_ms > 0 OR x.run_at > now() THEN 'scheduled' WHEN x.worker IS NOT NULL THEN 'running' ELSE 'pending' END,
    x.priority, x.awaited, coalesce(x.run_at, now() + greatest(x.delay_ms, 0) * interval '1 ms'), now(),
    CASE WHEN x.dead THEN now() END,
    ` + deadlineOfNew + `,
    nullif(x.attempt_timeout_ms, 0), x.version, x.retry::json, x.args::json, x.kwargs::json,
    x.worker, x.token, (x.worker IS NOT NULL)::int, (x.worker IS NOT NULL)::int, x.taken_at,
    CASE WHEN x.kind = 'workflow' THEN x.holder_language END, (x.worker IS NOT NULL AND x.kind = 'workflow')::int`

// madeColumns are what is asked of a row that was inserted.
const madeColumns = `id, root_id, kind, queue, status, run_at, deadline_at, worker, started_at`

// deadlineOfNew is a row's own deadline or its parent's, whichever is earlier.
const deadlineOfNew = `least(CASE WHEN x.timeout_ms > 0 THEN now() + x.timeout_ms * interval '1 ms' END, x.parent_deadline)`

// timersOfNew insert the deadlines of those rows in x that were made: a timer for
// an execution that was there already would end it. Made rows are compared by an array:
// a join of two of a statement's own results is planned for a row or two, and is
// quadratic in the batch.
const timersOfNew = `INSERT INTO workflows.timers (execution_id, run, kind, sequence, due_at)
    SELECT x.id, 1, t.kind, 0, t.due_at
    FROM x CROSS JOIN LATERAL (VALUES ('deadline', ` + deadlineOfNew + `),
        ('schedule', CASE WHEN x.schedule_timeout_ms > 0 THEN now() + x.schedule_timeout_ms * interval '1 ms' END)) AS t(kind, due_at)
    WHERE t.due_at IS NOT NULL AND NOT x.dead AND x.id = ANY (ARRAY(SELECT id FROM made))
    ON CONFLICT DO NOTHING`

// createText inserts roots. Keyed rows go in the order of their keys, which two
// batches with the same keys need in order not to deadlock.
const createText = `
WITH given_rows AS MATERIALIZED (SELECT * FROM %s),
%s
x AS MATERIALIZED (SELECT x.*, NULL::timestamptz AS parent_deadline, %s FROM given_rows x %s),
made AS (
    INSERT INTO workflows.executions (` + insertColumns + `)
    SELECT x.id, x.id, NULL, NULL, ` + insertValues + `
    FROM x ORDER BY x.name, x.idempotency_key, x.ord
    ON CONFLICT DO NOTHING
    RETURNING ` + madeColumns + `)
%s
SELECT made.id, made.queue, made.status, made.run_at, made.deadline_at, %s FROM made`

var newRows = unnest(1, "x", newRowTypes...)

// Most rows have neither deadline nor holder, and a statement costs by what it might write.
var (
	createSQL      = define("create", fmt.Sprintf(createText, newRows, "", noHolder+", NULL::uuid AS token", "", "", nothingHandedOver))
	createTimedSQL = define("create_timed", fmt.Sprintf(createText, newRows, "", noHolder+", NULL::uuid AS token", "", ", timed AS ("+timersOfNew+")", nothingHandedOver))
	createHeldSQL  = define("create_held", createHeld(""))

	createHeldTimedSQL = define("create_held_timed", createHeld(", timed AS ("+timersOfNew+")"))
)

func createHeld(timed string) string {
	return fmt.Sprintf(createText, newRows, holderOfNew(22)+",", holderColumns+", CASE WHEN me.id IS NOT NULL THEN $23::uuid END AS token", holderJoin, timed+", "+startedOfNew, handedOverColumns)
}

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
	HandedOver
}

// create inserts rows and keeps in made, by id, what became of each. Those that are
// handed over go to claimed; ends are those of rows that are inserted as they end.
func (p *pipeline) create(rows []NewRow, ends map[uuid.UUID]*plainWrite, to *Claim, made map[uuid.UUID]*Made, claimed *[]model.Claimed) {
	p.createEarly(rows, ends, made)
	rows = slices.DeleteFunc(slices.Clone(rows), func(r NewRow) bool { return r.Early != nil })
	if len(rows) == 0 {
		return
	}
	byID := make(map[uuid.UUID]*NewRow, len(rows))
	for i := range rows {
		byID[rows[i].ID] = &rows[i]
		made[rows[i].ID] = &Made{Winner: rows[i].ID}
	}
	stmt, args := createOf(rows, to)
	p.add(stmt, func(row pgx.CollectableRow) error {
		var id uuid.UUID
		var m Made
		if err := row.Scan(&id, &m.Queue, &m.Status, &m.RunAt, &m.DeadlineAt, &m.At, &m.Started); err != nil {
			return err
		}
		m.Inserted, m.Winner, m.Root = true, id, id
		*made[id] = m
		if m.At != nil {
			*claimed = append(*claimed, m.ClaimedOf(byID[id], to.Token))
		}
		return nil
	}, args...)
	p.winners(rows, made)
}

func createOf(rows []NewRow, to *Claim) (*statement, []any) {
	held, timed := false, false
	for i := range rows {
		held = held || rows[i].HandOver
		timed = timed || rows[i].TimeoutMS > 0 || rows[i].ScheduleTimeoutMS > 0
	}
	args := newRowArgs(rows)
	switch {
	case held && timed:
		return createHeldTimedSQL, append(args, to.Worker, to.Token, to.Spare)
	case held:
		return createHeldSQL, append(args, to.Worker, to.Token, to.Spare)
	case timed:
		return createTimedSQL, args
	}
	return createSQL, args
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
