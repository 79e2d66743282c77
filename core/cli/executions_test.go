package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

func at(ago time.Duration) *time.Time {
	t := testNow.Add(-ago)
	return &t
}

func anExecution(status model.Status) model.Execution {
	return model.Execution{
		ID: uuid.MustParse(anID), Kind: model.Job, Name: "send_email", Queue: "mail", Status: status, Priority: 5, Run: 1,
		Attempts: 1, CreatedAt: *at(3 * time.Minute), RunAt: *at(3 * time.Minute), StartedAt: at(2 * time.Minute),
		Args: model.Payload(`["ada@example.com",1E2]`), Kwargs: model.Payload(`{}`),
	}
}

func completed(result string) model.Execution {
	e := anExecution(model.Completed)
	e.FinishedAt, e.Result = at(30*time.Second), model.Payload(result)
	return e
}

func failed() model.Execution {
	e := anExecution(model.Failed)
	e.FinishedAt, e.Failures, e.Attempts = at(30*time.Second), 4, 4
	e.Error = model.Payload(`{"type":"ValueError","message":"no such address","stack":"Traceback:\n\tFile \"mail.py\", line 7\n"}`)
	return e
}

func parkedWith(why string) model.Execution {
	e := anExecution(model.Suspended)
	e.Parked = &why
	return e
}

func created(fresh bool) model.CreateExecutionReply {
	return model.CreateExecutionReply{Results: []model.Created{{ID: uuid.MustParse(anID), Created: fresh}}}
}

