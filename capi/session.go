package main

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/libworkflows/libworkflows/core/failpoint"
	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/ops"
)

const (
	// lastWord is how long calls have to end after their context did. It is short,
	// because it comes on top of the grace that the caller of wf_close has given.
	lastWord = 200 * time.Millisecond
	// tidyingPatience bounds what is put back on behalf of a caller who is gone.
	tidyingPatience = 5 * time.Second
)

// session is one wf_open: its share of an engine, with all that it has in flight.
type session struct {
	engine *engine
	leave  func(*engine) (last bool)
	ctx    context.Context
	end    context.CancelCauseFunc
	calls  gate

	mu       sync.Mutex
	ended    bool
	channels map[*channel]struct{}
	workers  []json.RawMessage // the ids of those that it has started
}

func newSession(e *engine, leave func(*engine) bool) *session {
	ctx, end := context.WithCancelCause(context.Background())
	return &session{engine: e, leave: leave, ctx: ctx, end: end, channels: map[*channel]struct{}{}}
}

// operate runs one operation. Its caller is inside the gate.
func (s *session) operate(ctx context.Context, number uint16, request []byte) []byte {
	operation, err := ops.ByNumber(number)
	if err != nil {
		return ops.Failure(err)
	}
	if ctx.Err() != nil {
		return ops.Failure(context.Cause(ctx))
	}
	reply := s.engine.operate(ctx, operation, request)
	if code, failed := failureCode(reply); failed && ctx.Err() != nil && (code == fault.Cancelled || code == fault.Internal) {
		return ops.Failure(context.Cause(ctx)) // says who ended it
	}
	if id := startedWorker(number, reply); id != nil {
		s.noteWorker(id)
	}
	return reply
}

func (s *session) openChannel() (*channel, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, errClosed
	}
	c, err := newChannel(s, limits{maxWaiting, maxWaitingBytes})
	if err != nil {
		return nil, err
	}
	s.channels[c] = struct{}{}
	return c, nil
}

func (s *session) forgetChannel(c *channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.channels, c)
}

// close is called once. Nothing new comes in; what is in flight has its grace,
// is then cancelled, and completes with closed in any case.
func (s *session) close(grace time.Duration) error {
	deadline := time.Now().Add(grace)
	channels, workers := s.finish()
	for _, c := range channels {
		c.shut() // before the gate: what was submitted is in flight
	}
	s.calls.shut()
	spawn("draining the workers of a session", func() { s.drain(workers, grace) })
	s.calls.wait(grace)
	s.end(errClosed)
	s.calls.wait(lastWord)
	for _, c := range channels {
		c.finish()
	}
	if s.leave(s.engine) {
		return unclean(s.engine.close(remaining(deadline)))
	}
	return s.giveUp(workers, remaining(deadline))
}

// finish takes what has to be closed with the session. Nothing is added after it.
func (s *session) finish() (channels []*channel, workers []json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for c := range s.channels {
		channels = append(channels, c)
	}
	return channels, s.workers
}

// drain makes the session's workers claim no more while its calls end.
func (s *session) drain(workers []json.RawMessage, grace time.Duration) {
	failpoint.Pass("goroutine", "drain")
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	for _, id := range workers {
		s.engine.stop(ctx, id, true)
	}
}

// giveUp stops the session's workers in an engine that lives on: their leases
// would be kept alive by heartbeats, with nobody to run what they hold.
func (s *session) giveUp(workers []json.RawMessage, patience time.Duration) error {
	done := make(chan error, 1)
	spawn("stopping the workers of a session", func() {
		var err error = errUnclean // what a panic leaves
		defer func() { done <- err }()
		failpoint.Pass("goroutine", "give_up")
		ctx, cancel := context.WithTimeout(context.Background(), max(patience, tidyingPatience))
		defer cancel()
		for _, id := range workers {
			s.engine.stop(ctx, id, false)
		}
		err = nil
	})
	timer := time.NewTimer(max(patience, lastWord))
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return errUnclean
	}
}

// noteWorker remembers a worker, to stop it with the session. One that came too
// late for that is stopped at once.
func (s *session) noteWorker(id json.RawMessage) {
	s.mu.Lock()
	late := s.ended
	s.workers = append(s.workers, id)
	s.mu.Unlock()
	if late {
		_ = s.giveUp([]json.RawMessage{id}, 0)
	}
}

// startedWorker answers the id of the worker that an operation has started, or nil.
func startedWorker(number uint16, reply []byte) json.RawMessage {
	var answer struct {
		OK *struct {
			WorkerID json.RawMessage `json:"worker_id"`
		} `json:"ok"`
	}
	if number != opStartWorker || json.Unmarshal(reply, &answer) != nil || answer.OK == nil {
		return nil
	}
	return answer.OK.WorkerID
}

// putBack releases what a claim has won for a caller who is gone.
func (s *session) putBack(reply []byte) {
	var answer struct {
		OK *struct {
			Executions []struct {
				ID    json.RawMessage `json:"id"`
				Lease json.RawMessage `json:"lease"`
			} `json:"executions"`
		} `json:"ok"`
	}
	if json.Unmarshal(reply, &answer) != nil || answer.OK == nil {
		return
	}
	type item struct {
		ID     json.RawMessage     `json:"id"`
		Lease  json.RawMessage     `json:"lease"`
		Reason model.ReleaseReason `json:"reason"`
	}
	request := struct {
		Items []item `json:"items"`
	}{}
	for _, e := range answer.OK.Executions {
		request.Items = append(request.Items, item{e.ID, e.Lease, model.ReleaseDrain})
	}
	if len(request.Items) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), tidyingPatience)
		defer cancel()
		s.engine.ask(ctx, opRelease, request)
	}
}
