package engine

import (
	"sync"
	"time"

	"github.com/libworkflows/libworkflows/core/store"
)

// suspectPatience is how long something that crashed its worker twice waits for
// a process with nothing else to do, before one is emptied for it.
const suspectPatience = 10 * time.Second

// solo keeps what crashed its worker twice apart from everything else in this
// process: if it crashes once more, nobody else can have been to blame.
type solo struct {
	mu sync.Mutex
	// due: there is such an execution.
	due bool
	// urgent: this process is the one to run empty for it.
	urgent bool
	// held: one is running here, alone.
	held bool
}

// noteSuspect takes down what a tick found.
func (e *Engine) noteSuspect(due store.Due) {
	e.solo.mu.Lock()
	e.solo.due = due.Suspect != nil
	e.solo.urgent = e.solo.due && due.First && due.Now.Sub(*due.Suspect) > suspectPatience
	wake := e.solo.due
	e.solo.mu.Unlock()
	if wake {
		e.wakeAll()
	}
}

func (e *Engine) wakeAll() {
	for _, w := range e.listWorkers() {
		w.rouse(0)
	}
}

// mode decides what may be claimed, when the process holds so many executions.
func (s *solo) mode(held int) (suspect, may bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held && held > 0 {
		return false, false
	}
	s.held = false
	switch {
	case !s.due:
		return false, true
	case held == 0:
		return true, true
	}
	return false, !s.urgent
}

// took notes what a claim of a suspect brought.
func (s *solo) took(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due, s.urgent, s.held = false, false, n > 0
}

// waits says whether somebody waits for the process to be empty.
func (s *solo) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.due || s.held
}
