package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/libworkflows/libworkflows/core/fault"
)

// Codes of the command line's own, beside the core's.
const (
	usage              fault.Code = "usage"               // the command line is wrong
	executionFailed    fault.Code = "execution_failed"    // the execution that was waited for failed
	executionCancelled fault.Code = "execution_cancelled" // it was cancelled
	unhealthy          fault.Code = "unhealthy"           // doctor found something that does not work
)

// meansUsage are the codes that blame the command line or the configuration.
var meansUsage = map[fault.Code]bool{
	usage: true, fault.InvalidRequest: true, fault.InvalidPayload: true, fault.PayloadTooLarge: true, fault.InvalidConfig: true,
}

// errSaid ends a command with 1 when it has already said why.
var errSaid = errors.New("said already")

// report tells an error on stderr, if there is one to tell, and answers the exit code.
func (a *app) report(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	if errors.Is(err, errSaid) {
		return exitFailed
	}
	if ctx.Err() != nil {
		err = fault.New(fault.Cancelled, nil, "interrupted")
		if !a.json {
			return exitFailed
		}
	}
	f := asFault(err)
	a.tell(f)
	if meansUsage[f.Code] {
		return exitUsage
	}
	return exitFailed
}

// asFault takes what is no fault for a mistake in the command line. Faults are
// safe to show; a mistake is repeated to whoever made it, and may be a URL in
// the wrong place.
func asFault(err error) *fault.Error {
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	return fault.New(usage, nil, "%s", redact(err.Error()))
}

func (a *app) tell(f *fault.Error) {
	if a.json {
		a.document(a.stderr, map[string]any{"error": f})
		return
	}
	fmt.Fprintf(a.stderr, "workflows: %s\n", f.Message)
}

var secrets = regexp.MustCompile(`(://)[^\s"]*(@)|((?i:password=))(?:'[^']*'|[^\s&"]+)`)

// redact takes passwords out of a connection string.
func redact(text string) string { return secrets.ReplaceAllString(text, "$1$3***$2") }
