package engine

import (
	"bytes"
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

var null = []byte("null")

// CreateExecution starts executions: all of them or none.
//
// An idempotency key that is taken, by whatever state the first one is in,
// answers that one's id with created=false.
//
// Errors: invalid_request, invalid_payload, payload_too_large, busy, database_unavailable, schema_missing, schema_outdated, schema_too_new.
func (e *Engine) CreateExecution(ctx context.Context, req model.CreateExecutionRequest) (model.CreateExecutionReply, error) {
	if err := checkItems(len(req.Items)); err != nil {
		return model.CreateExecutionReply{}, err
	}
	w := &work{creates: make([]store.NewRow, len(req.Items))}
	ids := make(map[uuid.UUID]bool, len(req.Items))
	for i := range req.Items {
		row, err := e.newRow(fmt.Sprintf("items[%d]", i), &req.Items[i])
		if err != nil {
			return model.CreateExecutionReply{}, err
		}
		if ids[row.ID] {
			return model.CreateExecutionReply{}, invalid(fmt.Sprintf("items[%d].id", i), "is there twice; ids must differ")
		}
		ids[row.ID] = true
		w.creates[i] = row
		w.size += len(row.Args) + len(row.Kwargs) + 200
	}
	w.root = w.creates[0].ID
	if err := e.write(ctx, w); err != nil {
		return model.CreateExecutionReply{}, err
	}
	return created(w), nil
}

func created(w *work) model.CreateExecutionReply {
	reply := model.CreateExecutionReply{Results: make([]model.Created, len(w.creates))}
	for i := range w.creates {
		made := &w.out.made[i]
		// What an attempt before this one wrote, whose answer was lost, is ours.
		ours := made.Inserted || (w.tries > 0 && made.Winner == w.creates[i].ID)
		reply.Results[i] = model.Created{ID: made.Winner, Created: ours}
	}
	return reply
}

// newRow fills the defaults of a new execution and checks it.
func (e *Engine) newRow(path string, n *model.NewExecution) (store.NewRow, error) {
	row := store.NewRow{NewExecution: *n}
	if row.Queue == "" {
		row.Queue = model.DefaultQueue
	}
	if row.Priority == nil {
		priority := model.DefaultPriority
		row.Priority = &priority
	}
	row.Args, row.Kwargs = absent(row.Args), absent(row.Kwargs)
	if err := e.checkNew(path, &row.NewExecution); err != nil {
		return row, err
	}
	if n.ID != nil {
		row.ID = *n.ID
		return row, checkID(path+".id", row.ID)
	}
	id, err := uuid.NewV7()
	row.ID = id
	return row, err
}

// absent treats a null argument list as none.
func absent(p model.Payload) model.Payload {
	if bytes.Equal(p, null) {
		return nil
	}
	return p
}
