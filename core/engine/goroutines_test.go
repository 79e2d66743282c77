package engine

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
	"testing"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

// goroutines answers the stacks of those that were started under a label, and how many they
// are. A goroutine has the labels of who started it, so that tests beside this one do not count.
func goroutines(t *testing.T, label string) (n int, stacks string) {
	t.Helper()
	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 1); err != nil {
		t.Fatal(err)
	}
	_, records, _ := strings.Cut(all.String(), "\n")
	for record := range strings.SplitSeq(records, "\n\n") {
		if !strings.Contains(record, `"`+label+`"`) {
			continue
		}
		var alike int
		if _, err := fmt.Sscanf(record, "%d @", &alike); err != nil {
			t.Fatalf("%v: %s", err, record)
		}
		n, stacks = n+alike, stacks+record+"\n\n"
	}
	return n, stacks
}

func TestI27ACloseLeavesNoGoroutineOfWhatWasUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ended, calls := make(chan error, 10), 0
	pprof.Do(w.ctx, pprof.Labels("test", t.Name()), func(context.Context) {
		e := w.another(model.Config{})
		calls = w.underWay(e, ended)
		if n, stacks := goroutines(t, t.Name()); n < calls+5 {
			t.Fatalf("only %d were found:\n%s", n, stacks)
		}
		if err := e.Close(0); err != nil {
			t.Error(err)
		}
	})
	for range calls {
		if err := <-ended; err != nil && fault.CodeOf(err) != fault.Closed {
			t.Error(err)
		}
	}
	var stacks string
	defer func() {
		if t.Failed() {
			t.Log(stacks)
		}
	}()
	w.eventually("the end of all goroutines", func() bool {
		var n int
		n, stacks = goroutines(t, t.Name())
		return n == 0
	})
}

// underWay has workers, leases, claims and waits on an engine, and answers how many calls are
// not answered yet.
func (w *world) underWay(e *Engine, ended chan<- error) (calls int) {
	w.Helper()
	worker := w.worker(e)
	job, flow := w.createOne(model.Job, "held"), w.createOne(model.Workflow, "suspended")
	for _, c := range w.claim(e, worker, 2) {
		if c.ID == flow {
			w.advance(e, c, model.Advance{Then: model.ThenSuspend, Commands: []model.Command{timer(1, 3_600_000)}})
		}
	}
	long := 2 * patienceInTests.Milliseconds()
	idle := w.worker(e, func(r *model.StartWorkerRequest) { r.Queues = []string{"nothing"} })
	given, give := context.WithCancel(w.ctx)
	for _, call := range []func() error{
		func() (err error) {
			_, err = e.Claim(w.ctx, model.ClaimRequest{WorkerID: idle, N: 1, WaitMS: long})
			return err
		},
		func() (err error) {
			_, err = e.WaitExecution(w.ctx, model.WaitExecutionRequest{ID: job, WaitMS: long})
			return err
		},
		func() error {
			_, err := e.WaitExecution(given, model.WaitExecutionRequest{ID: flow, WaitMS: long})
			if fault.CodeOf(err) == fault.Cancelled {
				return nil
			}
			return err
		},
	} {
		calls++
		go func() { ended <- call() }()
	}
	w.eventually("the waits", func() bool { return len(e.waiters.waiting()) == 2 })
	give()
	return calls
}
