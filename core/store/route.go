package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// sessionSettings hold whatever the role's or the database's defaults are.
var sessionSettings = map[string]string{
	applicationName:                       "libworkflows",
	defaultIsolation:                      "read committed",
	defaultReadOnly:                       "off",
	"synchronous_commit":                  "on",
	"search_path":                         "pg_catalog, pg_temp", // unless it is named, pg_temp comes first
	"TimeZone":                            "UTC",
	"lock_timeout":                        "1000",
	"statement_timeout":                   "60000",
	"idle_in_transaction_session_timeout": "60000",
	"idle_session_timeout":                "0", // who listens is idle
	"client_min_messages":                 "warning",
	// Planning the larger statements takes several times as long as running them.
	// A plan that is kept was made when the tables were still empty, so none may
	// depend on their size: every statement has an index that serves it.
	"plan_cache_mode": "force_generic_plan",
	"enable_seqscan":  "off",
	"jit":             "off",
}

// connectionSettings have PostgreSQL notice as soon as we do that the other side is
// gone without a word, and free the locks of a transaction that it left. Behind a
// pooler the session's other side is the pooler, and not ours to judge.
var connectionSettings = map[string]string{
	"tcp_keepalives_idle":     "5",
	"tcp_keepalives_interval": "2",
	"tcp_keepalives_count":    "3",
	"tcp_user_timeout":        "11000",
}

const (
	applicationName  = "application_name"
	defaultIsolation = "default_transaction_isolation"
	defaultReadOnly  = "default_transaction_read_only"
	// sessionKey is a setting that nobody else makes: a session that has our value
	// of it began with our startup packet.
	sessionKey = "libworkflows.session"
	// poolerSign in a URL tells that a pooler is there. Others' users know it.
	poolerSign = "pgbouncer"
	// pooledMark marks a connection.
	pooledMark = "libworkflows.pooled"
	// statementCache has room for every statement that there is.
	statementCache = 512
)

// route is how a URL leads to PostgreSQL: directly, or through a pooler such as
// PgBouncer in transaction mode.
//
// Behind a direct connection is a session that began with our settings and is
// ours until it ends. A pooled connection is lent another session for each
// transaction, so that nothing may be counted on that outlives one: each brings
// its settings along (see enclose), and is planned anew unless the pooler keeps
// prepared statements by their names.
//
// A pooler gives itself away: it refuses our settings, or it drops them, and
// sessionKey with them.
type route struct {
	key string
	// pooled and named hold for connections yet to be made.
	pooled atomic.Bool
	named  atomic.Bool
	// asked is set once somebody finds out whether named is to be.
	asked atomic.Bool
}

// dialer notices within eleven seconds that the other side is gone without a word.
var dialer = &net.Dialer{
	Timeout:         connectTimeout,
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
}

// newRoute completes what was parsed from a URL. Whoever writes there how pgx is
// to send statements does so because of a pooler.
func newRoute(c *pgx.ConnConfig) *route {
	r := &route{key: uuid.NewString()}
	sign := c.RuntimeParams[poolerSign]
	delete(c.RuntimeParams, poolerSign)
	r.pooled.Store(sign == "true" || c.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement || c.StatementCacheCapacity == 0)
	c.DefaultQueryExecMode, c.StatementCacheCapacity, c.DescriptionCacheCapacity = pgx.QueryExecModeCacheStatement, statementCache, statementCache
	c.ConnectTimeout, c.DialFunc = connectTimeout, dialer.DialContext
	maps.Copy(c.RuntimeParams, sessionSettings)
	for name, value := range connectionSettings {
		if _, given := c.RuntimeParams[name]; !given { // whose network it is knows it best
			c.RuntimeParams[name] = value
		}
	}
	c.RuntimeParams[sessionKey] = r.key
	return r
}

