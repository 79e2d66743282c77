package main

import (
	"io"
	"syscall"
	"testing"
)

// long tells a legal run of about so many events: jobs, some of which crash or are
// tried again, and workflows with all that they can wait for.
func long(t testing.TB, events int) *story {
	s := newStory(t)
	a, b := s.worker("a"), s.worker("b")
	for i := 0; s.n+int64(len(s.history)) < int64(events)*63/100; i++ {
		switch {
		case i%200 == 0:
			s.beat(second, a, b)
		case i%1000 == 1:
			overlapping(s)
		case i%5 == 2:
			orders(s, a)
		case i%5 == 4:
			seenOrder(s, a)
		case i%50 == 3:
			x := s.start("job", "charge")
			l := x.claim(a)
			l.end(l.begin("", -1, 1), false)
			l.fail(false)
			x.retry().claim(b).runs().complete("1")
		default:
			x := s.start("job", "charge")
			x.claim(b).runs().complete(`{"paid":true}`)
			x.answer("completed", `{"paid" : true}`)
		}
	}
	return s.over()
}

func TestALongRunPasses(t *testing.T) {
	t.Parallel()
	violated, r, text := judge(t, long(t, 20_000))
	if len(violated) > 0 || r.figures.Events < 18_000 || r.figures.Overlaps == 0 || r.figures.WakeUpMS.Count == 0 || r.checked[29] == 0 {
		t.Errorf("violates %v, of %d events:\n%s", violated, r.figures.Events, text)
	}
}

// cpuTime tells, on a busy machine, what the time of the clock does not.
func cpuTime(b *testing.B) float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

// BenchmarkMillion is to take less than ten seconds on two cores:
//
//	go test -run - -bench Million -benchtime 3x ./tests/faults/checker
func BenchmarkMillion(b *testing.B) {
	dir := long(b, 1_080_000).write()
	before := cpuTime(b)
	for b.Loop() {
		isViolated, err := run(io.Discard, dir, "")
		if err != nil || isViolated {
			b.Fatalf("violated %v, %v", isViolated, err)
		}
	}
	b.ReportMetric((cpuTime(b)-before)/float64(b.N), "cpu-s/op")
	e, err := load(dir)
	if err != nil {
		b.Fatal(err)
	}
	r := check(e)
	b.ReportMetric(float64(r.figures.Events), "events")
	b.ReportMetric(float64(r.figures.Executions), "executions")
}
