package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

func TestMigrateTellsWhereTheSchemaStands(t *testing.T) {
	t.Parallel()
	cases := []struct {
		args  string
		reply model.MigrateReply
		asked string
		want  string
	}{
		{"migrate", model.MigrateReply{Schema: "s", From: 0, Version: 2, Latest: 2}, `{"direction":"up"}`, "schema s went from version 0 to 2\n"},
		{"migrate up", model.MigrateReply{Schema: "s", From: 2, Version: 2, Latest: 2}, `{"direction":"up"}`, "schema s is up to date at version 2\n"},
		{"migrate up --roles --schema s", model.MigrateReply{Schema: "s", From: 0, Version: 2, Latest: 2}, `{"direction":"up","roles":"s"}`, "schema s went from version 0 to 2\nroles s_owner, s_worker, s_client and s_reader have their privileges\n"},
		{"migrate up --roles=shop", model.MigrateReply{Schema: "s", From: 2, Version: 2, Latest: 2}, `{"direction":"up","roles":"shop"}`, "schema s is up to date at version 2\nroles shop_owner, shop_worker, shop_client and shop_reader have their privileges\n"},
		{"migrate status", model.MigrateReply{Schema: "s", From: 1, Version: 1, Latest: 2}, `{"direction":"status"}`, "schema s is at version 1 of 2; run: workflows migrate up\n"},
		{"migrate status", model.MigrateReply{Schema: "s", From: 3, Version: 3, Latest: 2}, `{"direction":"status"}`, "schema s is at version 3, newer than this library's 2; upgrade the library\n"},
		{"migrate down --schema s --confirm s", model.MigrateReply{Schema: "s", From: 2, Latest: 2}, `{"direction":"down","confirm":"s"}`, "schema s is removed\n"},
	}
	for _, c := range cases {
		f := answering(t, "migrate", c.reply)
		f.run(strings.Fields(c.args)...).want(t, exitOK, c.want, "")
		f.wantAsked("migrate " + c.asked)
		if f.config.Migrate == nil || *f.config.Migrate {
			t.Errorf("%s: the engine must not migrate at open", c.args)
		}
	}
	f := answering(t, "migrate", model.MigrateReply{Schema: "s", Version: 2, Latest: 2})
	f.run("migrate", "status", "--json").want(t, exitOK, `{"schema":"s","from":0,"version":2,"latest":2}`+"\n", "")
}

func TestTheSchemaToConfirmMayComeFromTheEnvironment(t *testing.T) {
	t.Parallel()
	f := answering(t, "migrate", model.MigrateReply{Schema: "mine"})
	f.env = map[string]string{"WORKFLOWS_SCHEMA": "mine"}
	f.run("migrate", "down", "--confirm", "mine").want(t, exitOK, "schema mine is removed\n", "")
}

func aWorker(status string, silent time.Duration, queues ...string) model.Worker {
	return model.Worker{
		ID: uuid.MustParse(anID), Name: "web-1", Queues: queues, Concurrency: 10, Language: "python", Runtime: "3.11",
		Status: status, StartedAt: *at(time.Hour), HeartbeatAt: *at(silent), Running: 3,
	}
}

func healthy() model.StatsReply {
	return model.StatsReply{
		Schema: "workflows", SchemaVersion: 1, ServerVersion: "15.18 (Debian 15.18-0+deb12u1)", ServerTime: testNow,
		Queues:   []model.QueueStats{{Queue: "mail", Pending: 2, Running: 3, OldestPendingMS: 840}},
		Workers:  []model.Worker{aWorker("active", 2*time.Second, "mail", "default")},
		Prepared: true, Listening: "on",
	}
}

func TestWorkersAndStatsAreTables(t *testing.T) {
	t.Parallel()
	f := answering(t, "stats", healthy())
	f.run("workers").want(t, exitOK, `ID                                    NAME   STATUS  RUNNING  HEARTBEAT  STARTED    LANGUAGE     QUEUES
0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601  web-1  active  3/10     2.0s ago   1h00m ago  python 3.11  mail,default
`, "")
	f.run("stats").want(t, exitOK, `schema workflows, version 1, on PostgreSQL 15.18 (Debian 15.18-0+deb12u1)
QUEUE  SCHEDULED  PENDING  RUNNING  SUSPENDED  FAILED  WORKERS  OLDEST PENDING
mail   0          2        3        0          0       1        840ms
`, "")
}

