package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/internal/pgtest"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// Q3
func TestManyWorkersRunEachJobOnce(t *testing.T) {
	t.Parallel()
	const jobs, engines, workersEach = 5000, 5, 10
	w := newWorld(t)
	items := make([]model.NewExecution, jobs)
	for i := range items {
		items[i] = model.NewExecution{Kind: model.Job, Name: "j"}
	}
	w.create(items...)
	var ran sync.Map
	var done atomic.Int64
	var all sync.WaitGroup
	for range engines {
		e := w.another(model.Config{PoolSize: 3})
		for range workersEach {
			worker := w.worker(e, func(r *model.StartWorkerRequest) { r.HeartbeatTimeoutMS, r.HeartbeatIntervalMS = 30_000, 5000 })
			all.Go(func() { drain(w, e, worker, jobs, &ran, &done) })
		}
	}
	all.Wait()
	if done.Load() != jobs {
		t.Fatalf("%d of %d jobs ran", done.Load(), jobs)
	}
}

func drain(w *world, e *Engine, worker uuid.UUID, jobs int, ran *sync.Map, done *atomic.Int64) {
	for done.Load() < int64(jobs) && w.ctx.Err() == nil {
		reply, err := e.Claim(w.ctx, model.ClaimRequest{WorkerID: worker, N: 20, WaitMS: 100})
		if err != nil {
			w.Errorf("claim: %v", err)
			return
		}
		completions := make([]model.Completion, len(reply.Executions))
		for i, c := range reply.Executions {
			if _, twice := ran.LoadOrStore(c.ID, true); twice {
				w.Errorf("%s ran twice", c.ID)
			}
			completions[i] = model.Completion{ID: c.ID, Lease: c.Lease}
		}
		if len(completions) == 0 {
			continue
		}
		outcome, err := e.CompleteExecution(w.ctx, model.CompleteExecutionRequest{Items: completions})
		if err != nil {
			w.Errorf("complete: %v", err)
			return
		}
		for _, r := range outcome.Results {
			if r.Error != nil {
				w.Errorf("complete: %v", r.Error)
			}
		}
		done.Add(int64(len(completions)))
	}
}

// T15
func TestARestartOfPostgreSQLLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t)
	w := &world{T: t, url: server.URL(), direct: server.URL(), schema: "workflows"}
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	t.Cleanup(cancel)
	w.ctx = ctx
	w.Engine = w.another(model.Config{Migrate: pointer(true)})
	worker := w.worker(w.Engine, func(r *model.StartWorkerRequest) { r.HeartbeatTimeoutMS, r.HeartbeatIntervalMS = 10_000, 500 })
	const jobs = 300
	var created, finished atomic.Int64
	var both sync.WaitGroup
	both.Go(func() {
		for range jobs {
			if _, err := w.CreateExecution(ctx, model.CreateExecutionRequest{Items: []model.NewExecution{{Kind: model.Job, Name: "j"}}}); err != nil {
				t.Errorf("a create failed: %v", err)
			}
			created.Add(1)
		}
	})
	ran := map[uuid.UUID]int{}
	both.Go(func() {
		for finished.Load() < jobs && ctx.Err() == nil {
			reply, err := w.Claim(ctx, model.ClaimRequest{WorkerID: worker, N: 10, WaitMS: 1000})
			if err != nil {
				if !fault.From(err).Retryable {
					t.Errorf("a claim failed: %v", err)
				}
				continue
			}
			for _, c := range reply.Executions {
				ran[c.ID]++
				outcome, err := w.CompleteExecution(ctx, model.CompleteExecutionRequest{Items: []model.Completion{{ID: c.ID, Lease: c.Lease}}})
				if err != nil || outcome.Results[0].Error != nil {
					t.Errorf("a completion failed: %v %s", err, asText(outcome))
				}
				finished.Add(1)
			}
		}
	})
	for _, at := range []int64{50, 150, 250} {
		w.eventually("progress", func() bool { return created.Load() >= at })
		server.Restart(pgtest.Immediate)
	}
	both.Wait()
	if len(ran) != jobs {
		t.Fatalf("%d different jobs ran, want %d", len(ran), jobs)
	}
	page, err := w.ListExecutions(ctx, model.ListExecutionsRequest{Limit: 1000})
	if err != nil || len(page.Executions) != jobs {
		t.Fatalf("%d rows, %v", len(page.Executions), err)
	}
	for _, e := range page.Executions {
		if e.Status != model.Completed || ran[e.ID] != 1 {
			t.Fatalf("%s ran %d times: %s", e.ID, ran[e.ID], asText(e))
		}
	}
}

