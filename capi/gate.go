package main

import (
	"sync"
	"time"
)

// gate counts calls that are inside, lets nobody in once it is shut, and then
// tells when the last one has left.
type gate struct {
	mu     sync.Mutex
	inside int
	isShut bool
	empty  chan struct{} // made by shut, closed when the last one leaves
}

// enter lets all n in or none.
func (g *gate) enter(n int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isShut {
		return false
	}
	g.inside += n
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.isShut && g.inside == 0 {
		close(g.empty)
	}
}

// shut is called once.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.isShut, g.empty = true, make(chan struct{})
	if g.inside == 0 {
		close(g.empty)
	}
}

// wait says whether all had left in time. It is for after shut.
func (g *gate) wait(timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-g.empty:
		return true
	case <-timer.C:
		return false
	}
}
