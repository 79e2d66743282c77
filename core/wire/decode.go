package wire

import (
	"bytes"
	"reflect"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// MaxDepth bounds nesting, those few levels of a request around a payload included.
const MaxDepth = 128 + 8

// decoder reads one value, or gives up.
type decoder func(s *scanner, v reflect.Value) bool

var decoders codecs[decoder]

// Decode reads a request from JSON that is known to be UTF-8 into what v points to, which is zero.
// It gives up on whatever is wrong and on what is rare: escapes in texts, null, a field twice. Then
// v is of no use and encoding/json has to look, which has the words for what is wrong, too.
func Decode[T any](raw []byte, v *T) bool {
	s := scanner{raw: raw, deepest: MaxDepth}
	s.space()
	if !decoderOf(reflect.TypeFor[T]())(&s, reflect.ValueOf(v).Elem()) {
		return false
	}
	s.space()
	return s.at == len(raw)
}

func decoderOf(t reflect.Type) decoder {
	return decoders.of(t, func(made func() decoder) decoder {
		return func(s *scanner, v reflect.Value) bool { return made()(s, v) }
	}, newDecoder)
}

func newDecoder(t reflect.Type) decoder {
	switch t {
	case uuidType:
		return decodeUUID
	case timeType:
		return decodeTime
	case payloadType:
		return decodePayload
	}
	switch t.Kind() {
	case reflect.String:
		return decodeString
	case reflect.Int, reflect.Int64:
		return decodeInt
	case reflect.Float64:
		return decodeFloat
	case reflect.Bool:
		return decodeBool
	case reflect.Pointer:
		return pointerDecoder(t.Elem())
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 {
			return sliceDecoder(t)
		}
	case reflect.Struct:
		if fields, ok := fieldsOf(t); ok && len(fields) <= 64 {
			return structDecoder(fields)
		}
	}
	return func(*scanner, reflect.Value) bool { return false }
}

func decodeUUID(s *scanner, v reflect.Value) bool {
	text, ok := s.text()
	if !ok || len(text) != 36 { // the form that everybody writes; there are others
		return false
	}
	id, err := uuid.ParseBytes(text)
	*v.Addr().Interface().(*uuid.UUID) = id
	return err == nil
}

func decodeTime(s *scanner, v reflect.Value) bool {
	from := s.at
	if _, ok := s.text(); !ok {
		return false
	}
	return v.Addr().Interface().(*time.Time).UnmarshalJSON(s.raw[from:s.at]) == nil
}

func decodePayload(s *scanner, v reflect.Value) bool {
	from := s.at
	if !s.value() {
		return false
	}
	v.SetBytes(bytes.Clone(s.raw[from:s.at]))
	return true
}

func decodeString(s *scanner, v reflect.Value) bool {
	text, ok := s.text()
	if ok {
		v.SetString(string(text))
	}
	return ok
}

func decodeInt(s *scanner, v reflect.Value) bool {
	text, ok := s.number()
	if !ok {
		return false
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	v.SetInt(n)
	return err == nil
}

func decodeFloat(s *scanner, v reflect.Value) bool {
	text, ok := s.number()
	if !ok {
		return false
	}
	n, err := strconv.ParseFloat(string(text), 64)
	v.SetFloat(n)
	return err == nil
}

func decodeBool(s *scanner, v reflect.Value) bool {
	isTrue := s.literal("true")
	v.SetBool(isTrue)
	return isTrue || s.literal("false")
}

func pointerDecoder(t reflect.Type) decoder {
	inner := decoderOf(t)
	return func(s *scanner, v reflect.Value) bool {
		if s.literal("null") {
			return true
		}
		v.Set(reflect.New(t))
		return inner(s, v.Elem())
	}
}

func sliceDecoder(t reflect.Type) decoder {
	inner := decoderOf(t.Elem())
	return func(s *scanner, v reflect.Value) bool {
		v.Set(reflect.MakeSlice(t, 0, 0))
		return s.each('[', ']', func() bool {
			n := v.Len()
			v.Grow(1)
			v.SetLen(n + 1)
			return inner(s, v.Index(n))
		})
	}
}

func structDecoder(fields []field) decoder {
	inner := make([]decoder, len(fields))
	for i, f := range fields {
		inner[i] = decoderOf(f.t)
	}
	return func(s *scanner, v reflect.Value) bool {
		var seen uint64
		next := 0 // fields come in order, mostly
		return s.each('{', '}', func() bool {
			name, ok := s.key()
			i := find(fields, next, name)
			if !ok || i < 0 || seen&(1<<i) != 0 {
				return false
			}
			seen |= 1 << i
			next = i + 1
			return inner[i](s, v.Field(i))
		})
	}
}

// find answers which field has a name, and looks at some first; -1 if none has.
func find(fields []field, from int, name []byte) int {
	for n := range fields {
		i := (from + n) % len(fields)
		if fields[i].name == string(name) {
			return i
		}
	}
	return -1
}
