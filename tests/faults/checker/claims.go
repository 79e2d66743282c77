package main

import (
	"cmp"
	"slices"
)

// ending is how a claim ended.
type ending int

const (
	open      ending = iota
	succeeded        // the outcome was recorded, or the workflow said that it is done
	failing          // an outcome that is no success
	waiting          // the workflow is suspended
	continued        // the next run begins
	released         // given back
	lost             // taken from a worker that is gone
	outside          // a deadline, a cancel or a terminate
	doubled          // somebody else claimed it all the same
)

// claim is one holder's time with an execution.
type claim struct {
	row *row
	end *row // nil while open
	how ending
}

// isTaken says whether a row of the audit begins a claim.
func isTaken(r *row) bool {
	return r.newStatus == running && (r.op == inserted || r.newEpoch != r.oldEpoch)
}

func (l *look) findClaims() {
	l.claims = l.claims[:0]
	for i, r := range l.rows {
		if n := len(l.claims); n > 0 && l.claims[n-1].end == nil && (r.newStatus != running || isTaken(r)) {
			c := &l.claims[n-1]
			c.end, c.how = r, endingOf(l.rows[i-1], r)
		}
		if isTaken(r) {
			l.claims = append(l.claims, claim{row: r})
		}
	}
}

// endingOf tells how a claim ended by what the row looks like afterwards: what a
// statement is called says what it was meant to do, not what it did.
func endingOf(before, r *row) ending {
	isOutside := oneOf(r.statement, stExpire, stEnd)
	switch {
	case isTaken(r):
		return doubled
	case r.run > before.run:
		return continued
	case r.releases > before.releases:
		return released
	case r.newToken.isZero() && !before.newToken.isZero():
		return lost
	case r.newStatus == suspended:
		return waiting
	case r.newStatus == completed:
		return succeeded
	case isOutside:
		return outside
	}
	return failing
}

// body is a function's body at work, begin to end.
type body struct {
	begin, end *line
	// claim is which of the look's claims it belongs to; maybe if its journal does not
	// say, stray if there is no such claim.
	claim int
}

const (
	maybe = -1
	stray = -2
)

func (l *look) findBodies() {
	l.bodies = l.bodies[:0]
	for _, x := range l.lines {
		switch x.t {
		case lineBegin:
			l.bodies = append(l.bodies, body{begin: x, claim: l.claimOf(x)})
		case stEnd:
			if b := l.openBody(x); b != nil {
				b.end = x
			}
		}
	}
	slices.SortStableFunc(l.bodies, func(a, b body) int { return cmp.Compare(a.begin.sequence, b.begin.sequence) })
}

// bodiesOf answers the bodies of one command, in the order in which they began.
func (l *look) bodiesOf(sequence int32) []body {
	from, _ := slices.BinarySearchFunc(l.bodies, sequence, func(b body, s int32) int { return cmp.Compare(b.begin.sequence, s) })
	to := from
	for to < len(l.bodies) && l.bodies[to].begin.sequence == sequence {
		to++
	}
	return l.bodies[from:to]
}

func (l *look) openBody(end *line) *body {
	for i := len(l.bodies) - 1; i >= 0; i-- {
		b := &l.bodies[i]
		if x := b.begin; b.end == nil && x.sequence == end.sequence && x.attempt == end.attempt && x.pid == end.pid &&
			x.epoch == end.epoch && x.token == end.token {
			return b
		}
	}
	return nil
}

// claimOf finds the claim that a body names, by token, epoch or at least worker.
func (l *look) claimOf(x *line) int {
	if x.token.isZero() && x.epoch < 0 && x.worker.isZero() || len(l.world.audit) == 0 {
		return maybe
	}
	if i, found := slices.BinarySearchFunc(l.claims, x.epoch, func(c claim, epoch int64) int { return cmp.Compare(c.row.newEpoch, epoch) }); found && l.isOf(x, i) {
		return i
	}
	for i := len(l.claims) - 1; i >= 0; i-- {
		if l.isOf(x, i) {
			return i
		}
	}
	return stray
}

func (l *look) isOf(x *line, i int) bool {
	c := l.claims[i].row
	return (x.token.isZero() || x.token == c.newToken) && (x.epoch < 0 || x.epoch == c.newEpoch) && (x.worker.isZero() || x.worker == c.worker)
}
