package engine

import (
	"context"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// SendSignal sends signals to workflows.
//
// A signal is an event from the moment that it is accepted: it waits, in order,
// for the workflow to ask for it, even one that has not begun. With an
// idempotency key it is delivered once to a workflow, whatever its run. A workflow
// whose history is full takes none until it continues as new.
//
// Errors: execution_not_found, execution_finished, history_too_long, invalid_state, invalid_request, payload_too_large, database_unavailable.
func (e *Engine) SendSignal(ctx context.Context, req model.SendSignalRequest) (model.SendSignalReply, error) {
	results, err := each(ctx, e, req.Items, e.prepareSignal, e.sent)
	return model.SendSignalReply{Results: results}, err
}

func (e *Engine) prepareSignal(i int, s model.Signal) (*work, error) {
	path := itemAt(i)
	if err := checkID(path.at(".id"), s.ID); err != nil {
		return nil, err
	}
	signal, err := e.newSignal(path, s.ID, model.StartSignal{Name: s.Name, Payload: s.Payload, IdempotencyKey: s.IdempotencyKey}, "m:"+uuid.NewString())
	if err != nil {
		return nil, err
	}
	return &work{root: s.ID, size: signalSize(&signal), signals: []store.Signal{signal}}, nil
}

// newSignal checks a signal. A sender's key is told from one that was made here,
// ours, by what it begins with.
func (e *Engine) newSignal(path place, to uuid.UUID, s model.StartSignal, ours string) (store.Signal, error) {
	signal := store.Signal{ID: to, Name: s.Name, Payload: s.Payload, Key: ours}
	if len(signal.Payload) == 0 {
		signal.Payload = null
	}
	if s.IdempotencyKey != nil {
		signal.Key = "k:" + *s.IdempotencyKey
		if err := checkName(path.at(".idempotency_key"), *s.IdempotencyKey); err != nil {
			return signal, err
		}
	}
	if err := checkName(path.at(".name"), s.Name); err != nil {
		return signal, err
	}
	return signal, e.checkPayload(path.at(".payload"), s.Payload)
}

func signalSize(s *store.Signal) int { return len(s.Payload) + 100 }

func (e *Engine) sent(w *work) (model.Sent, error) {
	x, s := &w.signals[0], &w.out.signals[0]
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
	case !s.Status.Final():
		return model.Sent{}, e.tooLong(x.ID, s.HistoryLength, 1)
	}
	return model.Sent{}, fault.New(fault.ExecutionFinished, fault.Details{"id": x.ID, "status": s.Status},
		"workflow %s has ended (%s) and takes no more signals", x.ID, s.Status)
}

// tooLong refuses what a workflow's history has no room for.
func (e *Engine) tooLong(id uuid.UUID, length, more int) error {
	limit := e.settings.maxHistory
	return fault.New(fault.HistoryTooLong, fault.Details{"id": id, "length": length, "limit": limit},
		"the history of workflow %s has %d events, and %d more would pass the limit of %d (max_history); its code must continue as new (continue_as_new) before",
		id, length, more, limit)
}
