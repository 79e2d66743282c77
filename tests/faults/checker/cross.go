package main

import (
	"cmp"
	"crypto/md5"
	"fmt"
	"slices"
)

// cross is what an execution's checks need to know of others.
type cross struct {
	world *world
	// ends are the audit's rows by which runs ended.
	ends                map[runKey]*row
	scheduled, outcomes map[commandKey]int32 // of events
	children            map[commandKey]int32 // of executions
	// lives are the audit's rows of each worker, in order, and writers their engines.
	lives   map[id][]*row
	writers map[id]symbol
	known   map[id]*worker
	// journaled are functions whose bodies keep a journal.
	journaled map[symbol]bool
	roots     map[int32][]int32 // by the unique id in their arguments
	// finished are the ends of bodies that succeeded, by their nonces.
	finished map[id]*line
}

type runKey struct {
	x   id
	run int32
}

type commandKey struct {
	runKey
	sequence int32
}

func newCross(w *world) cross {
	c := cross{
		world: w, ends: map[runKey]*row{}, scheduled: map[commandKey]int32{}, outcomes: map[commandKey]int32{}, children: map[commandKey]int32{},
		lives: map[id][]*row{}, writers: map[id]symbol{}, known: map[id]*worker{}, journaled: map[symbol]bool{}, roots: map[int32][]int32{},
		finished: map[id]*line{},
	}
	c.addWorkers()
	c.addCommands()
	c.addExecutions()
	for i := range w.lines {
		switch x := &w.lines[i]; {
		case x.t == lineBegin:
			c.journaled[c.functionOf(x)] = true
		case x.t == stEnd && x.ok && !x.nonce.isZero():
			c.finished[x.nonce] = x
		}
	}
	return c
}

// functionOf is whose body a line is about: a step's name, or the execution's.
func (c *cross) functionOf(x *line) symbol {
	if x.sequence >= 0 {
		return x.step
	}
	if f := c.world.final[c.world.index[x.x]]; f >= 0 {
		return c.world.executions[f].name
	}
	return none
}

func (c *cross) addWorkers() {
	for i := range c.world.beats {
		r := &c.world.beats[i]
		c.lives[r.x] = append(c.lives[r.x], r)
		if r.op == inserted {
			c.writers[r.x] = r.writer
		}
	}
	for _, life := range c.lives {
		slices.SortFunc(life, func(a, b *row) int { return cmp.Compare(a.n, b.n) })
	}
	for i := range c.world.workers {
		x := &c.world.workers[i]
		c.known[x.id] = x
		c.world.sweep.note(x.id, c.world.symbols.name(x.name))
	}
}

func (c *cross) addCommands() {
	for i := range c.world.audit {
		r := &c.world.audit[i]
		switch {
		case r.tab != executionsTable || r.op != updated:
		case isFinal(r.newStatus) && !isFinal(r.oldStatus):
			c.ends[runKey{r.x, r.run}] = r
		case r.oldStatus == running && r.newStatus == pending && r.statement == stContinue:
			c.ends[runKey{r.x, r.run - 1}] = r
		}
	}
	for i := range c.world.events {
		h := &c.world.events[i]
		key := commandKey{runKey{h.x, h.run}, h.sequence}
		switch h.event {
		case evActivityScheduled, evChildStarted:
			c.scheduled[key] = int32(i)
		case evActivityCompleted, evActivityFailed, evActivityCancelled, evChildCompleted, evChildFailed, evChildCancelled:
			c.outcomes[key] = int32(i)
		}
	}
}

func (c *cross) addExecutions() {
	for i := range c.world.executions {
		x := &c.world.executions[i]
		if x.parent.isZero() {
			for _, uid := range x.uids {
				c.roots[uid] = append(c.roots[uid], int32(i))
			}
			continue
		}
		key := commandKey{runKey{x.parent, x.parentRun}, x.sequence}
		if _, ok := c.children[key]; ok {
			c.world.fail(16, x.id, x.createdAt, "its parent's command %d of run %d has two children", x.sequence, x.parentRun)
		}
		c.children[key] = int32(i)
	}
}

// statusOf answers what a worker was when a row was written.
func (c *cross) statusOf(worker id, n int64) (status symbol, isKnown bool) {
	life := c.lives[worker]
	i, _ := slices.BinarySearchFunc(life, n, func(r *row, n int64) int { return cmp.Compare(r.n, n) })
	if i == 0 {
		return none, false
	}
	return life[i-1].newStatus, true
}

// timeoutOf is how long a worker may be silent.
func (c *cross) timeoutOf(x id) int64 {
	if w := c.known[x]; w != nil && w.timeout > 0 {
		return w.timeout
	}
	return c.world.meta.HeartbeatTimeoutMS * 1e6
}

// hash is what the audit has of an outcome.
func (x *execution) hash() id {
	text := x.result
	if text == "" {
		text = x.failure
	}
	if text == "" {
		return id{}
	}
	return md5.Sum([]byte(text))
}

// failureEvent is what a parent is told of a failure, as json_build_object writes it.
func (x *execution) failureEvent() id {
	failure := x.failure
	if failure == "" {
		failure = "null"
	}
	return md5.Sum(fmt.Appendf(nil, `{"error" : %s, "attempts" : %d}`, failure, x.attempts))
}
