package store

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

// relay is an activity that ends and the one that its parent, which was told early, schedules then:
// the parent is woken and suspended by the same batch.
type relay struct{ end, next plainWrite }

// plainRelaySQL writes both ends of a relay with one update of the parent, where plain_child and
// plain_schedule would write it, and its indexes, twice. What they mind it minds, all or nothing:
// the rows are locked already, and looked at before any is written.
var plainRelaySQL = define("plain_relay", `
WITH fit AS MATERIALIZED (
    SELECT x.*, e.kind AS ended_kind, e.queue AS ended_queue, e.awaited AS ended_awaited, e.sequence AS ended_sequence, e.name AS ended_name
    FROM `+unnest(1, "x", append(slices.Clone(newRowTypes), "ended_id uuid", "ended_epoch bigint", "ended_token uuid", "result text",
	"waits_epoch bigint", "next_worker uuid", "next_token uuid", "ended_at timestamptz", "position int", "payload text")...)+`
    CROSS JOIN LATERAL (
        SELECT q.run, q.epoch = x.waits_epoch AND q.history_length = x.position - 1 AND q.deadline_at IS NULL AND `+waits("q", "x.next_worker")+` AS fits
        FROM workflows.executions q WHERE q.id = x.parent_id OFFSET 0) q
    CROSS JOIN LATERAL (
        SELECT c.*, c.status = 'running' AND c.epoch = x.ended_epoch AND c.token = x.ended_token AND c.parent_id = x.parent_id AND c.parent_run = q.run
            AND c.kind <> 'workflow' AND NOT c.reported AND c.cancel_requested_at IS NULL AND c.deadline_at IS NULL AS fits
        FROM workflows.executions c WHERE c.id = x.ended_id OFFSET 0) e
    WHERE q.fits AND e.fits),
ended AS (
    UPDATE workflows.executions e SET
        status = 'completed', result = x.result::json, error = NULL, failed_sequence = NULL, finished_at = clock_timestamp(), crashes = 0
    FROM fit x WHERE e.id = x.ended_id
    RETURNING x.*),
given_rows AS (
    UPDATE workflows.executions p SET
        history_length = p.history_length + 2, suspended_position = p.history_length + 2, epoch = p.epoch + 1, token = x.next_token, crashes = 0
    FROM ended x WHERE p.id = x.parent_id
    RETURNING x.*, p.run AS parent_run, p.root_id, p.queue AS parent_queue, p.history_length, p.deadline_at AS parent_deadline,
        greatest(x.ended_at, clock_timestamp()) AS at),
`+holderOfNew(32)+`,
x AS MATERIALIZED (SELECT x.*, `+holderColumns+`, CASE WHEN me.id IS NOT NULL THEN $33::uuid END AS token FROM given_rows x `+holderJoin+`),
made AS (
    INSERT INTO workflows.executions (`+insertColumns+`)
    SELECT x.id, x.root_id, x.parent_id, x.parent_run, `+insertValues+` FROM x),
written AS (
    INSERT INTO workflows.history (execution_id, run, position, type, sequence, name, payload, at)
    SELECT parent_id, parent_run, history_length - 1, 'activity_completed', ended_sequence, ended_name, result::json, ended_at FROM given_rows
    UNION ALL
    SELECT parent_id, parent_run, history_length, 'activity_scheduled', sequence, name, payload::json, at FROM given_rows)
SELECT ord, parent_queue, at, ended_kind, ended_queue, ended_awaited, root_id, CASE WHEN worker IS NOT NULL THEN taken_at END FROM x`)

// waits says whether a workflow waits, and nothing has come to it since, with a worker that has it in memory.
func waits(row, worker string) string {
	return strings.NewReplacer("{row}", row, "{worker}", worker).Replace(`{row}.status = 'suspended' AND {row}.parked IS NULL
            AND {row}.suspended_position = {row}.history_length AND {row}.crashes < 2
            AND EXISTS (SELECT FROM workflows.workers w WHERE w.id = {worker} AND w.id = {row}.worker AND w.status = 'active' AND w.language = {row}.language OFFSET 0)`)
}

