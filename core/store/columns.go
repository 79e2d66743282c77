package store

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
)

// NewRow is an execution to insert, with everything decided but the time.
type NewRow struct {
	ID          uuid.UUID
	ParentID    *uuid.UUID
	Sequence    *int32
	ClosePolicy *string
	// Dead rows were cancelled by the very write that scheduled them.
	Dead bool
	// HandOver it to the worker of the batch's claim, if it can be.
	HandOver bool
	// Early: its holder knows of it already.
	Early *Early
	// Signals that come with it, in place of those that were asked for.
	Signals []Signal
	model.NewExecution
}

// newRowTypes are the columns of newRows, in its order.
var newRowTypes = []string{
	"id uuid", "parent_id uuid", "sequence int", "close_policy text", "dead boolean",
	"kind text", "name text", "queue text", "idempotency_key text", "priority smallint", "awaited boolean",
	"run_at timestamptz", "delay_ms bigint", "timeout_ms bigint", "schedule_timeout_ms bigint", "attempt_timeout_ms bigint",
	"version text", "retry text", "args text", "kwargs text", "hand_over boolean",
}

// newRowArgs turns rows into one array a column.
func newRowArgs(rows []NewRow) []any {
	n := len(rows)
	var (
		ids, parents           = make([]uuid.UUID, n), make([]*uuid.UUID, n)
		sequences, priorities  = make([]*int32, n), make([]int16, n)
		policies, keys         = make([]*string, n), make([]*string, n)
		dead, awaited          = make([]bool, n), make([]bool, n)
		handOvers              = make([]bool, n)
		kinds, names, queues   = make([]string, n), make([]string, n), make([]string, n)
		runAts                 = make([]*time.Time, n)
		delays, timeouts       = make([]int64, n), make([]int64, n)
		schedules, attempts    = make([]int64, n), make([]int64, n)
		versions, retries      = make([]*string, n), make([]*string, n)
		argTexts, keywordTexts = make([]*string, n), make([]*string, n)
	)
	for i := range rows {
		r := &rows[i]
		ids[i], parents[i], sequences[i], policies[i], dead[i] = r.ID, r.ParentID, r.Sequence, r.ClosePolicy, r.Dead
		kinds[i], names[i], queues[i], keys[i] = string(r.Kind), r.Name, r.Queue, r.IdempotencyKey
		priorities[i], awaited[i] = int16(*r.Priority), r.Awaited
		runAts[i], delays[i], timeouts[i] = r.RunAt, r.DelayMS, r.TimeoutMS
		schedules[i], attempts[i] = r.ScheduleTimeoutMS, r.AttemptTimeoutMS
		versions[i], retries[i], argTexts[i], keywordTexts[i] = r.Version, retryText(r.Retry), text(r.Args), text(r.Kwargs)
		handOvers[i] = r.HandOver
	}
	return []any{
		ids, parents, sequences, policies, dead, kinds, names, queues, keys, priorities, awaited,
		runAts, delays, timeouts, schedules, attempts, versions, retries, argTexts, keywordTexts, handOvers,
	}
}

// unnest writes "unnest($first::type[], ...) WITH ORDINALITY AS alias(columns, ord)".
func unnest(first int, alias string, columns ...string) string {
	var arrays, names string
	for i, column := range columns {
		var name, kind string
		if _, err := fmt.Sscan(column, &name, &kind); err != nil {
			panic("a column needs a name and a type: " + column)
		}
		if i > 0 {
			arrays, names = arrays+", ", names+", "
		}
		arrays += "$" + strconv.Itoa(first+i) + "::" + kind + "[]"
		names += name
	}
	return "unnest(" + arrays + ") WITH ORDINALITY AS " + alias + "(" + names + ", ord)"
}

// text hands a payload to PostgreSQL as the caller wrote it; absent is NULL.
func text(p model.Payload) *string {
	if len(p) == 0 {
		return nil
	}
	s := string(p)
	return &s
}

func retryText(policy *model.RetryPolicy) *string {
	if policy == nil {
		return nil
	}
	raw, err := json.Marshal(policy)
	if err != nil {
		panic(err) // a struct of numbers and strings always encodes
	}
	return text(raw)
}

func portText(port uint16) string { return strconv.Itoa(int(port)) }
