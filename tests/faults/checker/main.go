// The checker reads what a run under faults has left behind and says whether any
// invariant was broken: journals of clients and workers, the audit of the
// database, and its tables at the end.
//
//	checker [--json FILE] DIRECTORY
//
// An outcome that a client never learnt stays a "maybe": either way is right.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
)

func main() {
	json := flag.String("json", "", "write the figures to this `file`")
	flag.Usage = func() {
		_, _ = fmt.Fprintln(os.Stderr, "usage: checker [--json FILE] DIRECTORY")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	isViolated, err := run(os.Stdout, flag.Arg(0), *json)
	switch {
	case err != nil:
		_, _ = fmt.Fprintln(os.Stderr, "checker:", err)
		os.Exit(2)
	case isViolated:
		os.Exit(1)
	}
}

func run(out io.Writer, dir, json string) (isViolated bool, err error) {
	e, err := load(dir)
	if err != nil {
		return false, err
	}
	r := check(e)
	if json != "" {
		if err := r.writeJSON(json); err != nil {
			return false, err
		}
	}
	r.print(out, e)
	_, isViolated = r.first()
	return isViolated, nil
}

// check looks at each execution by itself, and then at what only all of them show.
func check(e *evidence) *report {
	slices.SortFunc(e.faults, func(a, b injected) int { return cmp.Compare(a.at, b.at) })
	w := newWorld(e)
	for i := range w.ids {
		if l := w.at(int32(i)); !l.x.isZero() {
			l.check()
		}
	}
	w.checkKeys()
	w.checkBurials()
	w.checkWaits()
	w.checkSessions()
	w.measureRecoveries()
	w.explain()
	w.tally()
	return w.report
}

func (l *look) check() {
	l.checkRows()
	l.checkEnds()
	l.checkClaims()
	l.checkHistory()
	l.checkReplays()
	l.checkEnded()
	l.checkChild()
	l.checkCommands()
	l.checkBodies()
	l.checkRaces()
	l.checkSeen()
	l.checkAnswered()
	l.checkStopped()
	l.checkCalls()
	l.checkWrites()
	l.noteTargets()
	l.noteClaims()
	l.noteWaits()
}
