package store

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/internal/pgtest"
)

// open answers a store over a migrated schema of its own.
func open(t *testing.T) *Store {
	t.Helper()
	url, schema := pgtest.Schema(t)
	s, err := Open(context.Background(), Config{URL: url, Schema: schema, PoolSize: 4})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(s.Close)
	if err := s.MigrateUp(context.Background()); err != nil {
		t.Fatalf("migrate: %v", err)
	}
	return s
}

func TestEveryStatementPreparesAgainstTheMigratedSchema(t *testing.T) {
	t.Parallel()
	s := open(t)
	conn, err := pgx.ConnectConfig(context.Background(), s.config.ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for _, stmt := range statements {
		if _, err := conn.Prepare(context.Background(), stmt.name, s.texts[stmt]); err != nil {
			t.Errorf("%s: %v", stmt.name, err)
		}
	}
}
