package main

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"
)

// story writes a run's directory as the rig would have left it. What its methods do
// is legal, in the engine's own transitions; tests then break it in one way.
type story struct {
	t          testing.TB
	now        int64 // nanoseconds since 1970
	n          int64
	txid       int64
	made       uint64
	meta       map[string]any
	audit      []*auditRow
	executions []*told
	history    []*eventRow
	timers     []string
	workers    []*holder
	journals   map[string][]map[string]any
	sessions   []string
}

const (
	second  = int64(time.Second)
	ms      = int64(time.Millisecond)
	boot    = int64(1_790_000_000) * second // when the machine of the story booted
	timeout = 4 * second
)

func newStory(t testing.TB) *story {
	return &story{
		t: t, now: boot + 1000*second, txid: 700, journals: map[string][]map[string]any{},
		meta: map[string]any{"seed": 7, "commit": "abc", "heartbeat_timeout_ms": 4000, "poll_ms": 500, "boottime_offset_ns": boot},
	}
}

func (s *story) uuid() id {
	s.made++
	var x id
	binary.BigEndian.PutUint64(x[8:], s.made)
	x[0] = 1
	return x
}

func (s *story) pass(d int64) *story { s.now += d; return s }

// auditRow is a row of the audit, in the words of the database.
type auditRow struct {
	n, at, txid        int64
	tab, op            string
	x                  id
	was, is            state
	event              string
	position, sequence int
	eventAt            int64
	hash               string
	statement, writer  string
}

// state is what the audit has of an execution's row.
type state struct {
	status, parked                        string
	run, length                           int
	epoch                                 int64
	token, worker                         id
	crashes, releases, attempts, failures int
	result, failure                       string
	runAt, finishedAt                     int64
	cancel, alone                         bool
}

// told is an execution.
type told struct {
	*story
	id                    id
	kind, name, key       string
	parent                *told
	parentRun, sequence   int
	args, language        string
	reported              bool
	createdAt, deadlineAt int64
	gone                  bool
	state
}

type eventRow struct {
	x             *told
	run, position int
	event, name   string
	sequence      int
	payload, key  string
	at            int64
}

// holder is a worker.
type holder struct {
	*story
	id          id
	name        string
	status      string
	writer      string
	heartbeat   int64
	concurrency int
}

func (s *story) worker(name string) *holder {
	w := &holder{story: s, id: s.uuid(), name: name, writer: "engine-" + name, concurrency: 4}
	s.workers = append(s.workers, w)
	return w.set("active", "register")
}

func (w *holder) set(status, statement string) *holder {
	w.pass(ms)
	op := "U"
	if w.status == "" {
		op, w.heartbeat = "I", w.now
	}
	if statement == "beat" {
		w.heartbeat = w.now
	}
	w.append(&auditRow{tab: "workers", op: op, x: w.id, was: state{status: w.status}, is: state{status: status, worker: w.id}, eventAt: w.heartbeat, statement: statement, writer: w.writer})
	w.status = status
	return w
}

// beat keeps all that live alive until the time has passed.
func (s *story) beat(d int64, alive ...*holder) *story {
	for until := s.now + d; s.now < until; {
		s.pass(min(timeout/4, until-s.now))
		for _, w := range alive {
			w.set("active", "beat")
		}
	}
	return s
}

// die is a worker's death as its peers see it: silence, and a burial.
func (w *holder) die(alive ...*holder) *holder {
	w.fault("kill9", w.name)
	w.beat(timeout, alive...)
	return w.set("dead", "bury")
}

func (s *story) fault(kind, target string) {
	s.line("nemesis", map[string]any{"t": "fault", "kind": kind, "target": target, "at": s.now - boot})
}

func (s *story) line(file string, fields map[string]any) map[string]any {
	s.journals[file] = append(s.journals[file], fields)
	return fields
}

func (s *story) append(r *auditRow) *auditRow {
	s.n++
	r.n, r.txid = s.n, s.txid
	if r.at == 0 {
		r.at = s.now
	}
	s.audit = append(s.audit, r)
	return r
}

// call is a client's, answered after a millisecond.
func (s *story) call(client, op string, x *told, fields map[string]any) map[string]any {
	from := s.now
	s.pass(ms)
	call := map[string]any{"t": "call", "client": client, "op": op, "from": from - boot, "to": s.now - boot, "outcome": "ok"}
	if x != nil {
		call["x"], call["name"], call["kind"] = x.id.String(), x.name, x.kind
	}
	for k, v := range fields {
		call[k] = v
	}
	return s.line("client-"+client, call)
}

