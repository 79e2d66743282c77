package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

// Claim asks for due executions on behalf of a worker.
type Claim struct {
	Worker uuid.UUID
	Queues []string
	N      int
	// Token is made by the caller, so that a claim whose reply was lost can be told
	// from one that is still under way.
	Token uuid.UUID
	// Suspect asks for one execution that has crashed its worker twice.
	Suspect bool
	// Lacking are functions that the worker does not have.
	Lacking []model.FunctionName
	// Spare slots of the worker, beside N: what is due and ranks before what is handed over
	// has one of these.
	Spare int
	// Warm: the worker keeps what it suspended in memory and needs only later events of it.
	Warm bool
}

// claimSQL is LATERAL by queue: with queue = ANY the planner sorts every ready
// row of every queue. A workflow that was begun by another language is passed
// over: that code could not replay it.
//
// A workflow without a language begins, or begins another run: its run gets
// "started", and behind it the cancel that came between two runs. One that was put
// back for want of the function has its "started" already, which then names who
// begins in truth.
const claimText = `
WITH me AS (SELECT language, runtime, sdk_version FROM workflows.workers WHERE id = $1 AND status = 'active'),
due AS MATERIALIZED (
    SELECT p.id, p.fresh, p.begun_again, p.suspended_position, p.seen, p.token FROM me CROSS JOIN unnest($2::text[]) AS q(queue)
    CROSS JOIN LATERAL (
        SELECT e.id, e.priority, e.run_at, e.token,
            e.kind = 'workflow' AND e.language IS NULL AND NOT ` + isBegun + ` AS fresh,
            e.kind = 'workflow' AND e.language IS NULL AND ` + isBegun + ` AS begun_again,
            e.suspended_position AS seen, CASE WHEN $5 AND e.worker = $1 THEN e.suspended_position END AS suspended_position
        FROM workflows.executions e
        WHERE e.status = 'pending' AND %s AND e.queue = q.queue
            AND (e.kind <> 'workflow' OR e.language IS NULL OR e.language = me.language)
            AND (cardinality($6::text[]) = 0 OR e.kind || ' ' || e.name <> ALL ($6))
        ORDER BY e.priority DESC, e.run_at, e.id LIMIT $3
        FOR NO KEY UPDATE SKIP LOCKED) p
    ORDER BY p.priority DESC, p.run_at, p.id LIMIT $3),
claimed AS (
    UPDATE workflows.executions e SET
        status = 'running', worker = $1, epoch = e.epoch + 1, token = $4, alone = %s,
        suspended_position = due.suspended_position,
        attempts = e.attempts + (e.kind <> 'workflow' OR due.fresh)::int,
        started_at = coalesce(e.started_at, clock_timestamp()),
        language = CASE WHEN e.kind = 'workflow' THEN me.language END,
        history_length = e.history_length + CASE WHEN due.fresh THEN 1 + (e.cancel_requested_at IS NOT NULL)::int ELSE 0 END
    FROM due, me WHERE e.id = due.id
    RETURNING e.*, due.fresh, due.begun_again, due.seen, due.token AS previous_token),
renamed AS (
    UPDATE workflows.history h SET payload = json_build_object('language', me.language, 'runtime', me.runtime, 'sdk_version', me.sdk_version)
    FROM claimed c, me WHERE c.begun_again AND h.execution_id = c.id AND h.run = c.run AND h.type = 'started'),
started AS (
    INSERT INTO workflows.history (execution_id, run, position, type, payload, at)
    SELECT c.id, c.run, c.history_length - (c.cancel_requested_at IS NOT NULL)::int, 'started',
        json_build_object('language', me.language, 'runtime', me.runtime, 'sdk_version', me.sdk_version), clock_timestamp()
    FROM claimed c, me WHERE c.fresh
    UNION ALL
    SELECT c.id, c.run, c.history_length, 'cancel_requested', c.error, clock_timestamp() FROM claimed c WHERE c.fresh AND c.cancel_requested_at IS NOT NULL)
SELECT ` + claimedColumns + `
FROM claimed c ORDER BY c.priority DESC, c.run_at, c.id`

