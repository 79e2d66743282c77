package main

import "slices"

// write is what somebody asked for under a lease, rightly or not, and was told.
type write struct {
	x, token                    id
	epoch, from, to             int64
	what, outcome, code, status symbol
	position, answered          int32 // up to where the history was known, and then told
	sequence                    int32 // of a step
}

// checkWrites compares what writers were told with what became of their leases. Who only
// follows the protocol seldom writes under a lease that is none: the rig does it on purpose.
func (l *look) checkWrites() {
	if l.meta.Limits.LostAcks {
		return
	}
	for _, w := range l.writes {
		if w.to == 0 || w.outcome == outcomeUnknown {
			continue
		}
		l.checked[6]++
		l.checkWrite(w)
	}
}

func (l *look) checkWrite(w *write) {
	c := l.leaseOf(w)
	isOver := c != nil && c.end != nil && c.end.at+l.slack < w.from
	switch {
	case c == nil && w.outcome == outcomeOK:
		l.fail(6, l.x, w.to, "%s was accepted under epoch %d, token %s, and no claim has these", l.symbols.name(w.what), w.epoch, w.token)
	case isOver && l.isRepeat(w, c):
		l.checkRepeat(w)
	case isOver && w.outcome == outcomeOK:
		l.fail(6, l.x, w.to, "%s was accepted under epoch %d, whose claim had ended as %s", l.symbols.name(w.what), w.epoch, l.symbols.name(c.end.newStatus))
	case c != nil && !isOver && w.outcome == outcomeOK:
		l.checkNews(w, c)
	}
	if w.outcome == outcomeFail && (c == nil || isOver) {
		l.figures.StaleRefused++
	}
}

func (l *look) leaseOf(w *write) *claim {
	i := slices.IndexFunc(l.claims, func(c claim) bool { return c.row.newEpoch == w.epoch && c.row.newToken == w.token })
	if i < 0 {
		return nil
	}
	return &l.claims[i]
}

// isRepeat says whether a write says again how its claim ended, and the row still bears its
// lease. Who is cancelled is so whatever its holder has to say.
func (l *look) isRepeat(w *write, c *claim) bool {
	now := l.stateAt(w.to)
	if now == nil || now.newEpoch != w.epoch || now.newToken != w.token {
		return false
	}
	switch l.symbols.name(w.what) {
	case "complete":
		return c.how == succeeded || c.end.newStatus == cancelled
	case "fail":
		return c.how == failing
	case "suspend":
		return c.how == waiting
	}
	return false
}

func (l *look) checkRepeat(w *write) {
	l.checked[28]++
	if w.outcome == outcomeFail {
		l.fail(28, l.x, w.to, "%s was repeated under epoch %d, which had ended so, and was refused with %s",
			l.symbols.name(w.what), w.epoch, l.symbols.name(w.code))
	}
}

// checkNews: who writes is told of all that came before, and sleeps over nothing.
func (l *look) checkNews(w *write, c *claim) {
	switch {
	case w.what == opSuspend && w.status == suspended && c.how == waiting && c.end.length > w.position:
		l.fail(21, l.x, c.end.at, "it was suspended by who had seen %d events, and there were %d: nobody wakes it for the others", w.position, c.end.length)
	case w.what == opStep:
		l.checkStepNews(w)
	}
}

func (l *look) checkStepNews(w *write) {
	for _, h := range l.events {
		if h.event != evStepCompleted || h.sequence != w.sequence || w.status != running {
			continue
		}
		if l.checked[28]++; h.position > w.answered {
			l.fail(28, l.x, w.to, "a step became event %d, and its writer, who had seen %d, was told of %d: what came in between is overlooked",
				h.position, w.position, w.answered)
		}
	}
}
