package store

import (
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// endedColumns are what a statement's "done" must return for settle.
const endedColumns = `e.id, e.run, e.kind, e.name, e.status, e.parent_id, e.parent_run, e.sequence, e.reported, e.awaited, e.attempts, e.result, e.error, e.run_at, e.queue`

// settle is what follows every end of an execution, whoever caused it: its
// timers go, the closing of its children is noted, its parent gets the event
// and wakes. It reads "done", the rows that the statement has just written, and
// leaves "told", the parents.
//
// A row can be written once a statement, so no row of "done" may be a parent
// that is to be told: a statement that ends executions writes nothing else.
// Parents that end in the same statement accept no events and are left out. They are
// found by arrays: see timersOfNew.
var settle = settleRoots + `,
news AS (
    SELECT *, row_number() OVER (PARTITION BY parent_id ORDER BY id) AS nth FROM ended WHERE parent_id IS NOT NULL AND NOT reported),
told AS (
    UPDATE workflows.executions p SET
        history_length = p.history_length + n.count,
        run_at = CASE WHEN p.status = 'suspended' THEN now() ELSE p.run_at END,
        status = CASE WHEN p.status = 'suspended' AND p.parked IS NULL THEN 'pending' ELSE p.status END
    FROM (SELECT parent_id, parent_run, count(*) FROM news GROUP BY 1, 2) n
    WHERE p.id = n.parent_id AND p.run = n.parent_run AND p.status IN ('scheduled', 'pending', 'running', 'suspended')
        AND p.id <> ALL (ARRAY(SELECT id FROM ended))
    RETURNING p.id, p.run, p.queue, p.status, p.worker, p.history_length, p.history_length - n.count AS base),
bases AS (SELECT array_agg(id) AS ids, array_agg(run) AS runs, array_agg(base) AS bases FROM told),
events AS (
    INSERT INTO workflows.history (execution_id, run, position, type, sequence, name, payload, at)
    SELECT news.parent_id, bases.runs[place], bases.bases[place] + news.nth,
        CASE news.kind WHEN 'workflow' THEN 'child_' ELSE 'activity_' END || news.status,
        news.sequence, news.name,
        CASE WHEN news.status = 'completed' THEN news.result
            ELSE json_build_object('error', news.error, 'attempts', news.attempts) END,
        clock_timestamp()
    FROM bases CROSS JOIN news CROSS JOIN LATERAL array_position(bases.ids, news.parent_id) AS place WHERE place IS NOT NULL)`

// settleRoots does for executions that have no parent.
var settleRoots = `
ended AS MATERIALIZED (SELECT * FROM done WHERE status IN ('completed', 'failed', 'cancelled')),
untimed AS (DELETE FROM workflows.timers t USING ended WHERE t.execution_id = ended.id AND t.kind <> 'close'),
closing AS (
    INSERT INTO workflows.timers (execution_id, run, kind, sequence, due_at)
    SELECT ended.id, ended.run, 'close', ended.run, now() FROM ended
    WHERE ended.kind = 'workflow' AND ` + hasChildrenToClose("ended") + `
    ON CONFLICT DO NOTHING RETURNING execution_id)`

// hasChildrenToClose says whether the run of a row has children that end with it.
func hasChildrenToClose(row string) string {
	return `EXISTS (
        SELECT FROM workflows.executions c WHERE c.parent_id = ` + row + `.id AND c.parent_run = ` + row + `.run AND c.close_policy = 'cancel'
        AND c.status IN ('scheduled', 'pending', 'running', 'suspended') OFFSET 0)`
}

// toldColumns read what settle leaves, joined to done as d.
const (
	toldColumns   = `told.id, told.queue, told.status, told.worker, told.history_length, ` + endsColumns
	noToldColumns = `NULL::uuid, NULL::text, NULL::text, NULL::uuid, NULL::int, ` + endsColumns
	endsColumns   = `coalesce(d.awaited, false), EXISTS (SELECT FROM closing WHERE closing.execution_id = d.id)`
)

// nothingTold stands for toldColumns where nothing ended.
const nothingTold = `NULL::uuid, NULL::text, NULL::text, NULL::uuid, NULL::int, false, false`

// Told is what a settled execution means to others.
type Told struct {
	// Parent got an event; nil when there was none to tell.
	Parent        *uuid.UUID
	ParentQueue   *string
	ParentStatus  *string
	ParentWorker  *uuid.UUID
	HistoryLength *int
	// Awaited: somebody outside waits for the end.
	Awaited bool
	// Closing: children are to be cancelled.
	Closing bool
}

func (t *Told) targets() []any {
	return []any{&t.Parent, &t.ParentQueue, &t.ParentStatus, &t.ParentWorker, &t.HistoryLength, &t.Awaited, &t.Closing}
}

// scanInto reads a row into the targets given one after another.
func scanInto(row pgx.CollectableRow, targets ...[]any) error {
	var all []any
	for _, t := range targets {
		all = append(all, t...)
	}
	return row.Scan(all...)
}
