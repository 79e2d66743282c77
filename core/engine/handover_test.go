package engine

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// waiting claims in the background, and answers what it got.
func (w *world) waiting(worker uuid.UUID, n int) <-chan []model.Claimed {
	w.Helper()
	x, err := w.findWorker(worker)
	if err != nil {
		w.Fatal(err)
	}
	got := make(chan []model.Claimed, 1)
	go func() {
		reply, err := w.Claim(w.ctx, model.ClaimRequest{WorkerID: worker, N: n, WaitMS: patienceInTests.Milliseconds()})
		if err != nil {
			w.Errorf("claim: %v", err)
		}
		got <- reply.Executions
	}()
	w.eventually("a claim that has looked", func() bool {
		x.slots.mu.Lock()
		defer x.slots.mu.Unlock()
		return x.slots.waiting && x.slots.reserved == 0 && len(x.claiming) == 1 && x.slots.free == n
	})
	return got
}

func TestWhatAProcessStartsIsHandedToItsOwnWorkerAsAClaimWouldAnswerIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	version, key := "7", "k"
	items := map[model.Kind]model.NewExecution{}
	for _, kind := range []model.Kind{model.Job, model.Activity, model.Workflow} {
		items[kind] = model.NewExecution{
			Kind: kind, Name: "n", Args: model.Payload(`[1,"x"]`), Kwargs: model.Payload(`{"a":1}`), TimeoutMS: 60_000, AttemptTimeoutMS: 5000,
			Version: &version, Retry: &model.RetryPolicy{InitialMS: pointer(int64(7))}, IdempotencyKey: pointer(key + string(kind)), Awaited: true,
		}
	}
	for kind, item := range items {
		worker := w.worker(w.Engine)
		got := w.waiting(worker, 5)
		id := w.create(item)[0].ID
		handed := <-got
		if len(handed) != 1 || handed[0].ID != id {
			t.Fatalf("%s: claimed %s", kind, asText(handed))
		}
		other := item
		other.IdempotencyKey, other.Queue = nil, "asked"
		asking := w.worker(w.Engine, func(r *model.StartWorkerRequest) { r.Queues = []string{"asked"} })
		w.create(other)
		want := w.claimOne(w.Engine, asking)
		sameClaim(w, handed[0], want)
		row := w.get(id)
		if row.Attempts != 1 || row.StartedAt == nil || row.Status != model.Running || row.HistoryLength != handed[0].Position {
			t.Fatalf("%s: the row is %s", kind, asText(row))
		}
		if w.complete(w.Engine, handed[0], "1").Status != model.Completed {
			t.Fatalf("%s: not completed", kind)
		}
		if _, err := w.StopWorker(w.ctx, model.StopWorkerRequest{WorkerID: worker}); err != nil {
			t.Fatal(err)
		}
	}
}

// offers slots as a worker does between two claims, on a machine that is not held up.
func (w *world) offers(worker uuid.UUID, req model.ClaimRequest) {
	w.Helper()
	x, err := w.findWorker(worker)
	if err != nil {
		w.Fatal(err)
	}
	x.slots.open(req)
	x.slots.close(true)
	x.slots.mu.Lock()
	x.slots.left = x.slots.left.Add(2 * time.Second)
	x.slots.mu.Unlock()
}

// sameClaim compares all but what names the execution, its lease and the time.
func sameClaim(w *world, handed, want model.Claimed) {
	w.Helper()
	handed.ID, handed.RootID, handed.Lease.Token, handed.Queue = want.ID, want.RootID, want.Lease.Token, want.Queue
	handed.DeadlineAt = want.DeadlineAt
	for i := range handed.Events {
		handed.Events[i].At = want.Events[i].At
	}
	if asText(handed) != asText(want) {
		w.Fatalf("handed over %s\nclaimed %s", asText(handed), asText(want))
	}
}

