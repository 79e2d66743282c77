package cli

import (
	"strings"
	"testing"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

const anotherID = "0190d3a0-5c1e-7d3a-8f21-9a4be2c7d602"

func change(status model.Status, changed bool) verdict[model.Change] {
	return verdict[model.Change]{OK: &model.Change{Status: status, Changed: changed}}
}

func refused(code fault.Code, message string) verdict[model.Change] {
	return verdict[model.Change]{Error: fault.New(code, nil, "%s", message)}
}

func TestControlsActOnEveryIDWithTheirOperation(t *testing.T) {
	t.Parallel()
	for command, operation := range map[string]string{
		"cancel": "cancel_execution", "terminate": "terminate_execution", "retry": "retry_execution", "resume": "resume_workflow",
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			f := answering(t, operation, verdicts[model.Change]{[]verdict[model.Change]{change(model.Cancelled, true), change(model.Completed, false)}})
			f.run(command, anID, anotherID, "--reason", "why not").want(t, exitOK,
				anID+"  cancelled\n"+anotherID+"  completed already, nothing changed\n", "")
			f.wantAsked(operation + ` {"items":[{"id":"` + anID + `","reason":"why not"},{"id":"` + anotherID + `","reason":"why not"}]}`)
		})
	}
}

func TestOneRefusedExecutionFailsTheCommandAndHidesNoOther(t *testing.T) {
	t.Parallel()
	f := answering(t, "retry_execution", verdicts[model.Change]{[]verdict[model.Change]{refused(fault.InvalidState, "it runs"), change(model.Pending, true)}})
	f.run("retry", anID, anotherID).want(t, exitFailed, anotherID+"  pending\n", "workflows: it runs\n")
	f.run("retry", anID, anotherID, "--json").want(t, exitFailed,
		`{"results":[{"id":"`+anID+`","error":{"code":"invalid_state","message":"it runs","retryable":false}},{"id":"`+anotherID+`","ok":{"status":"pending","changed":true}}]}`+"\n",
		`{"error":{"code":"invalid_state","message":"it runs","retryable":false}}`+"\n")
}

func TestSignalSendsItsPayload(t *testing.T) {
	t.Parallel()
	sent := verdicts[model.Sent]{[]verdict[model.Sent]{{OK: &model.Sent{Delivered: true}}}}
	f := answering(t, "send_signal", sent)
	f.stdin = "[1E2]\n"
	f.run("signal", anID, "go").want(t, exitOK, "sent\n", "")
	f.run("signal", anID, "go", "-", "--key", "k").want(t, exitOK, "sent\n", "")
	f.run("signal", anID, "go", "true", "--json").want(t, exitOK, `{"delivered":true}`+"\n", "")
	f.wantAsked(
		`send_signal {"items":[{"id":"`+anID+`","name":"go"}]}`,
		`send_signal {"items":[{"id":"`+anID+`","name":"go","payload":[1E2],"idempotency_key":"k"}]}`,
		`send_signal {"items":[{"id":"`+anID+`","name":"go","payload":true}]}`)
}

func TestASignalThatIsNotTakenIsTold(t *testing.T) {
	t.Parallel()
	again := verdicts[model.Sent]{[]verdict[model.Sent]{{OK: &model.Sent{}}}}
	answering(t, "send_signal", again).run("signal", anID, "go", "--key", "k").want(t, exitOK, "not sent: a signal with key k was there already\n", "")
	over := verdicts[model.Sent]{[]verdict[model.Sent]{{Error: fault.New(fault.ExecutionFinished, nil, "it is over")}}}
	answering(t, "send_signal", over).run("signal", anID, "go").want(t, exitFailed, "", "workflows: it is over\n")
}

func TestColoursNeedATerminalThatWantsThem(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		columns int
		env     map[string]string
		colours bool
	}{
		{"a terminal gets them", 80, nil, true},
		{"a pipe does not", 0, nil, false},
		{"NO_COLOR is obeyed", 80, map[string]string{"NO_COLOR": "1"}, false},
		{"an empty NO_COLOR is none", 80, map[string]string{"NO_COLOR": ""}, true},
		{"a dumb terminal does not", 80, map[string]string{"TERM": "dumb"}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := answering(t, "get_execution", failed(), "list_executions", model.ListExecutionsReply{Executions: []model.Execution{failed()}})
			f.columns, f.env = c.columns, c.env
			for _, args := range [][]string{{"status", anID}, {"list"}} {
				if got := f.run(args...); strings.Contains(got.stdout, "\x1b[31mfailed") != c.colours {
					t.Errorf("%v: stdout %q", args, got.stdout)
				}
			}
			if got := f.run("status", anID, "--json"); strings.Contains(got.stdout, "\x1b") {
				t.Errorf("JSON is never coloured: %q", got.stdout)
			}
		})
	}
}
