package cli

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/libworkflows/libworkflows/core/model"
)

// controls are the commands that act on executions by id, all of one form.
func (a *app) controls() []*cobra.Command {
	return []*cobra.Command{
		a.control("cancel", "cancel_execution", "Ask executions to stop", `Ask executions to stop.

One that waits is cancelled at once; a running one is told, and may clean up. To
cancel what is finished changes nothing and is no error.`),
		a.control("terminate", "terminate_execution", "End executions now, without asking their code", `End executions now, without asking their code: nothing that it does afterwards counts.

Prefer cancel, which lets the code clean up.`),
		a.control("retry", "retry_execution", "Run failed or cancelled executions again", `Run failed or cancelled executions again, as a new run of the same id.

A workflow keeps what it has achieved and goes on from there. A parked one goes
on as with resume.`),
		a.control("resume", "resume_workflow", "Let parked workflows go on", `Let parked workflows go on, once what they were parked for is mended.

See them with: workflows list --parked`),
	}
}

// acted is one execution's answer.
type acted struct {
	ID uuid.UUID `json:"id"`
	verdict[model.Change]
}

func (a *app) control(use, operation, short, long string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:     use + " ID...",
		Short:   short,
		Long:    long,
		Example: fmt.Sprintf("  workflows %s 0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601 --reason 'asked by Ada'", use),
		Args:    takes(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var request model.TargetsRequest
			for _, arg := range args {
				id, err := parseID(arg)
				if err != nil {
					return err
				}
				request.Items = append(request.Items, model.Target{ID: id, Reason: reason})
			}
			reply, _, err := ask[verdicts[model.Change]](cmd.Context(), a, operation, request)
			if err != nil {
				return err
			}
			return a.printActs(request.Items, reply.Results)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever reads it later")
	return cmd
}

// printActs prints each answer. One that failed makes the command fail, after all were told.
func (a *app) printActs(targets []model.Target, results []verdict[model.Change]) error {
	var all []acted
	var failures []error
	for i, r := range results {
		all = append(all, acted{targets[i].ID, r})
		if r.Error != nil {
			failures = append(failures, r.Error)
		}
	}
	if a.json {
		a.document(a.stdout, map[string]any{"results": all})
	} else {
		a.tellActs(all)
	}
	switch {
	case len(failures) == 0:
		return nil
	case a.json:
		return failures[0]
	}
	return errSaid
}

func (a *app) tellActs(all []acted) {
	for _, act := range all {
		switch {
		case act.Error != nil:
			a.tell(asFault(act.Error))
		case act.OK.Changed:
			a.line(fmt.Sprintf("%s  %s", act.ID, a.paint(string(act.OK.Status))))
		default:
			a.line(fmt.Sprintf("%s  %s already, nothing changed", act.ID, a.paint(string(act.OK.Status))))
		}
	}
}

func (a *app) signal() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "signal ID NAME [PAYLOAD]",
		Short: "Send a signal to a workflow",
		Long: `Send a signal to a workflow. It is kept until the workflow waits for it.

The payload is a JSON value, null without one; "-" reads it from stdin.`,
		Example: `  workflows signal 0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601 approved '{"by": "Ada"}'
  workflows signal 0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601 approved true --key approval-17`,
		Args: takes(2, 3),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			signal := model.Signal{Name: args[1]}
			if signal.ID, err = parseID(args[0]); err != nil {
				return err
			}
			if len(args) == 3 {
				if signal.Payload, err = a.parsePayload("the payload", args[2]); err != nil {
					return err
				}
			}
			if cmd.Flags().Changed("key") {
				signal.IdempotencyKey = &key
			}
			return a.send(cmd, signal)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "idempotency key: the workflow gets a signal with this key once")
	return cmd
}

func (a *app) send(cmd *cobra.Command, signal model.Signal) error {
	request := model.SendSignalRequest{Items: []model.Signal{signal}}
	reply, _, err := ask[verdicts[model.Sent]](cmd.Context(), a, "send_signal", request)
	if err != nil {
		return err
	}
	result := reply.Results[0]
	if result.Error != nil {
		return result.Error
	}
	a.show(result.OK, func() {
		if result.OK.Delivered {
			a.line("sent")
			return
		}
		a.line(strings.TrimSpace("not sent: a signal with key " + printable(text(signal.IdempotencyKey)) + " was there already"))
	})
	return nil
}
