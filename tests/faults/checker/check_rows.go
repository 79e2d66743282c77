package main

// checkRows follows an execution's row through the audit, from each state to the next.
func (l *look) checkRows() {
	for i, r := range l.rows {
		if i == 0 || r.op == inserted {
			l.checkFirst(r, i > 0)
			continue
		}
		p := l.rows[i-1]
		l.checkChain(p, r)
		if r.op == deleted {
			continue
		}
		l.checkFinal(p, r)
		l.checkRun(p, r)
		l.checkTaken(p, r)
		l.checkHolder(p, r)
		l.checkLedger(p, r)
		l.checkCrash(p, r)
		l.checkDue(p, r)
		l.checkAsked(p, r)
	}
	l.checkTokens()
	l.checkLeft()
}

func (l *look) checkFirst(r *row, again bool) {
	switch {
	case again:
		l.fail(2, l.x, r.at, "it was inserted twice")
	case r.op == inserted && r.newStatus == running:
		l.checkHandedOver(r)
	case r.op == inserted && r.newStatus == completed:
		l.fail(5, l.x, r.at, "it was inserted as completed, and nobody held it")
	case r.op == inserted && r.newEpoch != 0:
		l.fail(5, l.x, r.at, "a new row has epoch %d", r.newEpoch)
	}
}

// checkHandedOver looks at a row that was inserted as claimed.
func (l *look) checkHandedOver(r *row) {
	l.checked[5]++
	if r.newEpoch != 1 || r.newToken.isZero() {
		l.fail(5, l.x, r.at, "a row was handed over with epoch %d and token %s", r.newEpoch, r.newToken)
	}
	l.checkWriter(r)
}

// checkChain compares a row with the one before: between them nobody may have written.
func (l *look) checkChain(p, r *row) {
	l.checked[2]++
	if r.op == deleted {
		l.fail(2, l.x, r.at, "its row was deleted")
		return
	}
	if r.oldStatus != p.newStatus || r.oldEpoch != p.newEpoch || r.oldToken != p.newToken {
		l.fail(2, l.x, r.at, "it went from %s, epoch %d, to %s, epoch %d, unseen by the audit",
			l.symbols.name(p.newStatus), p.newEpoch, l.symbols.name(r.oldStatus), r.oldEpoch)
	}
}

func (l *look) isRetry(p, r *row) bool {
	return oneOf(p.newStatus, failed, cancelled) && r.newStatus == pending && r.run == p.run+1
}

func (l *look) checkFinal(p, r *row) {
	if !isFinal(p.newStatus) || l.isRetry(p, r) {
		return
	}
	if r.newStatus != p.newStatus || r.hash != p.hash || r.eventAt != p.eventAt || r.run != p.run {
		l.fail(2, l.x, r.at, "run %d had %s, and then became %s with another outcome or end", p.run, l.symbols.name(p.newStatus), l.symbols.name(r.newStatus))
	}
}

func (l *look) checkRun(p, r *row) {
	isContinue := p.newStatus == running && r.newStatus == pending && r.run == p.run+1
	if r.run != p.run && !l.isRetry(p, r) && !isContinue {
		l.fail(2, l.x, r.at, "it went from run %d, %s, to run %d, %s", p.run, l.symbols.name(p.newStatus), r.run, l.symbols.name(r.newStatus))
	}
}

// checkTaken looks at what only a claim may do: give a lease.
func (l *look) checkTaken(p, r *row) {
	if r.newStatus == running {
		l.checked[5]++
	}
	switch {
	case r.newStatus == running && r.newToken.isZero():
		l.fail(5, l.x, r.at, "it is held under no token")
	case isTaken(r) && p.newStatus == running:
		l.fail(5, l.x, r.at, "it was claimed under epoch %d while epoch %d held it", r.newEpoch, p.newEpoch)
	case isTaken(r) && (r.newEpoch != p.newEpoch+1 || p.newStatus != pending && !isResumed(p, r)):
		l.fail(5, l.x, r.at, "it was claimed under epoch %d, %s under epoch %d before", r.newEpoch, l.symbols.name(p.newStatus), p.newEpoch)
	case isTaken(r):
		l.checkWriter(r)
	case r.newEpoch != p.newEpoch:
		l.fail(5, l.x, r.at, "its epoch went from %d to %d without a claim", p.newEpoch, r.newEpoch)
	case r.newToken != p.newToken && !r.newToken.isZero():
		l.fail(5, l.x, r.at, "its token changed within epoch %d", r.newEpoch)
	}
}

