package store

import (
	"context"
	"testing"

	"github.com/golang-migrate/migrate/v4"
	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

func TestAnOlderSchemaKeepsItsRowsOnTheWayUp(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := unmigrated(t)
	if err := s.migrating(ctx, "", func(_ *migration, m *migrate.Migrate) error { return m.Migrate(1) }); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckVersion(ctx); fault.CodeOf(err) != fault.SchemaOutdated {
		t.Fatalf("the first schema: %v", err)
	}
	id := uuid.New()
	if _, err := s.pool.Exec(ctx, `INSERT INTO `+quoteSchema(s.schema)+`.executions (id, root_id, kind, name, queue, status, priority, run_at, created_at)
		VALUES ($1, $1, 'workflow', 'flow', 'default', 'pending', 5, now(), now())`, id); err != nil {
		t.Fatal(err)
	}
	if err := s.MigrateUp(ctx); err != nil {
		t.Fatal(err)
	}
	worker := uuid.New()
	if err := s.Register(ctx, worker, model.StartWorkerRequest{Queues: []string{"default"}}); err != nil {
		t.Fatal(err)
	}
	claimed, err := s.Claim(ctx, Claim{Worker: worker, Queues: []string{"default"}, N: 1, Token: uuid.New(), Warm: true})
	if err != nil || len(claimed) != 1 || claimed[0].ID != id || len(claimed[0].Events) != 1 {
		t.Fatalf("claimed %v, %v", claimed, err)
	}
}
