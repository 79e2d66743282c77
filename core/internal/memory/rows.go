package memory

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
)

// Clone answers a copy that later writes do not reach.
func (s *State) Clone() *State {
	c := &State{Without: s.Without, byID: map[uuid.UUID]*Execution{}}
	for _, e := range s.Executions {
		row := *e
		row.History = slices.Clone(e.History)
		c.Executions = append(c.Executions, &row)
		c.byID[row.ID] = &row
	}
	for _, t := range s.Timers {
		row := *t
		c.Timers = append(c.Timers, &row)
	}
	for _, w := range s.Workers {
		row := *w
		c.Workers = append(c.Workers, &row)
	}
	return c
}

// Rows answers the tables as PostgreSQL's row_to_json does, by name.
func (s *State) Rows() map[string][]map[string]any {
	tables := map[string][]map[string]any{}
	for _, e := range s.Executions {
		tables["executions"] = append(tables["executions"], e.row())
		for i := range e.History {
			tables["history"] = append(tables["history"], e.History[i].row(e.ID))
		}
	}
	for _, t := range s.Timers {
		tables["timers"] = append(tables["timers"], map[string]any{
			"execution_id": t.Execution, "run": t.Run, "kind": t.Kind, "sequence": t.Sequence, "due_at": t.DueAt,
		})
	}
	for _, w := range s.Workers {
		tables["workers"] = append(tables["workers"], map[string]any{
			"id": w.ID, "name": w.Request.Name, "queues": w.Request.Queues, "concurrency": w.Request.Concurrency, "language": w.Request.Language,
			"runtime": w.Request.Runtime, "sdk_version": w.Request.SDKVersion, "status": w.Status,
			"heartbeat_timeout_ms": w.Request.HeartbeatTimeoutMS, "heartbeat_at": w.HeartbeatAt,
		})
	}
	return tables
}

func (e *Execution) row() map[string]any {
	row := map[string]any{
		"id": e.ID, "root_id": e.RootID, "parent_id": e.ParentID, "parent_run": nil, "sequence": nil, "close_policy": nil, "reported": e.Reported,
		"kind": e.Kind, "name": e.Name, "queue": e.Queue, "idempotency_key": e.Key, "run": e.Run, "status": e.Status, "priority": e.Priority,
		"awaited": e.Awaited, "alone": e.Alone, "run_at": e.RunAt, "created_at": e.CreatedAt, "started_at": at(e.StartedAt), "finished_at": at(e.FinishedAt),
		"cancel_requested_at": at(e.CancelRequestedAt), "deadline_at": at(e.DeadlineAt), "worker": e.Worker, "epoch": e.Epoch, "token": e.Token,
		"history_length": e.HistoryLength, "attempts": e.Attempts, "failures": e.Failures, "crashes": e.Crashes, "releases": e.Releases,
		"attempt_timeout_ms": nil, "parked": e.Parked, "language": e.Language, "version": e.Version, "retry": retry(e.Retry), "args": payload(e.Args),
		"kwargs": payload(e.Kwargs), "result": payload(e.Result), "error": payload(e.Error), "failed_sequence": e.FailedSequence,
		"progress": payload(e.Progress), "state": payload(e.State), "suspended_position": e.SuspendedPosition,
	}
	if e.ParentID != nil {
		row["parent_run"], row["sequence"], row["close_policy"] = e.ParentRun, e.Sequence, e.ClosePolicy
	}
	if e.AttemptTimeoutMS > 0 {
		row["attempt_timeout_ms"] = e.AttemptTimeoutMS
	}
	return row
}

func (x *Event) row(id uuid.UUID) map[string]any {
	row := map[string]any{
		"execution_id": id, "run": x.Run, "position": x.Position, "type": x.Type, "sequence": x.Sequence, "name": x.Name, "key": nil,
		"payload": payload(x.Payload), "at": x.At,
	}
	if x.Key != "" {
		row["key"] = x.Key
	}
	return row
}

func at(t *time.Time) any {
	if t == nil {
		return nil
	}
	return *t
}

func payload(p model.Payload) any {
	if len(p) == 0 {
		return nil
	}
	return p
}

func retry(r *model.RetryPolicy) any {
	if r == nil {
		return nil
	}
	return r
}
