// Package cli is the command line, over the operations.
//
// It may run inside Python or Node, through wf_main. So it takes everything
// that belongs to a process from its caller, never ends the process, and leaves
// signals to the host, which cancels the context.
package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // the operation failed, the execution did, or the caller interrupted it
	exitUsage  = 2 // the command line or the configuration is wrong
)

// app is one run of the command line.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	open           opener
	terminalWidth  func(io.Writer) (columns int, terminal bool)
	now            func() time.Time
	getenv         func(string) string

	config model.Config
	json   bool

	call  caller // nil until the first operation
	close func()
}

// Main runs one command line, without the program's name, and answers the exit code.
//
// It ends early when ctx is cancelled, with 1 and without a word.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{
		stdin: stdin, stdout: stdout, stderr: stderr,
		open: openEngine, terminalWidth: terminalWidth, now: time.Now, getenv: os.Getenv,
	}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) (code int) {
	defer func() {
		if r := recover(); r != nil {
			slog.Error("the command line panicked", "panic", r, "stack", string(debug.Stack()))
			code = a.report(ctx, fault.New(fault.Internal, nil, "the command line failed in a way that it did not expect; its log has the stack"))
		}
	}()
	defer a.hangUp()
	a.json = asksForJSON(args) // before the flags are parsed: that may fail, too
	root := a.root()
	root.SetArgs(append([]string{}, args...)) // nil would be os.Args, which are the host's
	return a.report(ctx, root.ExecuteContext(ctx))
}

// asksForJSON looks for --json in a command line that may not be well-formed.
func asksForJSON(args []string) bool {
	for _, arg := range args {
		switch arg {
		case "--":
			return false
		case "--json", "--json=true":
			return true
		}
	}
	return false
}

const (
	groupExecutions = "executions"
	groupSystem     = "system"
)

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "workflows",
		Short: "Durable jobs, activities and workflows on PostgreSQL",
		Long: `Durable jobs, activities and workflows on PostgreSQL.

The database is the one that --database-url or WORKFLOWS_DATABASE_URL names;
without either, a private PostgreSQL under .workflows/postgres is started.

Exit codes: 0 done; 1 the operation or the execution failed, or was interrupted;
2 the command line or the configuration is wrong.`,
		Example: `  workflows migrate up
  workflows enqueue send_email '"ada@example.com"' --queue mail
  workflows list --status failed
  workflows doctor`,
		Version: model.Version,
		Args:    unknownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		DisableFlagsInUseLine: true,
		SilenceErrors:         true,
		SilenceUsage:          true,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see: %s --help", err, cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.config.DatabaseURL, "database-url", "", "PostgreSQL's URL, or embedded:PATH (default $WORKFLOWS_DATABASE_URL, then embedded:)")
	flags.StringVar(&a.config.Schema, "schema", "", `the schema (default $WORKFLOWS_SCHEMA, then "workflows")`)
	flags.BoolVar(&a.json, "json", a.json, "print one JSON document, and errors as JSON to stderr")

	root.AddGroup(&cobra.Group{ID: groupExecutions, Title: "Executions:"}, &cobra.Group{ID: groupSystem, Title: "System:"})
	a.add(root, groupExecutions, a.enqueue(), a.status(), a.result(), a.history(), a.list(), a.signal())
	a.add(root, groupExecutions, a.controls()...)
	a.add(root, groupSystem, a.migrate(), a.worker(), a.replay(), a.workers(), a.stats(), a.doctor(), a.version())
	return root
}

func (a *app) add(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		c.DisableFlagsInUseLine = true
		if c.ValidArgsFunction == nil {
			c.ValidArgsFunction = cobra.NoFileCompletions
		}
		root.AddCommand(c)
	}
}
