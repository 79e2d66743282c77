package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/internal/memory"
	"github.com/libworkflows/libworkflows/core/model"
)

// A schedule is a list of moves; what a number means is read against what is there when
// its turn comes, so that a schedule with a move taken out is a schedule.

type moveKind int

const (
	moveCreate moveKind = iota
	moveRepeat          // a client that had no answer sends a start again
	moveSignal
	moveStop // cancel or terminate
	moveRetry
	moveClaim
	moveAct
	moveFlush
	moveBeat
	moveTick
	moveSleep
	moveStall
	moveCrash
	moveRetire
	moveHaunt // what was cut off arrives
	moveClock // the database's clock steps
	moveMark  // a replica falls behind here
	moveFailover
	moves
)

var moveNames = [moves]string{
	"create", "repeat a start", "signal", "stop", "retry", "claim", "act", "flush", "beat", "tick", "sleep", "stall", "crash", "retire",
	"late commits arrive", "step of the clock", "the replica falls behind", "failover",
}

// weights make what carries work forward more likely than what goes wrong.
var weights = [moves]int{9, 2, 5, 3, 2, 14, 26, 22, 3, 5, 6, 3, 2, 1, 2, 1, 3, 2}

type move struct {
	kind    moveKind
	a, b, c int
}

func (m move) String() string { return fmt.Sprintf("%s %d %d %d", moveNames[m.kind], m.a, m.b, m.c) }

const (
	simProcesses = 3
	simMoves     = 40
)

// drawMoves answers a seed's schedule.
func drawMoves(seed uint64) []move {
	d, total := chance(seed), 0
	for _, w := range weights {
		total += w
	}
	list := make([]move, simMoves)
	for i := range list {
		n, kind := d.below(total), moveKind(0)
		for n >= weights[kind] {
			n -= weights[kind]
			kind++
		}
		list[i] = move{kind, d.below(1 << 16), d.below(1 << 16), d.below(1 << 16)}
	}
	list[0].kind, list[1].kind = moveCreate, moveCreate
	return list
}

// simulation is a schedule under way.
type simulation struct {
	db        *simStore
	audit     *audit
	processes []*process
	moves     []move
	ids       uint64
	names     map[uuid.UUID]string
	requests  []model.NewExecution
	sent      int
	replica   *memory.State
	copies    audit
	log       *strings.Builder
	// settling: nothing goes wrong any more.
	settling bool
}

// verdict is what playing a schedule came to.
type verdict struct {
	wrong string
	log   string
	steps int
}

// options of a play.
type options struct {
	without map[memory.Guard]bool
	twin    *twin
	verbose bool
}

// play runs a schedule in a bubble of its own, whose clock only it moves.
func play(t *testing.T, list []move, o options) (v verdict) {
	synctest.Test(t, func(*testing.T) {
		s := newSimulation(list, o)
		s.run()
		for _, p := range s.processes {
			p.die()
		}
		v.wrong, v.steps = s.audit.wrong, s.db.commits
		if s.log != nil {
			v.log = s.log.String()
		}
	})
	return v
}

func newSimulation(list []move, o options) *simulation {
	state := memory.New()
	state.Without = o.without
	s := &simulation{moves: slices.Clone(list), names: map[uuid.UUID]string{}}
	if o.verbose {
		s.log = &strings.Builder{}
	}
	s.db = &simStore{state: state, twin: o.twin, logf: s.logf}
	s.audit = newAudit(state, s.db.now, s.name)
	s.db.audit = s.audit
	if o.verbose {
		s.audit.logf = s.logf
	}
	for i := range simProcesses {
		s.processes = append(s.processes, s.newProcess(i))
	}
	return s
}

func (s *simulation) logf(format string, args ...any) {
	if s.log != nil {
		fmt.Fprintf(s.log, format+"\n", args...)
	}
}

// newID answers ids in an order that follows from the schedule.
func (s *simulation) newID() uuid.UUID {
	s.ids++
	id := uuid.UUID{6: 0x70, 8: 0x80}
	for i := range 6 {
		id[15-i] = byte(s.ids >> (8 * i))
	}
	return id
}

func (s *simulation) name(id uuid.UUID) string {
	e := s.db.state.Find(id)
	if e == nil {
		return id.String()
	}
	return fmt.Sprintf("%s %s (%x)", e.Kind, e.Name, id[13:])
}

// run plays all moves, and then lets everything come to its end.
func (s *simulation) run() {
	for len(s.moves) > 0 && !s.isDone() {
		s.step()
	}
	if !s.isDone() {
		s.settle()
	}
}

