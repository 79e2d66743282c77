package pgtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// poolerEnv names the PgBouncer to test with. Without it, it is the one on the
// PATH, or the one that `make` put into .tools.
const poolerEnv = "WORKFLOWS_TEST_PGBOUNCER"

const (
	poolerPatience = 20 * time.Second
	poolerPort     = "6432" // only a part of the socket's name
	superuser      = "workflows"
)

// Pooler is a PgBouncer in transaction mode. It lends no more than three sessions
// at a time, so that many clients share them.
type Pooler struct {
	t       testing.TB
	program string
	direct  string
	role    string
	dir     string // with the socket
	stdin   io.Closer
	cmd     *exec.Cmd
}

// PgBouncer starts one for this test alone, before a server that all such tests
// share. settings are PgBouncer's, as in "max_client_conn = 20", and win over
// ours. Without a PgBouncer the test is skipped.
func PgBouncer(t testing.TB, settings ...string) *Pooler {
	t.Helper()
	program := findPgBouncer(t)
	shared, err := lenientKeeper()
	if err != nil {
		t.Fatalf("no PostgreSQL for tests: %v", err)
	}
	return startPooler(t, program, shared.url, settings)
}

// PgBouncerWithServer starts one before a server of the test's own.
func PgBouncerWithServer(t testing.TB, settings ...string) (*Pooler, *PrivateServer) {
	t.Helper()
	program := findPgBouncer(t)
	s := &PrivateServer{t: t, dir: t.TempDir(), lenient: true}
	if err := os.Chmod(filepath.Dir(s.dir), 0o711); err != nil { // the pooler has to find the socket in it
		t.Fatal(err)
	}
	s.open()
	return startPooler(t, program, s.URL(), settings), s
}

var lenientKeeper = sync.OnceValues(func() (*keeper, error) { return startShared("pooled", true) })

func startPooler(t testing.TB, program, direct string, settings []string) *Pooler {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgb") // short, for the socket's sake
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &Pooler{t: t, program: program, direct: direct, role: schemaName("app"), dir: dir}
	if err := p.configure(settings); err != nil {
		t.Fatalf("configuring PgBouncer: %v", err)
	}
	t.Cleanup(p.Stop)
	p.Start()
	return p
}

// Another starts a further PgBouncer before the same server.
func (p *Pooler) Another(settings ...string) *Pooler {
	p.t.Helper()
	return startPooler(p.t, p.program, p.direct, settings)
}

// URL answers the address of the pooler.
func (p *Pooler) URL() string { return p.address(p.dir, poolerPort, superuser) }

// Direct answers the address of the server behind it.
func (p *Pooler) Direct() string { return p.direct }

// Role answers the name of a role, for a test to create, and the address of the
// pooler for it.
func (p *Pooler) Role() (name, address string) { return p.role, p.address(p.dir, poolerPort, p.role) }

// Schema answers the name of a schema that is the test's own, as the function does.
func (p *Pooler) Schema() string {
	p.t.Helper()
	return schemaIn(p.t, p.direct)
}

func (p *Pooler) address(dir, port, role string) string {
	return (&url.URL{
		Scheme: "postgresql", User: url.User(role), Path: "/workflows", RawQuery: url.Values{"host": {dir}, "port": {port}}.Encode(),
	}).String()
}

func (p *Pooler) configure(settings []string) error {
	behind, err := url.Parse(p.direct)
	if err != nil {
		return err
	}
	socket, port := behind.Query().Get("host"), behind.Query().Get("port")
	lines := []string{
		"[databases]", fmt.Sprintf("* = host=%s port=%s", socket, port),
		"[pgbouncer]", "listen_port = " + poolerPort, "unix_socket_dir = " + p.dir, "unix_socket_mode = 0777",
		"auth_type = trust", "auth_file = " + filepath.Join(p.dir, "users"),
		"pool_mode = transaction", "default_pool_size = 3", "max_client_conn = 500",
		"server_login_retry = 0.1", // the default of 15 s is how long an outage lasts at least
	}
	account, err := ownerOf(socket)
	if err != nil {
		return err
	}
	if account.Uid != fmt.Sprint(os.Geteuid()) { // then we are root, whom PgBouncer refuses
		lines = append(lines, "user = "+account.Username)
	}
	users := fmt.Sprintf("%q \"\"\n%q \"\"\n", superuser, p.role)
	return errors.Join(
		os.Chmod(p.dir, 0o777), // the socket is made by the server's user
		os.WriteFile(filepath.Join(p.dir, "users"), []byte(users), 0o644),
		os.WriteFile(filepath.Join(p.dir, "ini"), []byte(strings.Join(append(lines, settings...), "\n")+"\n"), 0o644),
	)
}

// ownerOf answers whom the server runs as: nobody else may enter where it listens.
func ownerOf(socket string) (*user.User, error) {
	info, err := os.Stat(socket)
	if err != nil {
		return nil, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, fmt.Errorf("whose is %s?", socket)
	}
	return user.LookupId(fmt.Sprint(stat.Uid))
}

// untilEOF runs a program that ends with the test process, however that ends: it
// shows by the end of the standard input. A pooler holds nothing that is worth a
// gentler end.
const untilEOF = `"$@" </dev/null & cat >/dev/null; kill -9 $!; wait`

// Start starts a stopped pooler and returns when it takes connections.
func (p *Pooler) Start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command("sh", "-c", untilEOF, "sh", p.program, filepath.Join(p.dir, "ini"))
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for the tests
	if p.stdin, err = p.cmd.StdinPipe(); err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.t.Fatalf("starting PgBouncer: %v", err)
	}
	for deadline := time.Now().Add(poolerPatience); ; time.Sleep(stopPoll) {
		conn, err := net.Dial("unix", filepath.Join(p.dir, ".s.PGSQL."+poolerPort))
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("PgBouncer takes no connections: %v\n%s", err, p.Log())
		}
	}
}

// Stop kills the pooler. Stopping a stopped one is no error.
func (p *Pooler) Stop() {
	if p.cmd == nil {
		return
	}
	_ = p.stdin.Close()
	_ = p.cmd.Wait() // its child was killed: the status says nothing
	p.cmd = nil
}

// Prepares says whether this PgBouncer can keep prepared statements, by the
// setting max_prepared_statements, as it can since 1.21.
func (p *Pooler) Prepares() bool {
	p.t.Helper()
	out, err := exec.Command(p.program, "--version").Output()
	var major, minor int
	if err == nil {
		_, err = fmt.Sscanf(string(out), "PgBouncer %d.%d", &major, &minor)
	}
	if err != nil {
		p.t.Fatalf("which version is %s? %v", p.program, err)
	}
	return major > 1 || minor >= 21
}

func (p *Pooler) log() string { return filepath.Join(p.dir, "log") }

// Log answers what the pooler has logged.
func (p *Pooler) Log() string {
	text, err := os.ReadFile(p.log())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// findPgBouncer skips the test where there is none.
func findPgBouncer(t testing.TB) string {
	t.Helper()
	if given := os.Getenv(poolerEnv); given != "" {
		return given
	}
	for _, place := range []string{"pgbouncer", "/usr/sbin/pgbouncer", fromMake()} {
		if program, err := exec.LookPath(place); err == nil {
			return program
		}
	}
	t.Skip("no PgBouncer: `make pgbouncer` fetches one on Debian and its kin; elsewhere install it, or name one in " + poolerEnv)
	return ""
}

// fromMake answers where make puts it: below the directory that has go.mod.
func fromMake() string {
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	return filepath.Join(dir, ".tools", "pgbouncer", "pgbouncer")
}
