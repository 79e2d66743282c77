package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/libworkflows/libworkflows/core/fault"
)

// classify is the one place where a database error becomes a fault. The cause
// stays inside: its text may hold the connection string.
func (s *Store) classify(err error) error { return s.classifyAt(s.config.ConnConfig, err) }

// classifyAt is for a connection that is not to where the database is.
func (s *Store) classifyAt(config *pgx.ConnConfig, err error) error {
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
	}
	return unreachable(place(config), err)
}

// unreachable says why, where that is not what one would look for first. What TLS says
// of a certificate repeats nothing of the URL.
func unreachable(where string, err error) error {
	details := fault.Details{"host": where}
	switch untrusted := mistrusted(err); {
	case untrusted != nil:
		return fault.New(fault.DatabaseUnavailable, details,
			"PostgreSQL at %s has a certificate that is not trusted (%s); check sslrootcert and sslmode", where, untrusted).Because(err)
	case strings.Contains(err.Error(), "server refused TLS connection"):
		return fault.New(fault.DatabaseUnavailable, details,
			"PostgreSQL at %s offers no TLS, and sslmode asks for it; turn it on there, or mend the database URL", where).Because(err)
	default:
		return fault.New(fault.DatabaseUnavailable, details,
			"PostgreSQL at %s cannot be reached; check that it runs and that the database URL is right", where).Because(err)
	}
}

// mistrusted answers what is wrong with the server's certificate. With verify-full TLS
// itself looks at it, with verify-ca pgx.
func mistrusted(err error) error {
	var verification *tls.CertificateVerificationError
	var signer x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &verification):
		return verification.Err
	case errors.As(err, &signer):
		return signer
	case errors.As(err, &invalid):
		return invalid
	}
	return nil
}

func (s *Store) classifyServer(server *pgconn.PgError, err error) error {
	switch code := server.Code; {
	case code == "08P01" && strings.Contains(server.Message, "statement pooling"):
		return fault.New(fault.InvalidConfig, fault.Details{"sqlstate": code},
			"the pooler lends sessions by the statement, and a write is more than one: set its pool_mode to transaction or session").Because(err)
	case code == "08P01" && strings.Contains(server.Message, "startup parameter"):
		return fault.New(fault.InvalidConfig, fault.Details{"sqlstate": code},
			"the pooler does not take a parameter of the database URL (%s); take it out, or name it in the pooler's ignore_startup_parameters", server.Message).Because(err)
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
	case isStandby(server): // our sessions begin read-write, so that no setting says this
		return fault.New(fault.DatabaseUnavailable, fault.Details{"sqlstate": code},
			"PostgreSQL is a standby, which takes no writes until it is promoted; have the database URL lead to the primary, or name all servers in it with target_session_attrs=read-write").Because(err)
	case isTransient(code):
		return fault.New(fault.DatabaseUnavailable, fault.Details{"sqlstate": code},
			"PostgreSQL cannot serve this now (%s); it is tried again", code).Because(err)
	default:
		return fault.New(fault.Internal, fault.Details{"sqlstate": code},
			"PostgreSQL refused a statement of the library (%s); its log has the cause", code).Because(err)
	}
}

// isStandby: a standby refuses a write, or else a transaction that begins read-write, which
// has no code of its own.
func isStandby(server *pgconn.PgError) bool {
	return server.Code == "25006" || server.Code == "0A000" && strings.Contains(server.Message, "during recovery")
}

// isTransient says for which errors the same statements may succeed later:
// connection, resources, operator intervention, serialization, deadlock, locks.
func isTransient(code string) bool {
	switch {
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57"), strings.HasPrefix(code, "58"):
		return true
	case code == "0A000", isStrayName(code): // a plan or a statement that a migration or a pooler took away
		return true
	case code == "40001", code == "40P01", code == "55P03", code == "25P03":
		return true
	}
	return false
}

// isStrayName says whether a prepared statement is not where it was left, or is
// where nobody has put it: the session is not the one that it was.
func isStrayName(code string) bool { return code == "26000" || code == "42P05" }

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

// IsDiskFull says whether there was no room for what was written.
func IsDiskFull(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && server.Code == "53100"
}

func isDeadlock(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && server.Code == "40P01"
}

func isConnect(err error) bool {
	var connect *pgconn.ConnectError
	return errors.As(err, &connect)
}

// place names a server without user and password.
func place(config *pgx.ConnConfig) string {
	if strings.HasPrefix(config.Host, "/") {
		return config.Host
	}
	return net.JoinHostPort(config.Host, portText(config.Port))
}
