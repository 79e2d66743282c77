package engine

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// What looks plain to the engine and is not, by what came in between.

func TestAResultThatSomethingCameBeforeGoesTheLongWay(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		kind   model.Kind
		before func(w *world, c model.Claimed)
		want   model.Status
	}{
		{name: "nothing came before a job's", kind: model.Job, want: model.Completed},
		{name: "nothing came before a workflow's", kind: model.Workflow, want: model.Completed},
		{
			name: "a job was asked to stop", kind: model.Job, want: model.Cancelled,
			before: func(w *world, c model.Claimed) { w.cancelOne(c.ID) },
		},
		{
			name: "a workflow was asked to stop and has not seen it", kind: model.Workflow, want: model.Running,
			before: func(w *world, c model.Claimed) { w.cancelOne(c.ID) },
		},
		{
			name: "a workflow got a signal", kind: model.Workflow, want: model.Completed,
			before: func(w *world, c model.Claimed) { w.signal(c.ID, "s", "1") },
		},
		{
			name: "a workflow wrote its state", kind: model.Workflow, want: model.Completed,
			before: func(w *world, c model.Claimed) {
				w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep, Commands: []model.Command{{Type: model.CommandSetState, Sequence: 1, State: model.Payload("1")}}})
			},
		},
	}
	for _, x := range cases {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.createOne(x.kind, "x")
			worker := w.worker(w.Engine)
			c := w.claimOne(w.Engine, worker)
			if x.before != nil {
				x.before(w, c)
			}
			if a := w.complete(w.Engine, c, `"done"`); a.Status != x.want {
				t.Fatalf("answered %s", asText(a))
			}
			row := w.wants(id, x.want)
			if x.want == model.Completed && (string(row.Result) != `"done"` || row.FinishedAt == nil) {
				t.Fatalf("the row is %s", asText(row))
			}
		})
	}
}

func TestAResultWithADeadlineTakesTheTimerAlong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	w.create(model.NewExecution{Kind: model.Job, Name: "j", TimeoutMS: 3_600_000})
	w.complete(w.Engine, w.claimOne(w.Engine, worker), "1")
	if n := w.count(`SELECT count(*) FROM workflows.timers`); n != 0 {
		t.Fatalf("%d timers are left", n)
	}
}

func TestAPlainResultIsTakenOnceAndFromItsHolderOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(w.Engine)
	for _, kind := range []model.Kind{model.Job, model.Workflow} {
		id := w.createOne(kind, "x")
		c := w.claimOne(w.Engine, worker)
		stale := c
		stale.Lease.Token = uuid.New()
		late := func(c model.Claimed) ([]model.Result[model.Advanced], error) {
			reply, err := w.CompleteExecution(w.ctx, model.CompleteExecutionRequest{Items: []model.Completion{{ID: c.ID, Lease: c.Lease, Position: c.Position, Result: model.Payload("2")}}})
			return reply.Results, err
		}
		results, err := late(stale)
		if code := refused(w, results, err); code != fault.LeaseLost {
			t.Fatalf("%s: another's lease: %s", kind, code)
		}
		w.complete(w.Engine, c, "1")
		if results, err = late(c); only(w, results, err).Status != model.Completed {
			t.Fatalf("%s: a repeat was answered %s", kind, asText(results))
		}
		if row := w.wants(id, model.Completed); string(row.Result) != "1" {
			t.Fatalf("%s: the repeat has changed the row: %s", kind, asText(row))
		}
	}
}

func TestAStepIsRecordedOnceHoweverOftenItIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, c := w.begun(model.NewExecution{})
	step := model.StepEvent{Type: model.EventStepCompleted, Sequence: 1, Name: "s", Payload: model.Payload(`{"a": 1}`)}
	first := w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep, Events: []model.StepEvent{step}})
	again := w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep, Events: []model.StepEvent{step}})
	if len(first.Events) != 1 || asText(first) != asText(again) {
		t.Fatalf("answered %s, then %s", asText(first), asText(again))
	}
	c.Position = first.Position
	w.signal(c.ID, "s", "1")
	step.Sequence = 2
	if a := w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep, Events: []model.StepEvent{step}}); len(a.Events) != 2 || a.Events[0].Type != model.EventSignalReceived {
		t.Fatalf("with news: %s", asText(a))
	}
}

// The one event goes the long way where news has come; the end must not go before it.
func TestWhatComesWithAnEndIsWrittenBeforeIt(t *testing.T) {
	t.Parallel()
	step := model.Advance{Events: []model.StepEvent{{Type: model.EventStepCompleted, Sequence: 1, Name: "s", Payload: model.Payload("1")}}}
	version := model.Advance{Commands: []model.Command{{Type: model.CommandMarkVersion, Sequence: 1, Name: "v", Version: 2}}}
	activity := model.Advance{Commands: []model.Command{schedule(1, model.Activity, "a")}}
	cases := []struct {
		name string
		with model.Advance
		want model.EventType
	}{
		{"a step", step, model.EventStepCompleted},
		{"a version", version, model.EventVersionMarked},
		{"an activity", activity, model.EventActivityScheduled},
	}
	for _, x := range cases {
		for _, then := range []model.Then{model.ThenComplete, model.ThenFail, model.ThenContinue} {
			t.Run(x.name+" and "+string(then), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				_, c := w.begun(model.NewExecution{})
				w.signal(c.ID, "news", "1")
				end := x.with
				end.Then = then
				switch then {
				case model.ThenComplete:
					end.Result = model.Payload("1")
				case model.ThenFail:
					end.Error = model.Payload(`{"type":"E","message":""}`)
				}
				w.advance(w.Engine, c, end)
				history, err := w.GetHistory(w.ctx, model.GetHistoryRequest{ID: c.ID, Run: 1})
				if err != nil || !slices.ContainsFunc(history.Events, func(e model.Event) bool { return e.Type == x.want }) {
					t.Fatalf("history: %s %v", asText(history.Events), err)
				}
			})
		}
	}
}

