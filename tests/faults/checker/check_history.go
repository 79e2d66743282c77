package main

import (
	"cmp"
	"slices"
)

// checkHistory looks at the events as they were left: numbers, outcomes, timers.
func (l *look) checkHistory() {
	l.checkNumbers()
	l.checkOutcomes()
	l.checkCopies()
	l.checkTimers()
	l.checkAppended()
	l.checkKept()
}

func (l *look) checkNumbers() {
	var run, position, last int32
	for _, h := range l.events {
		if h.run != run {
			run, position = h.run, 0
		}
		if position++; h.position != position {
			l.fail(7, l.x, h.at, "run %d has event %d where %d was to be", h.run, h.position, position)
			position = h.position
		}
		if l.final != nil && h.run == l.final.run {
			last = h.position
		}
		l.checked[7]++
	}
	switch {
	case l.final == nil && len(l.events) > 0:
		l.fail(7, l.x, l.events[0].at, "it has a history and no row")
	case l.final != nil && l.final.length != last:
		l.fail(7, l.x, l.final.createdAt, "its row says that run %d has %d events, and it has %d", l.final.run, l.final.length, last)
	}
}

// checkOutcomes finds commands with two.
func (l *look) checkOutcomes() {
	var outcomes []*event
	for _, h := range l.events {
		if isOutcome(h.event) {
			outcomes = append(outcomes, h)
			l.checked[4]++
		}
	}
	slices.SortStableFunc(outcomes, func(a, b *event) int {
		return cmp.Or(cmp.Compare(a.run, b.run), cmp.Compare(a.sequence, b.sequence))
	})
	for i := 1; i < len(outcomes); i++ {
		a, b := outcomes[i-1], outcomes[i]
		if a.run != b.run || a.sequence != b.sequence {
			continue
		}
		invariant := 4
		if isTimer(a.event) && isTimer(b.event) {
			invariant = 13
		}
		l.fail(invariant, l.x, b.at, "command %d of run %d has two outcomes, %s and %s", a.sequence, a.run, l.symbols.name(a.event), l.symbols.name(b.event))
	}
}

func isTimer(event symbol) bool { return oneOf(event, evTimerStarted, evTimerFired, evTimerCancelled) }

// checkCopies compares what a retry took over with the run that it took it from.
func (l *look) checkCopies() {
	for _, marker := range l.events {
		if marker.event != evRetried {
			continue
		}
		before := map[commandKey]id{}
		for _, h := range l.events {
			if h.run == marker.run-1 && isOutcome(h.event) {
				before[commandKey{runKey{run: int32(h.event)}, h.sequence}] = h.hash
			}
		}
		for _, h := range l.events {
			if h.run != marker.run || h.position > marker.position || !isOutcome(h.event) {
				continue
			}
			if hash, ok := before[commandKey{runKey{run: int32(h.event)}, h.sequence}]; !ok || hash != h.hash {
				l.fail(4, l.x, h.at, "the retry of run %d has another %s of command %d", marker.run-1, l.symbols.name(h.event), h.sequence)
			}
		}
	}
}

// checkTimers holds each timer to its delay, by the database's clock.
func (l *look) checkTimers() {
	started := map[commandKey]*event{}
	for _, h := range l.events {
		key := commandKey{runKey{run: h.run}, h.sequence}
		switch h.event {
		case evTimerStarted:
			started[key] = h
		case evTimerFired:
			l.checkFired(started[key], h)
		case evTimerCancelled:
			if started[key] == nil {
				l.fail(13, l.x, h.at, "timer %d of run %d was cancelled and never started", h.sequence, h.run)
			}
		}
	}
	for _, t := range l.timers {
		l.checkTimerLeft(t)
	}
}

func (l *look) checkFired(started, fired *event) {
	l.checked[13]++
	if started == nil {
		// A retry takes over a timer's end without its start.
		if !l.isCopied(fired) {
			l.fail(13, l.x, fired.at, "timer %d of run %d fired and never started", fired.sequence, fired.run)
		}
		return
	}
	due := started.at + started.delayMS*1e6
	if fired.at < due {
		l.fail(13, l.x, fired.at, "timer %d of run %d fired %.3f ms early", fired.sequence, fired.run, float64(due-fired.at)/1e6)
	}
	l.figures.timers.add(fired.at - due)
}

