package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

// table reads what COPY has written, column by name. NULL and the empty text
// are the same to it.
type table struct {
	*interner
	path    string
	reader  *csv.Reader
	columns map[string]int
	record  []string
	line    int
	err     error
}

// eachRow calls take for each row of a file. One that is not there is an error: what it would
// have told is not checked, which must not look as if all were well.
func eachRow(path string, shared *symbols, take func(*table)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	t := &table{interner: newInterner(shared), path: path, reader: csv.NewReader(bufio.NewReaderSize(file, 1<<20)), columns: map[string]int{}}
	t.reader.ReuseRecord = true
	header, err := t.reader.Read()
	if err != nil {
		return fmt.Errorf("%s has no header: %w", path, err)
	}
	for i, name := range header {
		t.columns[name] = i
	}
	for t.next() {
		take(t)
	}
	return t.err
}

func (t *table) next() bool {
	if t.err != nil {
		return false
	}
	record, err := t.reader.Read()
	if err != nil {
		if !errors.Is(err, io.EOF) {
			t.err = fmt.Errorf("%s: %w", t.path, err)
		}
		return false
	}
	t.record = record
	t.line++
	return true
}

// at answers where a column is, or -1.
func (t *table) column(name string) int {
	if i, ok := t.columns[name]; ok {
		return i
	}
	return -1
}

func (t *table) text(name string) string {
	if i := t.column(name); i >= 0 {
		return t.record[i]
	}
	return ""
}

func (t *table) symbol(name string) symbol { return t.of(t.text(name)) }

func (t *table) flag(name string) bool { return t.text(name) == "t" }

func (t *table) int64(name string) int64 {
	text := t.text(name)
	if text == "" {
		return 0
	}
	x, err := strconv.ParseInt(text, 10, 64)
	t.check(err, name)
	return x
}

func (t *table) int32(name string) int32 { return int32(t.int64(name)) }

func (t *table) id(name string) id {
	text := t.text(name)
	if text == "" {
		return id{}
	}
	x, ok := parseID(text)
	if !ok {
		t.check(fmt.Errorf("%q is no id", text), name)
	}
	return x
}

func (t *table) instant(name string) int64 {
	text := t.text(name)
	if text == "" {
		return 0
	}
	x, err := parseInstant(text)
	t.check(err, name)
	return x
}

func (t *table) check(err error, column string) {
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("%s, row %d, %s: %w", t.path, t.line, column, err)
	}
}

// parseInstant reads PostgreSQL's text of a timestamptz as nanoseconds since 1970.
// Almost all of them are in UTC, and a million go through time.Parse in a second.
func parseInstant(text string) (int64, error) {
	for _, layout := range []string{"2006-01-02 15:04:05.999999-07", "2006-01-02 15:04:05.999999-07:00"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UnixNano(), nil
		}
	}
	switch text {
	case "infinity":
		return 1<<63 - 1, nil
	case "-infinity":
		return -1 << 63, nil
	}
	return 0, fmt.Errorf("%q is no timestamp", text)
}
