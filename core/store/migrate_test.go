package store

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/internal/pgtest"
	"github.com/libworkflows/libworkflows/core/model"
)

const migrateHere = "STORE_TEST_MIGRATE" // url and schema, for a process that only migrates

// TestMain lets the test binary be one of many processes that migrate.
func TestMain(m *testing.M) {
	if where := os.Getenv(migrateHere); where != "" {
		url, schema, _ := strings.Cut(where, " ")
		if err := migrateOnce(url, schema); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func migrateOnce(url, schema string) error {
	s, err := Open(context.Background(), Config{URL: url, Schema: schema, PoolSize: 1})
	if err != nil {
		return err
	}
	defer s.Close()
	return s.MigrateUp(context.Background())
}

func unmigrated(t *testing.T) *Store {
	t.Helper()
	url, schema := pgtest.Schema(t)
	s, err := Open(context.Background(), Config{URL: url, Schema: schema, PoolSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Q18
func TestFiftyProcessesThatMigrateAtOnceAllSucceed(t *testing.T) {
	t.Parallel()
	url, schema := pgtest.Schema(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			command := exec.Command(self)
			command.Env = append(os.Environ(), migrateHere+"="+url+" "+schema)
			if out, err := command.CombinedOutput(); err != nil {
				t.Errorf("a process failed: %v: %s", err, out)
			}
		})
	}
	all.Wait()
	s, err := Open(context.Background(), Config{URL: url, Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if version, err := s.Version(context.Background()); err != nil || version != model.SchemaVersion {
		t.Fatalf("version %d, %v", version, err)
	}
}

// A migration is one transaction: nothing is left of one that is killed, and
// nobody has to find out how far it came.
func TestAMigrationThatIsCutOffLeavesNothingAndIsRunAgain(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := unmigrated(t)
	obstacle, pid := s.obstruct(t, "workers")
	ended := make(chan error, 1)
	go func() { ended <- s.MigrateUp(ctx) }()
	blocked := s.blockedBy(t, pid)

	hasty, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if err := s.MigrateUp(hasty); fault.CodeOf(err) != fault.Timeout || !strings.Contains(err.Error(), "another process") {
		t.Errorf("beside another migration: %v", err)
	}

	var tables int
	s.scan(t, &tables, `SELECT pg_terminate_backend($1)::int`, blocked)
	if err := <-ended; fault.CodeOf(err) != fault.DatabaseUnavailable {
		t.Errorf("a migration that was killed: %v", err)
	}
	if err := obstacle.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if s.scan(t, &tables, `SELECT count(*) FROM pg_tables WHERE schemaname = $1`, s.schema); tables != 0 {
		t.Errorf("it left %d tables", tables)
	}
	if err := s.MigrateUp(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckVersion(ctx); err != nil {
		t.Fatal(err)
	}
}

// obstruct makes a table that a migration will make, in a transaction that stays open.
func (s *Store) obstruct(t *testing.T, table string) (obstacle pgx.Tx, pid uint32) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.ConnectConfig(ctx, s.config.ConnConfig)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close(ctx) })
		_, err = conn.Exec(ctx, "CREATE SCHEMA "+quoteSchema(s.schema))
	}
	if err == nil {
		obstacle, err = conn.Begin(ctx)
	}
	if err == nil {
		_, err = obstacle.Exec(ctx, "CREATE TABLE "+quoteSchema(s.schema)+"."+table+" ()")
	}
	if err != nil {
		t.Fatal(err)
	}
	return obstacle, conn.PgConn().PID()
}

// blockedBy waits until a process of the server waits for another, and answers it.
func (s *Store) blockedBy(t *testing.T, pid uint32) (blocked int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); blocked == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody ran into the obstacle")
		}
		s.scan(t, &blocked, `SELECT coalesce(min(pid), 0) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))`, int(pid))
	}
	return blocked
}

func (s *Store) scan(t *testing.T, into any, sql string, args ...any) {
	t.Helper()
	if err := s.pool.QueryRow(context.Background(), sql, args...).Scan(into); err != nil {
		t.Fatal(err)
	}
}

