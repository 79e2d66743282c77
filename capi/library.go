package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/ops"
)

// core is what this package needs of an engine.
type core struct {
	operate func(context.Context, ops.Operation, []byte) []byte
	close   func(grace time.Duration) error
}

func openCore(ctx context.Context, config model.Config) (core, error) {
	engine, err := ops.Open(ctx, config)
	if err != nil {
		return core{}, err
	}
	return core{
		operate: func(ctx context.Context, operation ops.Operation, request []byte) []byte {
			return operation.Call(ctx, engine, request)
		},
		close: engine.Close,
	}, nil
}

// library is everything that handles name.
type library struct {
	engines  engines
	sessions table[session]
	channels table[channel]
}

func newLibrary(open func(context.Context, model.Config) (core, error)) *library {
	return &library{
		engines:  engines{open: open, byKey: map[string]*engine{}},
		sessions: table[session]{kind: 1, unknown: errEngine},
		channels: table[channel]{kind: 2, unknown: errChannel},
	}
}

func (l *library) open(config []byte) (handle uint64, err error) {
	decoded, err := decodeConfig(config)
	if err != nil {
		return 0, err
	}
	e, err := l.engines.join(decoded)
	if err != nil {
		return 0, err
	}
	return l.sessions.add(newSession(e, l.engines.leave)), nil
}

// close may be called twice, by two threads at once, too: the second does not wait.
func (l *library) close(handle uint64, grace time.Duration) error {
	s, err := l.sessions.remove(handle)
	if errors.Is(err, errClosed) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.close(grace)
}

func (l *library) operate(handle uint64, number uint16, request []byte) []byte {
	s, err := l.sessions.get(handle)
	if err == nil && !s.calls.enter(1) {
		err = errClosed
	}
	if err != nil {
		return ops.Failure(err)
	}
	defer s.calls.leave()
	return s.operate(s.ctx, number, request)
}

func (l *library) openChannel(handle uint64) (channel uint64, err error) {
	s, err := l.sessions.get(handle)
	if err != nil {
		return 0, err
	}
	c, err := s.openChannel()
	if err != nil {
		return 0, err
	}
	return l.channels.add(c), nil
}

func (l *library) closeChannel(handle uint64) error {
	c, err := l.channels.remove(handle)
	if errors.Is(err, errClosed) {
		return nil
	}
	if err != nil {
		return err
	}
	c.close()
	return nil
}

// decodeConfig is strict, so that a misspelt setting is not lost.
func decodeConfig(raw []byte) (config model.Config, err error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return config, nil
	}
	if !utf8.Valid(raw) {
		return config, fault.New(fault.InvalidConfig, nil, "the configuration is not UTF-8; encode it as UTF-8 JSON")
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&config); err != nil {
		return config, fault.New(fault.InvalidConfig, nil, "the configuration does not fit: %s", explain(err)).Because(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return config, fault.New(fault.InvalidConfig, nil, "the configuration has something after its JSON object; give exactly one object")
	}
	return config, nil
}

// explain says what is wrong without quoting values, which may be passwords.
func explain(err error) string {
	var wrongType *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrongType) && wrongType.Field == "":
		return "it must be a JSON object, not a JSON " + kindOf(wrongType.Value)
	case errors.As(err, &wrongType):
		return wrongType.Field + " must be a JSON " + wrongType.Type.String() + ", not a " + kindOf(wrongType.Value)
	case errors.As(err, &syntax):
		return "it is not JSON"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "it is not JSON: it ends too early"
	default: // an unknown field, by name
		return strings.TrimPrefix(err.Error(), "json: ")
	}
}

// kindOf cuts the literal off "number 5".
func kindOf(value string) string {
	kind, _, _ := strings.Cut(value, " ")
	return kind
}
