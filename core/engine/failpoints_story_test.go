//go:build failpoints

package engine

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

// story is a life of executions that passes every statement which a worker or a client
// sends. Whoever lives it again after a death says the same, and everything ends the same.
type story struct {
	*world
	client, worker *Engine
	id             uuid.UUID // of the worker
	running        sync.WaitGroup
}

const hour = 3_600_000

// ends are all executions that somebody starts, and how they end.
var ends = map[string]model.Status{
	"ok": model.Completed, "timed": model.Completed, "held": model.Completed, "held_timed": model.Completed,
	"flaky": model.Completed, "broken": model.Completed, "missing": model.Completed,
	"slow": model.Cancelled, "early": model.Cancelled, "doomed": model.Failed,
	"prompt": model.Completed, "flow": model.Completed, "parked": model.Completed, "nurse": model.Completed,
	"orphan": model.Completed, "hopeless": model.Failed, "suspect": model.Completed,
}

// wreck leaves what a worker held that died an hour ago: once, and for the third time; and
// what has killed two, and is to run alone, but not before the others have begun.
func (s *story) wreck() {
	s.Helper()
	worker := s.named("dead worker")
	s.exec(`INSERT INTO workflows.workers (id, name, queues, concurrency, language, runtime, sdk_version, status, heartbeat_timeout_ms, started_at, heartbeat_at)
		VALUES ($1, '', '{default}', 1, 'test', '', '', 'active', 100, now() - interval '1 hour', now() - interval '1 hour')`, worker)
	for name, crashes := range map[string]int{"orphan": 0, "hopeless": 2, "suspect": 2} {
		s.start(s.Engine, model.NewExecution{Kind: model.Job, Name: name, DelayMS: hour})
		if name == "suspect" {
			s.exec(`UPDATE workflows.executions SET run_at = now() + interval '500 ms', crashes = $2 WHERE id = $1`, s.named(name), crashes)
			continue
		}
		s.exec(`UPDATE workflows.executions SET status = 'running', worker = $2, epoch = 1, token = gen_random_uuid(), attempts = 1, crashes = $3, alone = $3 > 0 WHERE id = $1`, s.named(name), worker, crashes)
	}
}

// start creates an execution under its name, which may be there already.
func (s *story) start(e *Engine, n model.NewExecution) {
	s.Helper()
	id := s.named(n.Name)
	n.ID = &id
	if _, err := e.CreateExecution(s.ctx, model.CreateExecutionRequest{Items: []model.NewExecution{n}}); err != nil {
		s.Fatalf("starting %s: %v", n.Name, err)
	}
}

func newStory(w *world) *story { return &story{world: w} }

// live is the whole of it.
func (s *story) live() {
	s.Helper()
	s.client, s.worker = s.another(model.Config{PoolSize: 3}), s.another(model.Config{PoolSize: 3})
	reply, err := s.worker.StartWorker(s.ctx, model.StartWorkerRequest{
		Queues: []string{"default"}, Language: "test", Concurrency: 20, HeartbeatTimeoutMS: 800, HeartbeatIntervalMS: 150, PollIntervalMS: 40, Early: true,
	})
	if err != nil {
		s.Fatalf("start worker: %v", err)
	}
	s.id = reply.WorkerID
	var claims sync.WaitGroup
	claims.Go(s.work)
	s.eventually("a claim that waits", func() bool {
		w, err := s.worker.findWorker(s.id)
		if err != nil {
			return false
		}
		_, timed := s.worker.clock.now()
		w.slots.mu.Lock()
		defer w.slots.mu.Unlock()
		return timed && w.slots.waiting && w.slots.reserved == 0 && w.slots.free > 0
	})
	s.ask()
	for name := range ends {
		s.reaches(name, func(x model.Execution) bool { return x.Status.Final() && (name != "broken" || x.Run > 1) })
	}
	if _, err := s.worker.StopWorker(s.ctx, model.StopWorkerRequest{WorkerID: s.id}); err != nil {
		s.Errorf("stop worker: %v", err)
	}
	claims.Wait()
	s.running.Wait()
}

