package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

func someID() uuid.UUID { return uuid.MustParse("019a0000-0000-7000-8000-00000000000f") }

func someClaim() model.ClaimReply {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	id, retries := someID(), 3
	return model.ClaimReply{Executions: []model.Claimed{
		{
			ID: id, Run: 1, Kind: model.Job, Name: "noop", Queue: "default", RootID: id, Lease: model.Lease{Epoch: 1, Token: id},
			Args: model.Payload(`[1, "\ud800"]`), Kwargs: model.Payload(`{}`),
		},
		{
			ID: id, Kind: model.Workflow, Name: "größe <&> \"\n\u2028", ParentID: &id, Retry: &model.RetryPolicy{Retries: &retries, NonRetryable: []string{"E"}},
			DeadlineAt: &at, PreviousToken: &id, Events: []model.Event{{Type: "started", Payload: model.Payload(`{"a":1e400}`), At: at}},
		},
	}}
}

func someCompletion() string {
	return `{"items":[{"id":"` + someID().String() + `","lease":{"epoch":7,"token":"` + someID().String() + `"},"result":{"a":[1,"\u0000",-0.0e+3]},"position":3}]}`
}

// standard is what encoding/json makes of a reply.
func standard(t *testing.T, v any) string {
	t.Helper()
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

func wantAsStandard[T any](t *testing.T, v T) {
	t.Helper()
	got, err := Append(nil, &v)
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, got); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	if want := standard(t, &v); compact.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRepliesAreWrittenAsEncodingJSONWouldWriteThem(t *testing.T) {
	t.Parallel()
	wantAsStandard(t, someClaim())
	wantAsStandard(t, model.ClaimReply{})
	wantAsStandard(t, model.OutcomeReply{Results: []model.Result[model.Advanced]{
		{OK: &model.Advanced{}},
		{Error: fault.New(fault.LeaseLost, fault.Details{"id": someID()}, "%s", "it is <gone>")},
	}})
	wantAsStandard(t, struct {
		F float64        `json:"f"`
		M map[string]any `json:"m,omitempty"`
		A any            `json:"a"`
		B []byte         `json:"b"`
		I int64          `json:"i"`
	}{1e21, map[string]any{"k": 1}, nil, []byte("x"), -5})
}

func TestAPayloadIsWrittenAsItIsButForWhiteSpace(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 1000) + strings.Repeat("]", 1000)
	for _, c := range []struct{ payload, want string }{
		{" { \"a\" :\n[ 1 ,\t\"< \\u003c\" ] }\r\n", `{"a":[1,"< \u003c"]}`},
		{`{"a":[1.0e+400,"\ud800\/"],"a":-0.0}`, `{"a":[1.0e+400,"\ud800\/"],"a":-0.0}`},
		{deep, deep}, // that nothing so deep comes in is for others
	} {
		raw := model.Payload(c.payload)
		if got, err := Append(nil, &raw); err != nil || string(got) != c.want {
			t.Errorf("%s, %v, want %s", got, err, c.want)
		}
	}
}

func TestWhatIsNoJSONIsNotWritten(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{"{", "1 2", "nul", `"\x"`, "01", "[1,]", `{"a"}`, "\"\n\"", " ", " 1 2 "} {
		raw := model.Payload(payload)
		if got, err := Append(nil, &raw); err == nil {
			t.Errorf("%q was written: %s", payload, got)
		}
	}
	if got, err := Append(nil, new(time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("", 24*3600)))); err == nil {
		t.Errorf("a zone of a day was written: %s", got)
	}
	late := time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
	if got, err := Append(nil, &late); err == nil {
		t.Errorf("a year of five digits was written: %s", got)
	}
}

