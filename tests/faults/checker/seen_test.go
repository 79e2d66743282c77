package main

import (
	"fmt"
	"strings"
	"testing"
)

// nonce makes one in the form in which a worker makes it.
func (s *story) nonce() string { return strings.ReplaceAll(s.uuid().String(), "-", "") }

func answered(nonce string) string { return fmt.Sprintf(`{"uid": "u1", "nonce": "%s"}`, nonce) }

// body runs to its end, and answers its nonce.
func (l *lease) body(step string, sequence int) (nonce string) {
	nonce = l.nonce()
	begun := l.begin(step, sequence, 1)
	begun["nonce"] = nonce
	l.end(begun, true)
	return nonce
}

// saw is what code journals of an outcome.
func (l *lease) saw(sequence int, nonces ...string) map[string]any {
	l.pass(ms)
	return l.line("worker-"+l.by.name, map[string]any{"t": "saw", "x": l.id.String(), "run": l.run, "seq": sequence, "nonces": nonces,
		"ok": true, "epoch": l.epoch, "token": l.token.String(), "at": l.now - boot})
}

// seenStep is a step whose answer code sees once it is recorded.
func (l *lease) seenStep(sequence int, name string) (nonce string) {
	nonce = l.body(name, sequence)
	l.advance(false, [4]string{"step_completed", fmt.Sprint(sequence), name, answered(nonce)})
	l.saw(sequence, nonce)
	return nonce
}

// seenActivity is an activity whose end the parent is told of; it answers the parent's next lease.
func (l *lease) seenActivity(sequence int, w *holder) (next *lease, nonce string) {
	c := l.child(sequence, "ship")
	l.advance(true)
	lease := c.claim(w)
	nonce = lease.body("", -1)
	lease.complete(answered(nonce))
	c.tell()
	next = l.claim(w)
	next.saw(sequence, nonce)
	return next, nonce
}

// forgotten is a step's record that code was told of, and that a crash prevented; then it runs again.
func forgotten(s *story) {
	a, b := s.worker("a"), s.worker("b")
	x := s.start("workflow", "order")
	l := x.claim(a)
	l.saw(1, l.body("reserve", 1))
	a.die(b)
	next := l.lose(b).claim(b)
	next.seenStep(1, "reserve")
	next.complete("1")
}

// seenTwice has code see an outcome in two passes, of which the test breaks one.
func seenTwice(s *story, breaks func(one, two map[string]any)) {
	w := s.worker("a")
	x := s.start("workflow", "order")
	l := x.claim(w)
	nonce := l.body("reserve", 1)
	l.advance(true, [4]string{"step_completed", "1", "reserve", answered(nonce)})
	one := l.saw(1, nonce)
	x.outside("signal_received", 0, "note", "1", "signal")
	l = x.claim(w)
	two := l.saw(1, nonce)
	l.complete("1")
	breaks(one, two)
}

