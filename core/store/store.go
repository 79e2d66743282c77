package store

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"strings"
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
	route   *route
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
	s := &Store{schema: config.Schema, config: settings, route: newRoute(settings.ConnConfig), texts: render(config.Schema)}
	settings.BeforeConnect, settings.AfterConnect = s.route.prepare, s.route.verify
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

// Pooled says whether a pooler stands before PostgreSQL, and whether prepared
// statements are kept nevertheless.
func (s *Store) Pooled() (pooled, prepared bool) {
	pooled = s.route.pooled.Load()
	return pooled, !pooled || s.route.named.Load()
}

// Schema answers the schema's name.
func (s *Store) Schema() string { return s.schema }

func poolConfig(config Config) (*pgxpool.Config, error) {
	settings, err := pgxpool.ParseConfig(config.URL)
	if err == nil && isTorn(config.URL) {
		err = errTorn
	}
	if err != nil {
		// The parser's text repeats parts of the URL; it does not leave.
		return nil, fault.New(fault.InvalidConfig, nil,
			"the database URL cannot be read; it should look like postgresql://user:password@host:5432/database, and in a password / is %%2F, ? is %%3F, # is %%23").Because(err)
	}
	settings.MaxConns = defaultPool
	if config.PoolSize > 0 {
		settings.MaxConns = int32(config.PoolSize)
	}
	settings.MaxConnIdleTime = 5 * time.Minute
	return settings, nil
}

var errTorn = errors.New("the password has a character in it that ends the host")

// isTorn says whether a URL was cut in the middle of its password: what is left of the
// first / or ? or # would be taken for a host, and shown as one.
func isTorn(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.User != nil {
		return false
	}
	key, _, _ := strings.Cut(u.RawQuery, "=")
	return strings.Contains(u.Path+u.Fragment+key, "@")
}

var serverSQL = define("server", `
SELECT current_setting('server_version_num')::int, current_setting('server_encoding')`)

const oldestServer = 140000

func (s *Store) checkServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout+5*time.Second)
	defer cancel()
	var version int
	var encoding string
	err := s.query(ctx, serverSQL, func(row pgx.CollectableRow) error { return row.Scan(&version, &encoding) })
	if err != nil {
		return err
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

// acquire takes a connection out of a pool.
func (s *Store) acquire(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Conn, error) {
	return connecting(s.route, func() (*pgxpool.Conn, error) { return pool.Acquire(ctx) })
}

// query runs one statement, which may be run twice, and hands each row to scan.
func (s *Store) query(ctx context.Context, stmt *statement, scan func(pgx.CollectableRow) error, args ...any) error {
	rows := 0
	counting := func(row pgx.CollectableRow) error {
		rows++
		return scan(row)
	}
	return twice(ctx, func() error { return s.queryOn(ctx, s.pool, stmt, counting, args...) }, func() bool { return rows == 0 })
}

// twice does once more what a dead connection has kept from being done: one that died in
// the pool tells so only when it is used.
func twice(ctx context.Context, do func() error, may func() bool) error {
	err := do()
	if err != nil && fault.CodeOf(err) == fault.DatabaseUnavailable && ctx.Err() == nil && may() {
		return do()
	}
	return err
}

func always() bool { return true }

func (s *Store) queryOn(ctx context.Context, pool *pgxpool.Pool, stmt *statement, scan func(pgx.CollectableRow) error, args ...any) error {
	p := s.pipeline()
	p.add(stmt, scan, args...)
	return p.run(ctx, pool)
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

func quoteSchema(schema string) string { return pgx.Identifier{schema}.Sanitize() }