func TestEnqueueSendsWhatWasTyped(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, stdin string
		args        []string
		want        string
	}{
		{"a name alone is a job", "", []string{"report"}, `{"kind":"job","name":"report","args":[]}`},
		{
			"payloads stay as they were written", "", []string{"f", "--", "1E2", `-0.0`, `"\ud800<&>"`, "9007199254740993"},
			`{"kind":"job","name":"f","args":[1E2,-0.0,"\ud800<&>",9007199254740993]}`,
		},
		{"a dash reads one from stdin", ` {"a": 1} ` + "\n", []string{"f", "1", "-"}, `{"kind":"job","name":"f","args":[1,{"a":1}]}`},
		{
			"flags become fields", "",
			[]string{"f", "--queue", "mail", "--kind", "workflow", "--priority", "0", "--delay", "1m30s", "--key", "", "--kwargs", `{"to":"Lima"}`},
			`{"kind":"workflow","name":"f","queue":"mail","args":[],"kwargs":{"to":"Lima"},"priority":0,"delay_ms":90000,"idempotency_key":""}`,
		},
		{"a delay without a unit is in seconds", "", []string{"f", "--delay", "1.5"}, `{"kind":"job","name":"f","args":[],"delay_ms":1500}`},
		{"negative numbers are arguments after two dashes", "", []string{"f", "--", "-3"}, `{"kind":"job","name":"f","args":[-3]}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := answering(t, "create_execution", created(true))
			f.stdin = c.stdin
			f.run(append([]string{"enqueue"}, c.args...)...).want(t, exitOK, anID+"\n", "")
			f.wantAsked(`create_execution {"items":[` + c.want + `]}`)
		})
	}
}

func TestEnqueueTellsWhenTheKeyWasTaken(t *testing.T) {
	t.Parallel()
	f := answering(t, "create_execution", created(false))
	f.run("enqueue", "f", "--key", "k").want(t, exitOK, anID+"\n", "the key was taken: this is the execution that took it\n")
	f.run("enqueue", "f", "--key", "k", "--json").want(t, exitOK, `{"id":"`+anID+`","created":false}`+"\n", "")
}

func TestEnqueueWithWaitPrintsTheResultAlone(t *testing.T) {
	t.Parallel()
	f := answering(t, "create_execution", created(true), "wait_execution", anExecution(model.Running), "wait_execution", completed(`{"b":1,"a":1E2}`))
	f.run("enqueue", "f", "--wait").want(t, exitOK, `{"b":1,"a":1E2}`+"\n", anID+"\n")
	f.wantAsked(
		`create_execution {"items":[{"kind":"job","name":"f","args":[],"awaited":true}]}`,
		`wait_execution {"id":"`+anID+`","wait_ms":2000}`, `wait_execution {"id":"`+anID+`","wait_ms":2000}`)
}

func TestResultTellsHowAnExecutionEnded(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name           string
		end            any
		code           int
		stdout, stderr string
	}{
		{"a result is printed as it is", completed(`"<&>"`), exitOK, `"<&>"` + "\n", ""},
		{"no result is null", completed(""), exitOK, "null\n", ""},
		{"a failure goes to stderr", failed(), exitFailed, "", "workflows: job send_email failed: ValueError: no such address; see: workflows status " + anID + "\n"},
		{"a cancelled one is no success", anExecution(model.Cancelled), exitFailed, "", "workflows: job send_email was cancelled\n"},
		{"an unknown one is a fault", fault.New(fault.ExecutionNotFound, nil, "no execution has id 1"), exitFailed, "", "workflows: no execution has id 1\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			answering(t, "wait_execution", c.end).run("result", anID).want(t, c.code, c.stdout, c.stderr)
		})
	}
}

func TestResultWithJSONCarriesTheExecutionsError(t *testing.T) {
	t.Parallel()
	e := failed()
	e.Error = model.Payload(`{"type":"E","message":"m","details":1E2}`)
	answering(t, "wait_execution", e).run("result", anID, "--json").want(t, exitFailed, "",
		`{"error":{"code":"execution_failed","message":"job send_email failed: E: m; see: workflows status `+anID+`","retryable":false,"details":{"error":{"type":"E","message":"m","details":1E2},"id":"`+anID+`"}}}`+"\n")
}

func TestResultStopsWaitingAtItsTimeout(t *testing.T) {
	t.Parallel()
	f := answering(t, "wait_execution", anExecution(model.Suspended))
	f.step = 2 * time.Second
	f.run("result", anID, "--timeout", "7s").want(t, exitFailed, "", "workflows: job send_email is still suspended after 7s; it goes on\n")
	f.wantAsked(`wait_execution {"id":"`+anID+`","wait_ms":2000}`, `wait_execution {"id":"`+anID+`","wait_ms":1000}`)
}

func TestWaitingOnATerminalShowsALineAndClearsIt(t *testing.T) {
	t.Parallel()
	f := answering(t)
	f.columns = 60
	running := anExecution(model.Running)
	running.Progress = model.Payload(`{"done": 3}`)
	slow := func() any { time.Sleep(3 * frameTime); return completed("1") } // as the real wait_execution is: it takes time
	f.replies["wait_execution"] = []any{running, slow}
	got := f.run("result", anID)
	if got.stdout != "1\n" || !strings.Contains(got.stderr, `send_email is running, {"done":3}`) || !strings.HasSuffix(got.stderr, "\r\x1b[K") {
		t.Errorf("stdout %q, stderr %q", got.stdout, got.stderr)
	}
	for _, line := range strings.Split(got.stderr, "\r\x1b[K") {
		if len([]rune(line)) >= f.columns {
			t.Errorf("%q would wrap", line)
		}
	}
	f.replies["wait_execution"] = []any{slow}
	f.run("result", anID, "--json").want(t, exitOK, "1\n", "")
}

func TestStatusTellsWhatIsKnown(t *testing.T) {
	t.Parallel()
	answering(t, "get_execution", failed()).run("status", anID).want(t, exitOK, `id        0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601
name      send_email (job)
status    failed
queue     mail, priority 5
created   2026-11-23 11:57:00Z (3m00s ago)
started   2026-11-23 11:58:00Z (2m00s ago)
finished  2026-11-23 11:59:30Z (30s ago)
took      1m30s
attempts  4, 4 failed
args      ["ada@example.com",1E2]
error     ValueError: no such address

  Traceback:
      File "mail.py", line 7
`, "")
}

func TestStatusShowsWhyAWorkflowIsParkedLineByLine(t *testing.T) {
	t.Parallel()
	f := answering(t, "get_execution", parkedWith("it does not fit\n  position  recorded\n\n\tthen: workflows resume\n"))
	got := f.run("status", anID)
	if !strings.Contains(got.stdout, "\nparked    it does not fit\n") {
		t.Errorf("the first line is not among the facts: %s", got.stdout)
	}
	if !strings.HasSuffix(got.stdout, "\n\n    position  recorded\n\n      then: workflows resume\n") {
		t.Errorf("the rest does not follow as it is: %q", got.stdout)
	}
}

func TestListingWhatIsParkedSaysWhereToReadOn(t *testing.T) {
	t.Parallel()
	reply := model.ListExecutionsReply{Executions: []model.Execution{parkedWith("it does not fit")}}
	f := answering(t, "list_executions", reply)
	if got := f.run("list", "--parked"); got.stderr != "why, and what to do about it: workflows status ID\n" {
		t.Errorf("stderr %q", got.stderr)
	}
	if got := answering(t, "list_executions", reply).run("list", "--parked", "--json"); got.stderr != "" {
		t.Errorf("a program is told %q", got.stderr)
	}
}

func TestStatusWithJSONIsTheExecutionAsTheCoreWroteIt(t *testing.T) {
	t.Parallel()
	e := completed(`{"b":1,"a":[1E2,-0.0,"<\ud800>"]}`)
	raw, err := compact(e)
	if err != nil {
		t.Fatal(err)
	}
	answering(t, "get_execution", e).run("status", anID, "--json").want(t, exitOK, string(raw)+"\n", "")
}

func TestListAlignsAndRemarks(t *testing.T) {
	t.Parallel()
	scheduled := anExecution(model.Scheduled)
	scheduled.RunAt, scheduled.Name = *at(-5 * time.Minute), "später"
	parked := parkedWith("the code does not fit\nthe history")
	reply := model.ListExecutionsReply{Executions: []model.Execution{completed("1"), failed(), scheduled, parked}}
	answering(t, "list_executions", reply).run("list").want(t, exitOK, `ID                                    KIND  NAME        QUEUE  STATUS     CREATED    REMARK
0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601  job   send_email  mail   completed  3m00s ago
0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601  job   send_email  mail   failed     3m00s ago  ValueError: no such address
0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601  job   später      mail   scheduled  3m00s ago  due in 5m00s
0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601  job   send_email  mail   suspended  3m00s ago  parked: the code does not fit
`, "")
}

func TestListFollowsCursorsUpToTheLimit(t *testing.T) {
	t.Parallel()
	one := []model.Execution{completed("1")}
	f := answering(t,
		"list_executions", model.ListExecutionsReply{Executions: one, Cursor: "a"},
		"list_executions", model.ListExecutionsReply{Cursor: "b"}, // a page may be empty and not the last
		"list_executions", model.ListExecutionsReply{Executions: one, Cursor: "c"})
	got := f.run("list", "--limit", "2", "--status", "completed,failed", "--kind", "job", "--name", "f", "-q", "mail", "--parked")
	if strings.Count(got.stdout, anID) != 2 || got.stderr != "there may be more; raise --limit\nwhy, and what to do about it: workflows status ID\n" {
		t.Errorf("stdout %q, stderr %q", got.stdout, got.stderr)
	}
	filter := `list_executions {"status":["completed","failed"],"kind":"job","name":"f","queue":"mail","parked":true,"limit":`
	f.wantAsked(filter+`2}`, filter+`1,"cursor":"a"}`, filter+`1,"cursor":"b"}`)
}

func TestAnEmptyListIsStillADocument(t *testing.T) {
	t.Parallel()
	f := answering(t, "list_executions", model.ListExecutionsReply{})
	f.run("list").want(t, exitOK, "", "no executions match\n")
	f.run("list", "--json").want(t, exitOK, `{"executions":[]}`+"\n", "")
}

func TestHistoryShowsEveryPage(t *testing.T) {
	t.Parallel()
	one, name := 1, "charge"
	events := []model.Event{
		{Position: 1, Type: model.EventStarted, At: *at(time.Minute), Payload: model.Payload(`{"language":"python"}`)},
		{Position: 2, Type: model.EventStepFailed, Sequence: &one, Name: &name, At: *at(58 * time.Second), Payload: model.Payload(`{"type":"E","message":"m"}`)},
	}
	pages := func() *fake {
		return answering(t,
			"get_history", model.GetHistoryReply{Run: 2, Events: events[:1], More: true},
			"get_history", model.GetHistoryReply{Run: 2, Events: events[1:]},
			"get_execution", model.Execution{Name: "order"})
	}
	f := pages()
	f.run("history", anID).want(t, exitOK, `run 2, begun 2026-11-23 11:59:00Z (1m00s ago)
