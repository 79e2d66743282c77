package store

import (
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

// Finish is an outcome that a holder reports.
type Finish struct {
	ID       uuid.UUID
	Lease    model.Lease
	Position int
	// OK with Result, else Error.
	OK     bool
	Result model.Payload
	Error  model.Payload
	// ErrorType is compared with the types that are never retried.
	ErrorType string
	// Workflow: the caller has a position, and wants the news if it came too early.
	Workflow bool
	// FailedSequence is the command whose failure went uncaught, if one did.
	FailedSequence *int32
	// Final failures are not retried, whatever the policy says.
	Final bool
	// Continue begins the next run instead, unless the workflow was asked to stop.
	Continue *Continue
	// Root: it has no parent to tell.
	Root bool
	// Parent, where it is known and nothing but the child's own row and the parent's decide.
	Parent uuid.UUID
	// Plain: a result of what has, as far as is known, neither children nor timers: only its
	// own row decides, and that of its parent is told. Of one parent a batch has one such child.
	Plain bool
	// Resume the parent of a plain one, if it can be.
	Resume bool
}

// Finished is what became of an outcome.
type Finished struct {
	// Found is false when there is no such execution.
	Found bool
	// Held is true when the lease held and the outcome, or news, was decided on.
	Held bool
	// Status of the row now; for a held one after the write.
	Status model.Status
	// SameLease: the row still bears the lease, which tells a repeat from a stale write.
	SameLease bool
	RunAt     time.Time
	Kind      model.Kind
	Queue     string
	// Continued: this write has begun the next run.
	Continued bool
	// Events after the position, when a workflow's end came too early.
	Events []model.Event
	Told
}

// Defaults of a retry policy. They stand here because the delay is computed
// where the clock is.
const (
	defaultRetries   = `3`
	defaultInitialMS = `1000`
	defaultFactor    = `2`
	defaultMaxMS     = `60000`
	defaultJitter    = `0.1`
)

// finishText ends attempts. A workflow that has not seen a cancel request stays
// as it is; a cancel that was requested wins over any outcome; a failure is
// tried again as long as its policy and its deadline allow. A workflow that was to
// continue has done so in the statement before, unless a cancel is decided on here.
//
// It answers a row an item, and after it another for what the end of an item
// means to others.
const finishText = `
WITH x AS MATERIALIZED (
    SELECT * FROM %s),
seen AS MATERIALIZED (
    SELECT x.*, e.id IS NOT NULL AS found, e.kind, e.queue, e.status, coalesce(e.epoch = x.epoch AND e.token = x.token, false) AS same,
        now() + least(coalesce((e.retry->>'max_ms')::float8, ` + defaultMaxMS + `),
            coalesce((e.retry->>'initial_ms')::float8, ` + defaultInitialMS + `) * power(coalesce((e.retry->>'factor')::float8, ` + defaultFactor + `), least(e.failures, 40)))
            * (1 + coalesce((e.retry->>'jitter')::float8, ` + defaultJitter + `) * (2 * random() - 1)) * interval '1 ms' AS retry_at,
        CASE
            WHEN e.status <> 'running' OR e.epoch <> x.epoch OR e.token IS DISTINCT FROM x.token OR e.history_length < x.position THEN NULL
            WHEN e.kind = 'workflow' AND e.cancel_requested_at IS NOT NULL AND EXISTS (
                SELECT FROM workflows.history h WHERE h.execution_id = e.id AND h.run = e.run
                AND h.position > x.position AND h.type = 'cancel_requested' OFFSET 0) THEN 'running'
            WHEN e.cancel_requested_at IS NOT NULL THEN 'cancelled'
            WHEN x.continues THEN NULL
            WHEN x.ok THEN 'completed'
            WHEN e.kind <> 'workflow' AND NOT x.final
                AND e.failures < coalesce((e.retry->>'retries')::int, ` + defaultRetries + `)
                AND NOT coalesce(e.retry->'non_retryable' IS NOT NULL AND x.error_type IN (SELECT json_array_elements_text(e.retry->'non_retryable')), false)
                AND (e.deadline_at IS NULL OR e.deadline_at > now()) THEN 'scheduled'
            WHEN e.id IS NOT NULL THEN 'failed'
        END AS verdict
    FROM x LEFT JOIN LATERAL (SELECT * FROM workflows.executions e WHERE e.id = x.id OFFSET 0) e ON true),
decided AS MATERIALIZED (
    SELECT seen.*, CASE WHEN verdict = 'scheduled' AND retry_at < now() + interval '1 ms' THEN 'pending' ELSE verdict END AS becomes FROM seen),
done AS (
    UPDATE workflows.executions e SET
        status = held.becomes,
        result = CASE WHEN held.verdict = 'completed' THEN coalesce(held.result, 'null')::json END,
        error = CASE WHEN held.verdict <> 'completed' THEN held.error::json END,
        failed_sequence = CASE WHEN held.verdict <> 'completed' THEN held.failed_sequence END,
        failures = e.failures + (NOT held.ok)::int,
        crashes = 0,
        run_at = CASE WHEN held.verdict = 'scheduled' THEN held.retry_at ELSE e.run_at END,
        finished_at = CASE WHEN held.verdict <> 'scheduled' THEN clock_timestamp() END
    FROM decided held WHERE e.id = held.id AND held.verdict <> 'running'
    RETURNING ` + endedColumns + `, held.ord),%s
SELECT ord, found, verdict IS NOT NULL, coalesce(becomes, status, ''), same, retry_at, coalesce(kind, ''), coalesce(queue, ''), ` + nothingTold + `
FROM decided
UNION ALL
SELECT d.ord, true, true, d.status, true, d.run_at, d.kind, d.queue, %s WHERE d.parent_id IS NOT NULL OR d.awaited OR d.kind = 'workflow'`

var (
	finishItems = unnest(1, "x", "id uuid", "epoch bigint", "token uuid", "position int", "ok boolean", "result text",
		"error text", "error_type text", "final boolean", "failed_sequence int", "continues boolean")
	finishSQL      = define("finish", fmt.Sprintf(finishText, finishItems, settle, toldColumns+` FROM done d LEFT JOIN told ON told.id = d.parent_id`))
	finishRootsSQL = define("finish_roots", fmt.Sprintf(finishText, finishItems, settleRoots, noToldColumns+` FROM done d`))
)

func finishOf(items []Finish) *statement {
	for i := range items {
		if !items[i].Root {
			return finishSQL
		}
	}
	return finishRootsSQL
}

func (p *pipeline) finish(items []Finish, finished []*Finished) {
	if len(items) == 0 {
		return
	}
	p.add(finishOf(items), func(row pgx.CollectableRow) error {
		var ord int
		var f Finished
		if err := scanInto(row, []any{&ord, &f.Found, &f.Held, &f.Status, &f.SameLease, &f.RunAt, &f.Kind, &f.Queue}, f.targets()); err != nil {
			return err
		}
		if before := finished[ord-1]; before.Continued {
			f.Continued, f.Queue, f.Closing = true, before.Queue, before.Closing
		}
		*finished[ord-1] = f
		return nil
	}, finishArgs(items)...)
}

func finishArgs(items []Finish) []any {
	n := len(items)
	ids, epochs, tokens := make([]uuid.UUID, n), make([]int64, n), make([]uuid.UUID, n)
	positions, oks, finals, continues := make([]int32, n), make([]bool, n), make([]bool, n), make([]bool, n)
	results, failures, types, sequences := make([]*string, n), make([]*string, n), make([]string, n), make([]*int32, n)
	for i := range items {
		f := &items[i]
		ids[i], epochs[i], tokens[i], positions[i] = f.ID, f.Lease.Epoch, f.Lease.Token, int32(f.Position)
		oks[i], results[i], failures[i], types[i], finals[i] = f.OK, text(f.Result), text(f.Error), f.ErrorType, f.Final
		sequences[i], continues[i] = f.FailedSequence, f.Continue != nil
	}
	return []any{ids, epochs, tokens, positions, oks, results, failures, types, finals, sequences, continues}
}
