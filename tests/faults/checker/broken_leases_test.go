package main

import "fmt"

// brokenLeases break I1 to I7.
var brokenLeases = []brokenRun{
	{"I1: an acknowledged start is gone", []int{1}, func(s *story) {
		s.call("c1", "start", nil, map[string]any{"x": s.uuid().String(), "uid": "u", "created": true})
	}},
	{"I1: a row is gone that the audit knows", []int{1}, func(s *story) { s.make("job", "charge").insert().gone = true }},
	{"I1: one key has two executions", []int{1}, func(s *story) {
		for range 2 {
			x := s.make("job", "charge").insert()
			s.call("c1", "start", x, map[string]any{"key": "k"})
			finish(s, x)
		}
	}},
	{"I1: a key is made twice", []int{1}, func(s *story) {
		x := s.make("job", "charge").insert()
		for range 2 {
			s.call("c1", "start", x, map[string]any{"key": "k", "created": true})
		}
		finish(s, x)
	}},
	{"I1: one start of unknown outcome makes two", []int{1}, func(s *story) {
		s.call("c1", "start", nil, map[string]any{"uid": "u", "outcome": "unknown"})["to"] = nil
		for range 2 {
			x := s.make("job", "charge")
			x.args = `["u"]`
			finish(s, x.insert())
		}
	}},
	{"I1: one acknowledged start makes two", []int{1}, func(s *story) {
		for range 2 {
			x := s.make("job", "charge")
			x.args = `["u"]`
			finish(s, x.insert())
		}
		s.call("c1", "start", s.executions[0], map[string]any{"uid": "u", "created": true})
	}},
	{"I2: a run ends twice", []int{2}, func(s *story) {
		x, l := ended(s)
		x.write("", "", func(r *state) { r.status, r.finishedAt = "running", 0 })
		l.complete("1")
	}},
	{"I2: a result changes after the end", []int{2}, func(s *story) {
		x, _ := ended(s)
		x.write("", "", func(r *state) { r.result = "2" })
	}},
	{"I2: an end moves", []int{2}, func(s *story) {
		x, _ := ended(s)
		x.write("", "", func(r *state) { r.finishedAt += second })
	}},
	{"I2: what completed is retried", []int{2}, func(s *story) {
		x, _ := ended(s)
		x.retry()
		x.claim(s.workers[0]).runs().complete("1")
	}},
	{"I2: a row changes unseen", []int{2}, func(s *story) {
		x, _ := ended(s)
		x.result = "2"
	}},
	{"I2: a row goes from one state to another unseen", []int{2}, func(s *story) {
		x := s.start("job", "charge")
		x.status = "scheduled"
		x.write("promote", "", func(r *state) { r.status = "pending" })
		finish(s, x)
	}},
	{"I2: a client is told of an end that is none", []int{2}, func(s *story) {
		x := s.start("job", "charge")
		x.answer("completed", "1")
		s.pass(second)
		finish(s, x)
	}},
	{"I2: a row is deleted", []int{1, 2}, func(s *story) {
		x, _ := ended(s)
		s.append(&auditRow{tab: "executions", op: "D", x: x.id, was: x.state, is: state{run: 1}})
		x.gone = true
	}},
	{"I2: a row is inserted twice", []int{2}, func(s *story) { s.start("job", "charge").insert(); finish(s, s.executions[0]) }},
	{"I2: a row comes from nowhere", []int{2}, func(s *story) {
		ended(s)
		x := s.make("job", "charge")
		x.status, x.finishedAt = "completed", s.now
	}},
	{"I3: one is forgotten", []int{3}, func(s *story) { s.start("job", "charge") }},
	{"I3: a workflow waits for nothing", []int{3}, func(s *story) { s.start("workflow", "order").claim(s.worker("a")).advance(true) }},
	{"I3: a due timer is forgotten", []int{3}, func(s *story) {
		x := s.start("workflow", "order")
		x.claim(s.worker("a")).advance(true, [4]string{"timer_started", "1", "", `{"delay_ms":10}`})
		s.timers = append(s.timers, fmt.Sprintf("%s 1 sleep 1 %d", x.id, s.now+10*ms))
	}},
	{"I4: a recorded result changes", []int{4}, func(s *story) {
		orders(s, s.worker("a"))
		eventOf(s, "step_completed").payload = `{"n":2}`
	}},
	{"I4: a recorded result is changed by a statement", []int{4}, func(s *story) {
		x := orders(s, s.worker("a"))
		h := eventOf(s, "step_completed")
		s.append(&auditRow{tab: "history", op: "U", x: x.id, is: state{run: 1}, position: h.position, event: h.event, eventAt: h.at})
	}},
	{"I4: a recorded result disappears", []int{4, 7}, func(s *story) {
		s.start("workflow", "order").claim(s.worker("a")).step(1, "reserve", "1").complete("1")
		s.history = s.history[:len(s.history)-1]
	}},
	{"I4: an event is deleted", []int{4}, func(s *story) {
		x := orders(s, s.worker("a"))
		s.append(&auditRow{tab: "history", op: "D", x: x.id, is: state{run: 1}, position: 2, event: "step_completed"})
	}},
	{"I4: a step has two results", []int{4}, func(s *story) {
		x := s.start("workflow", "order")
		x.claim(s.worker("a")).step(1, "reserve", "1").step(1, "reserve", "2").complete("1")
	}},
	{"I4: a retry takes over another result", []int{4}, func(s *story) {
		w := s.worker("a")
		x := retriedWorkflow(s, w)
		h := s.history[len(s.history)-2]
		h.payload = `{"n":2}`
		s.audit[len(s.audit)-2].hash = sum(h.payload)
		x.claim(w).complete("1")
	}},
	{"I5: an epoch is used twice", []int{5}, func(s *story) {
		w := s.worker("a")
		x := s.start("job", "charge")
		x.claim(w).release()
		x.epoch--
		s.audit[len(s.audit)-1].is.epoch--
		x.claim(w).runs().complete("1")
	}},
	{"I5: an epoch is left out", []int{5}, func(s *story) {
		x := s.start("job", "charge")
		l := x.claim(s.worker("a"))
		l.epoch, x.epoch, s.audit[len(s.audit)-1].is.epoch = 3, 3, 3
		l.runs().complete("1")
	}},
	{"I5: a token is used twice", []int{5}, func(s *story) {
		w := s.worker("a")
		x := s.start("job", "charge")
		first := x.claim(w)
		first.release()
		l := x.claim(w)
		l.token, x.token, s.audit[len(s.audit)-1].is.token = first.token, first.token, first.token
		l.runs().complete("1")
	}},
	{"I5: two hold at a time", []int{5, 10}, func(s *story) {
		a, b := s.worker("a"), s.worker("b")
		x := s.start("job", "charge")
		x.claim(a)
		x.claim(b).runs().complete("1")
	}},
	{"I5: it is handed over under a later epoch", []int{5}, func(s *story) {
		w := s.worker("a")
		x := s.make("job", "charge")
		x.state = state{status: "running", run: 1, epoch: 2, token: s.uuid(), worker: w.id, attempts: 1, runAt: s.now}
		x.append(&auditRow{tab: "executions", op: "I", x: x.id, is: x.state, statement: "create_held", writer: w.writer})
		(&lease{x, w, 2, x.token}).runs().complete("1")
	}},
	{"I5: it is inserted as it ends under a later epoch", []int{5}, func(s *story) {
		x := shortLife(s, s.worker("a"))
		s.audit[len(s.audit)-2].is.epoch, s.audit[len(s.audit)-1].is.epoch, x.epoch = 2, 2, 2
	}},
	{"I5: a completed row is forged", []int{5}, func(s *story) {
		x := s.make("job", "charge")
		x.status, x.result, x.finishedAt = "completed", "1", s.now
		x.insert()
	}},
	{"I7: it is inserted as it ended, without a history", []int{7}, func(s *story) {
		x := shortLife(s, s.worker("a"))
		s.audit, x.history = s.audit[:len(s.audit)-1], nil
	}},
	{"I2: it is written again after it was inserted as it ended", []int{2, 6}, func(s *story) {
		w := s.worker("a")
		shortLife(s, w).write("plain", w.writer, func(r *state) { r.result = "2" })
	}},
	{"I5: a suspended workflow is claimed", []int{5}, func(s *story) {
		w := s.worker("a")
		x := s.start("workflow", "order")
		l := x.claim(w)
		c := l.child(1, "ship")
		l.advance(true)
		c.claim(w).runs().complete("1")
		resumed(x, w, "claim").complete("1")
	}},
	{"I5: a new row has an epoch", []int{5}, func(s *story) {
		x := s.make("job", "charge")
		x.epoch = 3
		finish(s, x.insert())
	}},
	{"I5: one runs under no token", []int{5}, func(s *story) {
		x := s.start("job", "charge")
		l := x.claim(s.worker("a"))
		x.write("progress", l.by.writer, func(r *state) { r.token = id{} })
		l.runs().complete("1")
	}},
	{"I5: a token changes without a claim", []int{5}, func(s *story) {
		x := s.start("job", "charge")
		l := x.claim(s.worker("a"))
		x.write("progress", l.by.writer, func(r *state) { r.token = s.uuid() })
		l.runs().complete("1")
	}},
	{"I5: one runs without a claim", []int{5}, func(s *story) {
		x := s.start("workflow", "order")
		l := x.claim(s.worker("a")).advance(true)
		x.write("", "", func(r *state) { r.status = "running" })
		l.complete("1")
	}},
	{"I6: a late outcome is accepted while another holds", []int{6}, func(s *story) {
		a, b := s.worker("a"), s.worker("b")
		x, stale := zombie(s, a, b)
		l := x.claim(b)
		l.begin("", -1, 1)
		stale.end(stale.begin("", -1, 1), true)
		x.write("finish", b.writer, func(r *state) { r.status, r.result, r.finishedAt, r.crashes = "completed", "1", x.now, 0 })
	}},
	{"I6: a late outcome is accepted from another engine", []int{6}, func(s *story) {
		a, b := s.worker("a"), s.worker("b")
		x, _ := zombie(s, a, b)
		x.claim(b).runs()
		x.write("finish_roots", a.writer, func(r *state) { r.status, r.result, r.finishedAt, r.crashes = "completed", "1", x.now, 0 })
	}},
	{"I6: a late outcome is accepted when nobody holds", []int{6, 11}, func(s *story) {
		a, b := s.worker("a"), s.worker("b")
		x, stale := zombie(s, a, b)
		stale.end(stale.begin("", -1, 1), true)
		x.write("finish", a.writer, func(r *state) { r.status, r.result, r.finishedAt, r.crashes = "completed", "1", x.now, 0 })
	}},
	{"I6: an outcome without a name comes when nobody holds", []int{6}, func(s *story) {
		x := s.start("job", "charge")
		x.write("", "", func(r *state) { r.status, r.result, r.finishedAt = "completed", "1", x.now })
	}},
	{"I6: a late step is recorded", []int{6}, func(s *story) {
		a, b := s.worker("a"), s.worker("b")
		x := s.start("workflow", "order")
		stale := x.claim(a)
		begun := stale.begin("reserve", 1, 1)
		a.die(b)
		stale.lose(b)
		l := x.claim(b)
		l.begin("reserve", 1, 1)
		stale.end(begun, true)
		l.advance(false, [4]string{"step_completed", "1", "reserve", "1"}).complete("1")
	}},
	{"I6: a holder's event is written when nobody holds", []int{6}, func(s *story) {
		x := s.start("workflow", "order")
		l := x.claim(s.worker("a"))
		l.advance(true)
		x.outside("state_set", 0, "", "1", "")
		x.claim(s.workers[0]).complete("1")
	}},
	{"I7: an event is left out", []int{7}, func(s *story) {
		x := s.start("workflow", "order")
		l := x.claim(s.worker("a"))
		l.write("advance", l.by.writer, func(r *state) { r.length += 2 })
		for i := range 2 {
			l.addsTo(1, 2+2*i, "state_set", 0, "", "1", "advance", l.by.writer)
		}
		l.complete("1")
	}},
	{"I7: the row counts fewer events than there are", []int{7}, func(s *story) {
		x := s.start("workflow", "order")
		l := x.claim(s.worker("a"))
		x.addsTo(1, 2, "signal_received", 0, "note", "1", "signal", "")
		l.complete("1")
	}},
	{"I7: an event is written beside its execution's row", []int{7}, func(s *story) {
		x := s.start("workflow", "order")
		l := x.claim(s.worker("a"))
		l.write("advance", l.by.writer, func(r *state) { r.length++ })
		s.txid++
		x.adds("signal_received", 0, "note", "1", "signal", "")
		l.complete("1")
	}},
	{"I7: a holder's event has another epoch", []int{7}, func(s *story) {
		x := s.start("workflow", "order")
		l := x.claim(s.worker("a")).advance(false, [4]string{"state_set", "0", "", "1"})
		s.audit[len(s.audit)-1].is.epoch = 9
		l.complete("1")
	}},
	{"I7: a history without a row", []int{7}, func(s *story) {
		x := &told{story: s, id: s.uuid(), state: state{run: 1}}
		s.history = append(s.history, &eventRow{x: x, run: 1, position: 1, event: "started", at: s.now})
		x.append(&auditRow{tab: "history", op: "I", x: x.id, is: state{run: 1}, event: "started", position: 1, eventAt: s.now})
	}},
}
