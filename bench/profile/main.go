// Command profile drives the engine as the C interface does, by operations in
// JSON, and writes a processor profile of it:
//
//	.venv/bin/python bench/profiling.py workflow_100
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libworkflows/libworkflows/core/engine"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/ops"
)

const (
	callers  = 200
	batch    = 500
	writers  = 4
	inFlight = 100
	steps    = 10
)

type bench struct {
	ctx    context.Context
	engine *engine.Engine
	worker string
	done   atomic.Int64
	end    time.Time
}

type claimed struct {
	Executions []execution `json:"executions"`
}

type execution struct {
	ID       string          `json:"id"`
	Lease    json.RawMessage `json:"lease"`
	Position int             `json:"position"`
}

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: profile WORKLOAD FILE"))
	}
	seconds, err := strconv.ParseFloat(os.Getenv("BENCH_SECONDS"), 64)
	if err != nil {
		seconds = 3
	}
	migrate := true
	e, err := ops.Open(context.Background(), model.Config{DatabaseURL: os.Getenv("BENCH_DATABASE_URL"), Migrate: &migrate})
	fail(err)
	b := &bench{ctx: context.Background(), engine: e}
	workload, known := map[string]func(){
		"enqueue_single": b.enqueue(callers, "single", 1),
		"enqueue_batch":  b.enqueue(writers, "batch", batch),
		"drain":          b.drain,
		"workflow_1":     b.workflows(1, 0),
		"workflow_100":   b.workflows(inFlight, 0),
		"steps_100":      b.workflows(inFlight, steps),
	}[os.Args[1]]
	if !known {
		fail(fmt.Errorf("there is no workload %q", os.Args[1]))
	}
	if os.Args[1] == "drain" {
		b.end = time.Now().Add(time.Duration(seconds * float64(time.Second)))
		b.enqueue(writers, "batch", batch)()
	}
	b.done.Store(0)
	b.worker = b.startWorker()
	file, err := os.Create(os.Args[2])
	fail(err)
	b.end = time.Now().Add(time.Duration(seconds * float64(time.Second)))
	fail(pprof.StartCPUProfile(file))
	workload()
	pprof.StopCPUProfile()
	fail(file.Close())
	fmt.Printf("%s: %.0f/s under the profiler\n", os.Args[1], float64(b.done.Load())/seconds)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		os.Exit(1)
	}
}

func (b *bench) going() bool { return time.Now().Before(b.end) }

func (b *bench) call(name string, request string, reply any) {
	operation, err := ops.ByName(name)
	fail(err)
	answer := struct {
		OK    any             `json:"ok"`
		Error json.RawMessage `json:"error"`
	}{OK: reply}
	fail(json.Unmarshal(operation.Call(b.ctx, b.engine, []byte(request)), &answer))
	if answer.Error != nil {
		fail(fmt.Errorf("%s: %s", name, answer.Error))
	}
}

func (b *bench) startWorker() string {
	var reply struct {
		WorkerID string `json:"worker_id"`
	}
	b.call("start_worker", `{"queues":["batch","workflows"],"concurrency":1000,"language":"go","early":true}`, &reply)
	return reply.WorkerID
}

func (b *bench) enqueue(callers int, queue string, n int) func() {
	request := []byte(`{"items":[`)
	for i := range n {
		if i > 0 {
			request = append(request, ',')
		}
		request = append(request, `{"kind":"job","name":"noop","queue":"`+queue+`"}`...)
	}
	text := string(append(request, "]}"...))
	return func() {
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				for b.going() {
					b.call("create_execution", text, nil)
					b.done.Add(int64(n))
				}
			})
		}
		all.Wait()
	}
}

func (b *bench) claim(n int) []execution {
	var reply claimed
	b.call("claim", fmt.Sprintf(`{"worker_id":"%s","n":%d,"wait_ms":100}`, b.worker, n), &reply)
	return reply.Executions
}

// write writes an outcome, or a step, for each of what is held.
func (b *bench) write(operation string, held []execution, more string) {
	request := []byte(`{"items":[`)
	for i, x := range held {
		if i > 0 {
			request = append(request, ',')
		}
		request = fmt.Appendf(request, `{"id":"%s","lease":%s,"position":%d%s}`, x.ID, x.Lease, x.Position, more)
	}
	b.call(operation, string(append(request, "]}"...)), nil)
}

func (b *bench) drain() {
	var writing sync.WaitGroup
	for b.going() {
		held := b.claim(batch)
		if len(held) == 0 {
			break
		}
		writing.Go(func() {
			b.write("complete_execution", held, "")
			b.done.Add(int64(len(held)))
		})
	}
	writing.Wait()
}

func (b *bench) workflows(n, steps int) func() {
	return func() {
		var all, working sync.WaitGroup
		stopped := make(chan struct{})
		working.Go(func() { b.work(steps, stopped) })
		for range n {
			all.Go(func() {
				for b.going() {
					b.call("create_execution", `{"items":[{"kind":"workflow","name":"noop","queue":"workflows"}],"wait_ms":10000}`, nil)
					b.done.Add(int64(max(1, steps)))
				}
			})
		}
		all.Wait()
		close(stopped)
		working.Wait()
	}
}

// work runs what it claims: all of one claim in step.
func (b *bench) work(steps int, stopped chan struct{}) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-stopped:
			return
		default:
		}
		held := b.claim(inFlight)
		if len(held) == 0 {
			continue
		}
		running.Go(func() {
			for sequence := range steps {
				b.write("record_step", held, fmt.Sprintf(`,"event":{"type":"step_completed","sequence":%d,"name":"one","payload":1}`, sequence+1))
				for i := range held {
					held[i].Position++
				}
			}
			b.write("complete_execution", held, "")
		})
	}
}
