package engine

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
)

// Simulated workflow code. A program is a list of instructions that follows from the
// workflow's name; replay runs it over a history as an adapter would: what it asks for,
// and whether it waits, is a function of the program and the events alone.

const (
	doActivity = iota // awaits an activity, and fails with it
	doTry             // awaits an activity, whatever becomes of it
	doAll             // awaits three activities at once
	doRace            // an activity against a timer, the loser is cancelled
	doSleep
	doSignal
	doStep
	doChild
	doDetach // starts a child that may outlive it
	doAbandon
	doState
	doVersion
	doContinue
	instructions
)

// program answers the instructions of a workflow called "w17"; some have none, and end as they begin.
func program(name string) (code []int) {
	n, _ := strconv.ParseUint(strings.TrimLeft(name, "wv"), 10, 64)
	chance := chance(n)
	for range chance.below(5) {
		code = append(code, chance.below(instructions))
	}
	return code
}

// isLeaf: children start no children, so that every tree ends.
func isLeaf(name string) bool { return strings.HasPrefix(name, "v") }

// decision is what workflow code wants after a history.
type decision struct {
	commands []model.Command
	steps    []model.StepEvent
	then     model.Then
	carry    []int
	// failed is the sequence of the failure that went uncaught.
	failed int
	// broken says how the history does not fit the program.
	broken string
	// taken are positions of signals that the code has taken.
	taken map[int]bool
}

// walker replays a program.
type walker struct {
	decision
	name     string
	run      int
	newID    func() uuid.UUID
	sequence int
	asked    map[int]model.EventType
	outcomes map[int]model.Event
	signals  []int
	next     int
	// cancelled is the position of the request to stop.
	cancelled   int
	interrupted bool
}

var askedBy = map[model.EventType]bool{
	model.EventActivityScheduled: true, model.EventChildStarted: true, model.EventTimerStarted: true, model.EventStateSet: true, model.EventVersionMarked: true,
}

var outcomeOf = map[model.EventType]bool{
	model.EventActivityCompleted: true, model.EventActivityFailed: true, model.EventActivityCancelled: true,
	model.EventChildCompleted: true, model.EventChildFailed: true, model.EventChildCancelled: true,
	model.EventStepCompleted: true, model.EventStepFailed: true, model.EventTimerFired: true, model.EventTimerCancelled: true,
}

var failureOf = map[model.EventType]bool{
	model.EventActivityFailed: true, model.EventChildFailed: true, model.EventStepFailed: true,
	model.EventActivityCancelled: true, model.EventChildCancelled: true,
}

func newWalker(name string, run int, events []model.Event, newID func() uuid.UUID) *walker {
	w := &walker{
		name: name, run: run, newID: newID, asked: map[int]model.EventType{}, outcomes: map[int]model.Event{},
		cancelled: math.MaxInt, decision: decision{taken: map[int]bool{}},
	}
	for _, e := range events {
		switch {
		case e.Type == model.EventSignalReceived:
			w.signals = append(w.signals, e.Position)
		case e.Type == model.EventCancelRequested:
			w.cancelled = min(w.cancelled, e.Position)
		case askedBy[e.Type]:
			w.asked[*e.Sequence] = e.Type
		case outcomeOf[e.Type]:
			if _, twice := w.outcomes[*e.Sequence]; twice {
				w.broken = fmt.Sprintf("two outcomes of sequence %d", *e.Sequence)
			}
			w.outcomes[*e.Sequence] = e
		}
	}
	return w
}

// replay answers what a workflow's code asks for after its history.
func replay(name string, run int, events []model.Event, newID func() uuid.UUID) decision {
	w := newWalker(name, run, events, newID)
	w.then = model.ThenSuspend
	for _, instruction := range program(name) {
		if !w.do(instruction) {
			return w.decide()
		}
	}
	w.then = model.ThenComplete
	return w.decide()
}

func (w *walker) decide() decision {
	if w.interrupted {
		w.then = model.ThenSuspend
		if w.step("clean up") {
			w.then = model.ThenComplete
		}
	}
	if len(w.steps) > 0 {
		w.then = model.ThenKeep
	}
	if w.then == model.ThenContinue {
		for _, position := range w.signals {
			if !w.taken[position] {
				w.carry = append(w.carry, position)
			}
		}
	}
	return w.decision
}

