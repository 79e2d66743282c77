package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/migrations"
)

const (
	migrationsTable = "schema_migrations"
	// migrateTimeout bounds the wait for another process that migrates.
	migrateTimeout = 2 * time.Minute
)

var versionSQL = define("version", `SELECT version, dirty FROM workflows.`+migrationsTable)

// Version answers the schema's version, 0 when it was never migrated.
func (s *Store) Version(ctx context.Context) (int, error) {
	var version int
	var dirty bool
	err := s.pool.QueryRow(ctx, s.texts[versionSQL]).Scan(&version, &dirty)
	switch classified := s.classify(err); {
	case isNoRows(err), fault.CodeOf(classified) == fault.SchemaMissing:
		return 0, nil
	case err != nil:
		return 0, classified
	case dirty:
		return 0, nil // a migration was cut off; it is run again
	}
	return version, nil
}

// CheckVersion refuses a schema that this library was not written for.
func (s *Store) CheckVersion(ctx context.Context) error {
	version, err := s.Version(ctx)
	details := fault.Details{"schema": s.schema, "version": version, "library": model.SchemaVersion}
	switch {
	case err != nil:
		return err
	case version == 0:
		return fault.New(fault.SchemaMissing, details, "schema %q has no libworkflows tables; run: workflows migrate up", s.schema)
	case version < model.SchemaVersion:
		return fault.New(fault.SchemaOutdated, details,
			"schema %q is at version %d and this library needs %d; run: workflows migrate up", s.schema, version, model.SchemaVersion)
	case version > model.SchemaVersion:
		return fault.New(fault.SchemaTooNew, details,
			"schema %q is at version %d and this library knows only %d; update libworkflows", s.schema, version, model.SchemaVersion)
	}
	return nil
}

// MigrateUp brings the schema to this library's version. Many processes may do
// so at once: one works, the others wait.
func (s *Store) MigrateUp(ctx context.Context) error {
	if version, err := s.Version(ctx); err != nil || version == model.SchemaVersion {
		return err
	}
	return s.migrating(ctx, func(m *migrate.Migrate) error { return m.Up() })
}

// MigrateDown removes everything.
func (s *Store) MigrateDown(ctx context.Context) error {
	if err := s.migrating(ctx, func(m *migrate.Migrate) error { return m.Down() }); err != nil {
		return err
	}
	if _, err := s.pool.Exec(ctx, "DROP TABLE IF EXISTS "+quoteSchema(s.schema)+"."+migrationsTable); err != nil {
		return s.classify(err)
	}
	var server *pgconn.PgError
	_, err := s.pool.Exec(ctx, "DROP SCHEMA IF EXISTS "+quoteSchema(s.schema))
	if errors.As(err, &server) && (server.Code == "2BP01" || server.Code == "42501") {
		return nil // somebody else's tables are in it, or it is not ours to drop
	}
	return s.classify(err)
}

// migrating runs a migration under a lock of our own, which also covers the
// creation of the schema.
func (s *Store) migrating(ctx context.Context, run func(*migrate.Migrate) error) error {
	ctx, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	settings := s.config.ConnConfig.Copy()
	settings.RuntimeParams["statement_timeout"] = "0"
	settings.RuntimeParams["lock_timeout"] = "0" // the lock of another migration is waited for, by ctx
	db := stdlib.OpenDB(*settings)
	defer func() { _ = db.Close() }()
	lock, err := db.Conn(ctx)
	if err != nil {
		return s.classify(err)
	}
	defer func() { _ = lock.Close() }()
	if err := s.prepare(ctx, lock); err != nil {
		return s.classify(err)
	}
	m, err := s.migrator(db)
	if err != nil {
		return s.classify(err)
	}
	if err := undirty(ctx, lock, m, s.schema); err != nil {
		return s.classify(err)
	}
	if err := run(m); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return s.classify(migrationCause(err))
	}
	return nil
}

// prepare takes the lock, which ends with the connection, and makes the schema.
func (s *Store) prepare(ctx context.Context, lock *sql.Conn) error {
	if _, err := lock.ExecContext(ctx, `SELECT pg_advisory_lock(hashtextextended('libworkflows migrate ' || $1, 0))`, s.schema); err != nil {
		return err
	}
	var exists bool
	if err := lock.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)`, s.schema).Scan(&exists); err != nil || exists {
		return err
	}
	_, err := lock.ExecContext(ctx, "CREATE SCHEMA "+quoteSchema(s.schema))
	return err
}

func (s *Store) migrator(db *sql.DB) (*migrate.Migrate, error) {
	driver, err := migratepgx.WithInstance(db, &migratepgx.Config{SchemaName: s.schema, MigrationsTable: migrationsTable})
	if err != nil {
		return nil, err
	}
	files, err := iofs.New(migrations.Files, ".")
	if err != nil {
		return nil, err
	}
	return migrate.NewWithInstance("embedded", schemaSource{files, s.schema}, s.schema, driver)
}

// schemaSource puts the configured schema into the files, and ends each with
// the record that it was applied. The record commits with the migration itself,
// so a kill in between never leaves anybody to guess.
type schemaSource struct {
	source.Driver
	schema string
}

func (s schemaSource) ReadUp(version uint) (io.ReadCloser, string, error) {
	file, name, err := s.Driver.ReadUp(version)
	return s.rewrite(file, name, err, version)
}

func (s schemaSource) ReadDown(version uint) (io.ReadCloser, string, error) {
	file, name, err := s.Driver.ReadDown(version)
	return s.rewrite(file, name, err, version-1)
}

func (s schemaSource) rewrite(file io.ReadCloser, name string, err error, applied uint) (io.ReadCloser, string, error) {
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, "", err
	}
	record := fmt.Sprintf("\nCOMMENT ON TABLE workflows.%s IS 'applied %d';\n", migrationsTable, applied)
	rewritten := strings.ReplaceAll(string(text)+record, "workflows.", quoteSchema(s.schema)+".")
	return io.NopCloser(bytes.NewReader([]byte(rewritten))), name, nil
}

// undirty finds out how far a migration came that was cut off: it is a single
// transaction, so it was applied whole, with its record, or not at all.
func undirty(ctx context.Context, conn *sql.Conn, m *migrate.Migrate, schema string) error {
	_, dirty, err := m.Version()
	if errors.Is(err, migrate.ErrNilVersion) || (err == nil && !dirty) {
		return nil
	}
	if err != nil {
		return err
	}
	var comment sql.NullString
	err = conn.QueryRowContext(ctx, `
SELECT obj_description(c.oid, 'pg_class') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2`, schema, migrationsTable).Scan(&comment)
	if err != nil {
		return err
	}
	applied := 0
	if _, err := fmt.Sscanf(comment.String, "applied %d", &applied); err != nil || applied == 0 {
		return m.Force(database.NilVersion)
	}
	return m.Force(applied)
}

// migrationCause unwraps golang-migrate's error, so that it is classified by
// what PostgreSQL said.
func migrationCause(err error) error {
	var failed database.Error
	var missing *fs.PathError
	switch {
	case errors.As(err, &failed) && failed.OrigErr != nil:
		return failed.OrigErr
	case errors.As(err, &missing): // the schema's version has no file here
		return fault.New(fault.SchemaTooNew, nil, "the schema is newer than this library, which cannot migrate it; update libworkflows").Because(err)
	}
	return err
}
