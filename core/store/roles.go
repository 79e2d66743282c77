package store

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/libworkflows/libworkflows/core/fault"
)

// The group roles that a migration makes if it is asked to. Nobody logs in as one:
// who is to have its privileges is made a member. Their names begin with a prefix.
const (
	ownerRole  = "_owner"  // owns the schema and the tables
	workerRole = "_worker" // runs functions, and does all that a client does
	clientRole = "_client" // starts, signals, cancels, retries, waits, reads
	readerRole = "_reader" // reads
)

// grant is what a role may do with a table.
type grant struct{ table, privileges string }

// Columns that change. The others are written once, when the row is made. Results are
// kept from clients: what a function answered is the word of who ran it.
const (
	changedByClients = `awaited, cancel_requested_at, crashes, deadline_at, error, failed_sequence, failures, finished_at, history_length,
    parked, reported, run, run_at, status, suspended_position`
	changedByWorkers = changedByClients + `,
    alone, args, attempts, epoch, kwargs, language, progress, releases, result, started_at, state, token, worker`
)

// grants are the least with which every statement of a role's operations can be run.
// docs/privileges.md has them by statement.
var grants = map[string][]grant{
	workerRole: {
		{"executions", "SELECT, INSERT, UPDATE (" + changedByWorkers + ")"},
		{"history", "SELECT, INSERT, UPDATE (payload)"},
		{"timers", "SELECT, INSERT, DELETE, UPDATE (due_at, run)"},
		{"workers", "SELECT, INSERT, DELETE, UPDATE (heartbeat_at, status)"},
		{migrationsTable, "SELECT"},
	},
	clientRole: {
		{"executions", "SELECT, INSERT, UPDATE (" + changedByClients + ")"},
		{"history", "SELECT, INSERT"},
		{"timers", "SELECT, INSERT, DELETE"},
		{"workers", "SELECT"},
		{migrationsTable, "SELECT"},
	},
	readerRole: {
		{"executions", "SELECT"},
		{"history", "SELECT"},
		{"timers", "SELECT"},
		{"workers", "SELECT"},
		{migrationsTable, "SELECT"},
	},
}

// granted are the roles that are granted something, the mightiest first.
var granted = []string{workerRole, clientRole, readerRole}

// grantSQL gives one role what grants say, and takes from it what they do not.
func grantSQL(schema, prefix, role string) (sqls []string) {
	quoted, name := quoteSchema(schema), pgx.Identifier{prefix + role}.Sanitize()
	sqls = append(sqls, "REVOKE ALL ON SCHEMA "+quoted+" FROM "+name, "GRANT USAGE ON SCHEMA "+quoted+" TO "+name)
	for _, g := range grants[role] {
		table := quoted + "." + g.table
		sqls = append(sqls, "REVOKE ALL ON "+table+" FROM "+name, "GRANT "+g.privileges+" ON "+table+" TO "+name)
	}
	return sqls
}

// grantRoles gives the roles with this prefix their privileges.
func (d *migration) grantRoles(prefix string) error {
	protected, err := d.historyIsProtected()
	if err != nil {
		return err
	}
	var sqls []string
	if !protected {
		sqls = historyPolicies(d.schema)
	}
	for _, role := range granted {
		sqls = append(sqls, grantSQL(d.schema, prefix, role)...)
	}
	_, err = d.tx.Exec(d.ctx, strings.Join(sqls, ";\n"))
	return err
}

// historyPolicies keep what is recorded from a worker, who may write payloads only because a
// claim puts another language into the start of a run that never began. Its owner, who has no
// use for policies, is not held to them.
func historyPolicies(schema string) []string {
	history := quoteSchema(schema) + ".history"
	sqls := []string{"ALTER TABLE " + history + " ENABLE ROW LEVEL SECURITY"}
	for _, policy := range [][2]string{
		{"history_is_read", "FOR SELECT USING (true)"},
		{"history_is_added_to", "FOR INSERT WITH CHECK (true)"},
		{"history_is_deleted", "FOR DELETE USING (true)"}, // by whom the owner grants it
		{keepsHistory, "FOR UPDATE USING (true) WITH CHECK (type = 'started')"},
	} {
		sqls = append(sqls, "DROP POLICY IF EXISTS "+policy[0]+" ON "+history, "CREATE POLICY "+policy[0]+" ON "+history+" "+policy[1])
	}
	return sqls
}

const keepsHistory = "history_is_kept"

// historyIsProtected spares a table in use the locks of a second time.
func (d *migration) historyIsProtected() (is bool, err error) {
	const sql = `
SELECT EXISTS (SELECT FROM pg_policies WHERE schemaname = $1 AND tablename = 'history' AND policyname = $2)
    AND EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1 AND relname = 'history' AND relrowsecurity)`
	err = d.tx.QueryRow(d.ctx, sql, d.schema, keepsHistory).Scan(&is)
	return is, err
}

