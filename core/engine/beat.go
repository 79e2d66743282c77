package engine

import (
	"context"
	"time"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// Heartbeat keeps what running attempts report of their progress.
//
// The engine beats by itself; without items this beats now, for callers who
// want to know whether their leases hold.
//
// Errors: worker_not_found, lease_lost, payload_too_large, database_unavailable.
func (e *Engine) Heartbeat(ctx context.Context, req model.HeartbeatRequest) (model.HeartbeatReply, error) {
	w, err := e.findWorker(req.WorkerID)
	if err != nil {
		return model.HeartbeatReply{}, err
	}
	if len(req.Items) == 0 {
		return model.HeartbeatReply{Results: []model.Result[model.Verdict]{}}, w.beat(ctx)
	}
	results, err := each(ctx, e, req.Items, e.prepareProgress, func(x *work) (model.Verdict, error) {
		e.leases.end(x.progress.ID, x.progress.Lease, true, 0)
		if !x.out.progress {
			return model.Verdict{}, lost(x.progress.ID)
		}
		return model.Verdict{Status: model.Running}, nil
	})
	return model.HeartbeatReply{Results: results}, err
}

func (e *Engine) prepareProgress(i int, item model.Progress) (*work, error) {
	path := itemAt(i)
	if err := checkID(path.at(".id"), item.ID); err != nil {
		return nil, err
	}
	if err := e.checkPayload(path.at(".progress"), item.Progress); err != nil {
		return nil, err
	}
	root := e.leases.begin(item.ID, item.Lease, false).root
	return &work{root: root, size: len(item.Progress), progress: &store.Progress{ID: item.ID, Lease: item.Lease, Progress: item.Progress}}, nil
}

// PullEvents answers what the holder of leases must know, and waits for the
// first such notice: that a lease is lost, that an execution was asked to stop,
// that a workflow whose step is running has new events.
//
// Each change is told once, so one caller should ask, and ask again at once.
//
// Errors: worker_not_found.
func (e *Engine) PullEvents(ctx context.Context, req model.PullEventsRequest) (model.PullEventsReply, error) {
	w, err := e.findWorker(req.WorkerID)
	if err != nil {
		return model.PullEventsReply{}, err
	}
	if err := checkDelay(fieldAt("wait_ms"), req.WaitMS); err != nil {
		return model.PullEventsReply{}, err
	}
	over := time.NewTimer(time.Duration(req.WaitMS) * time.Millisecond)
	defer over.Stop()
	for {
		if notices := w.takeNotices(); len(notices) > 0 {
			return model.PullEventsReply{Notices: notices}, nil
		}
		select {
		case <-w.noticed:
		case <-over.C:
			return model.PullEventsReply{Notices: []model.Notice{}}, nil
		case <-w.stopped:
			return model.PullEventsReply{Notices: w.takeNotices()}, nil
		case <-ctx.Done():
			return model.PullEventsReply{}, fault.New(fault.Cancelled, nil, "the call was cancelled")
		}
	}
}

func (w *worker) takeNotices() []model.Notice {
	w.mu.Lock()
	defer w.mu.Unlock()
	notices := w.notices
	w.notices = nil
	if notices == nil {
		notices = []model.Notice{}
	}
	return notices
}
