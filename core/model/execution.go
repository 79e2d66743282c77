// Package model holds the nouns: rows, requests and replies. It has no rules.
package model

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Version and Commit are set by the linker.
var (
	Version = "0.0.0-dev"
	Commit  = "unknown"
)

// SchemaVersion is the newest migration that this library brings.
const SchemaVersion = 2

// Kind is what an execution runs: a job, an activity of a workflow, or a workflow.
type Kind string

// The kinds.
const (
	Job      Kind = "job"
	Activity Kind = "activity"
	Workflow Kind = "workflow"
)

// Status is where an execution stands.
type Status string

// The states; the last three are final.
const (
	Scheduled Status = "scheduled" // waits for its time
	Pending   Status = "pending"   // waits for a worker
	Running   Status = "running"   // held by a worker
	Suspended Status = "suspended" // a workflow that waits for an event and holds no worker
	Completed Status = "completed"
	Failed    Status = "failed"
	Cancelled Status = "cancelled"
)

// Final says whether nothing can happen any more, short of a retry.
func (s Status) Final() bool { return s == Completed || s == Failed || s == Cancelled }

// Payload is one JSON value, kept byte for byte as the caller wrote it.
type Payload = json.RawMessage

// Lease proves that its holder may still write: every write of a holder
// carries it, and is refused with lease_lost once another holds the execution.
type Lease struct {
	// Epoch counts the claims of an execution.
	Epoch int64 `json:"epoch"`
	// Token is random, because a lost commit can roll an epoch back.
	Token uuid.UUID `json:"token"`
}

// RetryPolicy says how often a failed attempt is repeated, and when.
type RetryPolicy struct {
	// Retries is how many failures are followed by another attempt. Default 3, 0 for workflows.
	Retries *int `json:"retries,omitempty"`
	// InitialMS is the delay after the first failure, in milliseconds. Default 1000.
	InitialMS *int64 `json:"initial_ms,omitempty"`
	// Factor multiplies the delay after each further failure. Default 2.
	Factor *float64 `json:"factor,omitempty"`
	// MaxMS caps the delay, in milliseconds. Default 60000.
	MaxMS *int64 `json:"max_ms,omitempty"`
	// Jitter spreads the delay by this fraction of it, both ways. Default 0.1.
	Jitter *float64 `json:"jitter,omitempty"`
	// NonRetryable are the error types that are never retried.
	NonRetryable []string `json:"non_retryable,omitempty"`
}

// Execution is a durable invocation of a function, as it stands now.
type Execution struct {
	ID             uuid.UUID  `json:"id"`
	Kind           Kind       `json:"kind"`
	Name           string     `json:"name"`
	Queue          string     `json:"queue"`
	Status         Status     `json:"status"`
	Priority       int        `json:"priority"`
	Run            int        `json:"run"`
	RootID         uuid.UUID  `json:"root_id"`
	ParentID       *uuid.UUID `json:"parent_id,omitempty"`
	Sequence       *int       `json:"sequence,omitempty"`
	IdempotencyKey *string    `json:"idempotency_key,omitempty"`
	// Worker holds the execution, or held it last.
	Worker *uuid.UUID `json:"worker,omitempty"`
	// Attempts counts how often a worker began the body; replaying a workflow is no attempt.
	Attempts int `json:"attempts"`
	// Failures counts attempts that ended in an error.
	Failures int `json:"failures"`
	// Crashes counts workers lost in a row while they held the execution.
	Crashes int `json:"crashes"`
	// Releases counts how often a worker put it back unrun.
	Releases      int `json:"releases"`
	HistoryLength int `json:"history_length"`
	// Parked says why an execution rests until somebody retries or resumes it.
	Parked            *string    `json:"parked,omitempty"`
	CancelRequestedAt *time.Time `json:"cancel_requested_at,omitempty"`
	CreatedAt         time.Time  `json:"created_at"`
	RunAt             time.Time  `json:"run_at"`
	StartedAt         *time.Time `json:"started_at,omitempty"`
	FinishedAt        *time.Time `json:"finished_at,omitempty"`
	DeadlineAt        *time.Time `json:"deadline_at,omitempty"`
	Language          *string    `json:"language,omitempty"`
	Version           *string    `json:"version,omitempty"`
	Args              Payload    `json:"args,omitempty"`
	Kwargs            Payload    `json:"kwargs,omitempty"`
	Result            Payload    `json:"result,omitempty"`
	// Error is {type, message, stack, cause, non_retryable, details, language}.
	Error    Payload `json:"error,omitempty"`
	Progress Payload `json:"progress,omitempty"`
	State    Payload `json:"state,omitempty"`
}

// EventType names what happened in a workflow.
type EventType string

// The event types.
const (
	EventStarted           EventType = "started"
	EventActivityScheduled EventType = "activity_scheduled"
	EventActivityCompleted EventType = "activity_completed"
	EventActivityFailed    EventType = "activity_failed"
	EventActivityCancelled EventType = "activity_cancelled"
	EventChildStarted      EventType = "child_started"
	EventChildCompleted    EventType = "child_completed"
	EventChildFailed       EventType = "child_failed"
	EventChildCancelled    EventType = "child_cancelled"
	EventStepCompleted     EventType = "step_completed"
	EventStepFailed        EventType = "step_failed"
	EventTimerStarted      EventType = "timer_started"
	EventTimerFired        EventType = "timer_fired"
	EventTimerCancelled    EventType = "timer_cancelled"
	EventSignalReceived    EventType = "signal_received"
	EventVersionMarked     EventType = "version_marked"
	EventStateSet          EventType = "state_set"
	EventCancelRequested   EventType = "cancel_requested"
	EventRetried           EventType = "retried"
	EventContinued         EventType = "continued"
)

// Event is one entry of a workflow's history.
type Event struct {
	// Position counts from 1 within a run, without gaps.
	Position int       `json:"position"`
	Type     EventType `json:"type"`
	// Sequence is the command that the event belongs to.
	Sequence *int `json:"sequence,omitempty"`
	// Name is the function, signal or change that the event is about.
	Name *string `json:"name,omitempty"`
	// At is the database's clock when the event was written.
	At time.Time `json:"at"`
	// Payload depends on the type: the result of a completed activity, child or step; the error
	// {type, message, ...} of a failed one; the payload of a signal; the number of a version; the
	// state set; {"id": ...} of a scheduled activity or child; {"delay_ms": ...} of a timer;
	// {"language", "runtime", "sdk_version"} of started; {"args", "kwargs"} of the run that ended with continued.
	Payload Payload `json:"payload,omitempty"`
}
