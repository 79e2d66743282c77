package engine

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// cart is a start with signals, under a key if it has one.
func cart(key string, items ...string) model.NewExecution {
	n := model.NewExecution{Kind: model.Workflow, Name: "cart"}
	if key != "" {
		n.IdempotencyKey = &key
	}
	for _, item := range items {
		n.Signals = append(n.Signals, model.StartSignal{Name: "add", Payload: model.Payload(item)})
	}
	return n
}

func signaled(c model.Created) string {
	if c.Signaled == nil {
		return "absent"
	}
	return fmt.Sprint(*c.Signaled)
}

func TestAWorkflowStartsWithItsSignals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	created := w.create(cart("", "1", "2"), cart(""), cart("", "3"))
	for i, want := range []string{"true", "absent", "true"} {
		if got := signaled(created[i]); got != want || !created[i].Created {
			t.Errorf("%d was answered %s", i, asText(created[i]))
		}
	}
	c := w.claimOne(w.Engine, w.worker(w.Engine))
	if c.ID != created[0].ID || !slices.Equal(payloads(c.Events), []string{"1", "2"}) || c.Events[2].Type != model.EventStarted {
		t.Fatalf("claimed %s", asText(c))
	}
	if got := payloads(w.events(created[2].ID, 1)); !slices.Equal(got, []string{"3"}) {
		t.Fatalf("the third has %v", got)
	}
}

func TestASecondStartWithAKeySendsItsSignalsToTheFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.create(cart("k", "1"))[0]
	second := w.create(cart("other", "9"), cart("k", "2", "3"))[1]
	if second.ID != first.ID || second.Created || signaled(second) != "true" {
		t.Fatalf("answered %s", asText(second))
	}
	worker := w.worker(w.Engine)
	c := w.claimOne(w.Engine, worker)
	if got := payloads(c.Events); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Fatalf("it has %v", got)
	}
	w.goOn(w.Engine, c, model.Advance{})
	if third := w.create(cart("k", "4"))[0]; third.ID != first.ID || signaled(third) != "true" {
		t.Fatalf("between two runs: %s", asText(third))
	}
	for c = w.claimOne(w.Engine, worker); c.ID != first.ID; c = w.claimOne(w.Engine, worker) {
		w.complete(w.Engine, c, "1")
	}
	if got := payloads(c.Events); !slices.Equal(got, []string{"4"}) {
		t.Fatalf("the next run has %v", got)
	}
	w.complete(w.Engine, c, "1")
	if late := w.create(cart("k", "5"))[0]; late.ID != first.ID || late.Created || signaled(late) != "false" {
		t.Fatalf("after the end: %s", asText(late))
	}
}

func TestSignalsForAKeyThatAJobHasAreNotTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	job := w.create(model.NewExecution{Kind: model.Job, Name: "cart", IdempotencyKey: pointer("k")})[0]
	if got := w.create(cart("k", "1"))[0]; got.ID != job.ID || signaled(got) != "false" {
		t.Fatalf("answered %s", asText(got))
	}
}

func TestASignalWithAKeyOfItsOwnIsDeliveredOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := cart("k", "1", "2")
	n.Signals[0].IdempotencyKey, n.Signals[1].IdempotencyKey = pointer("a"), pointer("a")
	first := w.create(n)[0]
	n.Signals[1].IdempotencyKey = pointer("b")
	if second := w.create(n)[0]; signaled(first) != "true" || signaled(second) != "true" {
		t.Fatalf("answered %s, %s", asText(first), asText(second))
	}
	reply, err := w.SendSignal(w.ctx, model.SendSignalRequest{Items: []model.Signal{{ID: first.ID, Name: "add", IdempotencyKey: pointer("b")}}})
	if only(w, reply.Results, err).Delivered {
		t.Fatal("a signal sent by itself has another memory for keys")
	}
	if got := payloads(w.events(first.ID, 1)); !slices.Equal(got, []string{"1", "2"}) {
		t.Fatalf("it has %v", got)
	}
}

// Whoever makes the id makes the start repeatable; what differs is another signal.
func TestARepeatedStartSendsNoSignalTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, key := range map[string]string{"by its id": "", "by a key that another has": "k"} {
		id := uuid.Must(uuid.NewV7())
		to := id
		if key != "" {
			to = w.create(cart(key))[0].ID
		}
		n := cart(key, "1", "1")
		n.ID = &id
		for range 2 {
			if got := w.create(n)[0]; got.ID != to || signaled(got) != "true" {
				t.Fatalf("%s: answered %s", name, asText(got))
			}
		}
		n.Signals[0].Payload = model.Payload("2")
		w.create(n)
		if got := payloads(w.events(to, 1)); !slices.Equal(got, []string{"1", "1", "2"}) {
			t.Fatalf("%s: it has %v", name, got)
		}
	}
}

