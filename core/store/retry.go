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
	err = s.query(ctx, resumeSQL, func(row pgx.CollectableRow) error {
		changed = true
		return row.Scan(&queue)
	}, id)
	return queue, changed, err
}

// retrySQL starts the next run of what failed or was cancelled. A workflow goes
// on from a copy of its history, without what made it fail: the command that
// its error names is voided, so that the code asks for it anew.
var retrySQL = define("retry", `
WITH old AS (
    SELECT id, run, error, history_length, CASE WHEN json_typeof(error->'sequence') = 'number' THEN (error->>'sequence')::int END AS voided
    FROM workflows.executions WHERE id = $1 AND status IN ('failed', 'cancelled')),
kept AS (
    SELECT h.*, row_number() OVER (ORDER BY h.position) AS place FROM old JOIN workflows.history h ON h.execution_id = old.id AND h.run = old.run
    WHERE (h.sequence IS NULL OR h.sequence IS DISTINCT FROM old.voided) AND h.type <> 'cancel_requested'),
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
    result = NULL, error = NULL, failures = 0, crashes = 0, deadline_at = NULL, reported = true,
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
