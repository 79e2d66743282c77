package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

// What doctor compares with.
const (
	oldestServer  = 14
	skewTolerance = 5 * time.Second  // nothing depends on this clock but what a person reads
	silenceLimit  = 30 * time.Second // three times the default heartbeat timeout
	backlogLimit  = time.Minute
	parkedSample  = 100
)

// grade is a check's outcome.
type grade string

const (
	good  grade = "ok"
	doubt grade = "warn"
	bad   grade = "fail"
)

// check is one line of doctor's.
type check struct {
	Name    string `json:"name"`
	Grade   grade  `json:"grade"`
	Message string `json:"message"`
	// Advice says what to do about it.
	Advice string `json:"advice,omitempty"`
}

// checkup gathers checks.
type checkup struct {
	app    *app
	checks []check
}

func (a *app) doctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check the set-up and say what to do about it",
		Long: `Check the set-up, one line a check: configuration, database, schema, clocks,
connection, workers, queues, parked executions. The exit code is 1 if a check says FAIL.`,
		Example: "  workflows doctor\n  workflows doctor --json | jq '.checks[] | select(.grade != \"ok\")'",
		Args:    takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := &checkup{app: a}
			c.examine(cmd.Context())
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			a.show(map[string]any{"checks": c.checks}, c.print)
			return c.conclusion()
		},
	}
}

func (c *checkup) examine(ctx context.Context) {
	c.configuration()
	if !c.schema(ctx) {
		return
	}
	before := c.app.now()
	s, _, err := ask[model.StatsReply](ctx, c.app, "stats", model.StatsRequest{TryListen: true})
	if err != nil {
		c.trouble(err)
		return
	}
	c.server(s)
	c.connection(s)
	c.clock(s, before, c.app.now())
	c.workers(s)
	c.queues(s)
	c.parked(ctx)
}

func (c *checkup) add(name string, g grade, advice, format string, args ...any) {
	c.checks = append(c.checks, check{name, g, fmt.Sprintf(format, args...), advice})
}

// trouble says which check an error fails.
func (c *checkup) trouble(err error) {
	f := asFault(err)
	name, known := map[fault.Code]string{
		fault.InvalidConfig:    "configuration",
		fault.PermissionDenied: "privileges",
		fault.SchemaMissing:    "schema",
		fault.SchemaOutdated:   "schema",
		fault.SchemaTooNew:     "schema",
	}[f.Code]
	if !known {
		name = "database"
	}
	c.add(name, bad, "", "%s", f.Message) // a fault's message says what to do
}

func (c *checkup) configuration() {
	where, given := c.app.config.DatabaseURL, "--database-url"
	if where == "" {
		where, given = c.app.getenv("WORKFLOWS_DATABASE_URL"), "WORKFLOWS_DATABASE_URL"
	}
	if where == "" {
		c.add("configuration", doubt, "set WORKFLOWS_DATABASE_URL to use a PostgreSQL of yours",
			"no database is given: a private one under .workflows/postgres is used")
		return
	}
	c.add("configuration", good, "", "%s names %s, schema %s", given, place(where), c.app.schema())
}

// place tells where a database is, without user and password.
func place(dsn string) string {
	if strings.HasPrefix(dsn, "embedded:") {
		return dsn
	}
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme == "" || strings.Contains(u.Path+u.Host, "@") { // torn by a / in the password
		return "a connection string"
	}
	host := u.Host
	if host == "" {
		host = u.Query().Get("host")
	}
	return strings.TrimSpace("database " + strings.TrimPrefix(u.Path, "/") + " at " + host)
}

// schema also tells whether the database can be reached at all.
func (c *checkup) schema(ctx context.Context) bool {
	r, _, err := ask[model.MigrateReply](ctx, c.app, "migrate", model.MigrateRequest{Direction: "status"})
	if err != nil {
		c.trouble(err)
		return false
	}
	c.add("database", good, "", "PostgreSQL answers")
	switch {
	case r.Version == 0:
		c.add("schema", bad, "run: workflows migrate up", "schema %s was never migrated", r.Schema)
	case r.Version < r.Latest:
		c.add("schema", bad, "run: workflows migrate up", "schema %s is at version %d, this library needs %d", r.Schema, r.Version, r.Latest)
	case r.Version > r.Latest:
		c.add("schema", bad, "upgrade libworkflows here", "schema %s is at version %d, this library knows %d", r.Schema, r.Version, r.Latest)
	default:
		c.add("schema", good, "", "schema %s is at version %d, as this library is", r.Schema, r.Version)
	}
	return r.Version == r.Latest
}

func (c *checkup) server(s model.StatsReply) {
	var major int
	_, err := fmt.Sscanf(s.ServerVersion, "%d", &major) // "15.18 (Debian)", "19beta1"
	switch {
	case err != nil:
		c.add("server", doubt, "", "the server's version is unreadable: %q", s.ServerVersion)
	case major < oldestServer:
		c.add("server", bad, fmt.Sprintf("upgrade to PostgreSQL %d or newer", oldestServer), "PostgreSQL %s is too old", s.ServerVersion)
	default:
		c.add("server", good, "", "PostgreSQL %s", s.ServerVersion)
	}
}

