package model

import (
	"time"

	"github.com/google/uuid"
)

// StartWorkerRequest registers a worker.
type StartWorkerRequest struct {
	// Queues that it serves, at least one.
	Queues []string `json:"queues"`
	// Concurrency is how many executions it holds at most. Default 10.
	Concurrency int `json:"concurrency,omitempty"`
	// Language of its code, such as "python".
	Language string `json:"language,omitempty"`
	// Runtime is the language's minor version, such as "3.11".
	Runtime string `json:"runtime,omitempty"`
	// SDKVersion of the adapter.
	SDKVersion string `json:"sdk_version,omitempty"`
	// Name for whoever reads a list of workers. It identifies nothing.
	Name string `json:"name,omitempty"`
	// HeartbeatIntervalMS defaults to a quarter of the timeout.
	HeartbeatIntervalMS int64 `json:"heartbeat_interval_ms,omitempty"`
	// HeartbeatTimeoutMS is when a silent worker counts as dead. Default 10000.
	HeartbeatTimeoutMS int64 `json:"heartbeat_timeout_ms,omitempty"`
	// PollIntervalMS is how often it looks for work when nothing wakes it. Default 1000.
	PollIntervalMS int64 `json:"poll_interval_ms,omitempty"`
	// Warm says that it keeps suspended workflows in memory. Those that it held last itself come back
	// with newer events only: see After of what is claimed.
	Warm bool `json:"warm,omitempty"`
	// Early says that it takes workflows before the commit that starts them: see Early of what is claimed.
	Early bool `json:"early,omitempty"`
}

// StartWorkerReply names the worker.
type StartWorkerReply struct {
	WorkerID uuid.UUID `json:"worker_id"`
	// MaxHistory is how many events a run of a workflow may have.
	MaxHistory int `json:"max_history"`
}

// StopWorkerRequest ends a worker.
type StopWorkerRequest struct {
	WorkerID uuid.UUID `json:"worker_id"`
	// Drain only stops claiming: running work goes on, and a second call without it ends the worker.
	Drain bool `json:"drain,omitempty"`
}

// StopWorkerReply tells what was put back.
type StopWorkerReply struct {
	// Released counts executions that the worker still held.
	Released int `json:"released"`
}

// ClaimRequest asks for due executions.
type ClaimRequest struct {
	WorkerID uuid.UUID `json:"worker_id"`
	// N is the most that the worker can take now, 1 to 1000.
	N int `json:"n"`
	// WaitMS is how long to wait for the first, in milliseconds. Default 0.
	WaitMS int64 `json:"wait_ms,omitempty"`
	// Lacking are functions that the worker has put executions back for: it gets no more of
	// them, and they wait for a worker that has them, of another language perhaps. At most 1000.
	Lacking []FunctionName `json:"lacking,omitempty"`
}

// FunctionName is what executions find their code by.
type FunctionName struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
}

// Claimed is an execution that the worker now holds.
type Claimed struct {
	ID       uuid.UUID  `json:"id"`
	Run      int        `json:"run"`
	Kind     Kind       `json:"kind"`
	Name     string     `json:"name"`
	Queue    string     `json:"queue"`
	RootID   uuid.UUID  `json:"root_id"`
	ParentID *uuid.UUID `json:"parent_id,omitempty"`
	Lease    Lease      `json:"lease"`
	Priority int        `json:"priority"`
	// Attempt counts from 1.
	Attempt          int          `json:"attempt"`
	Args             Payload      `json:"args,omitempty"`
	Kwargs           Payload      `json:"kwargs,omitempty"`
	Retry            *RetryPolicy `json:"retry,omitempty"`
	AttemptTimeoutMS int64        `json:"attempt_timeout_ms,omitempty"`
	DeadlineAt       *time.Time   `json:"deadline_at,omitempty"`
	// CancelRequested is true when it was asked to stop before it was claimed.
	CancelRequested bool `json:"cancel_requested,omitempty"`
	// Progress is what the last attempt reported.
	Progress Payload `json:"progress,omitempty"`
	Version  *string `json:"version,omitempty"`
	// Position of the last event in Events, 0 for what is no workflow.
	Position int `json:"position"`
	// After is the position up to which events are left out; absent or 0 means that all are there. It
	// is given if this worker is warm, suspended the workflow at that position, and nobody has held
	// it since. A worker that has it no longer in memory reads the rest with get_history.
	After int `json:"after,omitempty"`
	// PreviousToken is that of the lease before, and comes with After. What is in memory is the right
	// workflow only if it was suspended under this token.
	PreviousToken *uuid.UUID `json:"previous_token,omitempty"`
	// Seen is the position at which the workflow was suspended last: its code has not run on what came
	// after. Absent or 0 if that is not known.
	Seen int `json:"seen,omitempty"`
	// Early: the commit that starts it is under way. What the code asks for waits for it by itself; a
	// step's body must not start before an advance, which may be empty, was answered. Only for workers
	// that have said Early.
	Early bool `json:"early,omitempty"`
	// Events are a workflow's history of this run, from After on.
	Events []Event `json:"events,omitempty"`
}

