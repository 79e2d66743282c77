package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libworkflows/libworkflows/core/fault"
)

func TestSubmittedRequestsCompleteOnceWithTheirOwnReplies(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const n = 5000
	var frames []frame
	for i := range n {
		frames = append(frames, frame{uint64(i), opEcho, fmt.Appendf(nil, `{"n":%d}`, i)})
	}
	for at := 0; at < n; at += 250 {
		r.submit(frames[at : at+250]...)
	}
	seen := map[uint64]bool{}
	for _, d := range r.await(n) {
		if want := fmt.Sprintf(`{"ok":{"n":%d}}`, d.Token); string(d.Reply) != want || seen[d.Token] {
			t.Fatalf("token %d: %s, seen before: %v", d.Token, d.Reply, seen[d.Token])
		}
		seen[d.Token] = true
	}
	if _, left, err := r.drain(100); left != 0 || err != nil {
		t.Fatalf("afterwards %d are left, %v", left, err)
	}
}

func TestAReplyIsDrainedByteForByte(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	request := `{ "a" : "\ud800", "n":9007199254740993, "e":1E2, "a":-0.0, "<":"\u0000" }`
	r.submit(frame{maxToken - 1, opEcho, []byte(request)})
	r.waiting(1)
	text, _, err := r.c.box.drain(1)
	if err != nil {
		t.Fatal(err)
	}
	if want := `[{"token":9007199254740991,"reply":{"ok":` + request + `}}]`; string(text) != want {
		t.Fatalf("got  %s\nwant %s", text, want)
	}
}

func TestMalformedPackedRequestsAreRefusedWhole(t *testing.T) {
	t.Parallel()
	good := pack(frame{1, opEcho, []byte(`{}`)})
	changed := func(at int, to byte) []byte { b := bytes.Clone(good); b[at] = to; return b }
	cases := []struct {
		name   string
		packed []byte
	}{
		{"half a head", good[:15]},
		{"one byte", good[:1]},
		{"a length beyond the end", changed(8, 3)},
		{"a huge length", changed(11, 0xff)},
		{"a token of 2^53", pack(frame{maxToken, opEcho, nil})},
		{"a token of 2^64-1", pack(frame{1<<64 - 1, opEcho, nil})},
		{"a zero that is not", changed(14, 1)},
		{"the other byte of it", changed(15, 1)},
		{"a token twice", append(bytes.Clone(good), good...)},
		{"a good one and half of one", append(bytes.Clone(good), good[:7]...)},
		{"more requests than a channel holds", bytes.Repeat(pack(frame{2, opEcho, nil}), maxWaiting+1)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			if err := r.c.box.submit(c.packed); !errors.Is(err, errMalformed) {
				t.Fatalf("submit: %v", err)
			}
			r.submit(frame{1, opEcho, []byte(`{}`)}) // so token 1 was not taken
			r.await(1)
		})
	}
}

