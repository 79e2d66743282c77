package engine

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

// audited is a world whose writes are audited, and whose bodies keep a journal, as
// in a run under faults. The checker judges what it leaves.
type audited struct {
	*world
	dir     string
	journal *os.File
}

func newAudited(t *testing.T) *audited {
	t.Helper()
	a := &audited{world: newWorld(t), dir: t.TempDir()}
	text, err := os.ReadFile("../../tests/faults/audit.sql")
	if err == nil {
		a.journal, err = os.Create(filepath.Join(a.dir, "worker-test.jsonl"))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.journal.Close() })
	a.exec(string(text))
	a.exec("GRANT INSERT ON workflows.audit TO PUBLIC; GRANT USAGE ON SEQUENCE workflows.audit_n_seq TO PUBLIC") // the engine is not who made it
	return a
}

// notes writes a line about a body. The journal's clock is the wall's here.
func (a *audited) notes(t string, c model.Claimed, step string, sequence int) {
	a.Helper()
	line := map[string]any{"t": t, "x": c.ID, "epoch": c.Lease.Epoch, "token": c.Lease.Token, "attempt": 1, "pid": 1, "ok": true, "at": time.Now().UnixNano()}
	if step != "" {
		line["step"], line["seq"] = step, sequence
	}
	if err := json.NewEncoder(a.journal).Encode(line); err != nil {
		a.Fatal(err)
	}
}

func (a *audited) runs(c model.Claimed, step string, sequence int) {
	a.notes("begin", c, step, sequence)
	a.notes("end", c, step, sequence)
}

// leaves copies the tables beside the journal.
func (a *audited) leaves() {
	a.Helper()
	conn, err := pgx.Connect(a.ctx, a.direct)
	if err != nil {
		a.Fatal(err)
	}
	defer func() { _ = conn.Close(a.ctx) }()
	for _, table := range []string{"executions", "history", "timers", "workers", "audit"} {
		file, err := os.Create(filepath.Join(a.dir, table+".csv"))
		if err != nil {
			a.Fatal(err)
		}
		_, err = conn.PgConn().CopyTo(a.ctx, file, a.inSchema("COPY (SELECT * FROM workflows."+table+") TO STDOUT (FORMAT csv, HEADER)"))
		if err := file.Close(); err != nil {
			a.Fatal(err)
		}
		if err != nil {
			a.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"meta.json":    `{"heartbeat_timeout_ms": 1000, "poll_ms": 100, "boottime_offset_ns": 0}`,
		"sessions.csv": "session\n", // the engine lives on
	} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o644); err != nil {
			a.Fatal(err)
		}
	}
}

var checker = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "checker")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "checker")
	out, err := exec.Command("go", "build", "-o", program, "../../tests/faults/checker").CombinedOutput()
	if err != nil {
		return string(out), err
	}
	return program, nil
})

// verdict is what the checker says last, and all that it says.
func (a *audited) verdict() (last, all string) {
	a.Helper()
	program, err := checker()
	if err != nil {
		a.Fatalf("the checker cannot be built: %v %s", err, program)
	}
	a.leaves()
	out, err := exec.CommandContext(a.ctx, program, a.dir).CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	last = lines[len(lines)-1]
	if isViolated := strings.HasPrefix(last, "verdict: VIOLATED"); isViolated != (err != nil) {
		a.Fatalf("the checker ended with %v and said:\n%s", err, out)
	}
	return last, string(out)
}

func (a *audited) wantsOK() {
	a.Helper()
	if last, all := a.verdict(); last != "verdict: ok" {
		a.Fatalf("the checker says:\n%s", all)
	}
}

// rows are the audit's, each as "op statement: old -> new, epoch n" or as "event position".
func (a *audited) rows(id uuid.UUID) (rows []string) {
	a.Helper()
	conn, err := pgx.Connect(a.ctx, a.direct)
	if err != nil {
		a.Fatal(err)
	}
	defer func() { _ = conn.Close(a.ctx) }()
	found, err := conn.Query(a.ctx, a.inSchema(`SELECT CASE tab WHEN 'history' THEN type || ' ' || position || ' under ' || new_epoch
		ELSE op || ' ' || coalesce(statement, '?') || ': ' || coalesce(old_status, '') || ' -> ' || new_status || ', epoch ' || new_epoch END
		FROM workflows.audit WHERE x = $1 ORDER BY n`), id)
	if err != nil {
		a.Fatal(err)
	}
	rows, err = pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		a.Fatal(err)
	}
	return rows
}