// Relays answers, by the index of a finish, that of the advance which its parent's next holder has
// asked for in the same batch.
func (b *Batch) Relays() map[int]int {
	var asked map[model.Lease]int
	for i := range b.Advances {
		if a := &b.Advances[i]; a.Suspend && a.IsPlainSchedule() {
			if asked == nil {
				asked = map[model.Lease]int{}
			}
			asked[a.Lease] = i
		}
	}
	relays := map[int]int{}
	for i := range b.Finishes {
		if x := &b.Finishes[i]; x.Plain && !x.Root && x.IsEarly() {
			if j, found := asked[x.Resume.lease()]; found && b.Advances[j].ID == x.Parent {
				relays[i] = j
			}
		}
	}
	return relays
}

// lease is what the parent goes on with, if its holder was told early.
func (r *Resumption) lease() model.Lease {
	return model.Lease{Epoch: r.Early.Epoch + 1, Token: r.Token}
}

func sortRelays(relays []relay) {
	slices.SortFunc(relays, func(a, b relay) int {
		x, y := a.next.id(), b.next.id()
		return bytes.Compare(x[:], y[:])
	})
}

func (p *pipeline) plainRelays(relays []relay, to *Claim, claimed *[]model.Claimed) {
	if len(relays) == 0 {
		return
	}
	p.add(plainRelaySQL, func(row pgx.CollectableRow) error {
		var ord int
		var queue string
		var at time.Time
		var ended plainAnswer
		var h HandedOver
		if err := row.Scan(&ord, &queue, &at, &ended.kind, &ended.queue, &ended.awaited, &h.Root, &h.At); err != nil {
			return err
		}
		r := &relays[ord-1]
		r.answer(&ended, queue, at)
		if h.At != nil {
			*claimed = append(*claimed, h.ClaimedOf(&r.next.advance.Children[0], to.Token))
		}
		return nil
	}, relayArgs(relays, to)...)
}

// answer fills in what the two statements would have answered.
func (r *relay) answer(ended *plainAnswer, queue string, at time.Time) {
	r.end.answerFinish(ended)
	f, a := r.end.finish, r.next.advance
	status, length, worker := string(model.Running), a.Position, f.Resume.Worker
	r.end.finished.Told = Told{
		Parent: &a.ID, ParentQueue: &queue, ParentStatus: &status, ParentWorker: &worker, HistoryLength: &length, Awaited: ended.awaited,
	}
	r.end.finished.Resumed = true
	r.next.answerAdvance(queue, at)
}

func relayArgs(relays []relay, to *Claim) []any {
	n := len(relays)
	rows := make([]NewRow, n)
	ids, epochs, tokens, results := make([]uuid.UUID, n), make([]int64, n), make([]uuid.UUID, n), make([]*string, n)
	waits, workers, nexts, ats := make([]int64, n), make([]uuid.UUID, n), make([]uuid.UUID, n), make([]time.Time, n)
	positions, payloads := make([]int32, n), make([]*string, n)
	for i := range relays {
		f, a := relays[i].end.finish, relays[i].next.advance
		rows[i] = a.Children[0]
		ids[i], epochs[i], tokens[i], results[i] = f.ID, f.Lease.Epoch, f.Lease.Token, text(orNull(f.Result))
		waits[i], workers[i], nexts[i], ats[i] = f.Resume.Early.Epoch, f.Resume.Worker, f.Resume.Token, f.Resume.Early.At
		positions[i], payloads[i] = int32(a.Position), text(a.Entries[0].Payload)
	}
	worker, token, spare := to.holder()
	return append(newRowArgs(rows), ids, epochs, tokens, results, waits, workers, nexts, ats, positions, payloads, worker, token, spare)
}
