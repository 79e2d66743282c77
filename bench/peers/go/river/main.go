// Command river measures River: 2,000 workers, a pool of 20, and a fetch as soon as a
// job is announced instead of every 100 ms.
package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/libworkflows/libworkflows/bench/peers/contest"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const workers = 2000

// Noop does nothing.
type Noop struct{}

// Kind names the job.
func (Noop) Kind() string { return "noop" }

// Timed knows when it was sent.
type Timed struct {
	Sent time.Time `json:"sent"`
}

// Kind names the job.
func (Timed) Kind() string { return "timed" }

type bench struct {
	ctx    context.Context
	pool   *pgxpool.Pool
	done   atomic.Int64
	picked chan time.Duration
}

func main() {
	contest.Main(func(ctx context.Context, pool *pgxpool.Pool) error {
		b := &bench{ctx: ctx, pool: pool, picked: make(chan time.Duration, 1)}
		return b.run()
	})
}

func (b *bench) run() error {
	migrator, err := rivermigrate.New(riverpgxv5.New(b.pool), &rivermigrate.Config{Logger: contest.Logger})
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(b.ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	if !contest.OnlyIdle() {
		if err := b.rates(); err != nil {
			return err
		}
	}
	if !contest.Wanted("pickup") && !contest.Wanted("idle") {
		return nil
	}
	return b.latencies()
}

func (b *bench) client(queue string) (*river.Client[pgx.Tx], error) {
	all := river.NewWorkers()
	river.AddWorker(all, river.WorkFunc(func(context.Context, *river.Job[Noop]) error {
		b.done.Add(1)
		return nil
	}))
	river.AddWorker(all, river.WorkFunc(func(_ context.Context, job *river.Job[Timed]) error {
		b.picked <- time.Since(job.Args.Sent)
		return nil
	}))
	return river.NewClient(riverpgxv5.New(b.pool), &river.Config{
		Queues:        map[string]river.QueueConfig{queue: {MaxWorkers: workers}},
		Workers:       all,
		FetchCooldown: time.Millisecond,
		Logger:        contest.Logger,
	})
}

func (b *bench) rates() error {
	client, err := b.client("batch")
	if err != nil {
		return err
	}
	err = contest.Rate("enqueue_single", contest.Callers, func() (int, error) {
		_, err := client.Insert(b.ctx, Noop{}, &river.InsertOpts{Queue: "single"})
		return 1, err
	})
	if err != nil {
		return err
	}
	if err := contest.Rate("enqueue_batch", contest.Writers, b.insert(client)); err != nil {
		return err
	}
	return b.drain(client)
}

func (b *bench) insert(client *river.Client[pgx.Tx]) func() (int, error) {
	jobs := make([]river.InsertManyParams, contest.Batch)
	for i := range jobs {
		jobs[i] = river.InsertManyParams{Args: Noop{}, InsertOpts: &river.InsertOpts{Queue: "batch"}}
	}
	return func() (int, error) { return client.InsertManyFast(b.ctx, jobs) }
}

func (b *bench) drain(client *river.Client[pgx.Tx]) error {
	if !contest.Wanted("drain") {
		return nil
	}
	if !contest.Wanted("enqueue_batch") {
		for range int(100 * contest.Seconds().Seconds()) {
			if _, err := b.insert(client)(); err != nil {
				return err
			}
		}
	}
	if err := contest.Drain(&b.done, func() error { return client.Start(b.ctx) }); err != nil {
		return err
	}
	return client.StopAndCancel(b.ctx)
}

func (b *bench) latencies() error {
	client, err := b.client("pickup")
	if err != nil {
		return err
	}
	if err := client.Start(b.ctx); err != nil {
		return err
	}
	if contest.OnlyIdle() {
		contest.Idle()
	} else if err := contest.Latency("pickup", func() (time.Duration, error) {
		_, err := client.Insert(b.ctx, Timed{Sent: time.Now()}, &river.InsertOpts{Queue: "pickup"})
		if err != nil {
			return 0, err
		}
		return <-b.picked, nil
	}); err != nil {
		return err
	}
	return client.StopAndCancel(b.ctx)
}
