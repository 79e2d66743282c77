package memory

import (
	"slices"
	"time"

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
type plainWrites struct {
	own, schedules, children, awaited outcomes
	// relays have an end and an advance each, in the same order.
	relays outcomes
}

func plainOf(b *store.Batch, f *store.Flushed) (p plainWrites, rest outcomes) {
	relayed, relays := map[int]bool{}, b.Relays()
	for i := range b.Finishes {
		to := &rest
		if j, found := relays[i]; found {
			relayed[j], to = true, &p.relays
			to.addAdvance(b.Advances[j], &f.Advances[j])
		} else if x := &b.Finishes[i]; x.Plain && x.Root {
			to = &p.own
		} else if x.Plain && x.IsEarly() {
			to = &p.awaited
		} else if x.Plain {
			to = &p.children
		}
		to.addFinish(b.Finishes[i], &f.Finishes[i])
	}
	for i := range b.Advances {
		if relayed[i] {
			continue
		}
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
	for _, o := range []*outcomes{&p.own, &p.schedules, &p.children, &p.awaited, &p.relays} {
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
		if err := s.plainSchedule(now, &p.schedules.advances[i], p.schedules.advanced[i], to, ahead, f); err != nil {
			return err
		}
	}
	s.plainChildren(now, &p.children, to, f)
	return nil
}

func (s *State) plainChildren(now time.Time, children *outcomes, to *store.Claim, f *store.Flushed) {
	ahead := s.ahead(to)
	for i := range children.finishes {
		s.plainChild(now, &children.finishes[i], children.finished[i], ahead, f)
	}
}

func (s *State) plainSchedule(now time.Time, a *store.Advance, out *store.Advanced, to *store.Claim, ahead map[string]int, f *store.Flushed) error {
	e := s.Find(a.ID)
	if !s.isUpToDate(a) || e.DeadlineAt != nil {
		return nil
	}
	s.plainAdvance(now, a, out)
	return s.handChild(now, e, &a.Children[0], to, a.Children[0].HandOver, ahead, f)
}

// plainRelays end activities and schedule what their parents ask for then, both or neither.
func (s *State) plainRelays(now time.Time, relays *outcomes, to *store.Claim, f *store.Flushed) error {
	ahead := s.ahead(to)
	for i := range relays.finishes {
		x := &relays.finishes[i]
		p := s.Find(x.Parent)
		if p == nil || p.DeadlineAt != nil || p.HistoryLength != relays.advances[i].Position-1 || !s.resumes(p, x.Resume, ahead) {
			continue
		}
		due := p.RunAt
		s.plainChild(now, x, relays.finished[i], ahead, f)
		if !relays.finished[i].Resumed {
			continue
		}
		p.RunAt = due // it never was
		if err := s.plainSchedule(now, &relays.advances[i], relays.advanced[i], to, ahead, f); err != nil {
			return err
		}
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
func (s *State) plainChild(now time.Time, f *store.Finish, out *store.Finished, ahead map[string]int, flushed *store.Flushed) {
	e := s.Find(f.ID)
	if !s.IsHeld(e, f.Lease) || e.isWorkflow() || e.Reported || e.CancelRequestedAt != nil || e.DeadlineAt != nil || e.ParentID == nil {
		return
	}
	p := s.Find(*e.ParentID)
	if p == nil || p.Run != e.ParentRun || !p.isLive() {
		return
	}
	s.plainEnd(now, e, f, out)
	if !s.resumes(p, f.Resume, ahead) {
		p.append(endOf(e, now))
		s.wake(p, now)
		s.tellPlain(p, out)
		return
	}
	at, previous, token := now, p.Token, f.Resume.Token
	if f.Resume.Early != nil {
		at, out.Resumed = f.Resume.Early.At, true
	}
	p.append(endOf(e, at))
	p.Status, p.RunAt, p.Epoch, p.Token = model.Running, now, p.Epoch+1, &token
	if !out.Resumed {
		flushed.Claimed = append(flushed.Claimed, p.claimed(p.SuspendedPosition, previous))
	}
	s.tellPlain(p, out)
}

func (s *State) tellPlain(p *Execution, out *store.Finished) {
	id, queue, status, length := p.ID, p.Queue, string(p.Status), p.HistoryLength
	out.Parent, out.ParentQueue, out.ParentStatus, out.ParentWorker, out.HistoryLength = &id, &queue, &status, p.Worker, &length
}

// resumes says whether a parent goes on at once: it waits, the worker that has it in
// memory is here, and nothing that is due in its queue ranks before or beside it. Who was told
// early has a slot already.
func (s *State) resumes(p *Execution, r *store.Resumption, ahead map[string]int) bool {
	if r == nil || r.Early != nil && r.Early.Epoch != p.Epoch {
		return false
	}
	w := s.worker(r.Worker)
	if highest, found := ahead[p.Queue]; found && highest >= p.Priority && r.Early == nil {
		return false
	}
	return p.Status == model.Suspended && p.Parked == nil && p.SuspendedPosition != nil && *p.SuspendedPosition == p.HistoryLength && p.Crashes < 2 &&
		w != nil && p.Worker != nil && w.ID == *p.Worker && w.Status == "active" && p.Language != nil && *p.Language == w.Request.Language
}