// do runs one instruction and says whether the code goes on behind it.
func (w *walker) do(instruction int) bool {
	switch instruction {
	case doActivity:
		return w.await(w.start(model.Activity, ""), true)
	case doTry:
		return w.await(w.start(model.Activity, ""), false)
	case doAll:
		a, b, c := w.start(model.Activity, ""), w.start(model.Activity, ""), w.start(model.Activity, "")
		return w.await(a, false) && w.await(b, false) && w.await(c, true)
	case doRace:
		return w.race(w.start(model.Activity, ""), w.timer(400))
	case doSleep:
		return w.await(w.timer(300), true)
	case doSignal:
		return w.signal()
	case doStep:
		return w.step("step")
	case doChild:
		if isLeaf(w.name) {
			return w.await(w.start(model.Job, ""), false)
		}
		return w.await(w.start(model.Workflow, model.CloseCancel), true)
	case doDetach:
		w.start(model.Job, model.CloseDetach)
	case doAbandon:
		w.start(model.Activity, "")
	case doState:
		w.ask(model.Command{Type: model.CommandSetState, State: model.Payload(`"s"`)}, model.EventStateSet)
	case doVersion:
		w.ask(model.Command{Type: model.CommandMarkVersion, Name: "v", Version: 2}, model.EventVersionMarked)
	case doContinue:
		if w.run < 3 {
			w.then = model.ThenContinue
			return false
		}
	}
	return true
}

// ask emits a command, unless the history has it.
func (w *walker) ask(c model.Command, event model.EventType) int {
	w.sequence++
	c.Sequence = w.sequence
	if have, found := w.asked[c.Sequence]; !found {
		w.commands = append(w.commands, c)
	} else if have != event {
		w.broken = fmt.Sprintf("sequence %d is %s in the history and %s in the code", c.Sequence, have, event)
	}
	return c.Sequence
}

func (w *walker) start(kind model.Kind, policy model.ClosePolicy) int {
	event, name, id := model.EventActivityScheduled, "a"+strconv.Itoa((len(w.name)+w.sequence)%4), w.newID()
	if kind == model.Workflow {
		event, name = model.EventChildStarted, "v"+strconv.Itoa(len(w.name)*7+w.sequence)+w.name[1:]
	}
	retries, initial, jitter := 1, int64(50), 0.0
	return w.ask(model.Command{Type: model.CommandSchedule, ClosePolicy: policy, Execution: &model.NewExecution{
		ID: &id, Kind: kind, Name: name, Retry: &model.RetryPolicy{Retries: &retries, InitialMS: &initial, Jitter: &jitter},
	}}, event)
}

func (w *walker) timer(ms int64) int {
	return w.ask(model.Command{Type: model.CommandStartTimer, DelayMS: ms}, model.EventTimerStarted)
}

// await says whether an outcome is there, and the code did not fail with it.
func (w *walker) await(sequence int, fails bool) bool {
	e, found := w.outcomes[sequence]
	if w.interrupt(e.Position, found) {
		if !found {
			w.cancel(sequence)
		}
		return false
	}
	if found && fails && failureOf[e.Type] {
		w.then, w.failed = model.ThenFail, sequence
		return false
	}
	return found
}

// interrupt: a request to stop ends the wait that it comes into.
func (w *walker) interrupt(position int, found bool) bool {
	if w.cancelled < math.MaxInt && (!found || position > w.cancelled) {
		w.interrupted = true
	}
	return w.interrupted
}

func (w *walker) cancel(sequence int) {
	w.commands = append(w.commands, model.Command{Type: model.CommandCancel, Sequence: sequence})
}

func (w *walker) race(a, b int) bool {
	x, first := w.outcomes[a]
	y, second := w.outcomes[b]
	position := math.MaxInt
	if first {
		position = x.Position
	}
	if second {
		position = min(position, y.Position)
	}
	ended := first || second
	if stopped := w.interrupt(position, ended); ended || stopped {
		if !first {
			w.cancel(a)
		}
		if !second {
			w.cancel(b)
		}
		return !stopped
	}
	return false
}

func (w *walker) signal() bool {
	if w.next >= len(w.signals) {
		w.interrupt(0, false)
		return false
	}
	position := w.signals[w.next]
	if w.interrupt(position, true) {
		return false
	}
	w.next++
	w.taken[position] = true
	return true
}

// step runs a step here, unless its outcome is there.
func (w *walker) step(name string) bool {
	w.sequence++
	if _, found := w.outcomes[w.sequence]; found {
		return true
	}
	w.steps = append(w.steps, model.StepEvent{Type: model.EventStepCompleted, Sequence: w.sequence, Name: name})
	return false
}

// chance is a small generator: the simulation's own, so that a seed means the same for ever.
type dice struct{ state uint64 }

func chance(seed uint64) *dice {
	d := &dice{seed}
	return &dice{d.next()} // neighbouring seeds have nothing in common
}

func (d *dice) next() uint64 {
	d.state += 0x9E3779B97F4A7C15
	z := d.state
	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
	z = (z ^ (z >> 27)) * 0x94D049BB133111EB
	return z ^ (z >> 31)
}

func (d *dice) below(n int) int { return int(d.next() % uint64(n)) }