// makeRoles makes those that do not exist yet, and the owner the owner of everything.
func (d *migration) makeRoles(prefix string) error {
	for _, role := range append([]string{ownerRole}, granted...) {
		if err := d.makeRole(prefix + role); err != nil {
			return err
		}
	}
	if err := d.join(prefix + ownerRole); err != nil {
		return err
	}
	return d.giveTo(prefix + ownerRole)
}

// makeRole leaves a role that is there as it is.
func (d *migration) makeRole(name string) error {
	var exists bool
	if err := d.tx.QueryRow(d.ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", name).Scan(&exists); err != nil || exists {
		return err
	}
	sql := "CREATE ROLE " + pgx.Identifier{name}.Sanitize() + " NOLOGIN"
	err := d.attempt(sql, "42710", "23505") // somebody else made it: roles belong to all databases, our lock to this one
	var server *pgconn.PgError
	if errors.As(err, &server) && server.Code == "42501" {
		return fault.New(fault.PermissionDenied, fault.Details{"schema": d.schema, "role": name},
			"role %q does not exist, and the user who migrates may not create it; migrate as one with CREATEROLE, or let somebody run: %s", name, sql).Because(err)
	}
	return err
}

// join makes the user who migrates a member of the owner, unless he is one: later
// migrations are the owner's.
func (d *migration) join(owner string) error {
	var member bool
	if err := d.tx.QueryRow(d.ctx, "SELECT pg_has_role(oid, "+canBecome+") FROM pg_roles WHERE rolname = $1", owner).Scan(&member); err != nil || member {
		return err
	}
	return d.attempt("GRANT "+pgx.Identifier{owner}.Sanitize()+" TO CURRENT_USER", "23505")
}

// canBecome: since PostgreSQL 16 a member may be one without the right to SET ROLE.
const canBecome = "CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END"

// giveTo changes the owner of the schema and of our tables, as far as it is another.
func (d *migration) giveTo(owner string) error {
	const others = `
SELECT 'SCHEMA ' || quote_ident(nspname) FROM pg_namespace WHERE nspname = $1 AND nspowner <> (SELECT oid FROM pg_roles WHERE rolname = $2)
UNION ALL
SELECT 'TABLE ' || quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname = $1 AND relname = ANY ($3) AND relowner <> (SELECT oid FROM pg_roles WHERE rolname = $2)`
	rows, err := d.tx.Query(d.ctx, others, d.schema, owner, ourTables())
	if err != nil {
		return err
	}
	things, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, thing := range things {
		if _, err := d.tx.Exec(d.ctx, "ALTER "+thing+" OWNER TO "+pgx.Identifier{owner}.Sanitize()); err != nil {
			return err
		}
	}
	return nil
}

func ourTables() (names []string) {
	for _, g := range grants[readerRole] {
		names = append(names, g.table)
	}
	return names
}

// becomeOwner lets the rest of the migration be done by who owns the tables, if the
// user may act for him: what it makes is then his as well.
func (d *migration) becomeOwner() error {
	const sql = `
SELECT pg_get_userbyid(relowner) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname = $1 AND relname = $2 AND relowner <> current_user::regrole AND pg_has_role(relowner, ` + canBecome + `)`
	var owner string
	err := d.tx.QueryRow(d.ctx, sql, d.schema, migrationsTable).Scan(&owner)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err == nil {
		_, err = d.tx.Exec(d.ctx, "SET LOCAL ROLE "+pgx.Identifier{owner}.Sanitize())
	}
	return err
}

// prefixInUse answers the prefix of the roles that an earlier migration has made, if
// one has: tables that came since need their grants.
func (d *migration) prefixInUse() (prefix string, err error) {
	const sql = `
SELECT coalesce(max(o.rolname), '') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles o ON o.oid = c.relowner
WHERE n.nspname = $1 AND c.relname = $2 AND o.oid = n.nspowner AND EXISTS (
    SELECT FROM pg_roles w WHERE w.rolname = regexp_replace(o.rolname, $3 || '$', $4) AND w.rolname <> o.rolname AND has_schema_privilege(w.oid, n.oid, 'USAGE'))`
	err = d.tx.QueryRow(d.ctx, sql, d.schema, migrationsTable, ownerRole, workerRole).Scan(&prefix)
	return strings.TrimSuffix(prefix, ownerRole), err
}

// attempt runs what may fail in these ways without harm.
func (d *migration) attempt(sql string, harmless ...string) error {
	attempt, err := d.tx.Begin(d.ctx)
	if err != nil {
		return err
	}
	_, err = attempt.Exec(d.ctx, sql)
	var server *pgconn.PgError
	if errors.As(err, &server) {
		for _, code := range harmless {
			if server.Code == code {
				return attempt.Rollback(d.ctx)
			}
		}
	}
	return errors.Join(err, attempt.Commit(d.ctx))
}
