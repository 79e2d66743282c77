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

func TestAMigrationThatWasCutOffIsRunAgain(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, cut := range map[string]string{
		"before it was applied": `TRUNCATE workflows.schema_migrations; INSERT INTO workflows.schema_migrations VALUES (1, true);
			COMMENT ON TABLE workflows.schema_migrations IS NULL; DROP TABLE workflows.executions, workflows.history, workflows.timers, workflows.workers`,
		"after it was applied": `UPDATE workflows.schema_migrations SET dirty = true`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			if _, err := s.pool.Exec(ctx, strings.ReplaceAll(cut, "workflows.", quoteSchema(s.schema)+".")); err != nil {
				t.Fatal(err)
			}
			if err := s.MigrateUp(ctx); err != nil {
				t.Fatal(err)
			}
			if err := s.CheckVersion(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Stats(ctx); err != nil {
				t.Fatal(err)
			}
		})
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
