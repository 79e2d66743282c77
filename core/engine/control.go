package engine

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// CancelExecution asks executions to stop.
//
// One that waits to run never does. A running job or activity is only asked,
// because a call that has already left for the outside world cannot be called
// back: its worker learns of it, and its result is dropped. A workflow that has
// begun may clean up, and ends as cancelled. Cancelling what has ended changes
// nothing and is no error, so a caller may safely ask twice.
//
// Errors: execution_not_found, invalid_request, database_unavailable.
func (e *Engine) CancelExecution(ctx context.Context, req model.TargetsRequest) (model.ChangeReply, error) {
	return e.cancel(ctx, req, "Cancelled", false)
}

// TerminateExecution ends executions at once, without asking them.
//
// No clean-up runs; whoever holds one loses its lease. Its children are
// cancelled, unless they were detached.
//
// Errors: execution_not_found, invalid_request, database_unavailable.
func (e *Engine) TerminateExecution(ctx context.Context, req model.TargetsRequest) (model.ChangeReply, error) {
	return e.cancel(ctx, req, "Terminated", true)
}

func (e *Engine) cancel(ctx context.Context, req model.TargetsRequest, name string, force bool) (model.ChangeReply, error) {
	results, err := each(ctx, e, req.Items, func(i int, t model.Target) (*work, error) {
		if err := checkTarget(i, t); err != nil {
			return nil, err
		}
		c := store.Cancel{ID: t.ID, Force: force, Error: stopError(name, t.Reason)}
		return &work{root: t.ID, size: 200 + len(t.Reason), cancels: []store.Cancel{c}}, nil
	}, cancelled)
	return model.ChangeReply{Results: results}, err
}

func checkTarget(i int, t model.Target) error {
	path := itemAt(i)
	if len(t.Reason) > maxReason {
		return invalid(path.at(".reason"), "has %d bytes; at most %d are kept", len(t.Reason), maxReason)
	}
	return checkID(path.at(".id"), t.ID)
}

func cancelError(reason string) model.Payload { return stopError("Cancelled", reason) }

func stopError(name, reason string) model.Payload {
	raw, err := json.Marshal(map[string]any{"type": name, "message": first(reason, "somebody asked it to stop"), "non_retryable": true, "language": "core"})
	if err != nil {
		return null // strings and booleans always encode
	}
	return raw
}

func cancelled(w *work) (model.Change, error) {
	marked, ended := &w.out.marked[0], &w.out.ended[0]
	switch {
	case !ended.Found:
		return model.Change{}, notFound(w.cancels[0].ID)
	case ended.Ended:
		return model.Change{Status: ended.Status, Changed: true}, nil
	}
	return model.Change{Status: marked.Status, Changed: marked.Changed}, nil
}

// ResumeWorkflow lets parked workflows go on, for instance after the code was
// mended that did not fit their history. Others are left alone.
//
// Errors: execution_not_found, database_unavailable.
func (e *Engine) ResumeWorkflow(ctx context.Context, req model.TargetsRequest) (model.ChangeReply, error) {
	return e.change(ctx, req, e.store.Resume)
}

// RetryExecution starts the next run of executions that failed or were
// cancelled, and lets parked workflows go on.
//
// A workflow continues from its history; what its failure came from is tried
// anew. A parent that was told of the failure is not told again.
//
// Errors: execution_not_found, invalid_state, database_unavailable.
func (e *Engine) RetryExecution(ctx context.Context, req model.TargetsRequest) (model.ChangeReply, error) {
	reply, err := e.change(ctx, req, func(ctx context.Context, id uuid.UUID) (string, bool, error) {
		if queue, changed, err := e.store.Resume(ctx, id); err != nil || changed {
			return queue, changed, err
		}
		return e.store.Retry(ctx, id)
	})
	for i, r := range reply.Results {
		if r.OK != nil && !r.OK.Changed {
			reply.Results[i] = model.Result[model.Change]{Error: fault.New(fault.InvalidState, fault.Details{"id": req.Items[i].ID, "status": r.OK.Status},
				"execution %s is %s; only what failed, was cancelled or is parked can be retried", req.Items[i].ID, r.OK.Status)}
		}
	}
	return reply, err
}

// change acts on executions one by one: these are acts of a person.
func (e *Engine) change(ctx context.Context, req model.TargetsRequest, act func(context.Context, uuid.UUID) (string, bool, error)) (model.ChangeReply, error) {
	if err := checkItems(len(req.Items)); err != nil {
		return model.ChangeReply{}, err
	}
	if err := e.ready(ctx); err != nil {
		return model.ChangeReply{}, err
	}
	defer e.hints.send()
	results := make([]model.Result[model.Change], len(req.Items))
	for i, t := range req.Items {
		change, err := e.changeOne(ctx, i, t, act)
		if err != nil {
			results[i].Error = fault.From(err)
			continue
		}
		results[i].OK = &change
	}
	return model.ChangeReply{Results: results}, nil
}

func (e *Engine) changeOne(ctx context.Context, i int, t model.Target, act func(context.Context, uuid.UUID) (string, bool, error)) (model.Change, error) {
	if err := checkTarget(i, t); err != nil {
		return model.Change{}, err
	}
	queue, changed, err := act(ctx, t.ID)
	if err != nil {
		return model.Change{}, err
	}
	status, found, err := e.store.Status(ctx, t.ID)
	if err == nil && !found {
		err = notFound(t.ID)
	}
	if changed {
		e.wake(queue)
	}
	return model.Change{Status: status, Changed: changed}, err
}
