package main

/*
#include <stdlib.h>
#include "../include/workflows.h"
*/
import "C"

import "unsafe"

// What a host in C calls, for tests, whose files may not use cgo themselves.

type called struct {
	code   int
	output string
}

// callAll calls every function that enters Go, with these handles.
func callAll(engine, channel uint64) map[string]called {
	got := map[string]called{}
	request := C.CString("{}")
	defer C.free(unsafe.Pointer(request))
	handle, out, n := new(C.uint64_t), new(*C.char), new(C.size_t)
	take := func(name string, code C.int) {
		got[name] = called{int(code), C.GoString(*out)}
		C.wf_free(unsafe.Pointer(*out))
		*out = nil
	}
	take("wf_open", C.wf_open(request, 2, handle, out))
	take("wf_get_execution", C.wf_get_execution(C.uint64_t(engine), request, 2, out, n))
	take("wf_channel_open", C.wf_channel_open(C.uint64_t(engine), handle))
	take("wf_channel_close", C.wf_channel_close(C.uint64_t(channel)))
	take("wf_close", C.wf_close(C.uint64_t(engine), 0))
	return got
}
