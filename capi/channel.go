package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/libworkflows/libworkflows/core/failpoint"
	"github.com/libworkflows/libworkflows/core/ops"
)

// channel runs what the host leaves in its mailbox.
//
// A request is in use from the submission until its completion is drained, and
// completes exactly once: complete finds how to end its context, or somebody else did.
type channel struct {
	session *session
	ctx     context.Context
	end     context.CancelCauseFunc
	box     *mailbox

	taking sync.Mutex // held until what was taken is in flight

	mu      sync.Mutex
	cancels map[uint64]context.CancelCauseFunc // of what is in flight, by token
	workers []json.RawMessage                  // the ids of those that were started over it
}

// lookEvery is how often a channel with workers looks whether its host is still there.
const lookEvery = 2 * time.Second

func newChannel(s *session, most limits) (*channel, error) {
	box, err := newMailbox(most)
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancelCause(s.ctx)
	c := &channel{session: s, ctx: ctx, end: end, box: box, cancels: map[uint64]context.CancelCauseFunc{}}
	spawnLoop("a channel", c.serve)
	return c, nil
}

// serve starts what comes until the channel is closed.
func (c *channel) serve() {
	failpoint.Pass("goroutine", "channel")
	for c.box.listen() {
		c.take()
	}
}

// take starts what has come, all that gathered at once.
func (c *channel) take() {
	c.taking.Lock()
	defer c.taking.Unlock()
	for _, n := range c.box.take() {
		c.heed(n)
	}
}

// heed sees to one thing that the host has asked for. A panic is the end of that alone.
func (c *channel) heed(n note) {
	defer func() {
		if r := recover(); r != nil {
			logPanic("a channel", r)
			c.complete(completion{n.token, n.operation, ops.Failure(errPanicked)})
		}
	}()
	if n.cancel {
		c.cancel(n.token)
	} else {
		c.start(n)
	}
}

func (c *channel) start(n note) {
	ctx := c.enter(n.token)
	switch {
	case n.refused > 0:
		c.complete(completion{n.token, n.operation, ops.Failure(tooLarge(n.refused))})
	case !c.session.calls.enter(1): // the channel was closed, and the engine after it
		c.complete(completion{n.token, n.operation, ops.Failure(errClosed)})
	default:
		theCrew.run(func() { c.run(ctx, n.frame) })
	}
}

// enter makes the context of a request.
func (c *channel) enter(token uint64) context.Context {
	ctx, cancel := context.WithCancelCause(c.ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancels[token] = cancel
	return ctx
}

// run completes a request even if the operation panics: its caller waits for it.
func (c *channel) run(ctx context.Context, f frame) {
	defer c.session.calls.leave()
	reply := ops.Failure(errPanicked)
	defer func() { c.complete(completion{f.token, f.operation, reply}) }()
	failpoint.Pass("goroutine", "request")
	reply = c.session.operate(ctx, f.operation, f.request)
	if id := startedWorker(f.operation, reply); id != nil {
		c.mind(id)
	}
}

// mind sees to it that a worker does not outlive the thread that drains the channel: one that
// was ended from outside closes nothing, while heartbeats would keep for ever what it held.
func (c *channel) mind(worker json.RawMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.workers = append(c.workers, worker)
	if len(c.workers) == 1 {
		spawnLoop("minding the host of a channel", c.look)
	}
}

func (c *channel) look() {
	failpoint.Pass("goroutine", "look")
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var s stall
	for found := c.box.look(); found != hostIsGone; found = c.box.look() {
		if level, said := s.note(found == hostIsStalled); said != "" {
			slog.Log(c.ctx, level, said, "pid", os.Getpid())
		}
		if s.looks >= deafLooks {
			c.recall()
		}
		select {
		case <-ticker.C:
		case <-c.ctx.Done():
			return
		}
	}
	slog.Warn("a thread has ended without closing its channel; what its workers held is put back")
	c.close()
	c.mu.Lock()
	workers := c.workers
	c.mu.Unlock()
	_ = c.session.giveUp(workers, 0)
}

// A claim that won something, which was not heard, is answered as one that did not.
var (
	someClaimed    = []byte(`{"ok":{"executions":[{`)
	nothingClaimed = []byte(`{"ok":{"executions":[]}}`)
)

// recall puts back what claims have won for a host that does not come for it: others can run it.
func (c *channel) recall() {
	for done, found := c.box.recall(opClaim, someClaimed, nothingClaimed); found; done, found = c.box.recall(opClaim, someClaimed, nothingClaimed) {
		c.discard(done)
	}
}

// stall counts looks at a host that does not take what is there for it: its event loop is held up.
type stall struct{ looks int }

// After deafLooks in a row, of which the first may have been at a reply that had just come, the host
// is not waited for with what others can run; after stalledLooks it is told of.
const (
	deafLooks    = 2
	stalledLooks = 3
)

// note counts a look, and answers what is to be said of it: nothing, mostly.
func (s *stall) note(stalled bool) (level slog.Level, said string) {
	was := s.looks
	if s.looks++; !stalled {
		s.looks = 0
	}
	switch {
	case s.looks == stalledLooks:
		return slog.LevelWarn, "the event loop of this process has taken no reply for more than " + (lookEvery * (stalledLooks - 1)).String() +
			": something blocks its thread, such as a call that waits or computes; what it runs keeps its leases, and what it was to run goes to others"
	case s.looks == 0 && was >= stalledLooks:
		return slog.LevelInfo, fmt.Sprintf("the event loop of this process goes on, after some %s", time.Duration(was)*lookEvery)
	}
	return 0, ""
}

// complete is the only place where a request ends. One that has ended already
// was ended by finish, and its reply is for nobody.
func (c *channel) complete(done completion) {
	if !c.leave(done.token) {
		c.discard(done)
		return
	}
	posted, err := c.box.complete(done)
	for ; err != nil; time.Sleep(noMemoryPause) {
		c.discard(done)
		done = completion{token: done.token, reply: ops.Failure(errNoMemory)}
		posted, err = c.box.complete(done)
	}
	if !posted {
		c.discard(done)
	}
}

// leave says whether the request was still in flight.
func (c *channel) leave(token uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	cancel, found := c.cancels[token]
	if found {
		delete(c.cancels, token)
		cancel(nil) // lets go of the context
	}
	return found
}

func (c *channel) cancel(token uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cancel, found := c.cancels[token]; found {
		cancel(errCancelled)
	}
}

// shut lets nothing more in. What was let in is in flight when it returns.
func (c *channel) shut() {
	c.box.shut()
	c.take()
}

// finish completes with closed what did not end although it was cancelled.
func (c *channel) finish() {
	for _, token := range c.inFlight() {
		c.complete(completion{token: token, reply: ops.Failure(errClosed)})
	}
	c.box.deafen()
}

func (c *channel) inFlight() (tokens []uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for token := range c.cancels {
		tokens = append(tokens, token)
	}
	return tokens
}

// close drops everything. What a claim has won is put back.
func (c *channel) close() {
	c.session.forgetChannel(c)
	c.end(errClosed)
	for _, done := range c.box.drop() {
		c.discard(done)
	}
	c.box.deafen()
}

// discard sees to a completion that nobody will read.
func (c *channel) discard(done completion) {
	if done.operation == opClaim {
		spawn("putting back a claim", func() {
			failpoint.Pass("goroutine", "put_back")
			c.session.putBack(done.reply)
		})
	}
}
