package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/libworkflows/libworkflows/core/failpoint"
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
	p.batch.Queue(p.store.texts[stmt], plain(args)...)
	p.steps = append(p.steps, step{stmt, scan})
}

// plain turns slices of ids into what pgx encodes without a detour: through
// uuid.UUID's driver.Valuer each id becomes a text and is parsed again, twenty
// times the work.
func plain(args []any) []any {
	for i, arg := range args {
		switch ids := arg.(type) {
		case []uuid.UUID:
			raw := make([][16]byte, len(ids))
			for j := range ids {
				raw[j] = ids[j]
			}
			args[i] = raw
		case []*uuid.UUID:
			raw := make([]*[16]byte, len(ids))
			for j := range ids {
				raw[j] = (*[16]byte)(ids[j])
			}
			args[i] = raw
		}
	}
	return args
}

func (p *pipeline) run(ctx context.Context, pool *pgxpool.Pool) error {
	if len(p.steps) == 0 {
		return nil
	}
	if err := p.pass(failpoint.Before); err != nil {
		return p.store.classify(err)
	}
	conn, err := p.store.acquire(ctx, pool)
	if err != nil {
		return p.store.classify(err)
	}
	defer conn.Release()
	if isPooled(conn.Conn()) {
		err = p.sendPooled(ctx, conn)
	} else {
		err = p.send(ctx, conn)
	}
	if err == nil {
		err = p.pass(failpoint.After)
	}
	if err != nil {
		p.store.failed(ctx, conn.Conn(), err)
	}
	return p.store.classify(err)
}

// pass is where a test build may fail: each statement names a point.
func (p *pipeline) pass(where string) error {
	if !failpoint.Enabled {
		return nil
	}
	for _, step := range p.steps {
		if err := failpoint.Hit(where, step.stmt.name); err != nil {
			return err
		}
	}
	return nil
}

func (p *pipeline) send(ctx context.Context, conn *pgxpool.Conn) error {
	results := conn.SendBatch(ctx, &p.batch)
	err := p.collect(results)
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	return err
}

// failed leaves the connection fit for others. It cannot wait for ctx, which may be over.
func (s *Store) failed(ctx context.Context, conn *pgx.Conn, err error) {
	var server *pgconn.PgError
	if errors.As(err, &server) && isStrayName(server.Code) {
		s.distrust()
	}
	if conn.PgConn().TxStatus() != 'E' {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackPatience)
	defer cancel()
	_, _ = conn.Exec(ctx, "ROLLBACK") // if that fails too, the pool sees it and drops the connection
}

// distrust gives up prepared statements by name, and every connection that has some.
func (s *Store) distrust() {
	slog.Warn("prepared statements get lost on the way to PostgreSQL; they are used no more")
	s.route.pooled.Store(true)
	s.route.asked.Store(true)
	s.route.named.Store(false)
	s.pool.Reset()
	s.control.Reset()
}

// The first two begin a transaction on a pooled connection, the third ends it.
// Isolation is fixed before the settings are read, so that BEGIN has to say it.
var (
	beginSQL    = define("begin", `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE`)
	settingsSQL = define("settings", localSettings())
	commitSQL   = define("commit", `COMMIT`)
)

// sendPooled makes the pipeline a transaction that brings its settings along. A text
// is described to a connection before a pipeline begins, and what its names mean is
// decided there: so the first time the settings go ahead, in a round trip of their own.
func (p *pipeline) sendPooled(ctx context.Context, conn *pgxpool.Conn) error {
	opening := p.store.pipeline()
	opening.add(beginSQL, nil)
	opening.add(settingsSQL, nil)
	p.add(commitSQL, nil)
	described := describedTo(conn.Conn())
	if described.all(&p.batch) {
		p.batch.QueuedQueries = append(opening.batch.QueuedQueries, p.batch.QueuedQueries...)
		p.steps = append(opening.steps, p.steps...)
		return p.send(ctx, conn)
	}
	if err := opening.send(ctx, conn); err != nil {
		return err
	}
	if err := p.send(ctx, conn); err != nil {
		return err
	}
	described.add(&p.batch)
	return nil
}

// described are the texts that a connection knows under our settings.
type described map[string]bool

const describedMark = "libworkflows.described"

func describedTo(conn *pgx.Conn) described {
	data := conn.PgConn().CustomData()
	texts, _ := data[describedMark].(described)
	if texts == nil {
		texts = described{}
		data[describedMark] = texts
	}
	return texts
}

func (d described) add(batch *pgx.Batch) {
	for _, q := range batch.QueuedQueries {
		d[q.SQL] = true
	}
}

func (d described) all(batch *pgx.Batch) bool {
	return !slices.ContainsFunc(batch.QueuedQueries, func(q *pgx.QueuedQuery) bool { return !d[q.SQL] })
}

const rollbackPatience = 5 * time.Second

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
//
// Here and below LATERAL with OFFSET 0 makes PostgreSQL look rows up by their
// key, one by one: with a join it would choose by statistics that are often
// missing, and read a large table from end to end. In EXISTS, OFFSET 0 keeps it
// from doing the same by a hash of the whole table.
var lockSQL = define("lock", `
WITH wanted AS MATERIALIZED (
    SELECT DISTINCT id FROM (
        SELECT unnest($1::uuid[]) AS id
        UNION ALL SELECT p.parent_id FROM unnest($1::uuid[]) AS x(id)
            CROSS JOIN LATERAL (SELECT e.parent_id FROM workflows.executions e WHERE e.id = x.id OFFSET 0) p WHERE p.parent_id IS NOT NULL
        UNION ALL SELECT c.id FROM unnest($2::uuid[], $3::int[]) AS x(parent_id, sequence)
            CROSS JOIN LATERAL (SELECT c.id FROM workflows.executions c WHERE c.parent_id = x.parent_id AND c.sequence = x.sequence OFFSET 0) c) u
    ORDER BY id)
SELECT e.id FROM wanted CROSS JOIN LATERAL (SELECT e.id FROM workflows.executions e WHERE e.id = wanted.id FOR NO KEY UPDATE) e`)
