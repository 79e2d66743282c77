package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
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
