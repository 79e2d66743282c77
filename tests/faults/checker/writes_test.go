package main

import (
	"slices"
	"testing"
)

// says is what a writer was told, whose lease was l or was not.
func (l *lease) says(what string, more map[string]any) {
	from := l.now
	l.pass(ms)
	fields := map[string]any{
		"t": "write", "what": what, "x": l.id.String(), "epoch": l.epoch, "token": l.token.String(), "from": from - boot, "to": l.now - boot,
		"outcome": "ok", "position": l.length,
	}
	for k, v := range more {
		fields[k] = v
	}
	l.line("worker-forger", fields)
}

var refused = map[string]any{"outcome": "fail", "code": "lease_lost"}

// givenAway is a job that one worker has given back and another holds.
func givenAway(s *story) (one, other *lease) {
	x := s.start("job", "forged")
	one = x.claim(s.worker("a"))
	one.release()
	other = x.claim(s.worker("b"))
	s.pass(second)
	return one, other
}

// overtaken is a workflow whose holder has not seen the last of its two events.
func overtaken(s *story) *lease {
	x := s.start("workflow", "forged")
	l := x.claim(s.worker("a"))
	x.signal("c2", "go")
	return l
}

func TestWhatWritersAreToldIsChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		wants []int
		tell  func(*story)
	}{
		{"another token is accepted", []int{6}, func(s *story) {
			l := s.start("job", "forged").claim(s.worker("a"))
			l.says("complete", map[string]any{"token": s.uuid().String()})
			l.complete("1")
		}},
		{"another epoch is accepted", []int{6}, func(s *story) {
			l := s.start("job", "forged").claim(s.worker("a"))
			l.says("release", map[string]any{"epoch": l.epoch + 1})
			l.complete("1")
		}},
		{"both are refused", nil, func(s *story) {
			l := s.start("job", "forged").claim(s.worker("a"))
			l.says("complete", map[string]any{"token": s.uuid().String(), "outcome": "fail", "code": "lease_lost"})
			l.says("complete", map[string]any{"epoch": 0, "outcome": "fail", "code": "lease_lost"})
			l.complete("1")
		}},
		{"a lease that was lost is accepted", []int{6}, func(s *story) {
			one, other := givenAway(s)
			one.says("complete", nil)
			other.complete("1")
		}},
		{"a lease that was lost is refused", nil, func(s *story) {
			one, other := givenAway(s)
			one.says("complete", refused)
			other.complete("1")
		}},
		{"a second outcome is accepted", []int{6}, func(s *story) {
			_, l := ended(s)
			s.pass(second)
			l.says("fail", map[string]any{"status": "failed"})
		}},
		{"a repeat is refused", []int{28}, func(s *story) {
			_, l := ended(s)
			s.pass(second)
			l.says("complete", refused)
		}},
		{"a repeat is accepted, another outcome refused", nil, func(s *story) {
			_, l := ended(s)
			s.pass(second)
			l.says("complete", map[string]any{"status": "completed"})
			l.says("fail", refused)
		}},
		{"a suspend sleeps over a signal", []int{3, 21}, func(s *story) {
			l := overtaken(s)
			l.advance(true)
			l.says("suspend", map[string]any{"status": "suspended", "position": 1})
		}},
		{"a suspend is told of a signal", nil, func(s *story) {
			l := overtaken(s)
			l.says("suspend", map[string]any{"status": "running", "position": 1, "answered": 2})
			l.complete("1")
		}},
		{"a step overlooks a signal", []int{28}, func(s *story) {
			l := overtaken(s)
			l.step(1, "reserve", "1")
			l.says("step", map[string]any{"status": "running", "position": 1, "answered": 2, "seq": 1})
			l.complete("1")
		}},
		{"a step is told of a signal", nil, func(s *story) {
			l := overtaken(s)
			l.step(1, "reserve", "1")
			l.says("step", map[string]any{"status": "running", "position": 1, "answered": 3, "seq": 1})
			l.complete("1")
		}},
		{"an answer that never came says nothing", nil, func(s *story) {
			_, l := ended(s)
			l.says("fail", map[string]any{"to": nil, "outcome": "unknown"})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			c.tell(s)
			s.over()
			if violated, _, text := judge(t, s); !slices.Equal(violated, c.wants) {
				t.Errorf("named %v, want %v:\n%s", violated, c.wants, text)
			}
		})
	}
}
