package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

var registerSQL = define("register", `
INSERT INTO workflows.workers (id, name, queues, concurrency, language, runtime, sdk_version, status, heartbeat_timeout_ms, started_at, heartbeat_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, 'active', $8, now(), now())
ON CONFLICT (id) DO NOTHING`)

// forgetSQL keeps the list of workers short: the dead of a day ago hold nothing.
var forgetSQL = define("forget", `
DELETE FROM workflows.workers w WHERE w.status IN ('stopped', 'dead') AND w.heartbeat_at < now() - interval '1 day'
    AND NOT EXISTS (SELECT FROM workflows.executions e WHERE e.worker = w.id AND e.status = 'running' OFFSET 0)`)

// Register adds a worker. Repeating it changes nothing.
func (s *Store) Register(ctx context.Context, id uuid.UUID, w model.StartWorkerRequest) error {
	return twice(ctx, func() error {
		p := s.pipeline()
		p.add(registerSQL, nil, id, w.Name, w.Queues, w.Concurrency, w.Language, w.Runtime, w.SDKVersion, w.HeartbeatTimeoutMS)
		p.add(forgetSQL, nil)
		return p.run(ctx, s.control)
	}, always)
}

// beatSQL counts only for a worker that nobody has declared dead.
var beatSQL = define("beat", `
UPDATE workflows.workers SET heartbeat_at = now() WHERE id = $1 AND status IN ('active', 'draining') RETURNING id`)

var heldSQL = define("held", `
SELECT id, epoch, token, history_length, cancel_requested_at IS NOT NULL FROM workflows.executions WHERE worker = $1 AND status = 'running'`)

// Held is a row that the database says a worker holds.
type Held struct {
	ID              uuid.UUID
	Lease           model.Lease
	HistoryLength   int
	CancelRequested bool
}

// Beat renews a worker's leases and lists them. Alive is false when the worker
// was declared dead: whatever it held may be somebody else's.
func (s *Store) Beat(ctx context.Context, worker uuid.UUID) (alive bool, held []Held, err error) {
	p := s.pipeline()
	p.add(beatSQL, func(pgx.CollectableRow) error { alive = true; return nil }, worker)
	p.add(heldSQL, func(row pgx.CollectableRow) error {
		var h Held
		if err := row.Scan(&h.ID, &h.Lease.Epoch, &h.Lease.Token, &h.HistoryLength, &h.CancelRequested); err != nil {
			return err
		}
		held = append(held, h)
		return nil
	}, worker)
	return alive, held, p.run(ctx, s.control)
}

var setWorkerSQL = define("set_worker", `
UPDATE workflows.workers SET status = $2 WHERE id = $1 AND status IN ('active', 'draining')`)

// SetWorker marks a living worker as draining or stopped.
func (s *Store) SetWorker(ctx context.Context, worker uuid.UUID, status string) error {
	return twice(ctx, func() error {
		return s.queryOn(ctx, s.control, setWorkerSQL, func(pgx.CollectableRow) error { return nil }, worker, status)
	}, always)
}

// silenceSQL tells when silent workers were last heard of.
var silenceSQL = define("silence", `
SELECT id, heartbeat_at, heartbeat_timeout_ms, extract(epoch FROM now() - heartbeat_at)::float8 * 1000 >= heartbeat_timeout_ms, status IN ('dead', 'stopped'), status = 'stopped'
FROM workflows.workers WHERE id = ANY($1)`)

// Silence is a worker that has missed a beat.
type Silence struct {
	ID          uuid.UUID
	HeartbeatAt time.Time
	Timeout     time.Duration
	// Overdue by the database's clock.
	Overdue bool
	// Dead or stopped: what it still holds is to be taken.
	Dead bool
	// Stopped in good order: what it left behind has crashed nobody.
	Stopped bool
}

// Silences reads the last beats of workers.
func (s *Store) Silences(ctx context.Context, workers []uuid.UUID) (silences []Silence, err error) {
	err = s.queryOn(ctx, s.control, silenceSQL, func(row pgx.CollectableRow) error {
		var x Silence
		var ms int64
		if err := row.Scan(&x.ID, &x.HeartbeatAt, &ms, &x.Overdue, &x.Dead, &x.Stopped); err != nil {
			return err
		}
		x.Timeout = time.Duration(ms) * time.Millisecond
		silences = append(silences, x)
		return nil
	}, workers)
	return silences, err
}

