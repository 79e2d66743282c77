//go:build !linux

package engine

import "time"

// bootTime is the best that the standard library offers here.
var bootTime = func() time.Duration { return time.Since(processStart) }

var processStart = time.Now()
