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
}

// releaseSQL gives the attempt back: a release is no attempt and no crash. What
// nobody here has the function for waits longer each time, at most 30 s.
var releaseSQL = define("release", `
WITH x AS MATERIALIZED (
    SELECT * FROM `+unnest(1, "x", "id uuid", "epoch bigint", "token uuid", "reason text", "parked text")+`),
done AS (
    UPDATE workflows.executions e SET
        status = CASE x.reason WHEN 'drain' THEN 'pending' WHEN 'no_function' THEN 'scheduled' ELSE 'suspended' END,
        run_at = CASE x.reason WHEN 'no_function' THEN now() + least(30000, 500 * power(2, least(e.releases, 10))) * (0.9 + 0.2 * random()) * interval '1 ms' ELSE e.run_at END,
        parked = CASE WHEN x.reason = 'non_determinism' THEN x.parked END,
        attempts = e.attempts - (e.kind <> 'workflow')::int,
        releases = e.releases + 1,
        crashes = 0
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
	p.add(releaseSQL, func(row pgx.CollectableRow) error {
		var ord int
		var r Released
		if err := row.Scan(&ord, &r.Found, &r.Held, &r.SameLease, &r.Status, &r.Queue, &r.RunAt); err != nil {
			return err
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
