package store

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/golang-migrate/migrate/v4"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/internal/pgtest"
)

func (s *Store) owners(t *testing.T) (owners []string) {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), `
SELECT DISTINCT pg_get_userbyid(owner) FROM (
    SELECT relowner AS owner FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r'
    UNION SELECT nspowner FROM pg_namespace WHERE oid = $1::regnamespace) x ORDER BY 1`, quoteSchema(s.schema))
	if err == nil {
		owners, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		t.Fatal(err)
	}
	return owners
}

func TestRolesCanBeMadeForASchemaThatIsThereAndMadeAgain(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.dropRolesLater(t, s.schema)
	for range 2 {
		if err := s.MigrateRoles(t.Context(), s.schema); err != nil {
			t.Fatal(err)
		}
		if owners := s.owners(t); !slices.Equal(owners, []string{s.schema + ownerRole}) {
			t.Errorf("it is owned by %v", owners)
		}
	}
	run(t, s.config.ConnString(), "GRANT TRUNCATE ON "+quoteSchema(s.schema)+".history TO "+s.schema+clientRole)
	if err := s.MigrateRoles(t.Context(), s.schema); err != nil {
		t.Fatal(err)
	}
	s.as(t, s.schema+clientRole, func(tx pgx.Tx) {
		if code := s.attemptIn(t, tx, "TRUNCATE "+quoteSchema(s.schema)+".history"); code != "42501" {
			t.Errorf("a grant too many is still there: %q", code)
		}
	})
}

// A later migration brings tables and columns that nobody has privileges on.
func TestALaterMigrationIsTheOwnersAndGrantsWhatItBrings(t *testing.T) {
	t.Parallel()
	s := unmigrated(t)
	s.dropRolesLater(t, s.schema)
	first := func(d *migration, m *migrate.Migrate) error {
		if err := m.Migrate(1); err != nil {
			return err
		}
		_, err := d.tx.Exec(d.ctx, grantSQL(d.schema, d.schema, readerRole)[1]+"; GRANT USAGE ON SCHEMA "+quoteSchema(s.schema)+" TO "+s.schema+workerRole)
		return err
	}
	if err := s.migrating(t.Context(), s.schema, first); err != nil {
		t.Fatal(err)
	}
	if err := s.MigrateUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if owners := s.owners(t); !slices.Equal(owners, []string{s.schema + ownerRole}) {
		t.Errorf("it is owned by %v", owners)
	}
	s.as(t, s.schema+workerRole, func(tx pgx.Tx) {
		if code := asksFor(t, tx, claimSQL.name, s.texts[claimSQL]); code != "" {
			t.Errorf("a worker cannot claim: %s", code)
		}
	})
	if err := s.MigrateDown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestManyThatMakeTheSameRolesAtOnceAllSucceed(t *testing.T) {
	t.Parallel()
	first := unmigrated(t)
	first.dropRolesLater(t, first.schema)
	var all sync.WaitGroup
	for i := range 12 {
		s := first
		if i%2 > 0 { // of the same cluster, with a lock of its own
			s = unmigrated(t)
		}
		all.Go(func() {
			if err := s.MigrateRoles(context.Background(), first.schema); err != nil {
				t.Errorf("%s: %v", s.schema, err)
			}
		})
	}
	all.Wait()
}

// migrator opens the store as a role that may only create roles, or not even that.
func (s *Store) migrator(t *testing.T, attributes string) *Store {
	t.Helper()
	role := "migrator_" + s.schema
	run(t, s.config.ConnString(), "CREATE ROLE "+role+" "+attributes, "GRANT CREATE ON DATABASE workflows TO "+role)
	t.Cleanup(func() { run(t, s.config.ConnString(), "DROP OWNED BY "+role+" CASCADE", "DROP ROLE "+role) })
	other, err := Open(t.Context(), Config{URL: with(s.config.ConnString(), "role="+role), Schema: s.schema, PoolSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	return other
}

func TestWhoMayNotCreateRolesIsTold(t *testing.T) {
	t.Parallel()
	s := unmigrated(t)
	err := s.migrator(t, "NOCREATEROLE").MigrateRoles(t.Context(), s.schema)
	if fault.CodeOf(err) != fault.PermissionDenied || !strings.Contains(err.Error(), "CREATE ROLE") || !strings.Contains(err.Error(), "CREATEROLE") {
		t.Errorf("without CREATEROLE: %v", err)
	}
	if version, err := s.Version(t.Context()); version != 0 || err != nil {
		t.Errorf("it left version %d, %v", version, err)
	}
	for _, odd := range []string{"a b", `a"; DROP`, strings.Repeat("x", 49)} {
		if err := s.MigrateRoles(t.Context(), odd); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%q: %v", odd, err)
		}
	}
	public, err := Open(t.Context(), Config{URL: pgtest.URL(t), Schema: "public"})
	if err != nil {
		t.Fatal(err)
	}
	defer public.Close()
	if err := public.MigrateRoles(t.Context(), s.schema); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("schema public: %v", err)
	}
}

func TestNoSuperuserIsNeededToMakeRoles(t *testing.T) {
	t.Parallel()
	s := unmigrated(t)
	other := s.migrator(t, "CREATEROLE")
	s.dropRolesLater(t, s.schema)
	for range 2 {
		if err := other.MigrateRoles(t.Context(), s.schema); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.MigrateUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if owners := s.owners(t); !slices.Equal(owners, []string{s.schema + ownerRole}) {
		t.Errorf("it is owned by %v", owners)
	}
	if err := other.MigrateDown(t.Context()); err != nil {
		t.Fatal(err)
	}
}
