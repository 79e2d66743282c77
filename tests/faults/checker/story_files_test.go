package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// --- writing it down ------------------------------------------------------------

func (s *story) write() string {
	dir := s.t.TempDir()
	put := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	meta, _ := json.Marshal(s.meta)
	put("meta.json", meta)
	put("audit.csv", s.auditCSV())
	put("executions.csv", s.executionsCSV())
	put("history.csv", s.historyCSV())
	put("workers.csv", s.workersCSV())
	put("timers.csv", s.timersCSV())
	for name, lines := range s.journals {
		var b bytes.Buffer
		for _, line := range lines {
			raw, err := json.Marshal(line)
			if err != nil {
				s.t.Fatal(err)
			}
			b.Write(append(raw, '\n'))
		}
		put(name+".jsonl", b.Bytes())
	}
	put("sessions.csv", []byte(strings.Join(append([]string{"state"}, s.sessions...), "\n")+"\n"))
	return dir
}

func asCSV(header []string, rows func(put func(...any))) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(header)
	record := make([]string, len(header))
	rows(func(values ...any) {
		for i, v := range values {
			record[i] = csvText(v)
		}
		_ = w.Write(record)
	})
	w.Flush()
	return b.Bytes()
}

func csvText(v any) string {
	switch v := v.(type) {
	case id:
		if v.isZero() {
			return ""
		}
		return v.String()
	case bool:
		return strconv.FormatBool(v)[:1]
	case instant:
		if v == 0 {
			return ""
		}
		return time.Unix(0, int64(v)).UTC().Format("2006-01-02 15:04:05.999999-07")
	case string:
		return v
	}
	return fmt.Sprint(v)
}

type instant int64

var auditHeader = []string{"n", "at", "txid", "tab", "op", "x", "run", "old_status", "new_status", "old_epoch", "new_epoch", "old_token", "new_token", "worker",
	"crashes", "releases", "attempts", "failures", "history_length", "position", "type", "sequence", "result_hash", "run_at", "event_at", "parked", "cancel", "alone",
	"statement", "writer"}

func (s *story) auditCSV() []byte {
	return asCSV(auditHeader, func(put func(...any)) {
		for _, r := range s.audit {
			hash, eventAt := r.hash, r.eventAt
			if r.tab == "executions" {
				hash, eventAt = sum(r.is.result+r.is.failure), r.is.finishedAt
			}
			put(r.n, instant(r.at), r.txid, r.tab, r.op, r.x, r.is.run, r.was.status, r.is.status, r.was.epoch, r.is.epoch, r.was.token, r.is.token, r.is.worker,
				r.is.crashes, r.is.releases, r.is.attempts, r.is.failures, r.is.length, r.position, r.event, r.sequence, hash, instant(r.is.runAt), instant(eventAt),
				r.is.parked, r.is.cancel, r.is.alone, r.statement, r.writer)
		}
	})
}

func (s *story) executionsCSV() []byte {
	header := []string{"id", "parent_id", "parent_run", "sequence", "reported", "kind", "name", "queue", "idempotency_key", "run", "status", "run_at", "created_at", "finished_at",
		"cancel_requested_at", "deadline_at", "worker", "epoch", "token", "history_length", "attempts", "failures", "crashes", "releases", "parked", "language", "args", "kwargs", "result", "error"}
	return asCSV(header, func(put func(...any)) {
		for _, x := range s.executions {
			if x.gone {
				continue
			}
			var parent id
			if x.parent != nil {
				parent = x.parent.id
			}
			cancelled := instant(0)
			if x.state.cancel {
				cancelled = instant(x.createdAt)
			}
			put(x.id, parent, x.parentRun, x.sequence, x.reported, x.kind, x.name, "default", x.key, x.run, x.status, instant(x.runAt), instant(x.createdAt), instant(x.finishedAt),
				cancelled, instant(x.deadlineAt), x.state.worker, x.epoch, x.token, x.length, x.attempts, x.failures, x.crashes, x.releases, x.parked, x.language, x.args, "", x.result, x.failure)
		}
	})
}

func (s *story) historyCSV() []byte {
	return asCSV([]string{"execution_id", "run", "position", "type", "sequence", "name", "key", "payload", "at"}, func(put func(...any)) {
		for _, h := range s.history {
			put(h.x.id, h.run, h.position, h.event, h.sequence, h.name, h.key, h.payload, instant(h.at))
		}
	})
}

func (s *story) workersCSV() []byte {
	return asCSV([]string{"id", "name", "queues", "concurrency", "language", "status", "heartbeat_timeout_ms", "started_at", "heartbeat_at"}, func(put func(...any)) {
		for _, w := range s.workers {
			put(w.id, w.name, "{default}", w.concurrency, "python", w.status, timeout/ms, instant(w.heartbeat), instant(w.heartbeat))
		}
	})
}

func (s *story) timersCSV() []byte {
	return asCSV([]string{"execution_id", "run", "kind", "sequence", "due_at"}, func(put func(...any)) {
		for _, line := range s.timers {
			var x, kind string
			var run, sequence int
			var due int64
			if _, err := fmt.Sscan(line, &x, &run, &kind, &sequence, &due); err != nil {
				s.t.Fatal(err)
			}
			put(x, run, kind, sequence, instant(due))
		}
	})
}
