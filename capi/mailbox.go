package main

/*
#include <stdlib.h>
#include "mailbox.h"
#include "../include/workflows.h"
*/
import "C"

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"unsafe"
)

// The limits of what is taken.
const (
	maxRequest      = C.MOST_REQUEST
	maxToken        = 1 << 53
	maxWaiting      = C.MOST_WAITING
	maxWaitingBytes = C.MOST_WAITING_BYTES
)

// mailbox is where the host's threads, which do not enter Go, leave requests and
// take their replies. See mailbox.h.
type mailbox struct {
	c    *C.struct_mailbox
	bell *os.File // read through Go's poller: waiting for the host takes no thread
}

// limits bound what a mailbox holds. Tests have smaller ones.
type limits struct{ requests, bytes int }

// newMailbox makes a mailbox that is released once nothing refers to it: what is in
// flight may complete long after its channel was closed.
func newMailbox(most limits) (*mailbox, error) {
	c := C.mailbox_new(C.size_t(most.requests), C.size_t(most.bytes))
	if c == nil {
		return nil, noDescriptors(errors.New("the mailbox of a channel could not be made"))
	}
	box := &mailbox{c: c}
	runtime.AddCleanup(box, func(c *C.struct_mailbox) { C.mailbox_release(c) }, c)
	bell := C.mailbox_bell(c)
	if bell < 0 {
		box.drop()
		return nil, noDescriptors(errors.New("the bell of a channel could not be made"))
	}
	box.bell = os.NewFile(uintptr(bell), "the bell of a channel")
	return box, nil
}

// name lets the host's threads find the mailbox by the handle of its channel.
func (m *mailbox) name(handle uint64) error {
	defer runtime.KeepAlive(m)
	if C.mailbox_name(C.uint64_t(handle), m.c) != C.WF_OK {
		return errNoMemory
	}
	return nil
}

// listen waits until the host has left something. It answers false after deafen.
func (m *mailbox) listen() bool {
	_, err := m.bell.Read(make([]byte, 8))
	return err == nil || errors.Is(err, io.ErrShortBuffer)
}

func (m *mailbox) deafen() { _ = m.bell.Close() }

// note is one thing that the host has asked for.
type note struct {
	frame
	cancel  bool   // it is no request, but asks one to stop
	refused uint64 // the length of a request that is too large, and was not kept
}

// frame is one request of a submission.
type frame struct {
	token     uint64
	operation uint16
	request   []byte
}

// take answers all that the host has left, in its order.
func (m *mailbox) take() (notes []note) {
	defer runtime.KeepAlive(m)
	first := C.mailbox_take(m.c)
	defer C.notes_free(first)
	for c := first; c != nil; c = c.next {
		if c.count == 0 {
			notes = append(notes, note{frame: frame{token: uint64(c.token)}, cancel: true})
			continue
		}
		packed := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(c), C.sizeof_struct_note)), int(c.n))
		for len(packed) > 0 {
			var n note
			n, packed = unpack(packed)
			notes = append(notes, n)
		}
	}
	return notes
}

// unpack copies the first request. That it is well-formed was seen to when it was taken.
func unpack(packed []byte) (n note, rest []byte) {
	n.token = binary.LittleEndian.Uint64(packed)
	n.operation = binary.LittleEndian.Uint16(packed[12:])
	length := uint64(binary.LittleEndian.Uint32(packed[8:]))
	packed = packed[C.FRAME_HEAD:]
	if length > maxRequest {
		n.refused = length
		return n, packed
	}
	n.request = bytes.Clone(packed[:length:length])
	return n, packed[length:]
}

// completion is a request's reply that waits to be drained.
type completion struct {
	token     uint64
	operation uint16
	reply     []byte
}

// complete says whether the reply will be drained, or is for nobody.
func (m *mailbox) complete(done completion) (posted bool, err error) {
	defer runtime.KeepAlive(m)
	switch C.mailbox_complete(m.c, C.uint64_t(done.token), C.uint16_t(done.operation), unsafe.Pointer(unsafe.SliceData(done.reply)), C.size_t(len(done.reply))) {
	case 1:
		return true, nil
	case 0:
		return false, nil
	default:
		return false, errNoMemory
	}
}

// host is what a look at it finds.
type host int

const (
	hostIsThere   = host(C.HOST_IS_THERE)
	hostIsGone    = host(C.HOST_IS_GONE)
	hostIsStalled = host(C.HOST_IS_STALLED)
)

// look says what the host has come to since the look before.
func (m *mailbox) look() host {
	defer runtime.KeepAlive(m)
	return host(C.mailbox_look(m.c))
}

// shut lets nothing more in.
func (m *mailbox) shut() {
	defer runtime.KeepAlive(m)
	C.mailbox_shut(m.c)
}

// drop ends everything, and answers what was not drained.
func (m *mailbox) drop() (undrained []completion) {
	defer runtime.KeepAlive(m)
	first := C.mailbox_drop(m.c)
	defer C.completions_free(first)
	for c := first; c != nil; c = c.next {
		undrained = append(undrained, completionOf(c))
	}
	return undrained
}

func completionOf(c *C.struct_completion) completion {
	end := unsafe.Add(unsafe.Pointer(c), C.sizeof_struct_completion+c.size-2)
	reply := C.GoBytes(unsafe.Add(end, -int(c.reply)), C.int(c.reply))
	return completion{uint64(c.token), uint16(c.operation), reply}
}

// recall takes a reply to an operation that begins so and was not drained, and leaves another one.
func (m *mailbox) recall(operation uint16, begins, instead []byte) (done completion, found bool) {
	defer runtime.KeepAlive(m)
	c := C.mailbox_recall(m.c, C.uint16_t(operation), unsafe.Pointer(unsafe.SliceData(begins)), C.size_t(len(begins)),
		unsafe.Pointer(unsafe.SliceData(instead)), C.size_t(len(instead)))
	if c == nil {
		return completion{}, false
	}
	defer C.completions_free(c)
	return completionOf(c), true
}