// connection tells what stands between us and PostgreSQL, and whether hints come through.
func (c *checkup) connection(s model.StatsReply) {
	switch {
	case !s.Pooled:
		c.add("connection", good, "", "direct: sessions are ours, with our settings")
	case s.Prepared:
		c.add("connection", good, "", "through a pooler, which keeps prepared statements: settings travel with each transaction")
	default:
		c.add("connection", good, "PgBouncer 1.21 or newer with max_prepared_statements would spare the planning",
			"through a pooler: settings travel with each transaction, and each statement is planned anew")
	}
	switch s.Listening {
	case "on":
		c.add("hints", good, "", "LISTEN works: due work is picked up at once")
	case "off":
		c.add("hints", good, "", "LISTEN is off: due work is found by polling")
	default:
		c.add("hints", doubt, "", "due work is found by polling: %s", s.Listening) // the text says what to do
	}
}

// clock compares the server's with ours, which must lie between before and after.
func (c *checkup) clock(s model.StatsReply, before, after time.Time) {
	skew := max(before.Sub(s.ServerTime), s.ServerTime.Sub(after), 0)
	if skew > skewTolerance {
		c.add("clock", doubt, "synchronise the clocks; leases and timers go by the database's and are right, ages shown here are not",
			"this clock and the database's are %s apart", span(skew))
		return
	}
	c.add("clock", good, "", "this clock and the database's agree")
}

func (c *checkup) workers(s model.StatsReply) {
	var alive, silent, holding int
	for _, w := range s.Workers {
		switch {
		case w.Status == "dead" && w.Running > 0:
			holding++
		case w.Status == "active" && s.ServerTime.Sub(w.HeartbeatAt) > silenceLimit:
			silent++
		case w.Status == "active":
			alive++
		}
	}
	if alive == 0 {
		c.add("workers", doubt, "start one, see: workflows worker --help", "no worker is alive: nothing runs")
	} else {
		c.add("workers", good, "", "%s alive", plural(alive, "worker is", "workers are"))
	}
	if silent > 0 {
		c.add("workers", doubt, "see: workflows workers; a worker that runs takes over what they hold",
			"%s active but silent for more than %s", plural(silent, "worker is", "workers are"), silenceLimit)
	}
	if holding > 0 {
		c.add("workers", doubt, "start a worker: any one recovers what they hold within its heartbeat timeout",
			"%s dead and still hold executions", plural(holding, "worker is", "workers are"))
	}
}

// serving counts the live workers of a queue.
func serving(s model.StatsReply, queue string) int {
	n := 0
	for _, w := range s.Workers {
		if w.Status != "active" || s.ServerTime.Sub(w.HeartbeatAt) > silenceLimit {
			continue
		}
		for _, q := range w.Queues {
			if q == queue {
				n++
			}
		}
	}
	return n
}

func (c *checkup) queues(s model.StatsReply) {
	before := len(c.checks)
	for _, q := range s.Queues {
		oldest := time.Duration(q.OldestPendingMS) * time.Millisecond
		workers := serving(s, q.Queue)
		switch {
		case q.Pending > 0 && workers == 0:
			c.add("queues", bad, "start a worker with: -q "+printable(q.Queue),
				"queue %s has %d due and no worker serves it, for %s so far", printable(q.Queue), q.Pending, span(oldest))
		case q.Pending > 0 && oldest > backlogLimit:
			c.add("queues", doubt, "add workers or concurrency, or see what holds them: workflows list --status running -q "+printable(q.Queue),
				"queue %s is behind: %d due, the oldest for %s, %s", printable(q.Queue), q.Pending, span(oldest), plural(workers, "worker", "workers"))
		}
	}
	if len(c.checks) == before {
		c.add("queues", good, "", "every queue with due work has a worker and is up to date")
	}
}

func (c *checkup) parked(ctx context.Context) {
	found, err := c.app.walk(ctx, model.ListExecutionsRequest{Parked: true, Limit: parkedSample})
	if err != nil {
		c.trouble(err)
		return
	}
	n := len(found.Executions)
	if n == 0 {
		c.add("parked", good, "", "nothing is parked")
		return
	}
	count := plural(n, "execution waits", "executions wait")
	if n == parkedSample {
		count = "at least " + count
	}
	c.add("parked", doubt, "see: workflows list --parked; then workflows resume ID, or workflows retry ID", "%s for somebody to look", count)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (c *checkup) print() {
	for _, k := range c.checks {
		word := string(k.Grade)
		if k.Grade == bad {
			word = "FAIL"
		}
		line := fmt.Sprintf("%s  %-13s  %s", c.app.paint(fmt.Sprintf("%-4s", word)), k.Name, printable(k.Message))
		if k.Advice != "" {
			line += "; " + k.Advice
		}
		c.app.line(line)
	}
}

// conclusion makes the command fail when a check did. A person has read it already.
func (c *checkup) conclusion() error {
	failed := 0
	for _, k := range c.checks {
		if k.Grade == bad {
			failed++
		}
	}
	switch {
	case failed == 0:
		return nil
	case c.app.json:
		return fault.New(unhealthy, nil, "%s", plural(failed, "check failed", "checks failed"))
	}
	return errSaid
}