func TestWorkersAndStatsOfNothing(t *testing.T) {
	t.Parallel()
	f := answering(t, "stats", model.StatsReply{Schema: "workflows", SchemaVersion: 1, ServerVersion: "18.4"})
	f.run("workers").want(t, exitOK, "", "no workers\n")
	f.run("workers", "--json").want(t, exitOK, `{"workers":[]}`+"\n", "")
	f.run("stats").want(t, exitOK, "schema workflows, version 1, on PostgreSQL 18.4\n", "nothing is queued, running or failed\n")
}

func TestDoctorFindsNothingWrongWithAHealthySetUp(t *testing.T) {
	t.Parallel()
	f := patient(t, healthy())
	f.run("doctor").want(t, exitOK, `ok    configuration  WORKFLOWS_DATABASE_URL names database app at db:5432, schema workflows
ok    database       PostgreSQL answers
ok    schema         schema workflows is at version 1, as this library is
ok    server         PostgreSQL 15.18 (Debian 15.18-0+deb12u1)
ok    connection     direct: sessions are ours, with our settings
ok    hints          LISTEN works: due work is picked up at once
ok    clock          this clock and the database's agree
ok    workers        1 worker is alive
ok    queues         every queue with due work has a worker and is up to date
ok    parked         nothing is parked
`, "")
	got := f.run("doctor", "--json")
	if got.code != exitOK || !strings.HasPrefix(got.stdout, `{"checks":[{"name":"configuration","grade":"ok","message":"`) || strings.Count(got.stdout, "\n") != 1 {
		t.Errorf("exit code %d, stdout %q", got.code, got.stdout)
	}
}

// patient is a fake for doctor: everything is well but what stats tell.
func patient(t *testing.T, stats model.StatsReply) *fake {
	f := answering(t, "migrate", model.MigrateReply{Schema: "workflows", Version: 1, Latest: 1}, "stats", stats, "list_executions", model.ListExecutionsReply{})
	f.env = map[string]string{"WORKFLOWS_DATABASE_URL": "postgres://ada:hunter2@db:5432/app"}
	return f
}

