package engine

import (
	"context"
	_ "embed"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/internal/pgtest"
	"github.com/libworkflows/libworkflows/core/model"
)

// elsewhere answers an address in which user and database are others.
func elsewhere(t *testing.T, address, user, database string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User, u.Path = url.User(user), "/"+database
	return u.String()
}

func execAt(t *testing.T, address string, sqls ...string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for _, sql := range sqls {
		if _, err := conn.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

//go:embed testdata/evil.sql
var evil string

// trap makes a database full of them, on everybody's search path before PostgreSQL's own.
func trap(t *testing.T, direct, role string) (database string) {
	t.Helper()
	database = strings.ReplaceAll("trap_"+uuid.NewString(), "-", "_")
	execAt(t, direct, "CREATE DATABASE "+database, "CREATE ROLE "+role+" LOGIN CREATEROLE", "GRANT CREATE ON DATABASE "+database+" TO "+role)
	t.Cleanup(func() { execAt(t, direct, "DROP DATABASE "+database+" WITH (FORCE)", "DROP ROLE "+role) })
	inside := elsewhere(t, direct, "workflows", database)
	execAt(t, inside, evil, "ALTER DATABASE "+database+" SET search_path = evil, public, pg_catalog",
		"ALTER ROLE "+role+" IN DATABASE "+database+" SET search_path = evil, pg_catalog, pg_temp")
	return database
}

// wantsTrapped: the trap would catch anybody who names things without their schema.
func wantsTrapped(t *testing.T, address string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	for _, sql := range []string{"SELECT now()", "SELECT 1 = 1", "SELECT 'x'::text", "SELECT * FROM pg_class", "SELECT set_config('a.b', 'c', true)"} {
		if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err == nil || !strings.Contains(err.Error(), "hijacked") {
			t.Errorf("the trap does not work: %s: %v", sql, err)
		}
	}
}

func TestWhatOthersPutOnTheSearchPathIsNeverMet(t *testing.T) {
	t.Parallel()
	t.Run("directly", func(t *testing.T) {
		t.Parallel()
		direct, schema := pgtest.SchemaForLogins(t)
		role := "app_" + schema
		address := elsewhere(t, direct, role, trap(t, direct, role))
		wantsTrapped(t, address)
		w := openWorld(t, address, address, "", schema)
		w.livesThroughAWorkflow()
		w.stopsWhatIsCancelled()
		w.isSeenAndRemoved()
	})
	for name, setting := range map[string]string{"through a pooler": "max_prepared_statements = 0", "through one that prepares": "max_prepared_statements = 200"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pgtest.PgBouncer(t)
			if setting != "" && p.Prepares() {
				p = p.Another(setting)
			}
			role, address := p.Role()
			database := trap(t, p.Direct(), role)
			address = elsewhere(t, address, role, database)
			t.Cleanup(p.Stop) // its sessions would be in the way of dropping the database
			wantsTrapped(t, address+"&default_query_exec_mode=simple_protocol")
			w := openWorld(t, address, elsewhere(t, p.Direct(), role, database), "off", "ours")
			w.livesThroughAWorkflow()
			w.stopsWhatIsCancelled()
			w.isSeenAndRemoved()
		})
	}
}

// isSeenAndRemoved reads what there is, and migrates down.
func (w *world) isSeenAndRemoved() {
	w.Helper()
	list, err := w.ListExecutions(w.ctx, model.ListExecutionsRequest{Name: "flow"})
	if err != nil || len(list.Executions) == 0 {
		w.Errorf("list: %s, %v", asText(list), err)
	}
	if _, err := w.Stats(w.ctx, model.StatsRequest{}); err != nil {
		w.Errorf("stats: %v", err)
	}
	if _, err := w.Migrate(w.ctx, model.MigrateRequest{Direction: "down", Confirm: w.schema}); err != nil {
		w.Errorf("migrate down: %v", err)
	}
}

