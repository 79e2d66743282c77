package engine

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// suspendedFor answers a workflow that waits with a worker for an activity, which that has too.
func (w *world) suspendedFor() (worker uuid.UUID, flow, activity model.Claimed) {
	w.Helper()
	worker = w.earlyWorker(warm)
	w.createOne(model.Workflow, "flow")
	flow = w.claimOne(w.Engine, worker)
	return worker, flow, w.calling(worker, flow, 1)
}

// calling suspends a workflow for an activity, and answers that.
func (w *world) calling(worker uuid.UUID, flow model.Claimed, sequence int) model.Claimed {
	w.Helper()
	got := w.waiting(worker, 4)
	w.suspend(flow, sequence)
	activity := <-got
	if len(activity) != 1 || activity[0].ParentID == nil || *activity[0].ParentID != flow.ID {
		w.Fatalf("claimed %s", asText(activity))
	}
	return activity[0]
}

// suspend has a workflow wait for an activity.
func (w *world) suspend(flow model.Claimed, sequence int) {
	w.Helper()
	a := w.advance(w.Engine, flow, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{schedule(sequence, model.Activity, "a")}})
	if a.Status != model.Suspended {
		w.Fatalf("answered %s", asText(a))
	}
}

// completing completes in the background.
func (w *world) completing(c model.Claimed) <-chan model.Advanced {
	ended := make(chan model.Advanced, 1)
	go func() { ended <- w.complete(w.Engine, c, `"done"`) }()
	return ended
}

func (w *world) wentOn(got <-chan []model.Claimed, flow model.Claimed) model.Claimed {
	w.Helper()
	c := w.takenEarly(got)
	if c.ID != flow.ID || len(c.Events) != 1 || c.Events[0].Type != model.EventActivityCompleted {
		w.Fatalf("claimed %s", asText(c))
	}
	return c
}

func TestAParentGoesOnWhileTheEndOfItsActivityIsOnItsWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, flow, activity := w.suspendedFor()
	w.eventually("one transaction", func() bool { // where the machine keeps it waiting, it takes two
		got := w.waiting(worker, 4)
		ended := w.completing(activity)
		flow = w.wentOn(got, flow)
		w.suspend(flow, *flow.Events[0].Sequence+1)
		activity = w.claimOne(w.Engine, worker)
		if a := <-ended; a.Status != model.Completed {
			t.Fatalf("answered %s", asText(a))
		}
		return w.count(`SELECT count(*) FROM workflows.history e JOIN workflows.history s ON s.execution_id = e.execution_id AND s.xmin = e.xmin
			AND e.position = $2 AND s.position = e.position + 1 AND s.type = 'activity_scheduled' WHERE e.execution_id = $1`, flow.ID, flow.Position) == 1
	})
	events, err := w.GetHistory(w.ctx, model.GetHistoryRequest{ID: flow.ID, After: flow.Position - 1})
	if err != nil || asText(events.Events[0]) != asText(flow.Events[0]) {
		t.Fatalf("it was told %s\nand history has %s, %v", asText(flow.Events[0]), asText(events.Events), err)
	}
	w.complete(w.Engine, activity, "1")
}

// It is told what a claim would have told it.
func TestAParentThatGoesOnEarlyIsToldWhatAClaimWouldAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, flow, activity := w.suspendedFor()
	got := w.waiting(worker, 4)
	ended := w.completing(activity)
	early := w.wentOn(got, flow)
	<-ended
	other := w.worker(w.Engine, warm, func(r *model.StartWorkerRequest) { r.Queues = []string{"other"} })
	id := w.create(model.NewExecution{Kind: model.Workflow, Name: "flow", Queue: "other"})[0].ID
	parent := w.claimOne(w.Engine, other)
	child := schedule(1, model.Activity, "a")
	child.Execution.Queue = "other"
	w.advance(w.Engine, parent, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{child}})
	w.complete(w.Engine, w.claimOne(w.Engine, other), `"done"`)
	want := w.claimOne(w.Engine, other)
	if want.ID != id || early.PreviousToken == nil || *early.PreviousToken != flow.Lease.Token {
		t.Fatalf("claimed %s\nand early %s", asText(want), asText(early))
	}
	early.Early, early.PreviousToken = false, want.PreviousToken
	sameClaim(w, early, want)
}

