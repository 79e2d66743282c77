package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/libworkflows/libworkflows/core/model"
)

func (a *app) status() *cobra.Command {
	return &cobra.Command{
		Use:     "status ID",
		Short:   "Show an execution as it stands",
		Example: "  workflows status 0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601\n  workflows status 0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601 --json | jq .status",
		Args:    takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			e, raw, err := ask[model.Execution](cmd.Context(), a, "get_execution", model.GetExecutionRequest{ID: id})
			if err != nil {
				return err
			}
			a.show(raw, func() { a.describe(e) })
			return nil
		},
	}
}

func (a *app) describe(e model.Execution) {
	a.facts([][2]string{
		{"id", e.ID.String()},
		{"name", fmt.Sprintf("%s (%s)", printable(e.Name), e.Kind)},
		{"status", a.paint(string(e.Status))},
		{"parked", headline(e.Parked)},
		{"queue", fmt.Sprintf("%s, priority %d", printable(e.Queue), e.Priority)},
		{"created", a.moment(&e.CreatedAt)},
		{"due", onlyIf(e.Status == model.Scheduled, a.moment(&e.RunAt))},
		{"started", a.moment(e.StartedAt)},
		{"finished", a.moment(e.FinishedAt)},
		{"took", took(e)},
		{"deadline", a.moment(e.DeadlineAt)},
		{"cancel asked", a.moment(e.CancelRequestedAt)},
		{"attempts", tally(e)},
		{"run", onlyIf(e.Run > 1, strconv.Itoa(e.Run))},
		{"events", onlyIf(e.HistoryLength > 0, fmt.Sprintf("%d, see: workflows history %s", e.HistoryLength, e.ID))},
		{"worker", optional(e.Worker)},
		{"parent", optional(e.ParentID)},
		{"key", text(e.IdempotencyKey)},
		{"code", strings.TrimSpace(text(e.Language) + " " + text(e.Version))},
		{"args", inline(e.Args)},
		{"kwargs", onlyIf(string(e.Kwargs) != "{}", inline(e.Kwargs))},
		{"progress", inline(e.Progress)},
		{"state", inline(e.State)},
		{"result", inline(e.Result)},
		{"error", onlyIf(len(e.Error) > 0, summary(e.Error))},
	})
	if e.Parked != nil {
		_, rest, _ := strings.Cut(*e.Parked, "\n")
		a.block(rest)
	}
	a.stack(e.Error)
}

// headline tells the first line of why an execution is parked.
func headline(parked *string) string {
	if parked == nil {
		return ""
	}
	line, _, _ := strings.Cut(*parked, "\n")
	return printable(line)
}

// stack prints where the user's code failed.
func (a *app) stack(raw model.Payload) {
	var f failure
	if json.Unmarshal(raw, &f) == nil {
		a.block(f.Stack)
	}
}

// block prints lines as they are, below what is told of an execution.
func (a *app) block(text string) {
	if text == "" {
		return
	}
	a.line("")
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		a.line(strings.TrimRight("  "+printable(strings.ReplaceAll(line, "\t", "    ")), " "))
	}
}

func took(e model.Execution) string {
	if e.StartedAt == nil || e.FinishedAt == nil {
		return ""
	}
	return span(e.FinishedAt.Sub(*e.StartedAt))
}

// tally counts attempts, and what went wrong with them if anything did.
func tally(e model.Execution) string {
	out := strconv.Itoa(e.Attempts)
	for _, c := range []struct {
		n    int
		what string
	}{{e.Failures, "failed"}, {e.Crashes, "lost with their worker"}, {e.Releases, "put back unrun"}} {
		if c.n > 0 {
			out += fmt.Sprintf(", %d %s", c.n, c.what)
		}
	}
	return out
}

func onlyIf(condition bool, text string) string {
	if condition {
		return text
	}
	return ""
}

func optional[T fmt.Stringer](value *T) string {
	if value == nil {
		return ""
	}
	return (*value).String()
}

// page is a ListExecutionsReply that keeps each execution as it came, too.
type page struct {
	Executions []json.RawMessage `json:"executions"`
	Cursor     string            `json:"cursor,omitempty"`
}

const largestPage = 1000

func (a *app) list() *cobra.Command {
	var filter model.ListExecutionsRequest
	var statuses []string
	var kind string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List executions, newest first",
		Example: `  workflows list --status failed,cancelled --queue mail
  workflows list --kind workflow --parked
  workflows list --status failed --json | jq -r '.executions[].id' | xargs workflows retry`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if filter.Status, err = parseStatuses(statuses); err != nil {
				return err
			}
			if kind != "" {
				if filter.Kind, err = parseKind(kind); err != nil {
					return err
				}
			}
			if filter.Limit < 1 {
				return fmt.Errorf("--limit must be at least 1")
			}
			found, err := a.walk(cmd.Context(), filter)
			if err != nil {
				return err
			}
			a.show(found, func() { a.printList(found) })
			if filter.Parked && len(found.Executions) > 0 {
				a.note("why, and what to do about it: workflows status ID")
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&statuses, "status", nil, "only these: scheduled, pending, running, suspended, completed, failed, cancelled")
	flags.StringVar(&kind, "kind", "", "only job, workflow or activity")
	flags.StringVar(&filter.Name, "name", "", "only this function")
	flags.StringVarP(&filter.Queue, "queue", "q", "", "only this queue")
	flags.BoolVar(&filter.Parked, "parked", false, "only what waits for somebody to look at it")
	flags.IntVar(&filter.Limit, "limit", 50, "at most this many")
	flags.StringVar(&filter.Cursor, "cursor", "", "go on where an earlier list with --json ended")
	return cmd
}

// walk follows cursors until the limit or the end.
func (a *app) walk(ctx context.Context, filter model.ListExecutionsRequest) (page, error) {
	found := page{Executions: []json.RawMessage{}}
	limit := filter.Limit
	for {
		filter.Limit = min(limit-len(found.Executions), largestPage)
		reply, _, err := ask[page](ctx, a, "list_executions", filter)
		if err != nil {
			return found, err
		}
		found.Executions = append(found.Executions, reply.Executions...)
		found.Cursor, filter.Cursor = reply.Cursor, reply.Cursor
		if reply.Cursor == "" || len(found.Executions) >= limit {
			return found, nil
		}
	}
}

func (a *app) printList(found page) {
	var rows [][]string
	for _, raw := range found.Executions {
		var e model.Execution
		if json.Unmarshal(raw, &e) != nil {
			continue
		}
		rows = append(rows, []string{e.ID.String(), string(e.Kind), shorten(e.Name, 40), shorten(e.Queue, 20), string(e.Status), ago(e.CreatedAt, a.now()), remark(e, a)})
	}
	if len(rows) == 0 {
		a.note("no executions match")
		return
	}
	a.table([]string{"ID", "KIND", "NAME", "QUEUE", "STATUS", "CREATED", "REMARK"}, rows)
	if found.Cursor != "" {
		a.note("there may be more; raise --limit")
	}
}

// remark tells what is special about an execution.
func remark(e model.Execution, a *app) string {
	switch {
	case e.Parked != nil:
		return "parked: " + shorten(headline(e.Parked), 60)
	case e.Status == model.Failed:
		return shorten(summary(e.Error), 60)
	case e.Status == model.Scheduled:
		return "due " + ago(e.RunAt, a.now())
	case e.CancelRequestedAt != nil && !e.Status.Final():
		return "asked to cancel"
	case e.Attempts > 1:
		return fmt.Sprintf("attempt %d", e.Attempts)
	}
	return ""
}
