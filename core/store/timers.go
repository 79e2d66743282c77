package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// expireSQL ends what is past a deadline. A schedule deadline means nothing
// once the execution has started.
//
// A child waits for a parent that is past the deadline too, and was left out because
// somebody has it locked: a workflow is not told of what ends with itself.
var expireSQL = define("expire", `
WITH due AS (
    DELETE FROM workflows.timers t WHERE t.execution_id = ANY($1) AND t.kind IN ('deadline', 'schedule') AND t.due_at <= clock_timestamp()
        AND NOT (t.kind = 'deadline' AND EXISTS (
            SELECT FROM workflows.executions c JOIN workflows.executions p ON p.id = c.parent_id AND p.run = c.parent_run
            WHERE c.id = t.execution_id AND p.deadline_at <= t.due_at AND p.id <> ALL ($1)
                AND p.status IN ('scheduled', 'pending', 'running', 'suspended') OFFSET 0))
    RETURNING t.execution_id AS id, t.kind),
x AS (SELECT id, bool_or(kind = 'deadline') AS deadline FROM due GROUP BY 1),
done AS (
    UPDATE workflows.executions e SET status = 'failed', finished_at = clock_timestamp(), parked = NULL,
        error = CASE WHEN x.deadline THEN
            json_build_object('type', 'ExecutionTimeout', 'message', 'the execution did not end within its timeout', 'non_retryable', true, 'language', 'core')
        ELSE json_build_object('type', 'ScheduleTimeout', 'message', 'no worker started the execution within its schedule timeout', 'non_retryable', true, 'language', 'core') END
    FROM x WHERE e.id = x.id AND e.status IN ('scheduled', 'pending', 'running', 'suspended') AND (x.deadline OR e.started_at IS NULL)
    RETURNING `+endedColumns+`, e.worker),`+settle+`
SELECT d.id, d.worker, `+toldColumns+` FROM done d LEFT JOIN told ON told.id = d.parent_id`)

// Expired is an execution that passed a deadline.
type Expired struct {
	ID     uuid.UUID
	Worker *uuid.UUID
	Told
}

// fireSQL turns due sleeps into events. Whoever deletes a timer fires it. Arrays stand
// for a join: see timersOfNew.
var fireSQL = define("fire", `
WITH due AS (
    DELETE FROM workflows.timers t WHERE t.execution_id = ANY($1) AND t.kind = 'sleep' AND t.due_at <= clock_timestamp()
    RETURNING t.execution_id AS id, t.run, t.sequence, t.due_at),
fresh AS MATERIALIZED (
    SELECT due.*, row_number() OVER (PARTITION BY due.id ORDER BY due.due_at, due.sequence) AS nth FROM due
    JOIN workflows.executions e ON e.id = due.id AND e.run = due.run AND e.status IN ('scheduled', 'pending', 'running', 'suspended')),
told AS (
    UPDATE workflows.executions e SET
        history_length = e.history_length + n.count,
        run_at = CASE WHEN e.status = 'suspended' THEN now() ELSE e.run_at END,
        status = CASE WHEN e.status = 'suspended' AND e.parked IS NULL THEN 'pending' ELSE e.status END
    FROM (SELECT id, count(*) FROM fresh GROUP BY 1) n WHERE e.id = n.id
    RETURNING e.id, e.run, e.kind, e.status, e.queue, e.worker, e.history_length, e.history_length - n.count AS base),
bases AS (SELECT array_agg(id) AS ids, array_agg(base) AS bases FROM told),
events AS (
    INSERT INTO workflows.history (execution_id, run, position, type, sequence, at)
    SELECT fresh.id, fresh.run, bases.bases[place] + fresh.nth, 'timer_fired', fresh.sequence, clock_timestamp()
    FROM bases CROSS JOIN fresh CROSS JOIN LATERAL array_position(bases.ids, fresh.id) AS place WHERE place IS NOT NULL)
SELECT told.id, true, told.kind, told.status, true, told.queue, told.worker, told.history_length FROM told`)

// dueTimersSQL only looks: the rows are locked afterwards, executions first. Of one
// deadline, parents come before their children, which are younger.
var dueTimersSQL = define("due_timers", `
SELECT execution_id, kind FROM workflows.timers WHERE due_at <= now() ORDER BY due_at, execution_id LIMIT $1`)

// closedSQL removes the note to close children once none is left to cancel.
var closedSQL = define("closed", `
DELETE FROM workflows.timers t WHERE t.execution_id = ANY($1) AND t.kind = 'close' AND NOT EXISTS (
    SELECT FROM workflows.executions c WHERE c.parent_id = t.execution_id AND c.parent_run = t.run AND c.close_policy = 'cancel'
    AND c.cancel_requested_at IS NULL AND c.status IN ('scheduled', 'pending', 'running', 'suspended') OFFSET 0)`)

// childrenToCloseSQL lists a level of a cascade.
var childrenToCloseSQL = define("children_to_close", `
SELECT c.id FROM workflows.timers t JOIN workflows.executions c ON c.parent_id = t.execution_id AND c.parent_run = t.run
WHERE t.execution_id = ANY($1) AND t.kind = 'close' AND c.close_policy = 'cancel'
    AND c.cancel_requested_at IS NULL AND c.status IN ('scheduled', 'pending', 'running', 'suspended')
ORDER BY c.id LIMIT $2`)

