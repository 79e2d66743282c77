package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// AdvanceWorkflow is the one write of a workflow: its new events and commands,
// and what follows.
//
// Events and commands are always written when the lease holds, once for each
// sequence, so that a write whose answer was lost can be repeated. The answer
// holds every event after the request's position. Suspending where newer events
// have come, or completing, failing or continuing without having seen a request
// to stop, leaves the workflow running: apply the events and go on.
//
// Continuing ends the run and starts the next one of the same execution, with
// arguments of its own and a history that begins with the signals that nobody has
// taken. Timers of the old run are gone, its children are closed like those of a
// workflow that ended; deadline, parent and published state stay. A workflow that
// was asked to stop ends as cancelled instead.
//
// A run that would get more events than max_history is refused with
// history_too_long; it can still cancel, complete, fail and continue.
//
// Errors: lease_lost, execution_not_found, history_too_long, invalid_request, invalid_payload, payload_too_large, database_unavailable.
func (e *Engine) AdvanceWorkflow(ctx context.Context, req model.AdvanceWorkflowRequest) (model.OutcomeReply, error) {
	results, err := each(ctx, e, req.Items, e.prepareAdvance, e.advanced)
	return model.OutcomeReply{Results: results}, err
}

// SuspendWorkflow is advance_workflow with then=suspend.
//
// Errors: lease_lost, execution_not_found, history_too_long, invalid_request, invalid_payload, payload_too_large, database_unavailable.
func (e *Engine) SuspendWorkflow(ctx context.Context, req model.SuspendWorkflowRequest) (model.OutcomeReply, error) {
	results, err := each(ctx, e, req.Items, func(i int, s model.Suspension) (*work, error) {
		return e.prepareAdvance(i, model.Advance{ID: s.ID, Lease: s.Lease, Position: s.Position, Commands: s.Commands, Then: model.ThenSuspend})
	}, e.advanced)
	return model.OutcomeReply{Results: results}, err
}

// RecordStep is advance_workflow with the outcome of one step and then=keep.
//
// Errors: lease_lost, execution_not_found, history_too_long, invalid_request, payload_too_large, database_unavailable.
func (e *Engine) RecordStep(ctx context.Context, req model.RecordStepRequest) (model.OutcomeReply, error) {
	results, err := each(ctx, e, req.Items, func(i int, r model.StepRecord) (*work, error) {
		return e.prepareAdvance(i, model.Advance{
			ID: r.ID, Lease: r.Lease, Position: r.Position, Events: []model.StepEvent{r.Event}, Then: model.ThenKeep,
		})
	}, e.advanced)
	return model.OutcomeReply{Results: results}, err
}

// advanceBuilder turns an advance's events and commands into what is written.
type advanceBuilder struct {
	engine  *Engine
	path    place
	request *model.Advance
	out     store.Advance
	cancels []store.Cancel
	// started are the commands of this advance, by sequence.
	started map[int]*model.Command
	// cancelled sequences, each once.
	cancelled map[int]bool
	size      int
}

func (e *Engine) prepareAdvance(i int, a model.Advance) (*work, error) {
	path := itemAt(i)
	if err := checkID(path.at(".id"), a.ID); err != nil {
		return nil, err
	}
	if a.Position < 0 {
		return nil, invalid(path.at(".position"), "is %d; it counts from 0", a.Position)
	}
	b := advanceBuilder{
		engine: e, path: path, request: &a, started: map[int]*model.Command{}, cancelled: map[int]bool{},
		out: store.Advance{ID: a.ID, Lease: a.Lease, Position: a.Position, Suspend: a.Then == model.ThenSuspend},
	}
	if err := b.build(); err != nil {
		return nil, err
	}
	finish, err := e.endOf(path, &a)
	if err != nil {
		return nil, err
	}
	if finish == nil {
		if err := b.fits(); err != nil {
			return nil, err
		}
	}
	w := &work{size: b.size + len(a.Result) + len(a.Error) + len(a.Args) + len(a.Kwargs), cancels: b.cancels}
	known := e.leases.begin(a.ID, a.Lease, b.opens())
	w.root, w.finished, b.out.Ending = known.root, finish, finish != nil
	if finish == nil || len(b.out.Entries) > 0 || b.out.State != nil {
		w.advance = &b.out
	}
	if x := known.early; x != nil && w.advance != nil && b.isEmpty() && a.Then == model.ThenKeep && a.Position == x.claimed.Position {
		w.advance, w.asked, w.awaits = nil, w.advance, x
	}
	if finish != nil {
		finish.Root = known.isRoot(a.ID)
		finish.Plain = finish.OK && finish.Continue == nil && w.advance == nil && known.isPlain(a.ID)
	}
	return w, nil
}

// isEmpty: it asks for nothing but to be answered.
func (b *advanceBuilder) isEmpty() bool {
	return len(b.out.Entries)+len(b.cancels) == 0 && b.out.State == nil
}

// opens says whether it starts what an end has to close.
func (b *advanceBuilder) opens() bool {
	return slices.ContainsFunc(b.request.Commands, func(c model.Command) bool {
		return c.Type == model.CommandSchedule || c.Type == model.CommandStartTimer
	})
}