// burySQL re-checks under the row's lock that the worker has stayed silent.
var burySQL = define("bury", `
UPDATE workflows.workers SET status = 'dead' WHERE id = $1 AND status IN ('active', 'draining') AND heartbeat_at = $2 RETURNING id`)

// Bury declares a worker dead, unless it has beaten since.
func (s *Store) Bury(ctx context.Context, worker uuid.UUID, seen time.Time) (dead bool, err error) {
	err = s.queryOn(ctx, s.control, burySQL, func(pgx.CollectableRow) error { dead = true; return nil }, worker, seen)
	return dead, err
}

// lostForGood: it was asked to stop anyway, or this was its third crash in a row
// and it was alone, so that nobody else can have been to blame.
const lostForGood = `(e.cancel_requested_at IS NOT NULL AND e.kind <> 'workflow' OR $3 AND e.crashes >= 2 AND e.alone)`

// endLostSQL ends what is not to run again after its worker was lost.
var endLostSQL = define("end_lost", `
WITH done AS (
    UPDATE workflows.executions e SET
        status = CASE WHEN e.cancel_requested_at IS NOT NULL AND e.kind <> 'workflow' THEN 'cancelled' ELSE 'failed' END,
        parked = CASE WHEN e.cancel_requested_at IS NOT NULL AND e.kind <> 'workflow' THEN NULL ELSE 'worker_lost' END,
        error = CASE WHEN e.cancel_requested_at IS NOT NULL AND e.kind <> 'workflow' THEN
            json_build_object('type', 'Cancelled', 'message', 'it was asked to stop, and its worker died', 'non_retryable', true, 'language', 'core')
        ELSE json_build_object('type', 'WorkerLost', 'message', 'the worker died ' || (e.crashes + 1) || ' times in a row while it ran this', 'non_retryable', true, 'language', 'core') END,
        token = NULL, alone = false, crashes = e.crashes + $3::int, finished_at = clock_timestamp()
    WHERE e.id = ANY($2) AND e.worker = $1 AND e.status = 'running' AND `+lostForGood+`
    RETURNING `+endedColumns+`),`+settle+`
SELECT d.id, d.status, d.queue, `+toldColumns+` FROM done d LEFT JOIN told ON told.id = d.parent_id`)

// requeueLostSQL puts the rest back. It is a statement of its own, because an
// end writes its parent's row, which may be among these.
var requeueLostSQL = define("requeue_lost", `
UPDATE workflows.executions e SET
    status = 'pending', token = NULL, alone = false, suspended_position = NULL,
    crashes = CASE WHEN NOT $3 OR (e.crashes >= 2 AND NOT e.alone) THEN e.crashes ELSE e.crashes + 1 END
WHERE e.id = ANY($2) AND e.worker = $1 AND e.status = 'running' AND NOT `+lostForGood+`
RETURNING e.id, e.status, e.queue, `+nothingTold)

var heldIDsSQL = define("held_ids", `
SELECT id FROM workflows.executions WHERE worker = $1 AND status = 'running' ORDER BY id LIMIT $2`)

// Recovered is an execution that was taken from a dead worker.
type Recovered struct {
	ID     uuid.UUID
	Status model.Status
	Queue  string
	Told
}

// RecoverFrom takes up to limit executions from a worker that is gone. A crash
// counts against them.
func (s *Store) RecoverFrom(ctx context.Context, worker uuid.UUID, crashed bool, limit int) (recovered []Recovered, err error) {
	var ids []uuid.UUID
	err = s.query(ctx, heldIDsSQL, func(row pgx.CollectableRow) error {
		var id uuid.UUID
		err := row.Scan(&id)
		ids = append(ids, id)
		return err
	}, worker, limit)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	if ids, err = s.lockable(ctx, ids); err != nil || len(ids) == 0 {
		return nil, err
	}
	p := s.pipeline()
	p.add(lockSQL, nil, ids, []uuid.UUID{}, []int32{})
	for _, stmt := range []*statement{endLostSQL, requeueLostSQL} {
		p.add(stmt, func(row pgx.CollectableRow) error {
			var r Recovered
			if err := scanInto(row, []any{&r.ID, &r.Status, &r.Queue}, r.targets()); err != nil {
				return err
			}
			recovered = append(recovered, r)
			return nil
		}, worker, ids, crashed)
	}
	return recovered, p.run(ctx, s.pool)
}
