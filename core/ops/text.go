package ops

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/libworkflows/libworkflows/core/fault"
)

// nulled answers raw with each half of a surrogate pair replaced by \u0000, and
// whether it holds a \u0000 then. PostgreSQL can keep neither in a text, and
// encoding/json turns the former into U+FFFD, so that two keys would become one.
func nulled(raw []byte) ([]byte, bool) {
	if !bytes.Contains(raw, []byte(`\u`)) {
		return raw, false
	}
	out, found := raw, false
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		width, storable := escape(raw[i:])
		if !storable && !found {
			out, found = bytes.Clone(raw), true
		}
		if !storable {
			copy(out[i:], `\u0000`)
		}
		i += width - 1
	}
	return out, found
}

// escape measures the escape that raw begins with, and says whether a text with it can be stored.
func escape(raw []byte) (width int, storable bool) {
	unit, ok := codeUnit(raw)
	if !ok {
		return 2, true
	}
	if !utf16.IsSurrogate(unit) {
		return 6, unit != 0
	}
	if next, ok := codeUnit(raw[6:]); ok && utf16.DecodeRune(unit, next) != utf8.RuneError {
		return 12, true
	}
	return 6, false
}

// codeUnit reads the \uXXXX that raw begins with.
func codeUnit(raw []byte) (rune, bool) {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
	return rune(unit), err == nil
}

// checkTexts refuses NUL in what is no payload.
func checkTexts(v reflect.Value, path string) error {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return checkTexts(v.Elem(), path)
		}
	case reflect.String:
		if strings.ContainsRune(v.String(), 0) {
			return fault.New(fault.InvalidRequest, fault.Details{"path": path},
				`%s holds \u0000 or half of a surrogate pair, which can only be in payloads`, path)
		}
	case reflect.Slice:
		return checkItems(v, path)
	case reflect.Struct:
		return checkFields(v, path)
	}
	return nil
}

func checkItems(v reflect.Value, path string) error {
	if v.Type().Elem().Kind() == reflect.Uint8 { // a payload
		return nil
	}
	for i := range v.Len() {
		if err := checkTexts(v.Index(i), path+"["+strconv.Itoa(i)+"]"); err != nil {
			return err
		}
	}
	return nil
}

func checkFields(v reflect.Value, path string) error {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if err := checkTexts(v.Field(i), strings.TrimPrefix(path+"."+name, ".")); err != nil {
			return err
		}
	}
	return nil
}