// claimedColumns read what scanClaimed needs.
const claimedColumns = `c.id, c.run, c.kind, c.name, c.queue, c.root_id, c.parent_id, c.epoch, c.priority, c.attempts, c.args::text, c.kwargs::text,
    c.retry::text, coalesce(c.attempt_timeout_ms, 0), c.deadline_at, c.cancel_requested_at IS NOT NULL,
    c.progress::text, c.version, c.history_length, coalesce(c.suspended_position, 0), coalesce(c.seen, 0), c.previous_token`

// isBegun looks into the history only of what was put back before.
const isBegun = `(e.releases > 0 AND EXISTS (
                SELECT FROM workflows.history h WHERE h.execution_id = e.id AND h.run = e.run AND h.type = 'started' OFFSET 0))`

var (
	claimSQL        = define("claim", fmt.Sprintf(claimText, "e.crashes < 2", "false"))
	claimSuspectSQL = define("claim_suspect", fmt.Sprintf(claimText, "e.crashes >= 2", "true"))
)

// claimedHistorySQL follows in the same pipeline: the events of what was just
// claimed, but for those that its holder still has in memory.
var claimedHistorySQL = define("claimed_history", `
SELECT e.id, `+eventColumns+`
FROM workflows.executions e JOIN workflows.history h ON h.execution_id = e.id AND h.run = e.run AND h.position > coalesce(e.suspended_position, 0)
WHERE e.worker = $1 AND e.status = 'running' AND e.token = $2 AND e.kind = 'workflow'
ORDER BY e.id, h.position`)

// Claim hands due executions to a worker that is alive.
func (s *Store) Claim(ctx context.Context, c Claim) (claimed []model.Claimed, err error) {
	p := s.pipeline()
	p.claim(c, &claimed)
	return claimed, p.run(ctx, s.control)
}

func (p *pipeline) claim(c Claim, claimed *[]model.Claimed) {
	stmt := claimSQL
	if c.Suspect {
		stmt = claimSuspectSQL
	}
	byID := map[uuid.UUID]int{}
	p.add(stmt, func(row pgx.CollectableRow) error {
		x, err := scanClaimed(row, c.Token)
		byID[x.ID] = len(*claimed)
		*claimed = append(*claimed, x)
		return err
	}, c.Worker, c.Queues, c.N, c.Token, c.Warm, names(c.Lacking))
	p.add(claimedHistorySQL, func(row pgx.CollectableRow) error {
		var id uuid.UUID
		var e model.Event
		var payload *string
		if err := scanInto(row, []any{&id}, scanEvent(&e, &payload)); err != nil {
			return err
		}
		e.Payload = raw(payload)
		if i, looked := byID[id]; looked { // what was handed over under the same token has its events
			(*claimed)[i].Events = append((*claimed)[i].Events, e)
		}
		return nil
	}, c.Worker, c.Token)
}

// names are functions as claimText compares them. No kind has a space in it.
func names(functions []model.FunctionName) []string {
	texts := make([]string, len(functions))
	for i, f := range functions {
		texts[i] = string(f.Kind) + " " + f.Name
	}
	return texts
}

func scanClaimed(row pgx.CollectableRow, token uuid.UUID) (model.Claimed, error) {
	var x model.Claimed
	var args, kwargs, retry, progress *string
	var previous *uuid.UUID
	err := row.Scan(&x.ID, &x.Run, &x.Kind, &x.Name, &x.Queue, &x.RootID, &x.ParentID, &x.Lease.Epoch, &x.Priority, &x.Attempt, &args, &kwargs,
		&retry, &x.AttemptTimeoutMS, &x.DeadlineAt, &x.CancelRequested,
		&progress, &x.Version, &x.Position, &x.After, &x.Seen, &previous)
	if err != nil {
		return x, err
	}
	x.Lease.Token, x.Args, x.Kwargs, x.Progress = token, raw(args), raw(kwargs), raw(progress)
	if retry != nil {
		err = json.Unmarshal([]byte(*retry), &x.Retry)
	}
	if x.Kind != model.Workflow {
		x.Position = 0
	}
	if x.After > 0 {
		x.PreviousToken = previous
	}
	return x, err
}