func TestAnActivityAndItsParentGoOnInTheCommitThatMakesThemDue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createOne(model.Workflow, "flow")
	worker := w.worker(w.Engine, warm)
	flow := w.claimOne(w.Engine, worker)
	for n := 1; n <= 3; n++ {
		got := w.waiting(worker, 4)
		a := w.advance(w.Engine, flow, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{schedule(n, model.Activity, "a")}})
		if a.Status != model.Suspended {
			t.Fatalf("round %d: %s", n, asText(a))
		}
		activity := <-got
		if len(activity) != 1 || activity[0].ParentID == nil || *activity[0].ParentID != flow.ID || activity[0].RootID != flow.ID {
			t.Fatalf("round %d: claimed %s", n, asText(activity))
		}
		got = w.waiting(worker, 4)
		w.complete(w.Engine, activity[0], "1")
		back := <-got
		if len(back) != 1 || back[0].ID != flow.ID || back[0].After == 0 || len(back[0].Events) != 1 || back[0].Events[0].Type != "activity_completed" {
			t.Fatalf("round %d: claimed %s", n, asText(back))
		}
		flow = back[0]
	}
}

// The events of one workflow must not end up with another that was claimed by the same commit.
func TestWhatIsHandedOverAndWhatIsClaimedByOneCommitKeepTheirOwnEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	queue := func(q string) func(*model.StartWorkerRequest) {
		return func(r *model.StartWorkerRequest) { r.Queues = []string{q} }
	}
	w.createOne(model.Workflow, "flow")
	worker := w.worker(w.Engine)
	flow := w.claimOne(w.Engine, worker)
	child := schedule(1, model.Activity, "a")
	child.Execution.Queue = "elsewhere"
	w.advance(w.Engine, flow, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{child}})
	activity := w.claimOne(w.Engine, w.worker(w.Engine, queue("elsewhere")))

	got := w.waiting(worker, 10)
	end, err := w.prepareFinish(0, store.Finish{ID: activity.ID, Lease: activity.Lease, OK: true})
	if err != nil {
		t.Fatal(err)
	}
	works := []*work{end}
	for range 3 {
		row, err := w.newRow(place{}, &model.NewExecution{Kind: model.Workflow, Name: "new"})
		if err != nil {
			t.Fatal(err)
		}
		works = append(works, &work{root: row.ID, creates: []store.NewRow{row}})
	}
	for _, x := range works {
		x.ctx, x.done = w.ctx, make(chan error, 1)
	}
	if err := newFlusher(w.Engine).attempt(w.ctx, works); err != nil {
		t.Fatal(err)
	}
	claimed := <-got
	if len(claimed) != 4 {
		t.Fatalf("claimed %s", asText(claimed))
	}
	for _, c := range claimed {
		want := 1
		if c.ID == flow.ID {
			want = 3
		}
		if len(c.Events) != want || c.Events[0].Type != model.EventStarted || c.Position != want {
			t.Fatalf("%s has %s", c.Name, asText(c))
		}
	}
}

func TestWhatWaitsInTheQueueGoesBeforeWhatIsNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	high, low := 7, 2
	waits := w.create(model.NewExecution{Kind: model.Job, Name: "waits", DelayMS: 60_000})[0].ID
	w.exec(`UPDATE workflows.executions SET status = 'pending', run_at = now() WHERE id = $1`, waits) // nobody has been told
	w.offers(worker, model.ClaimRequest{N: 1})
	w.wants(w.create(model.NewExecution{Kind: model.Job, Name: "equal"})[0].ID, model.Pending)
	w.wants(w.create(model.NewExecution{Kind: model.Job, Name: "below", Priority: &low})[0].ID, model.Pending)
	w.wants(w.create(model.NewExecution{Kind: model.Job, Name: "above", Priority: &high})[0].ID, model.Running)
}

