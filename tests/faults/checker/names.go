package main

import (
	"encoding/hex"
	"strings"
	"sync"
)

// id is a UUID or an MD5 sum: what rows and journals name things by.
type id [16]byte

func (x id) isZero() bool { return x == id{} }

func (x id) String() string {
	h := hex.EncodeToString(x[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// parseID reads hexadecimal digits and skips what is between them. What is not
// of 32 digits is no id.
func parseID(text string) (x id, ok bool) {
	n := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		var digit byte
		switch {
		case c >= '0' && c <= '9':
			digit = c - '0'
		case c >= 'a' && c <= 'f':
			digit = c - 'a' + 10
		case c >= 'A' && c <= 'F':
			digit = c - 'A' + 10
		case c == '-':
			continue
		default:
			return id{}, false
		}
		if n == 32 {
			return id{}, false
		}
		x[n/2] |= digit << (4 * (1 - n%2))
		n++
	}
	return x, n == 32
}

// symbol stands for one of the few strings that rows repeat a million times, so
// that the rows hold no pointers.
type symbol uint32

// The symbols that the checks know, in the order of known. Some stand for two
// things: stRetry for a call, too, and stEnd for a line of a journal.
const (
	none symbol = iota
	scheduled
	pending
	running
	suspended
	completed
	failed
	cancelled
	job
	activity
	workflow
	inserted
	updated
	deleted
	executionsTable
	historyTable
	workersTable
	evStarted
	evActivityScheduled
	evActivityCompleted
	evActivityFailed
	evActivityCancelled
	evChildStarted
	evChildCompleted
	evChildFailed
	evChildCancelled
	evStepCompleted
	evStepFailed
	evTimerStarted
	evTimerFired
	evTimerCancelled
	evSignalReceived
	evVersionMarked
	evStateSet
	evCancelRequested
	evRetried
	evContinued
	stClaim
	stClaimSuspect
	stFinish
	stFinishRoots
	stFinishLone // of an older library
	stPlain
	stPlainSchedule
	stPlainChild
	stAdvancePlain
	stAdvanceTimers
	stAdvanceChildren
	stAdvanceHeld
	stAdvance
	stCreateEarly
	stContinue
	stRelease
	stEndReleased
	stProgress
	stRequeueLost
	stEndLost
	stExpire
	stEnd
	stRetry
	active
	draining
	stopped
	dead
	outcomeOK
	outcomeFail
	outcomeUnknown
	opStart
	opSignal
	opCancel
	opTerminate
	opResult
	opState
	opSuspend
	opStep
	lineBegin
	lineTook
	lineLate
	lineChose
	lineSaw
)

var known = []string{
	"",
	"scheduled", "pending", "running", "suspended", "completed", "failed", "cancelled",
	"job", "activity", "workflow",
	"I", "U", "D",
	"executions", "history", "workers",
	"started", "activity_scheduled", "activity_completed", "activity_failed", "activity_cancelled",
	"child_started", "child_completed", "child_failed", "child_cancelled", "step_completed", "step_failed",
	"timer_started", "timer_fired", "timer_cancelled", "signal_received", "version_marked", "state_set",
	"cancel_requested", "retried", "continued",
	"claim", "claim_suspect", "finish", "finish_roots", "finish_lone", "plain", "plain_schedule", "plain_child",
	"advance_plain", "advance_timers", "advance_children", "advance_held", "advance",
	"create_early", "continue", "release", "end_released", "progress", "requeue_lost", "end_lost", "expire", "end", "retry",
	"active", "draining", "stopped", "dead",
	"ok", "fail", "unknown",
	"start", "signal", "cancel", "terminate", "result", "state",
	"suspend", "step",
	"begin", "took", "late", "chose", "saw",
}

// symbols is shared by those who read files at the same time; each has an
// interner of its own, which asks for a string once.
type symbols struct {
	mu    sync.Mutex
	byKey map[string]symbol
	names []string
}

func newSymbols() *symbols {
	s := &symbols{byKey: make(map[string]symbol, len(known))}
	for _, name := range known {
		s.byKey[name] = symbol(len(s.names))
		s.names = append(s.names, name)
	}
	return s
}

func (s *symbols) of(name string) symbol {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x, ok := s.byKey[name]; ok {
		return x
	}
	name = strings.Clone(name)
	x := symbol(len(s.names))
	s.byKey[name] = x
	s.names = append(s.names, name)
	return x
}

func (s *symbols) name(x symbol) string { return s.names[x] }

type interner struct {
	shared *symbols
	local  map[string]symbol
}

func newInterner(shared *symbols) *interner { return &interner{shared, map[string]symbol{}} }

func (i *interner) of(name string) symbol {
	if x, ok := i.local[name]; ok {
		return x
	}
	x := i.shared.of(name)
	i.local[strings.Clone(name)] = x
	return x
}

// isFinal says whether a status is one that no run leaves.
func isFinal(status symbol) bool {
	return status == completed || status == failed || status == cancelled
}

func oneOf(x symbol, among ...symbol) bool {
	for _, y := range among {
		if x == y {
			return true
		}
	}
	return false
}

func isFinish(statement symbol) bool { return oneOf(statement, stFinish, stFinishRoots, stFinishLone) }

func isAdvance(statement symbol) bool {
	return oneOf(statement, stAdvancePlain, stAdvanceTimers, stAdvanceChildren, stAdvanceHeld, stAdvance)
}

// isHolders says whether a statement writes only what its caller holds.
func isHolders(statement symbol) bool {
	return isFinish(statement) || isAdvance(statement) || oneOf(statement, stPlain, stPlainSchedule, stPlainChild, stContinue, stRelease, stEndReleased, stProgress)
}

// isOutcome says whether an event ends a command, and whether its sequence then
// has no other.
func isOutcome(event symbol) bool {
	return oneOf(event, evActivityCompleted, evActivityFailed, evActivityCancelled, evChildCompleted, evChildFailed, evChildCancelled,
		evStepCompleted, evStepFailed, evTimerFired, evTimerCancelled)
}

// isHoldersEvent says whether only the holder of a workflow adds such an event.
// A child's end as the holder itself cancels it is one, too, but from outside it looks the same.
func isHoldersEvent(event symbol) bool {
	return oneOf(event, evStepCompleted, evStepFailed, evActivityScheduled, evChildStarted, evTimerStarted, evTimerCancelled,
		evVersionMarked, evStateSet, evContinued)
}
