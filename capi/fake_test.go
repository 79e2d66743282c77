package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/ops"
)

const (
	patience   = 10 * time.Second
	patienceMS = int(patience / time.Millisecond)
)

// What the fake engine does for an operation.
var (
	opEcho  = numberOf("get_execution")  // answers its request
	opWait  = numberOf("wait_execution") // waits for its context
	opStuck = numberOf("pull_events")    // ignores its context until the test releases it
	opPanic = numberOf("stats")
)

// fake is an engine without a database. Claims answer its claimed field.
type fake struct {
	release chan struct{}
	claimed string

	mu      sync.Mutex
	asked   []string // "name request" of each operation that is not an echo
	opened  int
	closed  int
	openErr error
}

func newFake() *fake { return &fake{release: make(chan struct{})} }

func (f *fake) library() *library { return newLibrary(f.open) }

func (f *fake) open(context.Context, model.Config) (core, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened++
	return core{operate: f.operate, close: f.close}, f.openErr
}

func (f *fake) close(time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
	return nil
}

func (f *fake) operate(ctx context.Context, o ops.Operation, request []byte) []byte {
	if o.Number != opEcho {
		f.note(o.Name + " " + string(request))
	}
	switch o.Number {
	case opWait:
		<-ctx.Done()
		return ops.Failure(fault.New(fault.Cancelled, nil, "the context ended"))
	case opStuck:
		<-f.release
	case opPanic:
		panic("as the test wants it")
	case opClaim:
		return []byte(f.claimed)
	case opStartWorker:
		return []byte(`{"ok":{"worker_id":"w1"}}`)
	}
	return []byte(`{"ok":` + string(request) + `}`)
}

func (f *fake) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, what)
}

func (f *fake) wasAsked(what string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, asked := range f.asked {
		if asked == what {
			return true
		}
	}
	return false
}

// counts answers how many engines were opened and closed.
func (f *fake) counts() (opened, closed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened, f.closed
}

// rig is a library with one engine and one channel open.
type rig struct {
	*testing.T
	*fake
	l               *library
	engine, channel uint64
	c               *channel
}

func newRig(t *testing.T) *rig {
	t.Helper()
	f := newFake()
	r := &rig{T: t, fake: f, l: f.library()}
	var err error
	if r.engine, err = r.l.open(nil); err != nil {
		t.Fatal(err)
	}
	if r.channel, err = r.l.openChannel(r.engine); err != nil {
		t.Fatal(err)
	}
	if r.c, err = r.l.channels.get(r.channel); err != nil {
		t.Fatal(err)
	}
	return r
}

// limit replaces the channel by one that holds less.
func (r *rig) limit(most limits) {
	r.Helper()
	c, err := newChannel(r.c.session, most)
	if err != nil {
		r.Fatal(err)
	}
	r.c = c
	r.Cleanup(c.close)
}

func pack(frames ...frame) (packed []byte) {
	for _, f := range frames {
		packed = binary.LittleEndian.AppendUint64(packed, f.token)
		packed = binary.LittleEndian.AppendUint32(packed, uint32(len(f.request)))
		packed = binary.LittleEndian.AppendUint16(packed, f.operation)
		packed = append(append(packed, 0, 0), f.request...)
	}
	return packed
}

// echoes are n requests with tokens from first on.
func echoes(first, n int) (frames []frame) {
	for i := range n {
		frames = append(frames, frame{uint64(first + i), opEcho, []byte(`{"n":1}`)})
	}
	return frames
}

func (r *rig) submit(frames ...frame) {
	r.Helper()
	if err := r.c.box.submit(pack(frames...)); err != nil {
		r.Fatalf("submit: %v", err)
	}
}

type drained struct {
	Token uint64          `json:"token"`
	Reply json.RawMessage `json:"reply"`
}

func (d drained) code() fault.Code {
	code, _ := failureCode(d.Reply)
	return code
}

// drain drains once.
func (r *rig) drain(most int) (got []drained, left int, err error) {
	r.Helper()
	text, left, err := r.c.box.drain(most)
	if text != nil {
		if err := json.Unmarshal(text, &got); err != nil {
			r.Fatalf("a drain is not JSON: %v: %q", err, text)
		}
	}
	return got, left, err
}

// take drains without a look at what came.
func (r *rig) take(most int) {
	r.Helper()
	if _, _, err := r.drain(most); err != nil {
		r.Errorf("drain: %v", err)
	}
}

// await drains until n completions have come.
func (r *rig) await(n int) (got []drained) {
	r.Helper()
	for len(got) < n {
		if err := r.c.box.wait(patienceMS); err != nil {
			r.Fatalf("after %d of %d completions: %v", len(got), n, err)
		}
		some, _, err := r.drain(n - len(got))
		if err != nil {
			r.Fatal(err)
		}
		got = append(got, some...)
	}
	return got
}

// until polls for something that another goroutine is about to do.
func (r *rig) until(what string, holds func() bool) {
	r.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// waiting polls until n completions can be drained.
func (r *rig) waiting(n int) {
	r.Helper()
	r.until("completions", func() bool {
		completed, _ := r.c.box.counts()
		return completed == n
	})
}

// read takes what is in a descriptor: how many bytes, and whether it has ended.
func read(t *testing.T, fd int) (n int, ended bool) {
	t.Helper()
	buffer := make([]byte, 4096)
	for {
		got, err := syscall.Read(fd, buffer)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			return n, false
		case err != nil:
			t.Fatalf("read: %v", err)
		case got == 0:
			return n, true
		}
		n += got
	}
}
