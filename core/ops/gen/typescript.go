package main

import (
	"bytes"
	_ "embed"
	"strings"
	"text/template"

	"github.com/libworkflows/libworkflows/core/fault"
)

//go:embed operations.ts.tmpl
var typescriptText string

// typescriptWidth is what biome.json asks for.
const typescriptWidth = 100

// renderTypeScript writes interfaces, and one function an operation.
func renderTypeScript(c *catalogue) ([]byte, error) {
	t, err := template.New("operations.ts.tmpl").Funcs(template.FuncMap{
		"comment":  jsdoc,
		"describe": func(e *enum) string { return jsdoc(0, e.described()) },
		"camel":    camel,
		"quoted":   quoted,
		"string":   typescriptString,
		"upper":    strings.ToUpper,
	}).Parse(typescriptText)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, c)
	return out.Bytes(), err
}

// jsdoc writes text as a comment of TSDoc, on one line if it fits.
func jsdoc(indent int, text string) string {
	margin := strings.Repeat(" ", indent)
	text = forTSDoc.Replace(text)
	line := strings.ReplaceAll(strings.TrimSpace(text), "\n", " ")
	if !strings.Contains(text, "\n\n") && len(margin)+len("/**  */")+len(line) <= typescriptWidth {
		return margin + "/** " + line + " */"
	}
	return margin + "/**\n" + layout(text, margin+" * ", typescriptWidth) + "\n" + margin + " */"
}

// forTSDoc keeps text from ending its comment, and from being read as a tag.
var forTSDoc = strings.NewReplacer("*/", "* /", "{", `\{`, "}", `\}`, "@", `\@`)

// camel turns snake_case into camelCase: create_execution into createExecution.
func camel(name string) string {
	first, rest, _ := strings.Cut(name, "_")
	for word := range strings.SplitSeq(rest, "_") {
		first += capital(word)
	}
	return first
}

// typescriptString writes a literal, in single quotes as biome has it.
func typescriptString(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\n", " "), `\`, `\\`)
	return "'" + strings.ReplaceAll(text, "'", `\'`) + "'"
}

func quoted(codes []fault.Code) string {
	words := plain(codes)
	for i, word := range words {
		words[i] = typescriptString(word)
	}
	return strings.Join(words, ", ")
}

// TypeScript declares a field. What is optional in a request may be undefined as
// well, since JSON leaves that out; a reply never has it.
func (f field) TypeScript(sent bool) string {
	name, t := f.Name, f.Type.typescript(sent)
	if f.Nullable {
		t += " | null"
	}
	if f.Required {
		return name + ": " + t
	}
	if sent {
		t += " | undefined"
	}
	return name + "?: " + t
}

var typescriptSimple = map[string]string{
	"string": "string", "integer": "number", "number": "number", "boolean": "boolean",
	"uuid": "string", "instant": "string", "payload": "Payload", "details": "Record<string, any>",
}

func (t typeRef) typescript(sent bool) string {
	switch {
	case t.Record != nil:
		return t.Record.Name
	case t.Enum != nil:
		return t.Enum.Name
	case t.List != nil && sent: // callers may have frozen ones
		return "readonly " + t.List.typescript(sent) + "[]"
	case t.List != nil:
		return t.List.typescript(sent) + "[]"
	default:
		return typescriptSimple[t.Simple]
	}
}
