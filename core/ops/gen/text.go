package main

import (
	"go/doc/comment"
	"strings"
)

// layout wraps a Go comment at a width and puts a prefix before each line.
func layout(text, prefix string, width int) string {
	var parser comment.Parser
	printer := comment.Printer{TextWidth: width - len(prefix)}
	wrapped := strings.TrimRight(string(printer.Text(parser.Parse(text))), "\n")
	lines := strings.Split(wrapped, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(prefix+line, " ")
	}
	return strings.Join(lines, "\n")
}

// labelled wraps a text in a column of its own, with a label beside its first line.
func labelled(prefix, label, text string, column, width int) string {
	margin := prefix + strings.Repeat(" ", column)
	block := layout(text, margin, width)
	return prefix + label + strings.Repeat(" ", column-len(label)) + strings.TrimPrefix(block, margin)
}

// plain turns any strings into plain ones.
func plain[T ~string](things []T) []string {
	words := make([]string, len(things))
	for i, t := range things {
		words[i] = string(t)
	}
	return words
}

func joined[T ~string](things []T, separator string) string {
	return strings.Join(plain(things), separator)
}
