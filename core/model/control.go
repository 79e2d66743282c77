package model

import (
	"time"

	"github.com/google/uuid"
)

// Target names an execution to act on.
type Target struct {
	ID uuid.UUID `json:"id"`
	// Reason for whoever reads the execution later.
	Reason string `json:"reason,omitempty"`
}

// TargetsRequest acts on executions, each by its own verdict.
type TargetsRequest struct {
	Items []Target `json:"items"`
}

// Change answers an act on one execution.
type Change struct {
	Status Status `json:"status"`
	// Changed is false when there was nothing to do, as with cancelling what is finished.
	Changed bool `json:"changed"`
}

// ChangeReply has one result per item, in order.
type ChangeReply struct {
	Results []Result[Change] `json:"results"`
}

// GetExecutionRequest reads one execution.
type GetExecutionRequest struct {
	ID uuid.UUID `json:"id"`
}

// WaitExecutionRequest waits for the end of one execution.
type WaitExecutionRequest struct {
	ID uuid.UUID `json:"id"`
	// WaitMS is how long to wait, in milliseconds. Default 0.
	WaitMS int64 `json:"wait_ms,omitempty"`
}

// ListExecutionsRequest filters executions; absent fields match everything.
type ListExecutionsRequest struct {
	Status []Status   `json:"status,omitempty"`
	Kind   Kind       `json:"kind,omitempty"`
	Name   string     `json:"name,omitempty"`
	Queue  string     `json:"queue,omitempty"`
	Parent *uuid.UUID `json:"parent_id,omitempty"`
	Root   *uuid.UUID `json:"root_id,omitempty"`
	// Parked lists only what waits for somebody to look at it.
	Parked bool `json:"parked,omitempty"`
	// Limit, 1 to 1000. Default 100.
	Limit int `json:"limit,omitempty"`
	// Cursor from the last page.
	Cursor string `json:"cursor,omitempty"`
}

// ListExecutionsReply has the newest first.
type ListExecutionsReply struct {
	Executions []Execution `json:"executions"`
	// Cursor for the next page; absent after the last. A page may be short of Limit and have one:
	// each call looks at a bounded number of rows.
	Cursor string `json:"cursor,omitempty"`
}

// GetHistoryRequest reads a workflow's history.
type GetHistoryRequest struct {
	ID uuid.UUID `json:"id"`
	// Run, default the current one.
	Run int `json:"run,omitempty"`
	// After answers only events after this position.
	After int `json:"after,omitempty"`
	// Limit, 1 to 10000. Default 1000.
	Limit int `json:"limit,omitempty"`
}

// GetHistoryReply has the events in order of position.
type GetHistoryReply struct {
	Run    int     `json:"run"`
	Events []Event `json:"events"`
	// More is true when Limit cut the events short.
	More bool `json:"more,omitempty"`
}

// MigrateRequest brings the schema to a version.
type MigrateRequest struct {
	// Direction is up (default), down (removes everything; requires Confirm) or status.
	Direction string `json:"direction,omitempty"`
	// Confirm must repeat the schema's name for down.
	Confirm string `json:"confirm,omitempty"`
	// Roles is the beginning of the names of four roles to make, unless they exist, and to give the
	// least privileges: _owner, _worker, _client, _reader. The schema's name is a good one. Only for up.
	Roles string `json:"roles,omitempty"`
}

// MigrateReply tells the schema's version.
type MigrateReply struct {
	Schema string `json:"schema"`
	// From and Version are before and after; 0 is an empty database.
	From    int `json:"from"`
	Version int `json:"version"`
	// Latest is the newest that this library brings.
	Latest int `json:"latest"`
}

// StatsRequest asks for counts.
type StatsRequest struct {
	// TryListen also makes a connection to where hints would be heard, and tells in Listening what came of it.
	TryListen bool `json:"try_listen,omitempty"`
}

// QueueStats counts what is not finished in one queue.
type QueueStats struct {
	Queue     string `json:"queue"`
	Scheduled int    `json:"scheduled"`
	Pending   int    `json:"pending"`
	Running   int    `json:"running"`
	Suspended int    `json:"suspended"`
	Failed    int    `json:"failed"`
	// OldestPendingMS is how long the longest waiting one has been due, in milliseconds.
	OldestPendingMS int64 `json:"oldest_pending_ms"`
}

// StatsReply tells how the system stands.
type StatsReply struct {
	Schema        string    `json:"schema"`
	SchemaVersion int       `json:"schema_version"`
	ServerVersion string    `json:"server_version"`
	ServerTime    time.Time `json:"server_time"`
	// Pooled is true when a pooler, such as PgBouncer, was found on the way to PostgreSQL.
	Pooled bool `json:"pooled"`
	// Prepared is false when that pooler loses prepared statements, so that each is planned anew every time.
	Prepared bool `json:"prepared"`
	// Listening is "on", "off" as configured, or says why hints cannot be heard. Only if asked for.
	Listening string       `json:"listening,omitempty"`
	Queues    []QueueStats `json:"queues"`
	Workers   []Worker     `json:"workers"`
}

// Config opens an engine.
type Config struct {
	// DatabaseURL of PostgreSQL, or embedded: or embedded:PATH for a private one. Default WORKFLOWS_DATABASE_URL, then embedded:.
	DatabaseURL string `json:"database_url,omitempty"`
	// ListenURL for LISTEN, when DatabaseURL goes through a pooler in transaction mode; "off" polls only. Default WORKFLOWS_LISTEN_URL, then DatabaseURL.
	ListenURL string `json:"listen_url,omitempty"`
	// Schema, default WORKFLOWS_SCHEMA, then "workflows".
	Schema string `json:"schema,omitempty"`
	// PoolSize is the most connections for operations, default 10; heartbeats and LISTEN have one each beside it.
	PoolSize int `json:"pool_size,omitempty"`
	// MaxPayloadBytes, default 1048576.
	MaxPayloadBytes int `json:"max_payload_bytes,omitempty"`
	// MaxHistory is how many events a run of a workflow may have, 100 to 10000000. Default 50000. A workflow
	// that would need more continues as new.
	MaxHistory int `json:"max_history,omitempty"`
	// PostgresBinaries are directories with server binaries that the adapter found, for embedded:.
	PostgresBinaries []string `json:"postgres_binaries,omitempty"`
	// Migrate brings the schema up to date at open. Default true for embedded:, else false.
	Migrate *bool `json:"migrate,omitempty"`
}
