package engine

import (
	"flag"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libworkflows/libworkflows/core/internal/memory"
)

// The simulation plays schedules of clients, workers, crashes, lost replies and clocks on
// engines whose database is package memory. A seed is a schedule: `make simulate SEED=7`.
var (
	simulateFrom  = flag.Uint64("simulate.from", 1, "the first seed")
	simulateFor   = flag.Duration("simulate.for", 4*time.Second, "how long to simulate")
	simulateOne   = flag.Bool("simulate.one", false, "play only the first seed, and print it")
	simulateLeast = flag.Float64("simulate.least", 0, "how many schedules a minute are played at least by all processors, were they only here for that")
	conformFor    = flag.Duration("simulate.conform", 0, "how long to compare with PostgreSQL, instead of a few schedules")
)

// found is a schedule that breaks an invariant.
type found struct {
	seed uint64
	verdict
}

// hunt plays schedules from a seed on, on all processors, until one breaks an invariant
// or the time is over.
func hunt(t *testing.T, from uint64, limit time.Duration, without map[memory.Guard]bool) (bad *found, schedules, commits int64) {
	t.Helper()
	var next, played, steps atomic.Int64
	var first sync.Once
	var over atomic.Bool
	var wait sync.WaitGroup
	end := time.Now().Add(limit)
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for !over.Load() && time.Now().Before(end) {
				seed := from + uint64(next.Add(1)) - 1
				v := play(t, drawMoves(seed), options{without: without})
				played.Add(1)
				steps.Add(int64(v.steps))
				if v.wrong != "" {
					over.Store(true)
					first.Do(func() { bad = &found{seed, v} })
				}
			}
		})
	}
	wait.Wait()
	return bad, played.Load(), steps.Load()
}

// shrink takes moves out of a schedule as long as it breaks the same invariant.
func shrink(t *testing.T, list []move, o options) []move {
	t.Helper()
	kind := invariant(play(t, list, o).wrong)
	for size := len(list) / 2; size > 0; {
		smaller := false
		for at := 0; at+size <= len(list); {
			rest := append(append([]move(nil), list[:at]...), list[at+size:]...)
			if invariant(play(t, rest, o).wrong) == kind {
				list, smaller = rest, true
				continue
			}
			at += size
		}
		if !smaller || size > len(list) {
			size /= 2
		}
	}
	return list
}

// invariant is what a violation begins with.
func invariant(wrong string) string {
	kind, _, _ := strings.Cut(wrong, ":")
	return kind
}

// explain shrinks a schedule and tells it step by step.
func explain(t *testing.T, seed uint64, o options) string {
	t.Helper()
	list := shrink(t, drawMoves(seed), o)
	o.verbose = true
	v := play(t, list, o)
	return fmt.Sprintf("seed %d, shrunk to %d of %d moves: %s\n%s", seed, len(list), simMoves, v.wrong, v.log)
}

func TestNoScheduleBreaksAnInvariant(t *testing.T) {
	if *simulateOne {
		v := play(t, drawMoves(*simulateFrom), options{verbose: true})
		t.Logf("seed %d: %d commits\n%s", *simulateFrom, v.steps, v.log)
		if v.wrong != "" {
			t.Fatal(explain(t, *simulateFrom, options{}))
		}
		return
	}
	began, used := time.Now(), processorTime()
	bad, schedules, commits := hunt(t, *simulateFrom, *simulateFor, nil)
	if bad != nil {
		t.Fatal(explain(t, bad.seed, options{}))
	}
	n := float64(schedules)
	ofOne := n / (processorTime() - used).Minutes()
	t.Logf("%d schedules of %d commits, none breaks an invariant; %.0f schedules a minute, %.0f a minute of one processor",
		schedules, commits, n/time.Since(began).Minutes(), ofOne)
	if schedules < 10 {
		t.Fatalf("only %d schedules were played", schedules)
	}
	if quiet := ofOne * float64(runtime.GOMAXPROCS(0)); quiet < *simulateLeast {
		t.Errorf("%.0f schedules a minute of all processors, and not %.0f", quiet, *simulateLeast)
	}
}

// processorTime is what this process has used; it says how fast the simulation is on a
// machine that has other things to do.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestAScheduleIsAlwaysPlayedTheSame(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		first := play(t, drawMoves(seed), options{verbose: true})
		again := play(t, drawMoves(seed), options{verbose: true})
		if first != again {
			t.Fatalf("seed %d differs:\n%s", seed, firstDifference(first.log, again.log))
		}
	}
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return strings.Join(x[max(0, i-10):i], "\n") + "\nfirst: " + x[i] + "\nagain: " + y[i]
		}
	}
	return fmt.Sprintf("%d lines and %d lines", len(x), len(y))
}

func TestAScheduleThatBreaksAnInvariantIsShrunk(t *testing.T) {
	t.Parallel()
	without := map[memory.Guard]bool{memory.GuardFinal: true}
	for seed := uint64(1); seed < 100; seed++ {
		v := play(t, drawMoves(seed), options{without: without})
		if v.wrong == "" {
			continue
		}
		list := shrink(t, drawMoves(seed), options{without: without})
		if again := play(t, list, options{without: without}); len(list) > 10 || invariant(again.wrong) != invariant(v.wrong) {
			t.Fatalf("seed %d: %s was shrunk to %d moves that come to %q", seed, v.wrong, len(list), again.wrong)
		}
		return
	}
	t.Fatal("no schedule breaks an invariant")
}
