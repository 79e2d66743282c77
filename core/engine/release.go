package engine

import (
	"context"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

const maxParked = 8192

// Release puts executions back without an outcome. It counts as no attempt.
//
// For no_function the next try waits, longer each time, for a worker that has
// the code; for drain another may take it at once; for non_determinism the
// workflow is parked, with the message, until resume_workflow or retry_execution.
//
// Errors: lease_lost, execution_not_found, invalid_request, database_unavailable.
func (e *Engine) Release(ctx context.Context, req model.ReleaseRequest) (model.VerdictReply, error) {
	results, err := each(ctx, e, req.Items, e.prepareRelease, e.released)
	return model.VerdictReply{Results: results}, err
}

func (e *Engine) prepareRelease(i int, r model.Release) (*work, error) {
	path := itemAt(i)
	if err := checkID(path.at(".id"), r.ID); err != nil {
		return nil, err
	}
	parked := first(r.Message, string(r.Reason))
	switch {
	case r.Reason != model.ReleaseNoFunction && r.Reason != model.ReleaseDrain && r.Reason != model.ReleaseNonDeterminism:
		return nil, invalid(path.at(".reason"), "is %q; it must be no_function, drain or non_determinism", r.Reason)
	case len(parked) > maxParked:
		return nil, invalid(path.at(".message"), "has %d bytes; at most %d are kept", len(parked), maxParked)
	}
	root := e.leases.begin(r.ID, r.Lease, false).root
	return &work{root: root, size: len(parked), release: &store.Release{ID: r.ID, Lease: r.Lease, Reason: r.Reason, Parked: parked}}, nil
}

func (e *Engine) released(w *work) (model.Verdict, error) {
	x, r := w.release, &w.out.release
	e.leases.end(x.ID, x.Lease, false, 0)
	switch {
	case !r.Found:
		return model.Verdict{}, notFound(x.ID)
	case r.Held, r.SameLease && r.Status != model.Running && !r.Status.Final():
		return model.Verdict{Status: r.Status}, nil
	}
	return model.Verdict{}, lost(x.ID)
}
