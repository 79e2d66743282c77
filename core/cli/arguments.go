package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/libworkflows/libworkflows/core/model"
)

// takes checks how many arguments there are and answers a mistake with the usage. most < 0 is no limit.
func takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("an argument is missing; usage: %s", cmd.UseLine())
		case most >= 0 && len(args) > most:
			return fmt.Errorf("%q is one argument too many; usage: %s", args[most], cmd.UseLine())
		}
		return nil
	}
}

// unknownCommand answers an argument where a command should be.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := slices.Sorted(slices.Values(cmd.SuggestionsFor(args[0]))); len(near) > 0 {
		return fmt.Errorf("%q is no command of %s; did you mean %s?", args[0], cmd.CommandPath(), strings.Join(near, " or "))
	}
	return fmt.Errorf("%q is no command of %s; see: %s --help", args[0], cmd.CommandPath(), cmd.CommandPath())
}

func parseID(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 {
		return uuid.Nil, fmt.Errorf("%q is not the id of an execution; ids look like 0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601", text)
	}
	return id, nil
}

// parsePayload reads one JSON value from an argument, or from stdin for "-".
func (a *app) parsePayload(what, text string) (model.Payload, error) {
	raw := []byte(text)
	if text == "-" {
		var err error
		if raw, err = io.ReadAll(a.stdin); err != nil {
			return nil, fmt.Errorf("%s cannot be read from stdin: %w", what, err)
		}
	}
	raw = bytes.TrimSpace(raw)
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%s is not JSON: %s; in a shell a string is '\"text\"'", what, shorten(string(raw), 40))
	}
	return raw, nil
}

// parseArguments makes the JSON array of positional arguments.
func (a *app) parseArguments(texts []string) (model.Payload, error) {
	values := make([][]byte, len(texts))
	for i, text := range texts {
		value, err := a.parsePayload(fmt.Sprintf("argument %d", i+1), text)
		if err != nil {
			return nil, err
		}
		values[i] = value
	}
	return fmt.Appendf(nil, "[%s]", bytes.Join(values, []byte(","))), nil
}

// oneOf checks a word against those that are known.
func oneOf[T ~string](flag, text string, known ...T) (T, error) {
	names := make([]string, len(known))
	for i, k := range known {
		if names[i] = string(k); names[i] == text {
			return k, nil
		}
	}
	return "", fmt.Errorf("--%s cannot be %q; it is one of %s", flag, text, strings.Join(names, ", "))
}

func parseKind(text string) (model.Kind, error) {
	return oneOf("kind", text, model.Job, model.Activity, model.Workflow)
}

func parseStatuses(texts []string) ([]model.Status, error) {
	var statuses []model.Status
	for _, text := range texts {
		s, err := oneOf("status", text, model.Scheduled, model.Pending, model.Running, model.Suspended, model.Completed, model.Failed, model.Cancelled)
		if err != nil {
			return nil, err
		}
		statuses = append(statuses, s)
	}
	return statuses, nil
}

// duration is a flag: 250ms, 30s, 5m, 24h, or a plain number of seconds.
type duration time.Duration

func (d *duration) String() string {
	if *d == 0 {
		return "" // which the help does not show as a default
	}
	return time.Duration(*d).String()
}

func (d *duration) Type() string { return "duration" }

func (d *duration) Set(text string) error {
	parsed, err := time.ParseDuration(text)
	if err != nil {
		if _, notNumber := strconv.ParseFloat(text, 64); notNumber == nil {
			parsed, err = time.ParseDuration(text + "s")
		}
	}
	if err != nil || parsed < 0 {
		return fmt.Errorf("a duration looks like 250ms, 30s, 5m or 24h")
	}
	*d = duration(parsed)
	return nil
}

func (d *duration) milliseconds() int64 { return time.Duration(*d).Milliseconds() }
