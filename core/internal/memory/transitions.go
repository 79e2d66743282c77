package memory

import "github.com/libworkflows/libworkflows/core/model"

// transitions are the only ways from one state to another; "" is none yet. The
// simulation holds every change against them.
var transitions = map[model.Status][]model.Status{
	"":              {model.Scheduled, model.Pending, model.Running, model.Cancelled}, // handed over; scheduled and cancelled in one write
	model.Scheduled: {model.Pending, model.Cancelled, model.Failed},
	model.Pending:   {model.Running, model.Cancelled, model.Failed},
	model.Running:   {model.Scheduled, model.Pending, model.Suspended, model.Completed, model.Failed, model.Cancelled},
	model.Suspended: {model.Pending, model.Cancelled, model.Failed},
	model.Completed: {},
	model.Failed:    {model.Pending}, // a retry: the next run
	model.Cancelled: {model.Pending}, // likewise
}

// IsReachable says whether one commit, of several statements, may lead from one state to
// another. What has ended stays as it is, within its run.
func IsReachable(from, to model.Status, sameRun bool) bool {
	if from == to {
		return true
	}
	seen := map[model.Status]bool{from: true}
	for next := []model.Status{from}; len(next) > 0; next = next[1:] {
		if next[0].Final() && sameRun {
			continue
		}
		for _, status := range transitions[next[0]] {
			if status == to {
				return true
			}
			if !seen[status] {
				seen[status] = true
				next = append(next, status)
			}
		}
	}
	return false
}
