package main

import (
	"cmp"
	"slices"
)

// checkBodies compares what ran with what was claimed and recorded.
func (l *look) checkBodies() {
	l.findRecorded()
	holders := map[id]process{}
	for i := range l.bodies {
		b := &l.bodies[i]
		l.checked[8]++
		l.checkProcess(holders, b)
		if b.claim == stray {
			if l.meta.Limits.LostAcks {
				continue // its claim is among what the fail-over lost
			}
			l.fail(8, l.x, b.begin.at, "a body began under epoch %d, token %s, and no such claim was made", b.begin.epoch, b.begin.token)
			continue
		}
		if b.claim >= 0 && b.begin.at+l.slack < l.claims[b.claim].row.at {
			l.fail(8, l.x, b.begin.at, "a body began %.3f ms before its claim", float64(l.claims[b.claim].row.at-b.begin.at)/1e6)
		}
		l.checkAgain(b)
		for j := i - 1; j >= 0 && l.bodies[j].begin.sequence == b.begin.sequence; j-- {
			l.checkOverlap(&l.bodies[j], b)
		}
	}
	l.checkSuccesses()
}

// checkProcess: a token is held by one process. The claims that a fail-over has forgotten are in no
// table, and bodies tell of them all the same.
func (l *look) checkProcess(holders map[id]process, b *body) {
	if b.begin.token.isZero() {
		return
	}
	me := process{pid: b.begin.pid, file: b.begin.file}
	if holder, known := holders[b.begin.token]; known && holder != me {
		l.fail(5, l.x, b.begin.at, "token %s was held by two processes: by %s and by %s", b.begin.token,
			l.symbols.name(holder.file), l.symbols.name(me.file))
	}
	holders[b.begin.token] = me
}

// checkAgain looks for a start after the success was recorded. A worker that was
// away may still start what it was given: only its own epoch tells it apart.
func (l *look) checkAgain(b *body) {
	at, epoch, run := l.successOf(b)
	if at == 0 || b.begin.at <= at+l.slack || b.claim < 0 {
		return
	}
	switch c := &l.claims[b.claim]; {
	case c.row.run != run:
	case c.row.newEpoch >= epoch:
		l.fail(8, l.x, b.begin.at, "a body of %s began %.3f ms after its success was recorded", l.bodyName(b), float64(b.begin.at-at)/1e6)
	default:
		l.figures.Zombies++
	}
}

func (l *look) bodyName(b *body) string {
	if b.begin.sequence < 0 {
		return "the execution"
	}
	return l.symbols.name(b.begin.step)
}

// successOf answers when a body's success was recorded in its claim's run, and under which epoch.
func (l *look) successOf(b *body) (at, epoch int64, run int32) {
	if b.claim < 0 {
		return 0, 0, 0
	}
	run = l.claims[b.claim].row.run
	if b.begin.sequence < 0 {
		for i := range l.claims {
			if c := &l.claims[i]; c.how == succeeded && c.row.run == run {
				return c.end.at, c.row.newEpoch, run
			}
		}
		return 0, 0, run
	}
	if r := l.recorded[stepKey{run, b.begin.sequence}]; r != nil {
		return r.at, r.newEpoch, run
	}
	return 0, 0, run
}

// findRecorded indexes the successes of steps.
func (l *look) findRecorded() {
	clear(l.recorded)
	for _, r := range l.added {
		if r.event == evStepCompleted && r.op == inserted {
			if l.recorded == nil {
				l.recorded = map[stepKey]*row{}
			}
			l.recorded[stepKey{r.run, r.sequence}] = r
		}
	}
}

// checkOverlap compares two bodies, the earlier one first.
func (l *look) checkOverlap(a, b *body) {
	if a.end != nil && a.end.at <= b.begin.at || a.claim < 0 || b.claim < 0 {
		return
	}
	switch {
	case a.claim == b.claim && a.begin.attempt == b.begin.attempt:
		l.fail(8, l.x, b.begin.at, "two bodies of %s ran at the same time under epoch %d", l.bodyName(b), l.claims[b.claim].row.newEpoch)
	case a.claim == b.claim, a.end == nil && a.begin.pid != b.begin.pid: // timed out; or killed, most likely
	default:
		l.figures.Overlaps++
	}
}

// checkSuccesses asks of each recorded success for a body that ended so, and under
// the claim that recorded it.
func (l *look) checkSuccesses() {
	for i := range l.claims {
		c := &l.claims[i]
		if c.how == succeeded && l.final != nil && l.final.kind != workflow && l.cross.journaled[l.final.name] {
			l.checkSuccess(c, c.end, -1)
		}
	}
	for _, r := range l.added {
		if r.event != evStepCompleted || r.op != inserted || r.statement == stRetry || !l.cross.journaled[l.nameOf(r)] {
			continue
		}
		if c := l.holderAt(r.n); c != nil {
			l.checkSuccess(c, r, r.sequence)
		}
	}
}

func (l *look) nameOf(r *row) symbol {
	i, found := slices.BinarySearchFunc(l.events, r, func(h *event, r *row) int {
		return cmp.Or(cmp.Compare(h.run, r.run), cmp.Compare(h.position, r.position))
	})
	if !found {
		return none
	}
	return l.events[i].name
}

func (l *look) checkSuccess(c *claim, recorded *row, sequence int32) {
	l.checked[9]++
	var other *body
	bodies := l.bodiesOf(sequence)
	for i := range bodies {
		b := &bodies[i]
		if b.end == nil || !b.end.ok || b.end.at > recorded.at+l.slack {
			continue
		}
		if b.claim < 0 || &l.claims[b.claim] == c {
			return
		}
		other = b
	}
	if other == nil {
		l.fail(9, l.x, recorded.at, "a success was recorded under epoch %d, and no body had ended with one", c.row.newEpoch)
		return
	}
	l.fail(6, l.x, recorded.at, "a success was accepted under epoch %d, whose body had not ended: it is that of epoch %d", c.row.newEpoch, l.claims[other.claim].row.newEpoch)
}
