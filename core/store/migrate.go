package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/source"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/libworkflows/libworkflows/core/failpoint"
	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/migrations"
)

const (
	migrationsTable = "schema_migrations"
	// migrateTimeout bounds the wait for another process that migrates.
	migrateTimeout = 2 * time.Minute
	migratePoll    = 100 * time.Millisecond
	// migrateLockTimeout bounds the wait for a table that is in use, because everybody
	// who wants it next waits behind us: for half as long as engines wait for a lock.
	migrateLockTimeout = "500ms"
)

var versionSQL = define("version", `SELECT version FROM workflows.`+migrationsTable+` WHERE NOT dirty`)

// Version answers the schema's version, 0 when it was never migrated.
func (s *Store) Version(ctx context.Context) (int, error) {
	var version int
	err := s.query(ctx, versionSQL, func(row pgx.CollectableRow) error { return row.Scan(&version) })
	if fault.CodeOf(err) == fault.SchemaMissing {
		return 0, nil
	}
	return version, err
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
	return s.migrating(ctx, "", func(d *migration, m *migrate.Migrate) error {
		if err := m.Up(); err != nil {
			return err
		}
		prefix, err := d.prefixInUse()
		if err != nil || prefix == "" {
			return err
		}
		return d.grantRoles(prefix)
	})
}

// MigrateRoles does so, too, and gives each role with this prefix its privileges. It
// makes those that there are not.
func (s *Store) MigrateRoles(ctx context.Context, prefix string) error {
	if !schemaName.MatchString(prefix) {
		return fault.New(fault.InvalidRequest, fault.Details{"path": "roles"},
			"%q cannot begin the names of roles; use a letter and up to 47 letters, digits and underscores", prefix)
	}
	if s.schema == "public" {
		return fault.New(fault.InvalidRequest, fault.Details{"path": "roles"}, "schema public is not ours to give to a role; use a schema of its own")
	}
	return s.migrating(ctx, prefix, func(d *migration, m *migrate.Migrate) error {
		if err := m.Up(); err != nil && !errors.Is(err, migrate.ErrNoChange) {
			return err
		}
		return d.grantRoles(prefix)
	})
}

// MigrateDown removes everything.
func (s *Store) MigrateDown(ctx context.Context) error {
	return s.migrating(ctx, "", func(d *migration, m *migrate.Migrate) error {
		if err := m.Down(); err != nil && !errors.Is(err, migrate.ErrNoChange) {
			return err
		}
		return d.removeSchema()
	})
}

// migrating runs a migration alone. One that finds another under way asks again
// until that is done: waiting in the database would keep a pooler's session. One that
// finds a table in use, as by a dump or a long report, lets the others go on before it
// asks again, and so does one that PostgreSQL ended because of a deadlock with them. It
// is done by roles with this prefix, unless that is "".
func (s *Store) migrating(ctx context.Context, prefix string, run func(*migration, *migrate.Migrate) error) error {
	ctx, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	inUse := false
	for waited := false; ; waited = true {
		alone, err := s.migrateAlone(ctx, prefix, run)
		switch {
		case waited && ctx.Err() != nil && inUse && err != nil:
			return fault.New(fault.Timeout, fault.Details{"schema": s.schema}, "transactions have kept tables of schema %q in use for too long; pg_locks tells which", s.schema).Because(ctx.Err())
		case waited && ctx.Err() != nil && !alone:
			return fault.New(fault.Timeout, fault.Details{"schema": s.schema}, "another process has been migrating schema %q for too long; see whether it hangs", s.schema).Because(ctx.Err())
		case IsLockTimeout(err), isDeadlock(err):
			inUse = true
		case alone || err != nil:
			return s.classify(s.migrationCause(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(migratePoll):
		}
	}
}

// migrateAlone runs a migration in one transaction, which also covers the
// creation of the schema, if it gets the lock.
func (s *Store) migrateAlone(ctx context.Context, prefix string, run func(*migration, *migrate.Migrate) error) (alone bool, err error) {
	conn, err := s.acquire(ctx, s.pool)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // no effect after the commit
	d := &migration{ctx: ctx, tx: tx, schema: s.schema}
	err = at(pointBegin, func() (err error) {
		alone, err = d.begin(s.texts[settingsSQL])
		return err
	})
	if err != nil || !alone {
		return alone, err
	}
	if err := d.prepare(prefix); err != nil {
		return alone, err
	}
	files, err := iofs.New(migrations.Files, ".")
	if err != nil {
		return alone, err
	}
	m, err := migrate.NewWithInstance("embedded", schemaSource{files, s.schema}, s.schema, d)
	if err != nil {
		return alone, err
	}
	if err := run(d, m); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return alone, err
	}
	return alone, at(pointCommit, func() error { return tx.Commit(ctx) })
}

// Parts of a migration before and after which a test build may fail.
const (
	pointBegin  = "migrate_begin"
	pointFile   = "migrate_file"
	pointCommit = "migrate_commit"
)

var migrationPoints = []string{pointBegin, pointFile, pointCommit}

func at(point string, do func() error) error {
	if err := failpoint.Hit(failpoint.Before, point); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return failpoint.Hit(failpoint.After, point)
}

// schemaSource puts the configured schema into the files.
type schemaSource struct {
	source.Driver
	schema string
}

func (s schemaSource) ReadUp(version uint) (io.ReadCloser, string, error) {
	return s.rewrite(s.Driver.ReadUp(version))
}

func (s schemaSource) ReadDown(version uint) (io.ReadCloser, string, error) {
	return s.rewrite(s.Driver.ReadDown(version))
}

func (s schemaSource) rewrite(file io.ReadCloser, name string, err error) (io.ReadCloser, string, error) {
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, "", err
	}
	rewritten := strings.ReplaceAll(string(text), "workflows.", quoteSchema(s.schema)+".")
	return io.NopCloser(strings.NewReader(rewritten)), name, nil
}

