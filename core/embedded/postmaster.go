package embedded

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	statePoll = 10 * time.Millisecond
	// deafPatience is how long a server that calls itself ready may refuse
	// connections before we stop believing it.
	deafPatience = 15 * time.Second
	// answerPatience allows for a machine that is very busy.
	answerPatience = 5 * time.Second
	// After stopPatience a fast stop becomes an immediate one. The write-ahead
	// log makes that safe; the next start only takes longer.
	stopPatience = 30 * time.Second
	killPatience = 10 * time.Second
	// orphanPatience is for the backends of a server that was killed.
	orphanPatience = 15 * time.Second
	orphanPoll     = 100 * time.Millisecond
)

// postmaster is what a server tells about itself in postmaster.pid.
type postmaster struct {
	found  bool
	pid    int
	socket string // directory
	state  string // "starting", "ready", "stopping"
}

// postmaster reads lines that PostgreSQL promises to pg_ctl (miscadmin.h): 1 the
// process id, 5 the socket directory, 8 the state. A file that is being written
// has fewer.
func (c cluster) postmaster() (postmaster, error) {
	text, err := os.ReadFile(c.postmasterFile())
	if errors.Is(err, fs.ErrNotExist) {
		return postmaster{}, nil
	}
	if err != nil {
		return postmaster{}, unavailable("cannot see whether the embedded PostgreSQL runs (run as the user who made its directory): %w", err)
	}
	lines := append(strings.Split(string(text), "\n"), make([]string, 8)...)
	pid, _ := strconv.Atoi(strings.TrimSpace(lines[0]))
	return postmaster{
		found:  true,
		pid:    pid,
		socket: strings.TrimSpace(lines[4]),
		state:  strings.TrimSpace(lines[7]),
	}, nil
}

func (c cluster) postmasterFile() string { return filepath.Join(c.data(), "postmaster.pid") }

// sslRequest is PostgreSQL's shortest question: length 8, code 80877103. On a
// unix socket the answer is one byte, N.
var sslRequest = []byte{0, 0, 0, 8, 4, 210, 22, 47}

// answers reports whether the server serves connections. That one is accepted
// proves nothing: the kernel does so for a server that is dying or hangs.
func (p postmaster) answers() bool {
	if p.state != "ready" || p.socket == "" {
		return false
	}
	conn, err := net.DialTimeout("unix", socketPath(p.socket), answerPatience)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(answerPatience))
	if _, err := conn.Write(sslRequest); err != nil {
		return false
	}
	_, err = conn.Read(make([]byte, 1))
	return err == nil
}

func (p postmaster) alive(c cluster) bool { return p.found && p.pid > 0 && isServer(p.pid, c.data()) }

// ensureRunning answers the socket directory of a server that takes connections.
// It needs the start lock.
//
// The server is asked before its process is looked for: in another container, on
// the same directory, the process cannot be seen.
func (c cluster) ensureRunning(ctx context.Context, binaries, settings []string) (string, error) {
	p, err := c.postmaster()
	if err != nil {
		return "", err
	}
	if p.answers() {
		return p.socket, nil
	}
	if p.alive(c) {
		p, err = c.await(ctx, func(p postmaster) bool { return p.answers() || !p.alive(c) })
		if err != nil || p.answers() {
			return p.socket, err
		}
	}
	return c.start(ctx, binaries, settings)
}

func (c cluster) start(ctx context.Context, given, settings []string) (string, error) {
	b, err := c.binaries(ctx, given, settings)
	if err != nil {
		return "", err
	}
	socket, err := c.socketDirectory()
	if err != nil {
		return "", err
	}
	if err := c.clearRecycled(); err != nil {
		return "", err
	}
	deadline := time.Now().Add(orphanPatience)
	for {
		err := c.attempt(ctx, b, socket, settings)
		if err == nil || time.Now().After(deadline) || !c.blockedByOrphans() {
			return socket, err
		}
		if err := pause(ctx, orphanPoll); err != nil {
			return "", unavailable("gave up starting the embedded PostgreSQL in %s: %w", c.dir, err)
		}
	}
}

// blockedByOrphans recognises by the log (whose language we choose) a start that
// failed because of the server before: when that was killed, its backends live
// on until they notice, and no new server may touch their data.
func (c cluster) blockedByOrphans() bool {
	return strings.Contains(c.logTail(), "pre-existing shared memory block")
}

// attempt starts the server and waits until it takes connections.
func (c cluster) attempt(ctx context.Context, b Binaries, socket string, settings []string) error {
	started, err := c.launch(b, socket, settings)
	if err != nil {
		return err
	}
	p, err := c.await(ctx, func(p postmaster) bool { return p.answers() || started.isGone() })
	if err != nil {
		started.abandon()
		return err
	}
	if !p.answers() {
		return unavailable("the embedded PostgreSQL in %s did not start; the end of %s:\n%s", c.dir, c.log(), c.logTail())
	}
	return nil
}

