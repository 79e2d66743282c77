// Command ceiling measures what hand-written SQL reaches on the library's own
// tables: batches on two connections, fenced, with no functions and no language
// between. It is what the other contestants are compared with.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5" //nolint:depguard // raw SQL is what is measured
)

const (
	connections = 2
	callers     = 200
	batch       = 500
	inFlight    = 100
	steps       = 10
	pause       = 5 * time.Millisecond
)

type bench struct {
	url     string
	seconds time.Duration
	only    string
	conns   [connections]*pgx.Conn
	worker  uuid.UUID
}

func main() {
	seconds, err := strconv.ParseFloat(os.Getenv("BENCH_SECONDS"), 64)
	if err != nil {
		seconds = 2
	}
	b := &bench{
		url: os.Getenv("BENCH_DATABASE_URL"), seconds: time.Duration(seconds * float64(time.Second)),
		only: os.Getenv("BENCH_WORKLOADS"), worker: uuid.New(),
	}
	if err := b.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "ceiling:", err)
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context) error {
	for i := range b.conns {
		conn, err := pgx.Connect(ctx, b.url)
		if err != nil {
			return err
		}
		b.conns[i] = conn
	}
	if err := b.makeTables(ctx); err != nil {
		return err
	}
	return b.measure(ctx)
}

func (b *bench) measure(ctx context.Context) error {
	for _, rate := range []struct {
		name    string
		threads int
		cycle   func(context.Context, *pgx.Conn) (int, error)
	}{
		{"enqueue_single", connections, b.enqueue("single", callers/connections)},
		{"enqueue_batch", connections, b.enqueue("batch", batch)},
		{"drain", connections, b.drain},
		{"workflow_1", 1, b.execute(1, 0)},
		{"workflow_100", connections, b.execute(inFlight/connections, 0)},
		{"workflow_1000", connections, b.execute(10*inFlight/connections, 0)},
		{"steps_100", connections, b.execute(inFlight/connections, steps)},
	} {
		if rate.name == "drain" && b.wanted("drain") && !b.wanted("enqueue_batch") {
			if err := insert(ctx, b.conns[0], "job", "batch", int(50_000*b.seconds.Seconds())); err != nil {
				return err
			}
		}
		if err := b.rate(ctx, rate.name, rate.threads, rate.cycle); err != nil {
			return fmt.Errorf("%s: %w", rate.name, err)
		}
	}
	return b.latencies(ctx)
}

// makeTables applies the library's own migrations.
func (b *bench) makeTables(ctx context.Context) error {
	root := os.Getenv("BENCH_ROOT")
	entries, err := os.ReadDir(root + "/migrations")
	if err != nil {
		return err
	}
	script := "CREATE SCHEMA workflows;\n"
	for _, entry := range entries { // sorted by name
		if strings.HasSuffix(entry.Name(), ".up.sql") {
			text, err := os.ReadFile(root + "/migrations/" + entry.Name())
			if err != nil {
				return err
			}
			script += string(text)
		}
	}
	_, err = b.conns[0].PgConn().Exec(ctx, script).ReadAll()
	return err
}

// --- rates --------------------------------------------------------------------

// rate repeats a cycle on each connection for the time given, and counts.
func (b *bench) rate(ctx context.Context, name string, threads int, cycle func(context.Context, *pgx.Conn) (int, error)) error {
	if !b.wanted(name) {
		return nil
	}
	emit(map[string]any{"begin": name})
	var done atomic.Int64
	var failure error
	var once sync.Once
	var all sync.WaitGroup
	started := time.Now()
	for i := range threads {
		all.Go(func() {
			for time.Since(started) < b.seconds {
				n, err := cycle(ctx, b.conns[i])
				if err != nil {
					once.Do(func() { failure = err })
				}
				if n == 0 || err != nil {
					return
				}
				done.Add(int64(n))
			}
		})
	}
	all.Wait()
	if failure != nil {
		return failure
	}
	emit(map[string]any{
		"workload": name, "value": float64(done.Load()) / time.Since(started).Seconds(), "unit": "/s", "operations": done.Load(),
	})
	return nil
}

func (b *bench) enqueue(queue string, n int) func(context.Context, *pgx.Conn) (int, error) {
	return func(ctx context.Context, conn *pgx.Conn) (int, error) {
		return n, insert(ctx, conn, "job", queue, n)
	}
}

func (b *bench) drain(ctx context.Context, conn *pgx.Conn) (int, error) {
	held, err := b.claim(ctx, conn, "batch", batch)
	if err != nil || len(held.ids) == 0 {
		return 0, err
	}
	return len(held.ids), complete(ctx, conn, held)
}

// execute starts n executions, claims them, records their steps one by one and
// completes them. Without steps it counts executions, else steps.
func (b *bench) execute(n, steps int) func(context.Context, *pgx.Conn) (int, error) {
	return func(ctx context.Context, conn *pgx.Conn) (int, error) {
		queue := fmt.Sprintf("workflows-%d-%d", n, conn.PgConn().PID())
		if err := insert(ctx, conn, "workflow", queue, n); err != nil {
			return 0, err
		}
		held, err := b.claim(ctx, conn, queue, n)
		if err != nil {
			return 0, err
		}
		for sequence := range steps {
			if err := record(ctx, conn, held, sequence+1); err != nil {
				return 0, err
			}
		}
		return max(1, steps) * n, complete(ctx, conn, held)
	}
}

// --- statements ---------------------------------------------------------------

type held struct {
	ids    []uuid.UUID
	epochs []int64
	token  uuid.UUID
}

