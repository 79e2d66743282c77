package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// pipeline is several statements in one round trip and one implicit
// transaction. Each has a snapshot of its own, so one that follows the lock
// sees what the lock's earlier holder committed.
type pipeline struct {
	store *Store
	batch pgx.Batch
	steps []step
}

type step struct {
	stmt *statement
	scan func(pgx.CollectableRow) error
}

func (s *Store) pipeline() *pipeline { return &pipeline{store: s} }

// add queues a statement whose rows go to scan, or nowhere when it is nil.
func (p *pipeline) add(stmt *statement, scan func(pgx.CollectableRow) error, args ...any) {
	p.batch.Queue(p.store.texts[stmt], args...)
	p.steps = append(p.steps, step{stmt, scan})
}

func (p *pipeline) run(ctx context.Context, pool *pgxpool.Pool) error {
	if len(p.steps) == 0 {
		return nil
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return p.store.classify(err)
	}
	defer conn.Release()
	results := conn.SendBatch(ctx, &p.batch)
	err = p.collect(results)
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	return p.store.classify(err)
}

func (p *pipeline) collect(results pgx.BatchResults) error {
	for _, step := range p.steps {
		rows, err := results.Query()
		if err == nil {
			err = eachRow(rows, step.rows())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", step.stmt.name, err)
		}
	}
	return nil
}

func (s step) rows() func(pgx.CollectableRow) error {
	if s.scan != nil {
		return s.scan
	}
	return func(pgx.CollectableRow) error { return nil }
}

// lockSQL locks the executions concerned and their parents, in the one order
// that everybody keeps: by id. Without it two batches deadlock within seconds,
// and a wake-up that is decided on an older snapshot is lost.
var lockSQL = define("lock", `
SELECT id FROM workflows.executions
WHERE id IN (
    SELECT unnest($1::uuid[])
    UNION SELECT parent_id FROM workflows.executions WHERE id = ANY($1) AND parent_id IS NOT NULL
    UNION SELECT c.id FROM unnest($2::uuid[], $3::int[]) AS x(parent_id, sequence)
        JOIN workflows.executions c ON c.parent_id = x.parent_id AND c.sequence = x.sequence
)
ORDER BY id
FOR NO KEY UPDATE`)
