package main

// checkLedger compares the row's counters with what has just happened to it.
func (l *look) checkLedger(p, r *row) {
	attempts, releases, failures := r.attempts-p.attempts, r.releases-p.releases, r.failures-p.failures
	isWorkflow := l.final != nil && l.final.kind == workflow
	wrong := func(what string, was, is int32) {
		l.fail(10, l.x, r.at, "%s went from %d to %d as it went from %s to %s by %s", what, was, is,
			l.symbols.name(p.newStatus), l.symbols.name(r.newStatus), l.statement(r))
	}
	how := open
	if p.newStatus == running && (r.newStatus != running || isTaken(r)) {
		how = endingOf(p, r)
	}
	switch wanted := attemptsOf(how, isWorkflow, p, r); {
	case isWorkflow && isTaken(r) && attempts >= 0 && attempts <= 1:
	case attempts != wanted:
		wrong("attempts", p.attempts, r.attempts)
	}
	if wanted := int32(isTrue(how == released)); releases != wanted {
		wrong("releases", p.releases, r.releases)
	}
	switch {
	case l.isRetry(p, r) && r.failures == 0:
	case how == failing && failures >= 0 && failures <= 1 && (failures == 1 || r.cancel):
	case how != failing && failures == 0:
	case how == outside && failures == 0:
	default:
		wrong("failures", p.failures, r.failures)
	}
}

// attemptsOf is by how much the attempts must have changed.
func attemptsOf(how ending, isWorkflow bool, p, r *row) int32 {
	switch {
	case how == continued:
		return -p.attempts
	case isWorkflow:
		return 0
	case isTaken(r):
		return 1
	case how == released && !isFinal(r.newStatus): // one that ends instead keeps its attempt
		return -1
	}
	return 0
}

func isTrue(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (l *look) statement(r *row) string {
	if r.statement == none {
		return "a statement that has no name"
	}
	return l.symbols.name(r.statement)
}

// checkCrash looks at the crashes in a row, which park an execution.
func (l *look) checkCrash(p, r *row) {
	limit := int32(l.meta.Limits.CrashLimit)
	how := open
	if p.newStatus == running && r.newStatus != running {
		how = endingOf(p, r)
	}
	if how == lost {
		l.checkLost(p, r, limit)
		return
	}
	switch {
	case r.crashes > p.crashes:
		l.fail(11, l.x, r.at, "a crash was counted though nobody lost it: it went from %s to %s by %s",
			l.symbols.name(p.newStatus), l.symbols.name(r.newStatus), l.statement(r))
	case r.crashes != p.crashes && r.crashes != 0:
		l.fail(11, l.x, r.at, "its crashes went from %d to %d", p.crashes, r.crashes)
	case r.crashes < p.crashes && p.newStatus != running && !l.isRetry(p, r):
		l.fail(11, l.x, r.at, "its crashes were forgotten though no holder has written anything")
	}
}

func (l *look) checkLost(p, r *row, limit int32) {
	l.checked[11]++
	l.checked[22]++
	status, isKnown := l.cross.statusOf(p.worker, r.n)
	if isKnown && status != dead && status != stopped {
		l.fail(22, l.x, r.at, "it was taken from worker %s, which was %s", p.worker, l.symbols.name(status))
	}
	crashed := r.crashes - p.crashes
	isShared := p.crashes >= limit-1 && !p.alone // it need not be to blame
	switch {
	case crashed < 0 || crashed > 1 || r.crashes > limit:
		l.fail(11, l.x, r.at, "its crashes went from %d to %d, and %d are the limit", p.crashes, r.crashes, limit)
	case crashed == 1 && (isKnown && status != dead || isShared && !isFinal(r.newStatus)):
		l.fail(11, l.x, r.at, "a crash was counted that was none: its worker was %s, and it had crashed %d times", l.symbols.name(status), p.crashes)
	case crashed == 0 && isKnown && status == dead && !isShared:
		l.fail(10, l.x, r.at, "a crash was not counted: worker %s was dead", p.worker)
	case r.crashes == limit && !isFinal(r.newStatus):
		l.fail(11, l.x, r.at, "it has crashed %d times in a row and was put back", r.crashes)
	case l.symbols.name(r.parked) == "worker_lost" && r.crashes < limit:
		l.fail(11, l.x, r.at, "it was parked after %d crashes", r.crashes)
	}
}

// checkClaims closes the account: each claim has ended before the next.
func (l *look) checkClaims() {
	for i := range l.claims {
		l.checked[10]++
		if c := &l.claims[i]; c.how == doubled {
			l.fail(10, l.x, c.end.at, "the claim under epoch %d never ended, and another followed", c.row.newEpoch)
		}
	}
	last := l.last()
	if l.final == nil || last == nil {
		return
	}
	if l.final.attempts != last.attempts || l.final.failures != last.failures || l.final.releases != last.releases || l.final.crashes != last.crashes {
		l.fail(10, l.x, last.at, "its counters were changed unseen by the audit")
	}
}
