package engine

import "sync"

// rumour is what a worker has heard of work that is due since its last look.
type rumour struct {
	mu sync.Mutex
	// known counts what this process itself has put into the worker's queues; beyond says
	// that there may be more than that.
	known  int
	beyond bool
}

func (r *rumour) hear(known int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known, r.beyond = r.known+known, r.beyond || known == 0
}

func (r *rumour) take() (known int, beyond bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, beyond = r.known, r.beyond
	r.known, r.beyond = 0, false
	return known, beyond
}

// rouse makes a worker look for what is due: for so many that are known of, or with 0 for
// whatever there is.
func (w *worker) rouse(known int) {
	w.rumour.hear(known)
	poke(w.wake)
}
