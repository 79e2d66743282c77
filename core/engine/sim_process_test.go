package engine

import (
	"context"
	"slices"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

// process is a simulated process: an engine whose loops do not run, so that the schedule
// says when each flush, beat, tick and claim happens, and a worker of it.
type process struct {
	*Engine
	sim      *simulation
	number   int
	worker   *worker
	life     context.Context
	kill     context.CancelFunc
	stalled  bool
	beaten   time.Time
	bodies   []*body
	warm     map[uuid.UUID]memo
	calls    []*call
	inFlight []*flight
}

// memo is a suspended workflow in a worker's memory.
type memo struct {
	token  uuid.UUID
	events []model.Event
}

// body is an execution that a worker has claimed.
type body struct {
	model.Claimed
	events   []model.Event
	position int
	writing  *call
}

// call is one call of the engine's interface, under way until a flush answers it.
type call struct {
	cancel context.CancelFunc
	done   chan func()
}

const (
	simTimeout  = time.Second
	simInterval = simTimeout / 4
	simSlots    = 4
)

func (s *simulation) newProcess(number int) *process {
	e := newEngine(s.db, settings{maxPayload: 1 << 20, maxHistory: 300, listenURL: listenOff})
	e.checked.Store(true)
	e.namesAreNew = true // or else none would begin early
	p := &process{Engine: e, sim: s, number: number, warm: map[uuid.UUID]memo{}}
	p.life, p.kill = context.WithCancel(e.ctx)
	if err := p.register(); err != nil {
		s.audit.fail("register: %v", err)
	}
	return p
}

func (p *process) register() error {
	request := model.StartWorkerRequest{
		Queues: []string{"default", "other"}, Language: []string{"a", "a", "b"}[p.number%3], Runtime: "1", SDKVersion: "1", Concurrency: simSlots,
		HeartbeatTimeoutMS: simTimeout.Milliseconds(), HeartbeatIntervalMS: simInterval.Milliseconds(), PollIntervalMS: 100, Warm: p.number != 1, Early: p.number == 0,
	}
	w := newWorker(p.Engine, uuid.New(), request)
	w.stop = func() {}
	close(w.stopped)
	p.worker = w
	p.workers[w.handle] = w
	return p.store.Register(p.life, w.id, request)
}

// start makes a call; then runs on its answer, unless nobody waits for it any more.
func (p *process) start(act func(ctx context.Context) (then func())) *call {
	ctx, cancel := context.WithCancel(p.life)
	c := &call{cancel: cancel, done: make(chan func(), 1)}
	p.calls = append(p.calls, c)
	go func() { c.done <- act(ctx) }()
	synctest.Wait()
	return c
}

// hear runs what follows the answers that have come.
func (p *process) hear() {
	synctest.Wait()
	p.calls = slices.DeleteFunc(p.calls, func(c *call) bool {
		select {
		case then := <-c.done:
			c.cancel()
			if then != nil {
				then()
			}
			return true
		default:
			return false
		}
	})
}

// flight is a batch on its way: all of its works, and those that still wait.
type flight struct{ all, left []*work }

// flush writes a batch: a new one, or once more one whose outcome is unknown. It says
// whether there was one.
func (p *process) flush(again bool) bool {
	f := p.depart(again)
	if f == nil {
		return false
	}
	f.left = withoutAbandoned(f.left)
	err := p.flusher.attempt(p.life, f.left)
	if err != nil {
		if f.left = withPatience(f.left, err); len(f.left) > 0 {
			p.inFlight = append(p.inFlight, f)
			return true
		}
	}
	p.flusher.over(f.all)
	p.hear()
	return true
}

func (p *process) depart(again bool) *flight {
	if n := len(p.inFlight); n > 0 && (again || n == lanes) {
		f := p.inFlight[0]
		p.inFlight = p.inFlight[1:]
		return f
	}
	works := p.departing()
	if len(works) == 0 { // a start may wait for what its code asks for
		time.Sleep(earlyPatience)
		works = p.departing()
	}
	if len(works) == 0 {
		return nil
	}
	return &flight{works, works}
}

func (p *process) departing() []*work {
	p.flusher.mu.Lock()
	defer p.flusher.mu.Unlock()
	return p.flusher.depart()
}

// flushAll writes until nothing waits.
func (p *process) flushAll() {
	for p.flush(true) {
		p.sim.db.fate = granted
	}
}

// beat renews the leases, and takes note of what the engine tells.
func (p *process) beat() {
	p.beaten = time.Now()
	_ = p.worker.beat(p.life)
	for _, n := range p.worker.takeNotices() {
		if b := p.body(n.ID); n.Lost && b != nil && b.Lease == n.Lease {
			p.drop(b)
		}
	}
}

// tick looks for what is due, as the engine's own does.
func (p *process) tick() {
	if !p.sim.closes() {
		_ = p.ticker.tick(p.life)
		return
	}
	p.sim.db.between = nil
	p.await(func(ctx context.Context) { _ = p.ticker.tick(ctx) })
}

// await runs what needs the flusher, to its end.
func (p *process) await(act func(ctx context.Context)) {
	over := false
	p.start(func(ctx context.Context) func() {
		act(ctx)
		return func() { over = true }
	})
	for p.hear(); !over; p.hear() {
		if !p.flush(true) {
			p.sim.audit.fail("an operation waits, and nothing is to be written")
			return
		}
	}
}

// retire ends a worker in good order.
func (p *process) retire() {
	p.bodies = nil
	p.await(func(ctx context.Context) { _, _ = p.stopWorker(ctx, p.worker) })
	if err := p.register(); err != nil {
		p.sim.replace(p)
	}
}

// claim takes what is due into the free slots.
func (p *process) claim() {
	w, n := p.worker, simSlots-len(p.bodies)
	if n <= 0 {
		return
	}
	w.rouse(0)
	w.slots.open(model.ClaimRequest{WorkerID: w.handle, N: n, WaitMS: 1000})
	claimed := w.collect(n)
	if len(claimed) == 0 {
		claimed, _ = w.look(p.life)
	}
	w.slots.close(true)
	for i := range claimed {
		p.begin(&claimed[i])
	}
}

func (p *process) begin(c *model.Claimed) {
	if old := p.body(c.ID); old != nil {
		p.drop(old)
	}
	b := &body{Claimed: *c, events: c.Events, position: c.Position}
	if c.After > 0 {
		b.events = append(slices.Clone(p.remembered(c)), c.Events...)
	}
	p.sim.logf("  process %d holds %s", p.number, p.sim.name(c.ID))
	p.sim.audit.given(b)
	p.bodies = append(p.bodies, b)
}

// remembered is what a warm worker has in memory, or else reads.
func (p *process) remembered(c *model.Claimed) []model.Event {
	if m := p.warm[c.ID]; c.PreviousToken != nil && m.token == *c.PreviousToken && len(m.events) == c.After {
		return m.events
	}
	return p.sim.db.state.Find(c.ID).Events(0)[:c.After]
}

func (p *process) body(id uuid.UUID) *body {
	for _, b := range p.bodies {
		if b.ID == id {
			return b
		}
	}
	return nil
}

func (p *process) drop(b *body) {
	p.bodies = slices.DeleteFunc(p.bodies, func(x *body) bool { return x == b })
}

// die is kill -9: nobody hears what its calls come to.
func (p *process) die() {
	p.kill()
	p.end()
	synctest.Wait()
}

// act takes a body one write further. Choices other than 0 are what goes wrong.
func (p *process) act(b *body, choice int) {
	switch {
	case b.writing != nil && choice == 4: // it gives the call up, and will repeat it
		b.writing.cancel()
		p.hear()
	case b.writing != nil:
	case b.Kind == model.Workflow:
		p.advance(b, choice)
	case b.Name == poison:
		p.sim.logf("  %s kills process %d", p.sim.name(b.ID), p.number)
		p.sim.replace(p)
	default:
		p.run(b, choice)
	}
}

// poison is the name of jobs that kill their process.
const poison = "poison"

func (p *process) run(b *body, choice int) {
	if b.Name == "a3" && choice == 0 {
		choice = 3 // always fails
	}
	switch choice {
	case 1, 2:
		p.release(b, []model.ReleaseReason{model.ReleaseDrain, model.ReleaseNoFunction}[choice-1])
	case 3, 5:
		failure := model.Payload(`{"type":"Wrong","message":"m"}`)
		if choice == 5 {
			failure = model.Payload(`{"type":"Wrong","message":"m","non_retryable":true}`)
		}
		p.write(b, func(ctx context.Context) (model.OutcomeReply, error) {
			return p.FailExecution(ctx, model.FailExecutionRequest{Items: []model.Failure{{ID: b.ID, Lease: b.Lease, Error: failure}}})
		})
	case 6:
		b.writing = p.start(func(ctx context.Context) func() {
			_, _ = p.Heartbeat(ctx, model.HeartbeatRequest{WorkerID: p.worker.handle, Items: []model.Progress{{ID: b.ID, Lease: b.Lease, Progress: model.Payload("1")}}})
			return func() { b.writing = nil }
		})
	default:
		p.write(b, func(ctx context.Context) (model.OutcomeReply, error) {
			return p.CompleteExecution(ctx, model.CompleteExecutionRequest{Items: []model.Completion{{ID: b.ID, Lease: b.Lease, Result: model.Payload(`"` + b.ID.String() + `"`)}}})
		})
	}
}

func (p *process) advance(b *body, choice int) {
	if choice >= 1 && choice <= 3 {
		p.release(b, []model.ReleaseReason{model.ReleaseDrain, model.ReleaseNoFunction, model.ReleaseNonDeterminism}[choice-1])
		return
	}
	d := replay(b.Name, b.Run, b.events, p.sim.newID)
	if d.broken != "" {
		p.sim.audit.fail("%s cannot be replayed: %s", p.sim.name(b.ID), d.broken)
		return
	}
	p.sim.audit.steps(b, d.steps)
	a := model.Advance{
		ID: b.ID, Lease: b.Lease, Position: b.position, Events: d.steps, Commands: d.commands, Then: d.then, Carry: d.carry,
		Result: model.Payload(`"` + b.ID.String() + `"`), Args: model.Payload("[1]"),
	}
	if d.then == model.ThenFail {
		a.Error = model.Payload(`{"type":"Failed","message":"m","sequence":` + itoa(d.failed) + `}`)
	}
	if choice == 6 && d.then == model.ThenSuspend {
		a.Then = model.ThenKeep
	}
	p.write(b, func(ctx context.Context) (model.OutcomeReply, error) {
		return p.AdvanceWorkflow(ctx, model.AdvanceWorkflowRequest{Items: []model.Advance{a}})
	})
}

func (p *process) write(b *body, act func(ctx context.Context) (model.OutcomeReply, error)) {
	b.writing = p.start(func(ctx context.Context) func() {
		reply, err := act(ctx)
		return func() {
			b.writing = nil
			if err == nil {
				p.answered(b, reply.Results[0])
			}
		}
	})
}

func (p *process) answered(b *body, r model.Result[model.Advanced]) {
	switch {
	case isLost(r.Error):
		p.drop(b)
	case r.Error != nil:
	case r.OK.Status == model.Running:
		b.events, b.position = append(b.events, r.OK.Events...), r.OK.Position
		if len(b.events) != b.position && p.sim.db.state.IsHeld(p.sim.db.state.Find(b.ID), b.Lease) {
			p.sim.audit.fail("%s is at position %d and has %d events", p.sim.name(b.ID), b.position, len(b.events))
		}
	case r.OK.Status == model.Suspended:
		p.warm[b.ID] = memo{b.Lease.Token, append(b.events, r.OK.Events...)}
		p.drop(b)
	default:
		p.drop(b)
	}
}

func isLost(err error) bool {
	return fault.CodeOf(err) == fault.LeaseLost || fault.CodeOf(err) == fault.ExecutionNotFound
}

func (p *process) release(b *body, reason model.ReleaseReason) {
	b.writing = p.start(func(ctx context.Context) func() {
		reply, err := p.Release(ctx, model.ReleaseRequest{Items: []model.Release{{ID: b.ID, Lease: b.Lease, Reason: reason, Message: "m"}}})
		return func() {
			b.writing = nil
			if err == nil && (reply.Results[0].OK != nil || isLost(reply.Results[0].Error)) {
				p.drop(b)
			}
		}
	})
}
