package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/libworkflows/libworkflows/core/ops"
)

func FuzzDurations(f *testing.F) {
	for _, seed := range []string{"250ms", "30s", "5m", "24h", "1.5", "-1", "1e3", "1e400", "NaN", "0x1p3", "", "inf", "9223372036854775807ns", "106751d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var d duration
		if err := d.Set(text); err != nil {
			if d != 0 || len(err.Error()) > 200 {
				t.Errorf("%q left %v and says %q", text, d, err)
			}
			return
		}
		var again duration
		if err := again.Set(time.Duration(d).String()); d < 0 || err != nil || again != d {
			t.Errorf("%q is %v, and that is %v, %v", text, d, again, err)
		}
	})
}

func FuzzArguments(f *testing.F) {
	for _, seed := range []string{`1`, `"a"`, `{"a":1}`, ` [1] `, `1,2`, `]`, `1]`, `"`, "\xff", ``, `nul`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a := &app{stdin: strings.NewReader(text)}
		args, err := a.parseArguments([]string{text, "null"})
		if err != nil {
			if len(err.Error()) > 400 {
				t.Errorf("%q is refused at length: %s", text, err)
			}
			return
		}
		var list []json.RawMessage
		if err := json.Unmarshal(args, &list); err != nil || len(list) != 2 || string(list[1]) != "null" {
			t.Errorf("%q made %s", text, args)
		}
	})
}

func FuzzIDs(f *testing.F) {
	for _, seed := range []string{"0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601", "{0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601}", "urn:uuid:0190d3a0-5c1e-7d3a-8f21-9a4be2c7d601", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := parseID(text); err == nil && !strings.EqualFold(id.String(), text) {
			t.Errorf("%q is %s", text, id)
		}
	})
}

// Names, errors and payloads are other people's: no terminal may take them for orders.
func FuzzReplies(f *testing.F) {
	for _, seed := range []string{
		`{"run":1,"more":true,"events":[{"position":1,"type":"step_failed","sequence":1,"name":"\u001b[31m","payload":{"type":"E\u009b","message":"m\u0007"},"at":"2026-11-23T12:00:00Z"}]}`,
		`{"id":"` + anID + `","kind":"job","name":"\r","queue":"q","status":"failed","error":{"type":"E","message":"\u001b]0;x","stack":"a\tb\n\u009b"},"parked":"a\n\u001b"}`,
		`{"executions":[{"name":"\u0085","status":"running","progress":"\u007f"}],"cursor":"c"}`,
		`{"status":"running","attempts":2,"progress":"\u009b"}`, `null`, `[]`, `{"events":[1,null,"\ud800"]}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, reply string) {
		if !json.Valid([]byte(reply)) {
			return
		}
		for _, command := range [][]string{{"history", anID}, {"status", anID}, {"list"}, {"result", anID, "--timeout", "1ms"}} {
			fake := &fake{t: t, replies: map[string][]any{}, step: time.Second}
			for _, o := range ops.Table() { // the second is the last page, and the end
				fake.replies[o.Name] = []any{json.RawMessage(reply), json.RawMessage(`{"status":"completed"}`)}
			}
			out := fake.run(command...)
			if command[0] == "result" {
				out.stdout = "" // JSON, for programs
			}
			for _, text := range []string{out.stdout, out.stderr} {
				if at := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && unicode.IsControl(r) }); at >= 0 {
					t.Errorf("%s printed %q", command[0], text[at:])
				}
			}
		}
	})
}
