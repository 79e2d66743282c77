package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
)

// invariants are numbered as in the report; one without a text is no check of this program.
var invariants = [30]string{
	1:  "an acknowledged start exists, once, and a key has one execution",
	2:  "a run ends once, and what ended does not change",
	3:  "everything has ended or is parked once faults have stopped",
	4:  "a recorded outcome never changes or disappears, and a command has one",
	5:  "epochs grow by one with each claim, tokens are new, and one holds at a time",
	6:  "no write is accepted from who does not hold",
	7:  "history is numbered without gaps and written together with its execution's row",
	8:  "a body belongs to a claim, and none starts after its success was recorded",
	9:  "what counts as a success ran to its end",
	10: "claims are as many as successes, failures, crashes, releases and what is open",
	11: "crashes are counted for dead workers only, and no more than the limit",
	12: "a signal that was accepted is in the history once, in its sender's order, and is taken in order",
	13: "nothing fires or starts before it is due, and a timer fires once or is cancelled",
	14: "a race has one winner, however often it is replayed",
	15: "no replay departs from its history",
	16: "a parent is told its child's end as it was, and each command has one child",
	17: "after a cancel was acknowledged nothing new starts, and the end is cancelled",
	21: "nothing that can run waits while a worker has room for it",
	22: "only who is silent for its timeout is robbed, and then soon",
	25: "a payload comes out as it went in, and what was refused leaves nothing",
	27: "nothing is left held, timed or locked in the end",
	28: "who writes is told the truth: a repeat is accepted, and what came in between is told",
	29: "what code sees of a command is what history has in the end, and the answer of a body that ran to its end",
}

var notApplicable = [30]string{
	18: "queues have no limits of concurrency",
	19: "queues have no limits of rate",
	20: "there are no serial queues",
	23: "there are no schedules",
	24: "there are no starts within a user's transaction",
	26: "there is no retention",
}

type violation struct {
	invariant int
	x         id
	at        int64
	text      string
}

// maxKept bounds what is remembered of each invariant; all are counted.
const maxKept = 100

type report struct {
	checked    [30]int
	violated   [30]int
	violations []violation
	// silent says why an invariant that exists has nothing to check.
	silent  [30]string
	figures figures
}

func (r *report) fail(invariant int, x id, at int64, format string, args ...any) {
	r.violated[invariant]++
	if r.violated[invariant] <= maxKept {
		r.violations = append(r.violations, violation{invariant, x, at, fmt.Sprintf(format, args...)})
	}
}

// first answers the violation that happened first.
func (r *report) first() (violation, bool) {
	if len(r.violations) == 0 {
		return violation{}, false
	}
	return slices.MinFunc(r.violations, func(a, b violation) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.invariant, b.invariant))
	}), true
}

func (r *report) print(out io.Writer, e *evidence) {
	for i := 1; i < len(invariants); i++ {
		switch {
		case notApplicable[i] != "":
			_, _ = fmt.Fprintf(out, "I%-2d  not applicable: %s\n", i, notApplicable[i])
		case r.checked[i] == 0 && r.violated[i] == 0 && r.silent[i] != "":
			_, _ = fmt.Fprintf(out, "I%-2d  not applicable: %s\n", i, r.silent[i])
		default:
			_, _ = fmt.Fprintf(out, "I%-2d  %9d checked %6d violated   %s\n", i, r.checked[i], r.violated[i], invariants[i])
		}
	}
	r.figures.print(out)
	v, violated := r.first()
	if !violated {
		_, _ = fmt.Fprintln(out, "verdict: ok")
		return
	}
	r.printExamples(out)
	_, _ = fmt.Fprintf(out, "\nI%d, first of all: x=%s: %s\n", v.invariant, v.x, v.text)
	printTimeline(out, e, v)
	_, _ = fmt.Fprintf(out, "verdict: VIOLATED I%d x=%s\n", v.invariant, v.x)
}

// maxPrinted examples of each invariant are enough to see what they have in common.
const maxPrinted = 5

func (r *report) printExamples(out io.Writer) {
	var printed [30]int
	for _, v := range r.violations {
		if printed[v.invariant]++; printed[v.invariant] <= maxPrinted {
			_, _ = fmt.Fprintf(out, "violated: I%d x=%s: %s\n", v.invariant, v.x, v.text)
		}
	}
}

// jsonReport is what --json writes.
type jsonReport struct {
	Verdict    string                   `json:"verdict"`
	Invariants map[string]jsonInvariant `json:"invariants"`
	First      *jsonViolation           `json:"first,omitempty"`
	Figures    figures                  `json:"figures"`
}

// jsonInvariant says how often one was checked, or why it had nothing to check.
type jsonInvariant struct {
	Text          string `json:"text,omitempty"`
	Checked       int    `json:"checked"`
	Violated      int    `json:"violated"`
	NotApplicable string `json:"not_applicable,omitempty"`
}

type jsonViolation struct {
	Invariant string `json:"invariant"`
	X         string `json:"x"`
	Text      string `json:"text"`
}

func (r *report) writeJSON(path string) error {
	j := jsonReport{Verdict: "ok", Invariants: map[string]jsonInvariant{}, Figures: r.figures}
	for i := 1; i < len(invariants); i++ {
		told := jsonInvariant{Text: invariants[i], Checked: r.checked[i], Violated: r.violated[i]}
		if r.checked[i] == 0 && r.violated[i] == 0 {
			told.NotApplicable = cmp.Or(notApplicable[i], r.silent[i])
		}
		j.Invariants[fmt.Sprintf("I%d", i)] = told
	}
	if v, violated := r.first(); violated {
		j.Verdict = "violated"
		j.First = &jsonViolation{fmt.Sprintf("I%d", v.invariant), v.x.String(), v.text}
	}
	raw, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o644)
}