// ask is what clients do.
func (s *story) ask() {
	s.Helper()
	job := func(name string) model.NewExecution { return model.NewExecution{Kind: model.Job, Name: name} }
	with := func(n model.NewExecution, mend func(*model.NewExecution)) model.NewExecution { mend(&n); return n }
	s.worker.namesAreNew = true
	s.start(s.worker, model.NewExecution{Kind: model.Workflow, Name: "prompt"})
	s.start(s.worker, job("held"))
	s.start(s.worker, with(job("held_timed"), func(n *model.NewExecution) { n.TimeoutMS = hour }))
	s.start(s.client, with(job("ok"), func(n *model.NewExecution) { n.IdempotencyKey = pointer("once") }))
	s.start(s.client, with(job("timed"), func(n *model.NewExecution) { n.TimeoutMS = hour }))
	s.start(s.client, with(job("doomed"), func(n *model.NewExecution) { n.DelayMS, n.TimeoutMS = hour, 30 }))
	s.start(s.client, with(job("early"), func(n *model.NewExecution) { n.DelayMS = hour }))
	s.start(s.worker, with(job("flaky"), func(n *model.NewExecution) {
		n.Retry = &model.RetryPolicy{InitialMS: pointer(int64(20)), Jitter: pointer(0.0)}
	}))
	for _, name := range []string{"broken", "missing", "slow"} {
		s.start(s.worker, job(name))
	}
	for _, name := range []string{"flow", "parked", "nurse"} {
		s.start(s.client, model.NewExecution{Kind: model.Workflow, Name: name})
	}
	for _, signal := range []string{"go", "first", "second"} {
		reply, err := s.client.SendSignal(s.ctx, model.SendSignalRequest{Items: []model.Signal{{ID: s.named("flow"), Name: signal, IdempotencyKey: &signal}}})
		if err != nil || reply.Results[0].Error != nil && fault.CodeOf(reply.Results[0].Error) != fault.ExecutionFinished {
			s.Fatalf("signal: %s, %v", asText(reply), err)
		}
	}
	s.change("early", "cancel")
	s.reaches("slow", func(x model.Execution) bool { return x.Progress != nil || x.Status.Final() })
	s.change("slow", "cancel")
	s.reaches("parked", func(x model.Execution) bool { return x.Parked != nil || x.Status.Final() })
	s.change("parked", "resume")
	if x := s.reaches("broken", func(x model.Execution) bool { return x.Status.Final() || x.Run > 1 }); x.Run == 1 {
		s.change("broken", "retry")
	}
	// Who waits for what somebody else has started, without having said so.
	if _, err := s.client.WaitExecution(s.ctx, model.WaitExecutionRequest{ID: s.named("flow"), WaitMS: 20_000}); err != nil {
		s.Errorf("wait: %v", err)
	}
}

func (s *story) change(name, how string) {
	s.Helper()
	act := map[string]func(*Engine) (model.ChangeReply, error){
		"cancel": func(e *Engine) (model.ChangeReply, error) { return e.CancelExecution(s.ctx, s.target(name)) },
		"resume": func(e *Engine) (model.ChangeReply, error) { return e.ResumeWorkflow(s.ctx, s.target(name)) },
		"retry":  func(e *Engine) (model.ChangeReply, error) { return e.RetryExecution(s.ctx, s.target(name)) },
	}[how]
	if reply, err := act(s.client); err != nil || reply.Results[0].Error != nil {
		s.Fatalf("%s %s: %s, %v", how, name, asText(reply), err)
	}
}

func (s *story) target(name string) model.TargetsRequest {
	return model.TargetsRequest{Items: []model.Target{{ID: s.named(name)}}}
}

// reaches waits for an execution to stand as it should.
func (s *story) reaches(name string, holds func(model.Execution) bool) (x model.Execution) {
	s.Helper()
	for deadline := time.Now().Add(patienceInTests); ; time.Sleep(5 * time.Millisecond) {
		x = s.look(name)
		if holds(x) {
			return x
		}
		if time.Now().After(deadline) {
			s.Fatalf("%s stands as %s", name, asText(x))
		}
	}
}

func (s *story) look(name string) model.Execution {
	s.Helper()
	x, err := s.client.GetExecution(s.ctx, model.GetExecutionRequest{ID: s.named(name)})
	if err != nil {
		s.Fatalf("get %s: %v", name, err)
	}
	return x
}

// work claims and runs until the worker is stopped.
func (s *story) work() {
	for {
		reply, err := s.worker.Claim(s.ctx, model.ClaimRequest{WorkerID: s.id, N: 20, WaitMS: 500})
		if code := fault.CodeOf(err); code == fault.WorkerNotFound || reply.Draining || s.ctx.Err() != nil {
			return
		}
		for _, c := range reply.Executions {
			s.running.Go(func() { s.run(c) })
		}
	}
}

