// Package contest does for the peers in Go what bench/run.py wants of a contestant.
package contest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// What every contestant has in common.
const (
	Callers     = 200
	Batch       = 500
	Writers     = 4
	Steps       = 10
	Connections = 20

	pause = 5 * time.Millisecond
	warm  = 10
)

// URL is that of the database.
var URL = os.Getenv("BENCH_DATABASE_URL")

// Logger lets through what should be seen.
var Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))

var input = bufio.NewReader(os.Stdin)

// Main runs a contestant and ends the process.
func Main(run func(context.Context, *pgxpool.Pool) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	config, err := pgxpool.ParseConfig(URL)
	if err == nil {
		config.MaxConns = Connections
		var pool *pgxpool.Pool
		if pool, err = pgxpool.NewWithConfig(ctx, config); err == nil {
			err = run(ctx, pool)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, os.Args[0]+":", err)
		os.Exit(1)
	}
}

// Seconds is how long a workload goes on.
func Seconds() time.Duration {
	seconds, err := strconv.ParseFloat(os.Getenv("BENCH_SECONDS"), 64)
	if err != nil {
		seconds = 2
	}
	return time.Duration(seconds * float64(time.Second))
}

// Wanted tells whether a workload is to be done.
func Wanted(name string) bool {
	only := os.Getenv("BENCH_WORKLOADS")
	return only == "" || slices.Contains(strings.Split(only, ","), name)
}

// Emit prints a line and waits until the meters have been read.
func Emit(line map[string]any) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
	if os.Getenv("BENCH_WAITS") != "" {
		_, _ = input.ReadString('\n')
	}
}

// Begin starts a workload.
func Begin(name string) { Emit(map[string]any{"begin": name}) }

// Rate has callers repeat an operation for the time given; it answers what it was worth.
func Rate(name string, callers int, operation func() (int, error)) error {
	if !Wanted(name) {
		return nil
	}
	if _, err := operation(); err != nil { // connects and prepares
		return fmt.Errorf("%s: %w", name, err)
	}
	Begin(name)
	var count atomic.Int64
	var failure atomic.Pointer[error]
	var all sync.WaitGroup
	started := time.Now()
	for range callers {
		all.Go(func() {
			for time.Since(started) < Seconds() {
				worth, err := operation()
				if err != nil {
					failure.Store(&err)
					return
				}
				count.Add(int64(worth))
			}
		})
	}
	all.Wait()
	if err := failure.Load(); err != nil {
		return fmt.Errorf("%s: %w", name, *err)
	}
	report(name, count.Load(), time.Since(started))
	return nil
}

// Drain counts what is done in the time given, or until the queue is empty.
func Drain(done *atomic.Int64, start func() error) error {
	Begin("drain")
	if err := start(); err != nil {
		return err
	}
	started, before, seen := time.Now(), done.Load(), done.Load()
	last := started
	for time.Since(started) < Seconds() && (last == started || time.Since(last) < 200*time.Millisecond) {
		time.Sleep(pause)
		if now := done.Load(); now > seen {
			seen, last = now, time.Now()
		}
	}
	report("drain", seen-before, last.Sub(started))
	return nil
}

func report(name string, count int64, took time.Duration) {
	rate := 0.0
	if count > 0 {
		rate = float64(count) / took.Seconds()
	}
	Emit(map[string]any{"workload": name, "value": rate, "unit": "/s", "operations": count})
}

// Latency repeats an operation on an otherwise idle system.
func Latency(name string, operation func() (time.Duration, error)) error {
	if !Wanted(name) {
		return nil
	}
	var took []time.Duration
	var started time.Time
	for n := 0; n < warm || time.Since(started) < Seconds(); n++ {
		if n == warm {
			Begin(name)
			took, started = nil, time.Now()
		} else if n < warm {
			started = time.Now()
		}
		one, err := operation()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		took = append(took, one)
		time.Sleep(pause)
	}
	slices.Sort(took)
	Emit(map[string]any{
		"workload": name, "value": quantile(took, 0.5), "p99": quantile(took, 0.99),
		"unit": "ms", "operations": len(took),
	})
	return nil
}

func quantile(sorted []time.Duration, q float64) float64 {
	return sorted[int(math.Ceil(q*float64(len(sorted))))-1].Seconds() * 1000
}

// Idle leaves a worker alone.
func Idle() {
	time.Sleep(2 * time.Second) // what a start brings is over
	Begin("idle")
	time.Sleep(Seconds())
	Emit(map[string]any{"workload": "idle"})
}

// OnlyIdle tells whether this process is here to be left alone.
func OnlyIdle() bool { return os.Getenv("BENCH_WORKLOADS") == "idle" }
