package main

import (
	"encoding/json"
	"math/big"
	"reflect"
	"strings"
)

// checkCalls compares what clients were told with what there is.
func (l *look) checkCalls() {
	for _, c := range l.calls {
		switch c.op {
		case opStart:
			l.checkStart(c)
		case opCancel, opTerminate:
			l.checkCancel(c)
		case opResult, opState:
			l.checkAnswer(c)
		}
	}
	l.checkSignals()
}

func (l *look) checkStart(c *call) {
	if c.outcome == outcomeOK {
		l.checked[1]++
		switch {
		case l.final == nil && !l.meta.Limits.LostAcks:
			l.fail(1, l.x, c.to, "its start was acknowledged to %s, and it does not exist", l.symbols.name(c.client))
		case l.final != nil && c.uid > 0 && c.created:
			l.checkArguments(c)
		}
	}
	if c.uid == 0 {
		return
	}
	roots := l.cross.roots[c.uid]
	if len(roots) > 1 {
		l.fail(1, l.x, c.from, "one start made %d executions, of which one is %s", len(roots), l.executions[roots[1]].id)
	}
	if c.outcome == outcomeFail && isRefusal(l.symbols.name(c.code)) {
		l.checked[25]++
		if len(roots) > 0 {
			l.fail(25, l.executions[roots[0]].id, c.from, "its start was refused with %s", l.symbols.name(c.code))
		}
	}
}

// checkArguments looks for the call's unique id in what was stored.
func (l *look) checkArguments(c *call) {
	l.checked[25]++
	for _, uid := range l.final.uids {
		if uid == c.uid {
			return
		}
	}
	if l.final.run > 1 { // as continue-as-new has replaced them
		return
	}
	l.fail(25, l.x, c.to, "its arguments are not those of the call that started it")
}

// isRefusal says whether a code tells for certain that nothing was done.
func isRefusal(code string) bool {
	switch code {
	case "invalid_request", "invalid_payload", "payload_too_large", "permission_denied", "schema_missing", "schema_outdated", "schema_too_new", "invalid_config":
		return true
	}
	return false
}

// checkCancel: from the acknowledgement on it is ended or asked to stop.
func (l *look) checkCancel(c *call) {
	if c.outcome != outcomeOK || len(l.rows) == 0 || l.meta.Limits.LostAcks {
		return
	}
	l.checked[17]++
	state := l.stateAt(c.to + l.slack)
	if state == nil || isFinal(state.newStatus) || state.cancel || l.isRetriedWithin(c) {
		return
	}
	l.fail(17, l.x, c.to, "its %s was acknowledged, and it was %s as if nothing had been said", l.symbols.name(c.op), l.symbols.name(state.newStatus))
}

// stateAt answers the last row of the audit before an instant.
func (l *look) stateAt(at int64) (last *row) {
	for _, r := range l.rows {
		if r.at > at {
			break
		}
		last = r
	}
	return last
}

// isRetriedWithin says whether a new run began so close to a call that it may have been about the old one.
func (l *look) isRetriedWithin(c *call) bool {
	for i := 1; i < len(l.rows); i++ {
		r := l.rows[i]
		if l.isRetry(l.rows[i-1], r) && r.at >= c.from-l.slack && r.at <= c.to+2*l.slack {
			return true
		}
	}
	return false
}

// checkAsked: who is asked to stop ends as cancelled, unless a deadline or its third crash comes first.
func (l *look) checkAsked(p, r *row) {
	if !p.cancel || isFinal(p.newStatus) {
		return
	}
	l.checked[17]++
	isJob := l.final != nil && l.final.kind != workflow
	switch {
	case r.newStatus == completed, r.newStatus == failed && isFinish(r.statement):
		l.fail(17, l.x, r.at, "it was asked to stop, and %s", l.symbols.name(r.newStatus))
	case r.run > p.run:
		l.fail(17, l.x, r.at, "it was asked to stop, and began another run")
	case isJob && isTaken(r):
		l.fail(17, l.x, r.at, "it was asked to stop, and was claimed again")
	}
}

// checkStopped looks for bodies that began long after a cancel was acknowledged. A
// workflow's steps may: it cleans up after itself.
func (l *look) checkStopped() {
	if l.final == nil || l.final.kind == workflow {
		return
	}
	for _, c := range l.calls {
		if !oneOf(c.op, opCancel, opTerminate) || c.outcome != outcomeOK {
			continue
		}
		until := c.to + l.meta.HeartbeatTimeoutMS*1e6 + l.meta.Limits.GraceMS*1e6
		for i := range l.bodies {
			if b := &l.bodies[i]; b.begin.at > until && l.runAt(b) == l.runOf(c) {
				l.fail(17, l.x, b.begin.at, "a body began %.1f s after its cancel was acknowledged", float64(b.begin.at-c.to)/1e9)
			}
		}
	}
}

func (l *look) runAt(b *body) int32 {
	if b.claim < 0 {
		return 1
	}
	return l.claims[b.claim].row.run
}

func (l *look) runOf(c *call) int32 {
	if r := l.stateAt(c.to); r != nil {
		return r.run
	}
	return 1
}

// checkAnswer compares a status or a result that a client was given.
func (l *look) checkAnswer(c *call) {
	if c.outcome != outcomeOK || !isFinal(c.status) || len(l.rows) == 0 || l.meta.Limits.LostAcks {
		return
	}
	l.checked[2]++
	var end *row
	for _, r := range l.rows {
		if r.newStatus == c.status && !isFinal(r.oldStatus) && r.at <= c.to+l.slack {
			end = r
		}
	}
	if end == nil {
		l.fail(2, l.x, c.to, "%s was told that it %s, and by then it had not", l.symbols.name(c.client), l.symbols.name(c.status))
		return
	}
	if c.op == opResult && c.status == completed && l.final != nil && l.final.run == end.run && c.value != "" && c.value != "null" {
		l.checked[25]++
		if !isSameJSON(c.value, l.final.result) {
			l.fail(25, l.x, c.to, "%s was given the result %s, and it is %s", l.symbols.name(c.client), brief(c.value), brief(l.final.result))
		}
	}
}

func brief(text string) string {
	if len(text) > 80 {
		return text[:80] + "..."
	}
	return text
}

// isSameJSON compares what two texts mean: languages write numbers and strings differently.
func isSameJSON(a, b string) bool {
	if a == b {
		return true
	}
	x, ok := meaning(a)
	y, ok2 := meaning(b)
	return ok && ok2 && reflect.DeepEqual(x, y)
}

func meaning(text string) (v any, ok bool) {
	if text == "" {
		return nil, true
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	err := d.Decode(&v)
	return plainNumbers(v), err == nil
}

// plainNumbers writes numbers in one way: whole ones exactly, others as doubles.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if whole, ok := new(big.Int).SetString(v.String(), 10); ok {
			return whole.String()
		}
		double, _ := v.Float64()
		if double == float64(int64(double)) {
			return big.NewInt(int64(double)).String()
		}
		return double
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
	}
	return v
}