// run is a body. What a lost lease refuses is somebody else's by now.
func (s *story) run(c model.Claimed) {
	e, ctx := s.worker, s.ctx
	fail := func(final bool) {
		_, _ = e.FailExecution(ctx, model.FailExecutionRequest{Items: []model.Failure{{ID: c.ID, Lease: c.Lease, Error: model.Payload(
			`{"type":"Wrong","message":"as the story wants it","non_retryable":` + map[bool]string{true: "true", false: "false"}[final] + `}`)}}})
	}
	release := func(reason model.ReleaseReason) {
		_, _ = e.Release(ctx, model.ReleaseRequest{Items: []model.Release{{ID: c.ID, Lease: c.Lease, Reason: reason}}})
	}
	first := func() bool {
		x, err := s.client.GetExecution(ctx, model.GetExecutionRequest{ID: c.ID})
		return err == nil && x.Releases == 0
	}
	switch {
	case c.Name == "flow":
		s.flow(c)
	case c.Name == "nurse":
		child := schedule(1, model.Job, "infant")
		child.Execution.DelayMS = hour
		s.advanceTo(c, model.Advance{Then: model.ThenComplete, Position: c.Position, Commands: []model.Command{child}})
	case c.Name == "flaky" && c.Attempt == 1:
		fail(false)
	case c.Name == "broken" && c.Run == 1:
		fail(true)
	case c.Name == "missing" && first():
		release(model.ReleaseNoFunction)
	case c.Name == "parked" && first():
		release(model.ReleaseNonDeterminism)
	case c.Name == "slow":
		s.slow(c)
		release(model.ReleaseDrain)
	default:
		_, _ = e.CompleteExecution(ctx, model.CompleteExecutionRequest{Items: []model.Completion{{ID: c.ID, Lease: c.Lease, Position: c.Position, Result: model.Payload(`"` + c.Name + `"`)}}})
	}
}

// slow reports progress until somebody asks it to stop.
func (s *story) slow(c model.Claimed) {
	for asked := c.CancelRequested; !asked && s.ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		_, err := s.worker.Heartbeat(s.ctx, model.HeartbeatRequest{WorkerID: s.id, Items: []model.Progress{{ID: c.ID, Lease: c.Lease, Progress: model.Payload(`1`)}}})
		x, readErr := s.client.GetExecution(s.ctx, model.GetExecutionRequest{ID: c.ID})
		asked = err != nil || readErr != nil || x.CancelRequestedAt != nil || x.Status.Final()
	}
}

// stage is something that the flow does once, and what it then waits for.
type stage struct {
	commands []model.Command
	step     bool // instead
	keeps    bool // it goes on at once
	done     []model.EventType
}

// stages pass each of the statements for an advance.
func stages() []stage {
	later := func(c model.Command, ms int64) model.Command { c.Execution.DelayMS = ms; return c }
	cancel := func(sequence int) model.Command {
		return model.Command{Type: model.CommandCancel, Sequence: sequence}
	}
	return []stage{
		{commands: []model.Command{{Type: model.CommandSetState, Sequence: 1, State: model.Payload(`"begun"`)}}, keeps: true, done: []model.EventType{"1 state_set"}},
		{step: true, keeps: true, done: []model.EventType{"2 step_completed"}},
		{commands: []model.Command{schedule(3, model.Activity, "a"), schedule(4, model.Workflow, "kid")}, done: []model.EventType{"3 activity_completed", "4 child_completed"}},
		{commands: []model.Command{later(schedule(5, model.Activity, "late"), 20)}, done: []model.EventType{"5 activity_completed"}},
		{commands: []model.Command{timer(6, 20)}, done: []model.EventType{"6 timer_fired"}},
		{commands: []model.Command{schedule(7, model.Activity, "b"), timer(8, 20)}, done: []model.EventType{"7 activity_completed", "8 timer_fired"}},
		{commands: []model.Command{timer(9, hour), later(schedule(10, model.Activity, "never"), hour)}, keeps: true, done: []model.EventType{"9 timer_started", "10 activity_scheduled"}},
		{commands: []model.Command{cancel(9), cancel(10)}, keeps: true, done: []model.EventType{"9 timer_cancelled", "10 activity_cancelled"}},
		{commands: []model.Command{schedule(11, model.Activity, "c")}, done: []model.EventType{"11 activity_completed"}},
	}
}

// flow replays its history and does what comes next, until it waits or ends.
func (s *story) flow(c model.Claimed) {
	for events, position := c.Events, c.Position; ; {
		next := s.next(c, events)
		next.Position = position
		reply, held := s.advanceTo(c, next)
		if !held || reply.Status != model.Running {
			return
		}
		events, position = append(events, reply.Events...), reply.Position
	}
}

func (s *story) next(c model.Claimed, events []model.Event) model.Advance {
	var names []string
	for _, e := range events {
		if e.Type == model.EventSignalReceived {
			names = append(names, *e.Name)
		}
	}
	if c.Run > 1 {
		if len(names) < 2 {
			return model.Advance{Then: model.ThenSuspend}
		}
		return model.Advance{Then: model.ThenComplete, Result: model.Payload(`"` + strings.Join(names, " ") + `"`)}
	}
	for _, stage := range stages() {
		switch seen := stage.seen(events); {
		case seen == len(stage.done):
		case stage.begun(events):
			return model.Advance{Then: model.ThenSuspend}
		default:
			return stage.advance()
		}
	}
	if len(names) < 3 { // all that are sent, whenever a death has come between
		return model.Advance{Then: model.ThenSuspend}
	}
	next := model.Advance{Then: model.ThenContinue}
	for _, e := range events {
		if e.Type == model.EventSignalReceived && *e.Name != "go" {
			next.Carry = append(next.Carry, e.Position)
		}
	}
	return next
}

