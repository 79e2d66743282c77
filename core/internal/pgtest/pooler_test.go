package pgtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// backend answers which session a URL leads to now.
func backend(t *testing.T, conn *pgx.Conn) (pid int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT pg_backend_pid()", pgx.QueryExecModeExec).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestAPoolerLendsItsSessionsByTheTransaction(t *testing.T) {
	t.Parallel()
	p := PgBouncer(t, "default_pool_size = 1")
	one, other := connect(t, p.URL()), connect(t, p.URL())
	if a, b := backend(t, one), backend(t, other); a != b {
		t.Errorf("two connections had the sessions %d and %d", a, b)
	}
	role, address := p.Role()
	direct := connect(t, p.Direct())
	mustExec(t, direct, "CREATE ROLE "+role+" LOGIN")
	if connect(t, address).Config().User != role {
		t.Errorf("%s is not for %s", address, role)
	}
	mustExec(t, direct, "DROP ROLE "+role)
}

func TestAStoppedPoolerRefusesUntilItIsStarted(t *testing.T) {
	t.Parallel()
	p := PgBouncer(t)
	connect(t, p.URL())
	p.Stop()
	p.Stop() // no error
	if _, err := pgx.Connect(t.Context(), p.URL()); err == nil {
		t.Fatal("a stopped pooler took a connection")
	}
	p.Start()
	connect(t, p.URL())
	if n := strings.Count(p.Log(), "process up"); n != 2 {
		t.Errorf("it was started %d times:\n%s", n, p.Log())
	}
}

// What a pooler sees of a test process that is killed.
func TestAPoolerEndsWithItsTestProcess(t *testing.T) {
	t.Parallel()
	p := PgBouncer(t)
	_ = p.stdin.Close()
	_ = p.cmd.Wait()
	if _, err := pgx.Connect(t.Context(), p.URL()); err == nil {
		t.Error("it goes on")
	}
}

func TestAPoolerHasAServerOfItsOwnIfAsked(t *testing.T) {
	t.Parallel()
	p, s := PgBouncerWithServer(t)
	connect(t, p.URL())
	s.Restart(Immediate)
	if backend(t, connect(t, p.Direct())) == 0 || p.Direct() != s.URL() {
		t.Errorf("%s is not %s", p.Direct(), s.URL())
	}
}

func TestThePgBouncerOfMakeIsFound(t *testing.T) {
	if _, err := os.Stat(fromMake()); err != nil {
		t.Skip("`make pgbouncer` has not been run, or had nothing to fetch")
	}
	t.Setenv("PATH", "/nowhere")
	t.Setenv(poolerEnv, "")
	if found := findPgBouncer(t); filepath.Base(found) != "pgbouncer" {
		t.Errorf("found %s", found)
	}
	t.Setenv(poolerEnv, "/some/pgbouncer")
	if found := findPgBouncer(t); found != "/some/pgbouncer" {
		t.Errorf("found %s instead of the one that was named", found)
	}
}
