package ops

import (
	"reflect"
	"strings"
)

// shape writes down a type's JSON form, for the digest.
func shape(t reflect.Type, above []reflect.Type) string {
	for _, seen := range above {
		if seen == t {
			return t.Name()
		}
	}
	above = append(above, t)
	switch t.Kind() {
	case reflect.Pointer:
		return "?" + shape(t.Elem(), above)
	case reflect.Slice:
		return "[" + shape(t.Elem(), above) + "]"
	case reflect.Struct:
		if t.PkgPath() == "time" {
			return t.Name()
		}
		fields := make([]string, 0, t.NumField())
		for i := range t.NumField() {
			f := t.Field(i)
			fields = append(fields, f.Tag.Get("json")+":"+shape(f.Type, above))
		}
		return "{" + strings.Join(fields, ",") + "}"
	default:
		return t.Kind().String()
	}
}

// methodName answers the engine's method of an operation: cancel_execution is CancelExecution.
func methodName(operation string) string {
	var out strings.Builder
	for _, word := range strings.Split(operation, "_") {
		out.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return out.String()
}

// requiredLists answers which fields of a reply are lists that are always there.
func requiredLists(t reflect.Type) []int {
	var lists []int
	for i := range t.NumField() {
		f := t.Field(i)
		payload := f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Uint8
		if f.Type.Kind() == reflect.Slice && !payload && !strings.Contains(f.Tag.Get("json"), ",omitempty") {
			lists = append(lists, i)
		}
	}
	return lists
}

// fill makes lists empty that are nil, which would be null in JSON.
func fill(reply reflect.Value, lists []int) {
	for _, i := range lists {
		if list := reply.Field(i); list.IsNil() {
			list.Set(reflect.MakeSlice(list.Type(), 0, 0))
		}
	}
}
