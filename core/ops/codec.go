package ops

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/wire"
)

type errorReply struct {
	Error *fault.Error `json:"error"`
}

// decode reads a request. Payloads in it stay raw: decoding and encoding them
// again would turn lone surrogates into U+FFFD and round big integers.
func decode[Q any](raw []byte) (Q, error) {
	var request Q
	if !utf8.Valid(raw) { // encoding/json would mend it in silence
		return request, fault.New(fault.InvalidRequest, nil, "the request is not UTF-8; encode it as UTF-8 JSON")
	}
	if wire.Decode(raw, &request) {
		return request, nil
	}
	return decodeSlowly[Q](raw)
}

// decodeSlowly reads what is out of the ordinary, and says what is wrong.
func decodeSlowly[Q any](raw []byte) (Q, error) {
	var request Q
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = []byte("{}")
	}
	if deepest(raw) > wire.MaxDepth { // encoding/json would choke on it
		return request, fault.New(fault.PayloadTooLarge, fault.Details{"limit": 128}, "the request nests deeper than 128 levels; flatten the value or store it elsewhere")
	}
	if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) { // encoding/json takes it for an empty object
		return request, fault.New(fault.InvalidRequest, nil, "the request must be an object, not null")
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		return request, explain(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return request, fault.New(fault.InvalidRequest, nil, "the request has something after its JSON object; send exactly one object")
	}
	return request, storable[Q](raw)
}

// storable refuses a request with a name, key or other text that could not be
// kept as it is. In payloads, which are not texts, everything is welcome.
func storable[Q any](raw []byte) error {
	twin, found := nulled(raw)
	if !found {
		return nil
	}
	var request Q
	if err := json.Unmarshal(twin, &request); err != nil {
		return explain(err)
	}
	return checkTexts(reflect.ValueOf(request), "")
}

// deepest answers the deepest nesting of brackets outside strings. The text
// need not be valid JSON.
func deepest(raw []byte) int {
	depth, most, inString := 0, 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
			most = max(most, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return most
}

// explain turns a decoding error into a fault that names the place.
func explain(err error) error {
	var wrongType *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrongType):
		return fault.New(fault.InvalidRequest, fault.Details{"path": wrongType.Field},
			"%s must be %s, not a JSON %s", path(wrongType.Field), jsonKind(wrongType.Type), wrongType.Value).Because(err)
	case errors.As(err, &syntax):
		return fault.New(fault.InvalidRequest, fault.Details{"offset": syntax.Offset},
			"the request is not JSON: %s at byte %d", syntax.Error(), syntax.Offset).Because(err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.InvalidRequest, nil, "the request is not JSON: it ends too early").Because(err)
	default: // an unknown field, an unreadable uuid or instant: the text is about the request alone
		return fault.New(fault.InvalidRequest, nil, "the request does not fit: %s", strings.TrimPrefix(err.Error(), "json: ")).Because(err)
	}
}

func path(field string) string {
	if field == "" {
		return "the request"
	}
	return field
}

// jsonKind says in words what a Go type wants; Go's names mean nothing to callers.
func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return jsonKind(t.Elem())
	case reflect.String, reflect.Array: // an array is a uuid
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "an integer that fits"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "an array"
	default:
		return "an object"
	}
}

// success answers {"ok": ...}.
func success[R any](reply *R) []byte {
	out, err := wire.Append([]byte(`{"ok":`), reply)
	if err != nil {
		return Failure(fmt.Errorf("encode a reply: %w", err))
	}
	return append(out, '}')
}

// Failure answers {"error": ...} for any error. Causes are logged here, once,
// and do not leave: they may hold a connection string.
func Failure(err error) []byte {
	f := fault.From(err)
	if cause := f.Unwrap(); cause != nil && f.Code == fault.Internal {
		slog.Error("an operation failed", "code", f.Code, "cause", cause)
	}
	reply, err := wire.Append(nil, &errorReply{f})
	if err != nil {
		return []byte(`{"error":{"code":"internal","message":"the library could not encode an error","retryable":false}}`)
	}
	return reply
}