// One row that somebody has locked must not hold up the others of its batch.
func TestALockedRowDoesNotHoldUpItsBatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	locked, free := w.createOne(model.Workflow, "locked"), w.createOne(model.Workflow, "free")
	conn, err := pgx.Connect(w.ctx, w.direct)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	tx, err := conn.Begin(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(w.ctx, "SELECT FROM "+pgx.Identifier{w.schema, "executions"}.Sanitize()+" WHERE id = $1 FOR UPDATE", locked); err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(func() { w.signal(locked, "s", "1") })
	both.Go(func() { w.signal(free, "s", "1") })
	w.eventually("the free one's signal", func() bool { return w.get(free).HistoryLength == 1 })
	if got := w.get(locked).HistoryLength; got != 0 {
		t.Fatalf("the locked one was written: %d", got)
	}
	if err := tx.Rollback(w.ctx); err != nil {
		t.Fatal(err)
	}
	both.Wait()
	if got := w.get(locked).HistoryLength; got != 1 {
		t.Fatalf("the locked one's history has %d events", got)
	}
}

// A value that PostgreSQL refuses fails alone.
func TestABadValueInABatchFailsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFlusher(w.Engine) // one that no loop empties, so that all are in one batch
	var works []*work
	for i := range 50 {
		args := model.Payload(`[1]`)
		if i == 20 {
			args = model.Payload(`["\u12"]`) // no JSON; the codec refuses it long before
		}
		row, err := w.newRow(itemAt(0), &model.NewExecution{Kind: model.Job, Name: "j", Args: args})
		if err != nil {
			t.Fatal(err)
		}
		works = append(works, &work{creates: []store.NewRow{row}, ctx: w.ctx, since: time.Now(), done: make(chan error, 1)})
	}
	f.flush(w.ctx, works)
	for i, x := range works {
		if err := <-x.done; (err == nil) == (i == 20) {
			t.Errorf("%d was answered %v", i, err)
		} else if i == 20 && fault.CodeOf(err) != fault.InvalidPayload {
			t.Errorf("the bad one was answered %v", err)
		}
	}
}

func TestWhatAnOutageShowsMakesNobodyDead(t *testing.T) {
	t.Parallel()
	x := watch{seen: map[uuid.UUID]sighting{}}
	id, beat, now := uuid.New(), time.Unix(0, 0), time.Unix(1000, 0)
	silent := []store.Silence{{ID: id, HeartbeatAt: beat, Timeout: 10 * time.Second, Overdue: true}}
	if dead := x.dead(silent, now, 2500*time.Millisecond); len(dead) != 0 {
		t.Fatal("dead at first sight")
	}
	for range 4 {
		now = now.Add(time.Second)
		if dead := x.dead(silent, now, 2500*time.Millisecond); len(dead) != 0 {
			t.Fatal("dead before half the timeout was watched")
		}
	}
	if dead := x.dead(silent, now.Add(time.Second), 2500*time.Millisecond); len(dead) != 1 {
		t.Fatal("not dead after half the timeout")
	}
	if dead := x.dead(silent, now.Add(time.Minute), 2500*time.Millisecond); len(dead) != 0 {
		t.Fatal("dead after a gap in which nobody looked")
	}
	x.forget()
	if dead := x.dead(silent, now.Add(time.Minute+time.Second), 2500*time.Millisecond); len(dead) != 0 {
		t.Fatal("dead after a failed look")
	}
}

// A full disk refuses every heartbeat, and shows everybody's silence.
func TestADatabaseThatTakesNoHeartbeatsMakesNobodyDead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.another(model.Config{})
	w.worker(w.Engine)
	w.createOne(model.Job, "j")
	c := w.claimOne(other, w.worker(other))
	w.exec(`CREATE FUNCTION workflows.full() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN RAISE disk_full; END $$;
		CREATE TRIGGER no_beats BEFORE UPDATE OF heartbeat_at ON workflows.workers FOR EACH ROW EXECUTE FUNCTION workflows.full()`)
	w.eventually("the silence of both", func() bool {
		return w.count(`SELECT count(*) FROM workflows.workers WHERE heartbeat_at < now() - interval '2.5 s'`) == 2
	})
	w.exec(`DROP TRIGGER no_beats ON workflows.workers`)
	w.eventually("beats of both", func() bool {
		return w.count(`SELECT count(*) FROM workflows.workers WHERE heartbeat_at > now() - interval '0.5 s'`) == 2
	})
	if n := w.count(`SELECT count(*) FROM workflows.workers WHERE status <> 'active'`); n != 0 {
		t.Fatalf("%d were declared dead", n)
	}
	w.complete(other, c, `1`)
	if got := w.wants(c.ID, model.Completed); got.Attempts != 1 {
		t.Fatalf("it took %d attempts", got.Attempts)
	}
}

