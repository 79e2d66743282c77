package store

import (
	"context"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// lockedSQL finds which executions cannot be locked now, themselves or through
// their parent or a child.
var lockedSQL = define("locked", `
WITH wanted AS (
    SELECT e.id AS work, e.id AS row FROM workflows.executions e WHERE e.id = ANY($1)
    UNION ALL SELECT e.id, e.parent_id FROM workflows.executions e WHERE e.id = ANY($1) AND e.parent_id IS NOT NULL
    UNION ALL SELECT x.parent_id, c.id FROM unnest($2::uuid[], $3::int[]) AS x(parent_id, sequence)
        JOIN workflows.executions c ON c.parent_id = x.parent_id AND c.sequence = x.sequence),
free AS MATERIALIZED (
    SELECT e.id FROM workflows.executions e WHERE e.id IN (SELECT row FROM wanted) FOR NO KEY UPDATE SKIP LOCKED)
SELECT DISTINCT work FROM wanted WHERE row NOT IN (SELECT id FROM free)`)

// Locked answers which of a batch's executions somebody else holds a lock on.
func (s *Store) Locked(ctx context.Context, b Batch) (map[uuid.UUID]bool, error) {
	ids, parents, sequences := b.targets()
	return s.lockedAmong(ctx, ids, parents, sequences)
}

func (s *Store) lockedAmong(ctx context.Context, ids, parents []uuid.UUID, sequences []int32) (locked map[uuid.UUID]bool, err error) {
	locked = map[uuid.UUID]bool{}
	err = s.query(ctx, lockedSQL, func(row pgx.CollectableRow) error {
		var id uuid.UUID
		err := row.Scan(&id)
		locked[id] = true
		return err
	}, orEmpty(ids), orEmpty(parents), orEmpty(sequences))
	return locked, err
}

// lockable leaves out what somebody else has locked at the moment: the next look
// finds it again, and the others need not wait.
func (s *Store) lockable(ctx context.Context, ids []uuid.UUID) ([]uuid.UUID, error) {
	locked, err := s.lockedAmong(ctx, ids, nil, nil)
	return slices.DeleteFunc(ids, func(id uuid.UUID) bool { return locked[id] }), err
}
