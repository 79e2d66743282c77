package main

import (
	"bytes"
	"time"

	"github.com/libworkflows/libworkflows/core/fault"
)

// noMemoryPause is how long a completion waits for memory before it is tried again.
const noMemoryPause = 10 * time.Millisecond

var (
	errNullText  = fault.New(fault.InvalidRequest, nil, "the text is NULL, but its length is not 0")
	errClosed    = fault.New(fault.Closed, nil, "the engine or channel was closed; open it again")
	errCancelled = fault.New(fault.Cancelled, nil, "the caller cancelled the call; what it wrote may have happened")
	errPanicked  = fault.New(fault.Internal, nil, "the operation failed in a way that the library did not expect; its log has the stack")
	errUnclean   = fault.New(fault.Timeout, nil, "the engine closed before everything was put back; others will recover it")
	errNoMemory  = fault.New(fault.Internal, nil, "memory has run out")
	errEngine    = fault.New(fault.InvalidHandle, nil, "no engine has this handle; use the one that wf_open gave")
	errChannel   = fault.New(fault.InvalidHandle, nil, "no channel has this handle; use the one that wf_channel_open gave")
)

func tooLarge(n uint64) error {
	return fault.New(fault.PayloadTooLarge, fault.Details{"limit": maxRequest, "size": n},
		"the request has %d bytes and may have %d; send it in parts", n, maxRequest)
}

func noDescriptors(cause error) error {
	return fault.New(fault.Internal, nil, "the process can open no more descriptors").Because(cause)
}

// unclean is what the caller of wf_close is told: the engine is closed in any case.
func unclean(err error) error {
	if err == nil || fault.CodeOf(err) == fault.Internal {
		return err
	}
	return errUnclean
}

// failureCode answers the code of a reply {"error": ...}. The encoder writes
// the code first, so that no reply need be decoded for it.
func failureCode(reply []byte) (code fault.Code, failed bool) {
	rest, failed := bytes.CutPrefix(reply, []byte(`{"error":{"code":"`))
	text, _, _ := bytes.Cut(rest, []byte(`"`))
	if !failed {
		text = nil
	}
	return fault.Code(text), failed
}
