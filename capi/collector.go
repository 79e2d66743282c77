package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// garbageRoom is how many bytes of garbage gather before they are collected. What lives is a few
// megabytes, and by Go's default of as much garbage a busy engine spent a fifth of its time collecting.
const garbageRoom = 32 << 20

// collectorPercent is what Go was told last. It takes the garbage as a share of what lives.
var collectorPercent atomic.Int64

func init() {
	if os.Getenv("GOGC") == "" {
		tuneCollector()
	}
}

// tuneCollector tells Go after each collection how much garbage may gather until the next one.
func tuneCollector() {
	percent := percentFor(liveBytes())
	if old := collectorPercent.Load(); percent > old+old/4 || percent < old-old/4 {
		collectorPercent.Store(percent)
		debug.SetGCPercent(int(percent))
	}
	// Nobody has this: the next collection finds it.
	runtime.AddCleanup(new([16]byte), func(struct{}) { tuneCollector() }, struct{}{})
}

// percentFor answers Go's default where more lives than there is room for garbage. Go collects nothing
// below 4 MiB by its default, and as many times more as it is told.
func percentFor(live uint64) int64 {
	return int64(100 * min(max(garbageRoom/max(live, 1), 1), garbageRoom>>22))
}

func liveBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