// What a role's or a database's defaults are does not matter: short timeouts, another
// isolation, nothing but reading.
func TestWhateverARolesDefaultsAreTheEngineWorks(t *testing.T) {
	t.Parallel()
	direct, schema := pgtest.SchemaForLogins(t)
	role := "app_" + schema
	execAt(t, direct, "CREATE ROLE "+role+" LOGIN")
	t.Cleanup(func() { execAt(t, direct, "DROP OWNED BY "+role+" CASCADE", "DROP ROLE "+role) })
	execAt(t, direct, "GRANT CREATE ON DATABASE workflows TO "+role)
	for setting, value := range map[string]string{
		"statement_timeout": "50ms", "lock_timeout": "10ms", "idle_in_transaction_session_timeout": "1s", "idle_session_timeout": "300ms",
		"default_transaction_isolation": "serializable", "default_transaction_read_only": "on", "default_transaction_deferrable": "on",
		"search_path": "pg_temp", "TimeZone": "Asia/Kathmandu", "DateStyle": "German", "IntervalStyle": "iso_8601", "synchronous_commit": "off",
		"bytea_output": "escape", "extra_float_digits": "-15", "client_encoding": "LATIN1", "jit": "on", "enable_indexscan": "off",
		"transform_null_equals": "on", "array_nulls": "off", "quote_all_identifiers": "on", "work_mem": "64kB", "row_security": "off",
	} {
		execAt(t, direct, fmt.Sprintf("ALTER ROLE %s SET %s = '%s'", role, setting, value))
	}
	var major int
	conn, err := pgx.Connect(t.Context(), direct)
	if err == nil {
		err = conn.QueryRow(t.Context(), "SELECT current_setting('server_version_num')::int / 10000").Scan(&major)
		_ = conn.Close(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if major >= 17 {
		execAt(t, direct, "ALTER ROLE "+role+" SET transaction_timeout = '50ms'")
	}
	w := openWorld(t, elsewhere(t, direct, role, "workflows"), direct, "", schema)
	w.livesThroughAWorkflow()
	w.stopsWhatIsCancelled()
	w.waitsForARowThatIsLocked()
	w.hearsAfterASilence()
}

// waitsForARowThatIsLocked: for longer than a role's lock_timeout, and its statement_timeout.
func (w *world) waitsForARowThatIsLocked() {
	w.Helper()
	id := w.createOne(model.Job, "locked")
	unlock := w.lock(id)
	cancelled := make(chan model.Change, 1)
	go func() { cancelled <- w.cancelOne(id) }()
	w.eventually("a session that waits for the lock", func() bool {
		return w.count(`SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename LIKE 'app\_%' AND now() - query_start > interval '200 ms'`) > 0
	})
	unlock()
	if got := <-cancelled; !got.Changed {
		w.Errorf("it was not cancelled: %s", asText(got))
	}
}

// hearsAfterASilence: the session that listens is not ended for being idle.
func (w *world) hearsAfterASilence() {
	w.Helper()
	w.eventually("a session that has listened for twice as long as the role's sessions may be idle", func() bool {
		return w.count(`SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND usename LIKE 'app\_%' AND state = 'idle' AND now() - state_change > interval '600 ms'`) > 0
	})
}

func TestAClientOfTheClientRoleMayDoWhatClientsDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client := w.as("client")
	worker := w.worker(w.Engine)
	job := client.create(model.NewExecution{Kind: model.Job, Name: "job", IdempotencyKey: pointer("once"), TimeoutMS: 60_000, ScheduleTimeoutMS: 60_000})[0].ID
	if again := client.create(model.NewExecution{Kind: model.Job, Name: "job", IdempotencyKey: pointer("once")})[0].ID; again != job {
		t.Errorf("the same key made %s and %s", job, again)
	}
	result := make(chan model.Execution, 1)
	go func() { result <- client.waitFor(job) }()
	w.complete(w.Engine, w.claimOne(w.Engine, worker), `42`)
	if done := <-result; string(done.Result) != "42" {
		t.Errorf("a client waited for %s", asText(done))
	}
	flow := client.createOne(model.Workflow, "flow")
	client.signal(flow, "s", `1`)
	client.cancelOne(flow)
	client.wants(flow, model.Cancelled)
	retried, err := client.RetryExecution(w.ctx, model.TargetsRequest{Items: []model.Target{{ID: flow}}})
	only(client, retried.Results, err)
	held := w.claimOne(w.Engine, worker)
	w.advance(w.Engine, held, model.Advance{Then: model.ThenKeep, Commands: []model.Command{schedule(1, model.Activity, "a"), timer(2, 60_000)}})
	ended, err := client.TerminateExecution(w.ctx, model.TargetsRequest{Items: []model.Target{{ID: flow}}})
	only(client, ended.Results, err)
	client.reads(flow)

	if _, err := client.StartWorker(w.ctx, model.StartWorkerRequest{Queues: []string{"default"}}); fault.CodeOf(err) != fault.PermissionDenied {
		t.Errorf("a client starts a worker: %v", err)
	}
	late, err := client.CompleteExecution(w.ctx, model.CompleteExecutionRequest{Items: []model.Completion{{ID: held.ID, Lease: held.Lease, Result: model.Payload(`1`)}}})
	if c := refused(client, late.Results, err); c != fault.PermissionDenied {
		t.Errorf("a client completes: %s", c)
	}
	client.mayNotMigrate()
}

func TestAReaderReadsAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	flow := w.createOne(model.Workflow, "flow")
	w.signal(flow, "s", `1`)
	reader := w.as("reader")
	reader.reads(flow)
	_, err := reader.CreateExecution(w.ctx, model.CreateExecutionRequest{Items: []model.NewExecution{{Kind: model.Job, Name: "job"}}})
	if fault.CodeOf(err) != fault.PermissionDenied {
		t.Errorf("a reader creates: %v", err)
	}
	cancelled, err := reader.CancelExecution(w.ctx, model.TargetsRequest{Items: []model.Target{{ID: flow}}})
	if c := refused(reader, cancelled.Results, err); c != fault.PermissionDenied {
		t.Errorf("a reader cancels: %s", c)
	}
	sent, err := reader.SendSignal(w.ctx, model.SendSignalRequest{Items: []model.Signal{{ID: flow, Name: "s", Payload: model.Payload(`1`)}}})
	if c := refused(reader, sent.Results, err); c != fault.PermissionDenied {
		t.Errorf("a reader signals: %s", c)
	}
	if _, err := reader.StartWorker(w.ctx, model.StartWorkerRequest{Queues: []string{"default"}}); fault.CodeOf(err) != fault.PermissionDenied {
		t.Errorf("a reader starts a worker: %v", err)
	}
	reader.mayNotMigrate()
}

// reads by every operation that reads.
func (w *world) reads(id uuid.UUID) {
	w.Helper()
	w.get(id)
	list, listErr := w.ListExecutions(w.ctx, model.ListExecutionsRequest{})
	history, historyErr := w.GetHistory(w.ctx, model.GetHistoryRequest{ID: id})
	stats, statsErr := w.Stats(w.ctx, model.StatsRequest{TryListen: true})
	status, statusErr := w.Migrate(w.ctx, model.MigrateRequest{Direction: "status"})
	if listErr != nil || historyErr != nil || statsErr != nil || statusErr != nil || len(list.Executions) == 0 || len(history.Events) == 0 || stats.Listening != "on" || status.Version != status.Latest {
		w.Errorf("list %v, history %v, stats %v (listening: %s), migrate status %v", listErr, historyErr, statsErr, stats.Listening, statusErr)
	}
}

func (w *world) mayNotMigrate() {
	w.Helper()
	for _, request := range []model.MigrateRequest{{Direction: "down", Confirm: w.schema}, {Roles: "mine"}} {
		if _, err := w.Migrate(w.ctx, request); fault.CodeOf(err) != fault.PermissionDenied {
			w.Errorf("migrate %s: %v", request.Direction, err)
		}
	}
}
