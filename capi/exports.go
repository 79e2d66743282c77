package main

/*
#cgo linux LDFLAGS: -Wl,--wrap=pthread_getattr_np ${SRCDIR}/exports.tbd
#include <stdlib.h>
#include "mailbox.h"
#include "shim.h"
*/
import "C"

import (
	"cmp"
	"os"
	"time"
	"unsafe"

	"github.com/libworkflows/libworkflows/core/failpoint"
	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/ops"
)

// The functions below are entered from shim.c only, which has seen to it that
// the process has not forked and that no output pointer is NULL.

//export goStarted
func goStarted() {} // whoever is here has waited for init

//export goMain
func goMain(argc C.int, argv **C.char) (code C.int) {
	defer recovered(&code)
	failpoint.Pass("export", "main")
	adoptEnvironment()
	return C.int(runCommandLine(texts(argc, argv), os.Stdin, os.Stdout, os.Stderr))
}

//export goOpen
func goOpen(config *C.cchar_t, n C.size_t, engine *C.uint64_t, failure **C.char) (code C.int) {
	defer answered(&code, failure, new(C.size_t))
	failpoint.Pass("export", "open")
	raw, err := input(config, n)
	if err != nil {
		return fail(err, failure)
	}
	adoptEnvironment()
	handle, err := theLibrary.open(raw)
	if err != nil {
		return fail(err, failure)
	}
	*engine = C.uint64_t(handle)
	return C.WF_OK
}

//export goClose
func goClose(engine C.uint64_t, graceMS C.int) (code C.int) {
	defer recovered(&code)
	failpoint.Pass("export", "close")
	return status(theLibrary.close(uint64(engine), milliseconds(max(graceMS, 0))))
}

//export goOperate
func goOperate(number C.uint16_t, engine C.uint64_t, request *C.cchar_t, n C.size_t, reply **C.char, replyN *C.size_t) (code C.int) {
	defer answered(&code, reply, replyN)
	failpoint.Pass("export", "operate")
	raw, err := input(request, n)
	if err != nil {
		code = status(err)
		return cmp.Or(output(ops.Failure(err), reply, replyN), code)
	}
	answer := theLibrary.operate(uint64(engine), uint16(number), raw)
	return cmp.Or(output(answer, reply, replyN), statusOfReply(answer))
}

//export goChannelOpen
func goChannelOpen(engine C.uint64_t, channel *C.uint64_t) (code C.int) {
	defer recovered(&code)
	failpoint.Pass("export", "channel_open")
	handle, err := theLibrary.openChannel(uint64(engine))
	if err != nil {
		return status(err)
	}
	c, err := theLibrary.channels.get(handle)
	if err == nil {
		err = c.box.name(handle)
	}
	if err != nil {
		_ = theLibrary.closeChannel(handle)
		return status(err)
	}
	*channel = C.uint64_t(handle)
	return C.WF_OK
}

//export goChannelClose
func goChannelClose(channel C.uint64_t) (code C.int) {
	defer recovered(&code)
	failpoint.Pass("export", "channel_close")
	C.mailbox_forget(channel)
	return status(theLibrary.closeChannel(uint64(channel)))
}

// recovered turns a panic into a code: it must not end the host process.
func recovered(code *C.int) {
	if r := recover(); r != nil {
		logPanic("an exported function", r)
		*code = C.WF_INTERNAL
	}
}

// answered is recovered for a function with an output, which then says so, too.
func answered(code *C.int, out **C.char, n *C.size_t) {
	if r := recover(); r != nil {
		logPanic("an exported function", r)
		*code = C.WF_INTERNAL
		if *out == nil {
			output(ops.Failure(errPanicked), out, n)
		}
	}
}

// input copies a request or configuration. The copy outlives a call that was
// cancelled while somebody was still looking at it.
func input(text *C.cchar_t, n C.size_t) ([]byte, error) {
	switch {
	case n > maxRequest:
		return nil, tooLarge(uint64(n))
	case text == nil && n > 0:
		return nil, errNullText
	}
	return C.GoBytes(unsafe.Pointer(text), C.int(n)), nil
}

// texts answers the arguments after the program's name.
func texts(argc C.int, argv **C.char) []string {
	if argc <= 1 {
		return nil
	}
	args := make([]string, 0, argc-1)
	for _, arg := range unsafe.Slice(argv, argc)[1:] {
		args = append(args, C.GoString(arg))
	}
	return args
}

// allocate makes room for an output and its NUL, and answers nil when memory
// has run out. C.malloc would end the process then; realloc answers NULL.
func allocate(size int, out **C.char, n *C.size_t) []byte {
	place := C.realloc(nil, C.size_t(size)+1)
	if place == nil {
		return nil
	}
	room := unsafe.Slice((*byte)(place), size+1)
	room[size] = 0
	*out, *n = (*C.char)(place), C.size_t(size)
	return room[:size]
}

func output(text []byte, out **C.char, n *C.size_t) C.int {
	room := allocate(len(text), out, n)
	if room == nil {
		return C.WF_INTERNAL
	}
	copy(room, text)
	return C.WF_OK
}

func fail(err error, failure **C.char) C.int {
	var n C.size_t
	code := status(err)
	if code != C.WF_INVALID_ARGUMENT {
		code = C.WF_ERROR
	}
	return cmp.Or(output(ops.Failure(err), failure, &n), code)
}

func milliseconds(n C.int) time.Duration { return time.Duration(n) * time.Millisecond }

// status is the code that stands for a fault at the boundary.
func status(err error) C.int {
	if err == nil {
		return C.WF_OK
	}
	return statusOfCode(fault.CodeOf(err))
}

func statusOfReply(reply []byte) C.int {
	code, failed := failureCode(reply)
	switch {
	case !failed:
		return C.WF_OK
	case code == fault.Closed, code == fault.InvalidHandle:
		return statusOfCode(code)
	default:
		return C.WF_ERROR
	}
}

func statusOfCode(code fault.Code) C.int {
	switch code {
	case fault.InvalidRequest:
		return C.WF_INVALID_ARGUMENT
	case fault.Busy:
		return C.WF_BUSY
	case fault.Closed:
		return C.WF_CLOSED
	case fault.InvalidHandle:
		return C.WF_INVALID_HANDLE
	case fault.Timeout:
		return C.WF_TIMEOUT
	case fault.Internal:
		return C.WF_INTERNAL
	default:
		return C.WF_ERROR
	}
}
