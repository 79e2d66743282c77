package main

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// load reads a run's directory. Tables are read side by side with the journals:
// on two cores that is most of the time that the checker takes.
func load(dir string) (*evidence, error) {
	e := &evidence{symbols: newSymbols()}
	if err := e.loadMeta(dir); err != nil {
		return nil, err
	}
	journals := newJournals(e)
	var payloads payloads
	steps := []func() error{
		func() error { return e.loadAudit(filepath.Join(dir, "audit.csv")) },
		func() error { return journals.load(dir) },
		func() error { return payloads.loadExecutions(e, filepath.Join(dir, "executions.csv")) },
		func() error { return payloads.loadHistory(e, filepath.Join(dir, "history.csv")) },
		func() error { return e.loadTimers(filepath.Join(dir, "timers.csv")) },
		func() error { return e.loadWorkers(filepath.Join(dir, "workers.csv")) },
		func() error { return e.loadLog(filepath.Join(dir, "server.log")) },
		func() error { return e.loadSessions(filepath.Join(dir, "sessions.csv")) },
	}
	errs := make([]error, len(steps))
	var wait sync.WaitGroup
	for i, step := range steps {
		wait.Go(func() { errs[i] = step() })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	payloads.findUIDs(e, journals.byUID)
	return e, nil
}

func (e *evidence) loadMeta(dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &e.meta); err != nil {
		return err
	}
	l := &e.meta.Limits
	for _, d := range []struct {
		field *int64
		value int64
	}{
		{&e.meta.HeartbeatTimeoutMS, 30000}, {&e.meta.PollMS, 1000}, {&l.ClockSlackMS, 250},
		{&l.WakeSlackMS, 100}, {&l.RecoverySlack, 1000}, {&l.GraceMS, 1000},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if l.CrashLimit == 0 {
		l.CrashLimit = 3
	}
	return nil
}

func (e *evidence) loadAudit(path string) error {
	err := eachRow(path, e.symbols, func(t *table) {
		r := row{
			n: t.int64("n"), at: t.instant("at"), txid: t.int64("txid"), x: t.id("x"),
			oldEpoch: t.int64("old_epoch"), newEpoch: t.int64("new_epoch"), oldToken: t.id("old_token"), newToken: t.id("new_token"), worker: t.id("worker"),
			hash: t.id("result_hash"), runAt: t.instant("run_at"), eventAt: t.instant("event_at"), seenAt: t.instant("committed_at"),
			tab: t.symbol("tab"), op: t.symbol("op"), oldStatus: t.symbol("old_status"), newStatus: t.symbol("new_status"), event: t.symbol("type"),
			statement: t.symbol("statement"), writer: t.symbol("writer"), parked: t.symbol("parked"),
			run: t.int32("run"), crashes: t.int32("crashes"), releases: t.int32("releases"), attempts: t.int32("attempts"), failures: t.int32("failures"),
			length: t.int32("history_length"), position: t.int32("position"), sequence: t.int32("sequence"),
			cancel: t.flag("cancel"), alone: t.flag("alone"),
		}
		if r.tab == workersTable {
			e.beats = append(e.beats, r)
			return
		}
		e.audit = append(e.audit, r)
	})
	slices.SortFunc(e.audit, func(a, b row) int { return cmp.Compare(a.n, b.n) }) // a table has no order
	e.audit = tellLives(e.audit)
	return err
}

// tellLives tells rows that were inserted as they ended as what they stand for: inserted for a holder,
// a history that began, and an end by the holder. What the rules ask of each holds of these, too.
func tellLives(audit []row) []row {
	ends := map[id]row{}
	told := make([]row, 0, len(audit))
	for _, r := range audit {
		end, found := ends[r.x]
		switch {
		case r.tab == executionsTable && r.op == inserted && r.newStatus == completed && r.statement == stCreateEarly && !r.worker.isZero():
			var begun row
			begun, ends[r.x] = lived(r)
			told = append(told, begun)
		case found:
			if end.txid == r.txid && r.event == evStarted {
				r.newStatus, end.n = running, r.n
				told = append(told, r, end)
			} else { // without a history, which is for the rules
				told = append(told, end, r)
			}
			delete(ends, r.x)
		default:
			told = append(told, r)
		}
	}
	for _, end := range ends {
		told = append(told, end)
	}
	return told
}

func lived(r row) (begun, ended row) {
	begun, ended = r, r
	begun.newStatus, begun.hash = running, id{}
	ended.op, ended.oldStatus, ended.oldEpoch, ended.oldToken = updated, running, r.newEpoch, r.newToken
	return begun, ended
}

// payloads keeps texts until the journals have told which unique ids to look for.
type payloads struct {
	arguments []string
	signals   map[int]string
}

func (p *payloads) loadExecutions(e *evidence, path string) error {
	return eachRow(path, e.symbols, func(t *table) {
		e.executions = append(e.executions, execution{
			id: t.id("id"), parent: t.id("parent_id"), worker: t.id("worker"), token: t.id("token"),
			parentRun: t.int32("parent_run"), sequence: t.int32("sequence"), run: t.int32("run"),
			length: t.int32("history_length"), attempts: t.int32("attempts"), failures: t.int32("failures"),
			crashes: t.int32("crashes"), releases: t.int32("releases"), epoch: t.int64("epoch"),
			kind: t.symbol("kind"), name: t.symbol("name"), queue: t.symbol("queue"), status: t.symbol("status"),
			parked: t.symbol("parked"), language: t.symbol("language"),
			runAt: t.instant("run_at"), createdAt: t.instant("created_at"), finishedAt: t.instant("finished_at"), deadlineAt: t.instant("deadline_at"),
			cancel: t.text("cancel_requested_at") != "", reported: t.flag("reported"),
			key: t.text("idempotency_key"), result: t.text("result"), failure: t.text("error"),
			nonce: noncesIn(t.text("result")),
		})
		p.arguments = append(p.arguments, t.text("args")+t.text("kwargs"))
	})
}

func (p *payloads) loadHistory(e *evidence, path string) error {
	p.signals = map[int]string{}
	return eachRow(path, e.symbols, func(t *table) {
		payload := t.text("payload")
		h := event{
			x: t.id("execution_id"), at: t.instant("at"), event: t.symbol("type"), name: t.symbol("name"),
			run: t.int32("run"), position: t.int32("position"), sequence: t.int32("sequence"),
		}
		if payload != "" {
			h.hash = md5.Sum([]byte(payload))
		}
		if isOutcome(h.event) {
			h.nonce = noncesIn(payload)
		}
		switch h.event {
		case evSignalReceived:
			p.signals[len(e.events)] = payload
		case evTimerStarted:
			var timer struct {
				DelayMS int64 `json:"delay_ms"`
			}
			t.check(json.Unmarshal([]byte(payload), &timer), "payload")
			h.delayMS = timer.DelayMS
		}
		e.events = append(e.events, h)
	})
}

// findUIDs looks for the unique ids of calls in what they were stored as.
func (p *payloads) findUIDs(e *evidence, byUID map[string]int32) {
	for i, text := range p.arguments {
		e.executions[i].uids = uidsIn(text, byUID)
	}
	for i, text := range p.signals {
		if found := uidsIn(text, byUID); len(found) > 0 {
			e.events[i].uid = found[0]
		}
	}
}

// uidsIn looks up the strings of a JSON text. Unique ids need no escapes.
func uidsIn(text string, byUID map[string]int32) (found []int32) {
	for {
		start := strings.IndexByte(text, '"')
		if start < 0 {
			return found
		}
		text = text[start+1:]
		end := strings.IndexByte(text, '"')
		if end < 0 {
			return found
		}
		if uid, ok := byUID[text[:end]]; ok {
			found = append(found, uid)
		}
		text = text[end+1:]
	}
}

func (e *evidence) loadTimers(path string) error {
	return eachRow(path, e.symbols, func(t *table) {
		e.timers = append(e.timers, timer{x: t.id("execution_id"), kind: t.symbol("kind"), run: t.int32("run"), sequence: t.int32("sequence"), dueAt: t.instant("due_at")})
	})
}

func (e *evidence) loadWorkers(path string) error {
	return eachRow(path, e.symbols, func(t *table) {
		e.workers = append(e.workers, worker{
			id: t.id("id"), name: t.symbol("name"), language: t.symbol("language"), status: t.symbol("status"),
			concurrency: int(t.int64("concurrency")), timeout: t.int64("heartbeat_timeout_ms") * 1e6,
			startedAt: t.instant("started_at"), heartbeat: t.instant("heartbeat_at"),
			queues: strings.Split(strings.Trim(t.text("queues"), "{}"), ","),
		})
	})
}

// loadLog counts deadlocks in the server's own words.
func (e *evidence) loadLog(path string) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	e.hasLog = true
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 64<<20)
	for scanner.Scan() {
		if bytes.Contains(scanner.Bytes(), []byte("deadlock detected")) || bytes.Contains(scanner.Bytes(), []byte("40P01")) {
			e.deadlocks++
		}
	}
	return scanner.Err()
}

// loadSessions reads what was left behind: rows of pg_stat_activity and pg_locks, however they were chosen.
func (e *evidence) loadSessions(path string) error {
	return eachRow(path, e.symbols, func(t *table) {
		e.sessions = append(e.sessions, strings.Join(t.record, " "))
	})
}
