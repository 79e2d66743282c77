package main

import (
	"cmp"
	"slices"
	"strings"
)

// signalAt is where a signal came in first; a later run has a copy of what was not taken.
type signalAt struct {
	first  *event
	copies int // within one run
}

// signals indexes the history's signals by their unique ids.
func (l *look) signals() map[int32]*signalAt {
	var found map[int32]*signalAt
	lastRun := map[int32]int32{}
	for _, h := range l.events {
		if h.event != evSignalReceived || h.uid == 0 {
			continue
		}
		if found == nil {
			found = map[int32]*signalAt{}
		}
		at := found[h.uid]
		if at == nil {
			at = &signalAt{first: h}
			found[h.uid] = at
		}
		if lastRun[h.uid] == h.run {
			at.copies++
		}
		lastRun[h.uid] = h.run
	}
	return found
}

// isDelivered says whether a sender was told that its signal was taken in.
func isDelivered(c *call) bool {
	return c.outcome == outcomeOK && c.value != "false" && !strings.Contains(c.value, `"delivered":false`)
}

// hasSignals spares most executions the rest.
func (l *look) hasSignals() bool {
	return slices.ContainsFunc(l.calls, func(c *call) bool { return c.op == opSignal }) ||
		slices.ContainsFunc(l.events, func(h *event) bool { return h.uid > 0 }) ||
		slices.ContainsFunc(l.lines, func(x *line) bool { return x.t == lineTook })
}

func (l *look) checkSignals() {
	if !l.hasSignals() {
		return
	}
	found := l.signals()
	asked := l.firstAsked()
	for _, c := range l.calls {
		if c.op != opSignal || c.uid == 0 {
			continue
		}
		l.checked[12]++
		at := found[c.uid]
		switch {
		case at == nil && isDelivered(c) && !l.meta.Limits.LostAcks:
			l.fail(12, l.x, c.to, "signal %s was acknowledged and is not in the history", l.uids[c.uid])
		case at == nil:
		case at.copies > 0:
			l.fail(12, l.x, at.first.at, "signal %s is in the history of one run %d times", l.uids[c.uid], at.copies+1)
		case at.first.at+l.slack < asked[c.uid]:
			l.fail(12, l.x, at.first.at, "signal %s is in the history %.3f ms before it was sent", l.uids[c.uid], float64(asked[c.uid]-at.first.at)/1e6)
		case c.outcome == outcomeFail && isRefusal(l.symbols.name(c.code)):
			l.fail(25, l.x, c.from, "signal %s was refused with %s and is in the history", l.uids[c.uid], l.symbols.name(c.code))
		}
	}
	l.checkSenders(found)
	l.checkTaking(found)
}

// firstAsked answers when each signal was sent first: who repeats it sends nothing new.
func (l *look) firstAsked() map[int32]int64 {
	first := map[int32]int64{}
	for _, c := range l.calls {
		if c.op != opSignal || c.uid == 0 {
			continue
		}
		if at, again := first[c.uid]; !again || c.from < at {
			first[c.uid] = c.from
		}
	}
	return first
}

// checkSenders: of what one client sent one after another, the order is kept.
func (l *look) checkSenders(found map[int32]*signalAt) {
	last := map[symbol]*call{}
	for _, c := range l.calls {
		if c.op != opSignal || !isDelivered(c) || found[c.uid] == nil {
			continue
		}
		p := last[c.client]
		last[c.client] = c
		if p == nil || p.to > c.from {
			continue
		}
		if a, b := found[p.uid].first, found[c.uid].first; isAfter(a, b) {
			l.fail(12, l.x, b.at, "%s sent signal %s before %s, and they are in the history the other way round",
				l.symbols.name(c.client), l.uids[p.uid], l.uids[c.uid])
		}
	}
}

func isAfter(a, b *event) bool {
	return a.run > b.run || a.run == b.run && a.position > b.position
}

// checkTaking: waits for one name take signals in the history's order, whoever holds the workflow,
// one holder after the other: one whose lease was lost may go on for a while beside the next. One
// that is taken again was taken by such a holder.
func (l *look) checkTaking(found map[int32]*signalAt) {
	last := map[symbol]*event{}
	taken := map[int32]bool{}
	for _, x := range l.takes() {
		l.checked[12]++
		at := found[x.uid]
		switch {
		case at == nil:
			l.fail(12, l.x, x.at, "a workflow took signal %s, which is not in its history", l.uids[x.uid])
			continue
		case taken[x.uid]:
			continue
		}
		taken[x.uid] = true
		if p := last[x.signal]; p != nil && isAfter(p, at.first) {
			l.fail(12, l.x, x.at, "a workflow took signal %s after %s, and they came in the other way round", l.uids[x.uid], l.uids[p.uid])
		}
		last[x.signal] = at.first
	}
	if len(taken) > 0 || len(found) > 0 {
		l.figures.Untaken += len(found) - len(taken)
	}
}

// takes are the signals that were taken, by one holder after the other.
func (l *look) takes() (takes []*line) {
	for _, x := range l.lines {
		if x.t == lineTook && x.uid > 0 {
			takes = append(takes, x)
		}
	}
	slices.SortStableFunc(takes, func(a, b *line) int { return cmp.Compare(a.epoch, b.epoch) })
	return takes
}
