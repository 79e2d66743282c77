package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

const defaultColumns = 80

// terminalWidth answers how wide the terminal is that w writes to, if it is one.
func terminalWidth(w io.Writer) (columns int, terminal bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
		return columns, true
	}
	return defaultColumns, true
}

// document prints one JSON document on one line.
func (a *app) document(w io.Writer, v any) {
	raw, err := compact(v)
	if err != nil {
		raw = []byte(`{"error":{"code":"internal","message":"the command line could not encode its answer","retryable":false}}`)
	}
	fmt.Fprintf(w, "%s\n", raw)
}

// show prints raw with --json, else calls human.
func (a *app) show(raw any, human func()) {
	if a.json {
		a.document(a.stdout, raw)
		return
	}
	human()
}

// note tells a person something beside the answer.
func (a *app) note(format string, args ...any) {
	if !a.json {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

// colours of status words, by their SGR number.
var colours = map[string]int{
	"completed": 32, "active": 32, "ok": 32,
	"failed": 31, "dead": 31, "FAIL": 31,
	"cancelled": 33, "draining": 33, "warn": 33,
	"running": 36, "suspended": 35,
}

// paint colours a status word on a terminal that wants colours; spaces around it do not matter.
func (a *app) paint(word string) string {
	colour, known := colours[strings.TrimSpace(word)]
	if !known || a.getenv("NO_COLOR") != "" || a.getenv("TERM") == "dumb" {
		return word
	}
	if _, terminal := a.terminalWidth(a.stdout); !terminal {
		return word
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", colour, word)
}

// table prints rows in columns as wide as they need, the last one ragged.
// Cells of a column called STATUS are painted.
func (a *app) table(header []string, rows [][]string) {
	rows = append([][]string{header}, rows...)
	widths := make([]int, len(header))
	for _, row := range rows {
		for i := range row {
			row[i] = printable(row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			cell += strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
			if header[i] == "STATUS" {
				cell = a.paint(cell)
			}
			line.WriteString(cell)
		}
		fmt.Fprintln(a.stdout, strings.TrimRight(line.String(), " "))
	}
}

// facts prints pairs of a name and a value, leaving out those without a value.
func (a *app) facts(pairs [][2]string) {
	pairs = slices.DeleteFunc(pairs, func(p [2]string) bool { return p[1] == "" })
	width := 0
	for _, p := range pairs {
		width = max(width, len(p[0]))
	}
	for _, p := range pairs {
		fmt.Fprintf(a.stdout, "%-*s  %s\n", width, p[0], p[1])
	}
}

// printable replaces control characters: a name could move the cursor or break a table.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// inline tells a payload on one line.
func inline(raw []byte) string {
	var out bytes.Buffer
	if json.Compact(&out, raw) != nil {
		return printable(string(raw))
	}
	return printable(out.String())
}

// shorten cuts text to a number of characters.
func shorten(text string, most int) string {
	text = printable(text)
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// span tells a duration in its two greatest units at most: 840ms, 12s, 3m, 5h, 2d.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
}

// ago tells an instant relative to now, both ways.
func ago(at, now time.Time) string {
	if at.After(now.Add(time.Second)) {
		return "in " + span(at.Sub(now))
	}
	return span(now.Sub(at)) + " ago"
}

// moment tells an instant absolutely and relatively.
func (a *app) moment(at *time.Time) string {
	if at == nil {
		return ""
	}
	return fmt.Sprintf("%s (%s)", at.UTC().Format("2006-01-02 15:04:05Z"), ago(*at, a.now()))
}

func text[T ~string](s *T) string {
	if s == nil {
		return ""
	}
	return printable(string(*s))
}
