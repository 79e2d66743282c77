package main

/*
#include <stdlib.h>
#include "mailbox.h"
#include "../include/workflows.h"
*/
import "C"

import (
	"runtime"
	"unsafe"

	"github.com/libworkflows/libworkflows/core/fault"
)

// What a host does with a mailbox, for tests, whose files may not use cgo themselves.
// In the library it is done by shim.c, without Go.

var (
	errMalformed = fault.New(fault.InvalidRequest, nil, "the packed requests are malformed, or a token is in use")
	errBusy      = fault.New(fault.Busy, nil, "the channel holds too many requests")
	errTimeout   = fault.New(fault.Timeout, nil, "nothing has completed in the time given")
)

func hostError(code C.int) error {
	switch code {
	case C.WF_INVALID_ARGUMENT:
		return errMalformed
	case C.WF_BUSY:
		return errBusy
	case C.WF_CLOSED:
		return errClosed
	case C.WF_TIMEOUT:
		return errTimeout
	case C.WF_INTERNAL:
		return errNoMemory
	default:
		return nil
	}
}

func (m *mailbox) submit(packed []byte) error {
	defer runtime.KeepAlive(m)
	return hostError(C.mailbox_submit(m.c, unsafe.Pointer(unsafe.SliceData(packed)), C.size_t(len(packed))))
}

// drain answers no text if nothing was taken.
func (m *mailbox) drain(most int) (text []byte, left int, err error) {
	defer runtime.KeepAlive(m)
	out, n := new(*C.char), new(C.size_t)
	code := C.mailbox_drain(m.c, C.uint32_t(most), out, n)
	if *out != nil {
		text = C.GoBytes(unsafe.Pointer(*out), C.int(*n))
		C.free(unsafe.Pointer(*out))
	}
	return text, int(max(code, 0)), hostError(code)
}

func (m *mailbox) wait(timeoutMS int) error {
	defer runtime.KeepAlive(m)
	return hostError(C.mailbox_wait(m.c, C.int(timeoutMS)))
}

func (m *mailbox) cancel(token uint64) error {
	defer runtime.KeepAlive(m)
	return hostError(C.mailbox_cancel(m.c, C.uint64_t(token)))
}

func (m *mailbox) watch() (fd int, err error) {
	defer runtime.KeepAlive(m)
	code := C.mailbox_watch(m.c)
	return int(code), hostError(code)
}

// counts answers how many completions wait, and the bytes that are held.
func (m *mailbox) counts() (completed, bytes int) {
	defer runtime.KeepAlive(m)
	counts := C.mailbox_count(m.c)
	return int(counts.completed), int(counts.bytes)
}