// endOf answers the outcome in an advance, if it has one.
func (e *Engine) endOf(path place, a *model.Advance) (*store.Finish, error) {
	finish := store.Finish{ID: a.ID, Lease: a.Lease, Position: a.Position, Workflow: true}
	switch a.Then {
	case model.ThenKeep, model.ThenSuspend:
		return nil, nil
	case model.ThenComplete:
		finish.OK, finish.Result = true, a.Result
		return &finish, e.checkPayload(path.at(".result"), a.Result)
	case model.ThenFail:
		return &finish, e.setError(path.at(".error"), a.Error, &finish)
	case model.ThenContinue:
		next, err := e.nextRun(path, a)
		finish.OK, finish.Continue = true, next
		return &finish, err
	}
	return nil, invalid(path.at(".then"), "is %q; it must be keep, suspend, complete, fail or continue", a.Then)
}

// nextRun answers what the next run begins with.
func (e *Engine) nextRun(path place, a *model.Advance) (*store.Continue, error) {
	next := &store.Continue{Args: absent(a.Args), Kwargs: absent(a.Kwargs)}
	for _, err := range []error{
		checkShape(path.at(".args"), next.Args, '[', "array"),
		checkShape(path.at(".kwargs"), next.Kwargs, '{', "object"),
		e.checkPayload(path.at(".args"), next.Args),
		e.checkPayload(path.at(".kwargs"), next.Kwargs),
	} {
		if err != nil {
			return nil, err
		}
	}
	for i, position := range a.Carry {
		if position < 1 || position > a.Position {
			return nil, invalid(path.in("carry", i), "is %d; it must be the position of a signal that the code has seen, 1 to %d", position, a.Position)
		}
		next.Carry = append(next.Carry, int32(position))
	}
	slices.Sort(next.Carry)
	next.Carry = slices.Compact(next.Carry)
	return next, nil
}

// fits refuses what would make the history too long. What only cancels passes: it
// adds no more than is open, and lets a workflow come to its end.
func (b *advanceBuilder) fits() error {
	added := 0
	for i := range b.out.Entries {
		if !b.out.Entries[i].Cancel {
			added++
		}
	}
	if added > 0 && b.request.Position+added > b.engine.settings.maxHistory {
		return b.engine.tooLong(b.request.ID, b.request.Position, added)
	}
	return nil
}

func (b *advanceBuilder) build() error {
	for i := range b.request.Events {
		if err := b.step(b.path.in("events", i), &b.request.Events[i]); err != nil {
			return err
		}
	}
	for i := range b.request.Commands {
		if err := b.command(b.path.in("commands", i), &b.request.Commands[i]); err != nil {
			return err
		}
	}
	return nil
}

func (b *advanceBuilder) step(path place, s *model.StepEvent) error {
	if s.Type != model.EventStepCompleted && s.Type != model.EventStepFailed {
		return invalid(path.at(".type"), "is %q; it must be step_completed or step_failed", s.Type)
	}
	if err := checkName(path.at(".name"), s.Name); err != nil {
		return err
	}
	if err := b.checkSequence(path, s.Sequence); err != nil {
		return err
	}
	payload := s.Payload
	if len(payload) == 0 {
		payload = null
	}
	b.out.Waking = true
	b.add(store.Entry{Type: s.Type, Sequence: s.Sequence, Name: &s.Name, Payload: payload})
	return b.engine.checkPayload(path.at(".payload"), payload)
}

func (b *advanceBuilder) checkSequence(path place, sequence int) error {
	if sequence < 1 || sequence > maxSequence {
		return invalid(path.at(".sequence"), "is %d; sequences count from 1", sequence)
	}
	return nil
}

func (b *advanceBuilder) add(e store.Entry) {
	b.out.Entries = append(b.out.Entries, e)
	b.size += len(e.Payload) + 100
}

func (b *advanceBuilder) command(path place, c *model.Command) error {
	if err := b.checkSequence(path, c.Sequence); err != nil {
		return err
	}
	if c.Type != model.CommandCancel {
		if b.started[c.Sequence] != nil {
			return invalid(path.at(".sequence"), "is %d, which another command of this advance has", c.Sequence)
		}
		b.started[c.Sequence] = c
	}
	switch c.Type {
	case model.CommandSchedule:
		return b.schedule(path, c)
	case model.CommandStartTimer:
		return b.timer(path, c)
	case model.CommandCancel:
		return b.cancel(c)
	case model.CommandMarkVersion:
		b.add(store.Entry{Type: model.EventVersionMarked, Sequence: c.Sequence, Name: &c.Name, Payload: fmt.Appendf(nil, "%d", c.Version)})
		return checkName(path.at(".name"), c.Name)
	case model.CommandSetState:
		b.out.State = c.State
		b.add(store.Entry{Type: model.EventStateSet, Sequence: c.Sequence, Payload: c.State})
		return b.engine.checkPayload(path.at(".state"), c.State)
	}
	return invalid(path.at(".type"), "is %q; it must be schedule, start_timer, cancel, mark_version or set_state", c.Type)
}