func TestWhatIsNewIsHandedOverBesideWhatHasSlotsOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	waits := w.create(model.NewExecution{Kind: model.Job, Name: "waits", DelayMS: 60_000})[0].ID
	w.exec(`UPDATE workflows.executions SET status = 'pending', run_at = now() WHERE id = $1`, waits) // nobody has been told
	w.offers(worker, model.ClaimRequest{N: 2})
	w.wants(w.createOne(model.Job, "first"), model.Running)  // the other slot is for what waits
	w.wants(w.createOne(model.Job, "second"), model.Pending) // none is to spare
}

func TestARowOfAQueueNobodyHereServesOrThatIsForLaterIsNotHandedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	got := w.waiting(worker, 5)
	later, elsewhere := model.NewExecution{Kind: model.Job, Name: "later", DelayMS: 60_000}, model.NewExecution{Kind: model.Job, Name: "elsewhere", Queue: "elsewhere"}
	ids := w.create(later, elsewhere)
	w.wants(ids[0].ID, model.Scheduled)
	w.wants(ids[1].ID, model.Pending)
	now := w.createOne(model.Job, "now")
	if c := <-got; len(c) != 1 || c[0].ID != now {
		t.Fatalf("claimed %s", asText(c))
	}
}

func TestAFunctionThatTheWorkerLacksIsNotHandedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	w.offers(worker, model.ClaimRequest{N: 2, Lacking: []model.FunctionName{{Kind: model.Job, Name: "unknown"}}})
	known := 7 // else the other one would go before it
	w.wants(w.createOne(model.Job, "unknown"), model.Pending)
	w.wants(w.create(model.NewExecution{Kind: model.Job, Name: "known", Priority: &known})[0].ID, model.Running)
}

// A caller that does not come back for what was claimed for it must not keep it.
func TestWhatNobodyComesForIsGivenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	w.offers(worker, model.ClaimRequest{N: 2})
	id := w.createOne(model.Job, "j")
	w.wants(id, model.Running)
	w.eventually("the job in the queue again", func() bool { return w.get(id).Status == model.Pending })
	if row := w.get(id); row.Attempts != 0 || row.Failures != 0 || row.Crashes != 0 {
		t.Fatalf("it counts as an attempt: %s", asText(row))
	}
	if c := w.claimOne(w.Engine, worker); c.ID != id {
		t.Fatalf("claimed %s", asText(c))
	}
}

func TestWhatIsReadyIsGivenBackByADrain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	w.offers(worker, model.ClaimRequest{N: 1})
	id := w.createOne(model.Job, "j")
	w.wants(id, model.Running)
	began := time.Now()
	if _, err := w.StopWorker(w.ctx, model.StopWorkerRequest{WorkerID: worker, Drain: true}); err != nil {
		t.Fatal(err)
	}
	w.eventually("the job in the queue again", func() bool { return w.get(id).Status == model.Pending })
	if took := time.Since(began); took > 900*time.Millisecond {
		t.Fatalf("it came back only after %s", took)
	}
}

func TestACallerThatDoesNotWaitIsHandedNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	if _, err := w.Claim(w.ctx, model.ClaimRequest{WorkerID: worker, N: 5}); err != nil {
		t.Fatal(err)
	}
	w.wants(w.createOne(model.Job, "j"), model.Pending)
}

func TestADeadWorkerIsHandedNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Engine = w.another(model.Config{ListenURL: listenOff}) // whoever begins to listen looks at its leases
	worker := w.worker(w.Engine, func(r *model.StartWorkerRequest) { r.HeartbeatTimeoutMS, r.HeartbeatIntervalMS = 60_000, 30_000 })
	got := w.waiting(worker, 5)
	w.exec(`UPDATE workflows.workers SET status = 'dead'`)
	w.wants(w.createOne(model.Job, "j"), model.Pending)
	x, _ := w.findWorker(worker)
	if _, err := w.Heartbeat(w.ctx, model.HeartbeatRequest{WorkerID: worker}); err != nil {
		t.Fatal(err)
	}
	if c := <-got; len(c) != 1 || x.current() == worker {
		t.Fatalf("claimed %s as %s", asText(c), x.current())
	}
}
