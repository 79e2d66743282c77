package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

// full answers a workflow whose history has all the events that it may have, the
// last of them a timer, and the engine that says so.
func (w *world) full() (*Engine, model.Claimed) {
	w.Helper()
	e := w.another(model.Config{MaxHistory: leastMaxHistory})
	_, c := w.begun(model.NewExecution{})
	commands := []model.Command{schedule(1, model.Activity, "a")}
	for sequence := 2; sequence < leastMaxHistory; sequence++ {
		commands = append(commands, timer(sequence, 3_600_000))
	}
	a := w.advance(e, c, model.Advance{Then: model.ThenKeep, Commands: commands})
	if c.Position = a.Position; a.Position != leastMaxHistory {
		w.Fatalf("its history has %d events", a.Position)
	}
	return e, c
}

func (w *world) tooLong(e *Engine, c model.Claimed, a model.Advance) *fault.Error {
	w.Helper()
	a.ID, a.Lease, a.Position = c.ID, c.Lease, c.Position
	reply, err := e.AdvanceWorkflow(w.ctx, model.AdvanceWorkflowRequest{Items: []model.Advance{a}})
	if code := refused(w, reply.Results, err); code != fault.HistoryTooLong {
		w.Fatalf("answered %s", asText(reply))
	}
	return fault.From(reply.Results[0].Error)
}

func TestAHistoryThatIsFullTakesNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e, c := w.full()
	step := model.StepEvent{Type: model.EventStepCompleted, Sequence: 500, Name: "s"}
	f := w.tooLong(e, c, model.Advance{Then: model.ThenKeep, Events: []model.StepEvent{step}})
	for _, word := range []string{"100", c.ID.String(), "continue_as_new", "max_history"} {
		if !strings.Contains(f.Message, word) {
			t.Errorf("%q says nothing of %s", f.Message, word)
		}
	}
	if f.Retryable || f.Details["limit"] != leastMaxHistory || f.Details["id"] != c.ID {
		t.Errorf("details %v", f.Details)
	}
	if f := w.tooLong(e, c, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{timer(500, 1)}}); f.Details["length"] != leastMaxHistory {
		t.Errorf("details %v", f.Details)
	}
	reply, err := e.SendSignal(w.ctx, model.SendSignalRequest{Items: []model.Signal{{ID: c.ID, Name: "s"}}})
	if code := refused(w, reply.Results, err); code != fault.HistoryTooLong {
		t.Fatalf("a signal was answered %s", code)
	}
	if got := w.wants(c.ID, model.Running); got.HistoryLength != leastMaxHistory {
		t.Fatalf("its history has %d events", got.HistoryLength)
	}
}

func TestAFullHistoryDoesNotKeepAWorkflowFromItsEnd(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		then model.Advance
		want model.Status
	}{
		"complete": {model.Advance{Then: model.ThenComplete}, model.Completed},
		"fail":     {model.Advance{Then: model.ThenFail, Error: model.Payload(`{"type":"E","message":"m"}`)}, model.Failed},
		"continue": {model.Advance{Then: model.ThenContinue}, model.Pending},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			e, c := w.full()
			cancels := []model.Command{{Type: model.CommandCancel, Sequence: 1}, {Type: model.CommandCancel, Sequence: 2}}
			a := w.advance(e, c, model.Advance{Then: model.ThenKeep, Commands: cancels})
			if !slices.Equal(types(a.Events), []model.EventType{model.EventActivityCancelled, model.EventTimerCancelled}) {
				t.Fatalf("cancelling was answered %s", asText(a))
			}
			x.then.Position = a.Position
			x.then.Commands = []model.Command{{Type: model.CommandSetState, Sequence: 500, State: model.Payload("1")}}
			if got := w.advance(e, c, x.then); got.Status != x.want {
				t.Fatalf("answered %s", asText(got))
			}
		})
	}
}

func TestSignalsOfABatchFillWhatRoomThereIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.another(model.Config{MaxHistory: leastMaxHistory})
	id := w.create(cart("k", slices.Repeat([]string{"1"}, 98)...))[0].ID
	f := newFlusher(e) // one that no loop empties, so that all are in one batch
	var works []*work
	for n := range 4 {
		x, err := e.prepareSignal(0, model.Signal{ID: id, Name: "add", Payload: fmt.Append(nil, n)})
		if err != nil {
			t.Fatal(err)
		}
		x.ctx, x.done = w.ctx, make(chan error, 1)
		works = append(works, x)
	}
	f.flush(w.ctx, works)
	for n, x := range works {
		if err := <-x.done; err != nil {
			t.Fatal(err)
		}
		if _, err := e.sent(x); (err == nil) != (n < 2) || err != nil && fault.CodeOf(err) != fault.HistoryTooLong {
			t.Errorf("signal %d was answered %v", n, err)
		}
	}
	if events := w.events(id, 1); len(events) != 100 || string(events[99].Payload) != "1" || events[99].Position != 100 {
		t.Fatalf("the history ends with %s", asText(events[len(events)-1]))
	}
	reply, err := e.CreateExecution(w.ctx, model.CreateExecutionRequest{Items: []model.NewExecution{cart("k", "5")}})
	if err != nil || signaled(reply.Results[0]) != "false" {
		t.Fatalf("a start was answered %s, %v", asText(reply), err)
	}
}

func TestAWorkerIsToldHowLongAHistoryMayBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for config, want := range map[int]int{0: 50_000, 200: 200} {
		reply, err := w.another(model.Config{MaxHistory: config}).StartWorker(w.ctx, model.StartWorkerRequest{Queues: []string{"q"}})
		if err != nil || reply.MaxHistory != want {
			t.Errorf("%d: answered %d, %v", config, reply.MaxHistory, err)
		}
	}
}
