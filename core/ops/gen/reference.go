package main

import (
	"bytes"
	_ "embed"
	"slices"
	"strings"
	"text/template"
)

//go:embed operations.md.tmpl
var referenceText string

// renderReference writes the reference for readers.
func renderReference(c *catalogue) ([]byte, error) {
	t, err := template.New("operations.md.tmpl").Funcs(template.FuncMap{
		"codes": func(o operation) string { return "`" + joined(o.Errors, "`, `") + "`" },
		"cell":  cell,
		"first": firstSentence,
	}).Parse(referenceText)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, c)
	return out.Bytes(), err
}

// EverywhereList are the codes of any operation, for reading.
func (c *catalogue) EverywhereList() string { return "`" + joined(c.Everywhere, "`, `") + "`" }

// Parts answers the records that are no request or reply of an operation, or more than that.
func (c *catalogue) Parts() []*record {
	part := map[*record]bool{}
	whole := map[*record]bool{}
	for _, r := range c.Records {
		for _, f := range r.Fields {
			part[f.Type.innermost().Record] = true
		}
	}
	for _, o := range c.Operations {
		whole[o.Request], whole[o.Reply] = true, true
	}
	return slices.DeleteFunc(slices.Clone(c.Records), func(r *record) bool { return whole[r] && !part[r] })
}

// IsPart says whether a record has its table among the types.
func (c *catalogue) IsPart(r *record) bool { return slices.Contains(c.Parts(), r) }

// Link is where a record's table is.
func (r *record) Link() string { return strings.ToLower(r.Name) }

// link is where an enumeration's values are; those of FaultCode have a section.
func (e *enum) link() string {
	if e.Name == "FaultCode" {
		return "fault-codes"
	}
	return strings.ToLower(e.Name)
}

// Markdown writes a field's type, with a link where there is more to read.
func (f field) Markdown() string {
	if f.Nullable {
		return f.Type.markdown() + " or null"
	}
	return f.Type.markdown()
}

var markdownSimple = map[string]string{
	"uuid": "uuid", "instant": "instant", "payload": "any JSON", "details": "object",
	"string": "string", "integer": "integer", "number": "number", "boolean": "boolean",
}

func (t typeRef) markdown() string {
	switch {
	case t.Record != nil:
		return "[" + t.Record.Name + "](#" + t.Record.Link() + ")"
	case t.Enum != nil:
		return "[" + t.Enum.Name + "](#" + t.Enum.link() + ")"
	case t.List != nil:
		return "list of " + t.List.markdown()
	default:
		return markdownSimple[t.Simple]
	}
}

// cell makes text fit for a table.
func cell(text string) string {
	return strings.NewReplacer("\n", " ", "|", `\|`, "<", "&lt;").Replace(text)
}

// firstSentence answers a comment's first sentence.
func firstSentence(text string) string {
	text = strings.ReplaceAll(text, "\n", " ")
	if end := strings.Index(text, ". "); end >= 0 {
		return text[:end+1]
	}
	return text
}
