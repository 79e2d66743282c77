package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Mode is how a server is stopped, in pg_ctl's words.
type Mode string

// The modes. Immediate is a crash: the next start recovers from the log.
const (
	Smart     Mode = "smart" // waits until every client has gone
	Fast      Mode = "fast"
	Immediate Mode = "immediate"
)

var stopSignals = map[Mode]syscall.Signal{
	Smart:     syscall.SIGTERM,
	Fast:      syscall.SIGINT,
	Immediate: syscall.SIGQUIT,
}

const (
	stopPatience = time.Minute
	stopPoll     = 5 * time.Millisecond
)

// PrivateServer is a server that one test may stop, crash and start again. It is
// durable: fsync is on.
type PrivateServer struct {
	t        testing.TB
	dir      string
	settings []string
	lenient  bool
	keeper   *keeper
}

// Server starts a server for this test alone, stopped when the test ends.
// settings are PostgreSQL's, as in "max_connections=20", and hold for each start.
func Server(t testing.TB, settings ...string) *PrivateServer {
	t.Helper()
	s := &PrivateServer{t: t, dir: t.TempDir(), settings: settings}
	s.open()
	return s
}

func (s *PrivateServer) open() {
	t := s.t
	t.Helper()
	k, err := startKeeper(s.order())
	if err != nil {
		t.Fatalf("no PostgreSQL of its own for the test: %v", err)
	}
	s.keeper = k
	t.Cleanup(func() {
		if err := k.close(); err != nil {
			t.Errorf("stopping the test's own PostgreSQL: %v", err)
		}
	})
}

func (s *PrivateServer) order() keeperOrder {
	return keeperOrder{Dir: s.dir, Settings: s.settings, Lenient: s.lenient}
}

// URL answers the server's address. It stays the same over restarts.
func (s *PrivateServer) URL() string { return s.keeper.url }

// Dir answers the server's directory: its log is server.log, its data data.
func (s *PrivateServer) Dir() string { return s.dir }

// Pid answers the server's main process, and fails the test when none runs.
func (s *PrivateServer) Pid() int {
	s.t.Helper()
	pid, err := s.readPid()
	if err != nil {
		s.t.Fatalf("the test's own PostgreSQL does not run: %v", err)
	}
	return pid
}

func (s *PrivateServer) pidFile() string { return filepath.Join(s.dir, "data", "postmaster.pid") }

func (s *PrivateServer) readPid() (int, error) {
	text, err := os.ReadFile(s.pidFile())
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strconv.Atoi(line)
}

// Stop stops the server and returns when it has gone. Stopping a stopped one is
// no error.
func (s *PrivateServer) Stop(mode Mode) {
	s.t.Helper()
	if err := s.stop(mode); err != nil {
		s.t.Fatalf("stopping the test's own PostgreSQL: %v", err)
	}
}

func (s *PrivateServer) stop(mode Mode) error {
	signal, known := stopSignals[mode]
	if !known {
		return fmt.Errorf("there is no mode %q", mode)
	}
	pid, err := s.readPid()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return s.awaitGone()
}

// awaitGone waits for postmaster.pid to go, which every mode removes last.
func (s *PrivateServer) awaitGone() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	poll := time.NewTicker(stopPoll)
	defer poll.Stop()
	for {
		if _, err := os.Stat(s.pidFile()); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is still there after %v", stopPatience)
		case <-poll.C:
		}
	}
}

// Start starts a stopped server and returns when it takes connections. Starting
// one that runs changes nothing.
func (s *PrivateServer) Start() {
	s.t.Helper()
	// The keeper's share keeps it running, so ours is only needed for the start.
	server, err := open(s.order())
	if err == nil {
		err = server.Close()
	}
	if err != nil {
		s.t.Fatalf("starting the test's own PostgreSQL: %v", err)
	}
}

// Restart stops the server and starts it again.
func (s *PrivateServer) Restart(mode Mode) {
	s.t.Helper()
	s.Stop(mode)
	s.Start()
}
