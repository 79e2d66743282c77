package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/libworkflows/libworkflows/core/model"
)

func (a *app) enqueue() *cobra.Command {
	var item model.NewExecution
	var kind, kwargs, key string
	var priority int
	var delay, timeout duration
	var wait bool
	cmd := &cobra.Command{
		Use:   "enqueue NAME [ARGUMENT...]",
		Short: "Start a job, a workflow or an activity",
		Long: `Start a job, a workflow or an activity, and print its id.

Each argument is a JSON value, "-" reads one from stdin; those that begin with a
minus come after "--". With --wait the result is printed instead of the id, as by
"workflows result".`,
		Example: `  workflows enqueue send_email '"ada@example.com"' 3 --queue mail
  workflows enqueue book_trip --kind workflow --kwargs '{"to": "Lima"}' --key trip-17
  workflows enqueue report --delay 5m --priority 9
  cat order.json | workflows enqueue ship_order - --wait --timeout 1m`,
		Args: takes(1, -1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			item.Name, item.Awaited, item.DelayMS = args[0], wait, delay.milliseconds()
			if item.Kind, err = parseKind(kind); err != nil {
				return err
			}
			if item.Args, err = a.parseArguments(args[1:]); err != nil {
				return err
			}
			if kwargs != "" {
				if item.Kwargs, err = a.parsePayload("--kwargs", kwargs); err != nil {
					return err
				}
			}
			if cmd.Flags().Changed("priority") {
				item.Priority = &priority
			}
			if cmd.Flags().Changed("key") {
				item.IdempotencyKey = &key
			}
			return a.create(cmd, item, wait, time.Duration(timeout))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&kind, "kind", string(model.Job), "job, workflow or activity")
	flags.StringVarP(&item.Queue, "queue", "q", "", `the queue (default "default")`)
	flags.StringVar(&kwargs, "kwargs", "", "keyword-only arguments, a JSON object")
	flags.IntVar(&priority, "priority", model.DefaultPriority, "0 to 10, higher first")
	flags.Var(&delay, "delay", "start this much later")
	flags.StringVar(&key, "key", "", "idempotency key: asking again with the same name and key starts nothing new")
	flags.BoolVar(&wait, "wait", false, "wait for the end and print the result")
	flags.Var(&timeout, "timeout", "with --wait, stop waiting after this long (default never)")
	return cmd
}

func (a *app) create(cmd *cobra.Command, item model.NewExecution, wait bool, timeout time.Duration) error {
	request := model.CreateExecutionRequest{Items: []model.NewExecution{item}}
	reply, _, err := ask[model.CreateExecutionReply](cmd.Context(), a, "create_execution", request)
	if err != nil {
		return err
	}
	created := reply.Results[0]
	if !created.Created {
		a.note("the key was taken: this is the execution that took it")
	}
	if wait {
		a.note("%s", created.ID)
		return a.printResult(cmd.Context(), created.ID, timeout)
	}
	a.show(created, func() { a.line(created.ID.String()) })
	return nil
}