// As after a reply that was lost: the row and its signals are there already.
func TestATriedStartKnowsItsSignalsAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := cart("k", "1")
	row, err := w.newRow(itemAt(0), &n)
	if err != nil {
		t.Fatal(err)
	}
	n.ID = &row.ID
	w.create(n)
	x := &work{root: row.ID, creates: []store.NewRow{row}, signals: row.Signals, tries: 1}
	if err := w.write(w.ctx, x); err != nil {
		t.Fatal(err)
	}
	reply := created(x)
	if err := w.signalCreated(w.ctx, x, reply.Results); err != nil || !reply.Results[0].Created || signaled(reply.Results[0]) != "true" {
		t.Fatalf("answered %s, %v", asText(reply), err)
	}
	if got := payloads(w.events(row.ID, 1)); !slices.Equal(got, []string{"1"}) {
		t.Fatalf("it has %v", got)
	}
}

func TestFiftyStartsAtOnceMakeOneWorkflowWithAllTheirSignals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	engines := []*Engine{w.Engine, w.another(model.Config{})}
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			reply, err := engines[i%2].CreateExecution(w.ctx, model.CreateExecutionRequest{Items: []model.NewExecution{cart("k", fmt.Sprint(i))}})
			if err != nil || signaled(reply.Results[0]) != "true" {
				t.Errorf("answered %s, %v", asText(reply), err)
			}
		})
	}
	all.Wait()
	page, err := w.ListExecutions(w.ctx, model.ListExecutionsRequest{})
	if err != nil || len(page.Executions) != 1 {
		t.Fatalf("%d executions, %v", len(page.Executions), err)
	}
	got := payloads(w.events(page.Executions[0].ID, 1))
	slices.Sort(got)
	if len(slices.Compact(got)) != 50 {
		t.Fatalf("it has %v", got)
	}
}

func TestStartsWithSignalsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	many := cart("", slices.Repeat([]string{"1"}, model.MaxStartSignals+1)...)
	full := cart("", slices.Repeat([]string{"1"}, model.MaxStartSignals)...)
	job, unnamed, large, odd := cart("", "1"), cart("", "1"), cart("", `"`+strings.Repeat("x", 1<<20)+`"`), cart("", "1")
	job.Kind, unnamed.Signals[0].Name, odd.Signals[0].IdempotencyKey = model.Job, "", pointer("a\x00")
	for name, x := range map[string]struct {
		items []model.NewExecution
		path  string
		code  fault.Code
	}{
		"more than a start may have":   {[]model.NewExecution{many}, "items[0].signals", fault.InvalidRequest},
		"more than a request may have": {slices.Repeat([]model.NewExecution{full}, 101), "items", fault.InvalidRequest},
		"signals to a job":             {[]model.NewExecution{job}, "items[0].signals", fault.InvalidRequest},
		"a signal without a name":      {[]model.NewExecution{unnamed}, "items[0].signals[0].name", fault.InvalidRequest},
		"a large signal":               {[]model.NewExecution{large}, "items[0].signals[0].payload", fault.PayloadTooLarge},
		"an odd key":                   {[]model.NewExecution{odd}, "items[0].signals[0].idempotency_key", fault.InvalidRequest},
	} {
		_, err := w.CreateExecution(w.ctx, model.CreateExecutionRequest{Items: x.items})
		if f := fault.From(err); f.Code != x.code || f.Details["path"] != x.path {
			t.Errorf("%s: %v %v", name, err, f.Details)
		}
	}
	_, c := w.begun(model.NewExecution{})
	child := schedule(1, model.Workflow, "child")
	child.Execution.Signals = cart("", "1").Signals
	reply, err := w.AdvanceWorkflow(w.ctx, model.AdvanceWorkflowRequest{Items: []model.Advance{{ID: c.ID, Lease: c.Lease, Position: 1, Then: model.ThenKeep, Commands: []model.Command{child}}}})
	if code := refused(w, reply.Results, err); code != fault.InvalidRequest {
		t.Errorf("a child with signals: answered %s", code)
	}
}
