package engine

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

const (
	defaultList    = 100
	maxList        = 1000
	listScan       = 10_000
	defaultHistory = 1000
	maxHistory     = 10_000
)

// ListExecutions lists executions, newest first, a page at a time.
//
// Errors: invalid_request, database_unavailable.
func (e *Engine) ListExecutions(ctx context.Context, req model.ListExecutionsRequest) (model.ListExecutionsReply, error) {
	if req.Limit == 0 {
		req.Limit = defaultList
	}
	before, err := checkList(&req)
	if err != nil {
		return model.ListExecutionsReply{}, err
	}
	if err := e.ready(ctx); err != nil {
		return model.ListExecutionsReply{}, err
	}
	page, next, err := e.store.List(ctx, req, before, listScan)
	reply := model.ListExecutionsReply{Executions: page}
	if next != nil {
		reply.Cursor = next.String()
	}
	return reply, err
}

func checkList(req *model.ListExecutionsRequest) (before *uuid.UUID, err error) {
	if req.Limit < 1 || req.Limit > maxList {
		return nil, invalid(fieldAt("limit"), "is %d; it must be 1 to %d", req.Limit, maxList)
	}
	for _, status := range req.Status {
		if !slices.Contains(statuses, status) {
			return nil, invalid(fieldAt("status"), "holds %q; the states are %v", status, statuses)
		}
	}
	if req.Kind != "" {
		if err := checkKind(fieldAt("kind"), req.Kind); err != nil {
			return nil, err
		}
	}
	if req.Cursor == "" {
		return nil, nil
	}
	id, err := uuid.Parse(req.Cursor)
	if err != nil {
		return nil, invalid(fieldAt("cursor"), "is not one that list_executions gave")
	}
	return &id, nil
}

var statuses = []model.Status{
	model.Scheduled, model.Pending, model.Running, model.Suspended, model.Completed, model.Failed, model.Cancelled,
}

// GetHistory reads a workflow's events in order.
//
// Errors: execution_not_found, invalid_request, database_unavailable.
func (e *Engine) GetHistory(ctx context.Context, req model.GetHistoryRequest) (model.GetHistoryReply, error) {
	if req.Limit == 0 {
		req.Limit = defaultHistory
	}
	if req.Limit < 1 || req.Limit > maxHistory {
		return model.GetHistoryReply{}, invalid(fieldAt("limit"), "is %d; it must be 1 to %d", req.Limit, maxHistory)
	}
	if req.Run < 0 || req.After < 0 {
		return model.GetHistoryReply{}, invalid(fieldAt("run and after"), "must not be negative")
	}
	read, err := e.get(ctx, req.ID)
	if err != nil {
		return model.GetHistoryReply{}, err
	}
	if req.Run == 0 {
		req.Run = read.Run
	}
	events, err := e.store.History(ctx, req.ID, req.Run, req.After, req.Limit+1)
	more := len(events) > req.Limit
	if more {
		events = events[:req.Limit]
	}
	return model.GetHistoryReply{Run: req.Run, Events: events, More: more}, err
}

// Stats counts what is not finished, by queue, and lists the workers.
//
// Errors: schema_missing, database_unavailable.
func (e *Engine) Stats(ctx context.Context, req model.StatsRequest) (model.StatsReply, error) {
	version, err := e.store.Version(ctx)
	if err != nil {
		return model.StatsReply{}, err
	}
	reply, err := e.store.Stats(ctx)
	reply.SchemaVersion = version
	reply.Pooled, reply.Prepared = e.store.Pooled()
	if req.TryListen && err == nil {
		reply.Listening = e.tryListen(ctx)
	}
	return reply, err
}

// tryListen answers on, off, or why hints are not heard.
func (e *Engine) tryListen(ctx context.Context) string {
	if e.settings.listenURL == listenOff {
		return listenOff
	}
	if err := e.store.TryListen(ctx, e.settings.listenURL); err != nil {
		return fault.From(err).Message
	}
	return "on"
}
