package model

import "github.com/google/uuid"

// Result is one item's answer in a batch: OK, or an Error of its own.
type Result[T any] struct {
	OK    *T    `json:"ok,omitempty"`
	Error error `json:"error,omitempty"`
}

// Verdict is where an accepted write left the execution.
type Verdict struct {
	Status Status `json:"status"`
}

// Completion ends an execution with a result.
type Completion struct {
	ID    uuid.UUID `json:"id"`
	Lease Lease     `json:"lease"`
	// Result, any JSON value. Default null.
	Result Payload `json:"result,omitempty"`
	// Position of the last event that the workflow has seen. Workflows only.
	Position int `json:"position,omitempty"`
}

// CompleteExecutionRequest ends executions with results.
type CompleteExecutionRequest struct {
	Items []Completion `json:"items"`
}

// Failure ends an attempt with an error.
type Failure struct {
	ID    uuid.UUID `json:"id"`
	Lease Lease     `json:"lease"`
	// Error is {type, message, stack, cause, non_retryable, details, language}; type and message are required.
	Error Payload `json:"error"`
	// Position of the last event that the workflow has seen. Workflows only.
	Position int `json:"position,omitempty"`
}

// FailExecutionRequest ends attempts with errors.
type FailExecutionRequest struct {
	Items []Failure `json:"items"`
}

// OutcomeReply has one result per item, in order.
type OutcomeReply struct {
	Results []Result[Advanced] `json:"results"`
}

// ReleaseReason says why a worker puts an execution back.
type ReleaseReason string

// The release reasons.
const (
	// ReleaseNoFunction: the worker does not have the function. It is tried again with back-off.
	ReleaseNoFunction ReleaseReason = "no_function"
	// ReleaseDrain: the worker stops. Another may take it at once.
	ReleaseDrain ReleaseReason = "drain"
	// ReleaseNonDeterminism: the code does not fit the history. The workflow is parked until somebody resumes it.
	ReleaseNonDeterminism ReleaseReason = "non_determinism"
)

// Release puts an execution back without an outcome.
type Release struct {
	ID     uuid.UUID     `json:"id"`
	Lease  Lease         `json:"lease"`
	Reason ReleaseReason `json:"reason"`
	// Message explains a parked workflow to whoever looks at it. With non_determinism only.
	Message string `json:"message,omitempty"`
}

// ReleaseRequest puts executions back without an outcome.
type ReleaseRequest struct {
	Items []Release `json:"items"`
}

// VerdictReply has one result per item, in order.
type VerdictReply struct {
	Results []Result[Verdict] `json:"results"`
}
