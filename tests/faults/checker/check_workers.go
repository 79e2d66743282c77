package main

import (
	"cmp"
	"slices"
	"strings"
)

// robbery is a claim that was taken from a worker that is gone.
type robbery struct {
	x, worker         id
	at, lostAt, again int64 // claimed, taken away, claimed anew or ended
}

// checkBurials: dead is who has been silent for its timeout, by the database's clock.
func (w *world) checkBurials() {
	for x, life := range w.cross.lives {
		for i := 1; i < len(life); i++ {
			p, r := life[i-1], life[i]
			if r.newStatus != dead || p.newStatus == dead {
				continue
			}
			w.checked[22]++
			if silent := r.at - p.eventAt; silent < w.cross.timeoutOf(x) {
				w.fail(22, x, r.at, "worker %s was declared dead after %.3f s of silence, and its timeout is %.3f s", x, float64(silent)/1e9, float64(w.cross.timeoutOf(x))/1e9)
			}
		}
	}
}

// lastBeat answers when a worker was heard of last before an instant.
func (c *cross) lastBeat(worker id, at int64) (beat int64, ok bool) {
	for _, r := range c.lives[worker] {
		if r.at > at {
			break
		}
		if r.newStatus == active || r.newStatus == draining {
			beat, ok = r.eventAt, true
		}
	}
	return beat, ok
}

// checkRecoveries: what a dead worker held is taken within its timeout, two looks
// and a margin, if another worker was there all the time to look. Its beats, without a gap,
// say that the database was there as well.
func (w *world) checkRecoveries(lives map[id][]span) {
	margin := (2*w.meta.PollMS + w.meta.Limits.RecoverySlack) * 1e6
	for _, x := range w.sweep.robberies {
		beat, ok := w.cross.lastBeat(x.worker, x.lostAt)
		if !ok {
			continue
		}
		w.figures.silence.add(x.again - beat)
		if !w.isWatched(lives, x, beat) {
			continue
		}
		w.checked[22]++
		if x.lostAt-beat <= w.cross.timeoutOf(x.worker)+margin {
			continue
		}
		w.fail(22, x.x, x.lostAt, "worker %s was silent for %.3f s before this was taken from it, and its timeout is %.3f s",
			x.worker, float64(x.lostAt-beat)/1e9, float64(w.cross.timeoutOf(x.worker))/1e9)
	}
}

// isWatched says whether one other worker lived long enough before a robbery: who
// looks has to see for half the timeout that nothing changes.
func (w *world) isWatched(lives map[id][]span, x robbery, beat int64) bool {
	from := beat + w.cross.timeoutOf(x.worker)/2
	for other, spans := range lives {
		if other != x.worker && slices.ContainsFunc(spans, func(s span) bool { return s.from <= from && s.to >= x.lostAt }) {
			return true
		}
	}
	return false
}

// measureRecoveries takes the time from each fault of a process to when what it held was claimed anew.
func (w *world) measureRecoveries() {
	struck := map[id][]int64{}
	for _, f := range w.faults {
		if !slices.Contains([]string{"kill9", "stop", "died"}, f.kind) {
			continue
		}
		workers := w.sweep.targets[f.target]
		if len(workers) == 0 {
			w.figures.Unresolved++
		}
		for x := range workers {
			struck[x] = append(struck[x], f.at)
		}
	}
	for _, x := range w.sweep.robberies {
		times := struck[x.worker]
		slices.Sort(times)
		i, _ := slices.BinarySearch(times, x.lostAt)
		if i > 0 && times[i-1] >= x.at-w.slack {
			w.figures.recovery.add(x.again - times[i-1])
		}
	}
}

// noteTargets learns which workers a process had: faults name processes.
func (l *look) noteTargets() {
	for i := range l.bodies {
		b := &l.bodies[i]
		worker := b.begin.worker
		if b.claim >= 0 {
			worker = l.claims[b.claim].row.worker
		}
		if at := (process{worker, b.begin.pid, b.begin.file}); !worker.isZero() && !l.sweep.processes[at] {
			l.sweep.processes[at] = true
			l.sweep.note(worker, asText(float64(at.pid)), strings.TrimPrefix(l.symbols.name(at.file), "worker-"))
		}
	}
}

// process is where bodies of a worker ran.
type process struct {
	worker id
	pid    int32
	file   symbol
}

func (s *sweep) note(worker id, names ...string) {
	for _, name := range append(names, worker.String()) {
		if s.targets[name] == nil {
			s.targets[name] = map[id]bool{}
		}
		s.targets[name][worker] = true
	}
}

// noteClaims remembers what the sweep over time will need.
func (l *look) noteClaims() {
	for i := range l.claims {
		c := &l.claims[i]
		l.figures.Claims++
		l.sweep.occupy(c.row.worker, c.row.at, l.freedAt(i), c.row.alone)
		switch c.how {
		case lost:
			l.figures.Crashes++
			again := c.end.at
			if i+1 < len(l.claims) && !isFinal(c.end.newStatus) {
				again = l.claims[i+1].row.at
			}
			l.sweep.robberies = append(l.sweep.robberies, robbery{l.x, c.row.worker, c.row.at, c.end.at, again})
		case released:
			l.figures.Releases++
		}
	}
}

// freedAt is when a claim's slot is free for certain: a body that is told to stop may go on.
func (l *look) freedAt(i int) int64 {
	c := &l.claims[i]
	if c.end == nil {
		return forEver
	}
	if c.how != outside && c.how != lost && c.how != doubled {
		return l.seenAt(c.end)
	}
	at := c.end.at + l.cross.timeoutOf(c.row.worker)
	for _, b := range l.bodies {
		switch {
		case b.claim != i:
		case b.end == nil:
			return forEver
		default:
			at = max(at, b.end.at)
		}
	}
	return at
}

const forEver = 1<<63 - 1

// living is when each worker was heard of without a gap, and claimed.
func (w *world) living() map[id][]span {
	lives := map[id][]span{}
	for x, life := range w.cross.lives {
		var spans []span
		for i := 1; i < len(life); i++ {
			a, b := life[i-1], life[i]
			if a.newStatus != active || b.at-a.at > w.cross.timeoutOf(x)/2 {
				continue
			}
			if n := len(spans); n > 0 && spans[n-1].to == a.at {
				spans[n-1].to = b.at
			} else {
				spans = append(spans, span{a.at, b.at})
			}
		}
		lives[x] = spans
	}
	return lives
}

// sortSpans orders spans and joins those that touch.
func sortSpans(spans []span) (joined []span) {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for _, s := range spans {
		if n := len(joined); n > 0 && s.from <= joined[n-1].to {
			joined[n-1].to = max(joined[n-1].to, s.to)
		} else {
			joined = append(joined, s)
		}
	}
	return joined
}