var brokenSeen = []brokenRun{
	{"I29: code saw a step before its commit, which a crash prevented", []int{29}, forgotten},
	{"I29: code saw an activity's end before its commit, which a crash prevented", []int{29}, func(s *story) {
		a, b := s.worker("a"), s.worker("b")
		x := s.start("workflow", "order")
		l := x.claim(a)
		c := l.child(1, "ship")
		first := c.claim(a)
		l.saw(1, first.body("", -1))
		l.advance(true)
		a.die(b)
		again := first.lose(b).claim(b)
		nonce := again.body("", -1)
		again.complete(answered(nonce))
		c.tell()
		next := x.claim(b)
		next.saw(1, nonce)
		next.complete("1")
	}},
	{"I29: code saw what is in no history", []int{29}, func(s *story) {
		l := s.start("workflow", "order").claim(s.worker("a"))
		l.saw(1, l.body("reserve", 1))
		l.complete("1")
	}},
	{"I29: a replay sees another answer", []int{29}, func(s *story) {
		seenTwice(s, func(_, two map[string]any) { two["nonces"] = []string{s.nonce()} })
	}},
	{"I29: a replay sees a failure", []int{29}, func(s *story) {
		seenTwice(s, func(_, two map[string]any) { two["ok"], two["nonces"] = false, nil })
	}},
	{"I29: both passes see what is not in the history", []int{29}, func(s *story) {
		seenTwice(s, func(one, two map[string]any) {
			one["nonces"] = []string{s.nonce()}
			two["nonces"] = one["nonces"]
		})
	}},
	{"I29: code saw the answer of a body that had not ended", []int{29}, func(s *story) {
		l := s.start("workflow", "order").claim(s.worker("a"))
		l.end(l.begin("reserve", 1, 1), true)
		nonce := s.nonce()
		l.advance(false, [4]string{"step_completed", "1", "reserve", answered(nonce)})
		l.saw(1, nonce)
		l.complete("1")
	}},
	{"I29: code saw the answer of another command", []int{29}, func(s *story) {
		l := s.start("workflow", "order").claim(s.worker("a"))
		nonce := l.seenStep(1, "reserve")
		l.body("reserve", 2)
		l.advance(false, [4]string{"step_completed", "2", "reserve", answered(nonce)})
		l.saw(2, nonce)
		l.complete("1")
	}},
	{"I29: a child's answer has another part", []int{29}, func(s *story) { child(s, func(parts []string) { parts[0] = s.nonce() }) }},
	{"I29: a result that no body answered", []int{29}, func(s *story) {
		l := s.start("job", "charge").claim(s.worker("a"))
		l.body("", -1)
		l.complete(answered(s.nonce()))
	}},
	{"I29: the result of another's body", []int{29}, func(s *story) {
		w := s.worker("a")
		l := s.start("job", "charge").claim(w)
		nonce := l.body("", -1)
		l.complete(answered(nonce))
		other := s.start("job", "charge").claim(w)
		other.body("", -1)
		other.complete(answered(nonce))
	}},
}

// child answers all that it has seen, and its parent sees that.
func child(s *story, breaks func(parts []string)) {
	w := s.worker("a")
	l := s.start("workflow", "order").claim(w)
	l.advance(true, [4]string{"child_started", "1", "parcel", `{"kind":"workflow"}`})
	c := &told{story: s, id: s.uuid(), kind: "workflow", name: "parcel", parent: l.told, parentRun: 1, sequence: 1, createdAt: s.now, args: "[]"}
	c.state = state{status: "pending", run: 1, runAt: s.now}
	s.executions = append(s.executions, c)
	inner := c.insert().claim(w)
	parts := []string{inner.seenStep(1, "reserve"), inner.seenStep(2, "reserve")}
	inner.complete("[" + answered(parts[0]) + ",\"slept\"," + answered(parts[1]) + "]")
	l.outside("child_completed", 1, "parcel", c.result, "finish")
	breaks(parts)
	l = l.claim(w)
	l.saw(1, parts...)
	l.complete("1")
}

// seenOrder sees a step and an activity, in two passes.
func seenOrder(s *story, w *holder) {
	l := s.start("workflow", "order").claim(w)
	step := l.seenStep(1, "reserve")
	l, activity := l.seenActivity(2, w)
	l.saw(1, step)
	l.saw(2, activity)
	l.complete("1")
}

