package wire

import (
	"reflect"
	"sync"
)

// codecs keeps one codec for each type.
type codecs[C any] struct{ byType sync.Map }

// of answers a type's codec, and makes it where there is none. A type that contains itself finds
// what late answers meanwhile: a codec that asks for the one which is being made.
func (c *codecs[C]) of(t reflect.Type, late func(made func() C) C, newCodec func(reflect.Type) C) C {
	if known, found := c.byType.Load(t); found {
		return known.(C)
	}
	var done sync.WaitGroup
	var made C
	done.Add(1)
	known, found := c.byType.LoadOrStore(t, late(func() C { done.Wait(); return made }))
	if found {
		return known.(C)
	}
	made = newCodec(t)
	done.Done()
	c.byType.Store(t, made)
	return made
}
