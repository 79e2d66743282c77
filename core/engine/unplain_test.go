package engine

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

// A result that news has overtaken goes the long way, which reads the row before it writes it: it
// has to wait for whoever is about to end that.
func TestAResultThatGoesTheLongWayWaitsForWhoEndsItFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	w.createOne(model.Workflow, "flow")
	flow := w.claimOne(w.Engine, worker)
	w.signal(flow.ID, "s", "1")

	conn, err := pgx.Connect(w.ctx, w.direct)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(w.ctx) }()
	if _, err := conn.Exec(w.ctx, w.inSchema(`BEGIN; UPDATE workflows.executions SET status = 'cancelled', finished_at = now()`)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan model.Result[model.Advanced], 1)
	go func() {
		reply, err := w.CompleteExecution(w.ctx, model.CompleteExecutionRequest{Items: []model.Completion{{ID: flow.ID, Lease: flow.Lease, Position: 1, Result: model.Payload("1")}}})
		if err != nil {
			w.Errorf("complete: %v", err)
			reply.Results = make([]model.Result[model.Advanced], 1)
		}
		ended <- reply.Results[0]
	}()
	w.eventually("a write that waits", func() bool {
		return w.count(`SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))`, int(conn.PgConn().PID())) > 0
	})
	if _, err := conn.Exec(w.ctx, "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if got := <-ended; got.OK != nil && got.OK.Status != model.Cancelled {
		t.Errorf("answered %s", asText(got))
	}
	if row := w.wants(flow.ID, model.Cancelled); row.Result != nil {
		t.Errorf("the row is %s", asText(row))
	}
}
