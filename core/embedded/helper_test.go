package embedded

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// helperEnv makes the test binary a process that opens the named directory and
// closes it when its standard input ends.
const helperEnv = "EMBEDDED_TEST_HELPER"

// patience bounds every wait: two cores may be busy with twenty processes.
const patience = time.Minute

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperEnv); dir != "" {
		os.Exit(helperMain(dir))
	}
	os.Exit(m.Run())
}

type helperReport struct{ URL, Error string }

func helperMain(dir string) int {
	s, err := Open(context.Background(), dir, nil)
	if err != nil {
		_ = json.NewEncoder(os.Stdout).Encode(helperReport{Error: err.Error()})
		return 1
	}
	_ = json.NewEncoder(os.Stdout).Encode(helperReport{URL: s.URL()})
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := s.Close(); err != nil {
		_ = json.NewEncoder(os.Stdout).Encode(helperReport{Error: err.Error()})
		return 1
	}
	return 0
}

// helper is another process with the directory open.
type helper struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
}

func startHelper(t *testing.T, dir string, change ...func(*exec.Cmd)) *helper {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+dir)
	cmd.Stderr = os.Stderr
	for _, f := range change {
		f(cmd)
	}
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	h := &helper{t: t, cmd: cmd, stdin: stdin, out: bufio.NewReader(stdout)}
	t.Cleanup(h.close)
	return h
}

// opened waits until the helper has the directory open.
func (h *helper) opened() string {
	h.t.Helper()
	line, err := h.out.ReadString('\n')
	if err != nil {
		h.t.Fatalf("the helper ended before it said anything: %v", err)
	}
	var report helperReport
	must(h.t, json.Unmarshal([]byte(line), &report))
	if report.Error != "" {
		h.t.Fatalf("the helper failed: %s", report.Error)
	}
	return report.URL
}

// close lets the helper close the directory, and waits for it.
func (h *helper) close() {
	if h.cmd == nil {
		return
	}
	_ = h.stdin.Close()
	rest, _ := io.ReadAll(h.out)
	if err := h.cmd.Wait(); err != nil {
		h.t.Errorf("the helper did not close cleanly: %v %s", err, rest)
	}
	h.cmd = nil
}

func (h *helper) kill() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
	h.cmd = nil
}

func mustOpen(t *testing.T, dir string, binaries ...string) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := Open(ctx, dir, binaries)
	must(t, err)
	t.Cleanup(func() { mustClose(t, s) })
	return s
}

func mustClose(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// query answers the one text that a statement answers.
func query(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	defer conn.Close(t.Context())
	var text string
	must(t, conn.QueryRow(t.Context(), sql).Scan(&text))
	return text
}

func exec1(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), sql)
	must(t, err)
}

// serverOf answers the process that serves a directory, or 0.
func serverOf(t *testing.T, dir string) int {
	t.Helper()
	c, err := prepareCluster(dir)
	must(t, err)
	p, err := c.postmaster()
	must(t, err)
	if !p.alive(c) {
		return 0
	}
	return p.pid
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !holds() {
		if pause(ctx, statePoll) != nil {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// publicDir is a directory below which every user may go, unlike t.TempDir.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "embedded-public-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	return dir
}

func needRoot(t *testing.T) account {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	a, ok := lookupAccount("nobody")
	if !ok {
		t.Skip("this machine has no user nobody")
	}
	return a
}

// asUser runs the helper as an unprivileged user. The test binary lies in a
// private directory of go test, so the helper is a copy of it.
func asUser(t *testing.T, a account) func(*exec.Cmd) {
	t.Helper()
	program := filepath.Join(publicDir(t), "helper")
	binary, err := os.Open(os.Args[0])
	must(t, err)
	defer func() { _ = binary.Close() }()
	install(t, program, binary)
	return func(cmd *exec.Cmd) {
		cmd.Path = program
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.uid, Gid: a.gid}}
	}
}

// impostor is a directory of programs that only claim a version.
func impostor(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"postgres", "initdb"} {
		script := "#!/bin/sh\necho '" + name + " (PostgreSQL) " + version + "'\n"
		install(t, filepath.Join(dir, name), strings.NewReader(script))
	}
	return dir
}

// installer is found before a test hides what is in PATH.
var installer, _ = exec.LookPath("install")

// install writes a program by another process: what this one has open to be written is open for a
// moment in each process that a test beside this one starts, and cannot be run as long.
func install(t *testing.T, path string, program io.Reader) {
	t.Helper()
	cmd := exec.Command(installer, "-m", "755", "/dev/stdin", path)
	cmd.Stdin = program
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("installing %s: %v: %s", path, err, out)
	}
}

func mustContain(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in: %s", part, text)
		}
	}
}
