package main

import (
	"bytes"

	"github.com/libworkflows/libworkflows/core/fault"
)

// The limits of what is taken.
const (
	// maxRequest bounds one request; a batch of large payloads fits.
	maxRequest = 64 << 20
	// maxPacked bounds one submission. A length that was computed wrong is more likely above it.
	maxPacked = 1 << 30
	// maxToken is 2^53: every token is a number in JavaScript.
	maxToken = 1 << 53
	// maxWaiting bounds the requests that a channel holds, completions that were not drained among them.
	maxWaiting = 65_536
	// maxWaitingBytes bounds what these take.
	maxWaitingBytes = 256 << 20
	// maxDrain bounds the text of one drain, unless a single completion is larger.
	maxDrain = 1 << 20
)

var (
	errNullText  = fault.New(fault.InvalidRequest, nil, "the text is NULL, but its length is not 0")
	errMalformed = fault.New(fault.InvalidRequest, nil, "the packed requests are malformed, or a token is in use; see wf_submit in workflows.h")
	errClosed    = fault.New(fault.Closed, nil, "the engine or channel was closed; open it again")
	errCancelled = fault.New(fault.Cancelled, nil, "the caller cancelled the call; what it wrote may have happened")
	errBusy      = fault.New(fault.Busy, nil, "the channel holds too many requests; drain it and try again")
	errTimeout   = fault.New(fault.Timeout, nil, "nothing has completed in the time given")
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
