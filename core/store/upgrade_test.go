package store

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

func TestAnOlderSchemaKeepsItsRowsOnTheWayUp(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := unmigrated(t)
	if err := s.migrating(ctx, "", func(_ *migration, m *migrate.Migrate) error { return m.Migrate(1) }); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckVersion(ctx); fault.CodeOf(err) != fault.SchemaOutdated {
		t.Fatalf("the first schema: %v", err)
	}
	id := uuid.New()
	if _, err := s.pool.Exec(ctx, `INSERT INTO `+quoteSchema(s.schema)+`.executions (id, root_id, kind, name, queue, status, priority, run_at, created_at)
		VALUES ($1, $1, 'workflow', 'flow', 'default', 'pending', 5, now(), now())`, id); err != nil {
		t.Fatal(err)
	}
	if err := s.MigrateUp(ctx); err != nil {
		t.Fatal(err)
	}
	worker := uuid.New()
	if err := s.Register(ctx, worker, model.StartWorkerRequest{Queues: []string{"default"}}); err != nil {
		t.Fatal(err)
	}
	claimed, err := s.Claim(ctx, Claim{Worker: worker, Queues: []string{"default"}, N: 1, Token: uuid.New(), Warm: true})
	if err != nil || len(claimed) != 1 || claimed[0].ID != id || len(claimed[0].Events) != 1 {
		t.Fatalf("claimed %v, %v", claimed, err)
	}
}

// Rows of an older schema, so many that a migration which rewrites or reads them all takes longer than
// anybody may be kept waiting.
const manyRows = 200_000

// A migration that wants a table for itself stands in line behind whoever has it, and everybody else
// behind the migration: a dump that is under way must not become an outage.
func TestAMigrationOfALiveTableKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := atVersion(t, model.SchemaVersion-1)
	table := quoteSchema(s.schema) + ".executions"
	s.fill(t, table)
	dump := s.session(t)
	if _, err := dump.Exec(ctx, "BEGIN; LOCK "+table+" IN ACCESS SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	migrated, worst := make(chan error, 1), s.using(t, table)
	go func() { migrated <- s.MigrateUp(ctx) }()
	select {
	case err := <-migrated:
		t.Fatalf("it did not wait for a table that was in use: %v", err)
	case <-time.After(4 * time.Second): // many times as long as it may stand in line
	}
	if _, err := dump.Exec(ctx, "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err != nil {
		t.Fatal(err)
	}
	if stall := time.Duration(worst()); stall > 2*time.Second {
		t.Errorf("somebody was kept waiting for %v", stall) // a second is allowed, and one more to a busy machine
	}
	if err := s.CheckVersion(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestAMigrationGivesUpOnATableThatStaysInUseAndSaysSo(t *testing.T) {
	t.Parallel()
	s := atVersion(t, model.SchemaVersion-1)
	dump := s.session(t)
	if _, err := dump.Exec(context.Background(), "BEGIN; LOCK "+quoteSchema(s.schema)+".executions IN ACCESS SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer cancel()
	if err := s.MigrateUp(ctx); fault.CodeOf(err) != fault.Timeout || !strings.Contains(err.Error(), "in use") {
		t.Errorf("it said %v", err)
	}
}

func atVersion(t *testing.T, version uint) *Store {
	t.Helper()
	s := unmigrated(t)
	if err := s.migrating(context.Background(), "", func(_ *migration, m *migrate.Migrate) error { return m.Migrate(version) }); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Store) session(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.ConnectConfig(context.Background(), s.config.ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (s *Store) fill(t *testing.T, table string) {
	t.Helper()
	if _, err := s.pool.Exec(context.Background(), `INSERT INTO `+table+` (id, root_id, kind, name, queue, status, priority, run_at, created_at, finished_at)
		SELECT id, id, 'job', 'old', 'default', 'completed', 5, now(), now(), now() FROM (SELECT gen_random_uuid() id FROM generate_series(1, $1)) made`, manyRows); err != nil {
		t.Fatal(err)
	}
}

// using writes to a table again and again until the answer is asked for: how long a write took, at most.
func (s *Store) using(t *testing.T, table string) (worst func() int64) {
	t.Helper()
	conn := s.session(t)
	var most atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	write := func() error {
		id, began := uuid.New(), time.Now()
		_, err := conn.Exec(context.Background(), `INSERT INTO `+table+` (id, root_id, kind, name, queue, status, priority, run_at, created_at)
			VALUES ($1, $1, 'job', 'new', 'default', 'pending', 5, now(), now())`, id)
		most.Store(max(most.Load(), int64(time.Since(began))))
		return err
	}
	go func() {
		var err error
		for err == nil && ctx.Err() == nil {
			err = write()
		}
		done <- err
	}()
	return func() int64 {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("somebody could not write: %v", err)
		}
		return most.Load()
	}
}
