package store

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

// Early is the lease of a holder who was told of a workflow before its row is there. The
// row is inserted as the holder has been told, if the worker is alive and does not drain.
// Otherwise it goes through the queue, and the lease never held.
type Early struct {
	Worker uuid.UUID
	Token  uuid.UUID
	// At is when it started, as its holder was told, and Started the payload of that event.
	At      time.Time
	Started model.Payload
}

func (e *Early) lease() model.Lease { return model.Lease{Epoch: 1, Token: e.Token} }

// Claimed is what the holder is told.
func (e *Early) Claimed(row *NewRow) model.Claimed {
	started := string(e.Started)
	handed := HandedOver{Root: row.ID, At: &e.At, Started: &started}
	c := handed.ClaimedOf(row, e.Token)
	c.Early = true
	return c
}

// earlySQL inserts roots of which nothing has to be decided but whether their worker is alive. Those
// that end with the commit that starts them are inserted as they end: an update behind it would
// write each row and its indexes twice.
var earlySQL = define("create_early", `
WITH me AS MATERIALIZED (SELECT w.id, w.language FROM workflows.workers w WHERE w.id = $1 AND w.status = 'active'),
given_rows AS MATERIALIZED (SELECT * FROM `+unnest(3, "x", "id uuid", "name text", "queue text", "priority smallint", "awaited boolean",
	"attempt_timeout_ms bigint", "version text", "retry text", "args text", "kwargs text", "token uuid", "at timestamptz", "ends boolean", "result text")+`),
x AS MATERIALIZED (
    SELECT g.*, me.id AS worker, me.language, me.id IS NOT NULL AND g.ends AS ended FROM given_rows g
    LEFT JOIN me ON true),
made AS (
    INSERT INTO workflows.executions (id, root_id, kind, name, queue, status, priority, awaited, run_at, created_at,
        attempt_timeout_ms, version, retry, args, kwargs, worker, token, epoch, attempts, started_at, language, history_length, result, finished_at)
    SELECT x.id, x.id, 'workflow', x.name, x.queue, CASE WHEN x.worker IS NULL THEN 'pending' WHEN x.ended THEN 'completed' ELSE 'running' END,
        x.priority, x.awaited, x.at, x.at,
        nullif(x.attempt_timeout_ms, 0), x.version, x.retry::json, x.args::json, x.kwargs::json, x.worker,
        CASE WHEN x.worker IS NOT NULL THEN x.token END, (x.worker IS NOT NULL)::int, (x.worker IS NOT NULL)::int,
        CASE WHEN x.worker IS NOT NULL THEN x.at END, x.language, (x.worker IS NOT NULL)::int,
        CASE WHEN x.ended THEN x.result::json END, CASE WHEN x.ended THEN clock_timestamp() END
    FROM x ORDER BY x.ord
    ON CONFLICT DO NOTHING
    RETURNING id, queue, status, run_at, awaited, worker, started_at, finished_at),
started AS (
    INSERT INTO workflows.history (execution_id, run, position, type, payload, at)
    SELECT made.id, 1, 1, 'started', $2::json, made.started_at FROM made WHERE made.worker IS NOT NULL)
SELECT made.id, made.queue, made.status, made.run_at, made.awaited, made.finished_at FROM made`)

// createEarly inserts those rows that have a holder already, and writes the ends that come with them.
func (p *pipeline) createEarly(rows []NewRow, ends map[uuid.UUID]*plainWrite, made map[uuid.UUID]*Made) {
	byHolder := map[uuid.UUID][]*NewRow{}
	var holders []uuid.UUID
	for i := range rows {
		row := &rows[i]
		if row.Early == nil {
			continue
		}
		if byHolder[row.Early.Worker] == nil {
			holders = append(holders, row.Early.Worker)
		}
		byHolder[row.Early.Worker] = append(byHolder[row.Early.Worker], row)
		made[row.ID] = &Made{Winner: row.ID}
	}
	for _, holder := range holders {
		p.add(earlySQL, func(row pgx.CollectableRow) error {
			var id uuid.UUID
			var m Made
			var awaited bool
			var ended *time.Time
			if err := row.Scan(&id, &m.Queue, &m.Status, &m.RunAt, &awaited, &ended); err != nil {
				return err
			}
			if ended != nil {
				m.Status = string(model.Running) // that was before
				ends[id].answer(&plainAnswer{kind: model.Workflow, queue: m.Queue, awaited: awaited, at: *ended})
			}
			m.Inserted, m.Winner = true, id
			*made[id] = m
			return nil
		}, earlyArgs(byHolder[holder], ends)...)
	}
}

func earlyArgs(rows []*NewRow, ends map[uuid.UUID]*plainWrite) []any {
	n := len(rows)
	ids, tokens, priorities := make([]uuid.UUID, n), make([]uuid.UUID, n), make([]int16, n)
	names, queues, awaited := make([]string, n), make([]string, n), make([]bool, n)
	timeouts, versions, retries := make([]int64, n), make([]*string, n), make([]*string, n)
	args, kwargs, ats := make([]*string, n), make([]*string, n), make([]time.Time, n)
	ended, results := make([]bool, n), make([]*string, n)
	first := rows[0].Early
	for i, r := range rows {
		ids[i], names[i], queues[i], priorities[i], awaited[i] = r.ID, r.Name, r.Queue, int16(*r.Priority), r.Awaited
		timeouts[i], versions[i], retries[i] = r.AttemptTimeoutMS, r.Version, retryText(r.Retry)
		args[i], kwargs[i], tokens[i], ats[i] = text(r.Args), text(r.Kwargs), r.Early.Token, r.Early.At
		if end := ends[r.ID]; end != nil {
			ended[i], results[i] = true, text(orNull(end.finish.Result))
		}
	}
	return []any{
		first.Worker, text(first.Started),
		ids, names, queues, priorities, awaited, timeouts, versions, retries, args, kwargs, tokens, ats, ended, results,
	}
}