func TestAWatchBeginsAnewWhereThereWasNoRoom(t *testing.T) {
	t.Parallel()
	e := &Engine{}
	e.ticker = newTicker(e)
	x, now := &e.ticker.watch, time.Now()
	silent := []store.Silence{{ID: uuid.New(), HeartbeatAt: now, Timeout: 2 * time.Second, Overdue: true}}
	x.dead(silent, now, time.Hour)
	e.mindRoom(errors.Join(nil, &pgconn.PgError{Code: "53200"}))
	if dead := x.dead(silent, now.Add(2*time.Second), time.Hour); len(dead) != 1 {
		t.Fatal("nobody is dead after another error")
	}
	e.mindRoom(errors.Join(nil, &pgconn.PgError{Code: "53100"}))
	later := now.Add(blindness + time.Second)
	if dead := x.dead(silent, later, time.Hour); len(dead) != 0 {
		t.Fatal("dead by a look from before the disk was full")
	}
	if dead := x.dead(silent, later.Add(2*time.Second), time.Hour); len(dead) != 1 {
		t.Fatal("nobody is dead for ever")
	}
}

// A disk may be full for some and not for others: a page with room takes another beat.
func TestADatabaseWithoutRoomForOurWritesMakesNobodyDead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.another(model.Config{})
	w.worker(w.Engine)
	silent := w.worker(other)
	w.createOne(model.Job, "j")
	c := w.claimOne(other, silent)
	w.exec(fmt.Sprintf(`CREATE FUNCTION workflows.full() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN RAISE disk_full; END $$;
		CREATE TRIGGER no_beats BEFORE UPDATE OF heartbeat_at ON workflows.workers FOR EACH ROW WHEN (OLD.id = '%s') EXECUTE FUNCTION workflows.full();
		CREATE TRIGGER no_starts BEFORE INSERT ON workflows.executions FOR EACH ROW EXECUTE FUNCTION workflows.full()`, silent))
	created := make(chan struct{})
	go func() {
		defer close(created)
		w.create(model.NewExecution{Kind: model.Job, Name: "no room", Queue: "nobody's"})
	}()
	w.eventually("the silence of one", func() bool {
		return w.count(`SELECT count(*) FROM workflows.workers WHERE heartbeat_at < now() - interval '3 s'`) == 1
	})
	w.exec(`DROP TRIGGER no_beats ON workflows.workers; DROP TRIGGER no_starts ON workflows.executions`)
	<-created
	w.complete(other, c, `1`)
	if got := w.wants(c.ID, model.Completed); got.Attempts != 1 || got.Crashes != 0 {
		t.Fatalf("it took %d attempts, with %d crashes", got.Attempts, got.Crashes)
	}
}

func TestBadRequestsAreRefusedByPathAndNothingIsWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	job := func(mend func(*model.NewExecution)) model.NewExecution {
		n := model.NewExecution{Kind: model.Job, Name: "j"}
		mend(&n)
		return n
	}
	cases := map[string]struct {
		item model.NewExecution
		code fault.Code
	}{
		"items[1].name":            {job(func(n *model.NewExecution) { n.Name = "" }), fault.InvalidRequest},
		"items[1].queue":           {job(func(n *model.NewExecution) { n.Queue = strings.Repeat("q", 10_000) }), fault.InvalidRequest},
		"items[1].kind":            {job(func(n *model.NewExecution) { n.Kind = "task" }), fault.InvalidRequest},
		"items[1].priority":        {job(func(n *model.NewExecution) { n.Priority = pointer(11) }), fault.InvalidRequest},
		"items[1].delay_ms":        {job(func(n *model.NewExecution) { n.DelayMS = -1 }), fault.InvalidRequest},
		"items[1].timeout_ms":      {job(func(n *model.NewExecution) { n.TimeoutMS = 1 << 60 }), fault.InvalidRequest},
		"items[1].retry.retries":   {job(func(n *model.NewExecution) { n.Retry = &model.RetryPolicy{Retries: pointer(-1)} }), fault.InvalidRequest},
		"items[1].args":            {job(func(n *model.NewExecution) { n.Args = model.Payload(`{}`) }), fault.InvalidPayload},
		"items[1].kwargs":          {job(func(n *model.NewExecution) { n.Kwargs = model.Payload(`[]`) }), fault.InvalidPayload},
		"items[1].idempotency_key": {job(func(n *model.NewExecution) { n.IdempotencyKey = pointer("a\x00b") }), fault.InvalidRequest},
	}
	for path, c := range cases {
		_, err := w.CreateExecution(w.ctx, model.CreateExecutionRequest{Items: []model.NewExecution{{Kind: model.Job, Name: "good"}, c.item}})
		if f := fault.From(err); f.Code != c.code || f.Details["path"] != path {
			t.Errorf("%s: %v %v", path, err, f.Details)
		}
	}
	large := job(func(n *model.NewExecution) { n.Args = model.Payload(`["` + strings.Repeat("x", 1<<20) + `"]`) })
	if _, err := w.CreateExecution(w.ctx, model.CreateExecutionRequest{Items: []model.NewExecution{large}}); fault.CodeOf(err) != fault.PayloadTooLarge {
		t.Errorf("a large payload: %v", err)
	}
	for _, queues := range [][]string{nil, {""}} {
		if _, err := w.StartWorker(w.ctx, model.StartWorkerRequest{Queues: queues}); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("queues %q: %v", queues, err)
		}
	}
	page, err := w.ListExecutions(w.ctx, model.ListExecutionsRequest{})
	if err != nil || len(page.Executions) != 0 {
		t.Fatalf("%d rows were written, %v", len(page.Executions), err)
	}
}

func TestAClosedEngineRefusesEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.another(model.Config{})
	worker := w.worker(e)
	waiting := make(chan error, 2)
	id := w.createOne(model.Job, "nobody's")
	go func() {
		_, err := e.WaitExecution(w.ctx, model.WaitExecutionRequest{ID: id, WaitMS: 60_000})
		waiting <- err
	}()
	claimed, err := e.Claim(w.ctx, model.ClaimRequest{WorkerID: worker, N: 1, WaitMS: 1000})
	if err != nil || len(claimed.Executions) != 1 {
		t.Fatalf("claimed %s, %v", asText(claimed), err)
	}
	if err := e.Close(time.Second); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(time.Second); err != nil {
		t.Fatalf("closing twice: %v", err)
	}
	if code := fault.CodeOf(<-waiting); code != fault.Closed {
		t.Fatalf("a waiter was answered %s", code)
	}
	if _, err := e.GetExecution(w.ctx, model.GetExecutionRequest{ID: id}); fault.CodeOf(err) != fault.Closed {
		t.Fatalf("a read was answered %v", err)
	}
	if got := w.wants(id, model.Pending); got.Attempts != 0 {
		t.Fatalf("what it held was not given back: %s", asText(got))
	}
}

func TestListingPagesThroughEverythingNewestFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 25 {
		w.create(model.NewExecution{Kind: model.Job, Name: fmt.Sprintf("j%d", i%2), Queue: "q"})
	}
	seen := map[uuid.UUID]bool{}
	cursor, last := "", uuid.Max
	for pages := 0; ; pages++ {
		page, err := w.ListExecutions(w.ctx, model.ListExecutionsRequest{Limit: 10, Cursor: cursor, Name: "j1"})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Executions {
			if seen[e.ID] || e.ID.String() >= last.String() || e.Name != "j1" {
				t.Fatalf("out of order: %s", e.ID)
			}
			seen[e.ID], last = true, e.ID
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
		if pages > 5 {
			t.Fatal("the cursor never ends")
		}
	}
	if len(seen) != 12 {
		t.Fatalf("%d listed, want 12", len(seen))
	}
}

// Q17: whoever opens it, before anything is claimed.
func TestALibraryThatDoesNotFitTheSchemaRefusesBeforeClaiming(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.createOne(model.Job, "waits")
	for _, other := range []struct {
		name    string
		version int
		code    fault.Code
		advice  string
	}{
		{name: "an older library", version: model.SchemaVersion + 1, code: fault.SchemaTooNew, advice: "update libworkflows"},
		{name: "a newer library", version: -1, code: fault.SchemaOutdated, advice: "workflows migrate up"},
	} {
		w.exec(`UPDATE workflows.schema_migrations SET version = $1`, other.version)
		e := w.another(model.Config{})
		_, starting := e.StartWorker(w.ctx, model.StartWorkerRequest{Queues: []string{"default"}, Language: "test"})
		_, creating := e.CreateExecution(w.ctx, model.CreateExecutionRequest{Items: []model.NewExecution{{Kind: model.Job, Name: "more"}}})
		for _, err := range []error{starting, creating} {
			if fault.CodeOf(err) != other.code || !strings.Contains(fault.From(err).Message, other.advice) {
				t.Errorf("%s: %v", other.name, err)
			}
		}
	}
	w.exec(`UPDATE workflows.schema_migrations SET version = $1`, model.SchemaVersion)
	if page, err := w.ListExecutions(w.ctx, model.ListExecutionsRequest{}); err != nil || len(page.Executions) != 1 || page.Executions[0].ID != id || page.Executions[0].Status != model.Pending {
		t.Fatalf("there is %s, %v", asText(page), err)
	}
}
