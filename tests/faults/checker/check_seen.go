package main

import "strings"

// checkSeen compares what workflow code saw of a command with what it saw in another pass, and with what
// the history has of it. What a fail-over has forgotten may come out otherwise.
func (l *look) checkSeen() {
	if l.meta.Limits.LostAcks {
		return
	}
	var outcomes map[stepKey]*event
	var seen map[stepKey]*line
	for _, x := range l.lines {
		if x.t != lineSaw {
			continue
		}
		l.checked[29]++
		if outcomes == nil {
			outcomes, seen = l.outcomes(), map[stepKey]*line{}
		}
		at := stepKey{x.run, x.sequence}
		switch before := seen[at]; {
		case before == nil:
			l.checkSaw(x, outcomes[at])
		case before.ok != x.ok || before.nonce != x.nonce:
			l.fail(29, l.x, x.at, "code saw %s of command %d of run %d, and then %s", before.outcome(), x.sequence, x.run, x.outcome())
		}
		seen[at] = x
	}
}

func (l *look) outcomes() map[stepKey]*event {
	found := map[stepKey]*event{}
	for _, h := range l.events {
		if isOutcome(h.event) {
			found[stepKey{h.run, h.sequence}] = h
		}
	}
	return found
}

// checkSaw holds what code saw against the history as it was left, and against what bodies answered.
func (l *look) checkSaw(x *line, h *event) {
	switch {
	case h == nil:
		l.fail(29, l.x, x.at, "code saw %s of command %d of run %d, of which its history has no end", x.outcome(), x.sequence, x.run)
		return
	case x.ok != isSuccess(h.event) || x.nonce != h.nonce:
		l.fail(29, l.x, x.at, "code saw %s of command %d of run %d, and its history has %s of %s", x.outcome(), x.sequence, x.run,
			l.symbols.name(h.event), short(h.nonce))
		return
	case h.event == evChildCompleted || x.nonce.isZero(): // its own code has seen the parts
		return
	}
	end := l.cross.finished[x.nonce]
	switch {
	case end == nil || end.at > x.at+l.slack:
		l.fail(29, l.x, x.at, "code saw %s of command %d of run %d, and no body had ended so", x.outcome(), x.sequence, x.run)
	case !l.isBodyOf(end, h):
		l.fail(29, l.x, x.at, "code saw %s of command %d of run %d, which is the answer of another", x.outcome(), x.sequence, x.run)
	}
}

func isSuccess(event symbol) bool {
	return oneOf(event, evStepCompleted, evActivityCompleted, evChildCompleted)
}

// isBodyOf says whether a body was a command's: of which run is left open, as a retry takes outcomes over.
func (l *look) isBodyOf(end *line, h *event) bool {
	if h.event == evStepCompleted {
		return end.x == l.x && end.sequence == h.sequence
	}
	i := l.world.final[l.index[end.x]]
	if i < 0 {
		return false
	}
	x := &l.executions[i]
	return x.parent == l.x && x.sequence == h.sequence && end.sequence < 0
}

// checkAnswered looks for the body whose answer became the result of a job or an activity.
func (l *look) checkAnswered() {
	x := l.final
	if x == nil || x.kind == workflow || x.status != completed || x.nonce.isZero() {
		return
	}
	l.checked[29]++
	if end := l.cross.finished[x.nonce]; end == nil || end.x != l.x {
		l.fail(29, l.x, x.finishedAt, "its result is %s, and none of its bodies had ended so", short(x.nonce))
	}
}

// outcome is what code saw, in words.
func (x *line) outcome() string {
	if !x.ok {
		return "a failure"
	}
	return short(x.nonce)
}

// with adds a nonce to others: many are compared as one, whatever their order.
func (x id) with(nonce id) id {
	for i := range x {
		x[i] ^= nonce[i]
	}
	return x
}

// noncesIn finds the nonces of bodies in a JSON text.
func noncesIn(text string) (all id) {
	for {
		_, after, found := strings.Cut(text, `"nonce"`)
		if !found {
			return all
		}
		_, after, _ = strings.Cut(after, `"`)
		quoted, rest, _ := strings.Cut(after, `"`)
		if nonce, ok := parseID(quoted); ok {
			all = all.with(nonce)
		}
		text = rest
	}
}
