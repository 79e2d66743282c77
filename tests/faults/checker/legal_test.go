package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// judge answers which invariants a story violates, and the report.
func judge(t *testing.T, s *story) (violated []int, report *report, text string) {
	t.Helper()
	e, err := load(s.write())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r := check(e)
	r.print(&out, e)
	for i, n := range r.violated {
		if n > 0 {
			violated = append(violated, i)
		}
	}
	return violated, r, out.String()
}

// jobs is a run with everything that jobs do: a completion, a failure that is tried
// again, a crash, a release, a zombie.
func jobs(t *testing.T) (*story, *holder, *holder) {
	s := newStory(t)
	a, b := s.worker("a"), s.worker("b")
	x := s.start("job", "charge")
	x.claim(a).runs().complete(`"paid"`)
	x.answer("completed", `"paid"`)

	y := s.start("job", "charge")
	first := y.claim(a)
	first.end(first.begin("", -1, 1), false)
	first.fail(true)
	s.beat(second, a, b)
	y.write("promote", a.writer, func(r *state) { r.status = "pending" })
	y.claim(b).release()
	y.claim(b).runs().complete(`1`)
	return s, a, b
}

// orders is a workflow with a step, a timer, a signal and a child.
func orders(s *story, w *holder) *told {
	x := s.start("workflow", "order")
	l := x.claim(w)
	l.step(1, "reserve", `{"n":1}`)
	c := l.child(2, "ship")
	l.advance(true, [4]string{"timer_started", "3", "", `{"delay_ms":1000}`})
	c.claim(w).runs().complete(`"sent"`)
	c.tell()
	l = x.claim(w)
	l.advance(true)
	s.beat(second, w)
	x.outside("timer_fired", 3, "", "", "fire")
	l = x.claim(w)
	l.advance(true)
	one, two := x.signal("c2", "note"), x.signal("c2", "note")
	l = x.claim(w)
	l.take("note", one)
	l.take("note", two)
	l.complete(`"done"`)
	x.answer("completed", `"done"`)
	return x
}

// shortLife is a workflow that starts and ends by one statement.
func shortLife(s *story, w *holder) *told {
	x := s.make("workflow", "order")
	x.language = "python"
	x.state = state{
		status: "completed", run: 1, epoch: 1, token: s.uuid(), worker: w.id, attempts: 1, length: 1, runAt: s.now, result: "1", finishedAt: s.now,
	}
	x.append(&auditRow{tab: "executions", op: "I", x: x.id, is: x.state, statement: "create_early", writer: w.writer})
	x.adds("started", 0, "", `{"language" : "python"}`, "create_early", w.writer)
	return x
}

