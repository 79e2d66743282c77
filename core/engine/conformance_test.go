package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/internal/pgtest"
	"github.com/libworkflows/libworkflows/core/store"
)

// twin is a PostgreSQL that is asked the same as the database in memory. Its clock and
// its chance are the simulation's: functions of a database that is the test's own.
type twin struct {
	store *store.Store
	conn  *pgx.Conn
	// calls are made outside of the bubble, whose clock would stand still for them.
	calls chan func()
	done  chan struct{}
}

// simulatedTime takes the place of what PostgreSQL itself would answer. PostgreSQL calls
// its own functions whatever its catalogue says of them, but the planner puts in the
// bodies of those that are plain SQL.
const simulatedTime = `
CREATE SCHEMA simulated;
CREATE TABLE simulated.clock (at timestamptz NOT NULL);
INSERT INTO simulated.clock VALUES ('2000-01-01Z');
CREATE FUNCTION simulated.time() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM simulated.clock';
CREATE OR REPLACE FUNCTION pg_catalog.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT simulated.time()';
CREATE OR REPLACE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT simulated.time()';
CREATE OR REPLACE FUNCTION pg_catalog.random() RETURNS float8 LANGUAGE sql VOLATILE AS 'SELECT 0.5::float8'`

func newTwin(t *testing.T) *twin {
	t.Helper()
	ctx := context.Background()
	url, name := pgtest.Database(t)
	s, err := store.Open(ctx, store.Config{URL: url, Schema: "workflows"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.MigrateUp(ctx); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(ctx) })
	if _, err := conn.Exec(ctx, simulatedTime); err != nil {
		t.Fatalf("database %s cannot be given a clock: %v", name, err)
	}
	w := &twin{store: s, conn: conn, calls: make(chan func()), done: make(chan struct{})}
	go func() {
		for call := range w.calls {
			call()
			w.done <- struct{}{}
		}
	}()
	t.Cleanup(func() { close(w.calls) })
	return w
}

// clear empties every table.
func (w *twin) clear(t *testing.T) {
	t.Helper()
	if _, err := w.conn.Exec(context.Background(), "TRUNCATE workflows.executions, workflows.history, workflows.timers, workflows.workers"); err != nil {
		t.Fatal(err)
	}
}

// outside makes a call with the simulation's clock.
func (w *twin) outside(now time.Time, call func(ctx context.Context) error) (err error) {
	w.calls <- func() {
		ctx, cancel := context.WithTimeout(context.Background(), patienceInTests)
		defer cancel()
		if _, err = w.conn.Exec(ctx, "UPDATE simulated.clock SET at = $1", now); err == nil {
			err = call(ctx)
		}
	}
	<-w.done
	return err
}

// compareTwin makes a call that has been made in memory to PostgreSQL, and compares the
// answers and all that the tables hold then.
func compareTwin[T any](d *simStore, name string, answer T, real func(ctx context.Context, s *store.Store) (T, error)) {
	var theirs T
	var tables map[string][]map[string]any
	err := d.twin.outside(d.now(), func(ctx context.Context) (err error) {
		if theirs, err = real(ctx, d.twin.store); err != nil {
			return err
		}
		tables, err = d.twin.rows(ctx)
		return err
	})
	if err != nil {
		d.audit.fail("PostgreSQL refuses %s: %v", name, err)
		return
	}
	if ours, theirs := plainOf(answer), plainOf(theirs); !reflect.DeepEqual(ours, theirs) {
		d.audit.fail("PostgreSQL answers %s otherwise:\n%s", name, difference("", ours, theirs))
		return
	}
	for table, rows := range d.state.Rows() {
		if ours, theirs := byKey(table, rows), byKey(table, tables[table]); !reflect.DeepEqual(ours, theirs) {
			d.audit.fail("after %s PostgreSQL has other %s:\n%s", name, table, difference("", ours, theirs))
		}
	}
	for table, rows := range tables {
		if len(rows) != len(d.state.Rows()[table]) {
			d.audit.fail("after %s PostgreSQL has %d %s", name, len(rows), table)
		}
	}
}

