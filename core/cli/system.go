package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/ops"
)

const defaultSchema = "workflows"

func (a *app) schema() string {
	for _, name := range []string{a.config.Schema, a.getenv("WORKFLOWS_SCHEMA")} {
		if name != "" {
			return name
		}
	}
	return defaultSchema
}

func (a *app) migrate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate [up|down|status]",
		Short: "Bring the schema up to date",
		Long: `Bring the schema up to date; "migrate" alone is "migrate up".

It is safe to run from many places at once and with workers running.`,
		Example: "  workflows migrate\n  workflows migrate status\n  workflows migrate down --confirm workflows",
		Args:    unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.migrateTo(cmd, model.MigrateRequest{Direction: "up"})
		},
	}
	var confirm string
	down := &cobra.Command{
		Use: "down", Short: "Remove the schema with everything in it", Args: takes(0, 0),
		Example: "  workflows migrate down --confirm workflows",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if confirm != a.schema() {
				return fmt.Errorf("this removes schema %s with every execution in it; if you mean that, add: --confirm %s", a.schema(), a.schema())
			}
			return a.migrateTo(cmd, model.MigrateRequest{Direction: "down", Confirm: confirm})
		},
	}
	down.Flags().StringVar(&confirm, "confirm", "", "the schema's name, because everything in it is removed")
	status := &cobra.Command{
		Use: "status", Short: "Tell the schema's version", Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.migrateTo(cmd, model.MigrateRequest{Direction: "status"})
		},
	}
	cmd.AddCommand(a.migrateUp(), down, status)
	return cmd
}

// schemasOwn stands for the schema's name, which is known once flags and environment are read.
const schemasOwn = "the schema's name"

func (a *app) migrateUp() *cobra.Command {
	var roles string
	cmd := &cobra.Command{
		Use: "up", Short: "Bring the schema to this library's version", Args: takes(0, 0),
		Long: `Bring the schema to this library's version.

With --roles it also makes four roles that nobody logs in as, unless they exist,
and gives them the least privileges: SCHEMA_owner owns the tables, and its members
migrate; SCHEMA_worker runs functions; SCHEMA_client starts, signals, cancels and
waits; SCHEMA_reader reads. Make your users members:
  GRANT workflows_worker TO app;`,
		Example: "  workflows migrate up\n  workflows migrate up --roles\n  workflows migrate up --roles=shop",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if roles == schemasOwn {
				roles = a.schema()
			}
			return a.migrateTo(cmd, model.MigrateRequest{Direction: "up", Roles: roles})
		},
	}
	cmd.Flags().StringVar(&roles, "roles", "", "make roles, whose names begin with this")
	cmd.Flags().Lookup("roles").NoOptDefVal = schemasOwn
	return cmd
}

func (a *app) migrateTo(cmd *cobra.Command, request model.MigrateRequest) error {
	a.config.Migrate = new(bool) // not at open: what this command reports would have happened already
	reply, raw, err := ask[model.MigrateReply](cmd.Context(), a, "migrate", request)
	if err != nil {
		return err
	}
	a.show(raw, func() {
		a.line(fmt.Sprintf("schema %s %s", reply.Schema, migrated(request.Direction, reply)))
		if p := request.Roles; p != "" {
			a.line(fmt.Sprintf("roles %[1]s_owner, %[1]s_worker, %[1]s_client and %[1]s_reader have their privileges", p))
		}
	})
	return nil
}

func migrated(direction string, r model.MigrateReply) string {
	switch {
	case direction == "down":
		return "is removed"
	case r.From != r.Version:
		return fmt.Sprintf("went from version %d to %d", r.From, r.Version)
	case r.Version < r.Latest:
		return fmt.Sprintf("is at version %d of %d; run: workflows migrate up", r.Version, r.Latest)
	case r.Version > r.Latest:
		return fmt.Sprintf("is at version %d, newer than this library's %d; upgrade the library", r.Version, r.Latest)
	}
	return fmt.Sprintf("is up to date at version %d", r.Version)
}