var legalSeen = map[string]func(*story){
	"code that sees the same on each replay":         func(s *story) { seenTwice(s, func(_, _ map[string]any) {}) },
	"a step and an activity whose answers code sees": func(s *story) { seenOrder(s, s.worker("a")) },
	"a step that crashed and runs again, and of which code saw nothing": func(s *story) {
		a, b := s.worker("a"), s.worker("b")
		l := s.start("workflow", "order").claim(a)
		l.body("reserve", 1)
		a.die(b)
		next := l.lose(b).claim(b)
		next.seenStep(1, "reserve")
		next.complete("1")
	},
	"a failure that code sees": func(s *story) {
		parent, _ := failedChild(s)
		l := &lease{told: parent, by: s.workers[0], epoch: parent.epoch, token: parent.token}
		l.saw(1)["ok"] = false
	},
	"a child's answer": func(s *story) { child(s, func([]string) {}) },
	"the answers that a retry takes over": func(s *story) {
		w := s.worker("a")
		x := s.start("workflow", "order")
		l := x.claim(w)
		nonce := l.seenStep(1, "reserve")
		l.seenStep(2, "pay")
		l.fail(false)
		retriedFrom(x, 2)
		l = x.claim(w)
		l.saw(1, nonce)
		l.seenStep(2, "pay")
		l.complete("1")
	},
	"another answer in another run": func(s *story) {
		w := s.worker("a")
		x := s.start("workflow", "order")
		l := x.claim(w)
		l.seenStep(1, "reserve")
		l.write("continue", w.writer, func(r *state) { r.status, r.run, r.attempts, r.length, r.runAt = "pending", 2, 0, 0, x.now })
		x.language = ""
		x.addsTo(1, 3, "continued", 0, "", `{}`, "continue", w.writer)
		l = x.claim(w)
		l.seenStep(1, "reserve")
		l.complete("1")
	},
	"a workflow that is terminated after what it saw": func(s *story) {
		x := s.start("workflow", "order")
		x.claim(s.worker("a")).seenStep(1, "reserve")
		from := s.now
		x.write("end", "engine-client", func(r *state) {
			r.status, r.cancel, r.failure, r.finishedAt = "cancelled", true, `{"type":"Cancelled"}`, x.now
		})
		x.call("c1", "terminate", x, map[string]any{"from": from - boot})
	},
}

// retriedFrom takes the first events over into another run.
func retriedFrom(x *told, events int) {
	copied := x.history[:events]
	x.write("retry", "engine-client", func(r *state) {
		*r = state{status: "pending", run: r.run + 1, epoch: r.epoch, token: r.token, worker: r.worker, attempts: r.attempts, length: events + 1, runAt: x.now}
	})
	for i, h := range copied {
		x.addsTo(x.run, i+1, h.event, h.sequence, h.name, h.payload, "retry", "engine-client")
	}
	x.addsTo(x.run, events+1, "retried", 0, "", `{"error":{}}`, "retry", "engine-client")
}

func TestWhatCodeSawInLegalRuns(t *testing.T) {
	t.Parallel()
	for name, tell := range legalSeen {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			tell(s)
			if violated, r, text := judge(t, s.over()); len(violated) > 0 || r.checked[29] == 0 {
				t.Errorf("a legal run violates %v after %d checks:\n%s", violated, r.checked[29], text)
			}
		})
	}
}

// A fail-over that loses what was acknowledged last may have code see another answer.
func TestWhatAFailoverHasForgottenIsSeenAnew(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.meta["limits"] = map[string]any{"lost_acks": true}
	forgotten(s)
	if violated, _, text := judge(t, s.over()); len(violated) > 0 {
		t.Errorf("violates %v:\n%s", violated, text)
	}
}

func TestNoncesInAText(t *testing.T) {
	t.Parallel()
	one, two := id{1}, id{2}
	for text, want := range map[string]id{
		"": {}, `"nonce"`: {}, `{"nonce":`: {}, `{"nonce": "no"}`: {}, `{"nonce": 1}`: {},
		fmt.Sprintf(`{"uid":"u","nonce" : "%s"}`, one):             one,
		fmt.Sprintf(`[{"nonce":"%s"},[{"nonce":"%s"}]]`, one, two): one.with(two),
	} {
		if got := noncesIn(text); got != want {
			t.Errorf("%s has %s, want %s", text, got, want)
		}
	}
}
