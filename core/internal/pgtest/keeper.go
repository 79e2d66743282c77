package pgtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/libworkflows/libworkflows/core/embedded"
)

// keeperEnv turns a test binary into a keeper: a process that holds an embedded
// server open for as long as the test process lives, which it sees by the end of
// its standard input. A test binary has no hook at its end without a TestMain,
// and none at all when it panics or runs out of time.
const keeperEnv = "LIBWORKFLOWS_PGTEST_KEEPER"

const keeperPatience = 2 * time.Minute

// keeperOrder is what a keeper is told.
type keeperOrder struct {
	Dir      string
	Settings []string
	Linger   time.Duration // how long it stays on after its test process
	// Lenient lets in whoever reaches the socket: a pooler runs as another user than the tests.
	Lenient bool
}

// keeperReport is a line that a keeper answers: at the start and, when something
// went wrong, at the end.
type keeperReport struct{ URL, Error string }

// The keeper takes over before any test or TestMain of the binary runs.
func init() {
	order := os.Getenv(keeperEnv)
	if order == "" {
		return
	}
	os.Exit(keep(order))
}

func keep(text string) int {
	var order keeperOrder
	err := json.Unmarshal([]byte(text), &order)
	if err != nil {
		return report(keeperReport{Error: err.Error()})
	}
	server, err := open(order)
	if err != nil {
		return report(keeperReport{Error: err.Error()})
	}
	report(keeperReport{URL: server.URL()})
	_, _ = io.Copy(io.Discard, os.Stdin)
	time.Sleep(order.Linger)
	if err := server.Close(); err != nil {
		return report(keeperReport{Error: err.Error()})
	}
	return 0
}

func report(r keeperReport) int {
	_ = json.NewEncoder(os.Stdout).Encode(r)
	return 1
}

func open(order keeperOrder) (*embedded.Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), keeperPatience)
	defer cancel()
	settings := order.Settings
	if order.Lenient {
		rules := filepath.Join(order.Dir, "pg_hba.conf")
		if err := os.WriteFile(rules, []byte("local all all trust\n"), 0o644); err != nil {
			return nil, err
		}
		settings = append(slices.Clone(settings), "hba_file="+rules)
	}
	return embedded.Open(ctx, order.Dir, testBinaries(), settings...)
}

// keeper is the test process's end of one.
type keeper struct {
	url   string
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
}

func startKeeper(order keeperOrder) (*keeper, error) {
	text, err := json.Marshal(order)
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), keeperEnv+"="+string(text))
	if dir := os.Getenv(binEnv); dir != "" {
		cmd.Env = append(cmd.Env, embedded.BinariesVariable+"="+dir) // these and no others
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for the tests
	stdin, stdinErr := cmd.StdinPipe()
	stdout, stdoutErr := cmd.StdoutPipe()
	if err := errors.Join(stdinErr, stdoutErr, cmd.Start()); err != nil {
		return nil, err
	}
	k := &keeper{cmd: cmd, stdin: stdin, out: bufio.NewReader(stdout)}
	k.url, err = k.awaitURL()
	return k, err
}

func (k *keeper) awaitURL() (string, error) {
	line, err := k.out.ReadBytes('\n')
	if err != nil {
		return "", fmt.Errorf("the process that keeps the test server ended: %w, %w", err, k.cmd.Wait())
	}
	var r keeperReport
	if err := json.Unmarshal(line, &r); err != nil {
		return "", fmt.Errorf("the process that keeps the test server said %q: %w", line, err)
	}
	if r.Error != "" {
		_ = k.cmd.Wait()
		return "", errors.New(r.Error)
	}
	return r.URL, nil
}

// close waits until the server is stopped, if nobody else uses it.
func (k *keeper) close() error {
	_ = k.stdin.Close()
	last, _ := io.ReadAll(k.out)
	if err := k.cmd.Wait(); err != nil {
		return fmt.Errorf("the process that keeps the test server: %w %s", err, last)
	}
	return nil
}