func TestWhatCameInBetweenKeepsAParentFromGoingOn(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		before func(w *world, flow model.Claimed)
		events []model.EventType
	}{
		"a signal": { // written beside the engines, so that nobody takes it before
			func(w *world, flow model.Claimed) {
				w.exec(`WITH told AS (UPDATE workflows.executions SET history_length = history_length + 1 WHERE id = $1 RETURNING *)
					INSERT INTO workflows.history (execution_id, run, position, type, name, payload, at)
					SELECT id, run, history_length, 'signal_received', 's', 'null', now() FROM told`, flow.ID)
			},
			[]model.EventType{model.EventSignalReceived, model.EventActivityCompleted},
		},
		"its worker is dead": {
			func(w *world, _ model.Claimed) {
				w.exec(`UPDATE workflows.workers SET status = 'dead'`)
			},
			[]model.EventType{model.EventActivityCompleted},
		},
		"another holder": {
			func(w *world, flow model.Claimed) {
				w.exec(`UPDATE workflows.executions SET epoch = epoch + 1 WHERE id = $1`, flow.ID)
			},
			[]model.EventType{model.EventActivityCompleted},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			worker, flow, activity := w.suspendedFor()
			got := w.waiting(worker, 1)
			x.before(w, flow)
			ended := w.completing(activity)
			early := w.wentOn(got, flow)
			w.isLost(early)
			if a := <-ended; a.Status != model.Completed {
				t.Fatalf("answered %s", asText(a))
			}
			again := w.claimOne(w.Engine, w.worker(w.Engine))
			last := again.Events[len(again.Events)-len(x.events):]
			for i, event := range last {
				if event.Type != x.events[i] {
					t.Fatalf("claimed %s", asText(again))
				}
			}
			if a := w.complete(w.Engine, again, "1"); a.Status != model.Completed {
				t.Fatalf("answered %s", asText(a))
			}
		})
	}
}

func TestAParentOfAnActivityThatWasCancelledIsNotGoneOnWith(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, flow, activity := w.suspendedFor()
	w.exec(`UPDATE workflows.executions SET cancel_requested_at = now() WHERE id = $1`, activity.ID) // of which it has not heard
	got := w.waiting(worker, 1)
	ended := w.completing(activity)
	w.isLost(w.wentOn(got, flow))
	if a := <-ended; a.Status != model.Cancelled {
		t.Fatalf("answered %s", asText(a))
	}
	again := w.claimOne(w.Engine, worker)
	if last := again.Events[len(again.Events)-1]; last.Type != model.EventActivityCancelled {
		t.Fatalf("claimed %s", asText(again))
	}
}

func TestWhereTheAnswerToAnEndIsLostTheParentsRowIsAsked(t *testing.T) {
	t.Parallel()
	p := newProxied(t)
	worker, flow, activity := p.suspendedFor()
	got := p.waiting(worker, 4)
	p.cut("plain_child")
	ended := p.completing(activity)
	early := p.wentOn(got, flow)
	if a := p.advance(p.Engine, early, model.Advance{Then: model.ThenKeep}); a.Status != model.Running {
		t.Fatalf("answered %s", asText(a))
	}
	if a := <-ended; a.Status != model.Completed {
		t.Fatalf("answered %s", asText(a))
	}
	if a := p.complete(p.Engine, early, "1"); a.Status != model.Completed {
		t.Fatalf("answered %s", asText(a))
	}
}

func TestOnlyWhoKeepsWorkflowsInMemoryAndSaysSoGoesOnEarly(t *testing.T) {
	t.Parallel()
	for name, mend := range map[string]func(*model.StartWorkerRequest){
		"not warm":  func(*model.StartWorkerRequest) {},
		"not early": func(r *model.StartWorkerRequest) { r.Warm, r.Early = true, false },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			worker := w.worker(w.Engine, takesEarly, mend)
			w.createOne(model.Workflow, "flow")
			activity := w.calling(worker, w.claimOne(w.Engine, worker), 1)
			if held := w.leases.leases[activity.ID]; held == nil || held.waiting != nil {
				t.Fatalf("%v", held)
			}
			w.complete(w.Engine, activity, "1")
			if c := w.claimOne(w.Engine, worker); c.Early {
				t.Fatalf("claimed %s", asText(c))
			}
		})
	}
}

