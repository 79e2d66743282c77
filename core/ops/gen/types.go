package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

// record is a JSON object with known fields.
type record struct {
	Name, Doc string
	Fields    []field
	// Sent is true for requests and what they are made of.
	Sent bool
}

type field struct {
	Name, Doc string
	// Default as the comment says it, or "".
	Default  string
	Type     typeRef
	Required bool
	// Nullable is true for what is always there but may be null.
	Nullable bool
}

// enum is a string with known values.
type enum struct {
	Name, Doc string
	Values    []constant
}

// typeRef is a field's type; exactly one member is set.
type typeRef struct {
	Simple string // string, integer, number, boolean, uuid, instant, payload, details
	Record *record
	Enum   *enum
	List   *typeRef
}

var simple = map[reflect.Type]string{
	reflect.TypeFor[uuid.UUID]():     "uuid",
	reflect.TypeFor[time.Time]():     "instant",
	reflect.TypeFor[model.Payload](): "payload",
	reflect.TypeFor[fault.Details](): "details",
}

var simpleKinds = map[reflect.Kind]string{
	reflect.String: "string", reflect.Bool: "boolean", reflect.Float64: "number",
	reflect.Int: "integer", reflect.Int64: "integer",
}

// types collects what requests and replies are made of.
type types struct {
	sources map[string]*source
	words   words
	records map[reflect.Type]*record
	enums   map[reflect.Type]*enum
	err     error // the first type that has no JSON form here
}

func newTypes(sources map[string]*source, w words) *types {
	return &types{sources: sources, words: w, records: map[reflect.Type]*record{}, enums: map[reflect.Type]*enum{}}
}

func (ts *types) request(t reflect.Type) *record {
	r := ts.record(t)
	r.send()
	return r
}

func (ts *types) reply(t reflect.Type) *record { return ts.record(t) }

// roots adds what crosses the ABI outside operations.
func (ts *types) roots() {
	ts.request(reflect.TypeFor[model.Config]())
	ts.record(reflect.TypeFor[fault.Error]())
}

// send marks a record and what it is made of as sent by callers.
func (r *record) send() {
	if r.Sent {
		return
	}
	r.Sent = true
	for _, f := range r.Fields {
		if part := f.Type.innermost().Record; part != nil {
			part.send()
		}
	}
}

// innermost answers what a list, or a list of lists, is a list of.
func (t typeRef) innermost() typeRef {
	for t.List != nil {
		t = *t.List
	}
	return t
}

func (ts *types) record(t reflect.Type) *record {
	if r, ok := ts.records[t]; ok {
		return r
	}
	r := &record{Name: wireName(t)}
	ts.records[t] = r
	own := map[string]string{sourceName(t): r.Name}
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			own[f.Name] = jsonName(f)
		}
	}
	s := ts.source(t)
	r.Doc = ts.words.text(strings.TrimSpace(s.types[sourceName(t)]), map[string]string{sourceName(t): r.Name})
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			r.Fields = append(r.Fields, ts.field(f, ts.words.text(s.fields[sourceName(t)+"."+f.Name], own)))
		}
	}
	return r
}

func (ts *types) field(f reflect.StructField, doc string) field {
	optional := strings.Contains(f.Tag.Get("json"), ",omitempty")
	pointer := f.Type.Kind() == reflect.Pointer
	return field{
		Name: jsonName(f), Doc: doc, Default: defaultIn(doc), Type: ts.ref(f.Type),
		Required: !optional, Nullable: pointer && !optional,
	}
}

func (ts *types) ref(t reflect.Type) typeRef {
	if name, ok := simple[t]; ok {
		return typeRef{Simple: name}
	}
	switch {
	case t == reflect.TypeFor[error]():
		return typeRef{Record: ts.record(reflect.TypeFor[fault.Error]())}
	case t.Kind() == reflect.Pointer:
		return ts.ref(t.Elem())
	case t.Kind() == reflect.Slice:
		elem := ts.ref(t.Elem())
		return typeRef{List: &elem}
	case t.Kind() == reflect.Struct:
		return typeRef{Record: ts.record(t)}
	case t.Kind() == reflect.String && t.PkgPath() != "":
		return typeRef{Enum: ts.enum(t)}
	}
	name, ok := simpleKinds[t.Kind()]
	if !ok && ts.err == nil {
		ts.err = fmt.Errorf("the type %s has no form here; teach it to core/ops/gen/types.go", t)
	}
	return typeRef{Simple: name}
}

func (ts *types) enum(t reflect.Type) *enum {
	if e, ok := ts.enums[t]; ok {
		return e
	}
	s := ts.source(t)
	e := &enum{Name: wireName(t), Doc: ts.words.text(strings.TrimSpace(s.types[t.Name()]), map[string]string{t.Name(): wireName(t)})}
	for _, v := range s.values[t.Name()] {
		said := strings.TrimPrefix(strings.TrimPrefix(v.Doc, v.Name), ":") // "CommandCancel cancels", "ReleaseDrain: the worker"
		e.Values = append(e.Values, constant{v.Name, v.Value, ts.words.text(strings.TrimSpace(said), nil)})
	}
	ts.enums[t] = e
	return e
}

func (ts *types) source(t reflect.Type) *source {
	if s, ok := ts.sources[t.PkgPath()]; ok {
		return s
	}
	return &source{}
}

// sorted answers records and enumerations by name, and minds that no two have the same.
func (ts *types) sorted() ([]*record, []*enum) {
	records := slices.SortedFunc(maps.Values(ts.records), func(a, b *record) int { return cmp.Compare(a.Name, b.Name) })
	enums := slices.SortedFunc(maps.Values(ts.enums), func(a, b *enum) int { return cmp.Compare(a.Name, b.Name) })
	seen := map[string]bool{"Caller": true, "CallOptions": true, "FaultInfo": true, "Operation": true, "OperationInfo": true, "Payload": true}
	for _, r := range records {
		ts.unique(seen, r.Name)
	}
	for _, e := range enums {
		ts.unique(seen, e.Name)
	}
	return records, enums
}

func (ts *types) unique(seen map[string]bool, name string) {
	if seen[name] && ts.err == nil {
		ts.err = fmt.Errorf("two types are called %s", name)
	}
	seen[name] = true
}

// wireName is a type's name outside Go: Result[Change] is ChangeResult, fault.Error is Fault.
func wireName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[fault.Error]():
		return "Fault"
	case reflect.TypeFor[fault.Code]():
		return "FaultCode"
	}
	outer, inner, generic := strings.Cut(strings.TrimSuffix(t.Name(), "]"), "[")
	if !generic {
		return outer
	}
	return inner[strings.LastIndex(inner, ".")+1:] + outer
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

var defaults = regexp.MustCompile(`(?i)\bdefaults?(?: to)? (.+?)(?:\.(?:\s|$)|;|$)`)

// defaultIn finds "Default 10." in a comment.
func defaultIn(doc string) string {
	if match := defaults.FindStringSubmatch(strings.ReplaceAll(doc, "\n", " ")); match != nil {
		return match[1]
	}
	return ""
}

// value answers a default that is plain JSON, such as 10 or [].
func (f field) value() (json.RawMessage, bool) {
	return json.RawMessage(f.Default), f.Default != "" && json.Valid([]byte(f.Default))
}
