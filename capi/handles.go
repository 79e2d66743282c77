package main

import (
	"sync"
	"sync/atomic"

	"github.com/libworkflows/libworkflows/core/fault"
)

// kindShift leaves 48 bits for the number of a handle. The kind above them keeps
// a channel from being taken for an engine, and the whole below 2^53.
const kindShift = 48

// table gives out handles. They are numbers and not pointers, so that a wrong
// one is an error and not a crash, and none is ever given out twice.
type table[T any] struct {
	kind    uint64
	unknown *fault.Error
	last    atomic.Uint64
	live    sync.Map // handle to *T
}

func (t *table[T]) add(thing *T) uint64 {
	handle := t.kind<<kindShift | t.last.Add(1)
	t.live.Store(handle, thing)
	return handle
}

// get fails with closed for a handle that was given out once, else with invalid_handle.
func (t *table[T]) get(handle uint64) (*T, error) {
	thing, found := t.live.Load(handle)
	if !found {
		return nil, t.missing(handle)
	}
	return thing.(*T), nil
}

// remove answers the thing to the first caller only.
func (t *table[T]) remove(handle uint64) (*T, error) {
	thing, found := t.live.LoadAndDelete(handle)
	if !found {
		return nil, t.missing(handle)
	}
	return thing.(*T), nil
}

func (t *table[T]) missing(handle uint64) error {
	number := handle & (1<<kindShift - 1)
	if handle>>kindShift == t.kind && number > 0 && number <= t.last.Load() {
		return errClosed
	}
	return t.unknown
}
