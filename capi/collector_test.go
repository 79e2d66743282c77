package main

import (
	"runtime"
	"testing"
	"time"
)

func TestGarbageIsCollectedByRoomAndNotByShare(t *testing.T) {
	for live, want := range map[uint64]int64{0: 800, 1 << 20: 800, 4 << 20: 800, 16 << 20: 200, 32 << 20: 100, 1 << 30: 100} {
		if got := percentFor(live); got != want {
			t.Errorf("percentFor(%d) = %d, want %d", live, got, want)
		}
	}
}

func TestTheCollectorIsToldAnewWhenMoreLives(t *testing.T) {
	if collectorPercent.Load() == 0 {
		t.Skip("GOGC is set: the collector is the user's own")
	}
	held := make([]byte, 2*garbageRoom)
	for deadline := time.Now().Add(10 * time.Second); collectorPercent.Load() != 100; {
		if time.Now().After(deadline) {
			t.Fatalf("the share of garbage is %d %% of %d bytes", collectorPercent.Load(), liveBytes())
		}
		runtime.GC()
	}
	runtime.KeepAlive(held)
}
