package engine

import (
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// leaseTable knows what the workers of this process hold.
type leaseTable struct {
	mu     sync.Mutex
	leases map[uuid.UUID]*lease
}

type lease struct {
	id     uuid.UUID
	worker *worker
	lease  model.Lease
	kind   model.Kind
	root   uuid.UUID
	parent uuid.UUID
	// position up to which the holder knows the history.
	position int
	// known is how long the history is at least.
	known int
	// writing counts writes under way: while there is one, the database's word on
	// the lease may be older or newer than ours.
	writing int
	touched time.Time
	// opened: there may be children or timers.
	opened bool
	// cancelTold: the holder has been told to stop.
	cancelTold bool
	// early, if the holder was told of it before the commit that starts it.
	early *early
}

func newLeaseTable() *leaseTable { return &leaseTable{leases: map[uuid.UUID]*lease{}} }

func (t *leaseTable) add(w *worker, claimed []model.Claimed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range claimed {
		c := &claimed[i]
		held := &lease{
			id: c.ID, worker: w, lease: c.Lease, kind: c.Kind, root: c.RootID, position: c.Position,
			touched: time.Now(), cancelTold: c.CancelRequested, opened: c.Kind == model.Workflow && c.Lease.Epoch > 1,
		}
		if c.ParentID != nil {
			held.parent = *c.ParentID
		}
		t.leases[c.ID] = held
	}
}

// addEarly takes in what the database does not know yet. Until it does, there is a write
// under way.
func (t *leaseTable) addEarly(x *early) (added bool) {
	t.mu.Lock()
	_, taken := t.leases[x.claimed.ID]
	t.mu.Unlock()
	if taken {
		return false
	}
	t.add(x.worker, []model.Claimed{x.claimed})
	t.mu.Lock()
	defer t.mu.Unlock()
	if held := t.leases[x.claimed.ID]; held != nil {
		held.early, held.writing = x, 1
	}
	return true
}

// written is what is known of an execution that is written under a lease; nothing, if the
// lease is none of this process.
type written struct {
	root, parent uuid.UUID
	kind         model.Kind
	// opened: there may be children or timers, by what came before this write.
	opened bool
	early  *early
}

// isRoot: only of a lease of this process is the root known.
func (w written) isRoot(id uuid.UUID) bool { return w.kind != "" && w.root == id }

// isPlain says whether a result has nothing to mind but the execution's own row, as far
// as is known here.
func (w written) isPlain(id uuid.UUID) bool { return w.isRoot(id) && !w.opened }

// plainParent is the one other row that a result has to mind, of what has no children.
func (w written) plainParent() uuid.UUID {
	if w.kind == model.Workflow {
		return uuid.Nil
	}
	return w.parent
}

// begin notes a write under a lease, and whether it starts children or timers.
func (t *leaseTable) begin(id uuid.UUID, l model.Lease, opens bool) written {
	t.mu.Lock()
	defer t.mu.Unlock()
	held, ok := t.leases[id]
	if !ok || held.lease != l {
		return written{root: id}
	}
	w := written{held.root, held.parent, held.kind, held.opened, nil}
	if x := held.early; x != nil && held.known <= x.claimed.Position { // else there is news to be told
		w.early = x
	}
	held.writing++
	held.opened = held.opened || opens
	held.touched = time.Now()
	return w
}

// end notes that a write has its answer: the lease goes on at a position, or is over.
func (t *leaseTable) end(id uuid.UUID, l model.Lease, goesOn bool, position int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	held, ok := t.leases[id]
	if !ok || held.lease != l {
		return
	}
	held.writing--
	held.touched = time.Now()
	held.position = max(held.position, position)
	if !goesOn {
		t.drop(held)
		held.worker.slots.freed()
		return
	}
	held.announce(false)
}

// tell passes news on to the holder, if it is in this process.
func (t *leaseTable) tell(w store.Woken) (here bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	held, ok := t.leases[w.ID]
	if !ok || w.Kind == "" {
		return false
	}
	held.known = max(held.known, w.HistoryLength)
	held.announce(w.Kind != model.Workflow)
	return true
}

// announce tells the holder once of what it does not know. What is written at
// the moment brings its own news. The table's lock is held.
func (l *lease) announce(cancel bool) {
	n := model.Notice{ID: l.id, Lease: l.lease}
	if cancel && !l.cancelTold {
		l.cancelTold, n.CancelRequested = true, true
	}
	if l.kind == model.Workflow && l.writing == 0 && l.known > l.position {
		l.position, n.NewEvents = l.known, true
	}
	if n.CancelRequested || n.NewEvents {
		l.worker.notify(n)
	}
}

// drop forgets a lease. The caller holds the lock.
func (t *leaseTable) drop(held *lease) {
	delete(t.leases, held.id)
	held.worker.freed()
}

// heldBy answers a worker's leases.
func (t *leaseTable) heldBy(w *worker) []*lease {
	t.mu.Lock()
	defer t.mu.Unlock()
	var held []*lease
	for _, l := range t.leases {
		if l.worker == w {
			held = append(held, l)
		}
	}
	return held
}

func (t *leaseTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.leases)
}

// reconcile compares what a worker believes to hold with what the database
// says, as of an instant before the question was asked. It tells the holder what
// is new, and answers rows that the worker holds without knowing.
func (t *leaseTable) reconcile(w *worker, rows []store.Held, asked time.Time) (unknown []store.Held) {
	var lost []model.Notice
	t.mu.Lock()
	defer t.mu.Unlock()
	byID := make(map[uuid.UUID]store.Held, len(rows))
	for _, row := range rows {
		byID[row.ID] = row
		if held, ok := t.leases[row.ID]; !ok || held.lease != row.Lease {
			unknown = append(unknown, row)
		}
	}
	for id, held := range t.leases {
		if held.worker != w || held.writing > 0 || !held.touched.Before(asked) {
			continue
		}
		row, ok := byID[id]
		if !ok || row.Lease != held.lease {
			lost = append(lost, model.Notice{ID: id, Lease: held.lease, Lost: true})
			t.drop(held)
			continue
		}
		held.known = max(held.known, row.HistoryLength)
		held.announce(row.CancelRequested)
	}
	for _, n := range lost {
		w.notify(n)
	}
	return unknown
}

// loseAll drops every lease of a worker that was declared dead.
func (t *leaseTable) loseAll(w *worker) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, held := range t.leases {
		if held.worker == w {
			w.notify(model.Notice{ID: id, Lease: held.lease, Lost: true})
			t.drop(held)
		}
	}
}

// holds says whether a lease is one of this process, and whether its holder was told to stop.
func (t *leaseTable) holds(id uuid.UUID, l model.Lease) (held, cancelled bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x, ok := t.leases[id]
	if !ok || x.lease != l {
		return false, false
	}
	return true, x.cancelTold
}

// knows says whether a lease is one of this process.
func (t *leaseTable) knows(id uuid.UUID, l model.Lease) bool {
	held, _ := t.holds(id, l)
	return held
}

// forget drops a lease that was given up.
func (t *leaseTable) forget(held *lease) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leases[held.id] == held {
		t.drop(held)
	}
}