func TestDoctorNamesEachAilment(t *testing.T) {
	t.Parallel()
	stats := func(change func(*model.StatsReply)) func(*fake) {
		return func(f *fake) {
			s := healthy()
			change(&s)
			f.replies["stats"] = []any{s}
		}
	}
	schema := func(version int) func(*fake) {
		return func(f *fake) {
			f.replies["migrate"] = []any{model.MigrateReply{Schema: "workflows", Version: version, Latest: 2}}
		}
	}
	cases := []struct {
		name string
		ill  func(*fake)
		code int
		says string
	}{
		{"no database given", func(f *fake) { f.env = nil }, exitOK, "warn  configuration  no database is given: a private one"},
		{"a database that does not answer", func(f *fake) { f.openErr = fault.New(fault.DatabaseUnavailable, nil, "nobody there") }, exitFailed, "FAIL  database       nobody there\n"},
		{"a configuration that cannot work", func(f *fake) { f.openErr = fault.New(fault.InvalidConfig, nil, "bad URL") }, exitFailed, "FAIL  configuration  bad URL\n"},
		{"a role without privileges", func(f *fake) { f.replies["stats"] = []any{fault.New(fault.PermissionDenied, nil, "grant it")} }, exitFailed, "FAIL  privileges     grant it\n"},
		{"no schema", schema(0), exitFailed, "FAIL  schema         schema workflows was never migrated; run: workflows migrate up\n"},
		{"an old schema", schema(1), exitFailed, "FAIL  schema         schema workflows is at version 1, this library needs 2; run: workflows migrate up\n"},
		{"a new schema", schema(3), exitFailed, "FAIL  schema         schema workflows is at version 3, this library knows 2; upgrade libworkflows here\n"},
		{"an old server", stats(func(s *model.StatsReply) { s.ServerVersion = "13.9" }), exitFailed, "FAIL  server         PostgreSQL 13.9 is too old; upgrade to PostgreSQL 14 or newer\n"},
		{"a beta server", stats(func(s *model.StatsReply) { s.ServerVersion = "19beta1" }), exitOK, "ok    server         PostgreSQL 19beta1\n"},
		{"a server without a version", stats(func(s *model.StatsReply) { s.ServerVersion = "" }), exitOK, "warn  server "},
		{"a pooler that prepares", stats(func(s *model.StatsReply) { s.Pooled = true }), exitOK, "ok    connection     through a pooler, which keeps prepared statements: settings travel with each transaction\n"},
		{"a pooler that does not", stats(func(s *model.StatsReply) { s.Pooled, s.Prepared = true, false }), exitOK, "each statement is planned anew; PgBouncer 1.21 or newer with max_prepared_statements"},
		{"no hints", stats(func(s *model.StatsReply) { s.Listening = "off" }), exitOK, "ok    hints          LISTEN is off: due work is found by polling\n"},
		{"no way for hints", stats(func(s *model.StatsReply) { s.Listening = "set WORKFLOWS_LISTEN_URL" }), exitOK, "warn  hints          due work is found by polling: set WORKFLOWS_LISTEN_URL\n"},
		{"clocks apart", stats(func(s *model.StatsReply) { s.ServerTime = testNow.Add(20 * time.Second) }), exitOK, "warn  clock          this clock and the database's are 20s apart"},
		{"no worker", stats(func(s *model.StatsReply) { s.Workers, s.Queues = nil, nil }), exitOK, "warn  workers        no worker is alive"},
		{"a silent worker", stats(func(s *model.StatsReply) { s.Workers = append(s.Workers, aWorker("active", time.Minute, "x")) }), exitOK, "warn  workers        1 worker is active but silent"},
		{"a dead worker that holds work", stats(func(s *model.StatsReply) { s.Workers = append(s.Workers, aWorker("dead", time.Minute, "x")) }), exitOK, "warn  workers        1 worker is dead and still hold"},
		{"a queue without a worker", stats(func(s *model.StatsReply) { s.Queues[0].Queue = "pdf" }), exitFailed, "FAIL  queues         queue pdf has 2 due and no worker serves it, for 840ms so far; start a worker with: -q pdf\n"},
		{"a queue that is behind", stats(func(s *model.StatsReply) { s.Queues[0].OldestPendingMS = 120_000 }), exitOK, "warn  queues         queue mail is behind: 2 due, the oldest for 2m00s, 1 worker;"},
		{"parked executions", func(f *fake) {
			f.replies["list_executions"] = []any{model.ListExecutionsReply{Executions: []model.Execution{failed()}}}
		}, exitOK, "warn  parked         1 execution waits for somebody to look; see: workflows list --parked"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := patient(t, healthy())
			c.ill(f)
			got := f.run("doctor")
			if got.code != c.code || !strings.Contains(got.stdout, c.says) || got.stderr != "" {
				t.Errorf("exit code %d, want %d, stderr %q, stdout\n%s\nwant\n%s", got.code, c.code, got.stderr, got.stdout, c.says)
			}
		})
	}
}

func TestDoctorWithJSONFailsWithADocument(t *testing.T) {
	t.Parallel()
	f := patient(t, healthy())
	f.replies["migrate"] = []any{model.MigrateReply{Schema: "workflows", Latest: 1}}
	got := f.run("doctor", "--json")
	if got.code != exitFailed || !strings.Contains(got.stdout, `"grade":"fail"`) || got.stderr != `{"error":{"code":"unhealthy","message":"1 check failed","retryable":false}}`+"\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q", got.code, got.stdout, got.stderr)
	}
}

func TestPlacesAreNamedWithoutCredentials(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"postgres://ada:hunter2@db:5432/app":         "database app at db:5432",
		"postgres:///app?host=/tmp&password=hunter2": "database app at /tmp",
		"host=db password=hunter2":                   "a connection string",
		"postgres://ada:%zz@db/app":                  "a connection string",
		"postgres://ada:1/hunter2@db/app":            "a connection string",
		"embedded:/var/lib/app":                      "embedded:/var/lib/app",
	} {
		if got := place(dsn); got != want {
			t.Errorf("place(%q) = %q, want %q", dsn, got, want)
		}
	}
}

func TestSpansReadWell(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0ms", 999 * time.Millisecond: "999ms", 9990 * time.Millisecond: "9.9s", 59 * time.Second: "59s",
		61 * time.Second: "1m01s", 90 * time.Minute: "1h30m", 47 * time.Hour: "47h00m", 50 * time.Hour: "2d",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%d) = %q, want %q", d, got, want)
		}
	}
}
