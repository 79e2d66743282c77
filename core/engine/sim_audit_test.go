package engine

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/internal/memory"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

func itoa(n int) string { return strconv.Itoa(n) }

// audit watches every commit of a simulated database, and keeps a memory of its own: what
// was acknowledged, who holds what, what was asked for.
type audit struct {
	state *memory.State
	now   func() time.Time
	// wrong is the first thing that must not be.
	wrong string
	name  func(uuid.UUID) string
	logf  func(format string, args ...any)

	known   map[uuid.UUID]memory.Execution
	holders map[uuid.UUID]model.Lease
	// early: started by the batch that is looked at, and told before.
	early map[uuid.UUID]bool
	// beats are when workers were last heard, by the machine's clock.
	beats map[uuid.UUID]time.Time
	// deceived are holders who have seen what a failover has lost; isOver once one has
	// written all the same.
	deceived map[uuid.UUID]model.Lease
	isOver   bool
	// keys are idempotency keys of acknowledged starts.
	keys map[string]uuid.UUID
	// continued are runs that the present commit has ended so; it may be a retry or a
	// recovery, too.
	continued            map[uuid.UUID]*store.Finish
	retrying, recovering bool
}

func newAudit(state *memory.State, now func() time.Time, name func(uuid.UUID) string) *audit {
	return &audit{
		state: state, now: now, name: name, known: map[uuid.UUID]memory.Execution{}, holders: map[uuid.UUID]model.Lease{},
		beats: map[uuid.UUID]time.Time{}, keys: map[string]uuid.UUID{},
	}
}

// fail notes the first violation.
func (a *audit) fail(format string, args ...any) {
	if a.wrong == "" && !a.isOver {
		a.wrong = fmt.Sprintf(format, args...)
	}
}

func (a *audit) before(name string) {
	a.continued, a.retrying, a.recovering = nil, name == "retry", name == "recover"
}

// after compares every execution with what it was before the commit.
func (a *audit) after(name string) {
	if a.wrong != "" || a.isOver {
		return
	}
	n, ended := 0, []memory.Execution(nil)
	for _, e := range a.state.Executions {
		old, found := a.known[e.ID]
		if found {
			n++
		}
		if found && !changedRow(&old, e) {
			continue
		}
		a.compare(&old, e)
		if old.Status != e.Status && e.Status.Final() || old.Run != e.Run {
			ended = append(ended, old)
		}
		a.known[e.ID] = *e
	}
	for i := range ended {
		a.compareFamily(&ended[i])
	}
	if n < len(a.known) {
		for id := range a.known {
			if a.state.Find(id) == nil {
				a.fail("I1: %s is gone", a.name(id))
			}
		}
	}
	if a.wrong != "" {
		a.wrong += " (after " + name + ")"
	}
}

// changedRow: what the invariants read of a row.
func changedRow(old, e *memory.Execution) bool {
	return old.Status != e.Status || old.Run != e.Run || old.Epoch != e.Epoch || len(old.History) != len(e.History) || old.HistoryLength != e.HistoryLength ||
		old.Attempts != e.Attempts || old.Crashes != e.Crashes || old.Token != e.Token || old.CancelRequestedAt != e.CancelRequestedAt || old.CreatedAt != e.CreatedAt ||
		!bytes.Equal(old.Result, e.Result) || !bytes.Equal(old.Error, e.Error) || old.Failures != e.Failures || old.FinishedAt != e.FinishedAt
}

func (a *audit) compare(old, e *memory.Execution) {
	if a.logf != nil && (old.Status != e.Status || old.Epoch != e.Epoch || len(old.History) != len(e.History)) {
		a.logf("    %s: %s -> %s, run %d, epoch %d, %d events", a.name(e.ID), old.Status, e.Status, e.Run, e.Epoch, e.HistoryLength)
	}
	a.compareEnd(old, e)
	a.compareLease(old, e)
	a.compareHistory(old, e)
	a.compareCounters(old, e)
}

// compareEnd: I2, a terminal state is final, and every change is one of the table's.
func (a *audit) compareEnd(old, e *memory.Execution) {
	switch {
	case old.ID == uuid.Nil:
	case !old.CreatedAt.Equal(e.CreatedAt):
		a.fail("I1: %s was made twice", a.name(e.ID))
	case !memory.IsReachable(old.Status, e.Status, old.Run == e.Run):
		a.fail("I2: %s went from %s to %s", a.name(e.ID), old.Status, e.Status)
	case old.Status.Final() && old.Run == e.Run && (old.FinishedAt != e.FinishedAt || !bytes.Equal(old.Result, e.Result) || !bytes.Equal(old.Error, e.Error)):
		a.fail("I2: %s had ended, and its outcome changed", a.name(e.ID))
	case old.Status.Final() && old.Run != e.Run && !a.retrying:
		a.fail("I2: %s had ended, and began again", a.name(e.ID))
	}
	if old.Status == model.Scheduled && !e.Status.Final() && e.Status != old.Status && e.RunAt.After(a.now()) {
		a.fail("I13: %s began %s early", a.name(e.ID), e.RunAt.Sub(a.now()))
	}
	if e.Status == model.Completed && old.Status != e.Status && e.CancelRequestedAt != nil {
		a.fail("I17: %s was asked to stop, and completed", a.name(e.ID))
	}
	if e.Status == model.Completed && old.Status != e.Status && string(e.Result) != `"`+e.ID.String()+`"` {
		a.fail("I9: %s has the result %s, which its code did not answer", a.name(e.ID), e.Result)
	}
}