// make inserts an execution that nobody was told of yet.
func (s *story) make(kind, name string) *told {
	s.pass(ms)
	s.txid++
	x := &told{story: s, id: s.uuid(), kind: kind, name: name, createdAt: s.now, args: "[]"}
	x.state = state{status: "pending", run: 1, runAt: s.now}
	s.executions = append(s.executions, x)
	return x
}

func (x *told) insert() *told {
	x.append(&auditRow{tab: "executions", op: "I", x: x.id, is: x.state, statement: "create", writer: "engine-client"})
	return x
}

// start is a client's, with a unique id in its arguments.
func (s *story) start(kind, name string) *told {
	x := s.make(kind, name)
	uid := fmt.Sprintf("u%d", s.made)
	x.args = `["` + uid + `"]`
	x.insert()
	s.call("c1", "start", x, map[string]any{"uid": uid, "created": true, "status": "pending"})
	return x
}

// write is one statement on the row, in a transaction of its own.
func (x *told) write(statement, writer string, change func(*state)) *auditRow {
	x.pass(ms)
	x.txid++
	return x.also(statement, writer, change)
}

// also is a further statement of the same transaction.
func (x *told) also(statement, writer string, change func(*state)) *auditRow {
	was := x.state
	change(&x.state)
	return x.append(&auditRow{tab: "executions", op: "U", x: x.id, was: was, is: x.state, statement: statement, writer: writer})
}

// adds appends an event of the transaction under way.
func (x *told) adds(event string, sequence int, name, payload, statement, writer string) *eventRow {
	return x.addsTo(x.run, x.length, event, sequence, name, payload, statement, writer)
}

func (x *told) addsTo(run, position int, event string, sequence int, name, payload, statement, writer string) *eventRow {
	h := &eventRow{x: x, run: run, position: position, event: event, sequence: sequence, name: name, payload: payload, at: x.now}
	x.history = append(x.history, h)
	x.append(&auditRow{tab: "history", op: "I", x: x.id, is: state{status: x.status, run: run, epoch: x.epoch, token: x.token, worker: x.state.worker, length: x.length},
		event: event, position: position, sequence: sequence, eventAt: h.at, hash: sum(payload), statement: statement, writer: writer})
	return h
}

func sum(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf("%x", md5.Sum([]byte(text)))
}

// lease is a claim.
type lease struct {
	*told
	by    *holder
	epoch int64
	token id
}

func (x *told) claim(w *holder) *lease {
	fresh := x.kind == "workflow" && x.language == ""
	token := x.uuid()
	x.write("claim", w.writer, func(r *state) {
		r.status, r.epoch, r.token, r.worker = "running", r.epoch+1, token, w.id
		if x.kind != "workflow" || fresh {
			r.attempts++
		}
		if fresh {
			r.length++
		}
	})
	if fresh {
		x.language = "python"
		x.adds("started", 0, "", `{"language" : "python"}`, "claim", w.writer)
	}
	return &lease{told: x, by: w, epoch: x.epoch, token: token}
}

// begin is a body's first line; sequence -1 is the execution's own.
func (l *lease) begin(step string, sequence, attempt int) map[string]any {
	l.pass(ms)
	fields := map[string]any{"t": "begin", "x": l.id.String(), "worker": l.by.id.String(), "epoch": l.epoch, "token": l.token.String(),
		"attempt": attempt, "pid": 100 + len(l.by.name), "at": l.now - boot, "lang": "python", "seq": nil, "step": nil}
	if sequence >= 0 {
		fields["seq"], fields["step"] = sequence, step
	}
	return l.line("worker-"+l.by.name, fields)
}

func (l *lease) end(begun map[string]any, ok bool) {
	l.pass(ms)
	fields := map[string]any{}
	for k, v := range begun {
		fields[k] = v
	}
	fields["t"], fields["ok"], fields["at"] = "end", ok, l.now-boot
	l.line("worker-"+l.by.name, fields)
}

// runs is a whole body.
func (l *lease) runs() *lease {
	l.end(l.begin("", -1, 1), true)
	return l
}

func (l *lease) complete(result string) *lease {
	l.write("finish", l.by.writer, func(r *state) {
		r.status, r.result, r.failure, r.crashes, r.finishedAt = "completed", result, "", 0, l.now
	})
	return l
}

func (l *lease) fail(again bool) *lease {
	l.write("finish", l.by.writer, func(r *state) {
		r.status, r.failure, r.crashes = "failed", `{"type":"Sad"}`, 0
		r.failures++
		r.finishedAt = l.now
		if again {
			r.status, r.finishedAt, r.runAt = "scheduled", 0, l.now+second
		}
	})
	return l
}

