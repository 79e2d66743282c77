package store

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var update = flag.Bool("update", false, "write docs/privileges.md anew")

// withRoles answers a migrated store whose roles begin with its schema's name.
func withRoles(t *testing.T) *Store {
	t.Helper()
	s := unmigrated(t)
	s.dropRolesLater(t, s.schema)
	if err := s.MigrateRoles(t.Context(), s.schema); err != nil {
		t.Fatal(err)
	}
	return s
}

// dropRolesLater also drops what they own, which is the schema.
func (s *Store) dropRolesLater(t *testing.T, prefix string) {
	t.Helper()
	url := s.config.ConnString()
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(context.Background()) }()
		for _, role := range append([]string{ownerRole}, granted...) {
			name := pgx.Identifier{prefix + role}.Sanitize()
			_, err := conn.Exec(context.Background(), "DROP OWNED BY "+name+" CASCADE; DROP ROLE "+name)
			if err != nil && sqlState(err) != "42704" { // the test need not have made it
				t.Errorf("dropping %s: %v", name, err)
			}
		}
	})
}

func sqlState(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return server.Code
	}
	return ""
}

// as runs statements in one transaction of a role, which is rolled back.
func (s *Store) as(t *testing.T, role string, do func(pgx.Tx)) {
	t.Helper()
	conn, err := s.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	if _, err := tx.Exec(t.Context(), "SET LOCAL ROLE "+pgx.Identifier{role}.Sanitize()); err != nil {
		t.Fatal(err)
	}
	do(tx)
}

// asksFor answers the SQLSTATE with which PostgreSQL refuses a role a statement, or
// "". To explain one is to check its privileges; to prepare it is not.
func asksFor(t *testing.T, tx pgx.Tx, name, text string) string {
	t.Helper()
	attempt, err := tx.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = attempt.Rollback(t.Context()) }()
	prepared, err := attempt.Conn().Prepare(t.Context(), "asked_"+name, text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	nulls := strings.TrimSuffix(strings.Repeat("NULL, ", len(prepared.ParamOIDs)), ", ")
	if nulls != "" {
		nulls = "(" + nulls + ")"
	}
	_, err = attempt.Exec(t.Context(), "EXPLAIN EXECUTE asked_"+name+nulls, pgx.QueryExecModeSimpleProtocol)
	if err != nil && sqlState(err) == "" {
		t.Fatalf("%s: %v", name, err)
	}
	return sqlState(err)
}

// isTransactional statements touch nothing that could be refused.
func isTransactional(s *statement) bool { return s == beginSQL || s == commitSQL }