// isCopied says whether an event stands before its run's mark of a retry.
func (l *look) isCopied(h *event) bool {
	return slices.ContainsFunc(l.events, func(m *event) bool {
		return m.event == evRetried && m.run == h.run && m.position > h.position
	})
}

// checkAppended holds, transaction by transaction, the number of events against
// the length that the row says, which is what makes an event visible to its workflow.
func (l *look) checkAppended() {
	var before *row
	for i := 0; i < len(l.audit); {
		j := i
		for j < len(l.audit) && l.audit[j].txid == l.audit[i].txid {
			j++
		}
		before = l.checkTransaction(before, l.audit[i:j])
		i = j
	}
}

func (l *look) checkTransaction(before *row, rows []*row) (last *row) {
	balance := map[int32]int32{} // by run: lengths gained, less events appended
	wasHeld := false
	at := rows[0].at
	last = before
	for _, r := range rows {
		if r.tab == historyTable || r.op == deleted {
			continue
		}
		wasHeld = wasHeld || r.oldStatus == running || isTaken(r)
		switch {
		case last == nil:
			balance[r.run] += r.length
		case last.run == r.run:
			balance[r.run] += r.length - last.length
		default:
			balance[r.run] += r.length
			balance[last.run] += int32(isTrue(r.oldStatus == running)) // "continued"
		}
		last = r
	}
	for _, r := range rows {
		if r.tab == historyTable && r.op == inserted {
			balance[r.run]--
			l.checkEvent(r, wasHeld)
		}
	}
	for run, n := range balance {
		if n != 0 && len(l.rows) > 0 && l.rows[0].op == inserted {
			l.fail(7, l.x, at, "transaction %d made run %d longer by %d events than it appended", rows[0].txid, run, n)
		}
	}
	return last
}

// checkEvent looks for a holder's event that no holder has written.
func (l *look) checkEvent(r *row, wasHeld bool) {
	isCopy := oneOf(r.statement, stRetry)
	if !isHoldersEvent(r.event) || isCopy {
		return
	}
	l.checked[7]++
	if !wasHeld {
		l.fail(6, l.x, r.at, "%s, event %d of run %d, was written when nobody held it", l.symbols.name(r.event), r.position, r.run)
		return
	}
	l.checkWriter(r)
	if c := l.holderAt(r.n); c != nil && (c.row.newEpoch != r.newEpoch || !r.newToken.isZero() && c.row.newToken != r.newToken) {
		l.fail(7, l.x, r.at, "%s, event %d of run %d, has epoch %d, and epoch %d held it", l.symbols.name(r.event), r.position, r.run, r.newEpoch, c.row.newEpoch)
	}
}

// holderAt answers the claim that held when a row of the audit was written. A statement
// numbers its history and its row in any order, so the end itself still counts.
func (l *look) holderAt(n int64) *claim {
	i, found := slices.BinarySearchFunc(l.claims, n, func(c claim, n int64) int { return cmp.Compare(c.row.n, n) })
	switch {
	case found:
		return &l.claims[i]
	case i > 0:
		return &l.claims[i-1]
	}
	return nil
}

// checkKept compares the history with what the audit saw of it.
func (l *look) checkKept() {
	if len(l.world.audit) == 0 {
		return
	}
	type place struct{ run, position int32 }
	was := make(map[place]*row, len(l.added))
	for _, r := range l.added {
		at := place{r.run, r.position}
		l.checked[4]++
		switch {
		case r.op == deleted:
			l.fail(4, l.x, r.at, "event %d of run %d was deleted", r.position, r.run)
			return
		case r.op == updated && r.event != evStarted: // which may name who begins in truth
			l.fail(4, l.x, r.at, "event %d of run %d was changed", r.position, r.run)
			return
		}
		was[at] = r
	}
	for _, h := range l.events {
		r := was[place{h.run, h.position}]
		if r == nil || r.event != h.event || r.hash != h.hash || r.sequence != h.sequence {
			l.fail(4, l.x, h.at, "event %d of run %d, %s, is not what was appended", h.position, h.run, l.symbols.name(h.event))
			return
		}
	}
	if len(was) > len(l.events) {
		l.fail(4, l.x, l.added[0].at, "%d events of its history have disappeared", len(was)-len(l.events))
	}
}
