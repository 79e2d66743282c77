package engine

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// holding answers a worker that holds one workflow at position 1, and the row
// that the database has of it.
func holding() (*leaseTable, *worker, store.Held) {
	table, w := newLeaseTable(), &worker{engine: &Engine{}, wake: make(chan struct{}, 1), noticed: make(chan struct{}, 1)}
	lease := model.Lease{Epoch: 1, Token: uuid.New()}
	id := uuid.New()
	table.add(w, []model.Claimed{{ID: id, Kind: model.Workflow, Lease: lease, Position: 1}})
	return table, w, store.Held{ID: id, Lease: lease, HistoryLength: 1}
}

// later is an instant after whatever the table has noted.
func later() time.Time { return time.Now().Add(time.Second) }

func TestALeaseThatTheDatabaseDoesNotNameIsLost(t *testing.T) {
	t.Parallel()
	for name, rows := range map[string]func(store.Held) []store.Held{
		"gone":          func(store.Held) []store.Held { return nil },
		"another token": func(h store.Held) []store.Held { h.Lease.Token = uuid.New(); return []store.Held{h} },
	} {
		table, w, row := holding()
		table.reconcile(w, rows(row), later())
		if notices := w.takeNotices(); len(notices) != 1 || !notices[0].Lost {
			t.Errorf("%s: told %s", name, asText(notices))
		}
		if table.len() != 0 {
			t.Errorf("%s: still held", name)
		}
	}
}

func TestAnAnswerOlderThanAClaimOrBesideAWriteLosesNothing(t *testing.T) {
	t.Parallel()
	table, w, row := holding()
	table.reconcile(w, nil, time.Now().Add(-time.Second))
	if notices := w.takeNotices(); len(notices) != 0 {
		t.Fatalf("an older answer: told %s", asText(notices))
	}
	table.begin(row.ID, row.Lease, false)
	table.reconcile(w, nil, later())
	if notices := w.takeNotices(); len(notices) != 0 {
		t.Fatalf("beside a write: told %s", asText(notices))
	}
}

func TestNewsIsToldOnceAndNotWhileAWriteBringsIt(t *testing.T) {
	t.Parallel()
	table, w, row := holding()
	news := store.Woken{ID: row.ID, Kind: model.Workflow, HistoryLength: 2}
	table.begin(row.ID, row.Lease, false)
	table.tell(news)
	if notices := w.takeNotices(); len(notices) != 0 {
		t.Fatalf("during a write: told %s", asText(notices))
	}
	table.end(row.ID, row.Lease, true, 1)
	if notices := w.takeNotices(); len(notices) != 1 || !notices[0].NewEvents {
		t.Fatalf("after a write that did not bring it: told %s", asText(notices))
	}
	table.tell(news)
	row.HistoryLength = 2
	table.reconcile(w, []store.Held{row}, later())
	if notices := w.takeNotices(); len(notices) != 0 {
		t.Fatalf("again: told %s", asText(notices))
	}
}

func TestACancelIsToldOnce(t *testing.T) {
	t.Parallel()
	table, w, row := holding()
	row.CancelRequested = true
	for i := range 2 {
		table.reconcile(w, []store.Held{row}, later())
		if notices := w.takeNotices(); (len(notices) == 1 && notices[0].CancelRequested) != (i == 0) {
			t.Fatalf("look %d: told %s", i, asText(notices))
		}
	}
}

func TestARowThatNobodyHereKnowsIsAnswered(t *testing.T) {
	t.Parallel()
	table, w, row := holding()
	stray := store.Held{ID: uuid.New(), Lease: model.Lease{Epoch: 3, Token: uuid.New()}}
	if unknown := table.reconcile(w, []store.Held{row, stray}, later()); len(unknown) != 1 || unknown[0].ID != stray.ID {
		t.Fatalf("answered %s", asText(unknown))
	}
}
