package engine

import (
	"testing"
	"time"

	"github.com/libworkflows/libworkflows/core/internal/memory"
)

// mutantPatience is how long a mutant may live.
const mutantPatience = time.Minute

// mutants are the rules without a guard, or without two that stand for each other: with
// both epoch and token a lease is proved twice, and only a failover, which takes epochs
// back, makes the token necessary.
var mutants = []struct {
	name    string
	without []memory.Guard
}{
	{"the token of a lease is not compared", []memory.Guard{memory.GuardToken}},
	{"nothing of a lease is compared", []memory.Guard{memory.GuardEpoch, memory.GuardToken}},
	{"writes are accepted after the end of a lease", []memory.Guard{memory.GuardStatus}},
	{"a workflow is suspended whatever has come", []memory.Guard{memory.GuardPosition}},
	{"a holder may have seen what is not there", []memory.Guard{memory.GuardKnows}},
	{"a repeated entry is written again", []memory.Guard{memory.GuardEntryOnce}},
	{"a workflow ends before it has seen that it is to stop", []memory.Guard{memory.GuardUnseen, memory.GuardCancelWins}},
	{"an outcome wins over a requested cancel", []memory.Guard{memory.GuardCancelWins}},
	{"news does not wake a suspended workflow", []memory.Guard{memory.GuardWake}},
	{"a parent is not told of an end", []memory.Guard{memory.GuardTold}},
	{"an end is told to another run of the parent", []memory.Guard{memory.GuardParentRun}},
	{"a signal that is sent again is taken again", []memory.Guard{memory.GuardSignalOnce}},
	{"signals are left behind by continue-as-new", []memory.Guard{memory.GuardCarry}},
	{"a start that is sent again is made again", []memory.Guard{memory.GuardIDOnce}},
	{"an idempotency key is taken twice", []memory.Guard{memory.GuardKeyOnce}},
	{"a timer fires early", []memory.Guard{memory.GuardTimerDue}},
	{"a timer fires again", []memory.Guard{memory.GuardTimerOnce}},
	{"a cancelled timer stays", []memory.Guard{memory.GuardUntimed}},
	{"a retry does not wait", []memory.Guard{memory.GuardPromoteDue}},
	{"the dead claim", []memory.Guard{memory.GuardAlive}},
	{"what runs is claimed", []memory.Guard{memory.GuardPending}},
	{"a worker that has beaten is buried", []memory.Guard{memory.GuardBury}},
	{"the dead beat", []memory.Guard{memory.GuardBeat}},
	{"a crash is not counted", []memory.Guard{memory.GuardCrash}},
	{"what crashed twice runs in company", []memory.Guard{memory.GuardSuspect}},
	{"a third crash in company parks", []memory.Guard{memory.GuardSuspect, memory.GuardAlone}},
	{"crashes are kept after a write", []memory.Guard{memory.GuardReset}},
	{"a release counts as a crash", []memory.Guard{memory.GuardRelease}},
	{"failures are retried without end", []memory.Guard{memory.GuardRetries}},
	{"children outlive their parent", []memory.Guard{memory.GuardClose}},
	{"what has ended is ended again", []memory.Guard{memory.GuardFinal}},
}

func TestEveryMutantIsCaught(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			without := map[memory.Guard]bool{}
			for _, g := range m.without {
				without[g] = true
			}
			began := time.Now()
			bad, schedules, _ := hunt(t, *simulateFrom, mutantPatience, without)
			if bad == nil {
				t.Fatalf("lives after %d schedules", schedules)
			}
			t.Logf("caught after %d schedules, in %s: %s", schedules, time.Since(began).Round(time.Millisecond), bad.wrong)
		})
	}
}
