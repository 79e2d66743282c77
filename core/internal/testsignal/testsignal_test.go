package testsignal

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// recorder stands for the test that waits.
type recorder struct{ failure string }

func (r *recorder) Helper()                           {}
func (r *recorder) Fatalf(format string, args ...any) { r.failure = fmt.Sprintf(format, args...) }

func TestAnUnarmedSignalDoesNothing(t *testing.T) {
	t.Parallel()
	var s Signal
	s.Fire()
	var r recorder
	s.Wait(&r, time.Minute)
	if !strings.Contains(r.failure, "never armed") {
		t.Errorf("waiting for an unarmed signal answered %q", r.failure)
	}
}

func TestEachFiringEndsOneWait(t *testing.T) {
	t.Parallel()
	var s Signal
	s.Arm()
	s.Fire()
	s.Fire()
	s.Wait(t, time.Minute)
	s.Wait(t, time.Minute)
	var r recorder
	s.Wait(&r, time.Millisecond)
	if !strings.Contains(r.failure, "not fired within 1ms") {
		t.Errorf("the third wait answered %q", r.failure)
	}
}

func TestAWaitSeesAFiringFromAnotherGoroutine(t *testing.T) {
	t.Parallel()
	var s Signal
	s.Arm()
	go s.Fire()
	s.Wait(t, time.Minute)
}

func TestFiringNeverBlocks(t *testing.T) {
	t.Parallel()
	var s Signal
	s.Arm()
	for range capacity + 1 {
		s.Fire()
	}
}

func TestArmingAgainForgetsEarlierFirings(t *testing.T) {
	t.Parallel()
	var s Signal
	s.Arm()
	s.Fire()
	s.Arm()
	var r recorder
	s.Wait(&r, time.Millisecond)
	if r.failure == "" {
		t.Error("a firing from before the second Arm still counts")
	}
}
