package engine

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime counts the time since the machine started, a suspended machine's
// sleep included. Go's own monotonic clock stands still while it sleeps, and a
// lease does not. Tests put in one that a simulated clock drives.
var bootTime = func() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return time.Since(processStart)
	}
	return time.Duration(t.Nano())
}

var processStart = time.Now()
