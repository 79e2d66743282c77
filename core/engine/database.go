package engine

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// database is what an engine asks of its store. There is one, of PostgreSQL; simulated
// engines have one in memory. What each call promises stands at its method there.
type database interface {
	Flush(ctx context.Context, b store.Batch) (store.Flushed, error)
	Locked(ctx context.Context, b store.Batch) (map[uuid.UUID]bool, error)
	Claim(ctx context.Context, c store.Claim) ([]model.Claimed, error)
	Resume(ctx context.Context, id uuid.UUID) (queue string, changed bool, err error)
	Retry(ctx context.Context, id uuid.UUID) (queue string, changed bool, err error)

	Register(ctx context.Context, id uuid.UUID, w model.StartWorkerRequest) error
	Beat(ctx context.Context, worker uuid.UUID) (alive bool, held []store.Held, err error)
	SetWorker(ctx context.Context, worker uuid.UUID, status string) error
	Silences(ctx context.Context, workers []uuid.UUID) ([]store.Silence, error)
	Bury(ctx context.Context, worker uuid.UUID, seen time.Time) (dead bool, err error)
	RecoverFrom(ctx context.Context, worker uuid.UUID, crashed bool, limit int) ([]store.Recovered, error)

	Tick(ctx context.Context, queues []string, lookAhead time.Duration, ours, languages []string) (store.Due, error)
	Promote(ctx context.Context, limit int) (queues []string, promoted int, err error)
	DueTimers(ctx context.Context, limit int) (map[string][]uuid.UUID, error)
	Fire(ctx context.Context, ids []uuid.UUID) ([]store.Woken, error)
	Expire(ctx context.Context, ids []uuid.UUID) ([]store.Expired, error)
	ChildrenToClose(ctx context.Context, parents []uuid.UUID, limit int) ([]uuid.UUID, error)
	Closed(ctx context.Context, parents []uuid.UUID) error

	Get(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]store.Read, error)
	Status(ctx context.Context, id uuid.UUID) (status model.Status, found bool, err error)
	History(ctx context.Context, id uuid.UUID, run, after, limit int) ([]model.Event, error)
	List(ctx context.Context, r model.ListExecutionsRequest, before *uuid.UUID, scan int) ([]model.Execution, *uuid.UUID, error)
	Await(ctx context.Context, ids []uuid.UUID) error
	Ends(ctx context.Context, ids []uuid.UUID, deadlines bool) (final, overdue []uuid.UUID, err error)
	Stats(ctx context.Context) (model.StatsReply, error)

	Notify(ctx context.Context, payloads []string) error
	Listen(ctx context.Context, url string, ready func(), hear func(payload string)) error
	TryListen(ctx context.Context, url string) error
	Pooled() (pooled, prepared bool)

	Schema() string
	CheckVersion(ctx context.Context) error
	Version(ctx context.Context) (int, error)
	MigrateUp(ctx context.Context) error
	MigrateRoles(ctx context.Context, prefix string) error
	MigrateDown(ctx context.Context) error
	Close()
}
