package ops

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

const someID = "019a0000-0000-7000-8000-000000000000"

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		request string
		says    string // part of the message
		code    fault.Code
	}{
		{name: "an unknown field", request: `{"items":[],"itmes":[]}`, says: `unknown field "itmes"`},
		{name: "an unknown field in an item", request: `{"items":[{"kindd":"job"}]}`, says: `unknown field "kindd"`},
		{name: "a string for an array", request: `{"items":"x"}`, says: "items must be an array, not a JSON string"},
		{name: "a number for a string", request: `{"items":[{"name":1}]}`, says: "items.name must be a string, not a JSON number"},
		{name: "a fraction for an integer", request: `{"items":[{"delay_ms":1.5}]}`, says: "items.delay_ms must be an integer"},
		{name: "an integer that is too big", request: `{"items":[{"delay_ms":9223372036854775808}]}`, says: "an integer that fits"},
		{name: "a string for a number", request: `{"items":[{"retry":{"factor":"2"}}]}`, says: "factor must be a number"},
		{name: "a number for a boolean", request: `{"items":[{"awaited":1}]}`, says: "awaited must be true or false"},
		{name: "an array for a uuid", request: `{"items":[{"id":[1]}]}`, says: "id must be a string"},
		{name: "a string that is no uuid", request: `{"items":[{"id":"x"}]}`, says: "UUID"},
		{name: "a string that is no instant", request: `{"items":[{"run_at":"noon"}]}`, says: "noon"},
		{name: "an array for the request", request: `[]`, says: "the request must be an object, not a JSON array"},
		{name: "null for the request", request: ` null `, says: "must be an object, not null"},
		{name: "something after the object", request: `{"items":[]} {}`, says: "after its JSON object"},
		{name: "rubbish after the object", request: `{"items":[]}x`, says: "after its JSON object"},
		{name: "an object that ends too early", request: `{"items":[`, says: "ends too early"},
		{name: "what is no JSON", request: `{items:[]}`, says: "not JSON"},
		{name: "NaN in a payload", request: `{"items":[{"args":[NaN]}]}`, says: "not JSON"},
		{name: "bytes that are not UTF-8", request: "{\"items\":[{\"name\":\"\xff\"}]}", says: "not UTF-8"},
		{name: "bytes that encode a surrogate", request: "{\"items\":[{\"name\":\"\xed\xa0\x80\"}]}", says: "not UTF-8"},
		{name: "NUL in a name", request: `{"items":[{"name":"a\u0000"}]}`, says: "items[0].name holds"},
		{name: "half of a surrogate pair in a key", request: `{"items":[{"name":"a"},{"idempotency_key":"\ud800"}]}`, says: "items[1].idempotency_key holds"},
		{name: "a low surrogate before a high one in a name", request: `{"items":[{"name":"\udc00\ud800"}]}`, says: "items[0].name holds"},
		{name: "half of a surrogate pair in a list of texts", request: `{"items":[{"retry":{"non_retryable":["a","\uD83Dx"]}}]}`, says: "items[0].retry.non_retryable[1] holds"},
		{
			name: "a payload that nests too deep", request: `{"items":[{"args":` + nested(200) + `}]}`,
			says: "deeper than 128", code: fault.PayloadTooLarge,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := decode[model.CreateExecutionRequest]([]byte(c.request))
			want := c.code
			if want == "" {
				want = fault.InvalidRequest
			}
			if got := fault.CodeOf(err); got != want {
				t.Fatalf("decode(%s) = %v, want %s", c.request, err, want)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("the message is %q; it should say %q", err, c.says)
			}
		})
	}
}

func TestDecodeAccepts(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"nothing as the empty object":           "",
		"space as the empty object":             " \n",
		"the empty object":                      "{}",
		"space around the object":               "\n {} \t",
		"a surrogate pair in a name":            `{"items":[{"kind":"job","name":"\ud83d\ude00"}]}`,
		"U+FFFD in a name beside such payloads": `{"items":[{"kind":"job","name":"` + "\uFFFD" + `","args":["\ud800","\u0000"]}]}`,
		"an escaped backslash before u0000":     `{"items":[{"kind":"job","name":"\\u0000\\ud800"}]}`,
		"a payload of 128 levels":               `{"items":[{"kind":"job","name":"deep","args":` + nested(128) + `}]}`,
		"brackets inside strings":               `{"items":[{"kind":"job","name":"` + strings.Repeat("[", 300) + `\"[{"}]}`,
	}
	for name, request := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := decode[model.CreateExecutionRequest]([]byte(request)); err != nil {
				t.Errorf("decode(%s): %v", request, err)
			}
		})
	}
}

func nested(levels int) string {
	return strings.Repeat("[", levels) + strings.Repeat("]", levels)
}

func TestPayloadsSurviveByteForByte(t *testing.T) {
	t.Parallel()
	payloads := map[string]string{
		"a lone high surrogate":         `"\ud800"`,
		"a lone low surrogate":          `"\uDC00x"`,
		"an integer above 2^53":         `9007199254740993`,
		"an integer above 2^64":         `-123456789012345678901234567890`,
		"negative zero":                 `-0.0`,
		"an exponent in capitals":       `1E2`,
		"a number no double can hold":   `1e400`,
		"duplicate keys":                `{"a":1,"a":2}`,
		"the order of keys":             `{"b":1,"a":2,"":3}`,
		"an escaped NUL":                `"\u0000"`,
		"what HTML escapes":             `"<script>&amp;</script>"`,
		"line and paragraph separators": "\"\u2028\u2029\"",
		"escapes that were not needed":  `"\u0041\/\u00e9"`,
		"characters beyond the BMP":     `["😀","\ud83d\ude00"]`,
		"null":                          `null`,
		"an empty object":               `{}`,
	}
	for name, payload := range payloads {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			request, err := decode[model.SendSignalRequest]([]byte(`{"items":[{"id":"` + someID + `","name":"s","payload":` + payload + `}]}`))
			if err != nil {
				t.Fatal(err)
			}
			reply := success(&model.Execution{Result: request.Items[0].Payload})
			if got := resultOf(t, reply); got != payload {
				t.Errorf("%s came back as %s", payload, got)
			}
		})
	}
}

// resultOf answers the bytes of "result" in a reply.
func resultOf(t *testing.T, reply []byte) string {
	t.Helper()
	var envelope struct {
		OK struct{ Result json.RawMessage }
	}
	if err := json.Unmarshal(reply, &envelope); err != nil {
		t.Fatalf("the reply %s: %v", reply, err)
	}
	return string(envelope.OK.Result)
}

func TestSpaceBetweenTokensOfAPayloadIsDropped(t *testing.T) {
	t.Parallel()
	reply := success(&model.Execution{Result: model.Payload("{ \"a\" :\n[ 1 , \" \" ] }")})
	if got, want := resultOf(t, reply), `{"a":[1," "]}`; got != want {
		t.Errorf("the payload came back as %s, want %s", got, want)
	}
}

func FuzzDecodeNeverPanicsAndChangesNoPayload(f *testing.F) {
	for _, seed := range []string{`null`, `"\ud800\u0000"`, `{"a":[1,-0.0]}`, `"\\u0000"`, `]`, `"\u`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		request, err := decode[model.SendSignalRequest]([]byte(`{"items":[{"id":"` + someID + `","name":"s","payload":` + payload + `}]}`))
		if err != nil || len(request.Items) != 1 || !json.Valid([]byte(payload)) {
			return
		}
		if got := string(request.Items[0].Payload); got != strings.TrimSpace(payload) {
			t.Errorf("%q was read as %q", payload, got)
		}
	})
}