// parentOf answers a suspended parent's worker, and its activity, claimed.
func (w *world) parentOf(n model.NewExecution, mend ...func(*model.StartWorkerRequest)) (worker uuid.UUID, parent, activity model.Claimed) {
	w.Helper()
	n.Kind, n.Name = model.Workflow, "flow"
	w.create(n)
	worker = w.worker(w.Engine, mend...)
	parent = w.claimOne(w.Engine, worker)
	a := w.advance(w.Engine, parent, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{schedule(1, model.Activity, "a")}})
	if a.Status != model.Suspended || len(a.Events) != 1 || a.Events[0].Type != model.EventActivityScheduled {
		w.Fatalf("answered %s", asText(a))
	}
	return worker, parent, w.claimOne(w.Engine, worker)
}

func TestAParentIsResumedOnlyWhereNothingSpeaksAgainstIt(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		worker []func(*model.StartWorkerRequest)
		before func(w *world, parent model.Claimed)
		want   model.Status
	}{
		{name: "it is in the worker's memory", worker: []func(*model.StartWorkerRequest){warm}, want: model.Running},
		{name: "the worker keeps nothing in memory", want: model.Running}, // claimed, with all of its history
		{
			name: "something of the same priority is due", worker: []func(*model.StartWorkerRequest){warm}, want: model.Pending,
			before: func(w *world, _ model.Claimed) {
				id := w.create(model.NewExecution{Kind: model.Workflow, Name: "due", DelayMS: 60_000})[0].ID
				w.exec(`UPDATE workflows.executions SET status = 'pending', run_at = now() - interval '1 s', language = 'other' WHERE id = $1`, id)
			},
		},
		{
			name: "it is parked", worker: []func(*model.StartWorkerRequest){warm}, want: model.Suspended,
			before: func(w *world, p model.Claimed) {
				w.exec(`UPDATE workflows.executions SET parked = 'for the test' WHERE id = $1`, p.ID)
			},
		},
		{
			name: "it has ended", worker: []func(*model.StartWorkerRequest){warm}, want: model.Cancelled,
			before: func(w *world, p model.Claimed) {
				w.exec(`UPDATE workflows.executions SET status = 'cancelled', finished_at = now() WHERE id = $1`, p.ID)
			},
		},
	}
	for _, x := range cases {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			worker, parent, activity := w.parentOf(model.NewExecution{}, x.worker...)
			if x.before != nil {
				x.before(w, parent)
			}
			w.offers(worker, model.ClaimRequest{N: 1})
			w.complete(w.Engine, activity, "1")
			w.wants(activity.ID, model.Completed)
			row := w.wants(parent.ID, x.want)
			if x.want == model.Pending {
				return // what is due in front of it is of another language, and stays
			}
			if told := row.HistoryLength - 2; told != 1 && x.want != model.Cancelled {
				t.Fatalf("it was told %d times: %s", told, asText(row))
			}
		})
	}
}

func TestEndsOfTwoActivitiesInOneFlushAreBothTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createOne(model.Workflow, "flow")
	worker := w.worker(w.Engine, warm)
	parent := w.claimOne(w.Engine, worker)
	w.advance(w.Engine, parent, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{schedule(1, model.Activity, "a"), schedule(2, model.Activity, "b")}})
	activities := w.claimAll(worker, 2)
	w.offers(worker, model.ClaimRequest{N: 2})
	var works []*work
	for _, c := range activities {
		end, err := w.prepareFinish(0, store.Finish{ID: c.ID, Lease: c.Lease, OK: true})
		if err != nil {
			t.Fatal(err)
		}
		end.ctx, end.done = w.ctx, make(chan error, 1)
		works = append(works, end)
	}
	if err := newFlusher(w.Engine).attempt(w.ctx, works); err != nil {
		t.Fatal(err)
	}
	if works[0].finished.Plain == works[1].finished.Plain {
		t.Fatal("of one parent a flush has one plain end")
	}
	c := w.claimOne(w.Engine, worker)
	ends := 0
	for _, e := range append(c.Events, w.advance(w.Engine, c, model.Advance{Then: model.ThenKeep}).Events...) {
		if e.Type == model.EventActivityCompleted {
			ends++
		}
	}
	if c.ID != parent.ID || ends != 2 {
		t.Fatalf("claimed %s, with %d ends", asText(c), ends)
	}
}

func TestAnActivityOfAParentWithADeadlineInheritsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, parent, activity := w.parentOf(model.NewExecution{TimeoutMS: 3_600_000}, warm)
	if activity.DeadlineAt == nil || parent.DeadlineAt == nil || !activity.DeadlineAt.Equal(*parent.DeadlineAt) {
		t.Fatalf("the deadline is %v, the parent's %v", activity.DeadlineAt, parent.DeadlineAt)
	}
	if n := w.count(`SELECT count(*) FROM workflows.timers WHERE execution_id = $1`, activity.ID); n != 1 {
		t.Fatalf("%d timers", n)
	}
}
