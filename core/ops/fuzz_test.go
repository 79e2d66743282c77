package ops

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/wire"
)

// decoders are all that requests go through, by the type of the request; slowDecoders those of
// encoding/json alone, and appenders what writes such a request by package wire.
var (
	decoders     = map[reflect.Type]func([]byte) (any, error){}
	slowDecoders = map[reflect.Type]func([]byte) (any, error){}
	appenders    = map[reflect.Type]func(any) ([]byte, error){}
)

func decoderOf[Q any]() {
	t := reflect.TypeFor[Q]()
	decoders[t] = func(raw []byte) (any, error) { return decode[Q](raw) }
	slowDecoders[t] = func(raw []byte) (any, error) { return decodeSlowly[Q](raw) }
	appenders[t] = func(request any) ([]byte, error) { q := request.(Q); return wire.Append(nil, &q) }
}

func init() {
	decoderOf[model.MigrateRequest]()
	decoderOf[model.CreateExecutionRequest]()
	decoderOf[model.ClaimRequest]()
	decoderOf[model.HeartbeatRequest]()
	decoderOf[model.RecoverRequest]()
	decoderOf[model.AdvanceWorkflowRequest]()
	decoderOf[model.SuspendWorkflowRequest]()
	decoderOf[model.RecordStepRequest]()
	decoderOf[model.CompleteExecutionRequest]()
	decoderOf[model.FailExecutionRequest]()
	decoderOf[model.ReleaseRequest]()
	decoderOf[model.TargetsRequest]()
	decoderOf[model.GetExecutionRequest]()
	decoderOf[model.WaitExecutionRequest]()
	decoderOf[model.ListExecutionsRequest]()
	decoderOf[model.GetHistoryRequest]()
	decoderOf[model.PullEventsRequest]()
	decoderOf[model.SendSignalRequest]()
	decoderOf[model.StartWorkerRequest]()
	decoderOf[model.StopWorkerRequest]()
	decoderOf[model.StatsRequest]()
}

func TestEveryRequestIsFuzzed(t *testing.T) {
	t.Parallel()
	for _, o := range Table() {
		if decoders[o.Request] == nil {
			t.Errorf("the request of %s has no decoder in this test", o.Name)
		}
	}
}

// held are what a request of each kind looks like; most mutations of them are refused late.
var held = []string{
	`{"items":[{"kind":"workflow","name":"n","queue":"q","priority":3,"args":[1,"\u0000",{"a":-0.0}],"kwargs":{"b":1e400},"idempotency_key":"k","run_at":"2026-01-02T03:04:05.678Z","retry":{"retries":3,"factor":2.5,"jitter":0.5,"non_retryable":["E"]},"signals":[{"name":"s","payload":[null]}]}],"wait_ms":5}`,
	`{"worker_id":"` + someID + `","n":3,"lacking":[{"kind":"job","name":"\ud83d\ude00"}]}`,
	`{"items":[{"id":"` + someID + `","lease":{"epoch":1,"token":"` + someID + `"},"position":1,"events":[{"type":"step_completed","sequence":1,"name":"s","payload":"\ud800"}],"commands":[{"type":"schedule","sequence":2,"execution":{"kind":"job","name":"n"}}],"then":"continue","carry":[1]}]}`,
	`{"items":[{"id":"` + someID + `","name":"s","payload":9007199254740993,"idempotency_key":null}]}`,
	`{"status":["pending"],"kind":"job","name":"%_","parked":true,"limit":3,"cursor":"c"}`,
	"", " null ", `{"items":[{"name":"\udc00\ud800"}]}`, `{"items":[]} {}`, "\xef\xbb\xbf{}", `{"items":` + strings.Repeat("[", 200), `{"ITEMS":[],"items":[{"id":1}]}`,
}

func FuzzEveryRequest(f *testing.F) {
	for number := range Table() {
		for _, request := range held {
			f.Add(uint8(number), []byte(request))
		}
	}
	f.Fuzz(func(t *testing.T, number uint8, raw []byte) {
		operation := Table()[int(number)%len(table)]
		request, err := decoders[operation.Request](raw)
		wantBothWaysAlike(t, operation, raw, request, err)
		if err != nil {
			wantRefusal(t, err)
			return
		}
		if !utf8.Valid(raw) || (len(bytes.TrimSpace(raw)) > 0 && !json.Valid(raw)) {
			t.Errorf("%s accepted %q", operation.Name, raw)
		}
		wantKept(t, reflect.ValueOf(request), raw)
		wantSame(t, operation, request)
	})
}