func TestLegalRunsPass(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(*story){
		"a workflow with all that it can wait for": func(s *story) { orders(s, s.worker("a")) },
		"a workflow that is inserted as it ends":   func(s *story) { shortLife(s, s.worker("a")).answer("completed", "1") },
		"rows of the audit in no order": func(s *story) {
			shortLife(s, s.worker("a"))
			slices.Reverse(s.audit)
		},
		"a signal that is sent again when it has arrived": func(s *story) {
			x := s.start("workflow", "order")
			uid := x.signal("c2", "note")
			s.pass(second)
			s.call("c2", "signal", x, map[string]any{"uid": uid})
			l := x.claim(s.worker("a"))
			l.take("note", uid)
			l.complete("1")
		},
		"signals taken by a holder that goes on beside the next": func(s *story) {
			a, b := s.worker("a"), s.worker("b")
			x := s.start("workflow", "order")
			zombie := x.claim(a)
			one, two := x.signal("c2", "note"), x.signal("c2", "note")
			a.die(b)
			next := zombie.lose(b).claim(b)
			next.take("note", two) // the first is replayed
			zombie.take("note", one)
			next.complete("1")
		},
		"an unknown start that exists": func(s *story) { s.make("job", "charge").insert().claim(s.worker("a")).runs().complete("1") },
		"an unknown start that does not exist": func(s *story) {
			call := s.call("c1", "start", nil, map[string]any{"uid": "nowhere", "outcome": "unknown", "x": s.uuid().String()})
			call["to"] = nil
		},
		"an unknown signal that did not arrive": func(s *story) {
			x := s.start("workflow", "order")
			s.call("c1", "signal", x, map[string]any{"uid": "nowhere", "outcome": "unknown"})
			x.claim(s.worker("a")).complete("1")
		},
		"a refused start": func(s *story) {
			s.call("c1", "start", nil, map[string]any{"uid": "nowhere", "outcome": "fail", "code": "invalid_payload"})
		},
		"a body that overlaps another across an expired lease": overlapping,
		"a zombie that starts its body after the other has succeeded": func(s *story) {
			a, b := s.worker("a"), s.worker("b")
			x := s.start("job", "charge")
			stale := x.claim(a)
			a.die(b)
			stale.lose(b)
			x.claim(b).runs().complete("1")
			s.beat(second, b)
			stale.begin("", -1, 1)
		},
		"a retried run": func(s *story) {
			w := s.worker("a")
			x := s.start("job", "charge")
			l := x.claim(w)
			l.end(l.begin("", -1, 1), false)
			l.fail(false)
			x.retry().claim(w).runs().complete("1")
		},
		"a retried workflow keeps what it had": func(s *story) {
			w := s.worker("a")
			retriedWorkflow(s, w).claim(w).complete("1")
		},
		"continue-as-new carries a signal": func(s *story) {
			w := s.worker("a")
			x, uid := continuedWorkflow(s, w)
			l := x.claim(w)
			l.take("note", uid)
			l.complete("1")
		},
		"cancelled before it started": func(s *story) {
			x := s.start("job", "charge")
			from := s.now
			x.write("end", "engine-client", func(r *state) {
				r.status, r.cancel, r.failure, r.finishedAt = "cancelled", true, `{"type":"Cancelled"}`, x.now
			})
			x.call("c1", "cancel", x, map[string]any{"from": from - boot})
		},
		"cancelled while it ran": func(s *story) {
			x := s.start("job", "charge")
			l := x.claim(s.worker("a"))
			b := l.begin("", -1, 1)
			x.cancel()
			l.end(b, true)
			l.write("finish", l.by.writer, func(r *state) { r.status, r.failure, r.finishedAt = "cancelled", `{"type":"Cancelled"}`, l.now })
		},
		"completed, though its cancel's outcome is unknown": func(s *story) {
			x := s.start("job", "charge")
			s.call("c1", "cancel", x, map[string]any{"outcome": "unknown"})
			x.claim(s.worker("a")).runs().complete("1")
		},
		"a crasher that is parked": func(s *story) { parked(s) },
		"an end by deadline while it is held": func(s *story) {
			x := s.start("job", "charge")
			l := x.claim(s.worker("a"))
			b := l.begin("", -1, 1)
			x.write("expire", "engine-other", func(r *state) { r.status, r.failure, r.finishedAt = "failed", `{"type":"ExecutionTimeout"}`, x.now })
			l.end(b, true)
			l.line("worker-a", map[string]any{"t": "late", "x": x.id.String(), "code": "lease_lost", "at": s.now - boot})
		},
		"one that waits while the only worker is stopped": func(s *story) {
			w := s.worker("a")
			s.line("nemesis", map[string]any{"t": "fault", "kind": "stop", "target": map[string]any{"name": "a"}, "at": s.now - boot})
			x := s.start("job", "charge")
			s.beat(3*second, w)
			s.fault("cont", "a")
			finish(s, x)
		},
		"one that was long in being committed": func(s *story) {
			w := s.worker("a")
			x := s.make("job", "charge").insert()
			from := s.now
			s.beat(3*second, w)
			s.call("c1", "start", x, map[string]any{"from": from - boot})
			finish(s, x)
		},
		"a parent that goes on at once when its child ends": func(s *story) {
			w := s.worker("a")
			x := s.start("workflow", "order")
			l := x.claim(w)
			c := l.child(1, "ship")
			l.advance(true)
			child := c.claim(w).runs()
			child.write("plain_child", w.writer, func(r *state) { r.status, r.result, r.crashes, r.finishedAt = "completed", "1", 0, s.now })
			resumed(x, w, "plain_child").complete("1")
		},
		"a failed child": func(s *story) { failedChild(s) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			tell(s)
			s.over()
			if violated, _, text := judge(t, s); len(violated) > 0 || !strings.HasSuffix(text, "\nverdict: ok\n") {
				t.Errorf("a legal run violates %v:\n%s", violated, text)
			}
		})
	}
}

func TestJobsPassAndAreCounted(t *testing.T) {
	t.Parallel()
	s, _, _ := jobs(t)
	s.over()
	violated, r, text := judge(t, s)
	if len(violated) > 0 {
		t.Fatalf("violates %v:\n%s", violated, text)
	}
	if r.figures.Claims != 4 || r.figures.Bodies != 3 || r.figures.Releases != 1 || r.checked[9] != 2 {
		t.Errorf("counted %+v, successes %d", r.figures, r.checked[9])
	}
}