#  AT     EVENT        SEQ  NAME    PAYLOAD
1  +0ms   started                   {"language":"python"}
2  +2.0s  step_failed  1    charge  E: m
`, "")
	f.wantAsked(`get_history {"id":"`+anID+`"}`, `get_history {"id":"`+anID+`","run":2,"after":1}`)
	got := pages().run("history", anID, "--json")
	if !strings.HasPrefix(got.stdout, `{"execution":{`) || !strings.Contains(got.stdout, `"name":"order"`) ||
		!strings.Contains(got.stdout, `},"run":2,"events":[{"position":1,`) || strings.Contains(got.stdout, "more") || strings.Count(got.stdout, "\n") != 1 {
		t.Errorf("stdout %q", got.stdout)
	}
}

func TestAnExecutionWithoutHistoryIsSaidToHaveNone(t *testing.T) {
	t.Parallel()
	f := answering(t, "get_history", model.GetHistoryReply{Run: 1})
	f.run("history", anID).want(t, exitOK, "", "it has no events: only workflows that have started have any\n")
	f = answering(t, "get_history", model.GetHistoryReply{Run: 1}, "get_execution", model.Execution{})
	if got := f.run("history", anID, "--json"); got.code != exitOK || !strings.HasSuffix(got.stdout, `"run":1,"events":[]}`+"\n") {
		t.Errorf("exit code %d, stdout %q", got.code, got.stdout)
	}
}