// clearRecycled removes a postmaster.pid left by a crash whose process id now
// belongs to something else. PostgreSQL sees through most of those itself, but
// believes any process of its own user, and in a container ids come around fast.
func (c cluster) clearRecycled() error {
	p, err := c.postmaster()
	if err != nil || !p.found || p.pid <= 0 || p.alive(c) || errors.Is(syscall.Kill(p.pid, 0), syscall.ESRCH) {
		return err
	}
	if err := os.Remove(c.postmasterFile()); err != nil {
		return unavailable("cannot remove a postmaster.pid that a crash left behind: %w", err)
	}
	return nil
}

// launch starts the server as a daemon and reaps it, if we live to see its end.
// The log of the run before is kept beside the new one.
func (c cluster) launch(b Binaries, socket string, settings []string) (*launched, error) {
	_ = os.Rename(c.log(), c.log()+".1")
	log, err := os.OpenFile(c.log(), os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, unavailable("cannot write the embedded PostgreSQL's log: %w", err)
	}
	defer log.Close()
	// The server must outlive whoever opened it, and so every context of theirs.
	cmd := c.user.command(context.Background(), filepath.Join(b.Dir, "postgres"), serverArgs(c.data(), socket, settings)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := c.user.start(cmd, c.data(), socketPath(socket)); err != nil {
		return nil, unavailable("cannot start %s: %w", cmd.Path, err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // how it ended is in its log
	}()
	return &launched{cmd.Process, exited}, nil
}

// launched is a server that this process started, before it has written its
// postmaster.pid.
type launched struct {
	process *os.Process
	exited  <-chan struct{}
}

func (l *launched) isGone() bool {
	select {
	case <-l.exited:
		return true
	default:
		return false
	}
}

// abandon stops a server that nobody waits for any more.
func (l *launched) abandon() {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} {
		_ = l.process.Signal(signal)
		select {
		case <-l.exited:
			return
		case <-time.After(killPatience):
		}
	}
}

func serverArgs(data, socket string, settings []string) []string {
	quoted := `"` + strings.ReplaceAll(socket, `"`, `""`) + `"` // it is a list, separated by commas
	args := []string{"-D", data, "-p", port, "-c", "listen_addresses=", "-c", "unix_socket_directories=" + quoted}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	return args
}

// await reads postmaster.pid until it says what is waited for.
func (c cluster) await(ctx context.Context, done func(postmaster) bool) (postmaster, error) {
	heard := time.Now() // of a server that does not yet claim to be ready
	for {
		p, err := c.postmaster()
		if err != nil || done(p) {
			return p, err
		}
		if p.state != "ready" {
			heard = time.Now()
		}
		if time.Since(heard) > deafPatience {
			return p, unavailable("the embedded PostgreSQL in %s runs as process %d but does not answer at %s: stop that process and try again; the end of %s:\n%s",
				c.dir, p.pid, socketPath(p.socket), c.log(), c.logTail())
		}
		if err := pause(ctx, statePoll); err != nil {
			return p, unavailable("gave up waiting for the embedded PostgreSQL in %s: %w; the end of %s:\n%s", c.dir, err, c.log(), c.logTail())
		}
	}
}

// stop needs the start lock, and that nobody uses the server any more.
func (c cluster) stop() error {
	p, err := c.postmaster()
	if err != nil || !p.alive(c) {
		return err
	}
	// SIGINT is PostgreSQL's fast stop, SIGQUIT its immediate one.
	err = c.signalAndWait(p, syscall.SIGINT, stopPatience)
	if err != nil {
		err = c.signalAndWait(p, syscall.SIGQUIT, killPatience)
	}
	if err != nil {
		return err
	}
	if p.socket == c.shortSocketDirectory() {
		_ = os.Remove(p.socket) // it is empty now, and made anew when needed
	}
	return nil
}

func (c cluster) signalAndWait(p postmaster, signal syscall.Signal, patience time.Duration) error {
	if err := syscall.Kill(p.pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return unavailable("cannot stop the embedded PostgreSQL in %s, process %d: %w", c.dir, p.pid, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for p.alive(c) {
		if err := pause(ctx, statePoll); err != nil {
			return unavailable("the embedded PostgreSQL in %s, process %d, does not stop; the end of %s:\n%s", c.dir, p.pid, c.log(), c.logTail())
		}
	}
	return nil
}

func (c cluster) logTail() string {
	text, err := os.ReadFile(c.log())
	if err != nil {
		return err.Error()
	}
	return lastLines(string(text))
}

// lastLines keeps what an error has room for.
func lastLines(text string) string {
	const most = 12
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