func overlapping(s *story) {
	a, b := s.worker("a"), s.worker("b")
	x := s.start("job", "charge")
	stale := x.claim(a)
	begun := stale.begin("", -1, 1)
	a.die(b)
	stale.lose(b)
	l := x.claim(b)
	second := l.begin("", -1, 1)
	stale.end(begun, true)
	l.line("worker-a", map[string]any{"t": "late", "x": x.id.String(), "code": "lease_lost", "at": s.now - boot})
	l.end(second, true)
	l.complete("1")
}

func TestOverlapAcrossALostLeaseIsCounted(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	overlapping(s)
	_, r, _ := judge(t, s.over())
	if f := r.figures; f.Overlaps != 1 || f.StaleRefused != 1 || f.StaleAccepted != 0 || f.Crashes != 1 {
		t.Errorf("counted %+v", f)
	}
	if q := r.figures.RecoveryMS; q.Count != 1 || q.P50 < 4000 || q.P50 > 4100 {
		t.Errorf("recovery is %s, want 4 s and a little", q)
	}
}

// retriedWorkflow fails after a step and is retried.
func retriedWorkflow(s *story, w *holder) *told {
	x := s.start("workflow", "order")
	l := x.claim(w)
	l.step(1, "reserve", `{"n":1}`)
	l.fail(false)
	copied := append([]*eventRow{}, s.history[len(s.history)-2:]...)
	x.write("retry", "engine-client", func(r *state) {
		*r = state{status: "pending", run: r.run + 1, epoch: r.epoch, token: r.token, worker: r.worker, attempts: r.attempts, length: 3, runAt: x.now}
	})
	for i, h := range copied {
		x.addsTo(2, i+1, h.event, h.sequence, h.name, h.payload, "retry", "engine-client")
	}
	x.addsTo(2, 3, "retried", 0, "", `{"error":{}}`, "retry", "engine-client")
	return x
}

// continuedWorkflow begins its second run with a signal that the first did not take.
func continuedWorkflow(s *story, w *holder) (x *told, uid string) {
	x = s.start("workflow", "order")
	l := x.claim(w)
	uid = x.signal("c2", "note")
	h := s.history[len(s.history)-1]
	l.write("continue", w.writer, func(r *state) { r.status, r.run, r.attempts, r.length, r.runAt = "pending", 2, 0, 1, x.now })
	x.language = ""
	x.addsTo(1, 3, "continued", 0, "", `{}`, "continue", w.writer)
	x.addsTo(2, 1, "signal_received", 0, h.name, h.payload, "continue", w.writer)
	return x, uid
}

// parked crashes three workers, the last one alone.
func parked(s *story) (x *told, last *lease, peer *holder) {
	peer = s.worker("peer")
	x = s.start("job", "poison")
	for i := range 3 {
		w := s.worker("w" + string(rune('0'+i)))
		last = x.claim(w)
		x.alone = i == 2
		s.audit[len(s.audit)-1].is.alone = i == 2
		last.begin("", -1, 1)
		w.die(peer)
		if i < 2 {
			last.lose(peer)
		}
	}
	x.write("end_lost", peer.writer, func(r *state) {
		r.status, r.parked, r.failure, r.token, r.alone, r.finishedAt = "failed", "worker_lost", `{"type":"WorkerLost"}`, id{}, false, x.now
		r.crashes++
	})
	return x, last, peer
}

// resumed is a parent that was told of its child's end and claimed in one statement.
func resumed(x *told, w *holder, statement string) *lease {
	token := x.uuid()
	x.also(statement, w.writer, func(r *state) { r.status, r.epoch, r.token, r.length = "running", r.epoch+1, token, r.length+1 })
	x.adds("activity_completed", 1, "ship", "1", statement, w.writer)
	return &lease{x, w, x.epoch, token}
}

func failedChild(s *story) (parent, child *told) {
	w := s.worker("a")
	parent = s.start("workflow", "order")
	l := parent.claim(w)
	child = l.child(1, "ship")
	l.advance(true)
	c := child.claim(w)
	c.end(c.begin("", -1, 1), false)
	c.fail(false)
	child.tell()
	parent.claim(w).complete("1")
	return parent, child
}

func TestWhatIsNotThereIsNotTakenForWell(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"audit", "executions", "history", "timers", "workers", "sessions"} {
		s := newStory(t)
		x := s.start("job", "charge")
		finish(s, x)
		dir := s.over().write()
		if err := os.Remove(filepath.Join(dir, name+".csv")); err != nil {
			t.Fatal(err)
		}
		if _, err := run(io.Discard, dir, ""); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}
