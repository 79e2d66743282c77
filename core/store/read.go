package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

const executionColumns = `e.id, e.kind, e.name, e.queue, e.status, e.priority, e.run, e.root_id, e.parent_id, e.sequence, e.idempotency_key,
    e.worker, e.attempts, e.failures, e.crashes, e.releases, e.history_length, e.parked, e.cancel_requested_at, e.created_at, e.run_at,
    e.started_at, e.finished_at, e.deadline_at, e.language, e.version, coalesce(e.args, '[]')::text, coalesce(e.kwargs, '{}')::text,
    e.result::text, e.error::text, e.progress::text, e.state::text`

func scanExecution(row pgx.CollectableRow) (model.Execution, error) {
	var e model.Execution
	var args, kwargs, result, failure, progress, state *string
	err := row.Scan(&e.ID, &e.Kind, &e.Name, &e.Queue, &e.Status, &e.Priority, &e.Run, &e.RootID, &e.ParentID, &e.Sequence, &e.IdempotencyKey,
		&e.Worker, &e.Attempts, &e.Failures, &e.Crashes, &e.Releases, &e.HistoryLength, &e.Parked, &e.CancelRequestedAt, &e.CreatedAt, &e.RunAt,
		&e.StartedAt, &e.FinishedAt, &e.DeadlineAt, &e.Language, &e.Version, &args, &kwargs, &result, &failure, &progress, &state)
	e.Args, e.Kwargs, e.Result, e.Error, e.Progress, e.State = raw(args), raw(kwargs), raw(result), raw(failure), raw(progress), raw(state)
	return e, err
}

var getSQL = define("get", `SELECT e.awaited, `+executionColumns+` FROM workflows.executions e WHERE e.id = ANY($1)`)

// Read is an execution and whether its end will be announced.
type Read struct {
	model.Execution
	Awaited bool
}

// Get reads executions; those that do not exist are left out.
func (s *Store) Get(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]Read, error) {
	found := make(map[uuid.UUID]Read, len(ids))
	return found, twice(ctx, func() error {
		p := s.pipeline()
		p.get(ids, found)
		return p.run(ctx, s.pool)
	}, always)
}

func (p *pipeline) get(ids []uuid.UUID, found map[uuid.UUID]Read) {
	if len(ids) == 0 {
		return
	}
	p.add(getSQL, func(row pgx.CollectableRow) error {
		var r Read
		var err error
		r.Execution, err = scanExecution(offsetRow{row, []any{&r.Awaited}})
		found[r.ID] = r
		return err
	}, ids)
}

var awaitSQL = define("await", `
UPDATE workflows.executions SET awaited = true
WHERE id IN (SELECT id FROM workflows.executions WHERE id = ANY($1) AND NOT awaited AND finished_at IS NULL ORDER BY id FOR NO KEY UPDATE)`)

// Await asks for the end of executions to be announced.
func (s *Store) Await(ctx context.Context, ids []uuid.UUID) error {
	return s.query(ctx, awaitSQL, func(pgx.CollectableRow) error { return nil }, ids)
}

// endsSQL looks for deadlines only where nobody else does: $2.
var endsSQL = define("ends", `
SELECT id, final FROM (
    SELECT e.id, e.finished_at IS NOT NULL AS final, $2 AND EXISTS (
        SELECT FROM workflows.timers t WHERE t.execution_id = e.id AND t.kind IN ('deadline', 'schedule') AND t.due_at <= now() OFFSET 0) AS overdue
    FROM workflows.executions e WHERE e.id = ANY($1)) x
WHERE final OR overdue`)

// Ends answers which of the executions have ended and, if asked, which of the
// others are past a deadline.
func (s *Store) Ends(ctx context.Context, ids []uuid.UUID, deadlines bool) (final, overdue []uuid.UUID, err error) {
	err = s.query(ctx, endsSQL, func(row pgx.CollectableRow) error {
		var id uuid.UUID
		var ended bool
		err := row.Scan(&id, &ended)
		if ended {
			final = append(final, id)
		} else {
			overdue = append(overdue, id)
		}
		return err
	}, ids, deadlines)
	return final, overdue, err
}

// listText walks ids downwards, which is back in time, over at most $9 rows a
// call: a filter that matches next to nothing must not read the whole table.
// It always answers how far it came, in a row without an execution.
const listText = `
WITH page AS MATERIALIZED (
    SELECT * FROM workflows.executions e WHERE ($8::uuid IS NULL OR e.id < $8) AND %s ORDER BY e.id DESC LIMIT $9)
SELECT (SELECT count(*) FROM page) = $9, (SELECT id FROM page ORDER BY id LIMIT 1), ` + executionColumns + `
FROM (SELECT 1) one LEFT JOIN page e ON (cardinality($1::text[]) = 0 OR e.status = ANY($1))
    AND ($2 = '' OR e.kind = $2) AND ($3 = '' OR e.name = $3) AND ($4 = '' OR e.queue = $4)
    AND ($5::uuid IS NULL OR e.parent_id = $5) AND ($6::uuid IS NULL OR e.root_id = $6)
    AND (NOT $7 OR e.parked IS NOT NULL)
ORDER BY e.id DESC LIMIT $10`

