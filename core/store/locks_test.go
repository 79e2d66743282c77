package store

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/model"
)

// Two batches that lock the same rows in different orders wait for each other. The lock
// timeout ends that before PostgreSQL sees a deadlock, so that no log would tell.
func TestABatchLocksItsRowsInTheOrderOfTheirIDs(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s := open(t)
	var ids []uuid.UUID
	for range 30 {
		ids = append(ids, uuid.New())
	}
	table := quoteSchema(s.schema) + ".executions"
	if _, err := s.pool.Exec(ctx, `INSERT INTO `+table+` (id, root_id, kind, name, queue, status, priority, run_at, created_at)
		SELECT id, id, 'workflow', 'flow', 'default', 'pending', 5, now(), now() FROM unnest($1::uuid[]) AS id`, plain([]any{ids})[0]); err != nil {
		t.Fatal(err)
	}
	tx, err := s.control.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	first := slices.MinFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	if _, err := tx.Exec(ctx, `SELECT FROM `+table+` WHERE id = $1 FOR UPDATE`, first); err != nil {
		t.Fatal(err)
	}
	b := Batch{MaxHistory: 10}
	for i, id := range ids {
		b.Signals = append(b.Signals, Signal{ID: id, Name: "s", Payload: model.Payload("1"), Key: fmt.Sprint(i)})
	}
	flushed := make(chan error, 1)
	go func() { _, err := s.Flush(ctx, b); flushed <- err }()
	pid := tx.Conn().PgConn().PID()
	for waits := false; !waits; time.Sleep(time.Millisecond) {
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1::int = ANY (pg_blocking_pids(pid)))`, pid).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := tx.Query(ctx, `SELECT id FROM `+table+` FOR UPDATE SKIP LOCKED`)
	if err != nil {
		t.Fatal(err)
	}
	free, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil || len(free) != len(ids) {
		t.Fatalf("while it waits for the first of %d rows it holds %d, %v", len(ids), len(ids)-len(free), err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-flushed; err != nil {
		t.Fatal(err)
	}
}
