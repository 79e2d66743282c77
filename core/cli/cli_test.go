package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/ops"
)

const anID = "0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601"

var testNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// fake is a backend that answers from a list, and remembers what it was asked.
type fake struct {
	t *testing.T
	// replies to each operation in turn, the last one again and again: a reply, an error, or a func() any.
	replies map[string][]any
	openErr error
	stdin   string
	columns int // of the terminal that stdout and stderr are, if they are one
	env     map[string]string
	step    time.Duration // by which the clock goes on each time that it is read

	asked  []string // operation and request
	config model.Config
	opened int
	closed int
}

type outcome struct {
	code           int
	stdout, stderr string
}

// syncBuffer is written to by the spinner, too.
type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (f *fake) run(args ...string) outcome {
	f.t.Helper()
	return f.runIn(context.Background(), args...)
}

func (f *fake) runIn(ctx context.Context, args ...string) outcome {
	f.t.Helper()
	var stdout, stderr syncBuffer
	var reads atomic.Int64
	a := &app{
		stdin: strings.NewReader(f.stdin), stdout: &stdout, stderr: &stderr,
		open:          f.open,
		now:           func() time.Time { return testNow.Add(time.Duration(reads.Add(1)) * f.step) },
		getenv:        func(name string) string { return f.env[name] },
		terminalWidth: func(io.Writer) (int, bool) { return f.columns, f.columns > 0 },
	}
	code := a.run(ctx, args)
	return outcome{code, stdout.String(), stderr.String()}
}

func (f *fake) open(_ context.Context, config model.Config) (caller, func(), error) {
	f.opened++
	f.config = config
	if f.openErr != nil {
		return nil, nil, f.openErr
	}
	return f.answer, func() { f.closed++ }, nil
}

func (f *fake) answer(_ context.Context, operation string, request []byte) []byte {
	f.asked = append(f.asked, operation+" "+string(request))
	queue := f.replies[operation]
	if len(queue) == 0 {
		f.t.Errorf("unexpected operation %s %s", operation, request)
		return ops.Failure(errors.New("unexpected"))
	}
	if len(queue) > 1 {
		f.replies[operation] = queue[1:]
	}
	reply := queue[0]
	if made, ok := reply.(func() any); ok {
		reply = made()
	}
	if err, ok := reply.(error); ok {
		return ops.Failure(err)
	}
	raw, err := compact(map[string]any{"ok": reply})
	if err != nil {
		f.t.Fatal(err)
	}
	return raw
}

// answering makes a fake from operations and their only replies.
func answering(t *testing.T, pairs ...any) *fake {
	f := &fake{t: t, replies: map[string][]any{}}
	for i := 0; i < len(pairs); i += 2 {
		name := pairs[i].(string)
		f.replies[name] = append(f.replies[name], pairs[i+1])
	}
	return f
}

func (o outcome) want(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	if o.code != code || o.stdout != stdout || o.stderr != stderr {
		t.Errorf("exit code %d, want %d\nstdout %q\n  want %q\nstderr %q\n  want %q", o.code, code, o.stdout, stdout, o.stderr, stderr)
	}
}

