package main

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/ops"
)

func TestWrongHandlesAreTypedErrors(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_ = r.l.closeChannel(r.channel)
	_ = r.l.close(r.engine, 0)
	cases := []struct {
		name   string
		handle uint64
		engine fault.Code
	}{
		{"zero", 0, fault.InvalidHandle},
		{"closed", r.engine, fault.Closed},
		{"a channel's", r.channel, fault.InvalidHandle},
		{"the next one", r.engine + 1, fault.InvalidHandle},
		{"forged", 0xdeadbeefdeadbeef, fault.InvalidHandle},
		{"the greatest", 1<<64 - 1, fault.InvalidHandle},
		{"of its kind, but 0", 1 << kindShift, fault.InvalidHandle},
	}
	for _, c := range cases {
		if code, _ := failureCode(r.l.operate(c.handle, opEcho, nil)); code != c.engine {
			t.Errorf("%s: operate: %q", c.name, code)
		}
		if _, err := r.l.openChannel(c.handle); fault.CodeOf(err) != c.engine {
			t.Errorf("%s: openChannel: %v", c.name, err)
		}
		if err := r.l.close(c.handle, 0); c.engine == fault.InvalidHandle && !errors.Is(err, errEngine) || c.engine == fault.Closed && err != nil {
			t.Errorf("%s: close: %v", c.name, err)
		}
	}
	if err := r.l.closeChannel(r.engine); !errors.Is(err, errChannel) {
		t.Errorf("an engine's handle as a channel's: %v", err)
	}
}

func TestHandlesAreNeverGivenOutTwice(t *testing.T) {
	t.Parallel()
	l := newFake().library()
	seen := map[uint64]bool{}
	for range 1000 {
		handle, err := l.open(nil)
		if err != nil || seen[handle] || handle >= maxToken {
			t.Fatalf("%d, %v", handle, err)
		}
		seen[handle] = true
		_ = l.close(handle, 0)
	}
}