func TestRandomBytesNeverBreakTheParser(t *testing.T) {
	t.Parallel()
	box, err := newMailbox(limits{maxWaiting, maxWaitingBytes}) // which nobody serves
	if err != nil {
		t.Fatal(err)
	}
	defer box.deafen()
	random := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		packed := pack(echoes(0, random.IntN(4))...)
		for range random.IntN(4) {
			if len(packed) > 0 {
				packed[random.IntN(len(packed))] = byte(random.Uint32())
			}
		}
		packed = packed[:random.IntN(len(packed)+1)]
		if err := box.submit(packed); err != nil {
			continue
		}
		var frames []frame
		for _, n := range box.take() {
			frames = append(frames, n.frame)
			_, _ = box.complete(completion{token: n.token})
		}
		if !bytes.Equal(append([]byte{}, pack(frames...)...), packed) {
			t.Fatalf("%x was read as something else: %v", packed, frames)
		}
		if _, _, err := box.drain(len(frames)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNothingIsASubmission(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.submit()
	if got, left, err := r.drain(10); len(got) != 0 || left != 0 || err != nil {
		t.Fatalf("%v, %d, %v", got, left, err)
	}
}

func TestATokenIsInUseUntilItIsDrained(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.submit(echoes(7, 1)...)
	r.waiting(1)
	if err := r.c.box.submit(pack(echoes(6, 3)...)); !errors.Is(err, errMalformed) {
		t.Fatalf("a token that waits to be drained was taken again: %v", err)
	}
	r.await(1)
	r.submit(echoes(6, 3)...)
	r.await(3)
}

func TestWhatAnOperationRefusesCompletesWithItsError(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.submit(frame{1, 0, []byte(`{}`)}, frame{2, 65535, []byte(`{}`)}, frame{3, opEcho, make([]byte, maxRequest+1)}, frame{4, opPanic, nil})
	want := map[uint64]fault.Code{1: fault.UnknownOperation, 2: fault.UnknownOperation, 3: fault.PayloadTooLarge, 4: fault.Internal}
	for _, d := range r.await(4) {
		if d.code() != want[d.Token] {
			t.Errorf("token %d: %s", d.Token, d.Reply)
		}
	}
	if _, bytes := r.c.box.counts(); bytes != 0 {
		t.Errorf("%d bytes are still counted", bytes)
	}
}

func TestBusyTakesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.limit(limits{100, maxWaitingBytes})
	r.submit(echoes(0, 90)...)
	if err := r.c.box.submit(pack(echoes(90, 11)...)); !errors.Is(err, errBusy) {
		t.Fatalf("one too many: %v", err)
	}
	r.submit(echoes(90, 10)...) // the same tokens, so none of them was taken
	if err := r.c.box.submit(pack(echoes(100, 1)...)); !errors.Is(err, errBusy) {
		t.Fatalf("a full channel: %v", err)
	}
	r.await(100)
	r.submit(echoes(0, 1)...)
	r.await(1)
}

func TestBusyCountsBytesOfRequestsAndReplies(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.limit(limits{maxWaiting, 1000})
	r.submit(frame{1, opEcho, []byte(`"` + strings.Repeat("x", 2000) + `"`)}) // a single one is always taken
	for range 2 {
		if err := r.c.box.submit(pack(echoes(2, 1)...)); !errors.Is(err, errBusy) {
			t.Fatalf("more bytes than a channel holds: %v", err)
		}
		r.waiting(1)
	}
	r.await(1)
	r.submit(echoes(2, 1)...)
	r.await(1)
}

func TestADrainTakesAtMostWhatIsAsked(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.submit(echoes(0, 300)...)
	r.waiting(300)
	for _, c := range []struct{ most, want, left int }{{0, 0, 300}, {1, 1, 299}, {128, 128, 171}, {1000, 171, 0}, {5, 0, 0}} {
		got, left, err := r.drain(c.most)
		if len(got) != c.want || left != c.left || err != nil {
			t.Fatalf("drain(%d): %d, %d left, %v", c.most, len(got), left, err)
		}
	}
}

func TestADrainStopsAtAMebibyteButTakesOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	request := func(n int) []byte { return append(append([]byte(`"`), bytes.Repeat([]byte("x"), n-2)...), '"') }
	for i := range 5 {
		r.submit(frame{uint64(i), opEcho, request(400 << 10)})
		r.waiting(i + 1)
	}
	r.submit(frame{5, opEcho, request(3 << 20)})
	r.waiting(6)
	for i, want := range []int{2, 2, 1, 1} {
		if got, _, err := r.drain(100); len(got) != want || err != nil {
			t.Fatalf("drain %d: %d, %v", i, len(got), err)
		}
	}
}

func TestACancelledRequestCompletesOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.submit(frame{1, opWait, nil}, frame{2, opWait, nil}, frame{3, opEcho, []byte(`1`)})
	r.waiting(1)
	for range 3 {
		if err := r.c.box.cancel(1); err != nil {
			t.Fatal(err)
		}
	}
	for _, token := range []uint64{3, 99, 1 << 60} { // completed, unknown, impossible
		if err := r.c.box.cancel(token); err != nil {
			t.Fatal(err)
		}
	}
	got := r.await(2)
	if got[0].Token != 3 || got[1].Token != 1 || got[1].code() != fault.Cancelled {
		t.Fatalf("%v", got)
	}
	if err := r.c.box.wait(20); !errors.Is(err, errTimeout) {
		t.Fatalf("something else has completed: %v", err)
	}
}

func TestCancelsRacingCompletionsLoseNone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const n = 2000
	var cancels sync.WaitGroup
	for i := range n {
		r.submit(frame{uint64(i), []uint16{opEcho, opWait}[i%2], []byte(`1`)})
		cancels.Go(func() { _ = r.c.box.cancel(uint64(i)) })
	}
	seen := map[uint64]int{}
	for _, d := range r.await(n) {
		seen[d.Token]++
	}
	cancels.Wait()
	if len(seen) != n {
		t.Fatalf("%d of %d have completed", len(seen), n)
	}
}

func TestWaitEndsWithTheFirstCompletion(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if err := r.c.box.wait(0); !errors.Is(err, errTimeout) {
		t.Fatalf("an idle channel: %v", err)
	}
	r.submit(frame{1, opStuck, []byte(`1`)})
	if err := r.c.box.wait(10); !errors.Is(err, errTimeout) {
		t.Fatalf("nothing has completed: %v", err)
	}
	var waits sync.WaitGroup
	for range 5 {
		waits.Go(func() {
			if err := r.c.box.wait(patienceMS); err != nil {
				t.Error(err)
			}
		})
	}
	close(r.release)
	waits.Wait()
	if err := r.c.box.wait(0); err != nil {
		t.Fatalf("nobody has drained it: %v", err)
	}
}

