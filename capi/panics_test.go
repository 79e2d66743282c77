package main

import (
	"context"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

// Not parallel: it takes the library of the exports away.
func TestAPanicInAnExportIsACodeAndAnError(t *testing.T) {
	whole := theLibrary
	theLibrary = nil // so that whatever they do is a panic
	defer func() { theLibrary = whole }()
	got := callAll(1, 2)
	if len(got) != 5 {
		t.Fatalf("%d exports", len(got))
	}
	for name, result := range got {
		if result.code != -8 { // WF_INTERNAL
			t.Errorf("%s answered %d", name, result.code)
		}
		hasOutput := name == "wf_open" || name == "wf_get_execution"
		if code, _ := failureCode([]byte(result.output)); hasOutput && (code != fault.Internal || !json.Valid([]byte(result.output))) {
			t.Errorf("%s gave %q", name, result.output)
		}
	}
}

func TestAPanicWhileOpeningIsForAllWhoWait(t *testing.T) {
	t.Parallel()
	entered, goOn := make(chan struct{}), make(chan struct{})
	l := newLibrary(func(context.Context, model.Config) (core, error) {
		close(entered)
		<-goOn
		panic("as the test wants it")
	})
	first := make(chan any, 1)
	go func() {
		defer func() { first <- recover() }()
		_, _ = l.open(nil)
	}()
	<-entered
	second := make(chan error, 1)
	e, isFirst := l.engines.find(mustKey(t))
	if isFirst {
		t.Fatal("nobody opens it")
	}
	go func() {
		<-e.opened
		second <- e.err
	}()
	close(goOn)
	if reason := <-first; reason == nil {
		t.Error("the panic did not reach the export, which recovers it")
	}
	if err := <-second; fault.CodeOf(err) != fault.Internal {
		t.Errorf("the other was told %v", err)
	}
}

func mustKey(t *testing.T) string {
	t.Helper()
	key, err := engineKey(model.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAPanicInAChannelEndsOneRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	session := r.c.session
	r.c.taking.Lock() // so that its goroutine finds it as it is to be
	r.submit(frame{1, opEcho, nil}, frame{2, opEcho, nil})
	r.c.session = nil
	r.c.taking.Unlock()
	for _, done := range r.await(2) {
		if done.code() != fault.Internal {
			t.Errorf("%d completed with %s", done.Token, done.Reply)
		}
	}
	r.c.taking.Lock()
	r.c.session = session
	r.c.taking.Unlock()
	r.submit(echoes(3, 5)...)
	r.await(5)
}

func TestAPanicOfTheCrewEndsOneJob(t *testing.T) {
	t.Parallel()
	c := crew{jobs: make(chan func())}
	done := make(chan struct{})
	for range 3 {
		c.run(func() {
			defer func() { done <- struct{}{} }()
			panic("as the test wants it")
		})
		<-done
	}
	c.run(func() { close(done) })
	<-done
}

// guards are the functions that may start a goroutine: each sees to its panics, or cannot have one.
var guards = []string{
	"capi spawn", "core/engine spawn", "core/engine freed", // which recover
	"core/cli spinner", "core/embedded startKeepingAccess", "core/embedded launch",
	"core/engine after", "core/engine whenDone", // which recover
	"core/cmd/workflows main",
}

// isAfterFunc: what it is given runs in a goroutine, too.
func isAfterFunc(n ast.Node) bool {
	called, is := n.(*ast.SelectorExpr)
	return is && called.Sel.Name == "AfterFunc"
}

func TestEveryGoroutineIsGuarded(t *testing.T) {
	t.Parallel()
	var found []string
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if entry.IsDir() && slices.Contains([]string{"node_modules", "build", "tests", "bench", "gen", "pgtest", "pgproxy", ".git", ".tools"}, entry.Name()) {
			return fs.SkipDir
		}
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		directory := strings.TrimPrefix(filepath.Dir(path), "../")
		for _, declared := range file.Decls {
			function, is := declared.(*ast.FuncDecl)
			if !is {
				continue
			}
			ast.Inspect(function, func(n ast.Node) bool {
				if _, is := n.(*ast.GoStmt); is || isAfterFunc(n) {
					found = append(found, directory+" "+function.Name.Name)
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	if want := slices.Sorted(slices.Values(guards)); !slices.Equal(found, want) {
		t.Errorf("goroutines are started by %q, and may be by %q", found, want)
	}
}
