package main

// checkChild compares a child with what its parent knows of it.
func (l *look) checkChild() {
	if l.final == nil || l.final.parent.isZero() {
		return
	}
	l.checked[16]++
	x := l.final
	key := commandKey{runKey{x.parent, x.parentRun}, x.sequence}
	if _, ok := l.cross.scheduled[key]; !ok {
		l.fail(16, l.x, x.createdAt, "its parent %s has no command %d in run %d", x.parent, x.sequence, x.parentRun)
		return
	}
	ended := l.firstEnd()
	i, told := l.cross.outcomes[key]
	switch {
	case told:
		l.checkTold(&l.world.events[i], ended)
	case ended != nil && !x.reported && !l.isOver(key.runKey, ended):
		l.fail(16, l.x, ended.at, "it ended, and its parent %s was not told", x.parent)
	}
}

func (l *look) firstEnd() *row {
	for _, r := range l.rows {
		if isFinal(r.newStatus) {
			return r
		}
	}
	return nil
}

// isOver says whether a parent's run had ended by then, or ended with its child, and so accepted no event.
func (l *look) isOver(parent runKey, child *row) bool {
	end := l.cross.ends[parent]
	return end != nil && (end.n <= child.n || end.txid == child.txid)
}

// checkTold compares an event with the end that it tells of. A parent that cancels
// a child says so beforehand.
func (l *look) checkTold(h *event, ended *row) {
	var status symbol
	var hash id
	switch h.event {
	case evActivityCompleted, evChildCompleted:
		status = completed
	case evActivityFailed, evChildFailed:
		status = failed
	default:
		return
	}
	if len(l.world.audit) == 0 {
		return
	}
	if ended == nil || ended.newStatus != status {
		l.fail(16, l.x, h.at, "its parent was told that it %s, and it did not", l.symbols.name(status))
		return
	}
	if status == completed {
		hash = ended.hash
	} else if l.final.run == 1 {
		hash = l.final.failureEvent()
	}
	if !hash.isZero() && hash != h.hash {
		l.fail(16, l.x, h.at, "its parent was told another outcome than its own")
	}
}

// checkCommands finds commands that have no child.
func (l *look) checkCommands() {
	for _, h := range l.events {
		if h.event != evActivityScheduled && h.event != evChildStarted {
			continue
		}
		l.checked[16]++
		if !l.hasChild(h) {
			l.fail(16, l.x, h.at, "command %d of run %d has no child", h.sequence, h.run)
		}
	}
}

// hasChild: what a retry took over has its child in the run where it was asked for.
func (l *look) hasChild(h *event) bool {
	for run := h.run; run >= 1; run-- {
		if _, ok := l.cross.children[commandKey{runKey{h.x, run}, h.sequence}]; ok {
			return true
		}
		if !l.isCopied(&event{run: run, position: h.position}) {
			return false
		}
	}
	return false
}
