package model

import "github.com/google/uuid"

// CommandType names what workflow code asks for.
type CommandType string

// The commands.
const (
	// CommandSchedule starts an activity, a job or a child workflow: Execution says which.
	CommandSchedule CommandType = "schedule"
	// CommandStartTimer starts a durable timer of DelayMS.
	CommandStartTimer CommandType = "start_timer"
	// CommandCancel cancels the activity, child or timer that Sequence started.
	CommandCancel CommandType = "cancel"
	// CommandMarkVersion records Version for the change Name.
	CommandMarkVersion CommandType = "mark_version"
	// CommandSetState publishes State.
	CommandSetState CommandType = "set_state"
)

// Command is one thing that workflow code asks for.
type Command struct {
	Type CommandType `json:"type"`
	// Sequence numbers the commands of a run in the order in which the code asked, from 1. For cancel it is the one to cancel.
	Sequence int `json:"sequence"`
	// Name of a timer (for whoever reads the history) or of a change.
	Name string `json:"name,omitempty"`
	// Execution to schedule. Idempotency keys are refused here: the sequence already is one.
	Execution *NewExecution `json:"execution,omitempty"`
	// ClosePolicy of a scheduled execution. Default cancel.
	ClosePolicy ClosePolicy `json:"close_policy,omitempty"`
	// DelayMS of a timer, in milliseconds. 0 and less fire at once.
	DelayMS int64 `json:"delay_ms,omitempty"`
	// Version chosen for a change.
	Version int `json:"version,omitempty"`
	// State to publish.
	State Payload `json:"state,omitempty"`
}

// StepEvent is the outcome of a step that ran inside the worker.
type StepEvent struct {
	// Type is step_completed or step_failed.
	Type     EventType `json:"type"`
	Sequence int       `json:"sequence"`
	Name     string    `json:"name"`
	// Payload is the result of a completed step or the error of a failed one.
	Payload Payload `json:"payload,omitempty"`
}

// Then is what follows an advance.
type Then string

// What can follow an advance.
const (
	ThenKeep     Then = "keep"     // the worker goes on holding the workflow
	ThenSuspend  Then = "suspend"  // it waits for an event and holds no worker
	ThenComplete Then = "complete" // it is done, with Result
	ThenFail     Then = "fail"     // it is done, with Error
	ThenContinue Then = "continue" // this run is done, and the next one starts, with Args and Kwargs
)

// Advance is the one write of a workflow.
type Advance struct {
	ID    uuid.UUID `json:"id"`
	Lease Lease     `json:"lease"`
	// Position of the last event that the code has seen.
	Position int `json:"position"`
	// Events are outcomes of steps.
	Events []StepEvent `json:"events,omitempty"`
	// Commands in the order in which the code asked.
	Commands []Command `json:"commands,omitempty"`
	Then     Then      `json:"then"`
	// Result with then=complete. Default null.
	Result Payload `json:"result,omitempty"`
	// Error with then=fail: {type, message, ...}; "sequence" names the command whose failure went uncaught, if one did.
	Error Payload `json:"error,omitempty"`
	// Args of the next run with then=continue, a JSON array. Default [].
	Args Payload `json:"args,omitempty"`
	// Kwargs of the next run with then=continue, a JSON object. Default {}.
	Kwargs Payload `json:"kwargs,omitempty"`
	// Carry lists the positions of signals up to Position that the code has not taken. With
	// then=continue the next run begins with them, and with every signal after Position.
	Carry []int `json:"carry,omitempty"`
}

// AdvanceWorkflowRequest advances workflows, each by its own verdict.
type AdvanceWorkflowRequest struct {
	Items []Advance `json:"items"`
}

// Advanced answers an accepted write.
type Advanced struct {
	// Status after the write. "running" after then=suspend, complete, fail or continue means that
	// newer events came first: apply Events and go on; the lease still holds. After then=continue
	// it is "pending": the next run waits for a worker.
	Status Status `json:"status"`
	// Position of the last event in Events, or of the last one known.
	Position int `json:"position,omitempty"`
	// Events after the request's position, those just written among them. Absent once the run is over.
	Events []Event `json:"events,omitempty"`
}

// Suspension suspends a workflow.
type Suspension struct {
	ID       uuid.UUID `json:"id"`
	Lease    Lease     `json:"lease"`
	Position int       `json:"position"`
	Commands []Command `json:"commands,omitempty"`
}

// SuspendWorkflowRequest is advance_workflow with then=suspend.
type SuspendWorkflowRequest struct {
	Items []Suspension `json:"items"`
}

// StepRecord records the outcome of a step.
type StepRecord struct {
	ID       uuid.UUID `json:"id"`
	Lease    Lease     `json:"lease"`
	Position int       `json:"position"`
	Event    StepEvent `json:"event"`
}

// RecordStepRequest is advance_workflow with one step event and then=keep.
type RecordStepRequest struct {
	Items []StepRecord `json:"items"`
}

// Signal is sent to a workflow.
type Signal struct {
	// ID of the workflow.
	ID uuid.UUID `json:"id"`
	// Name of the signal, 1 to 255 bytes.
	Name string `json:"name"`
	// Payload, any JSON value. Default null.
	Payload Payload `json:"payload,omitempty"`
	// IdempotencyKey delivers a signal once, however often it is sent to the same workflow.
	IdempotencyKey *string `json:"idempotency_key,omitempty"`
}

// SendSignalRequest sends signals.
type SendSignalRequest struct {
	Items []Signal `json:"items"`
}

// Sent answers an accepted signal.
type Sent struct {
	// Delivered is false when a signal with this idempotency key was there already.
	Delivered bool `json:"delivered"`
}

// SendSignalReply has one result per item, in order.
type SendSignalReply struct {
	Results []Result[Sent] `json:"results"`
}
