// Command workflows is the command line of libworkflows.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal" //nolint:depguard // this program is the host process
	"syscall"

	"github.com/libworkflows/libworkflows/core/cli"
)

func main() {
	if os.Getenv("WORKFLOWS_DEBUG") == "" {
		slog.SetDefault(slog.New(slog.DiscardHandler)) // a person gets one sentence, not causes and stacks
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process the hard way
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
