package engine

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/internal/pgtest"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/pgproxy"
)

// proxied is a world whose own engine goes through a proxy.
type proxied struct {
	*world
	proxy *pgproxy.Proxy
	// other does not go through it.
	other *Engine
}

func newProxied(t *testing.T) *proxied {
	t.Helper()
	direct, schema := pgtest.Schema(t)
	proxy, through := pgtest.Proxy(t, direct)
	w := openWorld(t, through, direct, "", schema)
	other := *w
	other.url = direct
	return &proxied{w, proxy, other.another(model.Config{})}
}

func (p *proxied) do(c pgproxy.Command) {
	p.Helper()
	if err := p.proxy.Do(c); err != nil {
		p.Fatal(err)
	}
}

// cut loses the reply of the next commit with a statement.
func (p *proxied) cut(statement string) {
	p.Helper()
	p.do(pgproxy.Command{Do: "cut_commit", Match: "/* workflows:" + statement + " */"})
}

// holds starts an execution and answers it claimed.
func (p *proxied) holds(n model.NewExecution) (uuid.UUID, model.Claimed) {
	p.Helper()
	p.create(n)
	worker := p.worker(p.Engine)
	return worker, p.claimOne(p.Engine, worker)
}

var (
	aJob  = model.NewExecution{Kind: model.Job, Name: "j"}
	aFlow = model.NewExecution{Kind: model.Workflow, Name: "flow"}
)

