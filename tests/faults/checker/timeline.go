package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// moment is a line of a timeline.
type moment struct {
	at   int64
	from string
	text string
}

// maxMoments of a timeline are printed; of a longer one those around the violation.
const maxMoments = 300

// printTimeline merges all that is known of an execution in the order of time.
func printTimeline(out io.Writer, e *evidence, v violation) {
	moments := e.moments(v.x)
	slices.SortStableFunc(moments, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	if len(moments) > maxMoments {
		i, _ := slices.BinarySearchFunc(moments, v.at, func(m moment, at int64) int { return cmp.Compare(m.at, at) })
		from := max(0, min(i-maxMoments*2/3, len(moments)-maxMoments))
		_, _ = fmt.Fprintf(out, "of %d lines, %d to %d\n", len(moments), from+1, from+maxMoments)
		moments = moments[from : from+maxMoments]
	}
	for _, m := range moments {
		_, _ = fmt.Fprintf(out, "  %s  %-8s %s\n", time.Unix(0, m.at).UTC().Format("15:04:05.000000"), m.from, m.text)
	}
}

func (e *evidence) moments(x id) (moments []moment) {
	add := func(at int64, from, format string, args ...any) {
		moments = append(moments, moment{at, from, fmt.Sprintf(format, args...)})
	}
	e.addAudit(x, add)
	for i := range e.calls {
		if c := &e.calls[i]; c.x == x {
			add(c.from, "call", "%s asks: %s %s", e.symbols.name(c.client), e.symbols.name(c.op), e.uids[c.uid])
			if c.to > 0 {
				add(c.to, "call", "%s is told: %s of %s: %s %s %s", e.symbols.name(c.client), e.symbols.name(c.outcome), e.symbols.name(c.op), e.symbols.name(c.code), e.symbols.name(c.status), brief(c.value))
			}
		}
	}
	for i := range e.writes {
		if w := &e.writes[i]; w.x == x {
			add(w.to, "write", "%s under epoch %d, token %s, from position %d: %s %s %s, up to %d", e.symbols.name(w.what), w.epoch, short(w.token),
				w.position, e.symbols.name(w.outcome), e.symbols.name(w.code), e.symbols.name(w.status), w.answered)
		}
	}
	for i := range e.lines {
		if b := &e.lines[i]; b.x == x {
			add(b.at, "body", "%s %s sequence %d, attempt %d, epoch %d, token %s, pid %d, ok %v %s%s, nonce %s", e.symbols.name(b.t), e.symbols.name(b.step), b.sequence,
				b.attempt, b.epoch, short(b.token), b.pid, b.ok, e.symbols.name(b.signal), e.uids[b.uid], short(b.nonce))
		}
	}
	e.addFaults(moments, add)
	return moments
}

func (e *evidence) addAudit(x id, add func(int64, string, string, ...any)) {
	name := e.symbols.name
	for i := range e.audit {
		switch r := &e.audit[i]; {
		case r.x != x:
		case r.tab == historyTable:
			add(r.at, "history", "%d: %s %d.%d %s, sequence %d, by %s (%s under epoch %d)", r.n, name(r.op), r.run, r.position, name(r.event), r.sequence, name(r.statement), name(r.newStatus), r.newEpoch)
		default:
			add(r.at, "row", "%d: %s by %s: %s -> %s, run %d, epoch %d -> %d, token %s -> %s, worker %s, crashes %d, length %d, transaction %d", r.n, name(r.op), name(r.statement),
				name(r.oldStatus), name(r.newStatus), r.run, r.oldEpoch, r.newEpoch, short(r.oldToken), short(r.newToken), short(r.worker), r.crashes, r.length, r.txid)
		}
	}
	for i := range e.beats {
		if r := &e.beats[i]; r.x == x && r.oldStatus != r.newStatus {
			add(r.at, "worker", "%d: %s -> %s by %s", r.n, name(r.oldStatus), name(r.newStatus), name(r.statement))
		}
	}
}

// addFaults adds those that fell within the execution's life.
func (e *evidence) addFaults(moments []moment, add func(int64, string, string, ...any)) {
	if len(moments) == 0 {
		return
	}
	byTime := func(a, b moment) int { return cmp.Compare(a.at, b.at) }
	from, to := slices.MinFunc(moments, byTime).at, slices.MaxFunc(moments, byTime).at
	for _, f := range e.faults {
		if f.at >= from && f.at <= to {
			add(f.at, "fault", "%s %s", f.kind, f.target)
		}
	}
}

func short(x id) string {
	if x.isZero() {
		return "none"
	}
	text := x.String()
	return text[:4] + ".." + strings.TrimLeft(text[len(text)-4:], "-")
}
