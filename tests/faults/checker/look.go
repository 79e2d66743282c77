package main

import (
	"cmp"
	"slices"
)

// group lists for each execution which elements of a slice concern it.
type group struct {
	starts []int32
	order  []int32
}

func (g *group) of(i int32) []int32 { return g.order[g.starts[i]:g.starts[i+1]] }

// groupBy sorts by counting: linear, and what was in order stays so.
func groupBy[T any](elements []T, n int, place func(*T) int32) group {
	g := group{starts: make([]int32, n+2), order: make([]int32, len(elements))}
	for i := range elements {
		g.starts[place(&elements[i])+2]++
	}
	for i := 2; i < len(g.starts); i++ {
		g.starts[i] += g.starts[i-1]
	}
	for i := range elements {
		at := &g.starts[place(&elements[i])+1]
		g.order[*at] = int32(i)
		*at++
	}
	g.starts = g.starts[:n+1]
	return g
}

// world is the evidence, by execution.
type world struct {
	*evidence
	*report
	index map[id]int32
	ids   []id
	final []int32 // of evidence.executions, -1 if there is none
	by    struct{ audit, events, calls, writes, lines, timers group }
	cross cross
	look  look
	slack int64
	sweep sweep
}

func newWorld(e *evidence) *world {
	w := &world{evidence: e, report: &report{}, sweep: newSweep(), index: map[id]int32{}, slack: e.meta.Limits.ClockSlackMS * 1e6}
	for i := range e.executions {
		w.place(e.executions[i].id)
	}
	w.final = make([]int32, len(w.ids))
	for i := range e.executions {
		w.final[w.index[e.executions[i].id]] = int32(i)
	}
	for i := range e.audit {
		w.place(e.audit[i].x)
	}
	for i := range e.events {
		w.place(e.events[i].x)
	}
	for i := range e.calls {
		w.place(e.calls[i].x)
	}
	for i := range e.writes {
		w.place(e.writes[i].x)
	}
	for i := range e.lines {
		w.place(e.lines[i].x)
	}
	for i := range e.timers {
		w.place(e.timers[i].x)
	}
	for len(w.final) < len(w.ids) {
		w.final = append(w.final, -1)
	}
	n := len(w.ids)
	w.by.audit = groupBy(e.audit, n, func(r *row) int32 { return w.place(r.x) })
	w.by.events = groupBy(e.events, n, func(h *event) int32 { return w.place(h.x) })
	w.by.calls = groupBy(e.calls, n, func(c *call) int32 { return w.place(c.x) })
	w.by.writes = groupBy(e.writes, n, func(x *write) int32 { return w.place(x.x) })
	w.by.lines = groupBy(e.lines, n, func(l *line) int32 { return w.place(l.x) })
	w.by.timers = groupBy(e.timers, n, func(t *timer) int32 { return w.place(t.x) })
	w.cross = newCross(w)
	return w
}

func (w *world) place(x id) int32 {
	i, ok := w.index[x]
	if !ok {
		i = int32(len(w.ids))
		w.index[x] = i
		w.ids = append(w.ids, x)
	}
	return i
}

// look is one execution with all that concerns it, each kind in its order.
type look struct {
	*world
	x      id
	final  *execution // nil if there is no such row
	audit  []*row
	rows   []*row // of the audit: the execution's own
	added  []*row // of the audit: its history's
	events []*event
	calls  []*call
	writes []*write
	lines  []*line
	timers []*timer
	claims []claim
	bodies []body
	// recorded are the successes of steps.
	recorded map[stepKey]*row
}

// at gathers an execution. The look is good until the next one.
func (w *world) at(i int32) *look {
	l := &w.look
	l.world, l.x, l.final = w, w.ids[i], nil
	if f := w.final[i]; f >= 0 {
		l.final = &w.executions[f]
	}
	l.audit = pick(l.audit, w.audit, w.by.audit.of(i), func(a, b *row) int { return cmp.Compare(a.n, b.n) })
	l.events = pick(l.events, w.events, w.by.events.of(i), func(a, b *event) int {
		return cmp.Or(cmp.Compare(a.run, b.run), cmp.Compare(a.position, b.position))
	})
	l.calls = pick(l.calls, w.calls, w.by.calls.of(i), func(a, b *call) int { return cmp.Compare(a.from, b.from) })
	l.writes = pick(l.writes, w.writes, w.by.writes.of(i), func(a, b *write) int { return cmp.Compare(a.from, b.from) })
	l.lines = pick(l.lines, w.lines, w.by.lines.of(i), func(a, b *line) int { return cmp.Compare(a.at, b.at) })
	l.timers = pick(l.timers, w.timers, w.by.timers.of(i), func(a, b *timer) int { return cmp.Compare(a.dueAt, b.dueAt) })
	l.rows, l.added = l.rows[:0], l.added[:0]
	for _, r := range l.audit {
		if r.tab == historyTable {
			l.added = append(l.added, r)
		} else {
			l.rows = append(l.rows, r)
		}
	}
	l.findClaims()
	l.findBodies()
	return l
}

func pick[T any](into []*T, from []T, which []int32, order func(a, b *T) int) []*T {
	into = into[:0]
	for _, i := range which {
		into = append(into, &from[i])
	}
	if !slices.IsSortedFunc(into, order) {
		slices.SortStableFunc(into, order)
	}
	return into
}

type stepKey struct{ run, sequence int32 }
