package main

import (
	"fmt"
	"io"
	"slices"
)

// figures are what a run is published with.
type figures struct {
	Executions      int            `json:"executions"`
	Claims          int            `json:"claims"`
	Bodies          int            `json:"bodies"`
	Faults          map[string]int `json:"faults"`
	Unresolved      int            `json:"faults_of_unknown_workers"`
	Crashes         int            `json:"crashes"`
	Releases        int            `json:"releases"`
	Parked          int            `json:"parked"`
	ParkedBy        map[string]int `json:"parked_by_function"`
	Lost            int            `json:"lost"`
	Doubled         int            `json:"doubled"`
	StaleAccepted   int            `json:"stale_writes_accepted"`
	StaleRefused    int            `json:"stale_writes_refused"`
	Overlaps        int            `json:"bodies_overlapping"`
	Zombies         int            `json:"bodies_begun_after_the_success_of_others"`
	Untaken         int            `json:"signals_not_taken"`
	UnknownCalls    int            `json:"calls_of_unknown_outcome"`
	Deadlocks       *int           `json:"deadlocks"`
	Events          int            `json:"events"`
	recovery        sample
	silence         sample
	wakeUp          sample
	timers          sample
	RecoveryMS      quantiles `json:"recovery_ms"`
	FromSilenceMS   quantiles `json:"recovery_from_last_heartbeat_ms"`
	WakeUpMS        quantiles `json:"wake_up_ms"`
	TimerLatenessMS quantiles `json:"timer_lateness_ms"`
}

// sample gathers durations in nanoseconds.
type sample []int64

func (s *sample) add(ns int64) { *s = append(*s, ns) }

type quantiles struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

func (s sample) quantiles() quantiles {
	if len(s) == 0 {
		return quantiles{}
	}
	slices.Sort(s)
	at := func(q float64) float64 { return float64(s[min(int(q*float64(len(s))), len(s)-1)]) / 1e6 }
	return quantiles{Count: len(s), P50: at(0.50), P99: at(0.99), Max: float64(s[len(s)-1]) / 1e6}
}

func (q quantiles) String() string {
	if q.Count == 0 {
		return "none"
	}
	return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms, max %.1f ms of %d", q.P50, q.P99, q.Max, q.Count)
}

// tally fills in what follows from the rest.
func (w *world) tally() {
	f := &w.figures
	f.Executions, f.Bodies = len(w.executions), 0
	f.Events = len(w.audit) + len(w.beats) + len(w.events) + len(w.lines) + len(w.calls)
	f.Faults, f.ParkedBy = map[string]int{}, map[string]int{}
	for _, x := range w.faults {
		f.Faults[x.kind]++
	}
	for i := range w.executions {
		if x := &w.executions[i]; x.parked != none {
			f.Parked++
			f.ParkedBy[w.symbols.name(x.name)]++
		}
	}
	for i := range w.lines {
		switch x := &w.lines[i]; x.t {
		case lineBegin:
			f.Bodies++
		case lineLate:
			f.StaleRefused++
		}
	}
	for i := range w.calls {
		f.UnknownCalls += isTrue(w.calls[i].outcome == outcomeUnknown)
	}
	if w.hasLog {
		f.Deadlocks = &w.deadlocks
	}
	f.Lost, f.Doubled, f.StaleAccepted = w.violated[1]+w.violated[3], w.violated[2]+w.violated[16], w.violated[6]
	f.RecoveryMS, f.FromSilenceMS = f.recovery.quantiles(), f.silence.quantiles()
	f.WakeUpMS, f.TimerLatenessMS = f.wakeUp.quantiles(), f.timers.quantiles()
}

func (f *figures) print(out io.Writer) {
	deadlocks := "unknown, without a server.log"
	if f.Deadlocks != nil {
		deadlocks = fmt.Sprint(*f.Deadlocks)
	}
	for _, line := range []struct {
		name  string
		value any
	}{
		{"events", f.Events}, {"executions", f.Executions}, {"claims", f.Claims}, {"bodies", f.Bodies}, {"faults", f.Faults},
		{"crashes", f.Crashes}, {"releases", f.Releases}, {"parked", f.ParkedBy},
		{"stale writes", fmt.Sprintf("%d accepted, %d refused", f.StaleAccepted, f.StaleRefused)},
		{"bodies that overlapped", fmt.Sprintf("%d across a lost lease; %d began after another's success", f.Overlaps, f.Zombies)},
		{"signals not taken", f.Untaken}, {"calls of unknown outcome", f.UnknownCalls}, {"deadlocks", deadlocks},
		{"recovery", f.RecoveryMS}, {"recovery since last heartbeat", f.FromSilenceMS}, {"wake-up", f.WakeUpMS}, {"timers late", f.TimerLatenessMS},
	} {
		_, _ = fmt.Fprintf(out, "%-30s %v\n", line.name, line.value)
	}
}