// ClaimReply has what was claimed: nothing, if the wait ended first.
type ClaimReply struct {
	Executions []Claimed `json:"executions"`
	// Draining is true when the worker will be given nothing more.
	Draining bool `json:"draining,omitempty"`
}

// Progress is what a running attempt reports.
type Progress struct {
	ID    uuid.UUID `json:"id"`
	Lease Lease     `json:"lease"`
	// Progress is kept for the next attempt and for whoever watches.
	Progress Payload `json:"progress"`
}

// HeartbeatRequest beats at once, beside the beats that the engine sends by itself.
type HeartbeatRequest struct {
	WorkerID uuid.UUID `json:"worker_id"`
	// Items report progress of running executions.
	Items []Progress `json:"items,omitempty"`
}

// HeartbeatReply has one result per item.
type HeartbeatReply struct {
	Results []Result[Verdict] `json:"results"`
}

// PullEventsRequest asks what the holder of leases must know.
type PullEventsRequest struct {
	WorkerID uuid.UUID `json:"worker_id"`
	// WaitMS is how long to wait for the first notice, in milliseconds. Default 0.
	WaitMS int64 `json:"wait_ms,omitempty"`
}

// Notice tells the holder of one lease what changed.
type Notice struct {
	ID    uuid.UUID `json:"id"`
	Lease Lease     `json:"lease"`
	// Lost: stop, the execution is somebody else's or is over; nothing more of it will be accepted.
	Lost bool `json:"lost,omitempty"`
	// CancelRequested: the execution was asked to stop.
	CancelRequested bool `json:"cancel_requested,omitempty"`
	// NewEvents: the workflow's history has grown; advance_workflow answers with what is new.
	NewEvents bool `json:"new_events,omitempty"`
}

// PullEventsReply has each change once.
type PullEventsReply struct {
	Notices []Notice `json:"notices"`
}

// RecoverRequest looks for dead workers now, instead of at the next scan.
type RecoverRequest struct {
	// WaitMS is how long to watch silent workers, in milliseconds: one counts as dead only after this
	// process has itself seen it silent for half its timeout. Default 0.
	WaitMS int64 `json:"wait_ms,omitempty"`
}

// RecoverReply counts what was put back.
type RecoverReply struct {
	Workers    int `json:"workers"`
	Executions int `json:"executions"`
	// Parked counts executions that crashed their worker too often and were failed.
	Parked int `json:"parked"`
}

// Worker is one process incarnation that claims executions.
type Worker struct {
	ID          uuid.UUID `json:"id"`
	Name        string    `json:"name"`
	Queues      []string  `json:"queues"`
	Concurrency int       `json:"concurrency"`
	Language    string    `json:"language"`
	Runtime     string    `json:"runtime"`
	SDKVersion  string    `json:"sdk_version"`
	// Status is active, draining, stopped or dead.
	Status      string    `json:"status"`
	StartedAt   time.Time `json:"started_at"`
	HeartbeatAt time.Time `json:"heartbeat_at"`
	// Running counts the executions that it holds.
	Running int `json:"running"`
}
