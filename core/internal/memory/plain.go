package memory

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// outcomes are advances and finishes, each with the place for its answer.
type outcomes struct {
	advances []store.Advance
	advanced []*store.Advanced
	finishes []store.Finish
	finished []*store.Finished
	cancels  []store.Cancel
}

func (o *outcomes) addFinish(x store.Finish, to *store.Finished) {
	o.finishes, o.finished = append(o.finishes, x), append(o.finished, to)
}

func (o *outcomes) addAdvance(x store.Advance, to *store.Advanced) {
	o.advances, o.advanced = append(o.advances, x), append(o.advanced, to)
}

// plainWrites are those of a batch that have, as far as is known, nothing to mind but
// their own row, by statement.
type plainWrites struct{ own, schedules, children outcomes }

func plainOf(b *store.Batch, f *store.Flushed) (p plainWrites, rest outcomes) {
	for i := range b.Finishes {
		to := &rest
		if x := &b.Finishes[i]; x.Plain && x.Root {
			to = &p.own
		} else if x.Plain {
			to = &p.children
		}
		to.addFinish(b.Finishes[i], &f.Finishes[i])
	}
	for i := range b.Advances {
		to := &rest
		if x := &b.Advances[i]; x.IsPlain() {
			to = &p.own
		} else if x.IsPlainSchedule() {
			to = &p.schedules
		}
		to.addAdvance(b.Advances[i], &f.Advances[i])
	}
	return p, rest
}

// unwritten are those that had more to mind: they go the long way, and hand nothing over.
func (p *plainWrites) unwritten() (rest outcomes) {
	for _, o := range []*outcomes{&p.own, &p.schedules, &p.children} {
		for i := range o.finishes {
			if !o.finished[i].Held {
				rest.addFinish(o.finishes[i], o.finished[i])
			}
		}
		for i := range o.advances {
			if a := o.advances[i]; !o.advanced[i].Held {
				a.Children = slices.Clone(a.Children)
				for j := range a.Children {
					a.Children[j].HandOver = false
				}
				rest.addAdvance(a, o.advanced[i])
			}
		}
	}
	return rest
}

func (s *State) plain(now time.Time, p plainWrites, to *store.Claim, f *store.Flushed) error {
	for i := range p.own.finishes {
		s.plainFinish(now, &p.own.finishes[i], p.own.finished[i])
	}
	for i := range p.own.advances {
		if a := &p.own.advances[i]; s.isUpToDate(a) {
			s.plainAdvance(now, a, p.own.advanced[i])
		}
	}
	ahead := s.ahead(to)
	for i := range p.schedules.advances {
		a := &p.schedules.advances[i]
		e := s.Find(a.ID)
		if !s.isUpToDate(a) || e.DeadlineAt != nil {
			continue
		}
		s.plainAdvance(now, a, p.schedules.advanced[i])
		if err := s.handChild(now, e, &a.Children[0], to, a.Children[0].HandOver, ahead, f); err != nil {
			return err
		}
	}
	ahead = s.ahead(to)
	for i := range p.children.finishes {
		s.plainChild(now, &p.children.finishes[i], p.children.finished[i], to, ahead, f)
	}
	return nil
}

// isUpToDate: its holder has seen all of its history.
func (s *State) isUpToDate(a *store.Advance) bool {
	e := s.Find(a.ID)
	return s.IsHeld(e, a.Lease) && e.isWorkflow() && e.HistoryLength == a.Position
}

func (s *State) plainAdvance(now time.Time, a *store.Advance, out *store.Advanced) {
	e := s.Find(a.ID)
	s.write(now, e, &a.Entries[0])
	if a.Suspend && !a.Waking {
		position := e.HistoryLength
		e.Status, e.SuspendedPosition = model.Suspended, &position
	}
	s.resetCrashes(e)
	*out = store.Advanced{
		Found: true, Held: true, SameLease: true, Status: e.Status, HistoryLength: e.HistoryLength, Queue: e.Queue, Events: e.Events(a.Position),
	}
}

func (s *State) plainFinish(now time.Time, f *store.Finish, out *store.Finished) {
	e := s.Find(f.ID)
	if !s.IsHeld(e, f.Lease) || e.isWorkflow() && e.HistoryLength != f.Position || e.CancelRequestedAt != nil || e.ParentID != nil || e.DeadlineAt != nil {
		return
	}
	s.plainEnd(now, e, f, out)
}

func (s *State) plainEnd(now time.Time, e *Execution, f *store.Finish, out *store.Finished) {
	e.Status, e.Result, e.Error, e.FailedSequence, e.FinishedAt = model.Completed, or(f.Result, model.Payload("null")), nil, nil, &now
	s.resetCrashes(e)
	*out = store.Finished{Found: true, Held: true, SameLease: true, Status: model.Completed, Kind: e.Kind, Queue: e.Queue}
	out.Awaited = e.Awaited
}

// plainChild ends an activity with a result and tells its parent, who may go on at once.
func (s *State) plainChild(now time.Time, f *store.Finish, out *store.Finished, to *store.Claim, ahead map[string]int, flushed *store.Flushed) {
	e := s.Find(f.ID)
	if !s.IsHeld(e, f.Lease) || e.isWorkflow() || e.Reported || e.CancelRequestedAt != nil || e.DeadlineAt != nil || e.ParentID == nil {
		return
	}
	p := s.Find(*e.ParentID)
	if p == nil || p.Run != e.ParentRun || !p.isLive() {
		return
	}
	s.plainEnd(now, e, f, out)
	resumes := f.Resume && s.resumes(p, to, ahead)
	p.append(endOf(e, now))
	if previous := p.Token; resumes {
		token := to.Token
		p.Status, p.RunAt, p.Epoch, p.Token = model.Running, now, p.Epoch+1, &token
		flushed.Claimed = append(flushed.Claimed, p.claimed(p.SuspendedPosition, previous))
	} else {
		s.wake(p, now)
	}
	s.tellPlain(p, out)
}

func (s *State) tellPlain(p *Execution, out *store.Finished) {
	id, queue, status, length := p.ID, p.Queue, string(p.Status), p.HistoryLength
	out.Parent, out.ParentQueue, out.ParentStatus, out.ParentWorker, out.HistoryLength = &id, &queue, &status, p.Worker, &length
}

// resumes says whether a parent goes on at once: it waits, the worker that has it in
// memory is here, and nothing that is due in its queue ranks before or beside it.
func (s *State) resumes(p *Execution, to *store.Claim, ahead map[string]int) bool {
	w := s.worker(holderOf(to))
	if highest, found := ahead[p.Queue]; found && highest >= p.Priority {
		return false
	}
	return p.Status == model.Suspended && p.Parked == nil && p.SuspendedPosition != nil && *p.SuspendedPosition == p.HistoryLength && p.Crashes < 2 &&
		w != nil && p.Worker != nil && w.ID == *p.Worker && w.Status == "active" && p.Language != nil && *p.Language == w.Request.Language
}

func holderOf(to *store.Claim) uuid.UUID {
	if to == nil {
		return uuid.Nil
	}
	return to.Worker
}
