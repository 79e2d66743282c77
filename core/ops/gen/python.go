package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"github.com/libworkflows/libworkflows/core/fault"
)

//go:embed operations.py.tmpl
var pythonText string

// pythonWidth is what pyproject.toml asks of ruff.
const pythonWidth = 100

var pythonKeywords = []string{"and", "as", "class", "from", "global", "import", "in", "is", "lambda", "not", "or", "pass", "with", "yield"}

// renderPython writes TypedDicts, and one function an operation.
func renderPython(c *catalogue) ([]byte, error) {
	t, err := template.New("operations.py.tmpl").Funcs(template.FuncMap{
		"docstring": docstring,
		"describe":  func(e *enum) string { return docstring(0, e.described()) },
		"literal":   pythonLiteral,
		"tuple":     pythonTuple,
		"upper":     strings.ToUpper,
		"note":      func(text string) string { return layout(text, "        # ", pythonWidth) },
	}).Parse(pythonText)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, c)
	return out.Bytes(), err
}

// docstring writes text in triple quotes, on one line if it fits.
func docstring(indent int, text string) string {
	prefix, quotes := strings.Repeat(" ", indent), `"""`
	if strings.Contains(text, `\`) {
		quotes = `r"""`
	}
	text = strings.ReplaceAll(text, `"""`, "'''")
	if strings.HasSuffix(text, `"`) {
		text += "."
	}
	room := pythonWidth - indent
	if line := strings.ReplaceAll(text, "\n", " "); !strings.Contains(text, "\n\n") && len(line)+len(quotes)+3 <= room {
		return prefix + quotes + line + `"""`
	}
	body := strings.TrimPrefix(layout(summarised(text, room-5), prefix, pythonWidth-4), prefix)
	return prefix + quotes + body + "\n" + prefix + `"""`
}

// summarised gives a text a first line of its own, as docstrings have it: the
// first sentences, or what comes before a colon.
func summarised(text string, room int) string {
	first, rest, _ := strings.Cut(text, "\n\n")
	first = strings.ReplaceAll(first, "\n", " ")
	if len(first) <= room {
		return first + "\n\n" + rest
	}
	for _, end := range []string{". ", ": ", "; ", ", "} {
		if at := strings.LastIndex(first[:room], end); at > 0 {
			return first[:at] + ".\n\n" + capital(first[at+len(end):]) + "\n\n" + rest
		}
	}
	return first + "\n\n" + rest
}

// pythonLiteral writes a string, in several pieces if it is long.
func pythonLiteral(text string) string {
	lines := strings.Split(layout(text, "", pythonWidth-16), "\n")
	for i, line := range lines {
		space := " "
		if i == len(lines)-1 {
			space = ""
		}
		lines[i] = fmt.Sprintf("%q", line+space)
	}
	if len(lines) == 1 {
		return lines[0]
	}
	return "(\n            " + strings.Join(lines, "\n            ") + "\n        )"
}

// pythonTuple writes codes as ruff lays them out.
func pythonTuple(codes []fault.Code) string {
	switch len(codes) {
	case 0:
		return "()"
	case 1:
		return fmt.Sprintf("(%q,)", codes[0])
	default:
		return "(\n            \"" + joined(codes, "\",\n            \"") + "\",\n        )"
	}
}

// PythonFunctional says whether a field's name is a keyword, so that the class syntax cannot say it.
func (r *record) PythonFunctional() bool {
	return slices.ContainsFunc(r.Fields, func(f field) bool { return slices.Contains(pythonKeywords, f.Name) })
}

// Python writes a field's type.
func (f field) Python(sent bool) string {
	t := f.Type.python(sent)
	if f.Nullable {
		t += " | None"
	}
	if !f.Required {
		t = "NotRequired[" + t + "]"
	}
	return t
}

var pythonSimple = map[string]string{
	"string": "str", "integer": "int", "number": "float", "boolean": "bool",
	"uuid": "str", "instant": "str", "payload": "Payload", "details": "dict[str, Any]",
}

func (t typeRef) python(sent bool) string {
	switch {
	case t.Record != nil:
		return t.Record.Name
	case t.Enum != nil:
		return t.Enum.Name
	case t.List != nil && sent: // callers may have tuples
		return "Sequence[" + t.List.python(sent) + "]"
	case t.List != nil:
		return "list[" + t.List.python(sent) + "]"
	default:
		return pythonSimple[t.Simple]
	}
}

// FunctionDoc documents an operation's function in Python and in TypeScript.
func (o operation) FunctionDoc() string {
	doc := o.Doc
	if doc == "" {
		doc = "Performs " + o.Name + "."
	}
	if len(o.Errors) > 0 {
		doc += "\n\nErrors: " + joined(o.Errors, ", ") + "."
	}
	return doc
}

// described is an enumeration's documentation with that of its values.
func (e *enum) described() string {
	doc := e.Doc + "\n"
	for _, v := range e.Values {
		if v.Doc != "" {
			doc += "\n  - " + v.Value + ": " + strings.ReplaceAll(v.Doc, "\n", " ")
		}
	}
	return strings.TrimSpace(doc)
}
