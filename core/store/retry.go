package store

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

// resumeSQL lets a parked workflow go on.
var resumeSQL = define("resume", `
UPDATE workflows.executions SET status = 'pending', parked = NULL, run_at = now()
WHERE id = $1 AND status = 'suspended' AND parked IS NOT NULL
RETURNING queue`)

// Resume lets a parked workflow go on, and answers its queue.
func (s *Store) Resume(ctx context.Context, id uuid.UUID) (queue string, changed bool, err error) {
	err = s.queryOn(ctx, s.pool, resumeSQL, func(row pgx.CollectableRow) error {
		changed = true
		return row.Scan(&queue)
	}, id)
	return queue, changed, err
}

// retrySQL starts the next run of what failed or was cancelled. A workflow goes
// on from a copy of its history up to where it went wrong: the request to stop,
// or the failure that nobody caught. What it asked for later belongs to the
// cleaning up. Of what it had asked for before, only what had an outcome is
// kept: timers and children went with the old run, so the code asks anew. And so
// it does for what failed in the same moment or later: it never heard of that, or
// it would fail once more at once.
var retrySQL = define("retry", `
WITH old AS (
    SELECT id, run, error, history_length, failed_sequence AS voided FROM workflows.executions WHERE id = $1 AND status IN ('failed', 'cancelled')),
h AS MATERIALIZED (SELECT h.* FROM old JOIN workflows.history h ON h.execution_id = old.id AND h.run = old.run),
wrong AS (
    SELECT coalesce(min(h.position), 2147483647) AS position FROM h, old
    WHERE h.type = 'cancel_requested' OR (h.sequence = old.voided AND h.type IN ('activity_failed', 'child_failed', 'step_failed', 'activity_cancelled', 'child_cancelled'))),
asked AS (SELECT coalesce(max(h.sequence), 0) AS last FROM h, wrong WHERE h.position < wrong.position),
settled AS (
    SELECT h.sequence FROM h, old, asked WHERE h.sequence <= asked.last AND h.sequence IS DISTINCT FROM old.voided
        AND h.type NOT IN ('activity_scheduled', 'child_started', 'timer_started')
    EXCEPT SELECT h.sequence FROM h, wrong WHERE h.type IN ('activity_cancelled', 'child_cancelled', 'timer_cancelled')
        OR (h.position > wrong.position AND h.type IN ('activity_failed', 'child_failed', 'step_failed'))),
kept AS (
    SELECT h.*, row_number() OVER (ORDER BY h.position) AS place FROM h
    WHERE h.type <> 'cancel_requested' AND (h.sequence IS NULL OR h.sequence IN (SELECT sequence FROM settled))),
copied AS (
    INSERT INTO workflows.history (execution_id, run, position, type, sequence, name, key, payload, at)
    SELECT execution_id, run + 1, place, type, sequence, name, key, payload, at FROM kept),
marked AS (
    INSERT INTO workflows.history (execution_id, run, position, type, sequence, payload, at)
    SELECT old.id, old.run + 1, (SELECT count(*) FROM kept) + 1, 'retried', NULL,
        json_build_object('error', old.error, 'voided', old.voided), clock_timestamp()
    FROM old WHERE old.history_length > 0)
UPDATE workflows.executions e SET
    status = 'pending', run = e.run + 1, run_at = now(), finished_at = NULL, cancel_requested_at = NULL, parked = NULL,
    error = NULL, failed_sequence = NULL, failures = 0, crashes = 0, deadline_at = NULL, reported = true,
    suspended_position = NULL,
    history_length = CASE WHEN old.history_length > 0 THEN (SELECT count(*) FROM kept) + 1 ELSE 0 END
FROM old WHERE e.id = old.id
RETURNING e.queue`)

// Retry starts the next run of a finished execution, and answers its queue.
func (s *Store) Retry(ctx context.Context, id uuid.UUID) (queue string, changed bool, err error) {
	p := s.pipeline()
	p.add(lockSQL, nil, []uuid.UUID{id}, []uuid.UUID{}, []int32{})
	p.add(retrySQL, func(row pgx.CollectableRow) error {
		changed = true
		return row.Scan(&queue)
	}, id)
	return queue, changed, p.run(ctx, s.pool)
}

var statusSQL = define("status", `SELECT status FROM workflows.executions WHERE id = $1`)

// Status reads where an execution stands.
func (s *Store) Status(ctx context.Context, id uuid.UUID) (status model.Status, found bool, err error) {
	err = s.query(ctx, statusSQL, func(row pgx.CollectableRow) error {
		found = true
		return row.Scan(&status)
	}, id)
	return status, found, err
}