const rowsSQL = `
SELECT 'executions', row_to_json(x)::text FROM workflows.executions x UNION ALL
SELECT 'history', row_to_json(x)::text FROM workflows.history x UNION ALL
SELECT 'timers', row_to_json(x)::text FROM workflows.timers x UNION ALL
SELECT 'workers', row_to_json(x)::text FROM (SELECT id, name, queues, concurrency, language, runtime, sdk_version, status, heartbeat_timeout_ms, heartbeat_at FROM workflows.workers) x`

func (w *twin) rows(ctx context.Context) (map[string][]map[string]any, error) {
	rows, err := w.conn.Query(ctx, rowsSQL)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	tables := map[string][]map[string]any{}
	for rows.Next() {
		var table, text string
		var row map[string]any
		if err := rows.Scan(&table, &text); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(text), &row); err != nil {
			return nil, err
		}
		tables[table] = append(tables[table], row)
	}
	return tables, rows.Err()
}

// byKey lets rows be compared in any order.
func byKey(table string, rows []map[string]any) map[string]any {
	keys := map[string][]string{
		"executions": {"id"}, "history": {"execution_id", "run", "position"}, "timers": {"execution_id", "kind", "sequence"}, "workers": {"id"},
	}
	found := map[string]any{}
	for _, row := range rows {
		x, _ := plainOf(row).(map[string]any)
		var key []string
		for _, column := range keys[table] {
			key = append(key, fmt.Sprint(x[column]))
		}
		found[strings.Join(key, " ")] = x
	}
	return found
}

// plainOf is a value as JSON has it, with times in UTC and without what is empty.
func plainOf(value any) any {
	raw, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	var x any
	if err := json.Unmarshal(raw, &x); err != nil {
		return err.Error()
	}
	return plainly(x)
}

func plainly(x any) any {
	switch x := x.(type) {
	case map[string]any:
		for key, value := range x {
			if x[key] = plainly(value); x[key] == nil {
				delete(x, key)
			}
		}
		if len(x) == 0 {
			return nil
		}
	case []any:
		if len(x) == 0 {
			return nil
		}
		for i := range x {
			x[i] = plainly(x[i])
		}
	case string:
		var inside any
		if at, err := time.Parse(time.RFC3339Nano, x); err == nil {
			return at.UTC().Format(time.RFC3339Nano)
		}
		if strings.HasPrefix(x, "{") && json.Unmarshal([]byte(x), &inside) == nil {
			return plainly(inside)
		}
	}
	return x
}

// difference names the places where two plain values differ.
func difference(path string, ours, theirs any) string {
	if reflect.DeepEqual(ours, theirs) {
		return ""
	}
	a, isMap := ours.(map[string]any)
	b, both := theirs.(map[string]any)
	if isMap && both {
		var text string
		keys := map[string]bool{}
		for key := range a {
			keys[key] = true
		}
		for key := range b {
			keys[key] = true
		}
		for _, key := range sortedKeys(keys) {
			text += difference(path+"/"+key, a[key], b[key])
		}
		return text
	}
	x, isList := ours.([]any)
	y, lists := theirs.([]any)
	if isList && lists && len(x) == len(y) {
		var text string
		for i := range x {
			text += difference(fmt.Sprintf("%s/%d", path, i), x[i], y[i])
		}
		return text
	}
	return fmt.Sprintf("  %s: in memory %v, in PostgreSQL %v\n", path, asText(ours), asText(theirs))
}

func sortedKeys(set map[string]bool) (keys []string) {
	for key := range set {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// conformSchedules are compared without -simulate.conform: some thousand commits.
const conformSchedules = 6

func TestPostgreSQLDoesWhatTheModelDoes(t *testing.T) {
	w := newTwin(t)
	began, n, commits := time.Now(), 0, 0
	for more := true; more; n++ {
		seed := *simulateFrom + uint64(n)
		w.clear(t)
		v := play(t, drawMoves(seed), options{twin: w})
		if v.wrong != "" {
			w.clear(t)
			t.Fatalf("seed %d: %s\n%s", seed, v.wrong, play(t, drawMoves(seed), options{twin: w, verbose: true}).log)
		}
		commits += v.steps
		more = time.Since(began) < *conformFor || *conformFor == 0 && n+1 < conformSchedules
	}
	t.Logf("%d schedules, %d commits: the same answers and the same rows after each", n, commits)
}