// compareLease: I5, epochs rise with every new holder.
func (a *audit) compareLease(old, e *memory.Execution) {
	if (e.Status == model.Running) && (e.Worker == nil || e.Token == nil) {
		a.fail("I5: %s runs and nobody holds it", a.name(e.ID))
		return
	}
	if e.Epoch < old.Epoch {
		a.fail("I5: the epoch of %s went back", a.name(e.ID))
	}
	if e.Token != nil && (old.Token == nil || *old.Token != *e.Token) && e.Epoch <= old.Epoch {
		a.fail("I5: %s has a new holder under an old epoch", a.name(e.ID))
	}
	if old.Status == model.Running && e.Epoch > old.Epoch && !a.isReleased(old) {
		a.fail("I5: %s was held, and was claimed", a.name(e.ID))
	}
}

// isReleased: the flush that claimed it ended the lease before, as far as its answers say.
func (a *audit) isReleased(old *memory.Execution) bool {
	l, held := a.holders[old.ID]
	return !held || l.Epoch != old.Epoch
}

// compareHistory: I4, I7, I12, I13, I14, I16.
func (a *audit) compareHistory(old, e *memory.Execution) {
	for i := range old.History {
		if i >= len(e.History) || old.History[i].Type != e.History[i].Type || old.History[i].Position != e.History[i].Position || old.History[i].Run != e.History[i].Run {
			a.fail("I4: an event of %s has changed or gone", a.name(e.ID))
			return
		}
	}
	for i := len(old.History); i < len(e.History); i++ {
		a.compareEvent(e, i)
	}
	length := 0
	for i := range e.History {
		if e.History[i].Run == e.Run {
			length++
		}
	}
	if length != e.HistoryLength {
		a.fail("I7: %s has %d events and says %d", a.name(e.ID), length, e.HistoryLength)
	}
	if f := a.continued[e.ID]; f != nil && e.Run == old.Run+1 {
		a.compareCarried(old, e, f)
	}
}

func (a *audit) compareEvent(e *memory.Execution, i int) {
	x := &e.History[i]
	before := 0
	for j := range i {
		y := &e.History[j]
		if y.Run != x.Run {
			continue
		}
		before++
		if y.Position == x.Position {
			a.fail("I7: %s has position %d twice", a.name(e.ID), x.Position)
		}
		if x.Key != "" && x.Key == y.Key {
			a.fail("I12: %s has a signal twice", a.name(e.ID))
		}
		if x.Sequence == nil || y.Sequence == nil || *x.Sequence != *y.Sequence {
			continue
		}
		if outcomeOf[x.Type] && outcomeOf[y.Type] {
			a.fail("I4: %s has %s and %s of sequence %d", a.name(e.ID), y.Type, x.Type, *x.Sequence)
		}
		if askedBy[x.Type] && askedBy[y.Type] {
			a.fail("I4: %s has %s of sequence %d twice", a.name(e.ID), x.Type, *x.Sequence)
		}
		if x.Type == model.EventTimerFired && y.Type == model.EventTimerStarted {
			a.compareTimer(e, y, x)
		}
	}
	if x.Position != before+1 {
		a.fail("I7: position %d of %s follows %d events", x.Position, a.name(e.ID), before)
	}
	if x.Run == e.Run && (strings.HasPrefix(string(x.Type), "activity_") || strings.HasPrefix(string(x.Type), "child_")) && x.Sequence != nil {
		a.compareChild(e, x)
	}
}

// compareTimer: I13, never early.
func (a *audit) compareTimer(e *memory.Execution, started, fired *memory.Event) {
	var ms int64
	if _, err := fmt.Sscanf(string(started.Payload), `{"delay_ms":%d}`, &ms); err != nil {
		a.fail("a timer of %s has the payload %s", a.name(e.ID), started.Payload)
	}
	if due := started.At.Add(time.Duration(ms) * time.Millisecond); a.now().Before(due) && !a.retrying {
		a.fail("I13: a timer of %s fired %s early", a.name(e.ID), due.Sub(a.now()))
	}
}