func (a *app) worker() *cobra.Command {
	return &cobra.Command{
		Use:   "worker",
		Short: "Run functions; comes with the language adapter",
		Long: `A worker runs your functions, so it belongs to the adapter for their language.

Python: pip install libworkflows, then
  python -m workflows worker -q default -m your.module
Node: npm install libworkflows, then
  new Worker({queues: ["default"]}) in a program of yours`,
		DisableFlagParsing: true, // its flags are the adapter's
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
				return cmd.Help()
			}
			return fmt.Errorf("a worker runs your functions, so it comes with their language's adapter; in Python: python -m workflows worker -q default -m your.module")
		},
	}
}

func (a *app) replay() *cobra.Command {
	return &cobra.Command{
		Use:   "replay",
		Short: "Try today's code on stored histories; comes with the language adapter",
		Long: `A replay runs your workflows' code, so it belongs to the adapter for their language.

Python: pip install libworkflows, then
  python -m workflows replay -m your.module`,
		DisableFlagParsing: true, // its flags are the adapter's
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
				return cmd.Help()
			}
			return fmt.Errorf("a replay runs your workflows' code, so it comes with their language's adapter; in Python: python -m workflows replay -m your.module")
		},
	}
}

func (a *app) workers() *cobra.Command {
	return &cobra.Command{
		Use:     "workers",
		Short:   "List the workers",
		Example: "  workflows workers",
		Args:    takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, _, err := ask[model.StatsReply](cmd.Context(), a, "stats", model.StatsRequest{})
			if err != nil {
				return err
			}
			if s.Workers == nil {
				s.Workers = []model.Worker{}
			}
			a.show(map[string]any{"workers": s.Workers}, func() { a.printWorkers(s) })
			return nil
		},
	}
}

func (a *app) printWorkers(s model.StatsReply) {
	if len(s.Workers) == 0 {
		a.note("no workers")
		return
	}
	var rows [][]string
	for _, w := range s.Workers {
		rows = append(rows, []string{
			w.ID.String(), shorten(w.Name, 30), w.Status, fmt.Sprintf("%d/%d", w.Running, w.Concurrency),
			ago(w.HeartbeatAt, s.ServerTime), ago(w.StartedAt, s.ServerTime),
			strings.TrimSpace(w.Language + " " + w.Runtime), shorten(strings.Join(w.Queues, ","), 60),
		})
	}
	a.table([]string{"ID", "NAME", "STATUS", "RUNNING", "HEARTBEAT", "STARTED", "LANGUAGE", "QUEUES"}, rows)
}

func (a *app) stats() *cobra.Command {
	return &cobra.Command{
		Use:     "stats",
		Short:   "Count what is not finished, queue by queue",
		Example: "  workflows stats\n  workflows stats --json | jq '.queues[] | select(.oldest_pending_ms > 60000)'",
		Args:    takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, raw, err := ask[model.StatsReply](cmd.Context(), a, "stats", model.StatsRequest{})
			if err != nil {
				return err
			}
			a.show(raw, func() { a.printStats(s) })
			return nil
		},
	}
}

func (a *app) printStats(s model.StatsReply) {
	a.line(fmt.Sprintf("schema %s, version %d, on PostgreSQL %s", s.Schema, s.SchemaVersion, s.ServerVersion))
	if len(s.Queues) == 0 {
		a.note("nothing is queued, running or failed")
		return
	}
	var rows [][]string
	for _, q := range s.Queues {
		oldest := ""
		if q.Pending > 0 {
			oldest = span(time.Duration(q.OldestPendingMS) * time.Millisecond)
		}
		row := []string{shorten(q.Queue, 40)}
		for _, n := range []int{q.Scheduled, q.Pending, q.Running, q.Suspended, q.Failed, serving(s, q.Queue)} {
			row = append(row, strconv.Itoa(n))
		}
		rows = append(rows, append(row, oldest))
	}
	a.table([]string{"QUEUE", "SCHEDULED", "PENDING", "RUNNING", "SUSPENDED", "FAILED", "WORKERS", "OLDEST PENDING"}, rows)
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Tell the library's version",
		Example: "  workflows version --json",
		Args:    takes(0, 0),
		RunE: func(*cobra.Command, []string) error {
			a.show(map[string]any{
				"version": model.Version, "commit": model.Commit, "operations": ops.Digest(), "schema_version": model.SchemaVersion,
			}, func() {
				a.line(fmt.Sprintf("libworkflows %s (commit %s, operations %s, schema version %d)", model.Version, model.Commit, ops.Digest(), model.SchemaVersion))
			})
			return nil
		},
	}
}