func TestADescriptorHasAByteForEachStepFromNoneToSome(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fd, err := r.c.box.watch()
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	for range 3 {
		if n, ended := read(t, fd); n != 0 || ended {
			t.Fatalf("an idle channel has %d bytes, ended: %v", n, ended)
		}
		r.submit(echoes(0, 50)...)
		r.waiting(50)
		r.take(49)
		if n, ended := read(t, fd); n != 1 || ended {
			t.Fatalf("%d bytes, ended: %v", n, ended)
		}
		r.take(1)
	}
}

func TestEachDescriptorHasItsOwnBytes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	early, _ := r.c.box.watch()
	gone, _ := r.c.box.watch()
	_ = syscall.Close(gone) // must raise no SIGPIPE
	r.submit(echoes(0, 2)...)
	r.waiting(2)
	late, err := r.c.box.watch()
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range []int{early, late} {
		if n, _ := read(t, fd); n != 1 {
			t.Errorf("descriptor %d has %d bytes", fd, n)
		}
		_ = syscall.Close(fd)
	}
}

func TestADescriptorThatNobodyReadsHoldsNothingUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fd, _ := r.c.box.watch()
	defer syscall.Close(fd)
	for range 20_000 {
		r.submit(echoes(0, 1)...)
		r.await(1)
	}
	if n, _ := read(t, fd); n == 0 {
		t.Error("it was never woken")
	}
}

func TestClosingAChannelDropsAllThatItHas(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fd, _ := r.c.box.watch()
	defer syscall.Close(fd)
	r.submit(frame{1, opWait, nil}, frame{2, opStuck, nil}, frame{3, opEcho, []byte(`1`)})
	r.waiting(1)
	ended := make(chan error)
	go func() {
		_, _, _ = r.drain(1) // it may be closed first
		ended <- r.c.box.wait(patienceMS)
	}()
	for range 2 {
		if err := r.l.closeChannel(r.channel); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; !errors.Is(err, errClosed) {
		t.Errorf("a wait: %v", err)
	}
	if n, ended := read(t, fd); n != 1 || !ended {
		t.Errorf("the descriptor has %d bytes, ended: %v", n, ended)
	}
	if _, err := r.l.channels.get(r.channel); !errors.Is(err, errClosed) {
		t.Errorf("the handle: %v", err)
	}
	if err := r.c.box.submit(pack(echoes(9, 1)...)); !errors.Is(err, errClosed) {
		t.Errorf("submit: %v", err)
	}
	close(r.release)
	if err := r.l.close(r.engine, patience); err != nil {
		t.Errorf("the engine: %v", err)
	}
}

func TestAClaimForAClosedChannelIsPutBack(t *testing.T) {
	t.Parallel()
	const back = `release {"items":[{"id":"a","lease":{"epoch":1},"reason":"drain"}]}`
	t.Run("when it was not drained", func(t *testing.T) {
		r := newRig(t)
		r.claimed = `{"ok":{"executions":[{"id":"a","lease":{"epoch":1},"args":[]}]}}`
		r.submit(frame{1, opClaim, nil})
		r.waiting(1)
		_ = r.l.closeChannel(r.channel)
		r.until("the release", func() bool { return r.wasAsked(back) })
	})
	t.Run("not when there is none", func(t *testing.T) {
		r := newRig(t)
		r.claimed = `{"ok":{"executions":[]}}`
		r.submit(frame{1, opClaim, nil})
		r.waiting(1)
		_ = r.l.closeChannel(r.channel)
		time.Sleep(20 * time.Millisecond)
		if len(r.asked) != 1 {
			t.Fatalf("%q", r.asked)
		}
	})
}

// A thread that is ended from outside closes its descriptors, and nothing else.
func TestTheWorkersOfAThreadThatWasEndedAreStopped(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.claimed = `{"ok":{"executions":[{"id":"a","lease":{"epoch":1}}]}}`
	fd, err := r.c.box.watch()
	if err != nil {
		t.Fatal(err)
	}
	r.submit(frame{1, opStartWorker, []byte(`{}`)}, frame{2, opWait, nil}, frame{3, opClaim, nil})
	r.waiting(2)
	_ = syscall.Close(fd)
	for _, what := range []string{`stop_worker {"worker_id":"w1"}`, `release {"items":[{"id":"a","lease":{"epoch":1},"reason":"drain"}]}`} {
		r.until(what, func() bool { return r.wasAsked(what) })
	}
	if err := r.c.box.submit(pack(echoes(4, 1)...)); !errors.Is(err, errClosed) {
		t.Errorf("it takes requests: %v", err)
	}
	if err := r.l.closeChannel(r.channel); err != nil {
		t.Errorf("it cannot be closed: %v", err)
	}
}

func TestErrorsOfTheBoundaryAreDistinct(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errBusy, errClosed, errTimeout, errEngine} {
		if errors.Is(err, errMalformed) {
			t.Errorf("%v counts as malformed", err)
		}
	}
}
