package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/internal/pgtest"
	"github.com/libworkflows/libworkflows/core/model"
)

// through opens a store, in a schema that the test shares with the pooler's other stores.
func through(t *testing.T, address, schema string) *Store {
	t.Helper()
	s, err := Open(context.Background(), Config{URL: address, Schema: schema, PoolSize: 4})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

func migrated(t *testing.T, s *Store) *Store {
	t.Helper()
	if err := s.MigrateUp(context.Background()); err != nil {
		t.Fatalf("migrate: %v", err)
	}
	return s
}

func with(address, parameter string) string { return address + "&" + parameter }

func run(t *testing.T, address string, sqls ...string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for _, sql := range sqls {
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// settingsWithin answers what holds inside a transaction of the store.
func (s *Store) settingsWithin(t *testing.T, names []string) map[string]string {
	t.Helper()
	held := map[string]string{}
	p := s.pipeline()
	p.batch.Queue(`SELECT name, current_setting(name) FROM unnest($1::text[]) AS name`, names)
	p.steps = append(p.steps, step{statusSQL, func(row pgx.CollectableRow) error {
		var name, value string
		err := row.Scan(&name, &value)
		held[name] = value
		return err
	}})
	if err := p.run(t.Context(), s.pool); err != nil {
		t.Fatal(err)
	}
	return held
}

// hostile are defaults of a role under which little would be left of the promises.
var hostile = map[string]string{
	"synchronous_commit": "off", "default_transaction_isolation": "serializable", "default_transaction_read_only": "on",
	"plan_cache_mode": "force_custom_plan", "enable_seqscan": "on", "jit": "on",
	"lock_timeout": "0", "statement_timeout": "0", "TimeZone": "Asia/Tokyo", "search_path": "public",
	"idle_in_transaction_session_timeout": "1000", "idle_session_timeout": "1000",
}

// wanted is how PostgreSQL shows what sessionSettings ask for, in a transaction.
func wanted() map[string]string {
	want := maps.Clone(sessionSettings)
	delete(want, defaultIsolation)
	delete(want, defaultReadOnly)
	maps.Copy(want, map[string]string{"transaction_isolation": "read committed", "transaction_read_only": "off",
		"lock_timeout": "1s", "statement_timeout": "1min", "idle_in_transaction_session_timeout": "1min"})
	return want
}

// O17: whatever a role's defaults are, our settings hold in each transaction, and
// the session is given back as it was lent. A pooler may refuse a startup
// parameter or pass over it in silence.
func TestO17SettingsHoldInEveryTransactionThroughAPooler(t *testing.T) {
	t.Parallel()
	ignored := slices.Concat(slices.Collect(maps.Keys(sessionSettings)), slices.Collect(maps.Keys(connectionSettings)), []string{sessionKey, "extra_float_digits"})
	for name, settings := range map[string][]string{
		"that refuses them": {"default_pool_size = 1"},
		"that ignores them": {"default_pool_size = 1", "ignore_startup_parameters = " + strings.Join(ignored, ", ")},
		"by the session":    {"default_pool_size = 10", "pool_mode = session"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pgtest.PgBouncer(t, settings...)
			role, address := p.Role()
			run(t, p.Direct(), "CREATE ROLE "+role+" LOGIN")
			t.Cleanup(func() { run(t, p.Direct(), "DROP ROLE "+role) })
			for setting, value := range hostile {
				run(t, p.Direct(), fmt.Sprintf("ALTER ROLE %s SET %s = '%s'", role, setting, value))
			}
			s := through(t, address, "workflows")
			if pooled, _ := s.Pooled(); !pooled {
				t.Error("the pooler was not noticed")
			}
			want := wanted()
			if got := s.settingsWithin(t, slices.Collect(maps.Keys(want))); !maps.Equal(got, want) {
				t.Errorf("settings within:\n%v, want\n%v", got, want)
			}
			s.Close() // the only session of a pool is free for others
			conn, err := pgx.Connect(t.Context(), with(address, "default_query_exec_mode=exec"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(context.Background()) }()
			for setting, value := range hostile {
				var left string
				if err := conn.QueryRow(t.Context(), "SELECT reset_val FROM pg_settings WHERE name = $1 AND setting = reset_val", setting).Scan(&left); err != nil {
					t.Errorf("%s was left changed, which was %s: %v", setting, value, err)
				}
			}
		})
	}
}

// O17
func TestO17ADirectConnectionKeepsItsSessionAndItsPreparedStatements(t *testing.T) {
	t.Parallel()
	s := open(t)
	if pooled, prepared := s.Pooled(); pooled || !prepared {
		t.Errorf("pooled: %v, prepared: %v", pooled, prepared)
	}
	conn, err := s.acquire(t.Context(), s.pool)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if isPooled(conn.Conn()) || conn.Conn().Config().DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
		t.Error("a direct connection is treated as if it went through a pooler")
	}
	var isolation string
	if err := conn.QueryRow(t.Context(), "SHOW default_transaction_isolation").Scan(&isolation); err != nil || isolation != "read committed" {
		t.Errorf("isolation %q, %v", isolation, err)
	}
}

// O17: names of prepared statements are used if, and only if, the pooler keeps
// them; and no more once they turn out to get lost.
func TestO17PreparedStatementsThroughAPooler(t *testing.T) {
	t.Parallel()
	p := pgtest.PgBouncer(t)
	schema := p.Schema()
	migrated(t, through(t, p.Direct(), schema))
	loses := p
	if p.Prepares() {
		loses = p.Another("max_prepared_statements = 0")
		s := through(t, p.Another("max_prepared_statements = 100").URL(), schema)
		if pooled, prepared := s.Pooled(); !pooled || !prepared {
			t.Errorf("a pooler that keeps them: pooled %v, prepared %v", pooled, prepared)
		}
		everySession(t, s)
	}
	s := through(t, loses.URL(), schema)
	if pooled, prepared := s.Pooled(); !pooled || prepared {
		t.Errorf("a pooler that loses them: pooled %v, prepared %v", pooled, prepared)
	}
	everySession(t, s)

	s.route.named.Store(true) // as if it had kept them until now
	s.pool.Reset()
	deadline := time.Now().Add(30 * time.Second)
	for prepared := true; prepared; _, prepared = s.Pooled() {
		if time.Now().After(deadline) {
			t.Fatal("lost statements were not noticed")
		}
		together(t, 4, func() error {
			_, err := s.Version(t.Context())
			if code := fault.CodeOf(err); err != nil && code != fault.DatabaseUnavailable {
				return err
			}
			return nil
		})
	}
	everySession(t, s)
}

// everySession uses more connections than the pooler has sessions, at once.
func everySession(t *testing.T, s *Store) {
	t.Helper()
	for range 5 {
		together(t, 8, func() error {
			made, err := s.Flush(t.Context(), Batch{Creates: []NewRow{aJob()}})
			if err == nil && len(made.Made) != 1 {
				err = fmt.Errorf("made %d executions", len(made.Made))
			}
			return err
		})
	}
}

func together(t *testing.T, n int, act func() error) {
	t.Helper()
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if err := act(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func aJob() NewRow {
	priority := model.DefaultPriority
	return NewRow{ID: uuid.New(), NewExecution: model.NewExecution{Kind: model.Job, Name: "x", Queue: "default", Priority: &priority}}
}

// O17: what fails leaves no session in a transaction, and costs the pooler none.
func TestO17ARefusedWriteThroughAPoolerLeavesTheSessionToOthers(t *testing.T) {
	t.Parallel()
	p := pgtest.PgBouncer(t, "default_pool_size = 1", "query_wait_timeout = 10")
	s := migrated(t, through(t, p.URL(), p.Schema()))
	bad := aJob()
	bad.Args = model.Payload(`{"not": JSON`)
	for range 20 {
		if _, err := s.Flush(t.Context(), Batch{Creates: []NewRow{aJob(), bad}}); !SplitWorthwhile(err) {
			t.Fatalf("a value that PostgreSQL refuses: %v", err)
		}
		if _, err := s.Version(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var rows int
	if s.scan(t, &rows, "SELECT count(*) FROM "+quoteSchema(s.schema)+".executions"); rows != 0 {
		t.Errorf("%d executions of refused batches were made", rows)
	}
	if sessions := strings.Count(p.Log(), "new connection to server"); sessions != 1 {
		t.Errorf("it took %d sessions:\n%s", sessions, p.Log())
	}
}

// O17, Q18: the lock is part of a transaction, so that no session keeps it, and
// who waits for it waits outside of PostgreSQL.
func TestO17ManyMigrateAtOnceThroughAPoolerWithFewSessions(t *testing.T) {
	t.Parallel()
	p := pgtest.PgBouncer(t, "default_pool_size = 2", "query_wait_timeout = 60")
	stores, schema := make([]*Store, 10), p.Schema()
	for i := range stores {
		stores[i] = through(t, p.URL(), schema)
	}
	for range 2 {
		for _, migrate := range []func(*Store, context.Context) error{(*Store).MigrateUp, (*Store).CheckVersion} {
			var next atomic.Int32
			together(t, len(stores), func() error { return migrate(stores[next.Add(1)-1], t.Context()) })
		}
		if err := stores[0].MigrateDown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var free bool
	const lock = "SELECT pg_try_advisory_xact_lock(hashtextextended('libworkflows migrate ' || $1, 0))"
	if through(t, p.Direct(), schema).scan(t, &free, lock, schema); !free {
		t.Error("the lock was left behind")
	}
}

// O17
func TestO17ListeningThroughAPooler(t *testing.T) {
	t.Parallel()
	p := pgtest.PgBouncer(t)
	transactions, sessions, schema := p.URL(), p.Another("pool_mode = session", "default_pool_size = 10").URL(), p.Schema()
	for name, c := range map[string]struct {
		database, listen string
		code             fault.Code
	}{
		"by the transaction":                        {transactions, "", fault.InvalidConfig},
		"by the transaction, said twice":            {transactions, transactions, fault.InvalidConfig},
		"by the transaction, with a direct address": {transactions, p.Direct(), ""},
		"by the session":                            {sessions, "", ""},
		"by the transaction, with one by sessions":  {transactions, sessions, ""},
		"directly, with a pooler's address":         {p.Direct(), transactions, fault.InvalidConfig},
		"with an address where nobody is":           {transactions, "postgresql://u@127.0.0.1:1/nowhere", fault.DatabaseUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := through(t, c.database, schema)
			if err := s.TryListen(t.Context(), c.listen); fault.CodeOf(err) != c.code {
				t.Errorf("trying to listen: %v", err)
			} else if c.code == fault.InvalidConfig && !strings.Contains(err.Error(), "WORKFLOWS_LISTEN_URL") {
				t.Errorf("no advice in %v", err)
			}
			if err := s.hears(t, c.listen); fault.CodeOf(err) != c.code {
				t.Errorf("listening: %v", err)
			}
		})
	}
	if log := p.Log(); strings.Contains(log, "when not linked") {
		t.Errorf("sessions that are lent to others listen:\n%s", log)
	}
}

// hears says why a notification is not heard.
func (s *Store) hears(t *testing.T, where string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	word, heard := uuid.NewString(), false
	err := s.Listen(ctx, where, func() {
		if err := s.Notify(ctx, []string{word}); err != nil {
			t.Error(err)
		}
	}, func(payload string) {
		if payload == word {
			heard = true
			cancel()
		}
	})
	if heard {
		return nil
	}
	return err
}

// O17
func TestO17APoolerThatCannotServeIsNamed(t *testing.T) {
	t.Parallel()
	p := pgtest.PgBouncer(t)
	for address, says := range map[string]string{
		with(p.URL(), "wal_sender_timeout=5"):      "wal_sender_timeout",
		with(p.URL(), "pgbouncer=true&work_mem=5"): "work_mem",
		p.Another("pool_mode = statement").URL():   "pool_mode",
	} {
		_, err := Open(t.Context(), Config{URL: address, Schema: "workflows"})
		if fault.CodeOf(err) != fault.InvalidConfig || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// O17: whoever says in the URL that there is a pooler is believed, and none logs a refusal.
func TestO17AURLMaySayThatItLeadsToAPooler(t *testing.T) {
	t.Parallel()
	p := pgtest.PgBouncer(t)
	schema := p.Schema()
	for _, sign := range []string{"pgbouncer=true", "default_query_exec_mode=simple_protocol", "default_query_exec_mode=cache_describe", "statement_cache_capacity=0"} {
		s := migrated(t, through(t, with(p.URL(), sign), schema))
		if pooled, _ := s.Pooled(); !pooled {
			t.Errorf("%s: not believed", sign)
		}
		everySession(t, s)
		s.Close()
	}
	if log := p.Log(); strings.Contains(log, "startup parameter") {
		t.Errorf("it was asked for what it refuses:\n%s", log)
	}
	direct := through(t, with(p.Direct(), "pgbouncer=false"), schema)
	if pooled, _ := direct.Pooled(); pooled {
		t.Error("pgbouncer=false was taken for a pooler")
	}
	everySession(t, through(t, with(p.Direct(), "pgbouncer=true"), schema)) // needless, and no harm
}
