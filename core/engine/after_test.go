package engine

import (
	"context"
	"testing"
	"time"
)

// What a timer or the end of a context calls is called again after a panic.
func TestACallbackThatPanicsIsCalledOnceMore(t *testing.T) {
	t.Parallel()
	e := &Engine{ctx: t.Context()}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, start := range map[string]func(func()){
		"of a timer":   func(call func()) { e.after(time.Nanosecond, "a test", call) },
		"of a context": func(call func()) { e.whenDone(ctx, "a test", call) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			called := make(chan int, 3)
			n := 0
			start(func() {
				n++
				called <- n
				panic("as the test wants it")
			})
			if first, second := <-called, <-called; first != 1 || second != 2 {
				t.Errorf("called %d, %d", first, second)
			}
			select {
			case n := <-called:
				t.Errorf("called %d times", n)
			case <-time.After(20 * time.Millisecond):
			}
		})
	}
}
