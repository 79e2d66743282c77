package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/ops"
)

const (
	module = "github.com/libworkflows/libworkflows/"
	// abiVersion changes when something that was promised no longer holds.
	abiVersion = 1
)

// everywhere lists the codes that any operation may fail with: their cause is
// around the operation, not in it.
var everywhere = []fault.Code{
	fault.InvalidRequest, fault.PayloadTooLarge, fault.Closed, fault.Busy, fault.Cancelled, fault.Timeout, fault.DatabaseUnavailable,
	fault.PermissionDenied, fault.SchemaMissing, fault.SchemaOutdated, fault.SchemaTooNew, fault.Internal,
}

// catalogue is everything that the outputs are written from.
type catalogue struct {
	ABIVersion int
	Digest     string
	Operations []operation
	Records    []*record // by name
	Enums      []*enum   // by name
	Faults     []faultCode
	Everywhere []fault.Code
}

type operation struct {
	Number         uint16
	Name, Method   string
	Request, Reply *record
	Doc            string
	Errors         []fault.Code
}

type faultCode struct {
	Code      fault.Code
	Doc       string
	Retryable bool
}

func newCatalogue(root string) (*catalogue, error) {
	sources := map[string]*source{}
	for _, name := range []string{"core/model", "core/fault", "core/engine"} {
		s, err := readSource(filepath.Join(root, name), module+name)
		if err != nil {
			return nil, err
		}
		sources[module+name] = s
	}
	c := &catalogue{ABIVersion: abiVersion, Digest: ops.Digest(), Everywhere: everywhere}
	c.Faults = faults(sources[module+"core/fault"])
	return c, c.build(sources)
}

func faults(s *source) []faultCode {
	var all []faultCode
	for _, code := range fault.Codes() {
		at := slices.IndexFunc(s.values["Code"], func(v constant) bool { return v.Value == string(code) })
		f := faultCode{Code: code, Retryable: fault.New(code, nil, "").Retryable}
		if at >= 0 {
			f.Doc = s.values["Code"][at].Doc
		}
		all = append(all, f)
	}
	return all
}

func (c *catalogue) build(sources map[string]*source) error {
	words := newWords(sources[module+"core/model"], sources[module+"core/fault"])
	types := newTypes(sources, words)
	methods := sources[module+"core/engine"].methods
	var errs []error
	for _, o := range ops.Table() {
		text, codes, err := splitErrors(methods["Engine."+o.Method])
		if err != nil {
			errs = append(errs, fmt.Errorf("the method %s: %w", o.Method, err))
		}
		c.Operations = append(c.Operations, operation{
			Number: o.Number, Name: o.Name, Method: o.Method, Errors: codes, Doc: words.sentence(text, o.Method),
			Request: types.request(o.Request), Reply: types.reply(o.Reply),
		})
	}
	types.roots()
	c.Records, c.Enums = types.sorted()
	return errors.Join(append(errs, types.err)...)
}

// undocumented fails for each operation whose method says nothing, once the
// scaffolding of the engine is gone.
func (c *catalogue) undocumented(root string) error {
	if _, err := os.Stat(filepath.Join(root, "core/engine/stub.go")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var errs []error
	for _, o := range c.Operations {
		if o.Doc == "" {
			errs = append(errs, fmt.Errorf("the method %s has no doc comment; %s is documented by it", o.Method, o.Name))
		}
	}
	return errors.Join(errs...)
}

// splitErrors takes the "Errors:" paragraph off a doc comment.
func splitErrors(doc string) (text string, codes []fault.Code, err error) {
	paragraphs := strings.Split(strings.TrimSpace(doc), "\n\n")
	last := paragraphs[len(paragraphs)-1]
	list, found := strings.CutPrefix(last, "Errors:")
	if !found {
		return strings.TrimSpace(doc), nil, nil
	}
	for word := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSpace(list), "."), ",") {
		code := fault.Code(strings.TrimSpace(word))
		if !slices.Contains(fault.Codes(), code) {
			return "", nil, fmt.Errorf("its Errors: line names %q, which is no fault code", code)
		}
		codes = append(codes, code)
	}
	return strings.Join(paragraphs[:len(paragraphs)-1], "\n\n"), codes, nil
}

// Constant is the operation's number in C.
func (o operation) Constant() string { return "WF_OP_" + strings.ToUpper(o.Name) }

// Last says whether an operation is the last of the table.
func (c *catalogue) Last(i int) bool { return i == len(c.Operations)-1 }
