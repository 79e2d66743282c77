// Command dbos measures DBOS Transact for Go: a pool of 20, workflows run by their own
// process, and a queue that looks every 10 ms.
package main

import (
	"context"
	"errors"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/libworkflows/libworkflows/bench/peers/contest"
)

const (
	inFlight = 100
	poll     = 10 * time.Millisecond
)

type bench struct {
	dbos   dbos.Context
	queue  dbos.Queue
	picked chan time.Duration
	// Told at the end of a queued workflow: its handle would have to poll for that.
	ended chan struct{}
}

func main() {
	contest.Main(func(ctx context.Context, pool *pgxpool.Pool) error {
		all, err := dbos.NewContext(ctx, dbos.Config{
			AppName: "bench", SystemDBPool: pool, Logger: contest.Logger, ApplicationVersion: "1",
		})
		if err != nil {
			return err
		}
		b := &bench{dbos: all, picked: make(chan time.Duration, 1), ended: make(chan struct{}, 10*inFlight)}
		return errors.Join(b.run(), dbos.Shutdown(all, 5*time.Second))
	})
}

func (b *bench) run() error {
	dbos.RegisterWorkflow(b.dbos, b.noop)
	dbos.RegisterWorkflow(b.dbos, b.timed)
	dbos.RegisterWorkflow(b.dbos, b.stepped)
	dbos.RegisterWorkflow(b.dbos, b.queued)
	dbos.RegisterWorkflow(b.dbos, b.parallel)
	if err := dbos.Launch(b.dbos); err != nil {
		return err
	}
	queue, err := dbos.RegisterQueue(b.dbos, "bench",
		dbos.WithWorkerConcurrency(inFlight), dbos.WithQueueBasePollingInterval(poll))
	if err != nil {
		return err
	}
	b.queue = queue
	if contest.OnlyIdle() {
		contest.Idle()
		return nil
	}
	return b.measure()
}

func (b *bench) measure() error {
	for _, rate := range []struct {
		name    string
		callers int
		once    func() (int, error)
	}{
		{"workflow_1", 1, direct(b, b.noop)},
		{"workflow_100", inFlight, direct(b, b.noop)},
		{"workflow_1000", 10 * inFlight, direct(b, b.noop)},
		{"steps_100", inFlight, direct(b, b.stepped)},
		{"steps_100", inFlight, b.throughQueue},
		{"activities_100", inFlight, direct(b, b.stepped)},
		{"parallel_100", inFlight, direct(b, b.parallel)},
	} {
		if err := contest.Rate(rate.name, rate.callers, rate.once); err != nil {
			return err
		}
	}
	if err := contest.Latency("pickup", b.pickUp); err != nil {
		return err
	}
	return contest.Latency("result", func() (time.Duration, error) {
		started := time.Now()
		_, err := direct(b, b.noop)()
		return time.Since(started), err
	})
}

// direct starts a workflow in this process and waits for its result.
func direct(b *bench, workflow dbos.Workflow[int, int]) func() (int, error) {
	return func() (int, error) {
		handle, err := dbos.RunWorkflow(b.dbos, workflow, 0, dbos.WithWorkflowID(uuid.NewString()))
		if err != nil {
			return 0, err
		}
		return handle.GetResult()
	}
}

func (b *bench) throughQueue() (int, error) {
	_, err := dbos.RunWorkflow(b.dbos, b.queued, 0, dbos.WithQueue(b.queue))
	if err != nil {
		return 0, err
	}
	<-b.ended
	return contest.Steps, nil
}

func (b *bench) pickUp() (time.Duration, error) {
	if _, err := dbos.RunWorkflow(b.dbos, b.timed, time.Now(), dbos.WithQueue(b.queue)); err != nil {
		return 0, err
	}
	return <-b.picked, nil
}

// --- workflows ------------------------------------------------------------------

func (b *bench) noop(dbos.Context, int) (int, error) { return 1, nil }

func (b *bench) timed(_ dbos.Context, sent time.Time) (int, error) {
	b.picked <- time.Since(sent)
	return 1, nil
}

func one(context.Context) (int, error) { return 1, nil }

func (b *bench) stepped(ctx dbos.Context, _ int) (int, error) {
	total := 0
	for range contest.Steps {
		n, err := dbos.RunAsStep(ctx, one)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

func (b *bench) queued(ctx dbos.Context, _ int) (int, error) {
	defer func() { b.ended <- struct{}{} }()
	return b.stepped(ctx, 0)
}

func (b *bench) parallel(ctx dbos.Context, _ int) (int, error) {
	outcomes := make([]<-chan dbos.StepOutcome[int], contest.Steps)
	for i := range outcomes {
		outcome, err := dbos.Go(ctx, one)
		if err != nil {
			return 0, err
		}
		outcomes[i] = outcome
	}
	total := 0
	for _, outcome := range outcomes {
		n := <-outcome
		if n.Err != nil {
			return 0, n.Err
		}
		total += n.Result
	}
	return total, nil
}
