// Package ops is the one list of operations, and the JSON around them.
//
// C symbols, header, schema, Python types, documentation and the command line
// are generated from Table, so that an operation is declared once.
package ops

import (
	"github.com/libworkflows/libworkflows/core/engine"
)

// Table answers every operation. Numbers are part of the ABI: append, never
// reuse one.
func Table() []Operation { return table }

var table = []Operation{
	bind(1, "migrate", (*engine.Engine).Migrate),
	bind(2, "create_execution", (*engine.Engine).CreateExecution),
	bind(3, "claim", (*engine.Engine).Claim),
	bind(4, "heartbeat", (*engine.Engine).Heartbeat),
	bind(5, "recover", (*engine.Engine).Recover),
	bind(6, "advance_workflow", (*engine.Engine).AdvanceWorkflow),
	bind(7, "suspend_workflow", (*engine.Engine).SuspendWorkflow),
	bind(8, "record_step", (*engine.Engine).RecordStep),
	bind(9, "complete_execution", (*engine.Engine).CompleteExecution),
	bind(10, "fail_execution", (*engine.Engine).FailExecution),
	bind(11, "release", (*engine.Engine).Release),
	bind(12, "resume_workflow", (*engine.Engine).ResumeWorkflow),
	bind(13, "cancel_execution", (*engine.Engine).CancelExecution),
	bind(14, "terminate_execution", (*engine.Engine).TerminateExecution),
	bind(15, "get_execution", (*engine.Engine).GetExecution),
	bind(16, "wait_execution", (*engine.Engine).WaitExecution),
	bind(17, "list_executions", (*engine.Engine).ListExecutions),
	bind(18, "get_history", (*engine.Engine).GetHistory),
	bind(19, "pull_events", (*engine.Engine).PullEvents),
	bind(20, "send_signal", (*engine.Engine).SendSignal),
	bind(21, "start_worker", (*engine.Engine).StartWorker),
	bind(22, "stop_worker", (*engine.Engine).StopWorker),
	bind(23, "retry_execution", (*engine.Engine).RetryExecution),
	bind(24, "stats", (*engine.Engine).Stats),
}
