// Package wire is the JSON of the C interface. For the shapes of requests and replies it does what
// encoding/json does, in a fraction of the time; whatever is out of the ordinary it leaves to that.
// docs/decisions/0032-a-codec-of-our-own.md has the figures.
package wire

import (
	"bytes"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// encoder appends one value, which can be addressed.
type encoder func(dst []byte, v reflect.Value) ([]byte, error)

var encoders codecs[encoder]

// Append appends what v points to as JSON, with payloads as they are but for white space between tokens.
func Append[T any](dst []byte, v *T) ([]byte, error) {
	return encoderOf(reflect.TypeFor[T]())(dst, reflect.ValueOf(v).Elem())
}

func encoderOf(t reflect.Type) encoder {
	return encoders.of(t, func(made func() encoder) encoder {
		return func(dst []byte, v reflect.Value) ([]byte, error) { return made()(dst, v) }
	}, newEncoder)
}

var (
	uuidType    = reflect.TypeFor[uuid.UUID]()
	timeType    = reflect.TypeFor[time.Time]()
	payloadType = reflect.TypeFor[json.RawMessage]()

	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

func newEncoder(t reflect.Type) encoder {
	switch t {
	case uuidType:
		return appendUUID
	case timeType:
		return appendTime
	case payloadType:
		return appendPayload
	}
	if p := reflect.PointerTo(t); p.Implements(jsonMarshaler) || p.Implements(textMarshaler) {
		return appendOther
	}
	switch t.Kind() {
	case reflect.String:
		return appendString
	case reflect.Int, reflect.Int64:
		return func(dst []byte, v reflect.Value) ([]byte, error) { return strconv.AppendInt(dst, v.Int(), 10), nil }
	case reflect.Bool:
		return func(dst []byte, v reflect.Value) ([]byte, error) { return strconv.AppendBool(dst, v.Bool()), nil }
	case reflect.Pointer:
		return pointerEncoder(encoderOf(t.Elem()))
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 {
			return sliceEncoder(encoderOf(t.Elem()))
		}
	case reflect.Struct:
		if fields, ok := fieldsOf(t); ok {
			return structEncoder(fields)
		}
	}
	return appendOther
}

// appendOther leaves a value to encoding/json.
func appendOther(dst []byte, v reflect.Value) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	other := json.NewEncoder(out)
	other.SetEscapeHTML(false) // <, > and & in a payload are to come back as they went in
	if err := other.Encode(v.Addr().Interface()); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

func appendUUID(dst []byte, v reflect.Value) ([]byte, error) {
	id := v.Addr().Interface().(*uuid.UUID)
	dst = hex.AppendEncode(append(dst, '"'), id[:4])
	for at := 4; at < 10; at += 2 {
		dst = hex.AppendEncode(append(dst, '-'), id[at:at+2])
	}
	return append(hex.AppendEncode(append(dst, '-'), id[10:]), '"'), nil
}

func appendTime(dst []byte, v reflect.Value) ([]byte, error) {
	at := v.Addr().Interface().(*time.Time)
	_, offset := at.Zone()
	if year := at.Year(); year < 0 || year > 9999 || max(offset, -offset) >= 24*60*60 {
		return appendOther(dst, v) // which says what is wrong
	}
	return append(at.AppendFormat(append(dst, '"'), time.RFC3339Nano), '"'), nil
}

func appendPayload(dst []byte, v reflect.Value) ([]byte, error) {
	payload := v.Bytes()
	if len(payload) == 0 {
		return append(dst, "null"...), nil
	}
	s := scanner{raw: payload, deepest: math.MaxInt} // how deep is for who took it in
	s.space()
	if !s.value() {
		return nil, fmt.Errorf("a payload of %d bytes is no JSON", len(payload))
	}
	if s.space(); s.at < len(payload) {
		return nil, fmt.Errorf("a payload of %d bytes has something after its JSON", len(payload))
	}
	if !s.spaced {
		return append(dst, payload...), nil
	}
	out := bytes.NewBuffer(dst)
	err := json.Compact(out, payload)
	return out.Bytes(), err
}

func appendString(dst []byte, v reflect.Value) ([]byte, error) {
	text := v.String()
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return appendOther(dst, v)
		}
	}
	return append(append(append(dst, '"'), text...), '"'), nil
}

func pointerEncoder(inner encoder) encoder {
	return func(dst []byte, v reflect.Value) ([]byte, error) {
		if v.IsNil() {
			return append(dst, "null"...), nil
		}
		return inner(dst, v.Elem())
	}
}

func sliceEncoder(inner encoder) encoder {
	return func(dst []byte, v reflect.Value) (_ []byte, err error) {
		if v.IsNil() {
			return append(dst, "null"...), nil
		}
		dst = append(dst, '[')
		for i := range v.Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = inner(dst, v.Index(i)); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	}
}

func structEncoder(fields []field) encoder {
	inner := make([]encoder, len(fields))
	for i, f := range fields {
		inner[i] = encoderOf(f.t)
	}
	return func(dst []byte, v reflect.Value) (_ []byte, err error) {
		dst = append(dst, '{')
		first := len(dst)
		for i := range fields {
			f, value := &fields[i], v.Field(i)
			if f.omitEmpty && isEmpty(value) {
				continue
			}
			if len(dst) > first {
				dst = append(dst, ',')
			}
			if dst, err = inner[i](append(dst, f.label...), value); err != nil {
				return nil, err
			}
		}
		return append(dst, '}'), nil
	}
}

// field is one of a struct.
type field struct {
	name      string
	label     string // "name":
	omitEmpty bool
	t         reflect.Type
}

// fieldsOf answers all fields of a struct, and whether they are as plain as all those of package
// model: exported, not embedded, with a name in their tag.
func fieldsOf(t reflect.Type) (fields []field, plain bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || f.Anonymous || name == "" || name == "-" || (option != "" && option != "omitempty") {
			return nil, false
		}
		fields = append(fields, field{name, `"` + name + `":`, option != "", f.Type})
	}
	return fields, true
}

func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String, reflect.Slice, reflect.Map, reflect.Array:
		return v.Len() == 0
	case reflect.Struct:
		return false
	default:
		return v.IsZero()
	}
}
