// Command gen writes everything that is said once in Go and needed elsewhere:
// the C header and exports, the schema, the types of Python and TypeScript, and the reference.
//
//	go run ./core/ops/gen          writes
//	go run ./core/ops/gen -check   writes nothing and fails naming each stale file
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// An output is one generated file. A new one is a file beside this and a line here.
type output struct {
	path   string
	render func(*catalogue) ([]byte, error)
}

var outputs = []output{
	{"include/workflows.h", renderHeader},
	{"include/workflows.schema.json", renderSchema},
	{"capi/operations_gen.h", renderExports},
	{"adapters/python/src/workflows/_operations.py", renderPython},
	{"docs/operations.md", renderReference},
	{"adapters/node/src/_operations.ts", renderTypeScript},
}

func main() {
	check := flag.Bool("check", false, "write nothing; fail naming each stale file")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(check bool) error {
	root, err := findRoot()
	if err != nil {
		return err
	}
	c, err := newCatalogue(root)
	if err != nil {
		return err
	}
	if check {
		return errors.Join(c.undocumented(root), eachOutput(c, root, compare))
	}
	return eachOutput(c, root, write)
}

// eachOutput renders every output and does something with it; it goes on after
// an error so that all of them are reported.
func eachOutput(c *catalogue, root string, do func(path string, content []byte) error) error {
	var errs []error
	for _, o := range outputs {
		content, err := o.render(c)
		if err == nil {
			err = do(filepath.Join(root, o.path), content)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", o.path, err))
		}
	}
	return errors.Join(errs...)
}

func compare(path string, content []byte) error {
	there, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !bytes.Equal(there, content) {
		return errors.New("stale; run `make generate`")
	}
	return nil
}

// write replaces a file only when it differs, so that nothing is rebuilt for nothing.
func write(path string, content []byte) error {
	if compare(path, content) == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// findRoot answers the directory of go.mod, wherever in the repository this runs.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the working directory; run this inside the repository")
		}
	}
}
