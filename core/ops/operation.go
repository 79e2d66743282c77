package ops

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"reflect"
	"runtime/debug"

	"github.com/libworkflows/libworkflows/core/engine"
	"github.com/libworkflows/libworkflows/core/fault"
)

// Operation is one thing that the library does for its callers.
type Operation struct {
	Number uint16
	// Name is verb_noun; the C symbol is wf_ and this.
	Name string
	// Method is the engine's, where its documentation is.
	Method string
	// Request and Reply are the Go types whose JSON crosses the ABI.
	Request, Reply reflect.Type

	call func(context.Context, *engine.Engine, []byte) (reply []byte, err error)
}

func bind[Q, R any](number uint16, name string, method func(*engine.Engine, context.Context, Q) (R, error)) Operation {
	lists := requiredLists(reflect.TypeFor[R]())
	return Operation{
		Number:  number,
		Name:    name,
		Method:  methodName(name),
		Request: reflect.TypeFor[Q](),
		Reply:   reflect.TypeFor[R](),
		call: func(ctx context.Context, e *engine.Engine, raw []byte) ([]byte, error) {
			request, err := decode[Q](raw)
			if err != nil {
				return nil, err
			}
			reply, err := method(e, ctx, request)
			if err != nil {
				return nil, err
			}
			fill(reflect.ValueOf(&reply).Elem(), lists)
			return success(&reply), nil
		},
	}
}

// Call runs an operation and answers its reply: {"ok": ...} or {"error": ...}.
// It never panics and never answers anything that is not JSON.
func (o Operation) Call(ctx context.Context, e *engine.Engine, request []byte) (reply []byte) {
	defer func() {
		if r := recover(); r != nil {
			slog.Error("an operation panicked", "operation", o.Name, "panic", r, "stack", string(debug.Stack()))
			reply = Failure(fault.New(fault.Internal, nil, "%s failed in a way that the library did not expect; its log has the stack", o.Name))
		}
	}()
	reply, err := o.call(ctx, e, request)
	if err != nil {
		return Failure(err)
	}
	return reply
}

// ByNumber finds an operation.
func ByNumber(number uint16) (Operation, error) {
	if number == 0 || int(number) > len(table) {
		return Operation{}, fault.New(fault.UnknownOperation, fault.Details{"operation": number},
			"no operation has number %d; this library knows 1 to %d", number, len(table))
	}
	return table[number-1], nil
}

// ByName finds an operation.
func ByName(name string) (Operation, error) {
	for _, o := range table {
		if o.Name == name {
			return o, nil
		}
	}
	return Operation{}, fault.New(fault.UnknownOperation, fault.Details{"operation": name}, "no operation is called %q", name)
}

// Digest identifies the table: adapters compare it with the one that they were
// generated from, and refuse a library that speaks differently.
func Digest() string {
	h := sha256.New()
	for _, o := range table {
		fmt.Fprintf(h, "%d %s %s %s\n", o.Number, o.Name, shape(o.Request, nil), shape(o.Reply, nil))
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
