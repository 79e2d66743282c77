package main

import (
	"cmp"
	"slices"
)

// checkKeys: one key, one execution, whoever asks; and who made it is told once.
func (w *world) checkKeys() {
	type key struct {
		name symbol
		key  string
	}
	first := map[key]*call{}
	made := map[key]bool{}
	for i := range w.calls {
		c := &w.calls[i]
		if c.op != opStart {
			continue
		}
		if c.x.isZero() {
			w.checkStartedUID(c)
		}
		if c.outcome != outcomeOK || c.key == "" {
			continue
		}
		w.checked[1]++
		k := key{c.name, c.key}
		if p := first[k]; p == nil {
			first[k] = c
		} else if p.x != c.x {
			w.fail(1, c.x, c.to, "key %q of %s has two executions: %s, too", c.key, w.symbols.name(c.name), p.x)
		}
		if c.hasCreated && c.created && made[k] {
			w.fail(1, c.x, c.to, "key %q of %s was made twice", c.key, w.symbols.name(c.name))
		}
		made[k] = made[k] || c.created
	}
}

// checkStartedUID looks at a start whose outcome names no execution.
func (w *world) checkStartedUID(c *call) {
	roots := w.cross.roots[c.uid]
	if c.uid == 0 || len(roots) == 0 {
		return
	}
	x := w.executions[roots[0]].id
	if len(roots) > 1 {
		w.fail(1, x, c.from, "one start made %d executions", len(roots))
	}
	if c.outcome == outcomeFail && isRefusal(w.symbols.name(c.code)) {
		w.fail(25, x, c.from, "its start was refused with %s", w.symbols.name(c.code))
	}
}

// checkRaces compares what a race was won by, each time that its code came by. What a fail-over has
// forgotten may come out otherwise.
func (l *look) checkRaces() {
	if l.meta.Limits.LostAcks {
		return
	}
	type race struct {
		run, sequence int32
	}
	var winners map[race]symbol
	for _, x := range l.lines {
		if x.t != lineChose {
			continue
		}
		if winners == nil {
			winners = map[race]symbol{}
		}
		l.checked[14]++
		at := race{1, x.sequence}
		if i := l.claimOf(x); i >= 0 {
			at.run = l.claims[i].row.run
		}
		if winner, ok := winners[at]; ok && winner != x.winner {
			l.fail(14, l.x, x.at, "race %d was won by %s, and then by %s", x.sequence, l.symbols.name(winner), l.symbols.name(x.winner))
		}
		winners[at] = x.winner
	}
}

// checkSessions: a clean end leaves no lock and no open transaction.
func (w *world) checkSessions() {
	w.checked[27] += len(w.sessions)
	for _, session := range w.sessions {
		w.fail(27, id{}, w.overAt, "a session was left: %s", session)
	}
}

// explain says why there was nothing to check.
func (w *world) explain() {
	for i, reason := range map[int]string{
		3: "the run was not over", 6: "nothing was claimed", 8: "no bodies were journaled", 9: "no bodies were journaled",
		12: "no signals were sent", 14: "no races were journaled", 15: "no workflow was claimed twice", 16: "there are no children",
		17: "nothing was asked to stop", 21: "nothing waited", 22: "no worker was lost", 25: "no payloads were journaled",
		11: "no claim was lost", 29: "nothing was journaled of what code saw", 13: "nothing was timed", 28: "nobody wrote anything again",
	} {
		w.silent[i] = cmp.Or(w.silent[i], reason)
	}
	slices.SortStableFunc(w.violations, func(a, b violation) int { return cmp.Compare(a.at, b.at) })
}
