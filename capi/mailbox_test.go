package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// newBox makes a mailbox that nobody serves.
func newBox(t *testing.T, most limits) *mailbox {
	t.Helper()
	box, err := newMailbox(most)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.drop(); box.deafen() })
	return box
}

func TestTheHostIsHeardInItsOrder(t *testing.T) {
	t.Parallel()
	box := newBox(t, limits{maxWaiting, maxWaitingBytes})
	steps := []error{
		box.submit(pack(frame{1, 5, []byte("a")}, frame{2, 6, nil})),
		box.cancel(2),
		box.cancel(2), // once is enough
		box.cancel(3), // not in use
		box.submit(pack(frame{3, 7, []byte("b")})),
		box.cancel(1),
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	if !box.listen() {
		t.Fatal("the bell was not heard")
	}
	var heard []string
	for _, n := range box.take() {
		heard = append(heard, fmt.Sprintf("%d %d %s %v", n.token, n.operation, n.request, n.cancel))
	}
	want := []string{"1 5 a false", "2 6  false", "2 0  true", "3 7 b false", "1 0  true"}
	if fmt.Sprint(heard) != fmt.Sprint(want) {
		t.Fatalf("heard %q, not %q", heard, want)
	}
	if more := box.take(); more != nil {
		t.Fatalf("it was there twice: %v", more)
	}
}

func TestTheBellRingsForEachStepFromNothingToSomething(t *testing.T) {
	t.Parallel()
	box := newBox(t, limits{maxWaiting, maxWaitingBytes})
	for i := range 3 {
		for j := range 10 {
			if err := box.submit(pack(frame{uint64(10*i + j), opEcho, nil})); err != nil {
				t.Fatal(err)
			}
		}
		rings := make([]byte, 8) // how often it was rung, since it was heard last
		if _, err := box.bell.Read(rings); err != nil || binary.NativeEndian.Uint64(rings) != 1 {
			t.Fatalf("it has rung %v times: %v", rings, err)
		}
		if n := len(box.take()); n != 10 {
			t.Fatalf("%d of 10 were there", n)
		}
	}
}

func TestAHostIsStalledWhereItTakesNothingOfWhatIsThere(t *testing.T) {
	t.Parallel()
	box := newBox(t, limits{maxWaiting, maxWaitingBytes})
	if _, err := box.watch(); err != nil {
		t.Fatal(err)
	}
	_ = box.submit(pack(frame{1, opEcho, nil}))
	look := func(want host, when string) {
		t.Helper()
		if got := box.look(); got != want {
			t.Errorf("%s: found %d", when, got)
		}
	}
	look(hostIsThere, "it has just called")
	look(hostIsThere, "it waits for a reply, as idle ones do for hours")
	if _, err := box.complete(completion{1, opEcho, []byte(`1`)}); err != nil {
		t.Fatal(err)
	}
	look(hostIsStalled, "the reply is there")
	_, _, _ = box.drain(1)
	look(hostIsThere, "it was taken")
	look(hostIsThere, "nothing is left")
}

func TestAReplyThatNobodyTakesIsRecalledAndAnotherOneLeft(t *testing.T) {
	t.Parallel()
	box := newBox(t, limits{maxWaiting, maxWaitingBytes})
	for token, reply := range []string{`{"ok":[1]}`, `{"ok":[2]}`, `{"error":3}`, `{"ok":[4]}`, `{"`} {
		operation := opClaim
		if token == 1 {
			operation = opEcho
		}
		_ = box.submit(pack(frame{uint64(token), operation, nil}))
		if _, err := box.complete(completion{uint64(token), operation, []byte(reply)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []completion{{0, opClaim, []byte(`{"ok":[1]}`)}, {3, opClaim, []byte(`{"ok":[4]}`)}} {
		if got, found := box.recall(opClaim, []byte(`{"ok":[`), []byte(`{}`)); !found || !reflect.DeepEqual(got, want) {
			t.Errorf("recalled %v, %q", found, got.reply)
		}
	}
	if got, found := box.recall(opClaim, []byte(`{"ok":[`), []byte(`{}`)); found {
		t.Errorf("recalled %q as well", got.reply)
	}
	_ = box.submit(pack(frame{5, opEcho, nil}))
	if _, err := box.complete(completion{5, opEcho, []byte(`"last"`)}); err != nil {
		t.Fatal(err)
	}
	const want = `[{"token":0,"reply":{}},{"token":1,"reply":{"ok":[2]}},{"token":2,"reply":{"error":3}},{"token":3,"reply":{}},{"token":4,"reply":{"},{"token":5,"reply":"last"}]`
	if text, _, err := box.drain(9); err != nil || string(text) != want {
		t.Errorf("drained %s, %v", text, err)
	}
	if completed, bytes := box.counts(); completed != 0 || bytes != 0 {
		t.Errorf("%d replies and %d bytes are left", completed, bytes)
	}
}

func TestABlockedHostIsToldOfOnceAndOnceWhenItGoesOn(t *testing.T) {
	t.Parallel()
	var s stall
	for i, look := range []struct {
		stalled bool
		says    string
	}{
		{true, ""}, {true, ""}, {false, ""}, // not long enough
		{true, ""}, {true, ""}, {true, "for more than 4s"}, {true, ""}, {true, ""}, {false, "after some 10s"},
		{false, ""}, {true, ""},
	} {
		if _, said := s.note(look.stalled); (said == "") != (look.says == "") || !strings.Contains(said, look.says) {
			t.Errorf("look %d: said %q, want %q", i, said, look.says)
		}
	}
}

func TestAMailboxIsDesertedOnceItsDescriptorsAreClosedAndNobodyCalls(t *testing.T) {
	t.Parallel()
	box := newBox(t, limits{maxWaiting, maxWaitingBytes})
	look := func(want bool, when string) {
		t.Helper()
		if got := box.look() == hostIsGone; got != want {
			t.Errorf("%s: deserted is %v", when, got)
		}
	}
	look(false, "nobody was given a descriptor, and somebody may call")
	fd, err := box.watch()
	other, otherErr := box.watch()
	if err := errors.Join(err, otherErr); err != nil {
		t.Fatal(err)
	}
	look(false, "both are there")
	_ = syscall.Close(fd)
	look(false, "one is there")
	_ = box.submit(pack(frame{1, opEcho, nil}))
	if _, err := box.complete(completion{1, opEcho, []byte(`1`)}); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Close(other) // with a byte in it
	look(false, "somebody has called since the last look")
	look(true, "nobody has")
	for name, call := range map[string]func(){
		"submit": func() { _ = box.submit(nil) },
		"cancel": func() { _ = box.cancel(1) },
		"wait":   func() { _ = box.wait(0) },
		"drain":  func() { _, _, _ = box.drain(1) },
	} {
		call()
		look(false, name)
		look(true, "after "+name)
	}
	waits := make(chan error)
	go func() { waits <- box.wait(patienceMS) }()
	for deadline := time.Now().Add(patience); box.look() == hostIsGone; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a thread waits, and it is deserted")
		}
	}
	look(false, "a thread waits, and has since the last look")
	box.shut()
	if err := <-waits; err == nil {
		t.Error("something has completed")
	}
}

func TestDeafnessEndsListening(t *testing.T) {
	t.Parallel()
	box := newBox(t, limits{maxWaiting, maxWaitingBytes})
	ended := make(chan bool)
	go func() { ended <- box.listen() }()
	box.deafen()
	select {
	case heard := <-ended:
		if heard {
			t.Error("something was heard")
		}
	case <-time.After(patience):
		t.Fatal("it still listens")
	}
	if err := box.submit(pack(echoes(0, 1)...)); err != nil {
		t.Errorf("a bell that nobody hears: %v", err)
	}
}

func TestATooLargeRequestIsNotKept(t *testing.T) {
	t.Parallel()
	box := newBox(t, limits{maxWaiting, maxWaitingBytes})
	large := frame{1, opEcho, make([]byte, maxRequest+1)}
	if err := box.submit(pack(large, frame{2, opEcho, []byte("b")})); err != nil {
		t.Fatal(err)
	}
	got := box.take()
	if len(got) != 2 || got[0].request != nil || got[0].refused != maxRequest+1 || string(got[1].request) != "b" {
		t.Fatalf("%v", got)
	}
}

func TestARequestEndsOnceInTheMailboxToo(t *testing.T) {
	t.Parallel()
	box := newBox(t, limits{maxWaiting, maxWaitingBytes})
	if err := box.submit(pack(echoes(1, 2)...)); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} {
		if posted, err := box.complete(completion{1, opEcho, []byte(`1`)}); posted != want || err != nil {
			t.Errorf("completion %d: %v, %v", i, posted, err)
		}
	}
	if posted, _ := box.complete(completion{9, opEcho, []byte(`1`)}); posted {
		t.Error("one that was never submitted")
	}
	undrained := box.drop()
	if len(undrained) != 1 || undrained[0].token != 1 || undrained[0].operation != opEcho || string(undrained[0].reply) != `1` {
		t.Errorf("%v", undrained)
	}
	if posted, _ := box.complete(completion{2, opEcho, []byte(`1`)}); posted {
		t.Error("one for a mailbox that was dropped")
	}
}

func TestAThousandTokensAreKeptApart(t *testing.T) {
	t.Parallel()
	box := newBox(t, limits{maxWaiting, maxWaitingBytes})
	const n, stride = 1000, 1 << 40 // which a bad hash would put into few places
	for round := range 3 {
		for i := range n {
			if err := box.submit(pack(frame{uint64(i * stride), opEcho, nil})); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		for i := range n {
			if err := box.submit(pack(frame{uint64(i * stride), opEcho, nil})); !errors.Is(err, errMalformed) {
				t.Fatalf("token %d was taken twice: %v", i, err)
			}
			posted, err := box.complete(completion{uint64(i * stride), opEcho, []byte(`1`)})
			if !posted || err != nil {
				t.Fatalf("token %d: %v, %v", i, posted, err)
			}
			if i%3 == 0 { // so that tokens go while others stay
				_, _, _ = box.drain(i % 7)
			}
		}
		for left := 1; left > 0; {
			_, left, _ = box.drain(100)
		}
	}
	if completed, bytes := box.counts(); completed != 0 || bytes != 0 {
		t.Errorf("%d completions and %d bytes are left", completed, bytes)
	}
}

func TestManyThreadsAtAChannelLoseNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const hosts, each = 8, 1000
	var drained atomic.Int64
	var all sync.WaitGroup
	for host := range hosts {
		all.Go(func() {
			for i := range each {
				token := uint64(host*each + i)
				operation := opEcho
				if i%4 == 0 {
					operation = opWait // until its cancel
				}
				if err := r.c.box.submit(pack(frame{token, operation, []byte(`1`)})); err != nil {
					t.Error(err)
				}
				_ = r.c.box.cancel(token)
				got, _, _ := r.drain(3)
				drained.Add(int64(len(got)))
			}
		})
	}
	all.Wait()
	r.await(hosts*each - int(drained.Load()))
	if completed, bytes := r.c.box.counts(); completed != 0 || bytes != 0 {
		t.Errorf("%d completions and %d bytes are left", completed, bytes)
	}
}

func TestWhatWasSubmittedBeforeTheEngineClosedCompletes(t *testing.T) {
	t.Parallel()
	for range 100 {
		r := newRig(t)
		r.submit(echoes(0, 20)...) // and most likely not taken yet
		if err := r.l.close(r.engine, patience); err != nil {
			t.Fatal(err)
		}
		for _, d := range r.await(20) {
			if d.code() != "" {
				t.Fatalf("token %d: %s", d.Token, d.Reply)
			}
		}
	}
}
