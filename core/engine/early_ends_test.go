package engine

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// shortLife is a batch in which a workflow starts and ends.
func (w *world) shortLife(worker uuid.UUID) store.Batch {
	w.Helper()
	row, err := w.newRow(itemAt(0), &model.NewExecution{Kind: model.Workflow, Name: "flow", Args: model.Payload("[1]"), Awaited: true})
	if err != nil {
		w.Fatal(err)
	}
	row.Early = &store.Early{Worker: worker, Token: uuid.New(), At: time.Now().UTC().Truncate(time.Microsecond), Started: model.Payload(`{"language":"test"}`)}
	return store.Batch{
		Creates: []store.NewRow{row},
		Finishes: []store.Finish{{
			ID: row.ID, Lease: model.Lease{Epoch: 1, Token: row.Early.Token}, Position: 1, OK: true, Result: model.Payload(`{"a": 1}`),
			Workflow: true, Root: true, Plain: true,
		}},
		MaxHistory: 100,
	}
}

func (w *world) flush(b store.Batch) store.Flushed {
	w.Helper()
	flushed, err := w.store.Flush(w.ctx, b)
	if err != nil {
		w.Fatal(err)
	}
	return flushed
}

// versions answers how often the only row of executions was written.
func (w *world) versions() (n int) {
	w.Helper()
	conn, err := pgx.Connect(w.ctx, w.direct)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = conn.Close(w.ctx) }()
	if err := conn.QueryRow(w.ctx, w.inSchema("SELECT (ctid::text::point)[1] FROM workflows.executions")).Scan(&n); err != nil {
		w.Fatal(err)
	}
	return n
}

func TestAWorkflowThatEndsWithItsStartIsWrittenOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.shortLife(w.worker(w.Engine))
	id := b.Creates[0].ID
	flushed := w.flush(b)
	if made := flushed.Made[id]; !made.Inserted || made.Status != string(model.Running) || made.Queue != "default" {
		t.Errorf("it was made as %+v", made)
	}
	if end := flushed.Finishes[0]; !end.Held || end.Status != model.Completed || end.Kind != model.Workflow || !end.Awaited {
		t.Errorf("it ended as %+v", end)
	}
	if n := w.versions(); n != 1 {
		t.Errorf("the row was written %d times", n)
	}
	again := w.flush(b) // its answer was lost
	if again.Made[id].Inserted || !again.Finishes[0].SameLease || again.Finishes[0].Status != model.Completed {
		t.Errorf("again: %+v, %+v", again.Made[id], again.Finishes[0])
	}
}

func TestAWorkflowThatIsWrittenOnceIsAsIfItWereWrittenTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	once, twice := w.shortLife(worker), w.shortLife(worker)
	twice.Creates[0].Early.At = once.Creates[0].Early.At
	w.flush(once)
	w.flush(store.Batch{Creates: twice.Creates, MaxHistory: 100})
	w.flush(store.Batch{Finishes: twice.Finishes, MaxHistory: 100})
	one, two := w.wants(once.Creates[0].ID, model.Completed), w.wants(twice.Creates[0].ID, model.Completed)
	if one.FinishedAt.Before(*one.StartedAt) || string(one.Result) != `{"a": 1}` {
		t.Errorf("it is %s", asText(one))
	}
	two.ID, two.RootID, two.FinishedAt = one.ID, one.RootID, one.FinishedAt
	if asText(one) != asText(two) {
		t.Errorf("written once\n%s\nand twice\n%s", asText(one), asText(two))
	}
	a, errA := w.GetHistory(w.ctx, model.GetHistoryRequest{ID: one.ID})
	b, errB := w.GetHistory(w.ctx, model.GetHistoryRequest{ID: twice.Creates[0].ID})
	if errA != nil || errB != nil || asText(a.Events) != asText(b.Events) {
		t.Errorf("the histories are\n%s, %v\n%s, %v", asText(a.Events), errA, asText(b.Events), errB)
	}
}

func TestAWorkerThatIsGoneEndsNothingWithItsStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.shortLife(uuid.New())
	flushed := w.flush(b)
	if end := flushed.Finishes[0]; end.Held || end.SameLease {
		t.Errorf("it ended as %+v", end)
	}
	if row := w.wants(b.Creates[0].ID, model.Pending); row.Result != nil || row.FinishedAt != nil {
		t.Errorf("it is %s", asText(row))
	}
}

func TestAnEndUnderAnotherLeaseIsNoneOfTheStarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.shortLife(w.worker(w.Engine))
	b.Finishes[0].Lease.Token = uuid.New()
	if end := w.flush(b).Finishes[0]; end.Held || end.SameLease {
		t.Errorf("it ended as %+v", end)
	}
	w.wants(b.Creates[0].ID, model.Running)
}
