//go:build !linux

package engine

import "time"

// bootTime is the best that the standard library offers here.
func bootTime() time.Duration { return time.Since(processStart) }

var processStart = time.Now()