// lostReplies are writes whose commit has happened and whose reply has not come. The caller is
// answered as if it had, and what was written is there once.
var lostReplies = map[string]func(p *proxied){
	"create": func(p *proxied) {
		p.cut("create")
		if made := p.create(aJob)[0]; !made.Created {
			p.Error("it is said to have been there before")
		}
		p.isOnce(`SELECT count(*) FROM workflows.executions`)
	},
	"create with a key": func(p *proxied) {
		keyed := aJob
		keyed.IdempotencyKey = pointer("k")
		p.cut("create")
		if made := p.create(keyed)[0]; !made.Created {
			p.Error("it is said to have been there before")
		}
		p.isOnce(`SELECT count(*) FROM workflows.executions`)
	},
	"create with a signal": func(p *proxied) {
		signalled := aFlow
		signalled.Signals = []model.StartSignal{{Name: "s"}}
		p.cut("create")
		if made := p.create(signalled)[0]; !made.Created || made.Signaled == nil || !*made.Signaled {
			p.Errorf("answered %s", asText(made))
		}
		p.isOnce(`SELECT count(*) FROM workflows.history WHERE type = 'signal_received'`)
	},
	"create what is handed over": func(p *proxied) {
		worker := p.worker(p.Engine)
		got := p.waiting(worker, 5)
		p.cut("create_held")
		id := p.createOne(model.Job, "j")
		p.comesOnce(id, <-got)
	},
	"create what has begun already": func(p *proxied) {
		worker := p.earlyWorker()
		got := p.waiting(worker, 5)
		p.cut("create_early")
		ended := p.creating(aFlow)
		c := p.takenEarly(got)
		if a := p.complete(p.Engine, c, "7"); a.Status != model.Completed {
			p.Errorf("answered %s", asText(a))
		}
		if err := <-ended; err != nil {
			p.Error(err)
		}
		p.isOnce(`SELECT count(*) FROM workflows.executions WHERE status = 'completed' AND attempts = 1`)
		p.isOnce(`SELECT count(*) FROM workflows.history`)
	},
	"claim": func(p *proxied) {
		p.cut("claim")
		id := p.createOne(model.Job, "j")
		worker := p.worker(p.Engine)
		var claimed []model.Claimed
		p.eventually("a claim", func() bool {
			reply, err := p.Claim(p.ctx, model.ClaimRequest{WorkerID: worker, N: 1, WaitMS: 100})
			if err != nil && !fault.From(err).Retryable {
				p.Fatal(err)
			}
			claimed = reply.Executions
			return len(claimed) > 0
		})
		p.comesOnce(id, claimed)
	},
	"read": func(p *proxied) {
		id := p.createOne(model.Job, "j")
		p.cut("get")
		p.wants(id, model.Pending)
	},
	"list": func(p *proxied) {
		p.createOne(model.Job, "j")
		p.cut("list")
		if reply, err := p.ListExecutions(p.ctx, model.ListExecutionsRequest{}); err != nil || len(reply.Executions) != 1 {
			p.Errorf("answered %s, %v", asText(reply), err)
		}
	},
	"start a worker": func(p *proxied) {
		p.cut("register")
		p.worker(p.Engine)
		p.isOnce(`SELECT count(*) FROM workflows.workers`)
	},
	"complete": func(p *proxied) {
		_, c := p.holds(aJob)
		p.cut("plain")
		if got := p.complete(p.Engine, c, "7"); got.Status != model.Completed {
			p.Errorf("answered %s", asText(got))
		}
		if x := p.wants(c.ID, model.Completed); string(x.Result) != "7" {
			p.Errorf("it is %s", asText(x))
		}
	},
	"complete an activity": func(p *proxied) {
		worker, flow := p.holds(aFlow)
		p.advance(p.Engine, flow, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{schedule(1, model.Activity, "a")}})
		activity := p.claimOne(p.Engine, worker)
		p.cut("plain_child")
		p.complete(p.Engine, activity, "7")
		p.isOnce(`SELECT count(*) FROM workflows.history WHERE type = 'activity_completed'`)
		if again := p.claimOne(p.Engine, worker); again.ID != flow.ID || len(again.Events) != 3 {
			p.Errorf("its parent came as %s", asText(again))
		}
	},
	"fail an activity": func(p *proxied) {
		worker, flow := p.holds(aFlow)
		p.advance(p.Engine, flow, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{schedule(1, model.Activity, "a")}})
		activity := p.claimOne(p.Engine, worker)
		p.cut("finish")
		reply, err := p.FailExecution(p.ctx, model.FailExecutionRequest{Items: []model.Failure{{ID: activity.ID, Lease: activity.Lease, Error: model.Payload(`{"type":"E","message":"","non_retryable":true}`)}}})
		if got := only(p.world, reply.Results, err); got.Status != model.Failed {
			p.Errorf("answered %s", asText(got))
		}
		p.isOnce(`SELECT count(*) FROM workflows.history WHERE type = 'activity_failed'`)
	},
	"schedule an activity": func(p *proxied) {
		_, flow := p.holds(aFlow)
		p.cut("plain_schedule")
		got := p.advance(p.Engine, flow, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{schedule(1, model.Activity, "a")}})
		if got.Status != model.Suspended {
			p.Errorf("answered %s", asText(got))
		}
		p.isOnce(`SELECT count(*) FROM workflows.executions WHERE parent_id IS NOT NULL`)
		p.isOnce(`SELECT count(*) FROM workflows.history WHERE type = 'activity_scheduled'`)
	},
	"fail": func(p *proxied) {
		_, c := p.holds(aJob)
		p.cut("finish_roots")
		reply, err := p.FailExecution(p.ctx, model.FailExecutionRequest{Items: []model.Failure{{ID: c.ID, Lease: c.Lease, Error: model.Payload(`{"type":"E","message":""}`)}}})
		if got := only(p.world, reply.Results, err); got.Status != model.Scheduled {
			p.Errorf("answered %s", asText(got))
		}
		if x := p.get(c.ID); x.Failures != 1 {
			p.Errorf("it is %s", asText(x))
		}
	},
	"advance": func(p *proxied) {
		_, c := p.holds(aFlow)
		child := schedule(2, model.Job, "child")
		child.Execution.DelayMS = 60_000
		p.cut("advance")
		got := p.advance(p.Engine, c, model.Advance{Then: model.ThenKeep, Commands: []model.Command{timer(1, 60_000), child}})
		if got.Status != model.Running || got.Position != 3 || len(got.Events) != 2 {
			p.Errorf("answered %s", asText(got))
		}
		p.isOnce(`SELECT count(*) FROM workflows.executions WHERE parent_id IS NOT NULL`)
		p.isOnce(`SELECT count(*) FROM workflows.timers`)
	},
	"suspend": func(p *proxied) {
		_, c := p.holds(aFlow)
		p.cut("advance_timers")
		if got := p.advance(p.Engine, c, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{timer(1, 60_000)}}); got.Status != model.Suspended {
			p.Errorf("answered %s", asText(got))
		}
		p.isOnce(`SELECT count(*) FROM workflows.history WHERE type = 'timer_started'`)
		p.wants(c.ID, model.Suspended)
	},
	"record a step": func(p *proxied) {
		_, c := p.holds(aFlow)
		p.cut("plain")
		reply, err := p.RecordStep(p.ctx, model.RecordStepRequest{Items: []model.StepRecord{{ID: c.ID, Lease: c.Lease, Position: c.Position, Event: model.StepEvent{Type: model.EventStepCompleted, Sequence: 1, Name: "s"}}}})
		if got := only(p.world, reply.Results, err); got.Position != 2 {
			p.Errorf("answered %s", asText(got))
		}
		p.isOnce(`SELECT count(*) FROM workflows.history WHERE type = 'step_completed'`)
	},
	"continue": func(p *proxied) {
		_, c := p.holds(aFlow)
		p.cut("continue")
		if got := p.advance(p.Engine, c, model.Advance{Then: model.ThenContinue}); got.Status != model.Pending {
			p.Errorf("answered %s", asText(got))
		}
		if x := p.get(c.ID); x.Run != 2 {
			p.Errorf("it is %s", asText(x))
		}
		p.isOnce(`SELECT count(*) FROM workflows.history WHERE type = 'continued'`)
	},
	"signal": func(p *proxied) {
		id := p.createOne(model.Workflow, "flow")
		p.cut("signal")
		p.signal(id, "s", "1") // without a key of its own
		p.isOnce(`SELECT count(*) FROM workflows.history WHERE type = 'signal_received'`)
	},
	"cancel": func(p *proxied) {
		_, c := p.holds(aFlow)
		p.cut("mark_cancel")
		reply, err := p.CancelExecution(p.ctx, model.TargetsRequest{Items: []model.Target{{ID: c.ID}}})
		if only(p.world, reply.Results, err); p.get(c.ID).CancelRequestedAt == nil {
			p.Error("nobody has asked it to stop")
		}
		p.isOnce(`SELECT count(*) FROM workflows.history WHERE type = 'cancel_requested'`)
	},
	"release": func(p *proxied) {
		_, c := p.holds(aJob)
		p.cut("release")
		reply, err := p.Release(p.ctx, model.ReleaseRequest{Items: []model.Release{{ID: c.ID, Lease: c.Lease, Reason: model.ReleaseDrain}}})
		if len(reply.Results) != 1 || err != nil {
			p.Fatalf("%s, %v", asText(reply), err)
		}
		if x := p.get(c.ID); x.Releases != 1 || x.Attempts != 0 || x.Status != model.Pending {
			p.Errorf("answered %s, and it is %s", asText(reply), asText(x))
		}
	},
	"fire a timer": func(p *proxied) {
		worker, c := p.holds(aFlow)
		p.cut("fire")
		p.advance(p.Engine, c, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{timer(1, 50)}})
		if again := p.claimOne(p.Engine, worker); again.ID != c.ID {
			p.Errorf("claimed %s", asText(again))
		}
		p.isOnce(`SELECT count(*) FROM workflows.history WHERE type = 'timer_fired'`)
	},
	"take over": func(p *proxied) {
		dead := p.worker(p.other)
		c := p.claimed(p.other, dead, aJob)
		p.silence(p.other)
		p.cut("requeue_lost")
		if again := p.claimOne(p.Engine, p.worker(p.Engine)); again.ID != c.ID || again.Attempt != 2 {
			p.Errorf("claimed %s", asText(again))
		}
		if x := p.get(c.ID); x.Crashes != 1 {
			p.Errorf("it is %s", asText(x))
		}
	},
}