func TestWhatAParentAsksForGoesAlongWithTheEndThatItWasToldOf(t *testing.T) {
	t.Parallel()
	root := uuid.New()
	var ends, asks []*work
	for range 2 { // of one tree
		parent, activity := uuid.New(), uuid.New()
		end, ask := &work{root: root, finished: &store.Finish{ID: activity}, early: &early{claimed: model.Claimed{ID: parent}}}, advanceOf(parent)
		end.since, ask.root = time.Now().Add(time.Hour), root
		ends, asks = append(ends, end), append(asks, ask)
	}
	f := queued()
	takes := func(want ...*work) {
		t.Helper()
		if batch := f.take(); !slices.Equal(batch, want) {
			t.Fatalf("%d go, and %d were to", len(batch), len(want))
		}
	}
	for _, x := range []*work{ends[0], ends[1], asks[0]} {
		f.noteEarly(x)
		f.queue = append(f.queue, x)
	}
	takes(ends[0], asks[0])
	f.noteEarly(asks[1])
	f.queue = append(f.queue, asks[1])
	takes(ends[1], asks[1])
}

// relaying answers the works of an activity's end and of what its parent asks for then.
func (w *world) relaying(activity model.Claimed, change func(ask *model.Advance)) (end, ask *work) {
	w.Helper()
	end, err := w.prepareFinish(0, store.Finish{ID: activity.ID, Lease: activity.Lease, OK: true, Result: model.Payload("7")})
	if err != nil || end.early == nil {
		w.Fatalf("%v: its parent was not told early", err)
	}
	end.early.worker.slots.settle(1, 1) // it is here
	flow := end.early.claimed
	a := model.Advance{
		ID: flow.ID, Lease: flow.Lease, Position: flow.Position, Then: model.ThenSuspend,
		Commands: []model.Command{schedule(2, model.Activity, "b")},
	}
	change(&a)
	if ask, err = w.prepareAdvance(0, a); err != nil {
		w.Fatal(err)
	}
	for _, x := range []*work{end, ask} {
		x.ctx, x.done = w.ctx, make(chan error, 1)
	}
	return end, ask
}

func TestAParentGoesOnAndWaitsAgainByOneStatement(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		before func(w *world, flow model.Claimed)
		change func(ask *model.Advance)
		// holds: the parent goes on; once: its row is written once, and was never due.
		holds, once bool
	}{
		"as it was":              {holds: true, once: true},
		"it asks for a deadline": {holds: true, change: func(a *model.Advance) { a.Commands[0].Execution.TimeoutMS = 60_000 }},
		"it keeps running":       {holds: true, change: func(a *model.Advance) { a.Then = model.ThenKeep }},
		"it has a deadline": {before: func(w *world, flow model.Claimed) {
			w.exec(`UPDATE workflows.executions SET deadline_at = now() + interval '1 h' WHERE id = $1`, flow.ID)
		}},
		"somebody has held it": {before: func(w *world, flow model.Claimed) {
			w.exec(`UPDATE workflows.executions SET epoch = epoch + 1 WHERE id = $1`, flow.ID)
		}},
		"it says that it has seen more": {change: func(a *model.Advance) { a.Position++ }},
		"its activity is to stop": {before: func(w *world, _ model.Claimed) {
			w.exec(`UPDATE workflows.executions SET cancel_requested_at = now() WHERE kind = 'activity'`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			worker, flow, activity := w.suspendedFor()
			w.offers(worker, model.ClaimRequest{N: 4, WorkerID: worker})
			if x.before != nil {
				x.before(w, flow)
			}
			if x.change == nil {
				x.change = func(*model.Advance) {}
			}
			end, ask := w.relaying(activity, x.change)
			if err := newFlusher(w.Engine).attempt(w.ctx, []*work{end, ask}); err != nil {
				t.Fatal(err)
			}
			if ended, err := w.finished(end); err != nil || ended.Status == model.Running {
				t.Fatalf("the end was answered %s, %v", asText(ended), err)
			}
			advanced, err := w.advanced(ask)
			if lost := fault.CodeOf(err) == fault.LeaseLost; lost == x.holds || x.holds && err != nil {
				t.Fatalf("it was answered %s, %v", asText(advanced), err)
			}
			if n := w.count(`SELECT count(*) FROM workflows.executions WHERE id = $1 AND run_at = created_at`, flow.ID); (n == 1) != x.once {
				t.Fatal("its row was written in another way")
			}
			if n := w.count(`SELECT count(*) FROM workflows.history WHERE execution_id = $1 AND sequence = 2`, flow.ID); (n == 1) != x.holds {
				t.Fatalf("%d events of what it asked for", n)
			}
			if n := w.count(`SELECT count(*) FROM workflows.history WHERE execution_id = $1 AND sequence = 1 AND type <> 'activity_scheduled'`, flow.ID); n != 1 {
				t.Fatalf("it was told %d times", n)
			}
		})
	}
}

