package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/libworkflows/libworkflows/core/fault"
)

const (
	connectTimeout = 10 * time.Second
	defaultPool    = 10
	// controlPool serves heartbeats, ticks and claims, so that a busy pool never costs a lease.
	controlPool = 3
)

// Config says where the database is.
type Config struct {
	URL      string
	Schema   string
	PoolSize int
}

// Store is one schema of one database.
type Store struct {
	schema  string
	config  *pgxpool.Config
	pool    *pgxpool.Pool
	control *pgxpool.Pool
	texts   map[*statement]string
}

// schemaName keeps names plain: they are quoted anyway, but a schema is also
// part of a notification channel and of what people type.
var schemaName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,47}$`)

// Open checks the configuration and reaches the database once.
func Open(ctx context.Context, config Config) (*Store, error) {
	if !schemaName.MatchString(config.Schema) {
		return nil, fault.New(fault.InvalidConfig, fault.Details{"schema": config.Schema},
			"%q cannot be the schema's name; use a letter and up to 47 letters, digits and underscores", config.Schema)
	}
	settings, err := poolConfig(config)
	if err != nil {
		return nil, err
	}
	s := &Store{schema: config.Schema, config: settings, texts: render(config.Schema)}
	if s.pool, err = pgxpool.NewWithConfig(ctx, settings); err != nil {
		return nil, s.classify(err)
	}
	control := settings.Copy()
	control.MaxConns = controlPool
	if s.control, err = pgxpool.NewWithConfig(ctx, control); err != nil {
		s.pool.Close()
		return nil, s.classify(err)
	}
	if err := s.checkServer(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends every connection.
func (s *Store) Close() {
	s.control.Close()
	s.pool.Close()
}

// Schema answers the schema's name.
func (s *Store) Schema() string { return s.schema }

func poolConfig(config Config) (*pgxpool.Config, error) {
	settings, err := pgxpool.ParseConfig(config.URL)
	if err != nil {
		// The parser's text repeats parts of the URL; it does not leave.
		return nil, fault.New(fault.InvalidConfig, nil,
			"the database URL cannot be read; it should look like postgresql://user:password@host:5432/database").Because(err)
	}
	settings.MaxConns = defaultPool
	if config.PoolSize > 0 {
		settings.MaxConns = int32(config.PoolSize)
	}
	settings.MaxConnIdleTime = 5 * time.Minute
	settings.ConnConfig.ConnectTimeout = connectTimeout
	settings.ConnConfig.DialFunc = dialer.DialContext
	for name, value := range sessionSettings {
		settings.ConnConfig.RuntimeParams[name] = value
	}
	return settings, nil
}

// dialer notices within some ten seconds that the other side is gone without a word.
var dialer = &net.Dialer{
	Timeout:         connectTimeout,
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
}

// sessionSettings hold whatever the role's or the database's defaults are.
var sessionSettings = map[string]string{
	"application_name":                    "libworkflows",
	"default_transaction_isolation":       "read committed",
	"synchronous_commit":                  "on",
	"search_path":                         "pg_catalog",
	"TimeZone":                            "UTC",
	"lock_timeout":                        "1000",
	"statement_timeout":                   "60000",
	"idle_in_transaction_session_timeout": "60000",
	"client_min_messages":                 "warning",
	// Planning the larger statements takes several times as long as running them.
	// A plan that is kept was made when the tables were still empty, so none may
	// depend on their size: every statement has an index that serves it.
	"plan_cache_mode": "force_generic_plan",
	"enable_seqscan":  "off",
	"jit":             "off",
}

var serverSQL = define("server", `
SELECT current_setting('server_version_num')::int, current_setting('server_encoding')`)

const oldestServer = 140000

func (s *Store) checkServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout+5*time.Second)
	defer cancel()
	var version int
	var encoding string
	if err := s.pool.QueryRow(ctx, s.texts[serverSQL]).Scan(&version, &encoding); err != nil {
		return s.classify(err)
	}
	if version < oldestServer {
		return fault.New(fault.InvalidConfig, fault.Details{"server_version": version},
			"PostgreSQL %d is too old; libworkflows needs 14 or newer", version/10000)
	}
	if encoding != "UTF8" {
		return fault.New(fault.InvalidConfig, fault.Details{"encoding": encoding},
			"the database's encoding is %s; libworkflows needs UTF8 (create it with ENCODING 'UTF8' TEMPLATE template0)", encoding)
	}
	return nil
}

// query runs one statement and hands each row to scan.
func (s *Store) query(ctx context.Context, stmt *statement, scan func(pgx.CollectableRow) error, args ...any) error {
	return s.queryOn(ctx, s.pool, stmt, scan, args...)
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func (s *Store) queryOn(ctx context.Context, on querier, stmt *statement, scan func(pgx.CollectableRow) error, args ...any) error {
	rows, err := on.Query(ctx, s.texts[stmt], plain(args)...)
	if err == nil {
		err = eachRow(rows, scan)
	}
	if err != nil {
		return s.classify(fmt.Errorf("%s: %w", stmt.name, err))
	}
	return nil
}

func eachRow(rows pgx.Rows, scan func(pgx.CollectableRow) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func isNoRows(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

func quoteSchema(schema string) string { return pgx.Identifier{schema}.Sanitize() }
