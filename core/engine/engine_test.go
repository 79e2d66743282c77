package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/internal/pgtest"
	"github.com/libworkflows/libworkflows/core/model"
)

// patienceInTests bounds every wait of a test.
const patienceInTests = 20 * time.Second

// world is an engine over a migrated schema of its own.
type world struct {
	*testing.T
	*Engine
	ctx    context.Context
	url    string // for engines
	direct string // for the test itself
	listen string // for engines that do not say
	schema string
}

// pooledEnv makes every test here go through a PgBouncer in transaction mode.
const pooledEnv = "WORKFLOWS_TEST_POOLED"

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getenv(pooledEnv) != "" {
		p := pgtest.PgBouncer(t)
		return openWorld(t, p.URL(), p.Direct(), p.Direct(), p.Schema())
	}
	url, schema := pgtest.Schema(t)
	w := aWorld(t, url, url, "", schema)
	w.migrate(rolesOfTests)
	_ = w.Close(0)
	return w.as("worker")
}

// rolesOfTests begin the names of roles that the tests of all schemas share.
const rolesOfTests = "pgtest"

// as answers the same world to one of these roles. So do all further engines in it.
func (w *world) as(role string) *world {
	w.Helper()
	other := *w
	other.url = w.direct + "&role=" + rolesOfTests + "_" + role
	other.Engine = other.another(model.Config{})
	return &other
}

func openWorld(t *testing.T, url, direct, listen, schema string) *world {
	t.Helper()
	w := aWorld(t, url, direct, listen, schema)
	w.migrate("")
	return w
}

func aWorld(t *testing.T, url, direct, listen, schema string) *world {
	t.Helper()
	w := &world{T: t, url: url, direct: direct, listen: listen, schema: schema}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patienceInTests)
	t.Cleanup(cancel)
	w.ctx = ctx
	w.Engine = w.another(model.Config{})
	return w
}

func (w *world) migrate(roles string) {
	w.Helper()
	if _, err := w.Migrate(w.ctx, model.MigrateRequest{Roles: roles}); err != nil {
		w.Fatalf("migrate: %v", err)
	}
}

// another opens a further engine, as another process would.
func (w *world) another(config model.Config) *Engine {
	w.Helper()
	config.DatabaseURL, config.Schema, config.ListenURL = w.url, w.schema, first(config.ListenURL, w.listen)
	e, err := Open(w.ctx, config)
	if err != nil {
		w.Fatalf("open: %v", err)
	}
	w.Cleanup(func() { _ = e.Close(time.Second) })
	return e
}

func (w *world) create(items ...model.NewExecution) []model.Created {
	w.Helper()
	reply, err := w.CreateExecution(w.ctx, model.CreateExecutionRequest{Items: items})
	if err != nil {
		w.Fatalf("create: %v", err)
	}
	return reply.Results
}

func (w *world) createOne(kind model.Kind, name string) uuid.UUID {
	w.Helper()
	return w.create(model.NewExecution{Kind: kind, Name: name})[0].ID
}

// worker starts one with short times: a heartbeat timeout of a second.
func (w *world) worker(e *Engine, mend ...func(*model.StartWorkerRequest)) uuid.UUID {
	w.Helper()
	req := model.StartWorkerRequest{Queues: []string{"default"}, Language: "test", HeartbeatTimeoutMS: 1000, HeartbeatIntervalMS: 200, PollIntervalMS: 100}
	for _, m := range mend {
		m(&req)
	}
	reply, err := e.StartWorker(w.ctx, req)
	if err != nil {
		w.Fatalf("start worker: %v", err)
	}
	return reply.WorkerID
}

func (w *world) claim(e *Engine, worker uuid.UUID, n int) []model.Claimed {
	w.Helper()
	reply, err := e.Claim(w.ctx, model.ClaimRequest{WorkerID: worker, N: n, WaitMS: patienceInTests.Milliseconds()})
	if err != nil {
		w.Fatalf("claim: %v", err)
	}
	return reply.Executions
}

func (w *world) claimOne(e *Engine, worker uuid.UUID) model.Claimed {
	w.Helper()
	claimed := w.claim(e, worker, 1)
	if len(claimed) != 1 {
		w.Fatalf("claimed %d executions, want 1", len(claimed))
	}
	return claimed[0]
}

// only answers the single result of a batch.
func only[T any](w *world, results []model.Result[T], err error) T {
	w.Helper()
	if err != nil {
		w.Fatalf("the operation failed: %v", err)
	}
	if len(results) != 1 || results[0].Error != nil {
		w.Fatalf("want one accepted result, have %s", asText(results))
	}
	return *results[0].OK
}

