package pgtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/embedded"
)

// recorder stands for a test whose end can be brought about and looked at.
type recorder struct {
	testing.TB
	failed   bool
	cleanups []func()
	log      strings.Builder
}

func (r *recorder) Helper() {}
func (r *recorder) Name() string {
	return "TestThing/it's a Ünicode name that is longer than any name in PostgreSQL"
}
func (r *recorder) Failed() bool                   { return r.failed }
func (r *recorder) Cleanup(f func())               { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Logf(format string, a ...any)   { fmt.Fprintf(&r.log, format, a...) }
func (r *recorder) Errorf(format string, a ...any) { r.failed = true; r.Logf(format, a...) }

func (r *recorder) end() {
	for _, f := range r.cleanups {
		f()
	}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func mustExec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func schemaExists(t *testing.T, url, schema string) (exists bool) {
	t.Helper()
	sql := "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"
	if err := connect(t, url).QueryRow(t.Context(), sql, schema).Scan(&exists); err != nil {
		t.Fatal(err)
	}
	return exists
}

func TestASchemaIsDroppedAfterTheTestUnlessItFailed(t *testing.T) {
	t.Parallel()
	for _, failed := range []bool{false, true} {
		r := &recorder{TB: t, failed: failed}
		url, schema := Schema(r)
		mustExec(t, connect(t, url), "CREATE SCHEMA "+schema+" CREATE TABLE thing (id int)")
		r.end()
		if got := schemaExists(t, url, schema); got != failed {
			t.Errorf("after a test that failed (%v) its schema exists: %v", failed, got)
		}
		if failed != strings.Contains(r.log.String(), schema) {
			t.Errorf("a test that failed (%v) logged %q", failed, r.log.String())
		}
		mustExec(t, connect(t, url), "DROP SCHEMA IF EXISTS "+schema+" CASCADE")
	}
}

func TestASchemaThatWasNeverMadeIsNoError(t *testing.T) {
	t.Parallel()
	r := &recorder{TB: t}
	Schema(r)
	r.end()
	if r.failed {
		t.Error(r.log.String())
	}
}

func TestEachTestHasASchemaOfItsOwn(t *testing.T) {
	t.Parallel()
	_, one := Schema(t)
	_, two := Schema(t)
	if one == two {
		t.Errorf("two schemas are called %s", one)
	}
	for _, name := range []string{one, schemaName((&recorder{}).Name())} {
		if !regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`).MatchString(name) {
			t.Errorf("%s is no plain name", name)
		}
	}
}

func TestAGivenDatabaseIsUsed(t *testing.T) {
	t.Parallel()
	if first, second := URL(t), URL(t); first != second {
		t.Errorf("two calls answered two servers: %s and %s", first, second)
	}
	if given := os.Getenv(urlEnv); given != "" && URL(t) != given {
		t.Errorf("URL answered %s, not %s", URL(t), given)
	}
}

func TestAPrivateServerSurvivesRestarts(t *testing.T) {
	t.Parallel()
	s := Server(t, "max_connections=23")
	mustExec(t, connect(t, s.URL()), "CREATE TABLE kept (word text)")
	for _, mode := range []Mode{Fast, Immediate} {
		before := s.Pid()
		mustExec(t, connect(t, s.URL()), "INSERT INTO kept VALUES ('"+string(mode)+"')")
		s.Restart(mode)
		if s.Pid() == before {
			t.Errorf("process %d still serves after a %s restart", before, mode)
		}
	}
	var words, fsync, limit string
	sql := "SELECT (SELECT string_agg(word, ' ') FROM kept), current_setting('fsync'), current_setting('max_connections')"
	if err := connect(t, s.URL()).QueryRow(t.Context(), sql).Scan(&words, &fsync, &limit); err != nil {
		t.Fatal(err)
	}
	if words != "fast immediate" || fsync != "on" || limit != "23" {
		t.Errorf("the server holds %q, with fsync %s and max_connections %s", words, fsync, limit)
	}
}

func TestAStoppedPrivateServerRefusesUntilItIsStarted(t *testing.T) {
	t.Parallel()
	s := Server(t)
	s.Stop(Smart)
	s.Stop(Fast) // no error
	if _, err := pgx.Connect(t.Context(), s.URL()); err == nil {
		t.Fatal("a stopped server took a connection")
	}
	s.Start()
	s.Start() // no error
	connect(t, s.URL())
}

// A test process that is killed cannot stop its server; its keeper does.
func TestAServerStopsWhenItsTestProcessIsKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k, err := startKeeper(keeperOrder{Dir: dir, Settings: []string{"fsync=off"}})
	if err != nil {
		t.Fatal(err)
	}
	s := &PrivateServer{t: t, dir: dir}
	s.Pid()
	_ = k.stdin.Close() // what the keeper sees of a kill
	if err := s.awaitGone(); err != nil {
		t.Error(err)
	}
	if err := k.close(); err != nil {
		t.Error(err)
	}
}

func TestAKeeperThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := startKeeper(keeperOrder{Dir: file})
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("the keeper of a file answered %v", err)
	}
}

func TestTheTestBinariesAreTheOnesAskedFor(t *testing.T) {
	if os.Getenv(urlEnv) != "" {
		t.Skip("a given server has its own version")
	}
	chosen, err := embedded.Locate(t.Context(), testBinaries())
	if err != nil {
		t.Fatal(err)
	}
	var version string
	if err := connect(t, URL(t)).QueryRow(t.Context(), "SHOW server_version").Scan(&version); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(version, fmt.Sprint(chosen.Major)) {
		t.Errorf("the server is %s, the binaries are %d", version, chosen.Major)
	}
	t.Setenv(binEnv, "/nowhere")
	if _, err := sharedDirectory("test"); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("a wrong %s was answered %v", binEnv, err)
	}
}

// The shared server must not hold up the end of `go test`, which waits for
// whoever holds a test binary's output.
func TestAKeeperHoldsNoOutputOfItsTestProcess(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestASchemaThatWasNeverMadeIsNoError$")
	cmd.WaitDelay = linger / 2
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
