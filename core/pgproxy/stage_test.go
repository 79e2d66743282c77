package pgproxy_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/libworkflows/libworkflows/core/internal/pgtest"
	"github.com/libworkflows/libworkflows/core/pgproxy"
)

const patience = 10 * time.Second

// silence is how long nothing must come where nothing may.
const silence = 150 * time.Millisecond

// stage is a proxy before the test server, and a table beside it.
type stage struct {
	*testing.T
	*pgproxy.Proxy
	ctx    context.Context
	direct *pgx.Conn
	config *pgx.ConnConfig // through the proxy
	schema string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	url, schema := pgtest.Schema(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	s := &stage{T: t, ctx: ctx, schema: schema}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	s.direct = s.connect(config)
	s.exec(s.direct, "CREATE SCHEMA "+schema)
	s.exec(s.direct, "CREATE TABLE "+schema+".t (n int)")
	proxy, through := pgtest.Proxy(t, url)
	s.Proxy = proxy
	if s.config, err = pgx.ParseConfig(through); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stage) connect(config *pgx.ConnConfig) *pgx.Conn {
	s.Helper()
	conn, err := pgx.ConnectConfig(s.ctx, config)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	})
	return conn
}

// through is a connection through the proxy.
func (s *stage) through() *pgx.Conn {
	s.Helper()
	return s.connect(s.config)
}

// uncancelling connects once: what pgx gives up it asks the server to cancel, on another
// connection, and afterwards that and the write itself would race.
func (s *stage) uncancelling() *pgx.Conn {
	s.Helper()
	config, dialed := s.config.Copy(), atomic.Bool{}
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dialed.Swap(true) {
			return nil, errors.New("this one connects once")
		}
		return dial(ctx, network, address)
	}
	return s.connect(config)
}

func (s *stage) exec(conn *pgx.Conn, sql string, args ...any) {
	s.Helper()
	if _, err := conn.Exec(s.ctx, sql, args...); err != nil {
		s.Fatalf("%s: %v", sql, err)
	}
}

func (s *stage) do(c pgproxy.Command) {
	s.Helper()
	if err := s.Do(c); err != nil {
		s.Fatal(err)
	}
}

// rows are those that have been committed.
func (s *stage) rows() (n int) {
	s.Helper()
	if err := s.direct.QueryRow(s.ctx, "SELECT count(*) FROM "+s.schema+".t").Scan(&n); err != nil {
		s.Fatal(err)
	}
	return n
}

func (s *stage) eventually(what string, holds func() bool) {
	s.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("%s did not happen within %s: %+v", what, patience, s.Stats())
		}
	}
}

// insert is a prepared statement by the second time, and goes by its name.
func (s *stage) insert(conn *pgx.Conn, n int) error {
	_, err := conn.Exec(s.ctx, "INSERT /* workflows:insert */ INTO "+s.schema+".t VALUES ($1)", n)
	return err
}

// isLost says whether a call failed because its connection did.
func isLost(conn *pgx.Conn, err error) bool {
	var server *pgconn.PgError
	return err != nil && !errors.As(err, &server) && conn.IsClosed()
}