// refused answers the code of the single error of a batch.
func refused[T any](w *world, results []model.Result[T], err error) fault.Code {
	w.Helper()
	if err != nil {
		return fault.CodeOf(err)
	}
	if len(results) != 1 || results[0].Error == nil {
		w.Fatalf("want one refused result, have %s", asText(results))
	}
	return fault.CodeOf(results[0].Error)
}

func asText(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}

func (w *world) complete(e *Engine, c model.Claimed, result string) model.Advanced {
	w.Helper()
	reply, err := e.CompleteExecution(w.ctx, model.CompleteExecutionRequest{Items: []model.Completion{
		{ID: c.ID, Lease: c.Lease, Result: model.Payload(result), Position: c.Position},
	}})
	return only(w, reply.Results, err)
}

func (w *world) advance(e *Engine, c model.Claimed, a model.Advance) model.Advanced {
	w.Helper()
	a.ID, a.Lease = c.ID, c.Lease
	if a.Position == 0 {
		a.Position = c.Position
	}
	reply, err := e.AdvanceWorkflow(w.ctx, model.AdvanceWorkflowRequest{Items: []model.Advance{a}})
	return only(w, reply.Results, err)
}

// begun answers a workflow that somebody holds.
func (w *world) begun(n model.NewExecution) (worker uuid.UUID, c model.Claimed) {
	w.Helper()
	n.Kind, n.Name = model.Workflow, "flow"
	w.create(n)
	worker = w.worker(w.Engine)
	return worker, w.claimOne(w.Engine, worker)
}

func (w *world) get(id uuid.UUID) model.Execution {
	w.Helper()
	execution, err := w.GetExecution(w.ctx, model.GetExecutionRequest{ID: id})
	if err != nil {
		w.Fatalf("get: %v", err)
	}
	return execution
}

func (w *world) wants(id uuid.UUID, want model.Status) model.Execution {
	w.Helper()
	execution := w.get(id)
	if execution.Status != want {
		w.Fatalf("the execution is %s, want %s: %s", execution.Status, want, asText(execution))
	}
	return execution
}

func (w *world) waitFor(id uuid.UUID) model.Execution {
	w.Helper()
	execution, err := w.WaitExecution(w.ctx, model.WaitExecutionRequest{ID: id, WaitMS: patienceInTests.Milliseconds()})
	if err != nil {
		w.Fatalf("wait: %v", err)
	}
	return execution
}

// eventually polls until a condition holds.
func (w *world) eventually(what string, holds func() bool) {
	w.Helper()
	deadline := time.Now().Add(patienceInTests)
	for !holds() {
		if time.Now().After(deadline) {
			w.Fatalf("%s did not happen within %s", what, patienceInTests)
		}
		time.Sleep(5 * time.Millisecond) // polling: the deadline above is what bounds it
	}
}

// exec runs SQL of a test's own against the schema called workflows in it.
func (w *world) exec(sql string, args ...any) {
	w.Helper()
	conn, err := pgx.Connect(w.ctx, w.direct)
	if err != nil {
		w.Fatalf("connect: %v", err)
	}
	defer func() { _ = conn.Close(w.ctx) }()
	if _, err := conn.Exec(w.ctx, w.inSchema(sql), args...); err != nil {
		w.Fatalf("exec: %v", err)
	}
}

func (w *world) inSchema(sql string) string {
	return strings.ReplaceAll(sql, "workflows.", pgx.Identifier{w.schema}.Sanitize()+".")
}

// count answers the number that a query of a test's own finds.
func (w *world) count(sql string, args ...any) (n int) {
	w.Helper()
	conn, err := pgx.Connect(w.ctx, w.direct)
	if err != nil {
		w.Fatalf("connect: %v", err)
	}
	defer func() { _ = conn.Close(w.ctx) }()
	if err := conn.QueryRow(w.ctx, w.inSchema(sql), args...).Scan(&n); err != nil {
		w.Fatalf("count: %v", err)
	}
	return n
}

func types(events []model.Event) (names []model.EventType) {
	for _, e := range events {
		names = append(names, e.Type)
	}
	return names
}

func schedule(sequence int, kind model.Kind, name string) model.Command {
	return model.Command{Type: model.CommandSchedule, Sequence: sequence, Execution: &model.NewExecution{Kind: kind, Name: name}}
}

func timer(sequence int, ms int64) model.Command {
	return model.Command{Type: model.CommandStartTimer, Sequence: sequence, DelayMS: ms}
}

func pointer[T any](v T) *T { return &v }
