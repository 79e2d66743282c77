package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/libworkflows/libworkflows/core/internal/pgtest"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/ops"
)

// realLine runs command lines against a schema of the test's own.
type realLine struct {
	t           *testing.T
	url, schema string
}

func (r realLine) run(args ...string) outcome {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code := Main(ctx, append([]string{"--database-url", r.url, "--schema", r.schema}, args...), strings.NewReader(""), &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// succeeds runs a command that must succeed and answers what it printed.
func (r realLine) succeeds(args ...string) string {
	r.t.Helper()
	got := r.run(args...)
	if got.code != exitOK {
		r.t.Fatalf("%v: exit code %d, stdout %q, stderr %q", args, got.code, got.stdout, got.stderr)
	}
	return strings.TrimSpace(got.stdout)
}

// says runs a command and looks for its exit code and for words in what it printed.
func (r realLine) says(code int, words string, args ...string) {
	r.t.Helper()
	got := r.run(args...)
	if got.code != code || !strings.Contains(got.stdout+got.stderr, words) {
		r.t.Errorf("%v: exit code %d, want %d and %q, stdout %q, stderr %q", args, got.code, code, words, got.stdout, got.stderr)
	}
}

// work is a worker that completes one execution with a result.
func (r realLine) work(queue, result string) {
	r.t.Helper()
	engine, err := ops.Open(r.t.Context(), model.Config{DatabaseURL: r.url, Schema: r.schema})
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = engine.Close(time.Second) }()
	a := &app{call: func(ctx context.Context, name string, request []byte) []byte {
		operation, err := ops.ByName(name)
		if err != nil {
			r.t.Fatal(err)
		}
		return operation.Call(ctx, engine, request)
	}}
	worker := must(ask[model.StartWorkerReply](r.t.Context(), a, "start_worker", model.StartWorkerRequest{Queues: []string{queue}}))(r.t)
	claim := model.ClaimRequest{WorkerID: worker.WorkerID, N: 1, WaitMS: 10_000}
	claimed := must(ask[model.ClaimReply](r.t.Context(), a, "claim", claim))(r.t)
	if len(claimed.Executions) != 1 {
		r.t.Fatalf("claimed %d executions", len(claimed.Executions))
	}
	e := claimed.Executions[0]
	done := model.CompleteExecutionRequest{Items: []model.Completion{{ID: e.ID, Lease: e.Lease, Result: model.Payload(result)}}}
	if got := must(ask[verdicts[model.Advanced]](r.t.Context(), a, "complete_execution", done))(r.t); got.Results[0].Error != nil {
		r.t.Fatal(got.Results[0].Error)
	}
}

func must[R any](reply R, _ json.RawMessage, err error) func(*testing.T) R {
	return func(t *testing.T) R {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
}

func TestTheCommandLineWorksOnARealDatabase(t *testing.T) {
	t.Parallel()
	var r realLine
	r.t = t
	r.url, r.schema = pgtest.Schema(t)

	r.says(exitOK, "version 0 of", "migrate", "status")
	r.says(exitFailed, "workflows migrate up", "stats")
	r.says(exitFailed, "was never migrated; run: workflows migrate up", "doctor")
	r.says(exitOK, "went from version 0 to", "migrate", "up")
	r.says(exitOK, "is up to date", "migrate")
	r.says(exitOK, "no executions match", "list")
	r.says(exitOK, "no worker is alive", "doctor")

	id := r.succeeds("enqueue", "add", "--queue", "sums", "--key", "once", "--", "1E2", "-0.0")
	if again := r.succeeds("enqueue", "add", "--queue", "sums", "--key", "once"); again != id {
		t.Errorf("the same key made %s and %s", id, again)
	}
	r.says(exitOK, "[1E2,-0.0]", "status", id)
	r.says(exitOK, id, "list", "--status", "pending", "--queue", "sums")
	r.says(exitFailed, "queue sums has 1 due and no worker serves it", "doctor")
	r.says(exitFailed, "it goes on", "result", id, "--timeout", "10ms")
	r.work("sums", `{"b":1E2,"a":"<&>"}`)
	if got := r.succeeds("result", id); got != `{"b":1E2,"a":"<&>"}` {
		t.Errorf("the result came back as %s", got)
	}
	r.says(exitOK, "completed already, nothing changed", "cancel", id)

	waiting := r.succeeds("enqueue", "greet", "--kind", "workflow", "--delay", "1h")
	r.says(exitOK, "sent", "signal", waiting, "hello", `{"from":"Ada"}`)
	r.says(exitOK, "hello", "history", waiting)
	r.says(exitOK, "cancelled", "cancel", waiting, "--reason", "not needed")
	r.says(exitFailed, "was cancelled", "result", waiting)
	r.says(exitOK, "", "retry", waiting)
	r.says(exitOK, "cancelled", "terminate", waiting)
	r.says(exitFailed, anID, "status", anID)
	r.says(exitFailed, anID, "cancel", anID)
	r.says(exitOK, "stopped", "workers")
	r.says(exitOK, "PostgreSQL", "stats")
	r.says(exitOK, "is removed", "migrate", "down", "--confirm", r.schema)
	r.says(exitOK, "version 0 of", "migrate", "status")
}

// Whatever stands in an argument is looked for, or refused; it does nothing else.
func TestHostileArgumentsAreOnlyLookedFor(t *testing.T) {
	t.Parallel()
	var r realLine
	r.t = t
	r.url, r.schema = pgtest.Schema(t)
	r.succeeds("migrate", "up")
	bystander := r.succeeds("enqueue", "innocent")
	for _, text := range []string{`x'; DROP TABLE executions; --`, `' OR '1'='1`, `%`, `_`, `"; SELECT 1`, `$1`, `x\`, "../../etc/passwd", "\u202eevil"} {
		id := r.succeeds("enqueue", text, "--queue", text, "--key", text)
		for _, filter := range []string{"--name", "--queue"} {
			if got := r.succeeds("list", filter, text, "--json"); !strings.Contains(got, id) || strings.Contains(got, bystander) {
				t.Errorf("list %s %q found %s", filter, text, got)
			}
		}
		for _, args := range [][]string{{"list", "--status", text}, {"list", "--kind", text}, {"list", "--cursor", text}, {"status", text}, {"history", text}, {"cancel", text}, {"retry", text}} {
			if got := r.run(args...); got.code == exitOK {
				t.Errorf("%q was taken: %s", args, got.stdout)
			}
		}
		r.succeeds("cancel", id, "--reason", text)
	}
	r.says(exitOK, "pending", "status", bystander)
}

func TestADatabaseThatCannotBeReachedIsOneSentence(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{
		"postgres://ada:hunter2@127.0.0.1:1/app",
		"postgres://ada:hunter2@/app?host=/nowhere",
		"postgres://ada:hunter2@127.0.0.1:nonsense/app",
		"host=127.0.0.1 port=1 password=hunter2",
		"mysql://ada:hunter2@127.0.0.1/app",
	} {
		var stdout, stderr bytes.Buffer
		code := Main(t.Context(), []string{"stats", "--database-url", dsn}, strings.NewReader(""), &stdout, &stderr)
		if code == exitOK || strings.Contains(stderr.String(), "hunter2") || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", dsn, code, stdout.String(), stderr.String())
		}
	}
}
