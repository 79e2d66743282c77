package main

import (
	"context"
	"sync"
	"time"

	"github.com/libworkflows/libworkflows/core/ops"
)

type stage int

const (
	open     stage = iota
	shutting       // takes nothing more; what is in flight will complete
	finished       // nothing more will complete; what did can be drained
	dropped        // nothing can be drained
)

// channel takes requests without waiting for their replies.
//
// A request is in use from the submission until its completion is drained, and
// completes exactly once: complete finds its entry, or somebody else was there.
type channel struct {
	session *session
	ctx     context.Context
	end     context.CancelCauseFunc

	mu       sync.Mutex
	stage    stage
	most     limits
	requests map[uint64]*request // in use, by token
	inFlight int                 // of these
	bytes    int                 // of requests in flight and completions
	done     queue
	news     chan struct{} // made by who waits; closed when there is something to drain, or never will be
	watchers watchers
}

// limits bound what a channel holds. Tests have smaller ones.
type limits struct{ requests, bytes int }

type request struct {
	size   int
	cancel context.CancelCauseFunc // nil once it has completed
}

func newChannel(s *session) *channel {
	ctx, end := context.WithCancelCause(s.ctx)
	return &channel{session: s, ctx: ctx, end: end, most: limits{maxWaiting, maxWaitingBytes}, requests: map[uint64]*request{}}
}

// submit takes all packed requests or none, and waits for nothing.
func (c *channel) submit(packed []byte) error {
	frames, err := parseFrames(packed)
	if err != nil {
		return err
	}
	for i := range frames {
		frames[i] = frames[i].own()
	}
	contexts, err := c.take(frames, len(packed))
	if err != nil {
		return err
	}
	for i, f := range frames {
		theCrew.run(func() { c.run(contexts[i], f) })
	}
	return nil
}

// take enters requests and answers the context of each.
func (c *channel) take(frames []frame, size int) ([]context.Context, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := len(c.requests)
	switch {
	case c.stage != open:
		return nil, errClosed
	case !c.unused(frames):
		return nil, errMalformed
	case waiting+len(frames) > c.most.requests, waiting > 0 && c.bytes+size > c.most.bytes:
		return nil, errBusy
	case !c.session.calls.enter(len(frames)):
		return nil, errClosed
	}
	contexts := make([]context.Context, len(frames))
	for i, f := range frames {
		ctx, cancel := context.WithCancelCause(c.ctx)
		c.requests[f.token] = &request{size: len(f.request), cancel: cancel}
		contexts[i] = ctx
		c.bytes += len(f.request)
	}
	c.inFlight += len(frames)
	return contexts, nil
}

// unused says whether the tokens are neither in use nor given twice.
func (c *channel) unused(frames []frame) bool {
	seen := make(map[uint64]struct{}, len(frames))
	for _, f := range frames {
		if _, taken := c.requests[f.token]; taken {
			return false
		}
		seen[f.token] = struct{}{}
	}
	return len(seen) == len(frames)
}

// run completes a request even if the operation panics: its caller waits for it.
func (c *channel) run(ctx context.Context, f frame) {
	defer c.session.calls.leave()
	reply := ops.Failure(errPanicked)
	defer func() { c.complete(completion{f.token, f.operation, reply}) }()
	reply = c.session.operate(ctx, f.operation, f.request)
}

// complete is the only place where a request ends. One that has ended already
// was ended by the channel, and its reply is for nobody.
func (c *channel) complete(done completion) {
	c.mu.Lock()
	r, found := c.requests[done.token]
	if !found || r.cancel == nil {
		c.mu.Unlock()
		c.discard(done)
		return
	}
	defer c.mu.Unlock()
	r.cancel(nil) // lets go of the context
	r.cancel = nil
	c.inFlight--
	c.bytes += len(done.reply) - r.size
	r.size = len(done.reply)
	c.done.push(done)
	if c.done.len() == 1 {
		c.watchers.wake()
		c.announce()
	}
	c.settle()
}

// settle ends a channel that is shutting once nothing is in flight.
func (c *channel) settle() {
	if c.stage == shutting && c.inFlight == 0 {
		c.stage = finished
		c.watchers.close()
		c.announce()
	}
}

// announce ends every wait.
func (c *channel) announce() {
	if c.news != nil {
		close(c.news)
		c.news = nil
	}
}

// drain takes up to most completions. allocate is given their size, and answers
// nil when memory has run out: then nothing is taken.
func (c *channel) drain(most int, allocate func(size int) []byte) (left int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done.len() == 0 && c.stage >= finished {
		return 0, errClosed
	}
	n, size := c.portion(most)
	if n == 0 {
		return c.done.len(), nil
	}
	room := allocate(size)
	if room == nil {
		return 0, errNoMemory
	}
	out := room[:0]
	out = append(out, '[')
	for _, done := range c.done.first(n) {
		out = append(done.appendTo(out), ',')
		c.bytes -= len(done.reply)
		delete(c.requests, done.token)
	}
	out[len(out)-1] = ']'
	c.done.drop(n)
	return c.done.len(), nil
}

// portion says how many completions one drain takes, and the size of their text.
func (c *channel) portion(most int) (n, size int) {
	size = len("[")
	for _, done := range c.done.first(min(most, c.done.len())) {
		if n > 0 && size+done.size() > maxDrain {
			break
		}
		n++
		size += done.size()
	}
	return n, size
}

// wait ends when there is something to drain.
func (c *channel) wait(timeout time.Duration) error {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		news, err := c.look()
		if news == nil {
			return err
		}
		select {
		case <-news:
		case <-timer.C:
			return errTimeout
		}
	}
}

// look answers nil and nil if there is something to drain, and else what to wait for.
func (c *channel) look() (news <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.done.len() > 0:
		return nil, nil
	case c.stage >= finished:
		return nil, errClosed
	case c.news == nil:
		c.news = make(chan struct{})
	}
	return c.news, nil
}

func (c *channel) cancel(token uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stage >= finished {
		return errClosed
	}
	if r, found := c.requests[token]; found && r.cancel != nil {
		r.cancel(errCancelled)
	}
	return nil
}

// watch answers a new descriptor to poll. The caller closes it.
func (c *channel) watch() (fd int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stage >= finished {
		return 0, errClosed
	}
	return c.watchers.add(c.done.len() > 0)
}

// shut lets nothing more in.
func (c *channel) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stage == open {
		c.stage = shutting
		c.settle()
	}
}

// finish completes with closed what did not end although it was cancelled.
func (c *channel) finish() {
	c.mu.Lock()
	var stuck []uint64
	for token, r := range c.requests {
		if r.cancel != nil {
			stuck = append(stuck, token)
		}
	}
	c.mu.Unlock()
	for _, token := range stuck {
		c.complete(completion{token: token, reply: ops.Failure(errClosed)})
	}
}

// close drops everything. What a claim has won is put back.
func (c *channel) close() {
	c.session.forgetChannel(c)
	c.end(errClosed)
	for _, done := range c.drop() {
		c.discard(done)
	}
}

func (c *channel) drop() []completion {
	c.mu.Lock()
	defer c.mu.Unlock()
	undrained := append([]completion{}, c.done.first(c.done.len())...)
	c.stage, c.done, c.requests = dropped, queue{}, nil
	c.watchers.close()
	c.announce()
	return undrained
}

// discard sees to a completion that nobody will read.
func (c *channel) discard(done completion) {
	if done.operation == opClaim {
		spawn("putting back a claim", func() { c.session.putBack(done.reply) })
	}
}