// Row 19: whether a commit has happened is found out by what it wrote.
func TestAReplyThatIsLostDoublesNothingAndIsNoError(t *testing.T) {
	t.Parallel()
	for name, write := range lostReplies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProxied(t)
			write(p)
			if s := p.proxy.Stats(); s.Cut != 1 || s.Armed != 0 {
				t.Errorf("no reply was lost: %+v", s)
			}
		})
	}
}

func (p *proxied) isOnce(count string) {
	p.Helper()
	if n := p.count(count); n != 1 {
		p.Errorf("%s: %d", count, n)
	}
}

// comesOnce: what was claimed without anybody's knowing comes again, and counts once.
func (p *proxied) comesOnce(id uuid.UUID, claimed []model.Claimed) {
	p.Helper()
	if len(claimed) != 1 || claimed[0].ID != id {
		p.Fatalf("claimed %s", asText(claimed))
	}
	p.complete(p.Engine, claimed[0], "1")
	if x := p.wants(id, model.Completed); x.Attempts != 1 || x.Crashes != 0 {
		p.Errorf("it is %s", asText(x))
	}
}

// claimed starts an execution and answers it as a worker of an engine holds it.
func (p *proxied) claimed(e *Engine, worker uuid.UUID, n model.NewExecution) model.Claimed {
	p.Helper()
	p.create(n)
	return p.claimOne(e, worker)
}

