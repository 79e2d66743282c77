package model

import (
	"time"

	"github.com/google/uuid"
)

// Limits and defaults of a new execution.
const (
	MinPriority     = 0
	MaxPriority     = 10
	DefaultPriority = 5
	DefaultQueue    = "default"
	MaxNameBytes    = 255
	MaxBatch        = 10_000
	MaxStartSignals = 100
)

// ClosePolicy says what becomes of a child when its parent ends first.
type ClosePolicy string

// The close policies.
const (
	CloseCancel ClosePolicy = "cancel"
	CloseDetach ClosePolicy = "detach"
)

// StartSignal is sent to a workflow together with its start.
type StartSignal struct {
	// Name of the signal, 1 to 255 bytes.
	Name string `json:"name"`
	// Payload, any JSON value. Default null.
	Payload Payload `json:"payload,omitempty"`
	// IdempotencyKey delivers a signal once, however often it is sent to the same workflow.
	IdempotencyKey *string `json:"idempotency_key,omitempty"`
}

// NewExecution asks for one execution.
type NewExecution struct {
	// ID is made here when absent. Repeating a call with the same id creates nothing new.
	ID   *uuid.UUID `json:"id,omitempty"`
	Kind Kind       `json:"kind"`
	// Name of the function, 1 to 255 bytes.
	Name string `json:"name"`
	// Queue, 1 to 255 bytes. Default "default".
	Queue string `json:"queue,omitempty"`
	// Args are the positional arguments, a JSON array. Default [].
	Args Payload `json:"args,omitempty"`
	// Kwargs are the keyword-only arguments, a JSON object. Default {}.
	Kwargs Payload `json:"kwargs,omitempty"`
	// Priority 0 to 10, higher first. Default 5.
	Priority *int `json:"priority,omitempty"`
	// RunAt is the earliest start, an instant. Not together with DelayMS.
	RunAt *time.Time `json:"run_at,omitempty"`
	// DelayMS is the earliest start from now, in milliseconds, by the database's clock.
	DelayMS int64 `json:"delay_ms,omitempty"`
	// IdempotencyKey makes a second call with the same name and key answer the first one's id.
	IdempotencyKey *string `json:"idempotency_key,omitempty"`
	// Retry, absent fields at their defaults.
	Retry *RetryPolicy `json:"retry,omitempty"`
	// AttemptTimeoutMS bounds one attempt, in milliseconds; the worker enforces it. Default none.
	AttemptTimeoutMS int64 `json:"attempt_timeout_ms,omitempty"`
	// TimeoutMS bounds the whole execution with its retries and runs, in milliseconds from its creation. Default none.
	// A child that is not detached ends with its parent's deadline at the latest.
	TimeoutMS int64 `json:"timeout_ms,omitempty"`
	// ScheduleTimeoutMS bounds the time until the first start, in milliseconds from its creation. Default none.
	ScheduleTimeoutMS int64 `json:"schedule_timeout_ms,omitempty"`
	// Version of the code that asks, for whoever reads it.
	Version *string `json:"version,omitempty"`
	// Awaited says that the caller is going to wait for the end, so that it is announced to other processes.
	Awaited bool `json:"awaited,omitempty"`
	// Signals of a workflow, at most 100, stored with it in one transaction. If the idempotency key
	// leads to an execution that is there already, they are sent to that one. Not for children.
	Signals []StartSignal `json:"signals,omitempty"`
}

// CreateExecutionRequest asks for executions, all of them or none.
type CreateExecutionRequest struct {
	// Items, 1 to 10000.
	Items []NewExecution `json:"items"`
	// WaitMS is how long the answer waits for the items to end, in milliseconds. Default 0.
	WaitMS int64 `json:"wait_ms,omitempty"`
}

// Outcome is how an execution has ended.
type Outcome struct {
	Status Status  `json:"status"`
	Result Payload `json:"result,omitempty"`
	// Error is {type, message, stack, cause, non_retryable, details, language}.
	Error Payload `json:"error,omitempty"`
}

// Created answers one new execution.
type Created struct {
	ID uuid.UUID `json:"id"`
	// Created is false when the idempotency key was taken: ID is then the first one's.
	Created bool `json:"created"`
	// Signaled tells whether the execution took the signals: false when it was there already and
	// takes no more. Absent when there were none.
	Signaled *bool `json:"signaled,omitempty"`
	// Outcome of an execution that ended while the answer waited. Absent if it did not, or if
	// that could not be found out: ask with wait_execution.
	Outcome *Outcome `json:"outcome,omitempty"`
}

// CreateExecutionReply has one result per item, in order.
type CreateExecutionReply struct {
	Results []Created `json:"results"`
}
