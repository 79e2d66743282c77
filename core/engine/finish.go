package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// CompleteExecution ends executions with results.
//
// One that was asked to stop ends as cancelled and its result is dropped. A
// workflow that has not seen a request to stop goes on instead: the answer is
// "running" with the events that it has missed. Repeating a completion whose
// answer was lost is accepted.
//
// Errors: lease_lost, execution_not_found, invalid_request, payload_too_large, database_unavailable.
func (e *Engine) CompleteExecution(ctx context.Context, req model.CompleteExecutionRequest) (model.OutcomeReply, error) {
	results, err := each(ctx, e, req.Items, func(i int, item model.Completion) (*work, error) {
		path := itemAt(i).at(".result")
		if err := e.checkPayload(path, item.Result); err != nil {
			return nil, err
		}
		return e.prepareFinish(i, store.Finish{ID: item.ID, Lease: item.Lease, Position: item.Position, OK: true, Result: item.Result})
	}, e.finished)
	return model.OutcomeReply{Results: results}, err
}

// FailExecution ends attempts with errors.
//
// A job or an activity is tried again after a delay as long as its retry policy
// and its deadline allow, and fails otherwise; a workflow fails. Repeating a
// failure whose answer was lost is accepted and counts once.
//
// Errors: lease_lost, execution_not_found, invalid_request, invalid_payload, payload_too_large, database_unavailable.
func (e *Engine) FailExecution(ctx context.Context, req model.FailExecutionRequest) (model.OutcomeReply, error) {
	results, err := each(ctx, e, req.Items, func(i int, item model.Failure) (*work, error) {
		finish := store.Finish{ID: item.ID, Lease: item.Lease, Position: item.Position}
		if err := e.setError(itemAt(i).at(".error"), item.Error, &finish); err != nil {
			return nil, err
		}
		return e.prepareFinish(i, finish)
	}, e.finished)
	return model.OutcomeReply{Results: results}, err
}

func (e *Engine) prepareFinish(i int, finish store.Finish) (*work, error) {
	if err := checkID(itemAt(i).at(".id"), finish.ID); err != nil {
		return nil, err
	}
	known := e.leases.begin(finish.ID, finish.Lease, false)
	finish.Root, finish.Plain = known.isRoot(finish.ID), finish.OK && known.isPlain(finish.ID)
	if finish.OK {
		finish.Parent = known.plainParent()
	}
	finish.Workflow = known.kind == model.Workflow || finish.Position > 0
	return &work{root: known.root, size: len(finish.Result) + len(finish.Error), finished: &finish}, nil
}

// setError reads of an error what retrying depends on; the rest passes untouched.
func (e *Engine) setError(path place, payload model.Payload, finish *store.Finish) error {
	if err := e.checkPayload(path, payload); err != nil {
		return err
	}
	var head struct {
		Type         string `json:"type"`
		Message      string `json:"message"`
		NonRetryable bool   `json:"non_retryable"`
	}
	if len(payload) == 0 || bytes.Equal(payload, null) || json.Unmarshal(payload, &head) != nil || head.Type == "" {
		return fault.New(fault.InvalidPayload, fault.Details{"path": path.String()}, `%s must be an object such as {"type": "ValueError", "message": "..."}`, path)
	}
	finish.Error, finish.Final = payload, head.NonRetryable
	if !strings.ContainsRune(head.Type, 0) { // PostgreSQL has no such text, and no policy names such a type
		finish.ErrorType = head.Type
	}
	finish.FailedSequence = failedSequence(payload)
	return nil
}

// failedSequence reads which command's failure went uncaught. It is a hint for a
// retry: one that makes no sense is as good as none.
func failedSequence(payload model.Payload) *int32 {
	var head struct {
		Sequence *int32 `json:"sequence"`
	}
	if json.Unmarshal(payload, &head) != nil {
		return nil
	}
	return head.Sequence
}

// finished answers an outcome by what the row says now.
func (e *Engine) finished(w *work) (model.Advanced, error) {
	x, f := w.finished, &w.out.finished
	verdict, err := judge(x, f)
	position := x.Position
	if err == nil && len(f.Events) > 0 {
		verdict.Events = f.Events
		position = f.Events[len(f.Events)-1].Position
	}
	if err == nil && verdict.Status == model.Running {
		verdict.Position = position
	}
	e.leases.end(x.ID, x.Lease, err == nil && verdict.Status == model.Running, position)
	return verdict, err
}

func judge(x *store.Finish, f *store.Finished) (model.Advanced, error) {
	switch {
	case !f.Found:
		return model.Advanced{}, notFound(x.ID)
	case f.Held, f.Continued:
		return model.Advanced{Status: f.Status}, nil
	case f.SameLease && isRepeat(x, f.Status):
		return model.Advanced{Status: f.Status}, nil
	}
	return model.Advanced{}, lost(x.ID)
}

// isRepeat says whether a row that still bears the lease stands where this very
// outcome left it.
func isRepeat(x *store.Finish, status model.Status) bool {
	switch status {
	case model.Pending:
		return !x.OK || x.Continue != nil
	case model.Completed:
		return x.OK && x.Continue == nil
	case model.Failed, model.Scheduled:
		return !x.OK
	case model.Cancelled:
		return true
	}
	return false
}
