package store

import (
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

// Entry is one event that a holder's write appends to its workflow's history.
type Entry struct {
	Type     model.EventType
	Sequence int
	Name     *string
	Payload  model.Payload
	// DelayMS of a timer.
	DelayMS int64
	// Cancel stands for activity_cancelled, child_cancelled or timer_cancelled: which,
	// and whether there is anything left to cancel, is known under the lock.
	Cancel bool
}

// Advance is a holder's write to its workflow, except for the end.
type Advance struct {
	ID       uuid.UUID
	Lease    model.Lease
	Position int
	Entries  []Entry
	Children []NewRow
	State    model.Payload
	// Suspend, unless there is news.
	Suspend bool
	// Waking entries are news to the workflow itself, such as a step's outcome.
	Waking bool
	// Ending: the batch has the end of the same run, too, which follows.
	Ending bool
}

// Advanced is what became of an advance.
type Advanced struct {
	Found, Held, SameLease bool
	Status                 model.Status
	HistoryLength          int
	Queue                  string
	// Events after the position, once known.
	Events []model.Event
}

// advanceText appends a holder's events and suspends it where nothing newer has
// come. Whoever has seen more than there is, because a failover has lost the rest, no
// longer knows what it holds, and is no holder. An entry that the history already has after the holder's position is
// left out, so that a write whose reply was lost can be repeated.
const advanceText = `
WITH i AS MATERIALIZED (SELECT * FROM %s),
seen AS MATERIALIZED (
    SELECT i.*, e.id IS NOT NULL AS found, e.run, e.root_id, e.deadline_at, e.history_length, e.status, coalesce(e.epoch = i.epoch AND e.token = i.token, false) AS same,
        coalesce(e.status = 'running' AND e.epoch = i.epoch AND e.token = i.token AND e.kind = 'workflow' AND e.history_length >= i.position, false) AS holds
    FROM i LEFT JOIN LATERAL (SELECT * FROM workflows.executions e WHERE e.id = i.id OFFSET 0) e ON true),
held AS MATERIALIZED (SELECT * FROM seen WHERE holds),
given AS MATERIALIZED (
    SELECT g.*, held.run, held.root_id, held.deadline_at FROM %s
    JOIN held ON held.id = g.id
    WHERE NOT EXISTS (
        SELECT FROM workflows.history h WHERE h.execution_id = g.id AND h.run = held.run AND h.position > held.position
        AND h.type = g.type AND h.sequence = g.sequence OFFSET 0)),
%s,
n AS (SELECT id, count(*)::int AS count FROM entries GROUP BY 1),
moved AS (
    UPDATE workflows.executions e SET
        history_length = e.history_length + coalesce(n.count, 0),
        status = CASE WHEN held.suspend AND NOT held.waking AND e.history_length = held.position THEN 'suspended' ELSE 'running' END,
        suspended_position = CASE WHEN held.suspend AND NOT held.waking AND e.history_length = held.position
            THEN e.history_length + coalesce(n.count, 0) ELSE e.suspended_position END,
        state = coalesce(held.state::json, e.state),
        crashes = 0
    FROM held LEFT JOIN n ON n.id = held.id WHERE e.id = held.id
    RETURNING e.id, e.status, e.queue, e.history_length, e.history_length - coalesce(n.count, 0) AS base),
written AS (
    INSERT INTO workflows.history (execution_id, run, position, type, sequence, name, payload, at)
    SELECT entries.id, entries.run, moved.base + row_number() OVER (PARTITION BY entries.id ORDER BY entries.ord),
        entries.type, entries.sequence, entries.name, entries.payload::json, entries.at
    FROM entries JOIN moved ON moved.id = entries.id)
%s
SELECT seen.ord, seen.found, moved.id IS NOT NULL, seen.same, coalesce(moved.status, seen.status, ''), coalesce(moved.history_length, 0), coalesce(moved.queue, ''),
    NULL::uuid, NULL::uuid, NULL::timestamptz, ` + nothingHandedOver + `
FROM seen LEFT JOIN moved ON moved.id = seen.id
%s`

// entriesOnly: a holder's own words, as they are.
const entriesOnly = `entries AS MATERIALIZED (
    SELECT id, run, type, sequence, name, payload, delay_ms, ord, (SELECT clock_timestamp()) AS at FROM given)`

// cancelledEntries find out what a cancel has come in time for.
const cancelledEntries = `untimed AS (
    DELETE FROM workflows.timers t USING given
    WHERE given.cancel AND t.execution_id = given.id AND t.kind = 'sleep' AND t.sequence = given.sequence AND t.run = given.run
    RETURNING t.execution_id, t.sequence),
entries AS MATERIALIZED (
    SELECT e.*, (SELECT clock_timestamp()) AS at FROM (
    SELECT id, run, type, sequence, name, payload, delay_ms, ord FROM given WHERE NOT cancel
    UNION ALL
    SELECT given.id, given.run, 'timer_cancelled', given.sequence, given.name, NULL, 0, given.ord
    FROM given JOIN untimed ON untimed.execution_id = given.id AND untimed.sequence = given.sequence
    UNION ALL
    SELECT given.id, given.run, CASE c.kind WHEN 'workflow' THEN 'child_cancelled' ELSE 'activity_cancelled' END, given.sequence, c.name, NULL, 0, given.ord
    FROM given CROSS JOIN LATERAL (
        SELECT * FROM workflows.executions c WHERE c.parent_id = given.id AND c.parent_run = given.run AND c.sequence = given.sequence OFFSET 0) c
    WHERE given.cancel AND NOT c.reported AND c.status IN ('scheduled', 'pending', 'running', 'suspended')) e)`

// startedTimers count from the time of their own event, or by its history one could end early.
const startedTimers = `, timed AS (
    INSERT INTO workflows.timers (execution_id, run, kind, sequence, due_at)
    SELECT id, run, 'sleep', sequence, at + delay_ms * interval '1 ms' FROM entries WHERE type = 'timer_started' AND delay_ms > 0
    ON CONFLICT (execution_id, kind, sequence) DO UPDATE SET run = excluded.run, due_at = excluded.due_at)`

// scheduledChildren inserts them. One whose id somebody else has taken fails the statement:
// an event that names an execution which does not belong to it would be a lie for ever.
const scheduledChildren = `, given_rows AS MATERIALIZED (
    SELECT x.*, given.run AS parent_run, given.root_id, CASE WHEN x.close_policy <> 'detach' THEN given.deadline_at END AS parent_deadline
    FROM %s
    JOIN given ON given.id = x.parent_id AND given.sequence = x.sequence AND given.type IN ('activity_scheduled', 'child_started')),
%s
x AS MATERIALIZED (SELECT x.*, %s FROM given_rows x %s),
made AS (
    INSERT INTO workflows.executions (` + insertColumns + `)
    SELECT x.id, x.root_id, x.parent_id, x.parent_run, ` + insertValues + ` FROM x
    RETURNING ` + madeColumns + `),
expiring AS (` + timersOfNew + `)
%s`

// handedOverChildren follow the answers to the advances, for who is to run them.
const handedOverChildren = `UNION ALL
SELECT 0, true, true, true, made.status, 0, made.queue, made.id, made.root_id, made.deadline_at, ` + handedOverColumns + `
FROM made WHERE made.worker IS NOT NULL`

// A statement costs by what it might write, so each batch has one that writes no more than it must.
var (
	advanceItems   = unnest(1, "i", "id uuid", "epoch bigint", "token uuid", "position int", "suspend boolean", "waking boolean", "state text")
	advanceEntries = unnest(8, "g", "id uuid", "type text", "sequence int", "name text", "payload text", "delay_ms bigint", "cancel boolean")
	advanceRows    = unnest(15, "x", newRowTypes...)

	children     = fmt.Sprintf(scheduledChildren, advanceRows, "", noHolder+", NULL::uuid AS token", "", "")
	heldChildren = fmt.Sprintf(scheduledChildren, advanceRows, holderOfNew(36)+",", holderColumns+", CASE WHEN me.id IS NOT NULL THEN $37::uuid END AS token", holderJoin, ", "+startedOfNew)

	advancePlainSQL    = define("advance_plain", advance(entriesOnly, "", ""))
	advanceTimersSQL   = define("advance_timers", advance(cancelledEntries, startedTimers, ""))
	advanceChildrenSQL = define("advance_children", advance(entriesOnly, children, ""))
	advanceHeldSQL     = define("advance_held", advance(entriesOnly, heldChildren, handedOverChildren))
	advanceAllSQL      = define("advance", advance(cancelledEntries, startedTimers+children, ""))
)

func advance(entries, writes, answers string) string {
	return fmt.Sprintf(advanceText, advanceItems, advanceEntries, entries, writes, answers)
}

func (p *pipeline) advance(items []Advance, to *Claim, advanced []*Advanced, claimed *[]model.Claimed) {
	if len(items) == 0 {
		return
	}
	needs, args := advanceOf(items, to)
	rows := map[uuid.UUID]*NewRow{}
	for i := range needs.children {
		rows[needs.children[i].ID] = &needs.children[i]
	}
	p.add(needs.statement(), func(row pgx.CollectableRow) error {
		var ord int
		var a Advanced
		var id, root *uuid.UUID
		var h HandedOver
		if err := row.Scan(&ord, &a.Found, &a.Held, &a.SameLease, &a.Status, &a.HistoryLength, &a.Queue, &id, &root, &h.DeadlineAt, &h.At, &h.Started); err != nil {
			return err
		}
		if id != nil {
			h.Root = *root
			*claimed = append(*claimed, h.ClaimedOf(rows[*id], to.Token))
			return nil
		}
		*advanced[ord-1] = a
		return nil
	}, args...)
}

// needs are what a batch of advances asks of its statement.
type needs struct {
	children                 []NewRow
	scheduled, timed, handed bool
}

func (n *needs) statement() *statement {
	switch {
	case n.handed:
		return advanceHeldSQL
	case n.timed && n.scheduled:
		return advanceAllSQL
	case n.timed:
		return advanceTimersSQL
	case n.scheduled:
		return advanceChildrenSQL
	}
	return advancePlainSQL
}

func advanceOf(items []Advance, to *Claim) (n needs, args []any) {
	count := len(items)
	ids, epochs, tokens := make([]uuid.UUID, count), make([]int64, count), make([]uuid.UUID, count)
	positions, states := make([]int32, count), make([]*string, count)
	suspends, wakings := make([]bool, count), make([]bool, count)
	for i := range items {
		a := &items[i]
		ids[i], epochs[i], tokens[i], positions[i] = a.ID, a.Lease.Epoch, a.Lease.Token, int32(a.Position)
		suspends[i], wakings[i], states[i] = a.Suspend, a.Waking, text(a.State)
		n.children = append(n.children, a.Children...)
		n.timed = n.timed || a.isTimed()
	}
	n.scheduled = len(n.children) > 0
	for i := range n.children {
		n.handed = n.handed || n.children[i].HandOver
	}
	// A batch with timers is rare enough for its children to go through the queue.
	n.handed = n.handed && !n.timed
	args = append([]any{ids, epochs, tokens, positions, suspends, wakings, states}, entryArgs(items)...)
	if n.scheduled {
		args = append(args, newRowArgs(n.children)...)
	}
	if n.handed {
		args = append(args, to.Worker, to.Token, to.Spare)
	}
	return n, args
}

// isTimed says whether timers are concerned: started, or cancelled perhaps.
func (a *Advance) isTimed() bool {
	for i := range a.Entries {
		if e := &a.Entries[i]; e.Cancel || e.DelayMS > 0 {
			return true
		}
	}
	return false
}

func entryArgs(items []Advance) []any {
	ids, types, sequences := []uuid.UUID{}, []string{}, []int32{}
	names, payloads, delays, cancels := []*string{}, []*string{}, []int64{}, []bool{}
	for i := range items {
		for _, e := range items[i].Entries {
			ids, types, sequences = append(ids, items[i].ID), append(types, string(e.Type)), append(sequences, int32(e.Sequence))
			names, payloads = append(names, e.Name), append(payloads, text(e.Payload))
			delays, cancels = append(delays, e.DelayMS), append(cancels, e.Cancel)
		}
	}
	return []any{ids, types, sequences, names, payloads, delays, cancels}
}

// newsSQL reads what a holder has not seen, as long as it holds.
var newsSQL = define("news", `
SELECT x.ord, `+eventColumns+`
FROM unnest($1::uuid[], $2::int[], $3::uuid[]) WITH ORDINALITY AS x(id, position, token, ord)
CROSS JOIN LATERAL (SELECT * FROM workflows.executions e WHERE e.id = x.id OFFSET 0) e
CROSS JOIN LATERAL (SELECT * FROM workflows.history h WHERE h.execution_id = e.id AND h.run = e.run AND h.position > x.position OFFSET 0) h
WHERE e.token = x.token AND e.status IN ('running', 'suspended')
ORDER BY x.ord, h.position`)

const eventColumns = `h.position, h.type, h.sequence, h.name, h.at, h.payload::text`

func scanEvent(e *model.Event, payload **string) []any {
	return []any{&e.Position, &e.Type, &e.Sequence, &e.Name, &e.At, payload}
}

// news puts the events after each holder's position into its sink.
func (p *pipeline) news(ids []uuid.UUID, positions []int32, tokens []uuid.UUID, sinks []*[]model.Event) {
	if len(ids) == 0 {
		return
	}
	p.add(newsSQL, func(row pgx.CollectableRow) error {
		var ord int
		var e model.Event
		var payload *string
		if err := scanInto(row, []any{&ord}, scanEvent(&e, &payload)); err != nil {
			return err
		}
		e.Payload = raw(payload)
		*sinks[ord-1] = append(*sinks[ord-1], e)
		return nil
	}, ids, positions, tokens)
}

func raw(text *string) model.Payload {
	if text == nil {
		return nil
	}
	return model.Payload(*text)
}
