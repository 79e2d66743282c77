package store

import (
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

// Signal is a signal on its way into a history.
type Signal struct {
	ID      uuid.UUID
	Name    string
	Payload model.Payload
	// Key is the sender's idempotency key, or one made for this message, so that
	// a signal whose acknowledgement was lost can be sent again.
	Key string
}

// Signaled is what became of a signal.
type Signaled struct {
	Woken
	// Known: the history had a signal with this key already.
	Known bool
}

// Woken is an execution that somebody else's write reached.
type Woken struct {
	ID            uuid.UUID
	Found         bool
	Kind          model.Kind
	Status        model.Status
	Changed       bool
	Queue         string
	Worker        *uuid.UUID
	HistoryLength int
}

func (w *Woken) targets() []any {
	return []any{&w.ID, &w.Found, &w.Kind, &w.Status, &w.Changed, &w.Queue, &w.Worker, &w.HistoryLength}
}

// signalSQL appends signals in the order in which they were sent, each key once
// for an execution, as long as there is room, and wakes who is suspended. One whose
// key comes again in the batch is known only if the first was taken.
var signalSQL = define("signal", `
WITH x AS MATERIALIZED (
    SELECT x.*, row_number() OVER (PARTITION BY x.id, x.key ORDER BY x.ord) > 1 AS again,
        EXISTS (SELECT FROM workflows.history h WHERE h.execution_id = x.id AND h.key = x.key OFFSET 0) AS known,
        e.id IS NOT NULL AS found, e.run, e.kind, e.status, e.queue, e.worker, e.history_length
    FROM `+unnest(1, "x", "id uuid", "name text", "payload text", "key text")+`
    LEFT JOIN LATERAL (SELECT * FROM workflows.executions e WHERE e.id = x.id OFFSET 0) e ON true),
fresh AS MATERIALIZED (
    SELECT * FROM (
        SELECT x.*, x.history_length + row_number() OVER (PARTITION BY x.id ORDER BY x.ord) AS position FROM x
        WHERE x.kind = 'workflow' AND x.status IN ('scheduled', 'pending', 'running', 'suspended') AND NOT x.known AND NOT x.again) x
    WHERE x.position <= $5),
told AS (
    UPDATE workflows.executions e SET
        history_length = e.history_length + n.count,
        run_at = CASE WHEN e.status = 'suspended' THEN now() ELSE e.run_at END,
        status = CASE WHEN e.status = 'suspended' AND e.parked IS NULL THEN 'pending' ELSE e.status END
    FROM (SELECT id, count(*) FROM fresh GROUP BY 1) n WHERE e.id = n.id
    RETURNING e.id, e.status, e.history_length),
events AS (
    INSERT INTO workflows.history (execution_id, run, position, type, name, key, payload, at)
    SELECT id, run, position, 'signal_received', name, key, payload::json, clock_timestamp() FROM fresh)
SELECT x.ord, x.id, x.found, coalesce(x.kind, ''), coalesce(told.status, x.status, ''), fresh.id IS NOT NULL,
    coalesce(x.queue, ''), x.worker, coalesce(told.history_length, x.history_length, 0),
    x.known OR x.again AND EXISTS (SELECT FROM fresh f WHERE f.id = x.id AND f.key = x.key)
FROM x LEFT JOIN fresh ON fresh.ord = x.ord LEFT JOIN told ON told.id = x.id`)

func (p *pipeline) signal(items []Signal, maxHistory int, signaled []Signaled) {
	if len(items) == 0 {
		return
	}
	n := len(items)
	ids, names, payloads, keys := make([]uuid.UUID, n), make([]string, n), make([]*string, n), make([]string, n)
	for i := range items {
		ids[i], names[i], payloads[i], keys[i] = items[i].ID, items[i].Name, text(items[i].Payload), items[i].Key
	}
	p.add(signalSQL, func(row pgx.CollectableRow) error {
		var ord int
		var s Signaled
		if err := scanInto(row, []any{&ord}, s.targets(), []any{&s.Known}); err != nil {
			return err
		}
		signaled[ord-1] = s
		return nil
	}, ids, names, payloads, keys, maxHistory)
}

func scanWoken(woken []Woken) func(pgx.CollectableRow) error {
	return func(row pgx.CollectableRow) error {
		var ord int
		var w Woken
		if err := scanInto(row, []any{&ord}, w.targets()); err != nil {
			return err
		}
		woken[ord-1] = w
		return nil
	}
}
