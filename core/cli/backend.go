package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/ops"
)

// caller runs one operation: the JSON of a request in, {"ok": ...} or {"error": ...} out.
type caller func(ctx context.Context, operation string, request []byte) (reply []byte)

// opener makes a caller, and what closes it. It is the one seam for tests.
type opener func(ctx context.Context, config model.Config) (caller, func(), error)

// closeGrace is how long calls in flight have to end.
const closeGrace = time.Second

func openEngine(ctx context.Context, config model.Config) (caller, func(), error) {
	engine, err := ops.Open(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	call := func(ctx context.Context, name string, request []byte) []byte {
		operation, err := ops.ByName(name)
		if err != nil {
			return ops.Failure(err)
		}
		return operation.Call(ctx, engine, request)
	}
	return call, func() { _ = engine.Close(closeGrace) }, nil // the answer is out: nobody could act on it
}

func (a *app) hangUp() {
	if a.close != nil {
		a.close()
	}
}

// ask runs one operation, opening the engine first if this is the first one.
// The reply comes decoded and also raw: what --json prints is the core's own
// text, so that payloads stay as their callers wrote them.
func ask[R any](ctx context.Context, a *app, operation string, request any) (reply R, raw json.RawMessage, err error) {
	if a.call == nil {
		if a.call, a.close, err = a.open(ctx, a.config); err != nil {
			a.call = nil
			return reply, nil, fault.From(err)
		}
	}
	sent, err := compact(request)
	if err != nil {
		return reply, nil, fault.New(fault.InvalidPayload, nil, "the request is not JSON: %s", err)
	}
	var envelope struct {
		OK    json.RawMessage `json:"ok"`
		Error *fault.Error    `json:"error"`
	}
	if err := json.Unmarshal(a.call(ctx, operation, sent), &envelope); err != nil {
		return reply, nil, fault.From(err)
	}
	if envelope.Error != nil {
		return reply, nil, envelope.Error
	}
	if err := json.Unmarshal(envelope.OK, &reply); err != nil {
		return reply, nil, fault.From(err)
	}
	return reply, envelope.OK, nil
}

// verdict is model.Result as it is read: one item's answer in a batch.
type verdict[T any] struct {
	OK    *T           `json:"ok,omitempty"`
	Error *fault.Error `json:"error,omitempty"`
}

type verdicts[T any] struct {
	Results []verdict[T] `json:"results"`
}

// compact is JSON on one line, with payloads as they are.
func compact(v any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}
