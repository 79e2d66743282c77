package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/internal/memory"
	"github.com/libworkflows/libworkflows/core/model"
)

// Engines with all their loops, on a database in memory and a clock that is nobody's: what
// takes a second takes none, and comes to the millisecond.

// inBubble runs a test on a simulated database.
func inBubble(t *testing.T, test func(t *testing.T, s *simulation)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(nil, options{})
		for _, p := range s.processes {
			p.die()
		}
		test(t, s)
		synctest.Wait()
		if s.audit.wrong != "" {
			t.Error(s.audit.wrong)
		}
	})
}

// engine starts one with a worker.
func (s *simulation) engine(t *testing.T) (*Engine, *worker) {
	t.Helper()
	e := newEngine(s.db, settings{maxPayload: 1 << 20, maxHistory: 300, listenURL: listenOff})
	e.checked.Store(true)
	e.spawn("flusher", e.flusher.loop)
	reply, err := e.StartWorker(t.Context(), model.StartWorkerRequest{Queues: []string{"default"}, Language: "a", Runtime: "1", SDKVersion: "1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.stopLoops)
	w, err := e.findWorker(reply.WorkerID)
	if err != nil {
		t.Fatal(err)
	}
	return e, w
}

// What loops write at the same time is read under the database's lock.

func (s *simulation) heard(w *worker) time.Time {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	return s.audit.beats[w.current()]
}

func (s *simulation) isDead(w *worker) bool {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	return s.audit.isDead(w.current())
}

func (s *simulation) find(id uuid.UUID) memory.Execution {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	return *s.db.state.Find(id)
}

// stopLoops is the end of a process.
func (e *Engine) stopLoops() {
	e.end()
	e.loops.Wait()
}

func start(t *testing.T, e *Engine, n model.NewExecution) uuid.UUID {
	t.Helper()
	reply, err := e.CreateExecution(t.Context(), model.CreateExecutionRequest{Items: []model.NewExecution{n}})
	if err != nil {
		t.Fatal(err)
	}
	return reply.Results[0].ID
}

func claim(t *testing.T, e *Engine, w *worker, wait time.Duration) []model.Claimed {
	t.Helper()
	reply, err := e.Claim(t.Context(), model.ClaimRequest{WorkerID: w.handle, N: 4, WaitMS: wait.Milliseconds()})
	if err != nil {
		t.Fatal(err)
	}
	return reply.Executions
}

func TestAWorkerBeatsEveryQuarterOfItsTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, s *simulation) {
		_, w := s.engine(t)
		for range 20 {
			time.Sleep(2500*time.Millisecond + time.Millisecond)
			synctest.Wait()
			if age := time.Since(s.heard(w)); age > 25*time.Millisecond {
				t.Fatalf("the last beat was %s ago", age)
			}
		}
	})
}

func TestAWorkerThatIsNotHeardClaimsNothingUntilItIsHeardAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, s *simulation) {
		_, w := s.engine(t)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		s.db.setDown(true)
		heard := s.heard(w)
		time.Sleep(time.Until(heard.Add(8 * time.Second)))
		if w.stale() {
			t.Fatal("stale before four fifths of the timeout")
		}
		time.Sleep(time.Millisecond)
		if !w.stale() || w.mayClaim() {
			t.Fatal("not stale after four fifths of the timeout")
		}
		s.db.setDown(false)
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		if w.stale() || !w.mayClaim() {
			t.Fatal("stale after a beat")
		}
	})
}

func TestATimerFiresWhenItIsDueAndNotAtTheNextPoll(t *testing.T) {
	inBubble(t, func(t *testing.T, s *simulation) {
		e, w := s.engine(t)
		id := start(t, e, model.NewExecution{Kind: model.Workflow, Name: "w"})
		c := claim(t, e, w, time.Second)[0]
		_, err := e.AdvanceWorkflow(t.Context(), model.AdvanceWorkflowRequest{Items: []model.Advance{
			{ID: id, Lease: c.Lease, Position: c.Position, Commands: []model.Command{timer(1, 4321)}, Then: model.ThenSuspend},
		}})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		again := claim(t, e, w, time.Minute)
		if late := time.Since(began) - 4321*time.Millisecond; len(again) != 1 || late < 0 || late > 5*time.Millisecond {
			t.Fatalf("claimed %s, %s late", asText(again), late)
		}
	})
}

func TestWhatTheDeadHeldIsClaimedWithinTheTimeoutAndASecond(t *testing.T) {
	inBubble(t, func(t *testing.T, s *simulation) {
		dead, w := s.engine(t)
		living, other := s.engine(t)
		id := start(t, dead, model.NewExecution{Kind: model.Job, Name: "j"})
		if c := claim(t, dead, w, time.Second); len(c) != 1 {
			t.Fatalf("claimed %s", asText(c))
		}
		time.Sleep(7 * time.Second)
		dead.stopLoops()
		died := time.Now()
		again := claim(t, living, other, time.Minute)
		took := time.Since(died)
		if len(again) != 1 || again[0].ID != id || again[0].Lease.Epoch != 2 {
			t.Fatalf("claimed %s", asText(again))
		}
		if took < 7*time.Second || took > 11100*time.Millisecond { // the last beat is up to 2.5 s old
			t.Fatalf("claimed after %s", took)
		}
	})
}

func TestNobodyIsDeadAfterAnOutageOfTheDatabase(t *testing.T) {
	inBubble(t, func(t *testing.T, s *simulation) {
		one, w := s.engine(t)
		_, v := s.engine(t)
		start(t, one, model.NewExecution{Kind: model.Job, Name: "j"})
		held := claim(t, one, w, time.Second)
		time.Sleep(5 * time.Second)
		s.db.setDown(true)
		time.Sleep(2 * time.Minute)
		s.db.setDown(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.isDead(w) || s.isDead(v) {
			t.Fatal("a worker that lived through it is dead")
		}
		if e := s.find(held[0].ID); e.Epoch != 1 || e.Status != model.Running {
			t.Fatalf("the job is %s under epoch %d", e.Status, e.Epoch)
		}
	})
}

func TestSlotsAreFilledForAMomentAfterAClaimAndThenGivenBack(t *testing.T) {
	inBubble(t, func(t *testing.T, s *simulation) {
		e, w := s.engine(t)
		if c := claim(t, e, w, 50*time.Millisecond); len(c) != 0 {
			t.Fatalf("claimed %s", asText(c))
		}
		soon := start(t, e, model.NewExecution{Kind: model.Job, Name: "soon"})
		time.Sleep(slotsGrace + time.Millisecond)
		later := start(t, e, model.NewExecution{Kind: model.Job, Name: "later"})
		synctest.Wait()
		if a, b := s.find(soon).Status, s.find(later).Status; a != model.Running || b != model.Pending {
			t.Fatalf("within the grace it is %s, after it %s", a, b)
		}
		time.Sleep(4 * time.Second) // the next beat finds that nobody has come
		synctest.Wait()
		if x := s.find(soon); x.Status != model.Pending || x.Attempts != 0 {
			t.Fatalf("what nobody came for is %s after %d attempts", x.Status, x.Attempts)
		}
	})
}