// silence makes an engine's workers fall silent, as if their process were gone.
func (p *proxied) silence(e *Engine) {
	p.Helper()
	e.end()
	e.loops.Wait()
}

// Row 20: nothing gets through to the database, and no connection breaks.
func TestABlackHoleCostsTheLeasesAndNothingElse(t *testing.T) {
	t.Parallel()
	p := newProxied(t)
	lost := p.worker(p.Engine)
	job := p.claimed(p.Engine, lost, aJob)
	flow := p.claimed(p.Engine, lost, aFlow)
	heir := p.worker(p.other)
	p.do(pgproxy.Command{Do: "blackhole"})
	began := time.Now()

	late := make(chan fault.Code, 2)
	go func() {
		reply, err := p.CompleteExecution(p.ctx, model.CompleteExecutionRequest{Items: []model.Completion{{ID: job.ID, Lease: job.Lease, Result: model.Payload(`"late"`)}}})
		late <- refused(p.world, reply.Results, err)
	}()
	go func() {
		reply, err := p.AdvanceWorkflow(p.ctx, model.AdvanceWorkflowRequest{Items: []model.Advance{{ID: flow.ID, Lease: flow.Lease, Position: flow.Position, Then: model.ThenKeep, Commands: []model.Command{timer(1, 1000)}}}})
		late <- refused(p.world, reply.Results, err)
	}()
	if _, err := p.Heartbeat(p.ctx, model.HeartbeatRequest{WorkerID: lost}); fault.CodeOf(err) != fault.Timeout && fault.CodeOf(err) != fault.DatabaseUnavailable {
		t.Errorf("the heartbeat was answered %v", err)
	}
	noticed := time.Since(began)
	if reply, err := p.Claim(p.ctx, model.ClaimRequest{WorkerID: lost, N: 10}); len(reply.Executions) > 0 {
		t.Errorf("it claimed %s, %v", asText(reply), err)
	}
	for range 2 {
		c := p.claimOne(p.other, heir)
		p.complete(p.other, c, `"in time"`)
	}
	taken := time.Since(began)

	p.do(pgproxy.Command{Do: "pass"})
	for range 2 {
		if code := <-late; code != fault.LeaseLost {
			t.Errorf("a late write was answered %q", code)
		}
	}
	refusedAfter := time.Since(began)
	for _, id := range []uuid.UUID{job.ID, flow.ID} {
		if x := p.wants(id, model.Completed); string(x.Result) != `"in time"` {
			t.Errorf("it is %s", asText(x))
		}
	}
	p.isOnce(`SELECT count(*) FROM workflows.history WHERE type = 'started'`)
	again := p.claimed(p.Engine, lost, aJob) // it works on, under a new registration
	p.complete(p.Engine, again, "1")
	t.Logf("with a heartbeat timeout of 1 s: noticed after %s, taken over and ended after %s, late writes refused after %s", noticed, taken, refusedAfter)
	if limit := 4 * time.Second; noticed > limit || taken > limit {
		t.Errorf("noticed after %s, taken over after %s", noticed, taken)
	}
}

// Row 23: no hint comes through, and nobody knows.
func TestWithoutHintsWorkIsFoundByPolling(t *testing.T) {
	t.Parallel()
	const poll, rounds = 200 * time.Millisecond, 8
	p := newProxied(t)
	worker := p.worker(p.Engine, func(r *model.StartWorkerRequest) { r.PollIntervalMS = poll.Milliseconds() })
	p.do(pgproxy.Command{Do: "swallow_notifications"})
	var longest time.Duration
	for range rounds {
		got := p.waiting(worker, 1)
		began := time.Now()
		reply, err := p.other.CreateExecution(p.ctx, model.CreateExecutionRequest{Items: []model.NewExecution{aJob}})
		if err != nil {
			t.Fatal(err)
		}
		c := <-got
		longest = max(longest, time.Since(began))
		if len(c) != 1 || c[0].ID != reply.Results[0].ID {
			t.Fatalf("claimed %s", asText(c))
		}
		p.complete(p.Engine, c[0], "1")
	}
	if s := p.proxy.Stats(); s.Swallowed < rounds {
		t.Fatalf("only %d hints were swallowed", s.Swallowed)
	}
	t.Logf("with a poll interval of %s the longest of %d waits was %s", poll, rounds, longest)
	if longest > 2*poll+time.Second {
		t.Errorf("one waited for %s", longest)
	}
}