func TestEachStatementIsRefusedToThoseRolesThatDoNotNeedIt(t *testing.T) {
	t.Parallel()
	s := withRoles(t)
	allowed := map[string]map[string]bool{}
	for _, role := range granted {
		allowed[role] = map[string]bool{}
		s.as(t, s.schema+role, func(tx pgx.Tx) {
			for _, stmt := range statements {
				if isTransactional(stmt) {
					continue
				}
				code := asksFor(t, tx, stmt.name, s.texts[stmt])
				if code != "" && code != "42501" {
					t.Errorf("%s as %s: %s", stmt.name, role, code)
				}
				allowed[role][stmt.name] = code == ""
			}
		})
	}
	logPrivileges(t, allowed)
	got := privilegesPage(allowed)
	if *update {
		if err := os.WriteFile(privilegesFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(privilegesFile)
	if err != nil || string(want) != got {
		t.Errorf("docs/privileges.md is not what holds (%v); if it should be: go test ./core/store -run EachStatement -update\n%s", err, got)
	}
}

const privilegesFile = "../../docs/privileges.md"

// privilegesOf is a statement's line in the page.
func privilegesOf(stmt *statement) string {
	page, _ := os.ReadFile(privilegesFile)
	_, rest, _ := strings.Cut(string(page), "\n| `"+stmt.name+"` ")
	line, _, _ := strings.Cut(rest, "\n")
	return line
}

const privilegesHead = `<!-- Written by a test in core/store/roles_test.go, with -update; do not edit. -->

# Privileges, statement by statement

` + "`workflows migrate up --roles`" + ` makes four roles that nobody logs in as and gives them the least with which their work can be done. [Operating](operating.md#privileges) says how to use them.

The owner owns the schema and its tables. These are the grants of the others, for who would rather make them by hand:

` + "```sql\n%s```" + `

Nobody but the owner may alter, truncate or drop anything. A database asks for the privileges of a whole statement, whatever it will find. Each statement that the library has, as each role; a test compares this table with what PostgreSQL says:

| statement | worker | client | reader |
|---|---|---|---|
`

func privilegesPage(allowed map[string]map[string]bool) string {
	var sqls, page strings.Builder
	for _, role := range granted {
		for _, sql := range grantSQL("workflows", "workflows", role) {
			if strings.HasPrefix(sql, "GRANT") {
				sqls.WriteString(strings.NewReplacer(`"`, "", ",\n   ", ",").Replace(sql) + ";\n")
			}
		}
	}
	for _, sql := range historyPolicies("workflows") {
		if !strings.HasPrefix(sql, "DROP") {
			sqls.WriteString(strings.ReplaceAll(sql, `"`, "") + ";\n")
		}
	}
	fmt.Fprintf(&page, privilegesHead, sqls.String())
	names := []string{}
	for name := range allowed[workerRole] {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		page.WriteString("| `" + name + "` |")
		for _, role := range granted {
			page.WriteString(map[bool]string{true: " yes |", false: " no |"}[allowed[role][name]])
		}
		page.WriteString("\n")
	}
	return page.String()
}

// logPrivileges says how many were allowed and refused, for docs/reliability.md.
func logPrivileges(t *testing.T, allowed map[string]map[string]bool) {
	t.Helper()
	may, mayNot := 0, 0
	for _, statements := range allowed {
		for _, is := range statements {
			if is {
				may++
			} else {
				mayNot++
			}
		}
	}
	t.Logf("statements by role: %d allowed, %d refused", may, mayNot)
}

// Privileges beyond the statements: nothing of what nobody asks for is granted.
func TestNobodyButTheOwnerMayDoWhatNoStatementDoes(t *testing.T) {
	t.Parallel()
	s := withRoles(t)
	refused := 0
	other := s.schema + "x"
	run(t, s.config.ConnString(), "CREATE SCHEMA "+other+" CREATE TABLE secrets (word text)")
	t.Cleanup(func() { run(t, s.config.ConnString(), "DROP SCHEMA "+other+" CASCADE") })
	for _, role := range granted {
		s.as(t, s.schema+role, func(tx pgx.Tx) {
			for _, sql := range []string{
				"CREATE TABLE %s.mine ()", "CREATE FUNCTION %s.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
				"ALTER TABLE %s.executions ADD COLUMN mine int", "CREATE INDEX ON %s.history (at)", "DROP TABLE %s.timers", "DROP SCHEMA %s CASCADE",
				"TRUNCATE %s.executions", "TRUNCATE %s.history", "TRUNCATE %s.timers", "TRUNCATE %s.workers", "TRUNCATE %s." + migrationsTable,
				"DELETE FROM %s.executions", "DELETE FROM %s.history", "DELETE FROM %s." + migrationsTable,
				"UPDATE %s.history SET type = 'started'", "UPDATE %s.history SET position = 1", "UPDATE %s.history SET at = now()",
				"UPDATE %s.executions SET id = id", "UPDATE %s.executions SET name = 'other'", "UPDATE %s.executions SET queue = 'other'",
				"UPDATE %s.executions SET idempotency_key = 'other'", "UPDATE %s.workers SET queues = '{}'",
				"INSERT INTO %s." + migrationsTable + " VALUES (9, false)", "UPDATE %s." + migrationsTable + " SET version = 9",
				"CREATE TRIGGER mine BEFORE INSERT ON %s.executions EXECUTE FUNCTION suppress_redundant_updates_trigger()",
				"LOCK TABLE %s.executions IN ACCESS EXCLUSIVE MODE", "ALTER SCHEMA %s RENAME TO mine",
				"SELECT * FROM %sx.secrets", "SELECT * FROM pg_authid", "CREATE ROLE mine_too",
			} {
				sql = strings.ReplaceAll(sql, "%s", quoteSchema(s.schema))
				sql = strings.ReplaceAll(sql, quoteSchema(s.schema)+"x.", other+".")
				if code := s.attemptIn(t, tx, sql); code != "42501" {
					t.Errorf("%s as %s: %q", sql, role, code)
				}
				refused++
			}
		})
	}
	s.as(t, s.schema+clientRole, func(tx pgx.Tx) {
		for _, column := range []string{"result", "token", "worker", "epoch", "args", "state"} {
			if code := s.attemptIn(t, tx, "UPDATE "+quoteSchema(s.schema)+".executions SET "+column+" = NULL"); code != "42501" {
				t.Errorf("a client writes %s: %q", column, code)
			}
		}
	})
	t.Logf("deeds of no statement: %d refused", refused)
}

// What was recorded stays, whatever SQL a worker makes up. Only the start of a run may name
// another language, as a claim has it.
func TestAWorkerMayNotChangeWhatWasRecorded(t *testing.T) {
	t.Parallel()
	s := withRoles(t)
	history := quoteSchema(s.schema) + ".history"
	s.as(t, s.schema+readerRole, func(tx pgx.Tx) {
		if _, err := tx.Exec(t.Context(), "SELECT FROM "+history); err != nil {
			t.Fatal(err)
		}
		if err := s.MigrateRoles(t.Context(), s.schema); err != nil {
			t.Fatalf("a second time, while somebody reads: %v", err)
		}
	})
	s.as(t, s.schema+workerRole, func(tx pgx.Tx) {
		const add = " (execution_id, run, position, type, payload, at) VALUES (gen_random_uuid(), 1, 1, 'started', '{}', now()), (gen_random_uuid(), 1, 2, 'step_completed', '1', now())"
		if _, err := tx.Exec(t.Context(), "INSERT INTO "+history+add); err != nil {
			t.Fatal(err)
		}
		changed, err := tx.Exec(t.Context(), "UPDATE "+history+" SET payload = '2' WHERE type = 'started'")
		if err != nil || changed.RowsAffected() != 1 {
			t.Errorf("the start of a run: %v, %v", changed, err)
		}
		for sql, want := range map[string]string{
			"UPDATE " + history + " SET payload = '2' WHERE type = 'step_completed'": "42501",
			"UPDATE " + history + " SET payload = '2'":                               "42501",
			"ALTER TABLE " + history + " DISABLE ROW LEVEL SECURITY":                 "42501",
			"DROP POLICY " + keepsHistory + " ON " + history:                         "42501",
		} {
			if code := s.attemptIn(t, tx, sql); code != want {
				t.Errorf("%s: %q, want %q", sql, code, want)
			}
		}
	})
}

// No grant is idle: without any one of them some statement is refused.
func TestEachGrantIsNeededBySomeStatement(t *testing.T) {
	t.Parallel()
	s := withRoles(t)
	for _, role := range []string{workerRole, clientRole} {
		name := pgx.Identifier{s.schema + role}.Sanitize()
		for _, g := range grants[role] {
			for _, privilege := range singly(g.privileges) {
				s.as(t, s.config.ConnConfig.User, func(tx pgx.Tx) {
					for _, sql := range []string{"REVOKE " + privilege + " ON " + quoteSchema(s.schema) + "." + g.table + " FROM " + name, "SET LOCAL ROLE " + name} {
						if _, err := tx.Exec(t.Context(), sql); err != nil {
							t.Fatalf("%s: %v", sql, err)
						}
					}
					if !s.somethingIsRefused(t, tx, role, g.table) {
						t.Errorf("nothing needs %s on %s as %s", privilege, g.table, role)
					}
				})
			}
		}
	}
}

// singly takes "SELECT, UPDATE (a, b)" apart.
func singly(privileges string) (single []string) {
	plain, columns, _ := strings.Cut(strings.TrimSuffix(privileges, ")"), "UPDATE (")
	for _, p := range strings.Split(plain, ",") {
		if p = strings.TrimSpace(p); p != "" {
			single = append(single, p)
		}
	}
	for _, c := range strings.Split(columns, ",") {
		if c = strings.TrimSpace(c); c != "" {
			single = append(single, "UPDATE ("+c+")")
		}
	}
	return single
}

// ofOthers are statements that a client could run and never does.
var ofOthers = []*statement{fireSQL, closedSQL, promoteSQL, claimedHistorySQL, heldSQL, heldIDsSQL, createHeldSQL, createHeldTimedSQL, silenceSQL, tickSQL, plainScheduleSQL}

func (s *Store) somethingIsRefused(t *testing.T, tx pgx.Tx, role, table string) bool {
	t.Helper()
	for _, stmt := range statements {
		mentioned := strings.Contains(stmt.text, "workflows."+table)
		if mentioned && (role == workerRole || !slices.Contains(ofOthers, stmt)) && !refusedAlways(role, stmt) && asksFor(t, tx, stmt.name, s.texts[stmt]) != "" {
			return true
		}
	}
	return false
}

// refusedAlways reads the table that the other test keeps.
func refusedAlways(role string, stmt *statement) bool {
	return role == clientRole && !strings.Contains(privilegesOf(stmt), "| yes | yes |")
}

func (s *Store) attemptIn(t *testing.T, tx pgx.Tx, sql string) string {
	t.Helper()
	attempt, err := tx.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = attempt.Exec(t.Context(), sql)
	_ = attempt.Rollback(t.Context())
	return sqlState(err)
}
