package pgproxy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/libworkflows/libworkflows/core/pgproxy"
)

func TestWhatIsSaidGetsThroughUnchanged(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	conn := s.through()
	large := strings.Repeat("x", 3<<20)
	var back string
	if err := conn.QueryRow(s.ctx, "SELECT $1::text", large).Scan(&back); err != nil || back != large {
		t.Fatalf("%d bytes came back, %v", len(back), err)
	}
	var rows [][]any
	for n := range 5000 {
		rows = append(rows, []any{n})
	}
	if n, err := conn.CopyFrom(s.ctx, pgx.Identifier{s.schema, "t"}, []string{"n"}, pgx.CopyFromRows(rows)); err != nil || n != 5000 {
		t.Fatalf("%d rows copied, %v", n, err)
	}
	var batch pgx.Batch
	for n := range 100 {
		batch.Queue("SELECT $1::int", n)
	}
	results := conn.SendBatch(s.ctx, &batch)
	for n := range 100 {
		var got int
		if err := results.QueryRow().Scan(&got); err != nil || got != n {
			t.Fatalf("%d: %d, %v", n, got, err)
		}
	}
	if err := results.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestEncryptionIsDeclined(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	preferring, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=prefer", s.config.Host, s.config.Port, s.config.User, s.config.Database))
	if err != nil {
		t.Fatal(err)
	}
	preferring.Password = s.config.Password
	s.exec(s.connect(preferring), "SELECT 1")
}

func TestACancelRequestReachesTheServer(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	conn := s.through()
	failed := make(chan error)
	go func() {
		_, err := conn.Exec(s.ctx, "SELECT pg_sleep(60)")
		failed <- err
	}()
	pid := conn.PgConn().PID()
	s.eventually("the query", func() (running bool) {
		_ = s.direct.QueryRow(s.ctx, "SELECT state = 'active' FROM pg_stat_activity WHERE pid = $1", pid).Scan(&running)
		return running
	})
	if err := conn.PgConn().CancelRequest(s.ctx); err != nil {
		t.Fatal(err)
	}
	var server *pgconn.PgError
	if err := <-failed; !errors.As(err, &server) || server.Code != "57014" {
		t.Fatalf("the query ended with %v", err)
	}
}

func TestACutCommitHasHappenedAndItsReplyIsLost(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(s *stage, conn *pgx.Conn) error{
		"a prepared statement": func(s *stage, conn *pgx.Conn) error { return s.insert(conn, 1) },
		"a batch": func(s *stage, conn *pgx.Conn) error {
			var batch pgx.Batch
			batch.Queue("SELECT 1")
			batch.Queue("INSERT /* workflows:insert */ INTO "+s.schema+".t VALUES ($1)", 1)
			return conn.SendBatch(s.ctx, &batch).Close()
		},
		"a simple query": func(s *stage, conn *pgx.Conn) error {
			_, err := conn.Exec(s.ctx, "INSERT /* workflows:insert */ INTO "+s.schema+".t VALUES (1)", pgx.QueryExecModeSimpleProtocol)
			return err
		},
		"a transaction": func(s *stage, conn *pgx.Conn) error {
			tx, err := conn.Begin(s.ctx)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(s.ctx, "INSERT /* workflows:insert */ INTO "+s.schema+".t VALUES ($1)", 1); err != nil {
				s.Errorf("before its commit: %v", err)
			}
			return tx.Commit(s.ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			conn := s.through()
			if err := write(s, conn); err != nil { // it prepares what there is to prepare
				t.Fatal(err)
			}
			s.do(pgproxy.Command{Do: "cut_commit", Match: "workflows:insert", Nth: 2})
			if err := write(s, conn); err != nil {
				t.Fatalf("the first after the order: %v", err)
			}
			if err := write(s, conn); !isLost(conn, err) {
				t.Fatalf("the reply was not lost: %v", err)
			}
			if n := s.rows(); n != 3 || s.Stats().Cut != 1 {
				t.Fatalf("%d rows are committed: %+v", n, s.Stats())
			}
			if err := write(s, s.through()); err != nil {
				t.Fatalf("afterwards: %v", err)
			}
		})
	}
}

func TestATransactionThatFailsIsNotCut(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	conn := s.through()
	s.do(pgproxy.Command{Do: "cut_commit", Match: "workflows:insert"})
	_, err := conn.Exec(s.ctx, "INSERT /* workflows:insert */ INTO "+s.schema+".t VALUES (1 / $1::int)", 0)
	var server *pgconn.PgError
	if !errors.As(err, &server) || server.Code != "22012" {
		t.Fatalf("its error was not passed on: %v", err)
	}
	tx, err := conn.Begin(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(s.ctx, "INSERT /* workflows:insert */ INTO "+s.schema+".t VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(s.ctx); err != nil {
		t.Fatalf("a rollback was cut: %v", err)
	}
	if got := s.Stats(); got.Cut != 0 || got.Armed != 1 {
		t.Fatalf("%+v", got)
	}
	if s.insert(conn, 1) == nil || s.rows() != 1 {
		t.Fatalf("the commit was not cut: %+v", s.Stats())
	}
}

// Only what executes a statement counts: pgx prepares it in a round trip of its own.
func TestPreparingIsNotCut(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	conn := s.through()
	s.do(pgproxy.Command{Do: "cut_commit", Match: "workflows:insert"})
	if _, err := conn.Prepare(s.ctx, "named", "INSERT /* workflows:insert */ INTO "+s.schema+".t VALUES ($1)"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(s.ctx, "named", 1); err == nil || s.rows() != 1 {
		t.Fatalf("%v, %d rows", err, s.rows())
	}
}

func TestABlackHoleLetsNothingThroughUntilItPasses(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	conn := s.through()
	s.do(pgproxy.Command{Do: "blackhole"})
	done := make(chan error, 1)
	go func() { done <- s.insert(conn, 1) }()
	select {
	case err := <-done:
		t.Fatalf("it got through: %v", err)
	case <-time.After(silence):
	}
	if n := s.rows(); n != 0 {
		t.Fatalf("%d rows", n)
	}
	short, cancel := context.WithTimeout(s.ctx, silence)
	defer cancel()
	if _, err := pgx.ConnectConfig(short, s.config); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a new connection: %v", err)
	}
	s.do(pgproxy.Command{Do: "pass"})
	if err := <-done; err != nil || s.rows() != 1 {
		t.Fatalf("afterwards: %v", err)
	}
}

// What a client has said before it gave up arrives late, as on a real network.
func TestAnEndGetsThroughABlackHoleOnlyAfterwards(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	conn := s.uncancelling()
	if err := s.insert(conn, 1); err != nil {
		t.Fatal(err)
	}
	pid := conn.PgConn().PID()
	there := func() (n int) {
		_ = s.direct.QueryRow(s.ctx, "SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid).Scan(&n)
		return n
	}
	s.do(pgproxy.Command{Do: "blackhole"})
	short, cancel := context.WithTimeout(s.ctx, silence)
	defer cancel()
	if _, err := conn.Exec(short, "INSERT /* workflows:insert */ INTO "+s.schema+".t VALUES ($1)", 2); err == nil {
		t.Fatal("it got through")
	}
	if n := s.rows(); n != 1 || there() != 1 {
		t.Fatalf("%d rows, %d sessions", n, there())
	}
	s.do(pgproxy.Command{Do: "pass"})
	s.eventually("the late write", func() bool { return s.rows() == 2 })
	s.eventually("the late end", func() bool { return there() == 0 })
}

func TestHalfOpenLetsWritesThroughAndNothingBack(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	conn := s.through()
	if err := s.insert(conn, 1); err != nil {
		t.Fatal(err)
	}
	s.do(pgproxy.Command{Do: "half_open"})
	done := make(chan error, 1)
	go func() { done <- s.insert(conn, 2) }()
	s.eventually("the write", func() bool { return s.rows() == 2 })
	select {
	case err := <-done:
		t.Fatalf("the reply got back: %v", err)
	case <-time.After(silence):
	}
	s.do(pgproxy.Command{Do: "pass"})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestADelayIsAddedEachWay(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	conn := s.through()
	s.do(pgproxy.Command{Do: "delay", MS: 100})
	began := time.Now()
	s.exec(conn, "SELECT 1")
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Fatalf("it took %s", took)
	}
}

func TestAResetEndsWhatIsThereAndRefuseWhatComes(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	conn, idle := s.through(), s.through()
	failed := make(chan error, 1)
	started := s.Stats().BytesUp
	go func() {
		_, err := conn.Exec(s.ctx, "SELECT pg_sleep(60)")
		failed <- err
	}()
	s.eventually("the query", func() bool { return s.Stats().BytesUp > started })
	s.do(pgproxy.Command{Do: "reset"})
	if err := <-failed; !isLost(conn, err) {
		t.Fatalf("it ended with %v", err)
	}
	if err := s.insert(idle, 1); err == nil {
		t.Fatal("the idle one is still there")
	}
	again := s.through()
	s.do(pgproxy.Command{Do: "refuse"})
	if _, err := pgx.ConnectConfig(s.ctx, s.config); err == nil {
		t.Fatal("a new one got in")
	}
	if err := s.insert(again, 1); err != nil {
		t.Fatalf("one that was there before: %v", err)
	}
	s.do(pgproxy.Command{Do: "pass"})
	s.exec(s.through(), "SELECT 1")
}

func TestAConnectionIsDroppedAfterSoManyBytes(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	conn := s.through()
	before := s.Stats()
	s.do(pgproxy.Command{Do: "drop_after", Bytes: 10_000})
	var back string
	if err := conn.QueryRow(s.ctx, "SELECT repeat('x', 100000)").Scan(&back); err == nil {
		t.Fatal("all of it came")
	}
	now := s.Stats()
	// What was on its way already is counted, too.
	if n := now.BytesUp + now.BytesDown - before.BytesUp - before.BytesDown; n < 10_000 || n > 10_100 || now.Dropped != 1 {
		t.Fatalf("%d bytes came: %+v", n, now)
	}
	s.exec(s.through(), "SELECT 1")
}

func TestNotificationsAreSwallowedAndNothingElse(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var heard atomic.Int64
	config := s.config.Copy()
	config.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) { heard.Add(1) }
	conn := s.connect(config)
	s.exec(conn, "LISTEN "+s.schema)
	s.do(pgproxy.Command{Do: "swallow_notifications"})
	s.exec(s.direct, "NOTIFY "+s.schema)
	s.eventually("the notification", func() bool { return s.Stats().Swallowed == 1 })
	s.exec(conn, "SELECT 1")
	if heard.Load() != 0 {
		t.Fatal("it was heard")
	}
	s.do(pgproxy.Command{Do: "pass"})
	s.exec(s.direct, "NOTIFY "+s.schema)
	s.eventually("hearing the next", func() bool { s.exec(conn, "SELECT 1"); return heard.Load() == 1 })
}

func TestCommandsComeBySocket(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	path := "unix:" + filepath.Join(t.TempDir(), "control")
	commands, err := pgproxy.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	go s.Control(commands)
	t.Cleanup(func() { _ = commands.Close() })
	conn, err := net.Dial("unix", strings.TrimPrefix(pgproxy.Address(commands.Addr()), "unix:"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	answers := json.NewDecoder(conn)
	for _, c := range []struct{ line, key string }{
		{`{"do":"blackhole"}`, "ok"},
		{`{"do":"explode"}`, "error"},
		{`{"do":"cut_commit"}`, "error"},
		{`{`, "error"},
		{`{"do":"stats"}`, "mode"},
	} {
		if _, err := fmt.Fprintln(conn, c.line); err != nil {
			t.Fatal(err)
		}
		var answer map[string]any
		if err := answers.Decode(&answer); err != nil {
			t.Fatal(err)
		}
		if _, found := answer[c.key]; !found {
			t.Errorf("%s was answered %v", c.line, answer)
		}
		if c.key == "mode" && answer["mode"] != "blackhole" {
			t.Errorf("the mode is %v", answer["mode"])
		}
	}
	s.do(pgproxy.Command{Do: "pass"})
}

func TestItListensOnASocketOfPostgreSQLsKind(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := t.TempDir()
	clients, err := pgproxy.Listen("unix:" + filepath.Join(dir, ".s.PGSQL.6543"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = clients.Close() })
	go func() { _ = s.Serve(clients) }()
	config := s.config.Copy()
	config.Host, config.Port = dir, 6543
	conn := s.connect(config)
	s.do(pgproxy.Command{Do: "cut_commit", Match: "workflows:insert"})
	if err := s.insert(conn, 1); err == nil || s.rows() != 1 {
		t.Fatalf("%v, %d rows", err, s.rows())
	}
}
