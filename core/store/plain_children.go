package store

import (
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

// plainScheduleSQL writes an advance that does nothing but schedule one activity, of a
// workflow that has seen all of its history. Neither may have a deadline, whose timer would
// have to be written too.
var plainScheduleSQL = define("plain_schedule", `
WITH given_rows AS (
    UPDATE workflows.executions e SET
        history_length = e.history_length + 1,
        status = CASE WHEN x.suspend THEN 'suspended' ELSE 'running' END,
        suspended_position = CASE WHEN x.suspend THEN e.history_length + 1 ELSE e.suspended_position END,
        crashes = 0
    FROM `+unnest(1, "x", append(slices.Clone(newRowTypes), "lease_epoch bigint", "lease_token uuid", "position int", "suspend boolean", "payload text")...)+`
    WHERE e.id = x.parent_id AND CASE WHEN e.status = 'running' THEN e.epoch = x.lease_epoch AND e.token = x.lease_token ELSE false END
        AND e.kind = 'workflow' AND e.history_length = x.position AND e.deadline_at IS NULL
    RETURNING x.*, e.run AS parent_run, e.root_id, e.queue AS parent_queue, e.history_length, e.deadline_at AS parent_deadline, clock_timestamp() AS at),
`+holderOfNew(27)+`,
x AS MATERIALIZED (SELECT x.*, `+holderColumns+`, CASE WHEN me.id IS NOT NULL THEN $28::uuid END AS token FROM given_rows x `+holderJoin+`),
made AS (
    INSERT INTO workflows.executions (`+insertColumns+`)
    SELECT x.id, x.root_id, x.parent_id, x.parent_run, `+insertValues+` FROM x),
written AS (
    INSERT INTO workflows.history (execution_id, run, position, type, sequence, name, payload, at)
    SELECT parent_id, parent_run, history_length, 'activity_scheduled', sequence, name, payload::json, at FROM given_rows)
SELECT ord, parent_queue, at, root_id, CASE WHEN worker IS NOT NULL THEN taken_at END FROM x`)

// plainChildSQL ends an activity with a result, tells its parent, and lets the parent go
// on at once where it waits, the worker that has it in memory is here and has a slot for
// it, and slots to spare for what is due in its queue and ranks before or beside it. No two may have the
// same parent, and parents are locked already.
var plainChildSQL = define("plain_child", `
WITH done AS (
    UPDATE workflows.executions e SET
        status = 'completed', result = x.payload::json, error = NULL, failed_sequence = NULL, finished_at = clock_timestamp(), crashes = 0
    FROM `+unnest(1, "x", "id uuid", "epoch bigint", "token uuid", "payload text", "resume boolean")+`
    WHERE e.id = x.id AND `+holds("e", "x")+`
        AND e.kind <> 'workflow' AND NOT e.reported AND e.cancel_requested_at IS NULL AND e.deadline_at IS NULL
        AND EXISTS (SELECT FROM workflows.executions p WHERE p.id = e.parent_id AND p.run = e.parent_run
            AND p.status IN ('scheduled', 'pending', 'running', 'suspended') OFFSET 0)
    RETURNING x.ord, x.payload, x.resume, e.kind, e.queue, e.awaited, e.parent_id, e.sequence, e.name),
told AS (
    UPDATE workflows.executions p SET
        history_length = p.history_length + 1,
        run_at = CASE WHEN p.status = 'suspended' THEN now() ELSE p.run_at END,
        status = CASE WHEN was.resumes THEN 'running' WHEN p.status = 'suspended' AND p.parked IS NULL THEN 'pending' ELSE p.status END,
        epoch = p.epoch + was.resumes::int,
        token = CASE WHEN was.resumes THEN $7 ELSE p.token END
    FROM done d CROSS JOIN LATERAL (
        SELECT q.token, d.resume AND q.status = 'suspended' AND q.parked IS NULL AND q.suspended_position = q.history_length AND q.crashes < 2
            AND EXISTS (SELECT FROM workflows.workers w WHERE w.id = $6 AND w.id = q.worker AND w.status = 'active' AND w.language = q.language OFFSET 0)
            AND NOT EXISTS (SELECT FROM workflows.executions o WHERE o.status = 'pending' AND o.crashes < 2
                AND o.queue = q.queue AND o.priority >= q.priority
                ORDER BY o.priority DESC, o.run_at OFFSET $8 LIMIT 1) AS resumes
        FROM workflows.executions q WHERE q.id = d.parent_id OFFSET 0) was
    WHERE p.id = d.parent_id
    RETURNING p.*, p.suspended_position AS seen, was.token AS previous_token, was.resumes, clock_timestamp() AS at,
        d.ord, d.kind AS child_kind, d.queue AS child_queue, d.awaited AS child_awaited, d.sequence AS child_sequence, d.name AS child_name, d.payload),
written AS (
    INSERT INTO workflows.history (execution_id, run, position, type, sequence, name, payload, at)
    SELECT id, run, history_length, 'activity_completed', child_sequence, child_name, payload::json, at FROM told)
SELECT c.ord, c.child_kind, c.child_queue, c.child_awaited, c.child_sequence, c.child_name, c.at, c.resumes, c.status, c.worker, `+claimedColumns+` FROM told c`)

// plainSchedules writes those of the advances that schedule and do nothing else.
func (p *pipeline) plainSchedules(writes []plainWrite, to *Claim, claimed *[]model.Claimed) {
	if len(writes) == 0 {
		return
	}
	p.add(plainScheduleSQL, func(row pgx.CollectableRow) error {
		var ord int
		var queue string
		var at time.Time
		var h HandedOver
		if err := row.Scan(&ord, &queue, &at, &h.Root, &h.At); err != nil {
			return err
		}
		w := &writes[ord-1]
		w.answerAdvance(queue, at)
		if h.At != nil {
			*claimed = append(*claimed, h.ClaimedOf(&w.advance.Children[0], to.Token))
		}
		return nil
	}, plainScheduleArgs(writes, to)...)
}

func plainScheduleArgs(writes []plainWrite, to *Claim) []any {
	n := len(writes)
	rows := make([]NewRow, n)
	epochs, tokens, positions := make([]int64, n), make([]uuid.UUID, n), make([]int32, n)
	suspends, payloads := make([]bool, n), make([]*string, n)
	for i := range writes {
		a := writes[i].advance
		rows[i] = a.Children[0]
		epochs[i], tokens[i], positions[i] = a.Lease.Epoch, a.Lease.Token, int32(a.Position)
		suspends[i], payloads[i] = a.Suspend, text(a.Entries[0].Payload)
	}
	worker, token, spare := to.holder()
	return append(newRowArgs(rows), epochs, tokens, positions, suspends, payloads, worker, token, spare)
}

// holder is who rows are handed over to, if anybody.
func (c *Claim) holder() (worker, token uuid.UUID, spare int) {
	if c == nil {
		return uuid.Nil, uuid.Nil, 0
	}
	return c.Worker, c.Token, c.Spare
}

// plainChildren ends activities, and claims the parents that go on.
func (p *pipeline) plainChildren(writes []plainWrite, to *Claim, claimed *[]model.Claimed) {
	if len(writes) == 0 {
		return
	}
	_, token, _ := to.holder()
	p.add(plainChildSQL, func(row pgx.CollectableRow) error {
		var ord int
		var x plainParent
		parent, err := scanClaimed(offsetRow{row, x.targets(&ord)}, token)
		if err != nil {
			return err
		}
		writes[ord-1].answerChild(&x, &parent)
		if x.resumes {
			*claimed = append(*claimed, parent)
		}
		return nil
	}, plainChildArgs(writes, to)...)
}

// plainParent is what the end of a child meant to its parent.
type plainParent struct {
	child    plainAnswer
	sequence int
	name     *string
	resumes  bool
	status   string
	worker   *uuid.UUID
}

func (x *plainParent) targets(ord *int) []any {
	return []any{ord, &x.child.kind, &x.child.queue, &x.child.awaited, &x.sequence, &x.name, &x.child.at, &x.resumes, &x.status, &x.worker}
}

func (w *plainWrite) answerChild(x *plainParent, parent *model.Claimed) {
	w.answerFinish(&x.child)
	id, queue, length := parent.ID, parent.Queue, parent.Position
	w.finished.Told = Told{
		Parent: &id, ParentQueue: &queue, ParentStatus: &x.status, ParentWorker: x.worker, HistoryLength: &length, Awaited: x.child.awaited,
	}
	if x.resumes {
		parent.Events = []model.Event{{
			Position: length, Type: model.EventActivityCompleted, Sequence: &x.sequence, Name: x.name, At: x.child.at, Payload: orNull(w.finish.Result),
		}}
	}
}

func plainChildArgs(writes []plainWrite, to *Claim) []any {
	n := len(writes)
	ids, epochs, tokens := make([]uuid.UUID, n), make([]int64, n), make([]uuid.UUID, n)
	payloads, resumes := make([]*string, n), make([]bool, n)
	for i := range writes {
		f := writes[i].finish
		ids[i], epochs[i], tokens[i] = f.ID, f.Lease.Epoch, f.Lease.Token
		payloads[i], resumes[i] = text(orNull(f.Result)), f.Resume
	}
	worker, token, spare := to.holder()
	return []any{ids, epochs, tokens, payloads, resumes, worker, token, spare}
}
