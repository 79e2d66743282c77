// Package store is the only one that speaks SQL. Each statement stands above
// its method; what must be decided under lock is decided in SQL.
package store

import "strings"

// statement is one SQL text, written against the schema "workflows".
type statement struct {
	name string
	text string
}

var statements []*statement

// define registers a statement, so that a test can prepare them all.
func define(name, text string) *statement {
	s := &statement{name: name, text: text}
	statements = append(statements, s)
	return s
}

// render answers every statement for one schema. Names of tables are always
// qualified: nothing depends on a search path that somebody else may set.
func render(schema string) map[*statement]string {
	quoted := quoteSchema(schema) + "."
	texts := make(map[*statement]string, len(statements))
	for _, s := range statements {
		texts[s] = "/* workflows:" + s.name + " */ " + strings.ReplaceAll(s.text, "workflows.", quoted)
	}
	return texts
}