// migration is golang-migrate's database: one transaction, which is the lock as
// well and the only note of how far it came. Its own driver holds a lock for the
// session, which a pooler would lend to somebody else, and notes "dirty" in
// transactions before and after.
type migration struct {
	ctx    context.Context
	tx     pgx.Tx
	schema string
}

// begin takes the lock, if nobody has it.
func (d *migration) begin(settings string) (alone bool, err error) {
	for _, sql := range []string{settings, `SET LOCAL lock_timeout = 0`, `SET LOCAL statement_timeout = 0`} {
		if _, err := d.tx.Exec(d.ctx, sql); err != nil {
			return false, err
		}
	}
	const patience = `SELECT set_config('lock_timeout', $2, true) WHERE to_regclass($1 || '.executions') IS NOT NULL`
	if _, err := d.tx.Exec(d.ctx, patience, quoteSchema(d.schema), migrateLockTimeout); err != nil {
		return false, err
	}
	const lock = `SELECT pg_try_advisory_xact_lock(hashtextextended('libworkflows migrate ' || $1, 0))`
	err = d.tx.QueryRow(d.ctx, lock, d.schema).Scan(&alone)
	return alone, err
}

// prepare makes what a migration needs: schema, its own table, and roles if they are wanted.
func (d *migration) prepare(prefix string) error {
	const missing = `
SELECT NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1),
    NOT EXISTS (SELECT FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1 AND relname = $2)`
	var schema, table bool
	if err := d.tx.QueryRow(d.ctx, missing, d.schema, migrationsTable).Scan(&schema, &table); err != nil {
		return err
	}
	if schema {
		if _, err := d.tx.Exec(d.ctx, "CREATE SCHEMA "+quoteSchema(d.schema)); err != nil {
			return err
		}
	}
	if table {
		if _, err := d.tx.Exec(d.ctx, "CREATE TABLE "+d.table()+" (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)"); err != nil {
			return err
		}
	}
	if prefix != "" {
		if err := d.makeRoles(prefix); err != nil {
			return err
		}
	}
	return d.becomeOwner()
}

func (d *migration) table() string { return quoteSchema(d.schema) + "." + migrationsTable }

// removeSchema leaves a schema that has somebody else's tables, or is not ours to drop.
func (d *migration) removeSchema() error {
	if _, err := d.tx.Exec(d.ctx, "DROP TABLE "+d.table()); err != nil {
		return err
	}
	attempt, err := d.tx.Begin(d.ctx)
	if err != nil {
		return err
	}
	_, err = attempt.Exec(d.ctx, "DROP SCHEMA "+quoteSchema(d.schema))
	var server *pgconn.PgError
	if errors.As(err, &server) && (server.Code == "2BP01" || server.Code == "42501") {
		return attempt.Rollback(d.ctx)
	}
	return errors.Join(err, attempt.Commit(d.ctx))
}

func (d *migration) Run(file io.Reader) error {
	text, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	return at(pointFile, func() error {
		_, err := d.tx.Exec(d.ctx, string(text))
		return err
	})
}

// SetVersion is called before and after each file; only what comes after it counts.
func (d *migration) SetVersion(version int, dirty bool) error {
	if dirty {
		return nil
	}
	if _, err := d.tx.Exec(d.ctx, "DELETE FROM "+d.table()); err != nil || version == database.NilVersion {
		return err
	}
	_, err := d.tx.Exec(d.ctx, "INSERT INTO "+d.table()+" VALUES ($1, false)", version)
	return err
}

func (d *migration) Version() (version int, dirty bool, err error) {
	err = d.tx.QueryRow(d.ctx, "SELECT version, dirty FROM "+d.table()).Scan(&version, &dirty)
	if errors.Is(err, pgx.ErrNoRows) {
		return database.NilVersion, false, nil
	}
	return version, dirty, err
}

// The rest is what golang-migrate asks of a database, and the transaction has done.

func (d *migration) Open(string) (database.Driver, error) { return d, nil }
func (d *migration) Close() error                         { return nil }
func (d *migration) Lock() error                          { return nil }
func (d *migration) Unlock() error                        { return nil }
func (d *migration) Drop() error                          { return errors.ErrUnsupported }

// migrationCause says what golang-migrate means.
func (s *Store) migrationCause(err error) error {
	var missing *fs.PathError
	var dirty migrate.ErrDirty
	switch {
	case errors.As(err, &missing): // the schema's version has no file here
		return fault.New(fault.SchemaTooNew, nil, "the schema is newer than this library, which cannot migrate it; update libworkflows").Because(err)
	case errors.As(err, &dirty): // not by us
		return fault.New(fault.InvalidState, fault.Details{"schema": s.schema, "version": dirty.Version},
			"somebody else's migration of schema %q to version %d was cut off; mend the tables and set %s.dirty to false", s.schema, dirty.Version, migrationsTable).Because(err)
	}
	return err
}