func (f *fake) wantAsked(want ...string) {
	f.t.Helper()
	if strings.Join(f.asked, "\n") != strings.Join(want, "\n") {
		f.t.Errorf("asked\n  %s\nwant\n  %s", strings.Join(f.asked, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestMistakesInTheCommandLineEndWithTwoAndReachNoDatabase(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		args string
		says string
	}{
		{"an unknown command is answered with its neighbours", "statsu", `"statsu" is no command of workflows; did you mean stats or status?`},
		{"an unknown command without neighbours points to the help", "zzzzzz", "see: workflows --help"},
		{"an unknown direction of migrate", "migrate statsu", "did you mean status?"},
		{"an unknown flag names the help of its command", "list --limt 3", "unknown flag: --limt; see: workflows list --help"},
		{"a missing argument shows the usage", "status", "an argument is missing; usage: workflows status ID"},
		{"an argument too many is named", "status " + anID + " more", `"more" is one argument too many`},
		{"an id that is none", "status 17", `"17" is not the id of an execution`},
		{"an id without its hyphens", "cancel 0190d3a05c1e7d3a8f219a4be2c7d601", "is not the id of an execution"},
		{"a status that is none", "list --status done", "it is one of scheduled, pending"},
		{"a kind that is none", "enqueue x --kind task", "it is one of job, activity, workflow"},
		{"a kind to list that is none", "list --kind task", "it is one of job, activity, workflow"},
		{"a limit of nothing", "list --limit 0", "--limit must be at least 1"},
		{"a bare word as an argument", "enqueue x hello", `argument 1 is not JSON: hello; in a shell a string is '"text"'`},
		{"keyword arguments that are not JSON", "enqueue x --kwargs {", "--kwargs is not JSON"},
		{"a payload that is not JSON", "signal " + anID + " go nope", "the payload is not JSON"},
		{"a duration without sense", "result " + anID + " --timeout soon", "a duration looks like 250ms, 30s, 5m or 24h"},
		{"a negative duration", "enqueue x --delay -3s", "a duration looks like"},
		{"migrate down without its confirmation", "migrate down", "--confirm workflows"},
		{"migrate down with another schema's name", "migrate down --schema mine --confirm workflows", "add: --confirm mine"},
		{"worker, which is the adapter's", "worker -q mail -m app", "python -m workflows worker"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := answering(t)
			got := f.run(strings.Fields(c.args)...)
			if got.code != exitUsage || got.stdout != "" || !strings.HasPrefix(got.stderr, "workflows: ") || !strings.Contains(got.stderr, c.says) {
				t.Errorf("exit code %d, stdout %q, stderr %q, want 2 and %q", got.code, got.stdout, got.stderr, c.says)
			}
			if strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("a mistake takes one line, not %q", got.stderr)
			}
			if f.opened != 0 {
				t.Error("the engine was opened")
			}
		})
	}
}

func TestFaultsAreToldInOneLineWithAnExitCodeOfTheirKind(t *testing.T) {
	t.Parallel()
	cases := []struct {
		code fault.Code
		exit int
	}{
		{fault.DatabaseUnavailable, exitFailed},
		{fault.SchemaMissing, exitFailed},
		{fault.Internal, exitFailed},
		{fault.InvalidConfig, exitUsage},
		{fault.InvalidRequest, exitUsage},
		{fault.PayloadTooLarge, exitUsage},
	}
	for _, c := range cases {
		t.Run(string(c.code), func(t *testing.T) {
			t.Parallel()
			err := fault.New(c.code, nil, "it went wrong; mend it")
			answering(t, "stats", err).run("stats").want(t, c.exit, "", "workflows: it went wrong; mend it\n")
			f := &fake{t: t, openErr: err}
			f.run("stats").want(t, c.exit, "", "workflows: it went wrong; mend it\n")
		})
	}
}

func TestWithJSONErrorsAreOneDocumentOnStderr(t *testing.T) {
	t.Parallel()
	f := answering(t, "stats", fault.New(fault.DatabaseUnavailable, fault.Details{"host": "/tmp"}, "no database"))
	f.run("stats", "--json").want(t, exitFailed, "",
		`{"error":{"code":"database_unavailable","message":"no database","retryable":true,"details":{"host":"/tmp"}}}`+"\n")
	for _, args := range [][]string{{"--json", "list", "--limt"}, {"list", "--limt", "--json"}, {"list", "--limt", "--json=true"}} {
		got := answering(t).run(args...)
		var reply struct {
			Error fault.Error `json:"error"`
		}
		if err := json.Unmarshal([]byte(got.stderr), &reply); err != nil || reply.Error.Code != usage || got.code != exitUsage {
			t.Errorf("%v: exit code %d, stderr %q, error %v", args, got.code, got.stderr, err)
		}
	}
}

func TestNoPasswordIsEverShown(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{"postgres://ada:hunter2@db/app", "postgres://ada:hunt@er2@db/app", "host=db password=hunter2 user=ada", "host=db password='hunter2 x'", "postgres://db/app?password=hunter2&sslmode=off"} {
		if got := redact("cannot use " + dsn); strings.Contains(got, "er2") {
			t.Errorf("redact leaves %q", got)
		}
		f := answering(t, "migrate", fault.New(fault.DatabaseUnavailable, nil, "cannot reach it"))
		for _, args := range [][]string{{"doctor", "--database-url", dsn}, {dsn}, {"migrate", dsn}, {"stats", "--database-url", dsn, "x"}, {"stats", "--databse-url", dsn}, {"status", dsn}, {"enqueue", "f", dsn}, {"list", "--status", dsn}} {
			got := f.run(args...)
			if strings.Contains(got.stdout+got.stderr, "er2") {
				t.Errorf("%v shows %q %q", args, got.stdout, got.stderr)
			}
		}
	}
}

func TestGlobalFlagsReachTheConfiguration(t *testing.T) {
	t.Parallel()
	f := answering(t, "stats", model.StatsReply{})
	f.run("--schema", "mine", "stats", "--database-url", "postgres://db/app")
	if f.config.Schema != "mine" || f.config.DatabaseURL != "postgres://db/app" || f.config.Migrate != nil {
		t.Errorf("opened with %+v", f.config)
	}
	if f.opened != 1 || f.closed != 1 {
		t.Errorf("opened %d times and closed %d times", f.opened, f.closed)
	}
}

func TestAnInterruptEndsQuietlyWithOne(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	interrupted := func() any { cancel(); return fault.New(fault.Cancelled, nil, "the call was cancelled") }
	for _, args := range [][]string{{"result", anID}, {"doctor"}, {"list"}} {
		f := answering(t, "wait_execution", interrupted, "migrate", interrupted, "list_executions", interrupted)
		f.runIn(ctx, args...).want(t, exitFailed, "", "")
	}
	answering(t, "stats", interrupted).runIn(ctx, "stats", "--json").want(t, exitFailed, "",
		`{"error":{"code":"cancelled","message":"interrupted","retryable":false}}`+"\n")
}

func TestAPanicEndsTheCommandAndNotTheHost(t *testing.T) {
	t.Parallel()
	f := answering(t, "stats", func() any { panic("oh no") })
	got := f.run("stats")
	if got.code != exitFailed || strings.Contains(got.stderr, "oh no") || strings.Contains(got.stderr, "goroutine") || f.closed != 1 {
		t.Errorf("exit code %d, closed %d times, stderr %q", got.code, f.closed, got.stderr)
	}
}

func TestHelpVersionAndCompletionNeedNoDatabase(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"", "--help", "help migrate", "worker --help", "version", "version --json", "--version", "completion bash", "__complete st"} {
		f := answering(t)
		got := f.run(strings.Fields(args)...)
		if got.code != exitOK || got.stdout == "" || f.opened != 0 {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q, opened %d times", args, got.code, got.stdout, got.stderr, f.opened)
		}
	}
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	t.Parallel()
	a := &app{}
	for _, c := range a.root().Commands() {
		if c.Short == "" || c.Example == "" && c.Name() != "worker" && c.Name() != "replay" {
			t.Errorf("%s lacks a description or an example", c.Name())
		}
	}
}

func TestMainUsesTheRealEngineAndLeavesTheHostsArgumentsAlone(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	if code := Main(t.Context(), nil, strings.NewReader(""), &stdout, &stderr); code != exitOK || !strings.Contains(stdout.String(), "Usage:") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
	}
	stdout.Reset()
	code := Main(t.Context(), []string{"stats", "--database-url", "nonsense://ada:hunter2@x"}, strings.NewReader(""), &stdout, &stderr)
	if code == exitOK || strings.Contains(stderr.String(), "hunter2") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
	}
}