func (a *audited) wantsRows(id uuid.UUID, want ...string) {
	a.Helper()
	if got := a.rows(id); strings.Join(got, "\n") != strings.Join(want, "\n") {
		a.Fatalf("the audit has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTheAuditTellsWhatEachStatementDid(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	id := a.createOne(model.Job, "x")
	worker := a.worker(a.Engine)
	c := a.claimOne(a.Engine, worker)
	a.runs(c, "", 0)
	a.complete(a.Engine, c, `{"a":1}`)
	a.wantsRows(id, "I create:  -> pending, epoch 0", "U claim: pending -> running, epoch 1", "U plain: running -> completed, epoch 1")
	if n := a.count(`SELECT count(*) FROM workflows.audit WHERE x = $1 AND result_hash = md5('{"a":1}') AND new_token = $2 AND worker = $3`, id, c.Lease.Token, worker); n != 1 {
		t.Errorf("%d rows have the result's hash, the token and the worker", n)
	}
	if n := a.count(`SELECT count(DISTINCT writer) FROM workflows.audit`); n != 1 && os.Getenv(pooledEnv) == "" {
		t.Errorf("one engine has written as %d", n)
	}
	a.wantsOK()
}

func TestTheCheckerAcceptsAWorkflowOfTheEngine(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	id := a.createOne(model.Workflow, "flow")
	worker := a.worker(a.Engine)
	c := a.claimOne(a.Engine, worker)
	a.runs(c, "s", 1)
	step := model.StepEvent{Type: model.EventStepCompleted, Sequence: 1, Name: "s", Payload: model.Payload(`"done"`)}
	c.Position = a.advance(a.Engine, c, model.Advance{Then: model.ThenKeep, Events: []model.StepEvent{step}}).Position
	a.advance(a.Engine, c, model.Advance{Then: model.ThenSuspend,
		Commands: []model.Command{schedule(2, model.Activity, "good"), schedule(3, model.Activity, "bad"), timer(4, 50)}})
	a.drive(worker, id)
	a.signal(id, "go", `{"uid":"one"}`)
	c = a.claimOne(a.Engine, worker)
	a.advance(a.Engine, c, model.Advance{Then: model.ThenComplete, Result: model.Payload(`"all"`)})
	a.wants(id, model.Completed)
	a.wantsOK()
}

// suspend suspends a workflow, however many events come first.
func (a *audited) suspend(c model.Claimed) {
	a.Helper()
	for status := model.Running; status == model.Running; {
		reply := a.advance(a.Engine, c, model.Advance{Then: model.ThenSuspend})
		status, c.Position = reply.Status, reply.Position
	}
}

// drive runs activities, of which "bad" fails for good, and suspends the workflow
// until it has been told of four more events: itself suspended, both ends and the timer.
func (a *audited) drive(worker, id uuid.UUID) {
	a.Helper()
	for {
		c := a.claimOne(a.Engine, worker)
		switch {
		case c.ID == id:
			a.suspend(c)
		case c.Name == "good":
			a.runs(c, "", 0)
			a.complete(a.Engine, c, `{"sent":true}`)
		default:
			reply, err := a.FailExecution(a.ctx, model.FailExecutionRequest{Items: []model.Failure{
				{ID: c.ID, Lease: c.Lease, Error: model.Payload(`{"type":"Bad","message":"no","non_retryable":true}`)}}})
			only(a.world, reply.Results, err)
		}
		if h := a.history(id); len(h) >= 8 && a.get(id).Status == model.Suspended {
			return
		}
	}
}

// stolen is a job whose first holder was silent for too long, and whose second has begun.
func (a *audited) stolen() (silent *Engine, first, second model.Claimed) {
	a.Helper()
	a.createOne(model.Job, "x")
	silent = a.another(model.Config{})
	first = a.claimOne(silent, a.worker(silent))
	a.notes("begin", first, "", 0)
	a.silence(silent)
	second = a.claimOne(a.Engine, a.worker(a.Engine))
	a.notes("begin", second, "", 0)
	a.notes("end", first, "", 0)
	return silent, first, second
}

func TestTheCheckerAcceptsAStolenLeaseWhoseLateWriteIsRefused(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	silent, first, second := a.stolen()
	late, err := silent.CompleteExecution(a.ctx, model.CompleteExecutionRequest{Items: []model.Completion{{ID: first.ID, Lease: first.Lease, Result: model.Payload("1")}}})
	if code := refused(a.world, late.Results, err); code != fault.LeaseLost {
		t.Fatalf("the late write was answered %s", code)
	}
	a.notes("late", first, "", 0)
	a.notes("end", second, "", 0)
	a.complete(a.Engine, second, "2")
	a.wantsOK()
}

func TestTheCheckerCatchesAForgedLateWrite(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	_, first, _ := a.stolen()
	a.exec(`UPDATE workflows.executions SET status = 'completed', result = '1', finished_at = clock_timestamp() WHERE id = $1`, first.ID)
	last, all := a.verdict()
	if last != "verdict: VIOLATED I6 x="+first.ID.String() || !strings.Contains(all, "whose body had not ended") {
		t.Fatalf("the checker says:\n%s", all)
	}
}
