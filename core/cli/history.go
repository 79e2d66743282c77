package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

func (a *app) history() *cobra.Command {
	var request model.GetHistoryRequest
	cmd := &cobra.Command{
		Use:   "history ID",
		Short: "Show what happened in a workflow, event by event",
		Example: `  workflows history 0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601
  workflows history 0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601 --run 1 --json | jq '.events[].type'
  workflows history 0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601 --json > order.json   # for workflows replay`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if request.ID, err = parseID(args[0]); err != nil {
				return err
			}
			found, err := a.read(cmd.Context(), request)
			if err != nil {
				return err
			}
			if a.json { // with what it was started with, the document is all that a replay needs
				if _, found.Execution, err = ask[model.Execution](cmd.Context(), a, "get_execution", model.GetExecutionRequest{ID: request.ID}); err != nil {
					return err
				}
			}
			a.show(found, func() { a.printHistory(found) })
			return nil
		},
	}
	cmd.Flags().IntVar(&request.Run, "run", 0, "an earlier run (default the current one)")
	return cmd
}

// chapter is a GetHistoryReply that keeps each event as it came, with the
// execution that it belongs to.
type chapter struct {
	Execution json.RawMessage `json:"execution,omitempty"`

	Run    int               `json:"run"`
	Events []json.RawMessage `json:"events"`
	More   bool              `json:"more,omitempty"`
}

// read gathers the whole history.
func (a *app) read(ctx context.Context, request model.GetHistoryRequest) (chapter, error) {
	whole := chapter{Events: []json.RawMessage{}}
	for {
		reply, _, err := ask[chapter](ctx, a, "get_history", request)
		if err != nil {
			return whole, err
		}
		whole.Run, request.Run = reply.Run, reply.Run // a new run that begins meanwhile is not mixed in
		whole.Events = append(whole.Events, reply.Events...)
		if !reply.More || len(reply.Events) == 0 {
			return whole, nil
		}
		var last model.Event
		if err := json.Unmarshal(reply.Events[len(reply.Events)-1], &last); err != nil {
			return whole, fault.From(err)
		}
		request.After = last.Position
	}
}

func (a *app) printHistory(found chapter) {
	var rows [][]string
	var first model.Event
	for i, raw := range found.Events {
		var e model.Event
		if json.Unmarshal(raw, &e) != nil {
			continue
		}
		if i == 0 {
			first = e
		}
		rows = append(rows, []string{strconv.Itoa(e.Position), "+" + span(e.At.Sub(first.At)), string(e.Type), sequence(e), shorten(text(e.Name), 40), gist(e)})
	}
	if len(rows) == 0 {
		a.note("it has no events: only workflows that have started have any")
		return
	}
	a.line(fmt.Sprintf("run %d, begun %s", found.Run, a.moment(&first.At)))
	a.table([]string{"#", "AT", "EVENT", "SEQ", "NAME", "PAYLOAD"}, rows)
}

func sequence(e model.Event) string {
	if e.Sequence == nil {
		return ""
	}
	return strconv.Itoa(*e.Sequence)
}

// gist tells a payload on one short line.
func gist(e model.Event) string {
	switch e.Type {
	case model.EventActivityFailed, model.EventChildFailed, model.EventStepFailed:
		return shorten(summary(e.Payload), 80)
	}
	return shorten(inline(e.Payload), 80)
}
