package main

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// span is a stretch of time.
type span struct{ from, to int64 }

// subtract takes holes, which are in order, out of spans, which are, too.
func subtract(spans, holes []span) (left []span) {
	for _, s := range spans {
		for _, h := range holes[sort.Search(len(holes), func(i int) bool { return holes[i].to > s.from }):] {
			if h.from >= s.to {
				break
			}
			if h.from > s.from {
				left = append(left, span{s.from, h.from})
			}
			s.from = max(s.from, h.to)
		}
		if s.from < s.to {
			left = append(left, s)
		}
	}
	return left
}

// longest is the longest stretch that a span has in common with one of others.
func longest(spans []span, x span) (most span) {
	for _, s := range spans[sort.Search(len(spans), func(i int) bool { return spans[i].to > x.from }):] {
		if s.from >= x.to {
			break
		}
		if common := (span{max(s.from, x.from), min(s.to, x.to)}); common.to-common.from > most.to-most.from {
			most = common
		}
	}
	return most
}

// wait is an execution that could run and did not yet.
type wait struct {
	x       id
	line    queueLine
	span    span
	claimed bool
}

// queueLine is where an execution waits. A workflow that has begun waits for workers of its language.
type queueLine struct{ queue, language symbol }

// change is one of a worker's occupied slots.
type change struct {
	at    int64
	slots int
}

// sweep gathers from all executions what is then looked at in the order of time.
type sweep struct {
	waits     []wait
	changes   map[id][]change
	robberies []robbery
	targets   map[string]map[id]bool
	processes map[process]bool
	// lacking are functions that some worker did not have.
	lacking map[symbol]bool
}

func newSweep() sweep {
	return sweep{changes: map[id][]change{}, targets: map[string]map[id]bool{}, processes: map[process]bool{}, lacking: map[symbol]bool{}}
}

// all stands for every slot of a worker: it runs a suspect alone.
const all = 1 << 20

func (s *sweep) occupy(worker id, from, to int64, alone bool) {
	slots := 1
	if alone {
		slots = all
	}
	s.changes[worker] = append(s.changes[worker], change{from, slots}, change{to, -slots})
}

// noteWaits finds when the execution was due and not claimed.
func (l *look) noteWaits() {
	if l.final == nil {
		return
	}
	line := queueLine{queue: l.final.queue}
	if l.final.kind == workflow {
		line.language = l.final.language
	}
	var since int64
	for i, r := range l.rows {
		isWaiting := oneOf(r.newStatus, pending, scheduled)
		wasWaiting := i > 0 && oneOf(l.rows[i-1].newStatus, pending, scheduled) && l.rows[i-1].runAt == r.runAt
		if !isWaiting && since > 0 {
			l.note(line, r, span{since, r.at}, isTaken(r))
			since = 0
		}
		if isWaiting && !wasWaiting {
			since = max(l.seenAt(r), r.runAt)
		}
		if r.oldStatus == running && r.newStatus == scheduled && r.newToken.isZero() {
			l.sweep.lacking[l.final.name] = true
		}
	}
	if since > 0 {
		l.note(line, l.last(), span{since, l.overAt}, false)
	}
}

// seenAt is when others could see a row: once its transaction was committed. Where the
// tables do not tell when that was, the client's answer does, for a start.
func (l *look) seenAt(r *row) int64 {
	if r.seenAt > 0 || r.op != inserted {
		return max(r.at, r.seenAt)
	}
	for _, c := range l.calls {
		if c.op == opStart && c.outcome == outcomeOK && c.to > r.at {
			return c.to
		}
	}
	return r.at
}

func (l *look) note(line queueLine, r *row, s span, claimed bool) {
	if r.crashes < int32(l.meta.Limits.CrashLimit)-1 && s.from < s.to {
		l.sweep.waits = append(l.sweep.waits, wait{l.x, line, s, claimed})
	}
}