// compareChild: I16, what a parent is told is what became of its child.
func (a *audit) compareChild(e *memory.Execution, x *memory.Event) {
	var child *memory.Execution
	for _, c := range a.state.Executions {
		if c.ParentID != nil && *c.ParentID == e.ID && c.ParentRun == x.Run && int(c.Sequence) == *x.Sequence {
			if child != nil {
				a.fail("I16: %s started two children under sequence %d", a.name(e.ID), *x.Sequence)
			}
			child = c
		}
	}
	_, outcome, _ := strings.Cut(string(x.Type), "_")
	switch {
	case a.retrying:
	case child == nil:
		a.fail("I16: %s has %s of a child that is not there", a.name(e.ID), x.Type)
	case outcome == "scheduled" || outcome == "started":
	case outcome == "cancelled" && child.Reported: // by the parent itself, before the child knows
	case string(child.Status) != outcome:
		a.fail("I16: %s was told %s, and %s is %s", a.name(e.ID), x.Type, a.name(child.ID), child.Status)
	case outcome == "completed" && !bytes.Equal(child.Result, x.Payload):
		a.fail("I16: %s was told another result than that of %s", a.name(e.ID), a.name(child.ID))
	}
}

// compareFamily: I16, a parent that goes on is told of an end, and children that end with
// their parent's run are to be closed.
func (a *audit) compareFamily(old *memory.Execution) {
	e := a.state.Find(old.ID)
	if e == nil || a.retrying {
		return
	}
	if e.ParentID != nil && e.Status.Final() && !e.Reported {
		if p := a.state.Find(*e.ParentID); !p.Status.Final() && p.Run == e.ParentRun && !hasOutcome(p, int(e.Sequence)) {
			a.fail("I16: %s was not told of the end of %s", a.name(p.ID), a.name(e.ID))
		}
	}
	for _, c := range a.state.Executions {
		orphan := c.ParentID != nil && *c.ParentID == old.ID && c.ParentRun == old.Run && c.ClosePolicy == string(model.CloseCancel) && !c.Status.Final()
		if orphan && !a.isToClose(old) {
			a.fail("I16: %s outlives %s", a.name(c.ID), a.name(old.ID))
		}
	}
}

func hasOutcome(e *memory.Execution, sequence int) bool {
	for _, x := range e.Events(0) {
		if x.Sequence != nil && *x.Sequence == sequence && outcomeOf[x.Type] {
			return true
		}
	}
	return false
}

func (a *audit) isToClose(e *memory.Execution) bool {
	for _, t := range a.state.Timers {
		if t.Execution == e.ID && t.Kind == "close" && t.Run == e.Run {
			return true
		}
	}
	return false
}

// compareCarried: the next run has every signal that the code has not taken.
func (a *audit) compareCarried(old, e *memory.Execution, f *store.Finish) {
	var want, have []string
	carry := map[int]bool{}
	for _, position := range f.Continue.Carry {
		carry[int(position)] = true
	}
	for i := range e.History {
		x := &e.History[i]
		switch {
		case x.Type != model.EventSignalReceived:
		case x.Run == old.Run && (x.Position > f.Position || carry[x.Position]):
			want = append(want, x.Key)
		case x.Run == e.Run:
			have = append(have, x.Key)
		}
	}
	if strings.Join(want, " ") != strings.Join(have, " ") {
		a.fail("I12: %s continued with %d of %d signals", a.name(e.ID), len(have), len(want))
	}
}

// compareCounters: I10 and I11.
func (a *audit) compareCounters(old, e *memory.Execution) {
	if e.Crashes > 3 || e.Crashes == 3 && !e.Status.Final() {
		a.fail("I11: %s has crashed %d times and is %s", a.name(e.ID), e.Crashes, e.Status)
	}
	if e.Crashes > old.Crashes && !a.recovering {
		a.fail("I11: %s is counted a crash, and nobody crashed", a.name(e.ID))
	}
	if e.Kind != model.Workflow && e.Epoch != int64(e.Attempts+e.Releases) && e.Status != model.Cancelled && a.state.Find(e.ID).Run == 1 {
		a.fail("I10: %s was claimed %d times: %d attempts, %d releases", a.name(e.ID), e.Epoch, e.Attempts, e.Releases)
	}
	if e.Failures > old.Failures && e.Status == model.Scheduled && e.Retry != nil && e.Retry.Retries != nil && e.Failures > *e.Retry.Retries {
		a.fail("I10: %s is tried again after %d failures of %d", a.name(e.ID), e.Failures, *e.Retry.Retries)
	}
	if old.Status != model.Running {
		return
	}
	if e.Status == model.Failed && e.Parked != nil && !old.Alone {
		a.fail("I11: %s was parked, and had not run alone", a.name(e.ID))
	}
	if a.recovering && e.Status == model.Pending && e.Crashes == old.Crashes && old.Crashes < 2 && e.Worker != nil && a.isDead(*e.Worker) {
		a.fail("I11: the crash of %s was not counted", a.name(e.ID))
	}
	if a.recovering && e.Crashes > old.Crashes && e.Worker != nil && !a.isDead(*e.Worker) {
		a.fail("I11: %s is counted a crash of a worker that stopped in good order", a.name(e.ID))
	}
	if !a.recovering && e.Crashes > 0 && e.Status != model.Running && (e.Status != model.Cancelled && e.Status != model.Failed || e.FinishedAt == nil) {
		a.fail("I11: %s was written, and keeps its crashes", a.name(e.ID))
	}
}

func (a *audit) isDead(id uuid.UUID) bool {
	for _, w := range a.state.Workers {
		if w.ID == id {
			return w.Status == "dead"
		}
	}
	return false
}