func (s *simulation) isDone() bool { return s.audit.wrong != "" || s.audit.isOver }

// step plays the next move. Some are cut in two by the one behind them, which then comes
// between two commits of an operation.
func (s *simulation) step() {
	m := s.moves[0]
	s.moves = s.moves[1:]
	s.logf("%s", m)
	if m.c%4 == 0 && len(s.moves) > 0 && isDivisible(m) {
		s.db.between = func() { s.interject(m) }
	}
	s.play(m)
	s.db.between, s.db.fate = nil, granted
	for _, p := range s.processes {
		p.hear()
	}
}

// isDivisible: several commits, by one process, which another may come between.
func isDivisible(m move) bool { return m.kind == moveTick || m.kind == moveRetry }

// interject skips the first call, which is followed by others.
func (s *simulation) interject(m move) {
	skip := m.b % 3
	var wait func()
	wait = func() {
		if skip--; skip >= 0 {
			s.db.between = wait
			return
		}
		if len(s.moves) > 0 && s.moves[0].a%simProcesses != m.a%simProcesses && !isDivisible(s.moves[0]) && s.moves[0].kind != moveSleep && s.moves[0].kind != moveFailover {
			next := s.moves[0]
			s.moves = s.moves[1:]
			s.logf("  between: %s", next)
			outer := s.db.fate
			s.db.fate = granted
			s.play(next)
			s.db.fate = outer
		}
	}
	wait()
}

func (s *simulation) play(m move) {
	p := s.processes[m.a%simProcesses]
	switch m.kind {
	case moveCreate:
		s.create(p, m)
	case moveRepeat:
		if n := len(s.requests); n > 0 {
			s.send(p, s.requests[m.b%n])
		}
	case moveSignal, moveStop, moveRetry:
		if e := s.pick(m.b); e != nil {
			s.tell(p, e, m)
		}
	case moveClaim:
		s.db.fate = s.fateOf(m.c)
		p.claim()
	case moveAct:
		if n := len(p.bodies); n > 0 {
			p.act(p.bodies[m.b%n], unlikely(m.c))
		}
	case moveFlush:
		s.db.fate = s.fateOf(m.c)
		p.flush(m.b%2 == 0)
	case moveBeat:
		s.db.fate = s.fateOf(m.c)
		p.beat()
	case moveTick:
		p.tick()
	case moveSleep:
		if m.c%3 == 0 {
			s.db.beforeBury = s.stir
		}
		s.sleep(time.Duration([]int{1, 60, 110, 250, 500, 1100, 1800}[m.b%7]) * time.Millisecond)
		s.db.beforeBury = nil
	default:
		s.disturb(p, m)
	}
}

// stir lets a worker that was silent beat at the last moment.
func (s *simulation) stir(id uuid.UUID) {
	for _, p := range s.processes {
		if p.worker.current() == id {
			p.beat()
		}
	}
}

// fateOf: most calls are granted.
func (s *simulation) fateOf(n int) fate {
	if s.settling || n%8 >= int(fates) {
		return granted
	}
	return fate(n % 8)
}

// unlikely: most acts go well.
func unlikely(n int) int {
	if n%24 < 7 {
		return n % 24
	}
	return 9
}

func (s *simulation) disturb(p *process, m move) {
	switch m.kind {
	case moveStall:
		p.stalled = !p.stalled
		s.logf("  process %d is stalled: %t", p.number, p.stalled)
	case moveCrash:
		s.replace(p)
	case moveRetire:
		p.retire()
	case moveHaunt:
		s.db.haunt()
	case moveClock:
		s.db.skew += time.Duration(m.b%5-2) * 700 * time.Millisecond
	case moveMark:
		if s.db.twin == nil {
			s.mark()
		}
	case moveFailover:
		if s.replica != nil {
			s.failover()
		}
	}
}

// replace lets a process die and another take its place.
func (s *simulation) replace(p *process) {
	p.die()
	s.db.fate = granted
	s.processes[p.number] = s.newProcess(p.number)
}

// pick answers any execution, youngest first.
func (s *simulation) pick(n int) *memory.Execution {
	if all := s.db.state.Executions; len(all) > 0 {
		return all[len(all)-1-n%len(all)]
	}
	return nil
}

