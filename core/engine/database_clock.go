package engine

import (
	"sync"
	"time"
)

const (
	// clockAge is how old the database's word on the time may be.
	clockAge = 10 * time.Second
	// clockJitter is by how much two words of it may differ in how long they took to get here. By
	// more it was set back, or is another's.
	clockJitter = time.Second
)

// databaseClock tells the database's time without asking: what it said last, and the time
// since then by a clock that nobody sets. It does not go back, unless the database's does.
type databaseClock struct {
	mu    sync.Mutex
	said  time.Time
	heard time.Time
	// told is what was answered last.
	told time.Time
}

func (c *databaseClock) hear(said time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said, c.heard = said, time.Now()
}

func (c *databaseClock) now() (now time.Time, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	age := time.Since(c.heard)
	if c.heard.IsZero() || age > clockAge {
		return time.Time{}, false
	}
	at := c.said.Add(age).UTC().Truncate(time.Microsecond)
	if back := c.told.Sub(at); back > 0 && back < clockJitter {
		at = c.told
	}
	c.told = at
	return at, true
}
