package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/internal/pgtest"
	"github.com/libworkflows/libworkflows/core/model"
)

const mark = "hostile_7f3a"

// hostileTexts would do something if one of them became part of a statement.
var hostileTexts = []string{
	`'; DROP TABLE workflows.executions; -- ` + mark,
	`" OR "1"="1 ` + mark, `\'; SELECT 1; /* ` + mark, `$1 $$ ` + mark + ` $$`, `%_` + mark + `%`, `*/ DELETE FROM workflows.history /* ` + mark,
	"\u202e" + mark, `{"` + mark + `"},NULL`, strings.Repeat("é", 60) + mark,
}

// Nothing of a request becomes part of a text that PostgreSQL parses: names, keys,
// filters and payloads go as values.
func TestNothingOfARequestIsPutIntoAStatement(t *testing.T) {
	t.Parallel()
	url, schema := pgtest.Schema(t)
	way := pgtest.Overhear(t, url)
	w := openWorld(t, way.URL(), url, "", schema)
	for _, text := range hostileTexts {
		w.usesEverywhere(text)
	}
	texts := way.Texts()
	for _, text := range texts {
		if strings.Contains(text, mark) {
			t.Errorf("a request became a statement: %s", text)
		}
	}
	named := slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return strings.Contains(text, "/* workflows:") })
	if len(texts)-len(named) < 20 {
		t.Errorf("only %d statements were overheard", len(texts)-len(named))
	}
	if n := w.count(`SELECT count(*) FROM workflows.executions WHERE name LIKE '%` + mark + `%'`); n != 3*len(hostileTexts) {
		t.Errorf("%d executions have hostile names", n)
	}
}

// usesEverywhere puts a text into every field that takes one.
func (w *world) usesEverywhere(text string) {
	w.Helper()
	worker := w.worker(w.Engine, func(r *model.StartWorkerRequest) {
		r.Queues, r.Name, r.Language, r.Runtime, r.SDKVersion, r.HeartbeatTimeoutMS = []string{text}, text, text, text, text, 60_000
	})
	n := model.NewExecution{Kind: model.Workflow, Name: text, Queue: text, IdempotencyKey: &text, Version: &text}
	flow := w.create(n)[0].ID
	c := w.claimOne(w.Engine, worker)
	sent, err := w.SendSignal(w.ctx, model.SendSignalRequest{Items: []model.Signal{{ID: flow, Name: text, IdempotencyKey: &text, Payload: model.Payload(asText(text))}}})
	only(w, sent.Results, err)
	child := schedule(1, model.Activity, text)
	child.Execution.Queue = text
	state := model.Command{Type: model.CommandSetState, Sequence: 2, State: model.Payload(asText(text))}
	sleep := model.Command{Type: model.CommandStartTimer, Sequence: 3, Name: text, DelayMS: 60_000}
	w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep, Commands: []model.Command{child, state, sleep}})
	activity := w.claim(w.Engine, worker, 1)
	failed, err := w.FailExecution(w.ctx, model.FailExecutionRequest{Items: []model.Failure{{ID: activity[0].ID, Lease: activity[0].Lease, Error: model.Payload(`{"type":` + asText(text) + `,"message":` + asText(text) + `}`)}}})
	only(w, failed.Results, err)
	w.finds(model.ListExecutionsRequest{Name: text, Queue: text, Kind: model.Workflow}, flow)
	w.finds(model.ListExecutionsRequest{Name: text, Parent: &flow}, activity[0].ID)
	for _, wrong := range []model.ListExecutionsRequest{{Cursor: text}, {Kind: model.Kind(text)}, {Status: []model.Status{model.Status(text)}}} {
		if _, err := w.ListExecutions(w.ctx, wrong); err == nil {
			w.Errorf("%s was taken for a filter", asText(wrong))
		}
	}
	job := w.create(model.NewExecution{Kind: model.Job, Name: text, DelayMS: 60_000})[0].ID
	changed, err := w.CancelExecution(w.ctx, model.TargetsRequest{Items: []model.Target{{ID: job, Reason: text}}})
	only(w, changed.Results, err)
}

func (w *world) finds(request model.ListExecutionsRequest, id uuid.UUID) {
	w.Helper()
	list, err := w.ListExecutions(w.ctx, request)
	if err != nil || len(list.Executions) != 1 || list.Executions[0].ID != id {
		w.Errorf("%s found %s, %v", asText(request), asText(list.Executions), err)
	}
}