// tickSQL is all that an idle worker asks for: what is due, and when the next
// thing will be, within the look-ahead.
var tickSQL = define("tick", `
SELECT now(),
    (SELECT min(due_at) FROM workflows.timers WHERE due_at <= now() + $2 * interval '1 ms'),
    (SELECT min(run_at) FROM workflows.executions WHERE status = 'scheduled' AND run_at <= now() + $2 * interval '1 ms'),
    ARRAY(SELECT q FROM unnest($1::text[]) q WHERE EXISTS (
        SELECT FROM workflows.executions WHERE status = 'pending' AND crashes < 2 AND queue = q OFFSET 0)),
    (SELECT min(e.run_at) FROM workflows.executions e WHERE e.status = 'pending' AND e.crashes >= 2 AND e.queue = ANY($1)
        AND (e.kind <> 'workflow' OR e.language IS NULL OR e.language = ANY($4::text[]))),
    coalesce((SELECT min(w.id::text) FROM workflows.workers w WHERE w.status = 'active' AND w.queues && $1::text[]) = ANY($3::text[]), false),
    ARRAY(SELECT id FROM workflows.workers w WHERE w.status IN ('active', 'draining')
        AND w.heartbeat_at < now() - w.heartbeat_timeout_ms * interval '0.4 ms'
        OR w.status IN ('dead', 'stopped') AND EXISTS (SELECT FROM workflows.executions e WHERE e.worker = w.id AND e.status = 'running' OFFSET 0))`)

// Due is what a tick found.
type Due struct {
	Now     time.Time
	Timer   *time.Time
	Promote *time.Time
	Queues  []string
	// Suspect is since when something that crashed its worker twice has been due.
	Suspect *time.Time
	// First: a worker of ours comes first among those that serve these queues.
	First bool
	// Silent workers have missed a beat, or are gone and still hold something.
	Silent []uuid.UUID
}

var promoteSQL = define("promote", `
WITH due AS (
    SELECT id FROM workflows.executions WHERE status = 'scheduled' AND run_at <= now() ORDER BY run_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED),
promoted AS (UPDATE workflows.executions e SET status = 'pending' FROM due WHERE e.id = due.id RETURNING e.queue)
SELECT queue, count(*) FROM promoted GROUP BY 1`)

// Tick looks for what is due. It runs on a connection of its own kind.
func (s *Store) Tick(ctx context.Context, queues []string, lookAhead time.Duration, ours, languages []string) (Due, error) {
	var d Due
	err := s.queryOn(ctx, s.control, tickSQL, func(row pgx.CollectableRow) error {
		return row.Scan(&d.Now, &d.Timer, &d.Promote, &d.Queues, &d.Suspect, &d.First, &d.Silent)
	}, queues, lookAhead.Milliseconds(), ours, languages)
	return d, err
}

// Promote makes up to limit scheduled executions pending and answers their queues.
func (s *Store) Promote(ctx context.Context, limit int) (queues []string, promoted int, err error) {
	err = s.query(ctx, promoteSQL, func(row pgx.CollectableRow) error {
		var queue string
		var n int
		if err := row.Scan(&queue, &n); err != nil {
			return err
		}
		queues, promoted = append(queues, queue), promoted+n
		return nil
	}, limit)
	return queues, promoted, err
}

// DueTimers answers executions with due timers, by kind of timer.
func (s *Store) DueTimers(ctx context.Context, limit int) (map[string][]uuid.UUID, error) {
	due := map[string][]uuid.UUID{}
	err := s.query(ctx, dueTimersSQL, func(row pgx.CollectableRow) error {
		var id uuid.UUID
		var kind string
		if err := row.Scan(&id, &kind); err != nil {
			return err
		}
		due[kind] = append(due[kind], id)
		return nil
	}, limit)
	return due, err
}

// Fire fires the due sleeps of executions.
func (s *Store) Fire(ctx context.Context, ids []uuid.UUID) (fired []Woken, err error) {
	if ids, err = s.lockable(ctx, ids); err != nil || len(ids) == 0 {
		return nil, err
	}
	p := s.pipeline()
	p.add(lockSQL, nil, ids, []uuid.UUID{}, []int32{})
	p.add(fireSQL, func(row pgx.CollectableRow) error {
		var w Woken
		err := row.Scan(w.targets()...)
		fired = append(fired, w)
		return err
	}, ids)
	return fired, p.run(ctx, s.pool)
}

// Expire ends executions that are past a deadline.
func (s *Store) Expire(ctx context.Context, ids []uuid.UUID) (expired []Expired, err error) {
	if ids, err = s.lockable(ctx, ids); err != nil || len(ids) == 0 {
		return nil, err
	}
	p := s.pipeline()
	p.add(lockSQL, nil, ids, []uuid.UUID{}, []int32{})
	p.add(expireSQL, func(row pgx.CollectableRow) error {
		var e Expired
		if err := scanInto(row, []any{&e.ID, &e.Worker}, e.targets()); err != nil {
			return err
		}
		expired = append(expired, e)
		return nil
	}, ids)
	return expired, p.run(ctx, s.pool)
}

// ChildrenToClose lists children of ended parents that are still to be cancelled.
func (s *Store) ChildrenToClose(ctx context.Context, parents []uuid.UUID, limit int) (children []uuid.UUID, err error) {
	err = s.query(ctx, childrenToCloseSQL, func(row pgx.CollectableRow) error {
		var id uuid.UUID
		if err := row.Scan(&id); err != nil {
			return err
		}
		children = append(children, id)
		return nil
	}, parents, limit)
	return children, err
}

// Closed forgets the notes of parents whose children are all taken care of.
func (s *Store) Closed(ctx context.Context, parents []uuid.UUID) error {
	return s.query(ctx, closedSQL, func(pgx.CollectableRow) error { return nil }, parents)
}
