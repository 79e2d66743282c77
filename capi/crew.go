package main

import (
	"sync/atomic"

	"github.com/libworkflows/libworkflows/core/failpoint"
)

// maxIdle is how many goroutines wait for a next job. Each keeps a stack of some kilobytes.
const maxIdle = 256

// crew runs jobs, each at once on a goroutine of its own: one that waits for
// long holds up nobody. Goroutines are used again, because growing a new one's
// stack to what an operation needs costs more than many an operation.
type crew struct {
	jobs chan func() // unbuffered: a job goes to somebody who waits for it
	idle atomic.Int32
}

var theCrew = crew{jobs: make(chan func())}

func (c *crew) run(job func()) {
	select {
	case c.jobs <- job:
	default:
		spawn("a goroutine of the crew", func() { c.work(job) })
	}
}

func (c *crew) work(job func()) {
	for {
		guarded("a submitted operation", job)
		failpoint.Pass("goroutine", "crew") // behind the job, which would be lost with its caller waiting
		if c.idle.Add(1) > maxIdle {
			c.idle.Add(-1)
			return
		}
		job = <-c.jobs
		c.idle.Add(-1)
	}
}
