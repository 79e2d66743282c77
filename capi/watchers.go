package main

import (
	"errors"
	"slices"
	"syscall"
)

// watchers are the far ends of the descriptors that callers poll. Each caller
// has a pair of its own, so that nobody reads the bytes of another.
type watchers struct {
	ends []int
}

// add answers the caller's end. Sockets rather than pipes: a write to one whose
// reader is gone can be kept from raising SIGPIPE in the host.
func (w *watchers) add(awake bool) (fd int, err error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, noDescriptors(err)
	}
	if awake {
		wake(pair[1])
	}
	w.ends = append(w.ends, pair[1])
	return pair[0], nil
}

// wake makes every descriptor readable, and forgets those that were closed.
func (w *watchers) wake() {
	w.ends = slices.DeleteFunc(w.ends, func(end int) bool {
		gone := !wake(end)
		if gone {
			_ = syscall.Close(end)
		}
		return gone
	})
}

// wake says whether somebody still has the other end. One that is full, and
// takes no more, is readable already.
func wake(end int) (there bool) {
	_, err := syscall.SendmsgN(end, []byte{1}, nil, nil, syscall.MSG_NOSIGNAL)
	return !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET)
}

// close makes every descriptor read as ended, after the bytes that are in it.
func (w *watchers) close() {
	for _, end := range w.ends {
		_ = syscall.Close(end)
	}
	w.ends = nil
}
