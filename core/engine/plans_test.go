package engine

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

// readByScans counts the rows that were read by scans of whole tables, once
// PostgreSQL has counted at least so many look-ups by index.
func (w *world) readByScans(lookups int64) (rows int64) {
	w.Helper()
	conn, err := pgx.Connect(w.ctx, w.direct)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = conn.Close(w.ctx) }()
	w.eventually("PostgreSQL's count", func() bool {
		var byIndex int64
		err := conn.QueryRow(w.ctx, `SELECT coalesce(sum(seq_tup_read), 0), coalesce(sum(idx_scan), 0) FROM pg_stat_user_tables
			WHERE schemaname = $1 AND relname IN ('executions', 'history', 'timers')`, w.schema).Scan(&rows, &byIndex)
		return err == nil && byIndex >= lookups
	})
	return rows
}

// A plan is made while the tables are empty and without statistics, and kept.
func TestNoStatementOfTheDailyWorkReadsAWholeTable(t *testing.T) {
	t.Parallel()
	newWorld(t).worksWithoutScans()
}

func (w *world) worksWithoutScans() {
	w.Helper()
	worker := w.worker(w.Engine)
	const rounds = 50
	for range rounds {
		w.createOne(model.Workflow, "flow")
		c := w.claimOne(w.Engine, worker)
		a := w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep, Commands: []model.Command{schedule(1, model.Activity, "a"), timer(2, 3_600_000)}})
		w.signal(c.ID, "s", "1")
		w.complete(w.Engine, w.claimOne(w.Engine, worker), "1")
		w.cancelOne(c.ID)
		a = w.advance(w.Engine, c, model.Advance{Position: a.Position, Then: model.ThenKeep, Commands: []model.Command{{Type: model.CommandCancel, Sequence: 2}}})
		c.Position = a.Position
		w.complete(w.Engine, c, "1")
		w.create(model.NewExecution{Kind: model.Job, Name: "later", DelayMS: 1, IdempotencyKey: pointer(c.ID.String()), Queue: "default"})
		later := w.claimOne(w.Engine, worker)
		reply, err := w.FailExecution(w.ctx, model.FailExecutionRequest{Items: []model.Failure{{ID: later.ID, Lease: later.Lease, Error: model.Payload(`{"type":"E","non_retryable":true}`)}}})
		only(w, reply.Results, err)
	}
	if rows := w.readByScans(rounds * 10); rows > 0 {
		w.Fatalf("%d rows were read by scans of whole tables", rows)
	}
}

func TestContinuingAndComingBackWarmReadNoWholeTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.another(model.Config{}) // what w.Engine creates is not handed over to it
	worker := w.worker(e, warm)
	const rounds = 50
	for round := range rounds {
		n := cart(fmt.Sprint(round), "1", "2")
		n.TimeoutMS, n.Queue = 3_600_000, "default"
		w.create(n)
		w.create(n)
		c := w.claimOne(e, worker)
		a := w.advance(e, c, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{schedule(1, model.Workflow, "child"), timer(2, 3_600_000)}})
		child := w.claimOne(e, worker)
		if a.Status != model.Suspended || child.ID == c.ID {
			t.Fatalf("suspended %s, claimed %s", asText(a), asText(child))
		}
		w.goOn(e, child, model.Advance{})
		w.complete(e, w.claimOne(e, worker), "1")
		c = w.claimOne(e, worker)
		open := schedule(3, model.Activity, "open")
		open.Execution.Queue = "nobody"
		w.goOn(e, c, model.Advance{Carry: []int{1, 2}, Commands: []model.Command{open, timer(4, 3_600_000)}})
		w.complete(e, w.claimOne(e, worker), "1")
		w.waitFor(c.ID)
	}
	if rows := w.readByScans(rounds * 10); rows > 0 {
		t.Fatalf("%d rows were read by scans of whole tables", rows)
	}
}