// Who uses the tables locks them in another order than a migration does.
func TestAMigrationThatMeetsADeadlockIsRunAgain(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := unmigrated(t)
	if err := s.MigrateUp(ctx); err != nil {
		t.Fatal(err)
	}
	user, err := s.pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	read := func(table string) error {
		return user.QueryRow(ctx, "SELECT count(*) FROM "+quoteSchema(s.schema)+"."+table).Scan(&n)
	}
	if _, err := user.Exec(ctx, `SET LOCAL deadlock_timeout = '1min'`); err != nil { // so that the other one gives way
		t.Fatal(err)
	}
	if err := read("workers"); err != nil {
		t.Fatal(err)
	}
	other, err := Open(ctx, Config{URL: s.config.ConnString(), Schema: s.schema, PoolSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	ended := make(chan error, 1)
	go func() { ended <- other.MigrateDown(ctx) }()
	s.blockedBy(t, user.Conn().PgConn().PID())
	if err := read("executions"); err != nil {
		t.Fatalf("the deadlock was settled at the cost of who uses the tables: %v", err)
	}
	if err := user.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if version, err := s.Version(ctx); err != nil || version != 0 {
		t.Fatalf("version %d, %v", version, err)
	}
}

func TestSomebodyElsesMigrationThatWasCutOffIsReported(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t)
	if _, err := s.pool.Exec(ctx, "UPDATE "+quoteSchema(s.schema)+"."+migrationsTable+" SET dirty = true"); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckVersion(ctx); fault.CodeOf(err) != fault.SchemaMissing {
		t.Errorf("a schema in between: %v", err)
	}
	if err := s.MigrateUp(ctx); fault.CodeOf(err) != fault.InvalidState {
		t.Errorf("migrating it: %v", err)
	}
}

func TestDownRemovesEverythingAndUpBringsItBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t)
	if err := s.MigrateDown(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckVersion(ctx); fault.CodeOf(err) != fault.SchemaMissing {
		t.Fatalf("after down: %v", err)
	}
	if err := s.MigrateUp(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckVersion(ctx); err != nil {
		t.Fatal(err)
	}
}

// Q17
func TestASchemaOfAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := unmigrated(t)
	if err := s.CheckVersion(ctx); fault.CodeOf(err) != fault.SchemaMissing {
		t.Fatalf("an empty database: %v", err)
	}
	if err := s.MigrateUp(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.pool.Exec(ctx, "UPDATE "+quoteSchema(s.schema)+".schema_migrations SET version = 9999"); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckVersion(ctx); fault.CodeOf(err) != fault.SchemaTooNew {
		t.Fatalf("a newer schema: %v", err)
	}
	if err := s.MigrateUp(ctx); fault.CodeOf(err) != fault.SchemaTooNew {
		t.Fatalf("migrating a newer schema: %v", err)
	}
}

func TestADatabaseThatCannotBeReachedIsATypedErrorWithoutThePassword(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]fault.Code{
		"postgresql://u:canary-secret@127.0.0.1:1/db":         fault.DatabaseUnavailable,
		"postgresql://u:canary-secret@nowhere.invalid/db":     fault.DatabaseUnavailable,
		"postgresql://u:canary-secret@host:not-a-port/db":     fault.InvalidConfig,
		"not a url, password=canary-secret":                   fault.InvalidConfig,
		"postgresql://u:canary-secret@127.0.0.1/db?sslmode=x": fault.InvalidConfig,
		"postgresql://u:12/canary-secret@127.0.0.1:1/db":      fault.InvalidConfig,
		"postgresql://u:12?canary-secret@127.0.0.1:1/db":      fault.InvalidConfig,
		"postgresql://u:12#canary-secret@127.0.0.1:1/db":      fault.InvalidConfig,
		"postgresql://u:a%zz-canary-secret@127.0.0.1:1/db":    fault.InvalidConfig,
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		_, err := Open(ctx, Config{URL: url, Schema: "workflows"})
		cancel()
		if fault.CodeOf(err) != want {
			t.Errorf("%s: %v", url, err)
		}
		if text := fault.From(err).Error() + fmt.Sprint(fault.From(err).Details); strings.Contains(text, "canary") {
			t.Errorf("the password is in %q", text)
		}
	}
}

func TestARoleWithoutPrivilegesIsTold(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t)
	role := "role_" + s.schema
	for _, sql := range []string{`CREATE ROLE "` + role + `" LOGIN`, `GRANT USAGE ON SCHEMA ` + quoteSchema(s.schema) + ` TO "` + role + `"`} {
		if _, err := s.pool.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _, _ = s.pool.Exec(ctx, `DROP OWNED BY "`+role+`"; DROP ROLE "`+role+`"`) })
	for _, stmt := range []*statement{statsSQL, tickSQL} {
		tx, err := s.pool.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(ctx, `SET LOCAL ROLE "`+role+`"`); err != nil {
			t.Fatal(err)
		}
		_, err = tx.Prepare(ctx, "", s.texts[stmt])
		if err == nil {
			_, err = tx.Exec(ctx, `SELECT FROM `+quoteSchema(s.schema)+`.executions`)
		}
		_ = tx.Rollback(ctx)
		if code := fault.CodeOf(s.classify(err)); code != fault.PermissionDenied {
			t.Errorf("%s: %v", stmt.name, err)
		}
	}
}

func TestOddSchemaNamesAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a b", `a"; DROP`, strings.Repeat("x", 60), "1a", "schéma"} {
		if _, err := Open(context.Background(), Config{URL: "postgresql://localhost/x", Schema: name}); fault.CodeOf(err) != fault.InvalidConfig {
			t.Errorf("%q: %v", name, err)
		}
	}
}
