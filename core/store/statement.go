// Package store is the only one that speaks SQL. Each statement stands above
// its method; what must be decided under lock is decided in SQL.
package store

import (
	"slices"
	"strings"
)

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

// Points lists the places before and after which a test build can fail: all statements, and
// the parts of a migration.
func Points() []string {
	points := slices.Clone(migrationPoints)
	for _, s := range statements {
		points = append(points, s.name)
	}
	return points
}

// render answers every statement for one schema, with its name in a comment
// behind the verb: in front of it, pg_stat_statements would cut it off. Names of tables are always
// qualified: nothing depends on a search path that somebody else may set.
func render(schema string) map[*statement]string {
	quoted := quoteSchema(schema) + "."
	texts := make(map[*statement]string, len(statements))
	for _, s := range statements {
		verb, rest, _ := strings.Cut(strings.TrimSpace(s.text), " ")
		texts[s] = verb + " /* workflows:" + s.name + " */ " + strings.ReplaceAll(rest, "workflows.", quoted)
	}
	return texts
}
