package engine

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// SendSignal sends signals to workflows.
//
// A signal is an event from the moment that it is accepted: it waits, in order,
// for the workflow to ask for it, even one that has not begun. With an
// idempotency key it is delivered once to a workflow.
//
// Errors: execution_not_found, execution_finished, invalid_state, invalid_request, payload_too_large, database_unavailable.
func (e *Engine) SendSignal(ctx context.Context, req model.SendSignalRequest) (model.SendSignalReply, error) {
	results, err := each(ctx, e, req.Items, e.prepareSignal, sent)
	return model.SendSignalReply{Results: results}, err
}

func (e *Engine) prepareSignal(i int, s model.Signal) (*work, error) {
	path := fmt.Sprintf("items[%d]", i)
	for _, err := range []error{
		checkID(path+".id", s.ID), checkName(path+".name", s.Name), e.checkPayload(path+".payload", s.Payload),
	} {
		if err != nil {
			return nil, err
		}
	}
	key := "m:" + uuid.NewString()
	if s.IdempotencyKey != nil {
		if err := checkName(path+".idempotency_key", *s.IdempotencyKey); err != nil {
			return nil, err
		}
		key = "k:" + *s.IdempotencyKey
	}
	payload := s.Payload
	if len(payload) == 0 {
		payload = null
	}
	return &work{root: s.ID, size: len(payload) + 100, signal: &store.Signal{ID: s.ID, Name: s.Name, Payload: payload, Key: key}}, nil
}

func sent(w *work) (model.Sent, error) {
	x, s := w.signal, &w.out.signal
	switch {
	case !s.Found:
		return model.Sent{}, notFound(x.ID)
	case s.Kind != model.Workflow:
		return model.Sent{}, fault.New(fault.InvalidState, fault.Details{"id": x.ID, "kind": s.Kind},
			"execution %s is of kind %s; only workflows take signals", x.ID, s.Kind)
	case s.Changed:
		return model.Sent{Delivered: true}, nil
	case s.Known:
		// What a try before this one wrote, whose answer was lost, is ours.
		return model.Sent{Delivered: w.tries > 0}, nil
	}
	return model.Sent{}, fault.New(fault.ExecutionFinished, fault.Details{"id": x.ID, "status": s.Status},
		"workflow %s has ended (%s) and takes no more signals", x.ID, s.Status)
}