func (g stage) advance() model.Advance {
	a := model.Advance{Then: model.ThenSuspend, Commands: g.commands}
	if g.keeps {
		a.Then = model.ThenKeep
	}
	if g.step {
		a.Events = []model.StepEvent{{Type: model.EventStepCompleted, Sequence: 2, Name: "step", Payload: model.Payload(`2`)}}
	}
	return a
}

// seen counts what of its ends the history has.
func (g stage) seen(events []model.Event) (n int) {
	for _, done := range g.done {
		sequence, kind, _ := strings.Cut(string(done), " ")
		if slices.ContainsFunc(events, func(e model.Event) bool {
			return e.Sequence != nil && asText(*e.Sequence) == sequence && string(e.Type) == kind
		}) {
			n++
		}
	}
	return n
}

func (g stage) begun(events []model.Event) bool {
	return len(g.commands) > 0 && g.commands[0].Type != model.CommandCancel &&
		slices.ContainsFunc(events, func(e model.Event) bool { return e.Sequence != nil && *e.Sequence == g.commands[0].Sequence })
}

func (s *story) advanceTo(c model.Claimed, a model.Advance) (reply model.Advanced, held bool) {
	a.ID, a.Lease = c.ID, c.Lease
	out, err := s.worker.AdvanceWorkflow(s.ctx, model.AdvanceWorkflowRequest{Items: []model.Advance{a}})
	if err != nil || out.Results[0].Error != nil {
		return reply, false
	}
	return *out.Results[0].OK, true
}

// check is the end: nothing is lost, and nothing is there twice.
func (s *story) check() {
	s.Helper()
	s.client = s.Engine
	for name, want := range ends {
		x := s.look(name)
		lostAlone := name == "suspect" && x.Status == model.Failed && x.Parked != nil && *x.Parked == "worker_lost" // it killed its third
		if x.Status != want && !lostAlone {
			s.Errorf("%s ended as %s", name, asText(x))
		}
	}
	if got := string(s.look("flow").Result); got != `"first second"` {
		s.Errorf("the flow took %s", got)
	}
	for what, sql := range map[string]string{
		"roots":                  `SELECT count(*) FROM workflows.executions WHERE parent_id IS NULL`,
		"children":               `SELECT count(*) FROM workflows.executions WHERE parent_id IS NOT NULL`,
		"cancelled children":     `SELECT count(*) FROM workflows.executions WHERE parent_id IS NOT NULL AND status = 'cancelled'`,
		"completed children":     `SELECT count(*) FROM workflows.executions WHERE parent_id IS NOT NULL AND status = 'completed'`,
		"runs of the flow":       `SELECT run FROM workflows.executions WHERE name = 'flow'`,
		"signals of its runs":    `SELECT count(*) FROM workflows.history WHERE type = 'signal_received'`,
		"keys of its signals":    `SELECT count(DISTINCT (run, key)) FROM workflows.history WHERE type = 'signal_received'`,
		"timers left":            `SELECT count(*) FROM workflows.timers`,
		"histories with gaps":    `SELECT count(*) FROM (SELECT FROM workflows.history GROUP BY execution_id, run HAVING count(*) <> max(position) OR min(position) <> 1) x`,
		"lengths that are wrong": `SELECT count(*) FROM workflows.executions e WHERE history_length <> (SELECT count(*) FROM workflows.history h WHERE h.execution_id = e.id AND h.run = e.run)`,
		"events twice":           `SELECT count(*) FROM (SELECT FROM workflows.history WHERE sequence IS NOT NULL GROUP BY execution_id, run, type, sequence HAVING count(*) > 1) x`,
		"runs begun twice":       `SELECT count(*) FROM (SELECT FROM workflows.history WHERE type = 'started' GROUP BY execution_id, run HAVING count(*) > 1) x`,
		"failures counted twice": `SELECT count(*) FROM workflows.executions WHERE failures > 1`,
		"leases left":            `SELECT count(*) FROM workflows.executions WHERE status = 'running'`,
	} {
		if n, want := s.count(sql), wanted[what]; n != want {
			s.Errorf("%s: %d, want %d", what, n, want)
		}
	}
}

// wanted are the counts that are not 0.
var wanted = map[string]int{
	"roots": len(ends), "children": 7, "cancelled children": 2, "completed children": 5,
	"runs of the flow": 2, "signals of its runs": 5, "keys of its signals": 5,
}
