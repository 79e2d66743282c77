package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// journalLine is every line of every journal.
type journalLine struct {
	T        string          `json:"t"`
	Client   string          `json:"client"`
	Op       string          `json:"op"`
	X        string          `json:"x"`
	Name     string          `json:"name"`
	Kind     string          `json:"kind"`
	Key      *string         `json:"key"`
	UID      string          `json:"uid"`
	From     int64           `json:"from"`
	To       *int64          `json:"to"`
	Outcome  string          `json:"outcome"`
	Code     any             `json:"code"`
	Created  *bool           `json:"created"`
	Status   *string         `json:"status"`
	Value    json.RawMessage `json:"value"`
	Seq      *int32          `json:"seq"`
	Step     *string         `json:"step"`
	Attempt  int32           `json:"attempt"`
	Worker   *string         `json:"worker"`
	Epoch    *int64          `json:"epoch"`
	Token    *string         `json:"token"`
	PID      int32           `json:"pid"`
	OK       bool            `json:"ok"`
	At       int64           `json:"at"`
	Signal   string          `json:"signal"`
	What     string          `json:"what"`
	Position int32           `json:"position"`
	Answered int32           `json:"answered"`
	Target   any             `json:"target"`
	Winner   any             `json:"winner"`
	Replayed bool            `json:"replaying"`
	Run      int32           `json:"run"`
	Nonce    string          `json:"nonce"`
	Nonces   []string        `json:"nonces"`
}

// journals are read into the evidence, several files at a time.
type journals struct {
	*evidence
	mu    sync.Mutex
	byUID map[string]int32
}

func newJournals(e *evidence) *journals {
	e.uids = []string{""} // the first is none
	return &journals{evidence: e, byUID: map[string]int32{}}
}

func (j *journals) load(dir string) error {
	var paths []string
	for _, pattern := range []string{"client-*.jsonl", "worker-*.jsonl", "nemesis.jsonl"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		paths = append(paths, found...)
	}
	errs := make([]error, len(paths))
	var wait sync.WaitGroup
	slots := make(chan struct{}, 4)
	for i, path := range paths {
		wait.Go(func() {
			slots <- struct{}{}
			errs[i] = j.loadFile(path)
			<-slots
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// loadFile leaves out a last line that a kill has cut in two.
func (j *journals) loadFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	f := journalFile{journals: j, interner: newInterner(j.symbols), file: j.symbols.of(strings.TrimSuffix(filepath.Base(path), ".jsonl"))}
	reader := bufio.NewReaderSize(file, 1<<20)
	for n := 1; ; n++ {
		raw, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := f.take(raw); err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls = append(j.calls, f.calls...)
	j.writes = append(j.writes, f.writes...)
	j.lines = append(j.lines, f.lines...)
	j.faults = append(j.faults, f.faults...)
	return nil
}

type journalFile struct {
	*journals
	*interner
	file   symbol
	calls  []call
	writes []write
	lines  []line
	faults []injected
}

func (f *journalFile) take(raw []byte) error {
	var l journalLine
	if err := json.Unmarshal(raw, &l); err != nil {
		return err
	}
	switch l.T {
	case "call":
		return f.call(&l)
	case "write":
		return f.write(&l)
	case "begin", "end", "took", "late", "chose", "saw":
		return f.body(&l)
	case "fault":
		f.faults = append(f.faults, injected{kind: l.Kind, target: asText(l.Target), at: f.wall(l.At)})
	case "calm", "over":
		f.mu.Lock()
		defer f.mu.Unlock()
		if l.T == "calm" {
			f.calmAt = f.wall(l.At)
		} else {
			f.overAt = f.wall(l.At)
		}
	}
	return nil
}

// asText is how a target is known: by its name, if it has one beside other things.
func asText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case map[string]any:
		return asText(v["name"])
	case float64:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprint(v)
}

// wall turns a journal's clock into the database's.
func (e *evidence) wall(boottime int64) int64 {
	if boottime == 0 {
		return 0
	}
	return boottime + e.meta.OffsetNS
}

func (f *journalFile) call(l *journalLine) error {
	c := call{
		client: f.of(l.Client), op: f.of(l.Op), outcome: f.of(l.Outcome), code: f.of(asText(l.Code)), status: f.of(value(l.Status)),
		name: f.of(l.Name), kind: f.of(l.Kind), from: f.wall(l.From), key: value(l.Key), uid: f.uid(l.UID),
		created: l.Created != nil && *l.Created, hasCreated: l.Created != nil,
	}
	if l.To != nil {
		c.to = f.wall(*l.To)
	}
	if len(l.Value) > 0 {
		c.value = string(l.Value)
	}
	if c.to == 0 {
		c.outcome = outcomeUnknown
	}
	f.calls = append(f.calls, c)
	return readID(l.X, &f.calls[len(f.calls)-1].x)
}

func (f *journalFile) write(l *journalLine) error {
	w := write{
		what: f.of(l.What), outcome: f.of(l.Outcome), code: f.of(asText(l.Code)), status: f.of(value(l.Status)), epoch: value(l.Epoch),
		from: f.wall(l.From), to: f.wall(value(l.To)), position: l.Position, answered: l.Answered, sequence: value(l.Seq),
	}
	err := errors.Join(readID(l.X, &w.x), readID(value(l.Token), &w.token))
	f.writes = append(f.writes, w)
	return err
}

func (f *journalFile) body(l *journalLine) error {
	b := line{
		at: f.wall(l.At), epoch: -1, t: f.of(l.T), step: f.of(value(l.Step)), signal: f.of(l.Signal), code: f.of(asText(l.Code)),
		file: f.file, sequence: -1, attempt: l.Attempt, pid: l.PID, uid: f.uid(l.UID), winner: f.of(asText(l.Winner)), ok: l.OK, run: l.Run,
	}
	if l.Seq != nil {
		b.sequence = *l.Seq
	}
	if l.Epoch != nil {
		b.epoch = *l.Epoch
	}
	err := errors.Join(readID(l.X, &b.x), readID(value(l.Worker), &b.worker), readID(value(l.Token), &b.token), readID(l.Nonce, &b.nonce))
	for _, text := range l.Nonces {
		var nonce id
		err = errors.Join(err, readID(text, &nonce))
		b.nonce = b.nonce.with(nonce)
	}
	if l.T == "took" && l.Replayed {
		return err
	}
	f.lines = append(f.lines, b)
	return err
}

func (f *journalFile) uid(text string) int32 {
	if text == "" {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if uid, ok := f.byUID[text]; ok {
		return uid
	}
	uid := int32(len(f.uids))
	f.uids = append(f.uids, text)
	f.byUID[text] = uid
	return uid
}

func readID(text string, into *id) error {
	if text == "" {
		return nil
	}
	x, ok := parseID(text)
	if !ok {
		return fmt.Errorf("%q is no id", text)
	}
	*into = x
	return nil
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
