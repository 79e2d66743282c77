package main

import (
	"slices"
	"testing"
)

// brokenRun is a legal run, broken in the one way that an invariant forbids. wants are
// what the checker must name, and nothing else.
type brokenRun struct {
	name  string
	wants []int
	tell  func(*story)
}

func TestBrokenRunsAreCaught(t *testing.T) {
	t.Parallel()
	for _, c := range slices.Concat(brokenLeases, brokenEnds, brokenSeen) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			c.tell(s)
			s.over()
			if violated, _, text := judge(t, s); !slices.Equal(violated, c.wants) {
				t.Errorf("named %v, want %v:\n%s", violated, c.wants, text)
			}
		})
	}
}

func finish(s *story, x *told) {
	if len(s.workers) == 0 {
		s.worker("a")
	}
	x.claim(s.workers[0]).runs().complete("1")
}

// ended is a job that has ended as it should.
func ended(s *story) (*told, *lease) {
	x := s.start("job", "charge")
	return x, x.claim(s.worker("a")).runs().complete(`1`)
}

func eventOf(s *story, kind string) *eventRow {
	return s.history[slices.IndexFunc(s.history, func(h *eventRow) bool { return h.event == kind })]
}

// zombie is a job that was taken from a.
func zombie(s *story, a, b *holder) (*told, *lease) {
	x := s.start("job", "charge")
	stale := x.claim(a)
	a.die(b)
	stale.lose(b)
	return x, stale
}

// swapped has two signals in the history the other way round.
func swapped(s *story, one, two string) *lease {
	x := s.start("workflow", "order")
	l := x.claim(s.worker("a"))
	x.outside("signal_received", 0, "note", `["second"]`, "signal")
	x.outside("signal_received", 0, "note", `["first"]`, "signal")
	s.now -= 3 * ms
	s.call(one, "signal", x, map[string]any{"uid": "first"})
	s.call(two, "signal", x, map[string]any{"uid": "second"})
	return l
}