func (l *lease) release() {
	l.write("release", l.by.writer, func(r *state) {
		r.status, r.token, r.crashes = "pending", id{}, 0
		r.releases++
		if l.kind != "workflow" {
			r.attempts--
		}
	})
}

// lose is what a peer does about the worker's death.
func (l *lease) lose(peer *holder) *told {
	l.write("requeue_lost", peer.writer, func(r *state) {
		r.status, r.token = "pending", id{}
		if r.crashes < 2 || r.alone {
			r.crashes++
		}
		r.alone = false
	})
	return l.told
}

// advance appends the holder's events, each "type sequence name payload", and may suspend.
func (l *lease) advance(suspend bool, entries ...[4]string) *lease {
	l.write("advance", l.by.writer, func(r *state) {
		r.length += len(entries)
		r.crashes = 0
		if suspend {
			r.status = "suspended"
		}
	})
	for i, e := range entries {
		sequence, _ := strconv.Atoi(e[1])
		l.addsTo(l.run, l.length-len(entries)+1+i, e[0], sequence, e[2], e[3], "advance", l.by.writer)
	}
	return l
}

// step is a whole one: body and record.
func (l *lease) step(sequence int, name, result string) *lease {
	l.end(l.begin(name, sequence, 1), true)
	return l.advance(false, [4]string{"step_completed", strconv.Itoa(sequence), name, result})
}

// outside appends an event that does not come from the holder, and wakes who is suspended.
func (x *told) outside(event string, sequence int, name, payload, statement string) *eventRow {
	x.write(statement, "engine-other", func(r *state) {
		r.length++
		if r.status == "suspended" {
			r.status, r.runAt = "pending", x.now
		}
	})
	return x.adds(event, sequence, name, payload, statement, "engine-other")
}

// signal is a client's call and the event.
func (x *told) signal(client, name string) string {
	uid := x.uuid().String()
	from := x.now
	x.outside("signal_received", 0, name, `{"uid":"`+uid+`"}`, "signal")
	x.call(client, "signal", x, map[string]any{"uid": uid, "from": from - boot})
	return uid
}

func (l *lease) take(name, uid string) {
	l.pass(ms)
	l.line("worker-"+l.by.name, map[string]any{"t": "took", "x": l.id.String(), "signal": name, "uid": uid, "epoch": l.epoch, "at": l.now - boot, "replaying": false})
}

// child is scheduled by an advance that inserts it.
func (l *lease) child(sequence int, name string) *told {
	l.advance(false, [4]string{"activity_scheduled", strconv.Itoa(sequence), name, `{"kind":"activity"}`})
	c := &told{story: l.story, id: l.uuid(), kind: "activity", name: name, parent: l.told, parentRun: l.run, sequence: sequence, createdAt: l.now, args: "[]"}
	c.state = state{status: "pending", run: 1, runAt: l.now}
	l.executions = append(l.executions, c)
	return c.insert()
}

// tell is what settle does for the end of a child.
func (x *told) tell() *told {
	x.parent.also("finish", "engine-other", func(r *state) {
		r.length++
		if r.status == "suspended" {
			r.status, r.runAt = "pending", x.now
		}
	})
	payload := x.result
	if x.status != "completed" {
		payload = fmt.Sprintf(`{"error" : %s, "attempts" : %d}`, x.failure, x.attempts)
	}
	x.parent.adds("activity_"+x.status, x.sequence, x.name, payload, "finish", "engine-other")
	return x
}

func (x *told) cancel() {
	from := x.now
	x.write("mark_cancel", "engine-client", func(r *state) { r.cancel = true })
	x.call("c1", "cancel", x, map[string]any{"from": from - boot})
}

func (x *told) answer(status, value string) map[string]any {
	return x.call("c1", "result", x, map[string]any{"status": status, "value": json.RawMessage(value)})
}

func (x *told) retry() *told {
	x.write("retry", "engine-client", func(r *state) {
		*r = state{status: "pending", run: r.run + 1, epoch: r.epoch, token: r.token, worker: r.worker, releases: r.releases, attempts: r.attempts, runAt: x.now}
	})
	x.call("c1", "retry", x, nil)
	return x
}

// over ends the run: calm, and then nothing more.
func (s *story) over() *story {
	s.pass(second)
	s.line("nemesis", map[string]any{"t": "calm", "at": s.now - boot})
	s.pass(10 * second)
	s.line("nemesis", map[string]any{"t": "over", "at": s.now - boot})
	return s
}
