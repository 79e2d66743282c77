package main

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/libworkflows/libworkflows/core/ops"
)

// words turns Go identifiers in comments into what crosses the ABI:
// WaitMS into wait_ms, CreateExecution into create_execution, ThenKeep into keep.
type words map[string]string

var (
	identifier = regexp.MustCompile(`\b[A-Z][A-Za-z0-9]*\b`)
	humps      = regexp.MustCompile(`^[A-Z]+[a-z0-9]+[A-Z]`)
	link       = regexp.MustCompile(`\[(?:\w+\.)*([A-Z]\w*)\]`)
)

func newWords(sources ...*source) words {
	w := words{}
	for _, s := range sources {
		for _, c := range s.names {
			w.add(c.Name, c.Value)
		}
	}
	for _, o := range ops.Table() {
		w.add(o.Method, o.Name)
	}
	return w
}

// add learns an identifier, if it cannot be an English word.
func (w words) add(name, wire string) {
	if wire != "" && humps.MatchString(name) {
		w[name] = wire
	}
}

// text translates a comment. own are names that are translated even though
// they are English words: those of the fields beside the comment.
func (w words) text(comment string, own map[string]string) string {
	comment = link.ReplaceAllString(comment, "$1")
	return identifier.ReplaceAllStringFunc(comment, func(name string) string {
		if wire, ok := own[name]; ok {
			return wire
		}
		if wire, ok := w[name]; ok {
			return wire
		}
		return name
	})
}

// sentence translates the comment of a method and leaves its name out:
// "CancelExecution asks" becomes "Asks".
func (w words) sentence(comment, name string) string {
	return w.text(capital(strings.TrimPrefix(comment, name+" ")), nil)
}

// capital begins a text with a capital letter.
func capital(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + text[size:]
}
