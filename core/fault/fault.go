// Package fault holds every way an operation can fail.
//
// A fault is made where its meaning is known. Its message says what happened,
// to what, and what to do, and is safe to show: causes, which may hold a
// connection string, stay on this side of the ABI.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Code names a kind of failure. Codes are part of the ABI: append, never rename.
type Code string

// The codes, with what the caller can do about each.
const (
	InvalidRequest      Code = "invalid_request"      // the request is not what the operation takes; mend it
	InvalidPayload      Code = "invalid_payload"      // a payload is not JSON that can be stored; mend it
	PayloadTooLarge     Code = "payload_too_large"    // a payload is over the size or depth limit; store it elsewhere and pass a reference
	UnknownOperation    Code = "unknown_operation"    // no operation has this name or number
	InvalidConfig       Code = "invalid_config"       // the configuration cannot work; mend it
	InvalidHandle       Code = "invalid_handle"       // no engine or channel has this handle
	Closed              Code = "closed"               // the engine or channel was closed
	Busy                Code = "busy"                 // too much is waiting; try again later
	Forked              Code = "forked"               // the process forked after the library was loaded
	Cancelled           Code = "cancelled"            // the caller cancelled the call
	Timeout             Code = "timeout"              // the call took longer than it was allowed to
	DatabaseUnavailable Code = "database_unavailable" // PostgreSQL cannot be reached or refused us
	PermissionDenied    Code = "permission_denied"    // the database role lacks a privilege
	SchemaMissing       Code = "schema_missing"       // the schema was never migrated
	SchemaOutdated      Code = "schema_outdated"      // the schema is older than the library
	SchemaTooNew        Code = "schema_too_new"       // the schema is newer than the library
	ExecutionNotFound   Code = "execution_not_found"  // no execution has this id
	ExecutionFinished   Code = "execution_finished"   // the execution is in a final state
	InvalidState        Code = "invalid_state"        // the execution is not in a state that allows this
	LeaseLost           Code = "lease_lost"           // the execution is no longer held under this lease
	WorkerNotFound      Code = "worker_not_found"     // no worker of this engine has this id
	WrongLanguage       Code = "wrong_language"       // a workflow was begun by code of another language
	Internal            Code = "internal"             // a bug in the library
	HistoryTooLong      Code = "history_too_long"     // a workflow's history is full; let it continue as new
)

// retryable says for which codes the same call may succeed later, unchanged.
var retryable = map[Code]bool{Busy: true, Timeout: true, DatabaseUnavailable: true}

// Codes answers every code, in the order of their declaration.
func Codes() []Code {
	return []Code{
		InvalidRequest, InvalidPayload, PayloadTooLarge, UnknownOperation, InvalidConfig, InvalidHandle, Closed, Busy,
		Forked, Cancelled, Timeout, DatabaseUnavailable, PermissionDenied, SchemaMissing, SchemaOutdated, SchemaTooNew,
		ExecutionNotFound, ExecutionFinished, InvalidState, LeaseLost, WorkerNotFound, WrongLanguage, Internal, HistoryTooLong,
	}
}

// Error is a fault as it crosses the ABI.
type Error struct {
	Code      Code           `json:"code"`
	Message   string         `json:"message"`
	Retryable bool           `json:"retryable"`
	Details   map[string]any `json:"details,omitempty"`

	cause error
}

// Details are facts about a fault for programs: which field, which id, which limit.
type Details = map[string]any

// New makes a fault. Details may be nil.
func New(code Code, details Details, format string, args ...any) *Error {
	return &Error{Code: code, Message: brief(fmt.Sprintf(format, args...)), Retryable: retryable[code], Details: details}
}

// The most of a message that is kept, from its beginning and from its end, where it says what to do.
const (
	maxHead = 600
	maxTail = 200
)

// brief keeps a message that quotes what the caller sent from being as long as that.
func brief(message string) string {
	if len(message) <= maxHead+maxTail {
		return message
	}
	return strings.ToValidUTF8(message[:maxHead], "") + " ... " + strings.ToValidUTF8(message[len(message)-maxTail:], "")
}

// Because keeps the cause for the log. It never crosses the ABI.
func (e *Error) Because(cause error) *Error {
	e.cause = cause
	return e
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap answers the cause, for errors.Is and for the log.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is compare by code.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code
}

// From answers err as a fault: itself when it is one, else an internal fault
// that does not repeat the cause's text.
func From(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return New(Internal, nil, "the library failed in a way that it did not expect; its log has the cause").Because(err)
}

// CodeOf answers the code of err, or "" when err is nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	return From(err).Code
}