// prepare is called before each connection is made.
func (r *route) prepare(_ context.Context, c *pgx.ConnConfig) error {
	if !r.pooled.Load() {
		return nil
	}
	for name := range sessionSettings {
		if name != applicationName { // which every pooler takes
			delete(c.RuntimeParams, name)
		}
	}
	for name, value := range connectionSettings {
		if c.RuntimeParams[name] == value {
			delete(c.RuntimeParams, name)
		}
	}
	delete(c.RuntimeParams, sessionKey)
	if !r.named.Load() {
		c.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	return nil
}

// What verify finds out about a route, so that the connection is made again.
var (
	errForgets = errors.New("the session does not have the settings that it was asked to begin with")
	errNames   = errors.New("the pooler keeps prepared statements")
)

// verify is called when a connection was made, before anybody uses it.
func (r *route) verify(ctx context.Context, conn *pgx.Conn) error {
	if _, direct := conn.Config().RuntimeParams[sessionKey]; direct {
		var key *string
		var ignored *string
		sql := "SELECT pg_catalog.current_setting('" + sessionKey + "', true), " + noTransactionTimeout("false")
		err := conn.QueryRow(ctx, sql, pgx.QueryExecModeExec).Scan(&key, &ignored)
		if err == nil && (key == nil || *key != r.key) {
			err = errForgets
		}
		return err
	}
	conn.PgConn().CustomData()[pooledMark] = true
	if r.asked.Swap(true) {
		return nil
	}
	named, err := keepsNames(ctx, conn.PgConn())
	switch {
	case err != nil:
		r.asked.Store(false)
		return err
	case named:
		r.named.Store(true)
		return errNames
	}
	return nil
}

// noTransactionTimeout lifts a limit that PostgreSQL 17 has and older ones would refuse to
// hear of in a startup packet. Ours is by the statement.
func noTransactionTimeout(local string) string {
	return "CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL THEN pg_catalog.set_config('transaction_timeout', '0', " + local + ") END"
}

func isPooled(conn *pgx.Conn) bool { return conn.PgConn().CustomData()[pooledMark] != nil }

// connecting makes a connection, and makes it again if the attempt has taught
// something about the route.
func connecting[C any](r *route, connect func() (C, error)) (C, error) {
	for {
		known := r.pooled.Load()
		c, err := connect()
		switch {
		case errors.Is(err, errNames):
		case err != nil && !known && isPoolers(err):
			slog.Debug("a pooler stands before PostgreSQL: settings travel with each transaction", "because", err)
			r.pooled.Store(true)
		default:
			return c, err
		}
	}
}

// isPoolers says whether a connection failed as it does at a pooler. A startup
// parameter that it does not know is a violation of the protocol to PgBouncer,
// and to the RDS Proxy a feature that it lacks.
func isPoolers(err error) bool {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return errors.Is(err, errForgets)
	}
	return server.Code == "08P01" || server.Code == "0A000"
}

// connect makes a connection outside a pool.
func (r *route) connect(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	return connecting(r, func() (*pgx.Conn, error) {
		settings := config.Copy()
		_ = r.prepare(ctx, settings)
		conn, err := pgx.ConnectConfig(ctx, settings)
		if err != nil {
			return nil, err
		}
		if err := r.verify(ctx, conn); err != nil {
			_ = conn.Close(ctx)
			return nil, err
		}
		return conn, nil
	})
}

// keepsNames says whether a pooler keeps prepared statements for each of its
// clients, as PgBouncer does since 1.21: it must then give them names of its own,
// and PostgreSQL knows none by the name that we gave. All of it is one
// transaction and so in one session, where nothing is left.
func keepsNames(ctx context.Context, conn *pgconn.PgConn) (bool, error) {
	name := "libworkflows_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	p := conn.StartPipeline(ctx)
	p.SendPrepare(name, "SELECT FROM pg_catalog.pg_prepared_statements WHERE name OPERATOR(pg_catalog.=) '"+name+"'", nil)
	p.SendQueryPrepared(name, nil, nil, nil)
	p.SendDeallocate(name)
	if err := p.Sync(); err != nil {
		return false, errors.Join(err, p.Close())
	}
	named := false
	for {
		result, err := p.GetResults()
		switch x := result.(type) {
		case *pgconn.ResultReader:
			found := x.Read()
			named, err = len(found.Rows) == 0, found.Err
		case *pgconn.PipelineSync:
			return named, p.Close()
		}
		if err != nil {
			return false, errors.Join(fmt.Errorf("asking whether the pooler keeps prepared statements: %w", err), p.Close())
		}
	}
}

// localSettings makes ours hold to the end of the transaction and not a moment
// longer: then the session is somebody else's. The search path is his, too, until
// this has been run.
func localSettings() string {
	calls := []string{noTransactionTimeout("true")}
	for _, name := range slices.Sorted(maps.Keys(sessionSettings)) {
		if name != applicationName && name != defaultIsolation && name != defaultReadOnly { // BEGIN says these
			calls = append(calls, "pg_catalog.set_config('"+name+"', '"+sessionSettings[name]+"', true)")
		}
	}
	return "SELECT " + strings.Join(calls, ", ")
}