func (s *simulation) create(p *process, m move) {
	id := s.newID()
	if m.c%5 == 0 {
		id[0] = 0xF0 // above the ids of its children
	}
	priority, retries, initial, jitter := m.c%3, m.c%3, int64(20), 0.0
	n := model.NewExecution{
		ID: &id, Kind: model.Workflow, Name: "w" + itoa(m.b%4096), Queue: []string{"", "other"}[m.c/7%2], Priority: &priority,
		Awaited: m.c%2 == 0, Retry: &model.RetryPolicy{Retries: &retries, InitialMS: &initial, Jitter: &jitter},
	}
	switch m.b % 10 {
	case 0, 1:
		n.Kind, n.Name = model.Job, "a"+itoa(m.b/10%4)
	case 2:
		n.Kind, n.Name = model.Job, poison
	}
	switch m.c % 11 {
	case 0:
		n.DelayMS = 150
	case 1:
		n.TimeoutMS = 1500
	case 2:
		n.ScheduleTimeoutMS = 400
	case 3, 4:
		key := "k" + itoa(m.c/11%2)
		n.IdempotencyKey, n.Name = &key, n.Name[:1]
		if n.Kind == model.Workflow {
			n.Name = "w5"
		}
	case 5:
		if n.Kind == model.Workflow {
			key := "s"
			n.Signals = []model.StartSignal{{Name: "s", Payload: model.Payload("0")}, {Name: "s", IdempotencyKey: &key}}
		}
	}
	s.requests = append(s.requests, n)
	s.send(p, n)
}

func (s *simulation) send(p *process, n model.NewExecution) {
	p.start(func(ctx context.Context) func() {
		reply, err := p.CreateExecution(ctx, model.CreateExecutionRequest{Items: []model.NewExecution{n}})
		return func() {
			if err == nil {
				s.audit.started(&n, reply.Results[0])
			}
		}
	})
}

// tell sends what comes from outside to an execution.
func (s *simulation) tell(p *process, e *memory.Execution, m move) {
	target := model.TargetsRequest{Items: []model.Target{{ID: e.ID}}}
	switch m.kind {
	case moveSignal:
		s.signal(p, e, m)
	case moveStop:
		p.start(func(ctx context.Context) func() {
			act := p.CancelExecution
			if m.c%3 == 0 {
				act = p.TerminateExecution
			}
			reply, err := act(ctx, target)
			return func() {
				if err == nil && reply.Results[0].OK != nil {
					s.audit.askedToStop(e.ID)
				}
			}
		})
	case moveRetry:
		s.db.fate = []fate{granted, granted, replyLost}[m.c%3]
		_, _ = p.RetryExecution(p.life, target)
	}
}

func (s *simulation) signal(p *process, e *memory.Execution, m move) {
	s.sent++
	key := "n" + itoa(s.sent)
	if m.c%4 == 0 {
		key = "k" + itoa(m.c/4%2) // sent again and again
	}
	x := model.Signal{ID: e.ID, Name: "s", Payload: model.Payload(itoa(s.sent)), IdempotencyKey: &key}
	p.start(func(ctx context.Context) func() {
		reply, err := p.SendSignal(ctx, model.SendSignalRequest{Items: []model.Signal{x}})
		return func() {
			if err == nil && reply.Results[0].OK != nil {
				s.audit.signaled(x.ID, "k:"+key)
			}
		}
	})
}

// sleep lets time pass. Processes that are not stalled beat, and look for what is due.
func (s *simulation) sleep(d time.Duration) {
	for ; d > 0; d -= simInterval {
		time.Sleep(min(d, simInterval))
		for _, p := range s.processes {
			if !p.stalled && d >= simInterval {
				p.beat()
				p.tick()
			}
		}
	}
}

// closes says whether children wait to be closed, which needs the flusher.
func (s *simulation) closes() bool {
	return slices.ContainsFunc(s.db.state.Timers, func(t *memory.Timer) bool { return t.Kind == "close" })
}

// mark remembers what an asynchronous replica has got.
func (s *simulation) mark() {
	s.replica = s.db.state.Clone()
	s.copies = s.audit.copied()
}

// failover goes on from the replica: the tail of what was acknowledged is gone.
func (s *simulation) failover() {
	s.db.ghosts = nil
	*s.db.state = *s.replica
	s.audit.restore(s.copies)
	s.replica = nil
	s.audit.deceived = map[uuid.UUID]model.Lease{}
	for _, p := range s.processes {
		for _, b := range p.bodies {
			if e := s.db.state.Find(b.ID); e != nil && b.position > e.HistoryLength {
				s.audit.deceived[b.ID] = b.Lease
			}
		}
	}
}