// What everybody sends is to be read here: leaving it to encoding/json would be right, and slow.
func TestWhatEverybodySendsIsReadHere(t *testing.T) {
	t.Parallel()
	wantRead[model.CompleteExecutionRequest](t, someCompletion())
	wantRead[model.CompleteExecutionRequest](t, ` { "items" : [ ] } `)
	wantRead[model.CreateExecutionRequest](t, `{"items":[{"kind":"workflow","name":"größe","queue":"q","args":[1,"\ud83d\ude00"],"idempotency_key":null,`+
		`"run_at":"2026-01-02T03:04:05.678Z","retry":{"retries":3,"factor":2.5,"non_retryable":["E"]},"signals":[{"name":"s","payload":null}],"awaited":true}],"wait_ms":5}`)
	wantRead[model.ClaimRequest](t, `{"n":3,"worker_id":"`+someID().String()+`","wait_ms":0,"lacking":[{"kind":"job","name":"n"}]}`)
}

func wantRead[T any](t *testing.T, raw string) {
	t.Helper()
	var got, want T
	if !Decode([]byte(raw), &got) {
		t.Fatalf("%s was left to encoding/json", raw)
	}
	if err := json.Unmarshal([]byte(raw), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s was read as\n%+v, not\n%+v", raw, got, want)
	}
}

func TestWhatIsWrongOrRareIsLeftToEncodingJSON(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"", "null", "[]", "{", `{"items"}`, `{"items":null}`, `{"items":[]} x`, `{"items":[]}}`, `{"items":[,]}`, `{"items":[{}],}`, `{"Items":[]}`,
		`{"items":[],"items":[]}`, `{"itmes":[]}`, `{"items":[{"id":"x"}]}`, `{"items":[{"position":01}]}`, `{"items":[{"position":1.5}]}`,
		`{"items":[{"position":9223372036854775808}]}`, `{"items":[{"position":-}]}`, `{"items":[{"result":}]}`, `{"items":[{"result":nul}]}`,
		`{"items":[{"result":"\ud"}]}`, `{"items":[{"result":1.}]}`, `{"items":[{"result":1e}]}`, `{"\u0069tems":[]}`, "{\"items\":[{\"id\":\"\n\"}]}",
		`{"items":[{"result":` + strings.Repeat("[", 140) + strings.Repeat("]", 140) + `}]}`,
	} {
		var request model.CompleteExecutionRequest
		if Decode([]byte(raw), &request) {
			t.Errorf("%s was read as %+v", raw, request)
		}
	}
}

// Requests that were damaged at random: what is read here is what encoding/json reads.
func TestADamagedRequestIsReadAsEncodingJSONReadsIt(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	read := 0
	for range 200_000 {
		raw := []byte(someCompletion())
		for range 1 + random.IntN(2) {
			raw[random.IntN(len(raw))] = "{}[]\",:0123456789eE+-.\\un \x00"[random.IntN(27)]
		}
		var got, want model.CompleteExecutionRequest
		if !Decode(raw, &got) {
			continue
		}
		read++
		if err := json.Unmarshal(raw, &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q was read as %+v, not %+v, %v", raw, got, want, err)
		}
	}
	if read < 1000 {
		t.Errorf("%d were read; nothing is shown", read)
	}
}

func TestATypeIsMadeOnceByMany(t *testing.T) {
	t.Parallel()
	type tree struct {
		Name  string `json:"name"`
		Trees []tree `json:"trees,omitempty"`
	}
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			raw := fmt.Sprintf(`{"name":"%d","trees":[{"name":"a","trees":[{"name":"b"}]}]}`, i)
			var read tree
			if !Decode([]byte(raw), &read) {
				t.Errorf("%s was not read", raw)
			}
			if got, err := Append(nil, &read); err != nil || string(got) != raw {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
	group.Wait()
}

func BenchmarkAppendClaims(b *testing.B) {
	reply := someClaim()
	for b.Loop() {
		_, _ = Append(nil, &reply)
	}
}

func BenchmarkAppendClaimsByEncodingJSON(b *testing.B) {
	reply := someClaim()
	for b.Loop() {
		_, _ = json.Marshal(&reply)
	}
}

func BenchmarkDecodeCompletion(b *testing.B) {
	raw := []byte(someCompletion())
	for b.Loop() {
		var request model.CompleteExecutionRequest
		Decode(raw, &request)
	}
}

func BenchmarkDecodeCompletionByEncodingJSON(b *testing.B) {
	raw := []byte(someCompletion())
	for b.Loop() {
		var request model.CompleteExecutionRequest
		_ = json.Unmarshal(raw, &request)
	}
}