var (
	listSQL = define("list", fmt.Sprintf(listText, "true"))
	// Two filters have an index, and would scan for long without it.
	listAttentionSQL = define("list_attention", fmt.Sprintf(listText, "(e.status = 'failed' OR e.parked IS NOT NULL)"))
	listChildrenSQL  = define("list_children", fmt.Sprintf(listText, "e.parent_id = $5"))
)

// List answers a page, newest first, and where the next one starts.
func (s *Store) List(ctx context.Context, r model.ListExecutionsRequest, before *uuid.UUID, scan int) (page []model.Execution, next *uuid.UUID, err error) {
	statuses := make([]string, len(r.Status))
	for i, status := range r.Status {
		statuses[i] = string(status)
	}
	var more bool
	var last *uuid.UUID
	err = s.query(ctx, listStatement(r), func(row pgx.CollectableRow) error {
		execution, found, err := scanListed(row, &more, &last)
		if found {
			page = append(page, execution)
		}
		return err
	}, statuses, string(r.Kind), r.Name, r.Queue, r.Parent, r.Root, r.Parked, before, scan, r.Limit)
	switch {
	case err != nil:
		return nil, nil, err
	case len(page) == r.Limit:
		next = &page[len(page)-1].ID
	case more:
		next = last
	}
	return page, next, nil
}

func listStatement(r model.ListExecutionsRequest) *statement {
	switch {
	case r.Parent != nil:
		return listChildrenSQL
	case r.Parked, len(r.Status) == 1 && r.Status[0] == model.Failed:
		return listAttentionSQL
	default:
		return listSQL
	}
}

// scanListed reads a row that may hold only how far the scan came.
func scanListed(row pgx.CollectableRow, more *bool, last **uuid.UUID) (execution model.Execution, found bool, err error) {
	values := row.RawValues()
	if values[2] == nil {
		var rest [32]any
		err = scanInto(row, []any{more, last}, rest[:])
		return execution, false, err
	}
	execution, err = scanExecution(offsetRow{row, []any{more, last}})
	return execution, true, err
}

// offsetRow scans a prefix before what its user asks for.
type offsetRow struct {
	pgx.CollectableRow
	prefix []any
}

func (r offsetRow) Scan(targets ...any) error {
	return r.CollectableRow.Scan(append(r.prefix, targets...)...)
}

var historySQL = define("history", `
SELECT `+eventColumns+` FROM workflows.history h WHERE h.execution_id = $1 AND h.run = $2 AND h.position > $3 ORDER BY h.position LIMIT $4`)

// History reads events after a position.
func (s *Store) History(ctx context.Context, id uuid.UUID, run, after, limit int) (events []model.Event, err error) {
	err = s.query(ctx, historySQL, func(row pgx.CollectableRow) error {
		var e model.Event
		var payload *string
		if err := scanInto(row, scanEvent(&e, &payload)); err != nil {
			return err
		}
		e.Payload = raw(payload)
		events = append(events, e)
		return nil
	}, id, run, after, limit)
	return events, err
}

// statsSQL counts what is not finished. Suspended rows have no index, so it reads
// the table: it is for people, not for a loop.
var statsSQL = define("stats", `
SELECT queue, count(*) FILTER (WHERE status = 'scheduled'), count(*) FILTER (WHERE status = 'pending'),
    count(*) FILTER (WHERE status = 'running'), count(*) FILTER (WHERE status = 'suspended'), count(*) FILTER (WHERE status = 'failed'),
    coalesce(extract(epoch FROM now() - min(run_at) FILTER (WHERE status = 'pending')) * 1000, 0)::bigint
FROM workflows.executions WHERE status IN ('scheduled', 'pending', 'running', 'suspended', 'failed')
GROUP BY queue ORDER BY queue`)

var listWorkersSQL = define("list_workers", `
SELECT w.id, w.name, w.queues, w.concurrency, w.language, w.runtime, w.sdk_version, w.status, w.started_at, w.heartbeat_at,
    (SELECT count(*) FROM workflows.executions e WHERE e.worker = w.id AND e.status = 'running')
FROM workflows.workers w ORDER BY w.started_at DESC LIMIT 1000`)

var serverStatsSQL = define("server_stats", `SELECT current_setting('server_version'), now()`)

// Stats counts what is there.
func (s *Store) Stats(ctx context.Context) (model.StatsReply, error) {
	r := model.StatsReply{Schema: s.schema, Queues: []model.QueueStats{}, Workers: []model.Worker{}}
	p := s.pipeline()
	p.add(serverStatsSQL, func(row pgx.CollectableRow) error { return row.Scan(&r.ServerVersion, &r.ServerTime) })
	p.add(statsSQL, func(row pgx.CollectableRow) error {
		var q model.QueueStats
		err := row.Scan(&q.Queue, &q.Scheduled, &q.Pending, &q.Running, &q.Suspended, &q.Failed, &q.OldestPendingMS)
		r.Queues = append(r.Queues, q)
		return err
	})
	p.add(listWorkersSQL, func(row pgx.CollectableRow) error {
		var w model.Worker
		err := row.Scan(&w.ID, &w.Name, &w.Queues, &w.Concurrency, &w.Language, &w.Runtime, &w.SDKVersion, &w.Status, &w.StartedAt, &w.HeartbeatAt, &w.Running)
		r.Workers = append(r.Workers, w)
		return err
	})
	return r, p.run(ctx, s.pool)
}
