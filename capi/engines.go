package main

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/ops"
)

// engine is shared by the sessions that were opened with the same configuration,
// because its connections are what a database has few of.
type engine struct {
	core
	key    string
	opened chan struct{} // closed when core or err is there
	err    error
	users  int // guarded by engines.mu
}

type engines struct {
	open func(context.Context, model.Config) (core, error)

	mu    sync.Mutex
	byKey map[string]*engine
}

// join opens an engine, or waits for the one that somebody else is opening.
func (all *engines) join(config model.Config) (*engine, error) {
	key, err := engineKey(config)
	if err != nil {
		return nil, err
	}
	e, first := all.find(key)
	if first {
		all.start(e, config)
	}
	<-e.opened
	if e.err != nil {
		return nil, e.err
	}
	return e, nil
}

func (all *engines) find(key string) (e *engine, first bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	e, found := all.byKey[key]
	if !found {
		e = &engine{key: key, opened: make(chan struct{})}
		all.byKey[key] = e
	}
	e.users++
	return e, !found
}

// start never leaves those who wait for it without an answer.
func (all *engines) start(e *engine, config model.Config) {
	e.err = fault.New(fault.Internal, nil, "opening the engine failed in a way that the library did not expect; its log has the stack")
	defer func() {
		if e.err != nil {
			all.forget(e)
		}
		close(e.opened)
	}()
	e.core, e.err = all.open(context.Background(), config)
}

func (all *engines) forget(e *engine) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.byKey[e.key] == e {
		delete(all.byKey, e.key)
	}
}

// leave says whether the caller was the last user, who then has to close the
// engine. Whoever comes later opens another one.
func (all *engines) leave(e *engine) (last bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	e.users--
	if e.users > 0 {
		return false
	}
	delete(all.byKey, e.key)
	return true
}

// The operations that this package calls or looks at by itself.
var (
	opClaim       = numberOf("claim")
	opRelease     = numberOf("release")
	opStartWorker = numberOf("start_worker")
	opStopWorker  = numberOf("stop_worker")
)

func numberOf(name string) uint16 {
	operation, err := ops.ByName(name)
	if err != nil {
		panic(err) // the table has lost an operation that is part of the interface
	}
	return operation.Number
}

// ask calls an operation on the library's own behalf. What comes of it is for
// nobody: what could not be put back is recovered by others.
func (e *engine) ask(ctx context.Context, number uint16, request any) {
	operation, err := ops.ByNumber(number)
	if err != nil {
		return
	}
	if raw, err := json.Marshal(request); err == nil {
		e.operate(ctx, operation, raw)
	}
}

func (e *engine) stop(ctx context.Context, worker json.RawMessage, drain bool) {
	e.ask(ctx, opStopWorker, struct {
		WorkerID json.RawMessage `json:"worker_id"`
		Drain    bool            `json:"drain,omitempty"`
	}{worker, drain})
}

// engineKey is equal for configurations that lead to the same engine. The
// directory is in it for embedded: and its relative path.
func engineKey(config model.Config) (string, error) {
	text, err := json.Marshal(config)
	if err != nil {
		return "", err
	}
	var settings []string
	for _, pair := range os.Environ() {
		if isSetting(pair) {
			settings = append(settings, pair)
		}
	}
	slices.Sort(settings)
	directory, err := os.Getwd()
	if err != nil {
		directory = "" // it was removed: embedded: will say so, a server's URL does not need it
	}
	return strings.Join(append(settings, directory, string(text)), "\x00"), nil
}

// remaining is the time until a deadline, and none after it.
func remaining(deadline time.Time) time.Duration { return max(time.Until(deadline), 0) }
