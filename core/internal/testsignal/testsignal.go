// Package testsignal lets a test wait for a moment inside the code under test,
// instead of sleeping until it has surely come.
//
// The code keeps a Signal as a field, by value, and fires it. In production it is
// never armed, and firing it costs one atomic load.
package testsignal

import (
	"sync/atomic"
	"time"
)

// capacity is how many firings are kept for waits that are still to come. More
// than any test counts are dropped: Fire must never block the code.
const capacity = 1024

// Signal counts how often something happened. The zero value counts nothing.
type Signal struct {
	fired atomic.Pointer[chan struct{}]
}

// TB is what Wait needs of a *testing.T. It keeps package testing out of
// production binaries.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Arm makes firings count from now on. Arming again forgets those before.
func (s *Signal) Arm() {
	fired := make(chan struct{}, capacity)
	s.fired.Store(&fired)
}

// Fire records that it happened.
func (s *Signal) Fire() {
	fired := s.fired.Load()
	if fired == nil {
		return
	}
	select {
	case *fired <- struct{}{}:
	default:
	}
}

// Wait takes one firing, and waits for it if there is none yet. Each firing ends
// one wait. The test fails when none comes in time.
func (s *Signal) Wait(t TB, timeout time.Duration) {
	t.Helper()
	fired := s.fired.Load()
	if fired == nil {
		t.Fatalf("the signal was never armed: call Arm before the code runs")
		return
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-*fired:
	case <-timer.C:
		t.Fatalf("the signal was not fired within %v", timeout)
	}
}
