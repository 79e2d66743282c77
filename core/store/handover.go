package store

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
)

// A new row can be handed over to a worker of the process that writes it: it is inserted
// as claimed, and its place in the queue is never written. It must be due at once and of
// a queue that the worker serves, and is handed over if what waits there and ranks before
// it has slots of its own, those that the worker has to spare; among equals who came first
// ranks before.

// holderOfNew is the worker to hand over to, if it is alive, and what its workflows'
// histories begin with. Its statement's other parameters end before first, which is the
// worker; behind it come the token and the spare slots.
func holderOfNew(first int) string {
	return fmt.Sprintf(`me AS MATERIALIZED (
    SELECT w.id, w.language, clock_timestamp() AS at,
        json_build_object('language', w.language, 'runtime', w.runtime, 'sdk_version', w.sdk_version) AS started
    FROM workflows.workers w WHERE w.id = $%d AND w.status = 'active'),
ahead AS MATERIALIZED (
    SELECT q.queue, p.priority FROM (SELECT DISTINCT queue FROM given_rows WHERE hand_over) q CROSS JOIN LATERAL (
        SELECT e.priority FROM workflows.executions e WHERE e.status = 'pending' AND e.crashes < 2 AND e.queue = q.queue
        ORDER BY e.priority DESC OFFSET $%d LIMIT 1) p)`, first, first+2)
}

// holderColumns are NULL in a row that is not handed over.
const (
	holderColumns = `me.id AS worker, me.language AS holder_language, me.at AS taken_at`
	holderJoin    = `LEFT JOIN me ON x.hand_over AND NOT EXISTS (SELECT FROM ahead a WHERE a.queue = x.queue AND a.priority >= x.priority)`
	noHolder      = `NULL::uuid AS worker, NULL::text AS holder_language, NULL::timestamptz AS taken_at`
)

// startedOfNew begins the histories of workflows that were handed over.
const startedOfNew = `started AS (
    INSERT INTO workflows.history (execution_id, run, position, type, payload, at)
    SELECT made.id, 1, 1, 'started', me.started, me.at FROM made JOIN me ON me.id = made.worker WHERE made.kind = 'workflow')`

// handedOverColumns read what HandedOver needs, for rows of made.
const (
	handedOverColumns = `CASE WHEN made.worker IS NOT NULL THEN made.started_at END, CASE WHEN made.worker IS NOT NULL THEN (SELECT me.started::text FROM me) END`
	nothingHandedOver = `NULL::timestamptz, NULL::text`
)

// HandedOver is a new row that was inserted as claimed.
type HandedOver struct {
	Root       uuid.UUID
	DeadlineAt *time.Time
	// At is when; nil if the row was not handed over.
	At      *time.Time
	Started *string
}

// ClaimedOf is what a claim would have answered for a new row.
func (h *HandedOver) ClaimedOf(row *NewRow, token uuid.UUID) model.Claimed {
	c := model.Claimed{
		ID: row.ID, Run: 1, Kind: row.Kind, Name: row.Name, Queue: row.Queue, RootID: h.Root, ParentID: row.ParentID,
		Lease: model.Lease{Epoch: 1, Token: token}, Priority: *row.Priority, Attempt: 1, Args: row.Args, Kwargs: row.Kwargs, Retry: row.Retry,
		AttemptTimeoutMS: row.AttemptTimeoutMS, DeadlineAt: h.DeadlineAt, Version: row.Version,
	}
	if c.Kind == model.Workflow {
		c.Position = 1
		c.Events = []model.Event{{Position: 1, Type: model.EventStarted, At: *h.At, Payload: raw(h.Started)}}
	}
	return c
}