// isResumed: the end of a child may let its parent go on at once, with the worker that
// has it in memory.
func isResumed(p, r *row) bool {
	return p.newStatus == suspended && r.statement == stPlainChild && p.parked == none && r.worker == p.worker && r.length == p.length+1
}

// checkTokens compares the tokens of all claims. Those of one statement share theirs, but never two of an execution.
func (l *look) checkTokens() {
	if len(l.claims) < 2 {
		return
	}
	seen := make(map[id]int64, len(l.claims))
	for i := range l.claims {
		r := l.claims[i].row
		if epoch, ok := seen[r.newToken]; ok {
			l.fail(5, l.x, r.at, "epochs %d and %d have the same token", epoch, r.newEpoch)
		}
		seen[r.newToken] = r.newEpoch
	}
}

// checkHolder looks for a write that only a holder may do, by somebody who is none (any more).
func (l *look) checkHolder(p, r *row) {
	if isTaken(r) {
		return
	}
	isHolders := isHoldersWrite(p, r)
	if isHolders {
		l.checkWriter(r)
	}
	if isHolders || p.newStatus == running {
		l.checked[6]++
	}
	from, to := p.newStatus, r.newStatus
	isMove := from != to && from != running && !isFinal(from) // what follows an end is for I2
	switch {
	case isHolders && from != running:
		l.fail(6, l.x, r.at, "%s was accepted when it was %s", l.symbols.name(r.statement), l.symbols.name(from))
	case isMove && to == running:
		l.fail(5, l.x, r.at, "it went from %s to running without a claim", l.symbols.name(from))
	case isMove && (to == completed || to == suspended || to == scheduled):
		l.fail(6, l.x, r.at, "it went from %s to %s: only a holder may do that, and there was none", l.symbols.name(from), l.symbols.name(to))
	}
}

// isHoldersWrite tells a holder's write to its own row from what the same statement
// writes to a parent, which gets an event.
func isHoldersWrite(p, r *row) bool {
	isTold := r.length > p.length && (isFinish(r.statement) || oneOf(r.statement, stPlainChild, stEndReleased))
	return isHolders(r.statement) && !isTold
}

// checkWriter compares who writes with whose worker holds. Behind a pooler nobody knows.
func (l *look) checkWriter(r *row) {
	owner := l.cross.writers[r.worker]
	if r.writer == none || owner == none || r.writer == owner {
		return
	}
	l.fail(6, l.x, r.at, "%s came from another engine than that of worker %s, which holds it under epoch %d", l.symbols.name(r.statement), r.worker, r.newEpoch)
}

// checkLeft compares the row as it was left with the last that the audit knows of it.
func (l *look) checkLeft() {
	if len(l.world.audit) == 0 {
		return
	}
	switch last := l.last(); {
	case l.final == nil && last != nil && last.op != deleted:
		l.fail(1, l.x, last.at, "its row is gone")
	case l.final == nil:
	case last == nil:
		l.fail(2, l.x, l.final.createdAt, "the audit knows nothing of it")
	case l.final.status != last.newStatus || l.final.epoch != last.newEpoch || l.final.run != last.run ||
		l.final.length != last.length || l.final.hash() != last.hash:
		l.fail(2, l.x, last.at, "it was %s, run %d, epoch %d, and is %s, run %d, epoch %d: it changed unseen by the audit",
			l.symbols.name(last.newStatus), last.run, last.newEpoch, l.symbols.name(l.final.status), l.final.run, l.final.epoch)
	}
}

func (l *look) last() *row {
	if len(l.rows) == 0 {
		return nil
	}
	return l.rows[len(l.rows)-1]
}

// checkEnds counts the ends of each run.
func (l *look) checkEnds() {
	ends := map[int32]int{}
	for _, r := range l.rows {
		if isFinal(r.newStatus) && !isFinal(r.oldStatus) {
			l.checked[2]++
			if ends[r.run]++; ends[r.run] == 2 {
				l.fail(2, l.x, r.at, "run %d ended twice, the second time as %s", r.run, l.symbols.name(r.newStatus))
			}
		}
	}
}