func (b *advanceBuilder) schedule(path place, c *model.Command) error {
	if c.Execution == nil {
		return invalid(path.at(".execution"), "is missing; a schedule command says what to start")
	}
	if c.Execution.IdempotencyKey != nil {
		return invalid(path.at(".execution.idempotency_key"), "is not for workflow code: the sequence already makes the start happen once")
	}
	if len(c.Execution.Signals) > 0 {
		return invalid(path.at(".execution.signals"), "are not for workflow code: send them to the child, in a step")
	}
	row, err := b.engine.newRow(path.at(".execution"), c.Execution)
	if err != nil {
		return err
	}
	policy := string(c.ClosePolicy)
	switch c.ClosePolicy {
	case "":
		policy = string(model.CloseCancel)
	case model.CloseCancel, model.CloseDetach:
	default:
		return invalid(path.at(".close_policy"), "is %q; it must be cancel or detach", c.ClosePolicy)
	}
	sequence := int32(c.Sequence)
	row.ParentID, row.Sequence, row.ClosePolicy = &b.request.ID, &sequence, &policy
	b.out.Children = append(b.out.Children, row)
	b.size += len(row.Args) + len(row.Kwargs) + 200
	entry := store.Entry{Type: model.EventActivityScheduled, Sequence: c.Sequence, Name: &row.Name, Payload: fmt.Appendf(nil, `{"id":"%s"}`, row.ID)}
	if row.Kind == model.Workflow {
		entry.Type = model.EventChildStarted
	}
	b.add(entry)
	return nil
}

func (b *advanceBuilder) timer(path place, c *model.Command) error {
	if c.DelayMS > maxDelayMS {
		return checkDelay(path.at(".delay_ms"), c.DelayMS)
	}
	delay := max(c.DelayMS, 0)
	entry := store.Entry{Type: model.EventTimerStarted, Sequence: c.Sequence, Payload: fmt.Appendf(nil, `{"delay_ms":%d}`, delay), DelayMS: delay}
	if c.Name != "" {
		entry.Name = &c.Name
	}
	b.add(entry)
	if delay == 0 {
		b.out.Waking = true
		b.add(store.Entry{Type: model.EventTimerFired, Sequence: c.Sequence})
	}
	return nil
}

// cancel of what this very advance starts is settled here: it never runs.
func (b *advanceBuilder) cancel(c *model.Command) error {
	started := b.started[c.Sequence]
	if b.cancelled[c.Sequence] {
		return nil
	}
	b.cancelled[c.Sequence] = true
	switch {
	case started == nil:
		sequence, token := int32(c.Sequence), b.request.Lease.Token
		b.add(store.Entry{Type: "cancel", Sequence: c.Sequence, Cancel: true})
		b.cancels = append(b.cancels, store.Cancel{ID: b.request.ID, Sequence: &sequence, Token: &token, Error: cancelError("its parent cancelled it")})
	case started.Type == model.CommandSchedule:
		b.cancelStillborn(started)
	case started.Type == model.CommandStartTimer && started.DelayMS > 0:
		for i := range b.out.Entries {
			if e := &b.out.Entries[i]; e.Sequence == c.Sequence && e.Type == model.EventTimerStarted {
				e.DelayMS = 0
			}
		}
		b.add(store.Entry{Type: model.EventTimerCancelled, Sequence: c.Sequence})
	}
	return nil
}

func (b *advanceBuilder) cancelStillborn(started *model.Command) {
	for i := range b.out.Children {
		if child := &b.out.Children[i]; int(*child.Sequence) == started.Sequence {
			child.Dead = true
		}
	}
	entry := store.Entry{Type: model.EventActivityCancelled, Sequence: started.Sequence, Name: &started.Execution.Name}
	if started.Execution.Kind == model.Workflow {
		entry.Type = model.EventChildCancelled
	}
	b.add(entry)
}

// advanced answers an advance, with its end if it had one.
func (e *Engine) advanced(w *work) (model.Advanced, error) {
	switch {
	case w.finished != nil:
		return e.finished(w)
	case w.awaits != nil && w.advance == nil:
		return w.awaits.advanced()
	}
	x, a := w.advance, &w.out.advance
	reply, err := model.Advanced{Status: a.Status, Position: max(a.HistoryLength, x.Position), Events: a.Events}, error(nil)
	switch {
	case !a.Found:
		err = notFound(x.ID)
	case a.Held:
		if n := len(a.Events); n > 0 { // what came later in the same batch is among them
			reply.Position = a.Events[n-1].Position
		}
	case a.SameLease && x.Suspend && (a.Status == model.Suspended || a.Status == model.Pending):
		reply.Status = model.Suspended // a repeat: it was suspended, and may be awake again
	default:
		err = lost(x.ID)
	}
	e.leases.end(x.ID, x.Lease, err == nil && reply.Status == model.Running, reply.Position)
	if err != nil {
		return model.Advanced{}, err
	}
	return reply, nil
}