// wantBothWaysAlike wants that package wire reads and writes what encoding/json does.
func wantBothWaysAlike(t *testing.T, operation Operation, raw []byte, request any, err error) {
	t.Helper()
	if !utf8.Valid(raw) {
		return // encoding/json never sees it
	}
	slow, slowErr := slowDecoders[operation.Request](raw)
	if (err == nil) != (slowErr == nil) || err == nil && !reflect.DeepEqual(request, slow) {
		t.Fatalf("%s read %q as\n%+v, %v and slowly as\n%+v, %v", operation.Name, raw, request, err, slow, slowErr)
	}
	if err != nil {
		return
	}
	var compact, want bytes.Buffer
	written, err := appenders[operation.Request](request)
	if err == nil {
		err = json.Compact(&compact, written)
	}
	encoder := json.NewEncoder(&want)
	encoder.SetEscapeHTML(false)
	if wantErr := encoder.Encode(request); (err == nil) != (wantErr == nil) {
		t.Fatalf("%+v: %v, and %v of encoding/json", request, err, wantErr)
	}
	if got := strings.TrimSpace(want.String()); err == nil && got != compact.String() {
		t.Errorf("%s was written as\n%s and by encoding/json as\n%s", operation.Name, written, got)
	}
}

// wantRefusal wants a fault that the caller can do something about, as a text that can be shown.
func wantRefusal(t *testing.T, err error) {
	t.Helper()
	if code := fault.CodeOf(err); code != fault.InvalidRequest && code != fault.PayloadTooLarge {
		t.Errorf("the code is %s: %v", code, err)
	}
	reply := Failure(err)
	if !json.Valid(reply) || !utf8.Valid(reply) || len(reply) > 4096 {
		t.Errorf("the reply has %d bytes: %.200q", len(reply), reply)
	}
}

// wantKept wants payloads byte for byte, and texts that PostgreSQL can keep.
func wantKept(t *testing.T, v reflect.Value, raw []byte) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			wantKept(t, v.Elem(), raw)
		}
	case reflect.String:
		if text := v.String(); strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
			t.Errorf("the text %q of %q", text, raw)
		}
	case reflect.Slice:
		if payload, is := v.Interface().(model.Payload); is {
			if payload != nil && (!json.Valid(payload) || !bytes.Contains(raw, payload)) {
				t.Errorf("the payload %q of %q", payload, raw)
			}
			return
		}
		for i := range v.Len() {
			wantKept(t, v.Index(i), raw)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				wantKept(t, v.Field(i), raw)
			}
		}
	}
}

// wantSame wants that a request means the same when it is written anew.
func wantSame(t *testing.T, operation Operation, request any) {
	t.Helper()
	first, err := json.Marshal(request)
	if err != nil {
		return // a year that RFC 3339 does not have
	}
	again, err := decoders[operation.Request](first)
	if err != nil {
		t.Fatalf("%s is refused: %v", first, err)
	}
	if second, err := json.Marshal(again); err != nil || !bytes.Equal(first, second) {
		t.Errorf("%s became %s, %v", first, second, err)
	}
}

func FuzzTextsThatCannotBeKept(f *testing.F) {
	for _, seed := range []string{`\u0000`, `\ud800`, `\udc00\ud800`, `\ud83d\ude00`, `\\u0000`, `\\\u0000`, `\uD83D\uDE00\uDE00`, `\u`, "\uFFFD", `\ufffd`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, inside string) {
		raw := []byte(`"` + inside + `"`)
		var text string
		if !utf8.Valid(raw) || json.Unmarshal(raw, &text) != nil {
			return
		}
		// encoding/json makes U+FFFD of what is no character; one that was meant is counted apart.
		meant := strings.Count(inside, "\uFFFD") + strings.Count(strings.ToLower(strings.ReplaceAll(inside, `\\`, "")), `\ufffd`)
		lost := strings.ContainsRune(text, 0) || strings.Count(text, "\uFFFD") > meant
		twin, found := nulled(raw)
		if found != lost {
			t.Errorf("%s cannot be kept: %v, but found: %v", raw, lost, found)
		}
		if len(twin) != len(raw) || !json.Valid(twin) {
			t.Errorf("%s became %s", raw, twin)
		}
	})
}
