package engine

import (
	"slices"
	"sync"
	"time"

	"github.com/libworkflows/libworkflows/core/model"
)

// slotsGrace is how long after a claim the next one may take to come, with slots of the
// worker filled in the meantime.
const slotsGrace = 100 * time.Millisecond

// slots are what a worker has said to have free. While it goes on claiming, flushes fill
// them with what they make due: one commit writes and claims, and what a process starts
// for itself needs no second transaction and no second round trip.
type slots struct {
	mu sync.Mutex
	// request is the last claim.
	request model.ClaimRequest
	// free slots, of which some may be reserved for a claim that is under way.
	free, reserved int
	waiting        bool
	left           time.Time
	// ready is what flushes have claimed, for the next claim to collect.
	ready  []model.Claimed
	filled chan struct{}
}

func newSlots() *slots { return &slots{filled: make(chan struct{}, 1)} }

// open begins a claim, which says how many slots are free, and answers whether it
// lacks other functions than the last one.
func (s *slots) open(req model.ClaimRequest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	others := !slices.Equal(s.request.Lacking, req.Lacking)
	s.request, s.waiting = req, true
	s.free = req.N - s.reserved - len(s.ready)
	return others
}

// close ends it. Who did not want to wait is not expected to come again.
func (s *slots) close(expected bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting, s.left = false, time.Now()
	if !expected {
		s.free, s.left = 0, time.Time{}
	}
}

// freed counts a slot whose execution has ended: the claim that waits was made before.
func (s *slots) freed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting || !s.left.IsZero() {
		s.free++
	}
}

// reserve takes up to n slots, for a claim of its own (asked) or of a flush. While little
// is due, a claim takes half of them: what is written meanwhile finds others free.
func (s *slots) reserve(n int, asked, half bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !asked && !s.waiting && time.Since(s.left) > slotsGrace {
		return 0
	}
	free := max(s.free, 0)
	if half {
		free = (free + 1) / 2
	}
	n = min(n, free)
	s.free, s.reserved = s.free-n, s.reserved+n
	return n
}

// spare are slots that nobody has reserved.
func (s *slots) spare() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.free, 0)
}

// settle gives back what a claim has not used of its reservation.
func (s *slots) settle(reserved, used int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free, s.reserved = s.free+reserved-used, s.reserved-reserved
}

// fill leaves executions for the next claim.
func (s *slots) fill(claimed []model.Claimed) {
	s.mu.Lock()
	s.ready = append(s.ready, claimed...)
	s.mu.Unlock()
	poke(s.filled)
}

// collect takes what is ready, highest priority first.
func (s *slots) collect(n int) []model.Claimed {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.ready, func(a, b model.Claimed) int { return b.Priority - a.Priority })
	n = min(n, len(s.ready))
	collected := s.ready[:n:n]
	s.ready = s.ready[n:]
	return collected
}

// abandoned takes what nobody has come for.
func (s *slots) abandoned() []model.Claimed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting || time.Since(s.left) < time.Second {
		return nil
	}
	ready := s.ready
	s.ready, s.free = nil, 0
	return ready
}

// lacking are the functions that the worker does not have.
func (s *slots) lacking() []model.FunctionName {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.request.Lacking
}
