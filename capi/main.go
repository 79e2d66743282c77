// Package main is the C library: what include/workflows.h declares, over the operations.
//
// A call that may block comes in through shim.c and exports.go. What an event loop
// calls ends in C, at the mailbox of a channel (mailbox.c), which mailbox.go empties
// and fills; of the rest only environment.go knows C. A library holds what handles
// name: sessions, each the share that one wf_open has in an engine, and their channels.
package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/libworkflows/libworkflows/core/cli"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/ops"
)

func main() {} // required by -buildmode=c-shared, never called

// theLibrary is what the exported functions work on.
var theLibrary = newLibrary(openCore)

// buildInfo answers what wf_build_info promises.
func buildInfo(abi int) string {
	text, err := json.Marshal(struct {
		Version    string `json:"version"`
		Commit     string `json:"commit"`
		ABI        int    `json:"abi"`
		Operations string `json:"operations"`
		Go         string `json:"go"`
		Platform   string `json:"platform"`
	}{model.Version, model.Commit, abi, ops.Digest(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
	if err != nil {
		panic(err) // six strings and numbers are always JSON
	}
	return string(text)
}

// runCommandLine gives the context no end: a signal would have to come from the
// host, whose signals are not ours.
func runCommandLine(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return cli.Main(context.Background(), args, stdin, stdout, stderr)
}

// spawn starts every goroutine of this package.
func spawn(what string, f func()) { go func() { guarded(what, f) }() }

// spawnLoop starts a goroutine that somebody relies on as long as they live: after a panic
// it starts anew.
func spawnLoop(what string, loop func()) {
	spawn(what, func() {
		for guarded(what, loop) {
			time.Sleep(loopPause)
		}
	})
}

// loopPause keeps a loop that panics again and again from using up a processor.
const loopPause = 10 * time.Millisecond

// guarded keeps a panic from ending the host process, and says whether there was one.
func guarded(what string, f func()) (panicked bool) {
	defer func() {
		if r := recover(); r != nil {
			panicked = true
			logPanic(what, r)
		}
	}()
	f()
	return false
}

func logPanic(what string, reason any) {
	slog.Error(what+" panicked", "panic", reason, "stack", string(debug.Stack()))
}