// checkWaits is the sweep: nothing waits while a worker that lives has room for it.
func (w *world) checkWaits() {
	outages := w.outages()
	lives := w.living()
	w.checkRecoveries(lives)
	if len(lives) == 0 {
		w.silent[21] = "the audit has no workers"
		return
	}
	room := w.room(lives, outages)
	limit := (2*w.meta.PollMS + w.meta.Limits.WakeSlackMS) * 1e6
	for _, x := range w.sweep.waits {
		f := w.final[w.index[x.x]]
		if w.sweep.lacking[w.executions[f].name] {
			continue
		}
		common := longest(room[x.line], x.span)
		if common.to == common.from {
			continue // nobody had room for it
		}
		w.checked[21]++
		if waited := common.to - common.from; waited > limit {
			w.fail(21, x.x, common.to, "it could run, and waited %.3f s while a worker had room for it", float64(waited)/1e9)
		}
		if x.claimed && common.from == x.span.from && common.to == x.span.to {
			w.figures.wakeUp.add(x.span.to - x.span.from)
		}
	}
}

// room is when some worker had a free slot, by where executions wait.
func (w *world) room(lives map[id][]span, outages []span) map[queueLine][]span {
	room := map[queueLine][]span{}
	in := newInterner(w.symbols)
	for x, spans := range lives {
		worker := w.cross.known[x]
		if worker == nil {
			continue
		}
		free := subtract(w.freeOf(worker, spans), outages)
		for _, queue := range worker.queues {
			for _, language := range []symbol{none, worker.language} {
				line := queueLine{in.of(queue), language}
				room[line] = append(room[line], free...)
			}
		}
	}
	for line := range room {
		room[line] = sortSpans(room[line])
	}
	return room
}

// freeOf is when a worker lived and had a free slot. A slot that is free for an
// instant only, between one execution and the next, is none: spans do not join over it.
func (w *world) freeOf(x *worker, lives []span) []span {
	changes := w.sweep.changes[x.id]
	slices.SortFunc(changes, func(a, b change) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.slots, b.slots)) })
	var full []span
	occupied := 0
	for i, c := range changes {
		occupied += c.slots
		if occupied >= x.concurrency && i+1 < len(changes) {
			full = append(full, span{c.at, changes[i+1].at})
		}
	}
	return subtract(subtract(lives, sortSpans(full)), w.stopsOf(x.id))
}

// A process that is paused, or whose event loop is kept busy, claims nothing until
// it is resumed, or killed.
var (
	pauses      = []string{"stop", "spin"}
	resumptions = []string{"cont", "unspin", "kill9", "died"}
)

// stopsOf is when a worker's process was stopped, and a moment to come to itself.
func (w *world) stopsOf(x id) (stops []span) {
	const recover = 1e9
	for i, f := range w.faults {
		workers := w.sweep.targets[f.target]
		if !slices.Contains(pauses, f.kind) || len(workers) > 0 && !workers[x] {
			continue
		}
		s := span{f.at, forEver}
		for _, g := range w.faults[i+1:] {
			if g.target == f.target && slices.Contains(resumptions, g.kind) {
				s.to = g.at + recover
				break
			}
		}
		stops = append(stops, s)
	}
	return sortSpans(stops)
}

// lasting are faults of the database, or of the way to it, that hold until one of ending.
var (
	lasting     = []string{"pg_stop", "pg_restart", "blackhole", "half_open", "refuse", "delay", "disk_full", "read_only"}
	endOfFault  = []string{"pg_start", "pass", "disk_room", "read_write"}
	ofProcesses = []string{"kill9", "stop", "cont", "term", "spin", "unspin", "poison", "died", "kill9_migration", "swallow_notifications"}
	// Of these some come many times a second: what can run is expected to run all the same.
	ofConnections = []string{"terminate_backend", "cut_commit", "reset", "drop_after"}
)

// outages are when nothing is expected of anybody: the database or the way to it was struck.
func (w *world) outages() (outages []span) {
	after := (2*w.meta.PollMS + 1000) * 1e6
	for i, f := range w.faults {
		if slices.Contains(slices.Concat(ofProcesses, ofConnections, endOfFault), f.kind) {
			continue
		}
		s := span{f.at, f.at + after}
		if slices.Contains(lasting, f.kind) {
			s.to = forEver
			for _, g := range w.faults[i+1:] {
				if slices.Contains(endOfFault, g.kind) && strings.EqualFold(g.target, f.target) {
					s.to = g.at + after
					break
				}
			}
		}
		outages = append(outages, s)
	}
	return sortSpans(outages)
}
