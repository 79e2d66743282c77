package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

// slice bounds one call while waiting; between two, the terminal is brought up to date.
const slice = 2 * time.Second

func (a *app) result() *cobra.Command {
	var timeout duration
	cmd := &cobra.Command{
		Use:   "result ID",
		Short: "Wait for an execution and print its result",
		Long: `Wait for an execution and print its result, which is JSON.

When it failed or was cancelled, its error goes to stderr and the exit code is 1.
To stop waiting does not stop the execution.`,
		Example: `  workflows result 0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601
  workflows result 0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601 --timeout 30s | jq .total`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			return a.printResult(cmd.Context(), id, time.Duration(timeout))
		},
	}
	cmd.Flags().Var(&timeout, "timeout", "stop waiting after this long (default never)")
	return cmd
}

func (a *app) printResult(ctx context.Context, id uuid.UUID, timeout time.Duration) error {
	e, err := a.await(ctx, id, timeout)
	if err != nil {
		return err
	}
	switch e.Status {
	case model.Failed:
		return fault.New(executionFailed, fault.Details{"id": id, "error": e.Error},
			"%s %s failed: %s; see: workflows status %s", e.Kind, printable(e.Name), summary(e.Error), id)
	case model.Cancelled:
		return fault.New(executionCancelled, fault.Details{"id": id, "error": e.Error}, "%s %s was cancelled", e.Kind, printable(e.Name))
	}
	a.line(orNull(e.Result))
	return nil
}

// await answers an execution once it is final. timeout 0 is none.
func (a *app) await(ctx context.Context, id uuid.UUID, timeout time.Duration) (model.Execution, error) {
	began := a.now()
	spin := a.spinner("waiting for " + id.String())
	defer spin.stop()
	for {
		wait := slice
		if timeout > 0 {
			wait = min(wait, timeout-a.now().Sub(began))
		}
		request := model.WaitExecutionRequest{ID: id, WaitMS: max(0, wait.Milliseconds())}
		e, _, err := ask[model.Execution](ctx, a, "wait_execution", request)
		if err != nil || e.Status.Final() {
			return e, err
		}
		if ctx.Err() != nil {
			return e, ctx.Err()
		}
		if timeout > 0 && a.now().Sub(began) >= timeout {
			return e, fault.New(fault.Timeout, fault.Details{"id": id, "status": e.Status},
				"%s %s is still %s after %s; it goes on", e.Kind, printable(e.Name), e.Status, timeout)
		}
		spin.say(outline(e))
	}
}

// outline tells on one line where an execution stands.
func outline(e model.Execution) string {
	parts := []string{fmt.Sprintf("%s %s is %s", e.Kind, e.Name, e.Status)}
	if e.Attempts > 1 {
		parts = append(parts, fmt.Sprintf("attempt %d", e.Attempts))
	}
	if e.Parked != nil {
		parts = append(parts, "parked: "+*e.Parked)
	}
	if len(e.Progress) > 0 {
		parts = append(parts, inline(e.Progress))
	}
	return strings.Join(parts, ", ")
}

// failure is what every language's errors have in common on the wire.
type failure struct {
	Type    string `json:"type"`
	Message string `json:"message"`
	Stack   string `json:"stack"`
}

// summary tells an error on one line.
func summary(raw model.Payload) string {
	var f failure
	if json.Unmarshal(raw, &f) != nil || f.Type == "" {
		return shorten(inline(raw), 200)
	}
	if f.Message == "" {
		return printable(f.Type)
	}
	return printable(f.Type + ": " + f.Message)
}

func orNull(raw model.Payload) string {
	if len(raw) == 0 {
		return "null"
	}
	return string(raw)
}

func (a *app) line(text string) { fmt.Fprintln(a.stdout, text) }
