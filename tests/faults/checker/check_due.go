package main

// retrySlack: what is to be tried again within a millisecond is pending at once.
const retrySlack = 1e6

// checkDue holds starts and deadlines to their times.
func (l *look) checkDue(p, r *row) {
	switch {
	case isTaken(r):
		l.checked[13]++
		if p.runAt-r.at > retrySlack {
			l.fail(13, l.x, r.at, "it was claimed %.3f ms before it was due", float64(p.runAt-r.at)/1e6)
		}
	case p.newStatus == scheduled && r.newStatus == pending && !isHolders(r.statement):
		l.checked[13]++
		if p.runAt > r.at {
			l.fail(13, l.x, r.at, "it was made pending %.3f ms before it was due", float64(p.runAt-r.at)/1e6)
		}
	}
	if r.parked != none && r.newStatus == suspended && p.newStatus == running {
		l.checkParked(r)
	}
}

// checkParked: code that does not fit its history is parked.
func (l *look) checkParked(r *row) {
	if !l.meta.Limits.Mismatches {
		l.fail(15, l.x, r.at, "its code departed from its history: %s", l.symbols.name(r.parked))
	}
}

// checkReplays counts the claims that had something to replay.
func (l *look) checkReplays() {
	if l.final == nil || l.final.kind != workflow {
		return
	}
	for i := range l.claims {
		if i > 0 && l.claims[i-1].row.run == l.claims[i].row.run {
			l.checked[15]++
		}
	}
	if l.final.parked != none && l.final.status == suspended && !l.meta.Limits.Mismatches {
		l.fail(15, l.x, l.final.createdAt, "it is parked in the end: %s", l.symbols.name(l.final.parked))
	}
}

// checkTimerLeft: whoever has ended has no timer but the note to close its children.
func (l *look) checkTimerLeft(t *timer) {
	l.checked[27]++
	isNote := l.symbols.name(t.kind) == "close"
	switch {
	case l.final == nil:
		l.fail(27, l.x, t.dueAt, "a timer is left of an execution that is gone")
	case isFinal(l.final.status) && !isNote:
		l.fail(27, l.x, l.final.finishedAt, "it has ended and a timer is left")
	case l.overAt > 0 && t.dueAt < l.calmAt && !l.isParked():
		l.fail(3, l.x, t.dueAt, "a timer has been due since before the faults stopped and was not fired")
	}
}

// isParked says whether it waits for somebody by design.
func (l *look) isParked() bool {
	return l.final != nil && l.final.status == suspended && l.final.parked != none
}

// checkEnded looks at how it was left.
func (l *look) checkEnded() {
	if l.overAt == 0 || l.final == nil {
		return
	}
	l.checked[3]++
	l.checked[27]++
	x := l.final
	isLater := x.status == scheduled && x.runAt > l.overAt
	for _, t := range l.timers {
		isLater = isLater || t.dueAt > l.overAt && x.status == suspended
	}
	if isFinal(x.status) || l.isParked() || isLater {
		return
	}
	at := x.createdAt
	if last := l.last(); last != nil {
		at = last.at
	}
	if x.status == running {
		l.fail(27, l.x, at, "worker %s still holds it", x.worker)
	}
	l.fail(3, l.x, at, "it is %s in the end", l.symbols.name(x.status))
}
