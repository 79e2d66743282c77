package store

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

// Release puts an execution back.
type Release struct {
	ID     uuid.UUID
	Lease  model.Lease
	Reason model.ReleaseReason
	// Parked is the reason that a parked workflow shows.
	Parked string
}

// Released is what became of a release.
type Released struct {
	Found, Held, SameLease bool
	Status                 model.Status
	Queue                  string
	RunAt                  time.Time
	// Told, when it was ended instead.
	Told
}

const releaseItems = `
WITH x AS MATERIALIZED (
    SELECT * FROM `

// endReleasedSQL ends what was asked to stop and is put back instead. It comes
// first and by itself: an end writes its parent's row.
var endReleasedSQL = define("end_released", releaseItems+unnest(1, "x", "id uuid", "epoch bigint", "token uuid", "reason text", "parked text")+`),
done AS (
    UPDATE workflows.executions e SET status = 'cancelled', finished_at = clock_timestamp(), releases = e.releases + 1,
        error = json_build_object('type', 'Cancelled', 'message', 'it was asked to stop before it ran', 'non_retryable', true, 'language', 'core')
    FROM x WHERE e.id = x.id AND e.status = 'running' AND e.epoch = x.epoch AND e.token = x.token
        AND e.cancel_requested_at IS NOT NULL AND e.kind <> 'workflow'
    RETURNING `+endedColumns+`),`+settle+`
SELECT x.ord, d.status, `+toldColumns+` FROM x JOIN done d ON d.id = x.id LEFT JOIN told ON told.id = d.parent_id`)

// releaseSQL gives the attempt back: a release is no attempt and no crash. What
// nobody here has the function for waits longer each time, at most 30 s. No code has
// run of a workflow that has commanded nothing, so code of any language may.
var releaseSQL = define("release", `
WITH x AS MATERIALIZED (
    SELECT * FROM `+unnest(1, "x", "id uuid", "epoch bigint", "token uuid", "reason text", "parked text")+`),
done AS (
    UPDATE workflows.executions e SET
        status = CASE x.reason WHEN 'drain' THEN 'pending' WHEN 'no_function' THEN 'scheduled' ELSE 'suspended' END,
        run_at = CASE x.reason WHEN 'no_function' THEN now() + least(30000, 500 * power(2, least(e.releases, 10))) * (0.9 + 0.2 * random()) * interval '1 ms' ELSE e.run_at END,
        parked = CASE WHEN x.reason = 'non_determinism' THEN x.parked END,
        attempts = e.attempts - (e.kind <> 'workflow')::int,
        started_at = CASE WHEN e.kind <> 'workflow' AND e.attempts = 1 THEN NULL ELSE e.started_at END,
        releases = e.releases + 1,
        crashes = 0,
        suspended_position = NULL,
        language = CASE WHEN x.reason = 'no_function' AND NOT EXISTS (
            SELECT FROM workflows.history h WHERE h.execution_id = e.id AND h.run = e.run
            AND h.type NOT IN ('started', 'signal_received', 'cancel_requested') OFFSET 0) THEN NULL ELSE e.language END,
        token = NULL
    FROM x WHERE e.id = x.id AND e.status = 'running' AND e.epoch = x.epoch AND e.token = x.token
        AND (x.reason <> 'non_determinism' OR e.kind = 'workflow')
    RETURNING e.id, e.status, e.queue, e.run_at)
SELECT x.ord, e.id IS NOT NULL, d.id IS NOT NULL, coalesce(e.epoch = x.epoch AND e.token = x.token, false),
    coalesce(d.status, e.status, ''), coalesce(e.queue, ''), coalesce(d.run_at, now())
FROM x LEFT JOIN workflows.executions e ON e.id = x.id LEFT JOIN done d ON d.id = x.id`)

func (p *pipeline) release(items []Release, released []Released) {
	if len(items) == 0 {
		return
	}
	n := len(items)
	ids, epochs, tokens := make([]uuid.UUID, n), make([]int64, n), make([]uuid.UUID, n)
	reasons, parked := make([]string, n), make([]string, n)
	for i := range items {
		r := &items[i]
		ids[i], epochs[i], tokens[i], reasons[i], parked[i] = r.ID, r.Lease.Epoch, r.Lease.Token, string(r.Reason), r.Parked
	}
	p.add(endReleasedSQL, func(row pgx.CollectableRow) error {
		var ord int
		var r Released
		if err := scanInto(row, []any{&ord, &r.Status}, r.targets()); err != nil {
			return err
		}
		r.Held = true
		released[ord-1] = r
		return nil
	}, ids, epochs, tokens, reasons, parked)
	p.add(releaseSQL, func(row pgx.CollectableRow) error {
		var ord int
		var r Released
		if err := row.Scan(&ord, &r.Found, &r.Held, &r.SameLease, &r.Status, &r.Queue, &r.RunAt); err != nil {
			return err
		}
		if ended := released[ord-1]; ended.Held {
			r.Held, r.Status, r.Told = true, ended.Status, ended.Told
		}
		released[ord-1] = r
		return nil
	}, ids, epochs, tokens, reasons, parked)
}

// Progress is what a running attempt reports.
type Progress struct {
	ID       uuid.UUID
	Lease    model.Lease
	Progress model.Payload
}

var progressSQL = define("progress", `
WITH x AS (SELECT * FROM `+unnest(1, "x", "id uuid", "epoch bigint", "token uuid", "progress text")+`),
done AS (
    UPDATE workflows.executions e SET progress = x.progress::json FROM x
    WHERE e.id = x.id AND e.status = 'running' AND e.epoch = x.epoch AND e.token = x.token RETURNING e.id)
SELECT x.ord FROM x JOIN done ON done.id = x.id`)

func (p *pipeline) progress(items []Progress, kept []bool) {
	if len(items) == 0 {
		return
	}
	n := len(items)
	ids, epochs, tokens, values := make([]uuid.UUID, n), make([]int64, n), make([]uuid.UUID, n), make([]*string, n)
	for i := range items {
		ids[i], epochs[i], tokens[i], values[i] = items[i].ID, items[i].Lease.Epoch, items[i].Lease.Token, text(items[i].Progress)
	}
	p.add(progressSQL, func(row pgx.CollectableRow) error {
		var ord int
		if err := row.Scan(&ord); err != nil {
			return err
		}
		kept[ord-1] = true
		return nil
	}, ids, epochs, tokens, values)
}
