package main

import (
	"fmt"
	"slices"
)

// brokenEnds break I8 to I27.
var brokenEnds = []brokenRun{
	{"I8: a body runs that nobody has claimed", []int{8}, func(s *story) {
		x, l := ended(s)
		(&lease{x, l.by, 7, s.uuid()}).runs()
	}},
	{"I8: a body begins before its claim", []int{8}, func(s *story) {
		_, l := ended(s)
		for _, line := range s.journals["worker-"+l.by.name] {
			line["at"] = line["at"].(int64) - 5*second
		}
	}},
	{"I8: a body begins after its success", []int{8}, func(s *story) {
		_, l := ended(s)
		s.pass(second)
		l.begin("", -1, 1)
	}},
	{"I8: a step begins again after its success", []int{8}, func(s *story) {
		w := s.worker("a")
		x := s.start("workflow", "order")
		x.claim(w).step(1, "reserve", "1").advance(true)
		s.pass(second)
		x.outside("signal_received", 0, "note", "1", "signal")
		l := x.claim(w)
		l.end(l.begin("reserve", 1, 1), true)
		l.complete("1")
	}},
	{"I5: two processes hold one token", []int{5}, func(s *story) {
		x := s.start("job", "charge")
		l := x.claim(s.worker("a"))
		one := l.begin("", -1, 1)
		l.end(one, true)
		two := l.begin("", -1, 1)
		two["pid"] = one["pid"].(int) + 1
		l.end(two, true)
		l.complete("1")
	}},
	{"I8: two bodies run under one claim", []int{8}, func(s *story) {
		x := s.start("job", "charge")
		l := x.claim(s.worker("a"))
		one, two := l.begin("", -1, 1), l.begin("", -1, 1)
		l.end(one, true)
		l.end(two, true)
		l.complete("1")
	}},
	{"I9: a success without a body's end", []int{9}, func(s *story) {
		x := s.start("job", "charge")
		l := x.claim(s.worker("a"))
		l.begin("", -1, 1)
		l.complete("1")
	}},
	{"I9: a success of a body that failed", []int{9}, func(s *story) {
		x := s.start("job", "charge")
		l := x.claim(s.worker("a"))
		l.end(l.begin("", -1, 1), false)
		l.complete("1")
	}},
	{"I9: a step's success without a body", []int{9}, func(s *story) {
		x := s.start("workflow", "order")
		x.claim(s.worker("a")).step(1, "reserve", "1").advance(false, [4]string{"step_completed", "2", "reserve", "1"}).complete("1")
	}},
	{"I10: a claim is no attempt", []int{10}, func(s *story) {
		x := s.start("job", "charge")
		l := x.claim(s.worker("a"))
		x.attempts, s.audit[len(s.audit)-1].is.attempts = 0, 0
		l.runs().complete("1")
	}},
	{"I10: a release is counted as a failure", []int{10}, func(s *story) {
		w := s.worker("a")
		x := s.start("job", "charge")
		x.claim(w).release()
		x.failures, s.audit[len(s.audit)-1].is.failures = 1, 1
		x.claim(w).runs().complete("1")
	}},
	{"I10: a crash is not counted", []int{10}, func(s *story) {
		a, b := s.worker("a"), s.worker("b")
		x := s.start("job", "charge")
		stale := x.claim(a)
		a.die(b)
		stale.lose(b)
		x.crashes, s.audit[len(s.audit)-1].is.crashes = 0, 0
		x.claim(b).runs().complete("1")
	}},
	{"I10: counters change unseen", []int{10}, func(s *story) {
		x, _ := ended(s)
		x.failures = 4
	}},
	{"I11: a fourth crash", []int{11}, func(s *story) {
		x, _, _ := parked(s)
		x.crashes, s.audit[len(s.audit)-1].is.crashes = 4, 4
	}},
	{"I11: a third crash is put back", []int{11}, func(s *story) {
		x, _, peer := parked(s)
		x.state = s.audit[len(s.audit)-1].was
		s.audit = s.audit[:len(s.audit)-1]
		(&lease{told: x}).lose(peer)
		x.claim(peer).runs().complete("1")
	}},
	{"I11: a graceful release is a crash", []int{11}, func(s *story) {
		w := s.worker("a")
		x := s.start("job", "charge")
		x.claim(w).release()
		x.crashes, s.audit[len(s.audit)-1].is.crashes = 1, 1
		x.claim(w).runs().complete("1")
	}},
	{"I11: a stopped worker is a crash", []int{11}, func(s *story) {
		a, b := s.worker("a"), s.worker("b")
		x := s.start("job", "charge")
		stale := x.claim(a)
		a.set("stopped", "set_worker")
		stale.lose(b).claim(b).runs().complete("1")
	}},
	{"I11: an innocent is parked", []int{11}, func(s *story) {
		a, b := s.worker("a"), s.worker("b")
		x := s.start("job", "charge")
		x.claim(a)
		a.die(b)
		x.write("end_lost", b.writer, func(r *state) {
			r.status, r.parked, r.failure, r.token, r.crashes, r.finishedAt = "failed", "worker_lost", "{}", id{}, 1, x.now
		})
	}},
	{"I11: crashes are half forgotten", []int{11}, func(s *story) {
		x := s.start("job", "charge")
		w := s.worker("z")
		for _, name := range []string{"a", "b"} {
			a := s.worker(name)
			stale := x.claim(a)
			a.die(w)
			stale.lose(w)
		}
		l := x.claim(w)
		x.write("progress", w.writer, func(r *state) { r.crashes = 1 })
		l.runs().complete("1")
	}},
	{"I12: an acknowledged signal is lost", []int{12}, func(s *story) {
		x := s.start("workflow", "order")
		s.call("c2", "signal", x, map[string]any{"uid": "lost"})
		x.claim(s.worker("a")).complete("1")
	}},
	{"I12: a signal is there twice", []int{12}, func(s *story) {
		x := s.start("workflow", "order")
		l := x.claim(s.worker("a"))
		uid := x.signal("c2", "note")
		x.outside("signal_received", 0, "note", `["`+uid+`"]`, "signal")
		l.complete("1")
	}},
	{"I12: a sender's signals are out of order", []int{12}, func(s *story) { swapped(s, "c2", "c2").complete("1") }},
	{"I12: a signal is there before it was sent", []int{12}, func(s *story) {
		x := s.start("workflow", "order")
		l := x.claim(s.worker("a"))
		x.outside("signal_received", 0, "note", `["early"]`, "signal")
		s.pass(second)
		s.call("c2", "signal", x, map[string]any{"uid": "early"})
		l.complete("1")
	}},
	{"I12: signals are taken out of order", []int{12}, func(s *story) {
		x := s.start("workflow", "order")
		l := x.claim(s.worker("a"))
		one, two := x.signal("c2", "note"), x.signal("c2", "note")
		l.take("note", two)
		l.take("note", one)
		l.complete("1")
	}},
	{"I12: signals are taken out of order by one holder and the next", []int{12}, func(s *story) {
		a, b := s.worker("a"), s.worker("b")
		x := s.start("workflow", "order")
		dead := x.claim(a)
		one, two := x.signal("c2", "note"), x.signal("c2", "note")
		dead.take("note", two)
		a.die(b)
		next := dead.lose(b).claim(b)
		next.take("note", one)
		next.complete("1")
	}},
	{"I12: a signal is taken that never came", []int{12}, func(s *story) {
		x := s.start("workflow", "order")
		l := x.claim(s.worker("a"))
		l.take("note", "phantom")
		l.complete("1")
	}},
	{"I13: a timer fires early", []int{13}, func(s *story) {
		orders(s, s.worker("a"))
		eventOf(s, "timer_started").payload = `{"delay_ms":5000}`
		started := slices.IndexFunc(s.audit, func(r *auditRow) bool { return r.event == "timer_started" })
		s.audit[started].hash = sum(`{"delay_ms":5000}`)
	}},
	{"I13: a timer fires twice", []int{13}, func(s *story) {
		x := s.start("workflow", "order")
		l := x.claim(s.worker("a")).advance(false, [4]string{"timer_started", "1", "", `{"delay_ms":1}`})
		s.pass(second)
		x.outside("timer_fired", 1, "", "", "fire")
		x.outside("timer_fired", 1, "", "", "fire")
		l.complete("1")
	}},
	{"I13: a timer fires after it was cancelled", []int{13}, func(s *story) {
		x := s.start("workflow", "order")
		l := x.claim(s.worker("a")).advance(false, [4]string{"timer_started", "1", "", `{"delay_ms":1}`}, [4]string{"timer_cancelled", "1", "", ""})
		s.pass(second)
		x.outside("timer_fired", 1, "", "", "fire")
		l.complete("1")
	}},
	{"I13: a timer fires that was never started", []int{13}, func(s *story) {
		x := s.start("workflow", "order")
		l := x.claim(s.worker("a"))
		x.outside("timer_fired", 1, "", "", "fire")
		l.complete("1")
	}},
	{"I13: a timer is cancelled that was never started", []int{13}, func(s *story) {
		x := s.start("workflow", "order")
		x.claim(s.worker("a")).advance(false, [4]string{"timer_cancelled", "1", "", ""}).complete("1")
	}},
	{"I13: it is claimed before it is due", []int{13}, func(s *story) {
		x := s.make("job", "charge")
		x.runAt += 10 * second
		finish(s, x.insert())
	}},
	{"I13: it is promoted before it is due", []int{13}, func(s *story) {
		x := s.make("job", "charge")
		x.status, x.runAt = "scheduled", x.runAt+second
		x.insert().write("promote", "", func(r *state) { r.status = "pending" })
		s.pass(second)
		finish(s, x)
	}},
	{"I14: a race has two winners", []int{14}, func(s *story) {
		x := s.start("workflow", "order")
		l := x.claim(s.worker("a"))
		for _, winner := range []string{"timer", "signal"} {
			s.line("worker-a", map[string]any{"t": "chose", "x": x.id.String(), "seq": 4, "epoch": l.epoch, "winner": winner, "at": s.now - boot})
		}
		l.complete("1")
	}},
	{"I15: a replay departs from its history", []int{15}, func(s *story) {
		x := s.start("workflow", "order")
		x.claim(s.worker("a")).write("release", s.workers[0].writer, func(r *state) {
			r.status, r.token, r.parked = "suspended", id{}, "command 1 is another"
			r.releases++
		})
	}},
	{"I16: a child has another result than its parent was told", []int{16}, func(s *story) {
		orders(s, s.worker("a"))
		h := eventOf(s, "activity_completed")
		h.payload = `"lost"`
		told := slices.IndexFunc(s.audit, func(r *auditRow) bool { return r.event == "activity_completed" })
		s.audit[told].hash = sum(h.payload)
	}},
	{"I16: a child failed and its parent was told of something else", []int{16}, func(s *story) {
		_, child := failedChild(s)
		h := eventOf(s, "activity_failed")
		h.payload = `{"error" : {"type":"Glad"}, "attempts" : 1}`
		told := slices.IndexFunc(s.audit, func(r *auditRow) bool { return r.event == "activity_failed" })
		s.audit[told].hash = sum(h.payload)
		_ = child
	}},
	{"I16: a parent is told of an end that is none", []int{16}, func(s *story) {
		w := s.worker("a")
		x := s.start("workflow", "order")
		l := x.claim(w)
		c := l.child(1, "ship")
		x.outside("activity_completed", 1, "ship", "1", "finish")
		l.complete("1")
		c.write("end", "", func(r *state) { r.status, r.failure, r.finishedAt = "cancelled", "{}", c.now })
	}},
	{"I16: a parent is not told", []int{16}, func(s *story) {
		w := s.worker("a")
		x := s.start("workflow", "order")
		l := x.claim(w)
		l.child(1, "ship").claim(w).runs().complete("1")
		l.complete("1")
	}},
	{"I16: a command has two children", []int{16}, func(s *story) {
		w := s.worker("a")
		x := s.start("workflow", "order")
		l := x.claim(w)
		c := l.child(1, "ship")
		c.claim(w).runs().complete("1")
		c.tell()
		twin := s.make("activity", "ship")
		twin.parent, twin.parentRun, twin.sequence = x, 1, 1
		twin.insert().claim(w).runs().complete("1")
		l.complete("1")
	}},
	{"I16: a command has no child", []int{16}, func(s *story) {
		x := s.start("workflow", "order")
		x.claim(s.worker("a")).advance(false, [4]string{"activity_scheduled", "1", "ship", "{}"}).complete("1")
	}},
	{"I16: an orphan", []int{16}, func(s *story) {
		x := s.make("activity", "ship")
		x.parent, x.parentRun, x.sequence = &told{story: s, id: s.uuid()}, 1, 1
		finish(s, x.insert())
	}},
	{"I17: a cancel is acknowledged and ignored", []int{17}, func(s *story) {
		x := s.start("job", "charge")
		s.call("c1", "cancel", x, nil)
		s.pass(second)
		finish(s, x)
	}},
	{"I17: what was asked to stop completes", []int{17}, func(s *story) {
		x := s.start("job", "charge")
		l := x.claim(s.worker("a"))
		x.cancel()
		l.runs().complete("1")
	}},
	{"I17: what was asked to stop is claimed again", []int{17}, func(s *story) {
		w := s.worker("a")
		x := s.start("job", "charge")
		l := x.claim(w)
		x.cancel()
		l.release()
		l = x.claim(w)
		l.write("finish", w.writer, func(r *state) { r.status, r.failure, r.finishedAt = "cancelled", "{}", x.now })
	}},
	{"I17: what was asked to stop begins another run", []int{17}, func(s *story) {
		x := s.start("workflow", "order")
		l := x.claim(s.worker("a"))
		x.write("mark_cancel", "", func(r *state) { r.cancel = true })
		l.write("continue", l.by.writer, func(r *state) { r.status, r.run, r.attempts, r.length, r.cancel = "pending", 2, 0, 0, false })
		x.addsTo(1, 2, "continued", 0, "", "{}", "continue", l.by.writer)
		x.claim(l.by).complete("1")
	}},
	{"I17: a body begins long after", []int{17}, func(s *story) {
		x := s.start("job", "charge")
		l := x.claim(s.worker("a"))
		x.cancel()
		s.pass(3 * timeout)
		l.begin("", -1, 1)
		l.write("finish", l.by.writer, func(r *state) { r.status, r.failure, r.finishedAt = "cancelled", "{}", x.now })
	}},
	{"I21: one waits while a worker is idle", []int{21}, func(s *story) {
		w := s.worker("a")
		x := s.start("job", "charge")
		s.beat(3*second, w)
		finish(s, x)
	}},
	{"I21: one that is due is not promoted", []int{21}, func(s *story) {
		w := s.worker("a")
		x := s.make("job", "charge")
		x.status, x.runAt = "scheduled", s.now+second
		x.insert()
		s.beat(4*second, w)
		x.write("promote", w.writer, func(r *state) { r.status = "pending" })
		x.claim(w).runs().complete("1")
	}},
	{"I21: one waits though a worker has been resumed", []int{21}, func(s *story) {
		w := s.worker("a")
		s.line("nemesis", map[string]any{"t": "fault", "kind": "stop", "target": map[string]any{"name": "a"}, "at": s.now - boot})
		x := s.start("job", "charge")
		s.beat(second, w)
		s.fault("cont", "a")
		s.beat(4*second, w)
		finish(s, x)
	}},
	{"I21: one waits while connections are cut all the time", []int{21}, func(s *story) {
		w := s.worker("a")
		x := s.start("job", "charge")
		for range 30 {
			s.fault("terminate_backend", "")
			s.beat(100*ms, w)
		}
		finish(s, x)
	}},
	{"I22: a living worker is robbed", []int{11, 22}, func(s *story) {
		a, b := s.worker("a"), s.worker("b")
		x := s.start("job", "charge")
		x.claim(a).lose(b).claim(b).runs().complete("1")
	}},
	{"I22: a worker is buried alive", []int{22}, func(s *story) {
		a, b := s.worker("a"), s.worker("b")
		s.beat(second, a, b)
		a.set("dead", "bury")
	}},
	{"I22: a dead worker is robbed late", []int{22}, func(s *story) {
		a, b := s.worker("a"), s.worker("b")
		x := s.start("job", "charge")
		stale := x.claim(a)
		a.die(b)
		s.beat(5*second, b)
		stale.lose(b)
		b.set("active", "beat")
		x.claim(b).runs().complete("1")
	}},
	{"I25: a result comes out as another", []int{25}, func(s *story) {
		x, _ := ended(s)
		x.answer("completed", `{"a":2}`)
	}},
	{"I25: arguments are another's", []int{25}, func(s *story) {
		x, _ := ended(s)
		x.args = `["somebody else"]`
	}},
	{"I25: a refused start leaves a row", []int{25}, func(s *story) {
		x := s.make("job", "charge")
		x.args = `["u"]`
		finish(s, x.insert())
		s.call("c1", "start", nil, map[string]any{"uid": "u", "outcome": "fail", "code": "payload_too_large"})
	}},
	{"I25: a refused signal is there", []int{25}, func(s *story) {
		x := s.start("workflow", "order")
		x.signal("c2", "note")
		call := s.journals["client-c2"][0]
		call["outcome"], call["code"] = "fail", "invalid_payload"
		finish(s, x)
	}},
	{"I27: a timer of what is gone", []int{27}, func(s *story) {
		s.timers = append(s.timers, fmt.Sprintf("%s 1 sleep 1 %d", s.uuid(), s.now+second))
	}},
	{"I27: one is still held", []int{3, 27}, func(s *story) { s.start("job", "charge").claim(s.worker("a")) }},
	{"I27: a timer of what has ended", []int{27}, func(s *story) {
		x, _ := ended(s)
		s.timers = append(s.timers, fmt.Sprintf("%s 1 deadline 0 %d", x.id, s.now+second))
	}},
	{"I27: a session is left", []int{27}, func(s *story) { s.sessions = append(s.sessions, "idle in transaction") }},
}
