package engine

import (
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

// Bounds of numbers in requests. A delay beyond a century is a mistake in the
// unit, and would overflow an interval.
const (
	maxDelayMS = int64(100 * 365 * 24 * 3600 * 1000)
	maxRetries = 1_000_000
	maxReason  = 4096
	// maxErrorTypes of a retry policy.
	maxErrorTypes = 100
	maxItems      = model.MaxBatch
	maxSequence   = 1 << 30
)

func invalid(path place, format string, args ...any) error {
	return fault.New(fault.InvalidRequest, fault.Details{"path": path.String()}, "%s %s", path, fmt.Sprintf(format, args...))
}

// checkName holds for names of functions, queues, signals and keys. They are
// data: anything printable goes.
func checkName(path place, name string) error {
	switch {
	case name == "":
		return invalid(path, "is empty; give it 1 to %d bytes", model.MaxNameBytes)
	case len(name) > model.MaxNameBytes:
		return invalid(path, "has %d bytes; at most %d are allowed", len(name), model.MaxNameBytes)
	}
	for _, r := range name {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return invalid(path, "holds a control character or a broken one; use printable text")
		}
	}
	return nil
}

func checkID(path place, id uuid.UUID) error {
	if id == uuid.Nil {
		return invalid(path, "is missing; give the id of an execution")
	}
	return nil
}

func checkItems(n int) error {
	if n == 0 || n > maxItems {
		return invalid(fieldAt("items"), "has %d entries; give 1 to %d", n, maxItems)
	}
	return nil
}

func checkDelay(path place, ms int64) error {
	if ms < 0 || ms > maxDelayMS {
		return invalid(path, "is %d ms; it must be 0 to %d (a hundred years)", ms, maxDelayMS)
	}
	return nil
}

// checkPayload bounds a payload before it reaches the database. That it is JSON
// was seen when the request was read.
func (e *Engine) checkPayload(path place, p model.Payload) error {
	if len(p) > e.settings.maxPayload {
		return fault.New(fault.PayloadTooLarge, fault.Details{"path": path.String(), "bytes": len(p), "limit": e.settings.maxPayload},
			"%s has %d bytes; at most %d are stored: keep large values elsewhere and pass a reference", path, len(p), e.settings.maxPayload)
	}
	return nil
}

// checkShape wants a payload of one JSON type, told by its first character.
func checkShape(path place, p model.Payload, open byte, what string) error {
	if len(p) > 0 && p[0] != open {
		return fault.New(fault.InvalidPayload, fault.Details{"path": path.String()}, "%s must be a JSON %s", path, what)
	}
	return nil
}

func (e *Engine) checkNew(path place, n *model.NewExecution) error {
	for _, err := range []error{
		checkKind(path.at(".kind"), n.Kind),
		checkName(path.at(".name"), n.Name),
		checkName(path.at(".queue"), n.Queue),
		checkPriority(path.at(".priority"), n.Priority),
		checkDelay(path.at(".delay_ms"), n.DelayMS),
		checkDelay(path.at(".timeout_ms"), n.TimeoutMS),
		checkDelay(path.at(".attempt_timeout_ms"), n.AttemptTimeoutMS),
		checkDelay(path.at(".schedule_timeout_ms"), n.ScheduleTimeoutMS),
		checkRetry(path.at(".retry"), n.Retry),
		checkShape(path.at(".args"), n.Args, '[', "array"),
		checkShape(path.at(".kwargs"), n.Kwargs, '{', "object"),
		e.checkPayload(path.at(".args"), n.Args),
		e.checkPayload(path.at(".kwargs"), n.Kwargs),
	} {
		if err != nil {
			return err
		}
	}
	return checkNewOptional(path, n)
}

func checkNewOptional(path place, n *model.NewExecution) error {
	if n.RunAt != nil && n.DelayMS != 0 {
		return invalid(path, "has both run_at and delay_ms; give one of them")
	}
	if n.RunAt != nil && (n.RunAt.Year() < 1970 || n.RunAt.Year() > 9999) {
		return invalid(path.at(".run_at"), "is in the year %d; give an instant between 1970 and 9999", n.RunAt.Year())
	}
	if n.IdempotencyKey != nil {
		if err := checkName(path.at(".idempotency_key"), *n.IdempotencyKey); err != nil {
			return err
		}
	}
	if n.Version != nil {
		return checkName(path.at(".version"), *n.Version)
	}
	return nil
}

func checkKind(path place, kind model.Kind) error {
	switch kind {
	case model.Job, model.Activity, model.Workflow:
		return nil
	}
	return invalid(path, "is %q; it must be job, activity or workflow", kind)
}

func checkPriority(path place, priority *int) error {
	if priority != nil && (*priority < model.MinPriority || *priority > model.MaxPriority) {
		return invalid(path, "is %d; it must be %d to %d, higher first", *priority, model.MinPriority, model.MaxPriority)
	}
	return nil
}

func checkRetry(path place, r *model.RetryPolicy) error {
	switch {
	case r == nil:
		return nil
	case r.Retries != nil && (*r.Retries < 0 || *r.Retries > maxRetries):
		return invalid(path.at(".retries"), "is %d; it must be 0 to %d", *r.Retries, maxRetries)
	case r.InitialMS != nil && (*r.InitialMS < 0 || *r.InitialMS > maxDelayMS):
		return invalid(path.at(".initial_ms"), "is %d; it must be 0 to %d", *r.InitialMS, maxDelayMS)
	case r.MaxMS != nil && (*r.MaxMS < 0 || *r.MaxMS > maxDelayMS):
		return invalid(path.at(".max_ms"), "is %d; it must be 0 to %d", *r.MaxMS, maxDelayMS)
	case r.Factor != nil && (*r.Factor < 1 || *r.Factor > 1000):
		return invalid(path.at(".factor"), "is %g; it must be 1 to 1000", *r.Factor)
	case r.Jitter != nil && (*r.Jitter < 0 || *r.Jitter > 1):
		return invalid(path.at(".jitter"), "is %g; it must be 0 to 1", *r.Jitter)
	case len(r.NonRetryable) > maxErrorTypes:
		return invalid(path.at(".non_retryable"), "has %d entries; at most %d are kept", len(r.NonRetryable), maxErrorTypes)
	}
	for _, name := range r.NonRetryable {
		if err := checkName(path.at(".non_retryable"), name); err != nil {
			return err
		}
	}
	return nil
}
