package store

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/libworkflows/libworkflows/core/fault"
)

// classify is the one place where a database error becomes a fault. The cause
// stays inside: its text may hold the connection string.
func (s *Store) classify(err error) error {
	var already *fault.Error
	var server *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &already):
		return err
	case errors.As(err, &server):
		return s.classifyServer(server, err)
	case errors.Is(err, context.Canceled):
		return fault.New(fault.Cancelled, nil, "the call was cancelled").Because(err)
	case errors.Is(err, context.DeadlineExceeded) && !isConnect(err):
		return fault.New(fault.Timeout, nil, "the database did not answer in time").Because(err)
	default:
		return s.unreachable(err)
	}
}

func (s *Store) classifyServer(server *pgconn.PgError, err error) error {
	switch code := server.Code; {
	case code == "23505" && server.ConstraintName == "executions_pkey": // a root's insert passes over it: this is a child
		return fault.New(fault.InvalidRequest, nil,
			"the id of an execution to schedule is taken by another execution; choose another, or leave it to the library").Because(err)
	case code == "42P01" || code == "3F000": // undefined table, invalid schema
		return fault.New(fault.SchemaMissing, fault.Details{"schema": s.schema},
			"schema %q has no libworkflows tables; run: workflows migrate up", s.schema).Because(err)
	case code == "42501":
		return fault.New(fault.PermissionDenied, fault.Details{"schema": s.schema},
			"the database role may not do this in schema %q: %s; grant it, or use another role", s.schema, server.Message).Because(err)
	case code == "28P01" || code == "28000":
		return fault.New(fault.DatabaseUnavailable, fault.Details{"sqlstate": code},
			"PostgreSQL refused the user or the password; check the database URL").Because(err)
	case code == "3D000":
		return fault.New(fault.DatabaseUnavailable, fault.Details{"sqlstate": code},
			"PostgreSQL answers, but the database in the URL does not exist; create it or mend the URL").Because(err)
	case isTransient(code):
		return fault.New(fault.DatabaseUnavailable, fault.Details{"sqlstate": code},
			"PostgreSQL cannot serve this now (%s); it is tried again", code).Because(err)
	default:
		return fault.New(fault.Internal, fault.Details{"sqlstate": code},
			"PostgreSQL refused a statement of the library (%s); its log has the cause", code).Because(err)
	}
}

// isTransient says for which errors the same statements may succeed later:
// connection, resources, operator intervention, serialization, deadlock, locks.
func isTransient(code string) bool {
	switch {
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57"), strings.HasPrefix(code, "58"):
		return true
	case code == "0A000", code == "26000": // a plan or a statement that a migration or a pooler took away
		return true
	case code == "40001", code == "40P01", code == "55P03", code == "25P03", code == "25006":
		return true
	}
	return false
}

// SplitWorthwhile says whether a smaller batch may pass where this one did
// not: one value that PostgreSQL refuses must not fail the others.
func SplitWorthwhile(err error) bool {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return false
	}
	return server.Code == "54000" || strings.HasPrefix(server.Code, "22") || strings.HasPrefix(server.Code, "23")
}

// IsLockTimeout says whether somebody else held a lock for too long.
func IsLockTimeout(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && server.Code == "55P03"
}

func isConnect(err error) bool {
	var connect *pgconn.ConnectError
	return errors.As(err, &connect)
}

func (s *Store) unreachable(err error) error {
	where := s.config.ConnConfig.Host
	if !strings.HasPrefix(where, "/") {
		where = net.JoinHostPort(where, portText(s.config.ConnConfig.Port))
	}
	return fault.New(fault.DatabaseUnavailable, fault.Details{"host": where},
		"PostgreSQL at %s cannot be reached; check that it runs and that the database URL is right", where).Because(err)
}