func TestARelayWhoseAnswerIsLostIsWrittenOnce(t *testing.T) {
	t.Parallel()
	p := newProxied(t)
	worker, flow, activity := p.suspendedFor()
	p.offers(worker, model.ClaimRequest{N: 4, WorkerID: worker})
	end, ask := p.relaying(activity, func(*model.Advance) {})
	p.cut("plain_relay")
	f, works := newFlusher(p.Engine), []*work{end, ask}
	if err := f.attempt(p.ctx, works); !fault.From(err).Retryable {
		t.Fatalf("answered %v", err)
	}
	p.eventually("a connection", func() bool { return f.attempt(p.ctx, works) == nil })
	if ended, err := p.finished(end); err != nil || ended.Status != model.Completed {
		t.Fatalf("the end was answered %s, %v", asText(ended), err)
	}
	if advanced, err := p.advanced(ask); err != nil || advanced.Status != model.Suspended {
		t.Fatalf("it was answered %s, %v", asText(advanced), err)
	}
	for sql, want := range map[string]int{
		`SELECT count(*) FROM workflows.history WHERE execution_id = $1`:                       4,
		`SELECT count(*) FROM workflows.executions WHERE parent_id = $1 AND sequence = 2`:      1,
		`SELECT count(*) FROM workflows.executions WHERE id = $1 AND status = 'suspended'`:     1,
		`SELECT history_length FROM workflows.executions WHERE id = $1 AND worker IS NOT NULL`: 4,
	} {
		if n := p.count(sql, flow.ID); n != want {
			t.Errorf("%s: %d, want %d", sql, n, want)
		}
	}
}

// isHeldOrDue: whoever gave it up, it is not left with nobody.
func (w *world) isHeldOrDue(flow model.Claimed) {
	w.Helper()
	w.eventually("somebody who may have it", func() bool {
		row := w.get(flow.ID)
		return row.Status == model.Pending || row.Status == model.Suspended
	})
}

// connected answers a connection of the test's own.
func (w *world) connected() *pgx.Conn {
	w.Helper()
	conn, err := pgx.Connect(w.ctx, w.direct)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// locking keeps whoever writes an execution waiting.
func (w *world) locking(id uuid.UUID) (unlock func()) {
	w.Helper()
	conn := w.connected()
	if _, err := conn.Exec(w.ctx, w.inSchema(fmt.Sprintf(`BEGIN; SELECT FROM workflows.executions WHERE id = '%s' FOR UPDATE`, id))); err != nil {
		w.Fatal(err)
	}
	return func() {
		if _, err := conn.Exec(w.ctx, "ROLLBACK"); err != nil {
			w.Error(err)
		}
	}
}

func TestWhatWentOnEarlyCanBeGivenUpAtOnce(t *testing.T) {
	t.Parallel()
	for reason, want := range map[model.ReleaseReason]model.Status{model.ReleaseNonDeterminism: model.Suspended, model.ReleaseDrain: model.Pending} {
		t.Run(string(reason), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			worker, flow, activity := w.suspendedFor()
			got := w.waiting(worker, 4)
			ended := w.completing(activity)
			early := w.wentOn(got, flow)
			reply, err := w.Release(w.ctx, model.ReleaseRequest{Items: []model.Release{{ID: early.ID, Lease: early.Lease, Reason: reason, Message: "m"}}})
			if err != nil || reply.Results[0].OK == nil || reply.Results[0].OK.Status != want {
				t.Fatalf("answered %s, %v", asText(reply), err)
			}
			<-ended
			w.wants(flow.ID, want)
		})
	}
}

func TestWhatNobodyCameForGoesBackAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, flow, activity := w.suspendedFor()
	w.offers(worker, model.ClaimRequest{N: 4, WorkerID: worker})
	x, err := w.findWorker(worker)
	if err != nil {
		t.Fatal(err)
	}
	ended := w.completing(activity)
	w.eventually("a parent that is told", func() bool {
		x.slots.mu.Lock()
		defer x.slots.mu.Unlock()
		return len(x.slots.ready) > 0
	})
	x.returnReady()
	<-ended
	w.isHeldOrDue(flow)
}

func TestWhatAParentAsksForNeverGoesBeforeTheEndThatItWasToldOf(t *testing.T) {
	t.Parallel()
	root, parent, activity := uuid.New(), uuid.New(), uuid.New()
	progress, ask := &work{root: root, progress: &store.Progress{ID: activity}}, advanceOf(parent)
	end := &work{root: root, finished: &store.Finish{ID: activity}, early: &early{claimed: model.Claimed{ID: parent}}, since: time.Now()}
	f := queued(progress, end, ask)
	for _, x := range f.queue {
		f.noteEarly(x)
	}
	for i, want := range [][]*work{{progress}, {end, ask}} {
		if batch := f.take(); !slices.Equal(batch, want) {
			t.Fatalf("batch %d has %d works", i, len(batch))
		}
	}
}

func TestAParentWhoseActivityWasLockedIsNotLeftWithNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, flow, activity := w.suspendedFor()
	unlock := w.locking(activity.ID)
	got := w.waiting(worker, 4)
	ended := w.completing(activity)
	early := w.wentOn(got, flow)
	// The end is set aside, and what its parent asks for is not.
	reply, err := w.AdvanceWorkflow(w.ctx, model.AdvanceWorkflowRequest{Items: []model.Advance{{
		ID: early.ID, Lease: early.Lease, Position: early.Position, Then: model.ThenSuspend, Commands: []model.Command{schedule(2, model.Activity, "b")},
	}}})
	if code := refused(w, reply.Results, err); code != fault.LeaseLost {
		t.Fatalf("answered %s", code)
	}
	unlock()
	if a := <-ended; a.Status != model.Completed {
		t.Fatalf("answered %s", asText(a))
	}
	w.isHeldOrDue(flow)
}

// The queue's order is for claims: who was told early has a slot of its own.
func TestWhatWaitsInTheQueueTakesNothingFromWhoWasToldEarly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, flow, activity := w.suspendedFor()
	w.offers(worker, model.ClaimRequest{N: 4, WorkerID: worker})
	w.exec(`INSERT INTO workflows.executions (id, root_id, kind, name, queue, status, priority, run_at, created_at)
		SELECT id, id, 'job', 'foreign', 'default', 'pending', 9, now(), now() FROM gen_random_uuid() AS id`)
	end, ask := w.relaying(activity, func(*model.Advance) {})
	if err := newFlusher(w.Engine).attempt(w.ctx, []*work{end, ask}); err != nil {
		t.Fatal(err)
	}
	if a, err := w.advanced(ask); err != nil || a.Status != model.Suspended || a.Position != flow.Position+3 {
		t.Fatalf("answered %s, %v", asText(a), err)
	}
}

// What a workflow waited for is forgotten when somebody has had it since.
func TestOnlyTheActivityThatAParentWaitsForLetsItGoOnEarly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, flow, activity := w.suspendedFor()
	w.signal(flow.ID, "s", "1")
	again := w.claimOne(w.Engine, worker)
	if again.ID != flow.ID || w.leases.leases[activity.ID].waiting != nil {
		t.Fatalf("claimed %s", asText(again))
	}
	next := w.calling(worker, again, 2)
	if w.leases.leases[next.ID].waiting == nil || len(w.leases.waiting) != 1 {
		t.Fatal("it is not known what it waits for")
	}
	w.complete(w.Engine, activity, "1")
	w.complete(w.Engine, next, "1")
	if len(w.leases.waiting) > 0 {
		t.Fatal("what has ended is still waited for")
	}
}
