package embedded

import (
	"context"
	"errors"
	"fmt"

	"github.com/libworkflows/libworkflows/core/fault"
)

// unavailable makes the fault of a database that cannot be had.
func unavailable(format string, args ...any) error {
	return newFault(fault.DatabaseUnavailable, format, args...)
}

// misconfigured makes the fault of a machine or setting that must be mended.
func misconfigured(format string, args ...any) error {
	return newFault(fault.InvalidConfig, format, args...)
}

// newFault takes %w as fmt.Errorf does. A cause that is a fault already says
// enough and stays what it is; the end of a context has codes of its own.
func newFault(code fault.Code, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	cause := errors.Unwrap(err)
	var known *fault.Error
	switch {
	case errors.As(cause, &known):
		return known
	case errors.Is(cause, context.Canceled):
		code = fault.Cancelled
	case errors.Is(cause, context.DeadlineExceeded):
		code = fault.Timeout
	}
	return fault.New(code, nil, "%s", err.Error()).Because(cause)
}
