package main

import (
	"bytes"
	_ "embed"
	"strings"
	"text/template"
)

//go:embed header.h.tmpl
var headerText string

const headerWidth = 100

// renderHeader writes the C header; what is hand-written of it is in the template.
func renderHeader(c *catalogue) ([]byte, error) {
	t, err := template.New("header.h.tmpl").Funcs(template.FuncMap{
		"manual": func(o operation) string { return inComment(o.manual()) },
		"code":   func(f faultCode) string { return labelled(" *     ", string(f.Code), f.Doc, 21, headerWidth) },
		"codes":  func() string { return layout(anyOperation(c), " *   ", headerWidth) },
	}).Parse(headerText)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, c)
	return out.Bytes(), err
}

func anyOperation(c *catalogue) string {
	return "Any operation may fail with " + joined(c.Everywhere, ", ") + ". What else to expect of one is listed with it."
}

// manual is all that the header says about one operation.
func (o operation) manual() string {
	lines := []string{
		labelled(" * ", "request", o.Request.summary(), 9, headerWidth),
		labelled(" * ", "reply", o.Reply.summary(), 9, headerWidth),
	}
	if o.Doc != "" {
		lines = append([]string{layout(o.Doc, " * ", headerWidth), " *"}, lines...)
	}
	if len(o.Errors) > 0 {
		lines = append(lines, labelled(" * ", "errors", joined(o.Errors, ", "), 9, headerWidth))
	}
	return strings.Join(lines, "\n")
}

// inComment keeps text from ending the comment that it is in.
func inComment(text string) string {
	return strings.NewReplacer("/*", "/ *", "*/", "* /").Replace(text)
}

// summary names a record and its fields.
func (r *record) summary() string {
	names := make([]string, len(r.Fields))
	for i, f := range r.Fields {
		names[i] = f.Name
		if !f.Required {
			names[i] += "?"
		}
	}
	return r.Name + " {" + strings.Join(names, ", ") + "}"
}