func insert(ctx context.Context, conn *pgx.Conn, kind, queue string, n int) error {
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = uuid.Must(uuid.NewV7())
	}
	_, err := conn.Exec(ctx, `
INSERT INTO workflows.executions (id, root_id, kind, name, queue, status, priority, run_at, created_at)
SELECT id, id, $2, 'noop', $3, 'pending', 5, now(), now() FROM unnest($1::uuid[]) AS id`, ids, kind, queue)
	return err
}

func (b *bench) claim(ctx context.Context, conn *pgx.Conn, queue string, n int) (held, error) {
	h := held{token: uuid.New()}
	rows, err := conn.Query(ctx, `
WITH due AS MATERIALIZED (
    SELECT id FROM workflows.executions WHERE status = 'pending' AND crashes < 2 AND queue = $2
    ORDER BY priority DESC, run_at, id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED)
UPDATE workflows.executions e SET status = 'running', worker = $1, epoch = e.epoch + 1, token = $4,
    attempts = e.attempts + 1, started_at = clock_timestamp()
FROM due WHERE e.id = due.id RETURNING e.id, e.epoch`, b.worker, queue, n, h.token)
	if err != nil {
		return h, err
	}
	var id uuid.UUID
	var epoch int64
	_, err = pgx.ForEachRow(rows, []any{&id, &epoch}, func() error {
		h.ids, h.epochs = append(h.ids, id), append(h.epochs, epoch)
		return nil
	})
	return h, err
}

func record(ctx context.Context, conn *pgx.Conn, h held, sequence int) error {
	tag, err := conn.Exec(ctx, `
WITH moved AS (
    UPDATE workflows.executions e SET history_length = e.history_length + 1
    FROM unnest($1::uuid[], $2::bigint[]) AS x(id, epoch)
    WHERE e.id = x.id AND e.epoch = x.epoch AND e.token = $3 AND e.status = 'running'
    RETURNING e.id, e.run, e.history_length)
INSERT INTO workflows.history (execution_id, run, position, type, sequence, name, payload, at)
SELECT id, run, history_length, 'step_completed', $4, 'one', '1', clock_timestamp() FROM moved`,
		h.ids, h.epochs, h.token, sequence)
	return all(tag.RowsAffected(), h, err)
}

func complete(ctx context.Context, conn *pgx.Conn, h held) error {
	tag, err := conn.Exec(ctx, `
UPDATE workflows.executions e SET status = 'completed', result = 'null', finished_at = clock_timestamp(), crashes = 0
FROM unnest($1::uuid[], $2::bigint[]) AS x(id, epoch)
WHERE e.id = x.id AND e.epoch = x.epoch AND e.token = $3 AND e.status = 'running'`, h.ids, h.epochs, h.token)
	return all(tag.RowsAffected(), h, err)
}

func all(written int64, h held, err error) error {
	if err == nil && written != int64(len(h.ids)) {
		return fmt.Errorf("%d of %d leases held", written, len(h.ids))
	}
	return err
}

// --- latencies ----------------------------------------------------------------

func (b *bench) latencies(ctx context.Context) error {
	for _, latency := range []struct {
		name      string
		announced bool
		complete  bool
	}{
		{"pickup", false, false},
		{"pickup_apart", true, false},
		{"result", false, true},
		{"result_apart", true, true},
	} {
		if err := b.latency(ctx, latency.name, latency.announced, latency.complete); err != nil {
			return fmt.Errorf("%s: %w", latency.name, err)
		}
	}
	return nil
}

// latency inserts a row, claims it on the other connection and completes it.
// Announced, the claim and the answer wait for a notification each.
func (b *bench) latency(ctx context.Context, name string, announced, completed bool) error {
	if !b.wanted(name) {
		return nil
	}
	listener, err := pgx.Connect(ctx, b.url)
	if err != nil {
		return err
	}
	defer listener.Close(ctx)
	if _, err := listener.Exec(ctx, "LISTEN bench"); err != nil {
		return err
	}
	tell := func(conn *pgx.Conn) error {
		if !announced {
			return nil
		}
		if _, err := conn.Exec(ctx, "NOTIFY bench"); err != nil {
			return err
		}
		_, err := listener.WaitForNotification(ctx)
		return err
	}
	emit(map[string]any{"begin": name})
	var took []time.Duration
	for began := time.Now(); time.Since(began) < b.seconds; time.Sleep(pause) {
		started := time.Now()
		h, err := b.pass(ctx, tell)
		if err != nil {
			return err
		}
		picked := time.Since(started)
		if err := complete(ctx, b.conns[1], h); err != nil {
			return err
		}
		if completed {
			if err := tell(b.conns[1]); err != nil {
				return err
			}
			picked = time.Since(started)
		}
		took = append(took, picked)
	}
	slices.Sort(took)
	emit(map[string]any{
		"workload": name, "value": quantile(took, 0.5), "p99": quantile(took, 0.99), "unit": "ms", "operations": len(took),
	})
	return nil
}

func (b *bench) pass(ctx context.Context, tell func(*pgx.Conn) error) (held, error) {
	if err := insert(ctx, b.conns[0], "job", "latency", 1); err != nil {
		return held{}, err
	}
	if err := tell(b.conns[0]); err != nil {
		return held{}, err
	}
	return b.claim(ctx, b.conns[1], "latency", 1)
}

func quantile(sorted []time.Duration, q float64) float64 {
	return sorted[int(math.Ceil(q*float64(len(sorted))))-1].Seconds() * 1000
}

func (b *bench) wanted(name string) bool {
	return b.only == "" || slices.Contains(strings.Split(b.only, ","), name)
}

func emit(line map[string]any) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
	if os.Getenv("BENCH_WAITS") != "" {
		_, _ = input.ReadString('\n') // until the meters have been read
	}
}

var input = bufio.NewReader(os.Stdin)