func TestEnginesAreSharedByConfiguration(t *testing.T) {
	t.Parallel()
	f := newFake()
	l := f.library()
	texts := []string{`{"schema":"a"}`, ` { "schema" : "a" } `, `{"schema":"a","pool_size":0}`, `{"schema":"b"}`}
	var handles []uint64
	for _, text := range texts {
		handle, err := l.open([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		handles = append(handles, handle)
	}
	if opened, _ := f.counts(); opened != 2 {
		t.Fatalf("%d engines for two configurations", opened)
	}
	for i, want := range []int{0, 0, 1, 2} {
		if err := l.close(handles[i], 0); err != nil {
			t.Fatal(err)
		}
		if _, closed := f.counts(); closed != want {
			t.Fatalf("after close %d, %d engines are closed and not %d", i, closed, want)
		}
	}
	_, _ = l.open([]byte(texts[0]))
	if opened, _ := f.counts(); opened != 3 {
		t.Fatal("a closed engine was used again")
	}
}

func TestAnEngineThatCannotOpenIsTriedAgain(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.openErr = fault.New(fault.DatabaseUnavailable, nil, "down")
	l := f.library()
	if _, err := l.open(nil); !errors.Is(err, f.openErr) {
		t.Fatal(err)
	}
	f.openErr = nil
	if _, err := l.open(nil); err != nil {
		t.Fatal(err)
	}
}

func TestConfigurationsAreStrict(t *testing.T) {
	t.Parallel()
	cases := []struct{ config, want string }{
		{`{"shema":"a"}`, `unknown field "shema"`},
		{`{"schema":5}`, `schema must be a JSON string, not a number`},
		{`[]`, `it must be a JSON object, not a JSON array`},
		{`{"schema":"a"`, `ends too early`},
		{`{"pool_size":NaN}`, `not JSON`},
		{`{} {}`, `after its JSON object`},
		{"{\"schema\":\"\xff\"}", `not UTF-8`},
		{strings.Repeat("[", 1_000_000), `not`},
	}
	for _, c := range cases {
		_, err := newFake().library().open([]byte(c.config))
		if fault.CodeOf(err) != fault.InvalidConfig || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: %v", c.config, err)
		}
	}
	for _, empty := range []string{"", "  ", "{}"} {
		if _, err := newFake().library().open([]byte(empty)); err != nil {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

func TestClosingLetsCallsEndWithinTheGrace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	replies := make(chan []byte)
	go func() { replies <- r.l.operate(r.engine, opStuck, []byte(`1`)) }()
	r.submit(frame{1, opStuck, []byte(`2`)})
	r.until("both calls", func() bool { return r.wasAsked("pull_events 1") && r.wasAsked("pull_events 2") })
	closed := make(chan error)
	go func() { closed <- r.l.close(r.engine, patience) }()
	r.until("the closing", func() bool { _, err := r.l.sessions.get(r.engine); return errors.Is(err, errClosed) })
	close(r.release)
	if reply := <-replies; string(reply) != `{"ok":1}` {
		t.Errorf("the call: %s", reply)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if got := r.await(1); string(got[0].Reply) != `{"ok":2}` {
		t.Errorf("the request: %s", got[0].Reply)
	}
	if err := r.c.box.wait(0); !errors.Is(err, errClosed) {
		t.Errorf("a drained channel of a closed engine: %v", err)
	}
}

func TestWhatOutlivesTheGraceCompletesWithClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fd, _ := r.c.box.watch()
	defer syscall.Close(fd)
	reply := make(chan []byte)
	go func() { reply <- r.l.operate(r.engine, opWait, nil) }()
	r.submit(frame{1, opWait, nil}, frame{2, opStuck, nil}) // the second one ignores its end
	r.until("the calls", func() bool { return r.wasAsked("pull_events ") })
	started := time.Now()
	if err := r.l.close(r.engine, 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("closing took %v", took)
	}
	if code, _ := failureCode(<-reply); code != fault.Closed {
		t.Errorf("the call: %q", code)
	}
	got := r.await(2)
	if got[0].code() != fault.Closed || got[1].code() != fault.Closed {
		t.Errorf("the requests: %v", got)
	}
	close(r.release) // too late: its request has completed
	if _, _, err := r.drain(9); !errors.Is(err, errClosed) {
		t.Errorf("a channel that has ended: %v", err)
	}
	if n, ended := read(t, fd); n == 0 || !ended {
		t.Errorf("the descriptor has %d bytes, ended: %v", n, ended)
	}
	if _, err := r.c.box.watch(); !errors.Is(err, errClosed) {
		t.Errorf("a new descriptor: %v", err)
	}
}

func TestAWorkerOfASharedEngineStopsWithItsHandle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	other, _ := r.l.open(nil)
	r.l.operate(r.engine, opStartWorker, nil)
	if err := r.l.close(r.engine, patience); err != nil {
		t.Fatal(err)
	}
	if !r.wasAsked(`stop_worker {"worker_id":"w1"}`) {
		t.Errorf("%q", r.asked)
	}
	if _, closed := r.counts(); closed != 0 {
		t.Error("the engine was closed, although somebody else uses it")
	}
	if reply := r.l.operate(other, opEcho, []byte(`1`)); string(reply) != `{"ok":1}` {
		t.Errorf("the other one: %s", reply)
	}
}

func TestClosingRacesEverything(t *testing.T) {
	t.Parallel()
	for range 50 {
		r := newRig(t)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for n := range 50 {
					_ = r.c.box.submit(pack(frame{uint64(i*1000 + n), []uint16{opEcho, opWait}[n%2], []byte(`1`)}))
					_ = r.l.operate(r.engine, opEcho, []byte(`1`))
					_, _ = r.l.openChannel(r.engine)
					_, _, _ = r.drain(3) // refused once it is closed
				}
			})
		}
		for range 2 {
			all.Go(func() { _ = r.l.close(r.engine, time.Millisecond) })
		}
		all.Wait()
		r.until("every completion", func() bool {
			_, _, err := r.drain(1000)
			return errors.Is(err, errClosed)
		})
		if _, closed := r.counts(); closed != 1 {
			t.Fatalf("the engine was closed %d times", closed)
		}
	}
}

func TestAReplyToAPanicIsAnError(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	defer func() {
		if recover() == nil {
			t.Error("the fake did not panic") // exports.go recovers it, where C is
		}
		if !r.c.session.calls.enter(1) {
			t.Error("the gate")
		}
	}()
	r.l.operate(r.engine, opPanic, nil)
}

func TestFailuresAreReadByTheirCode(t *testing.T) {
	t.Parallel()
	for _, code := range fault.Codes() {
		if got, failed := failureCode(ops.Failure(fault.New(code, nil, "x"))); got != code || !failed {
			t.Errorf("%s was read as %q", code, got)
		}
	}
	if code, failed := failureCode([]byte(`{"ok":{"error":{"code":"closed"}}}`)); failed || code != "" {
		t.Errorf("a good reply was read as %q", code)
	}
}
