package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

func TestTheErrorsLineIsTakenOffAndItsCodesExist(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, doc, text string
		codes           []fault.Code
		says            string // part of the error
	}{
		{name: "no line", doc: "Stats counts.\n", text: "Stats counts."},
		{name: "no comment"},
		{
			name: "two codes over two lines", doc: "Claim claims.\n\nMore.\n\nErrors: worker_not_found,\nlease_lost.\n",
			text: "Claim claims.\n\nMore.", codes: []fault.Code{fault.WorkerNotFound, fault.LeaseLost},
		},
		{name: "a code that does not exist", doc: "X.\n\nErrors: lost_lease.\n", says: `"lost_lease"`},
		{name: "an empty line", doc: "X.\n\nErrors:\n", says: `""`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			text, codes, err := splitErrors(c.doc)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("the error is %v; it should say %s", err, c.says)
				}
				return
			}
			if err != nil || text != c.text || !slices.Equal(codes, c.codes) {
				t.Errorf("got %q, %v, %v", text, codes, err)
			}
		})
	}
}

func TestIdentifiersBecomeWhatCrossesTheABI(t *testing.T) {
	t.Parallel()
	c := testCatalogue(t)
	at := slices.IndexFunc(c.Records, func(r *record) bool { return r.Name == "NewExecution" })
	for _, f := range c.Records[at].Fields {
		if strings.Contains(f.Doc, "MS") || !strings.HasPrefix(f.Doc, f.Name) && f.Doc != "" {
			t.Errorf("%s is documented with %q", f.Name, f.Doc)
		}
	}
	w := words{"WaitMS": "wait_ms", "CreateExecution": "create_execution"}
	if got, want := w.sentence("Claim is like [Engine.CreateExecution], up to WaitMS.", "Claim"), "Is like create_execution, up to wait_ms."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEveryFaultCodeIsDocumented(t *testing.T) {
	t.Parallel()
	for _, f := range testCatalogue(t).Faults {
		if f.Doc == "" {
			t.Errorf("%s has no comment beside it", f.Code)
		}
	}
}

func TestEveryRecordAndEnumerationIsDocumented(t *testing.T) {
	t.Parallel()
	c := testCatalogue(t)
	for _, r := range c.Records {
		if !strings.HasPrefix(r.Doc, r.Name+" ") {
			t.Errorf("%s is documented with %q", r.Name, r.Doc)
		}
	}
	for _, e := range c.Enums {
		if e.Doc == "" || len(e.Values) < 2 {
			t.Errorf("%s has the comment %q and the values %v", e.Name, e.Doc, e.Values)
		}
	}
}

func TestDefaultsAreFoundInComments(t *testing.T) {
	t.Parallel()
	cases := []struct{ doc, want, value string }{
		{"limit, 1 to 1000. Default 100.", "100", "100"},
		{"jitter spreads. Default 0.1.", "0.1", "0.1"},
		{`queue, 1 to 255 bytes. Default "default".`, `"default"`, `"default"`},
		{"kwargs. Default {}.", "{}", "{}"},
		{"retries. Default 3, 0 for workflows.", "3, 0 for workflows", ""},
		{"run, default the current one.", "the current one", ""},
		{"interval defaults to a quarter of the timeout.", "a quarter of the timeout", ""},
		{"pool_size, default 10; others beside it.", "10", "10"},
		{"direction is up (default) or down.", "", ""},
		{"name of a timer.", "", ""},
	}
	for _, c := range cases {
		f := field{Default: defaultIn(c.doc)}
		value, plain := f.value()
		if f.Default != c.want || plain != (c.value != "") || plain && string(value) != c.value {
			t.Errorf("%q has the default %q, as JSON %s, %t", c.doc, f.Default, value, plain)
		}
	}
}

func TestTypesAreNamedAlikeOutsideGo(t *testing.T) {
	t.Parallel()
	cases := map[string]reflect.Type{
		"Target":       reflect.TypeFor[model.Target](),
		"ChangeResult": reflect.TypeFor[model.Result[model.Change]](),
		"Fault":        reflect.TypeFor[fault.Error](),
		"FaultCode":    reflect.TypeFor[fault.Code](),
	}
	for want, goType := range cases {
		if got := wireName(goType); got != want {
			t.Errorf("%s is called %s, want %s", goType, got, want)
		}
	}
}

func TestATypeWithoutAFormIsAnError(t *testing.T) {
	t.Parallel()
	type Odd struct {
		C chan int `json:"c"`
	}
	ts := newTypes(nil, words{})
	ts.record(reflect.TypeFor[Odd]())
	if ts.err == nil || !strings.Contains(ts.err.Error(), "chan int") {
		t.Errorf("the error is %v", ts.err)
	}
}

func TestOnlyWhatIsSentIsClosedToUnknownFields(t *testing.T) {
	t.Parallel()
	sent := map[string]bool{}
	for _, r := range testCatalogue(t).Records {
		sent[r.Name] = r.Sent
	}
	for name, want := range map[string]bool{
		"TargetsRequest": true, "Target": true, "RetryPolicy": true, "Config": true, "ChangeReply": false, "Execution": false, "Fault": false,
	} {
		if sent[name] != want {
			t.Errorf("%s is sent: %t", name, sent[name])
		}
	}
}

func TestDocstringsKeepToThePython(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("word ", 30)
	cases := []struct{ name, text, want string }{
		{"short", "Does it.", `    """Does it."""`},
		{"a quote at the end", `Says "x"`, `    """Says "x"."""`},
		{"quotes and backslashes", `A """ and \u0000.`, `    r"""A ''' and \u0000."""`},
		{"two paragraphs", "One.\n\nTwo.", "    \"\"\"One.\n\n    Two.\n    \"\"\""},
		{"a summary of one sentence", "Does it. " + long, "    \"\"\"Does it.\n\n    Word "},
		{"two sentences that fit", "Do. It. " + long, "    \"\"\"Do. It.\n\n    Word "},
		{"a summary up to a comma", "Does it, " + long, "    \"\"\"Does it.\n\n    Word "},
		{"a summary up to a colon", "Does it: " + long, "    \"\"\"Does it.\n\n    Word "},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := docstring(4, c.text)
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			for line := range strings.SplitSeq(got, "\n") {
				if len(line) > pythonWidth {
					t.Errorf("a line has %d bytes: %s", len(line), line)
				}
			}
		})
	}
}

func TestACommentCannotEndTheCommentThatItIsIn(t *testing.T) {
	t.Parallel()
	o := operation{Doc: "Runs /* this */ now.", Request: &record{Name: "R"}, Reply: &record{Name: "S"}}
	if got := inComment(o.manual()); strings.Contains(got, "*/") || strings.Contains(got, "/*") {
		t.Errorf("the comment is %s", got)
	}
}

func TestALabelStandsBesideItsColumn(t *testing.T) {
	t.Parallel()
	got := labelled(" * ", "reply", "one two three four", 8, 22)
	if want := " * reply   one two\n *         three four"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestATSDocCommentFitsAndCannotEndEarly(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, text, want string }{
		{name: "one line", text: "Runs it.", want: "  /** Runs it. */"},
		{name: "what would end it", text: "Runs */ it.", want: "  /** Runs * / it. */"},
		{name: "what would be a tag", text: "{type} @here.", want: `  /** \{type\} \@here. */`},
		{name: "two paragraphs", text: "One.\n\nTwo.", want: "  /**\n   * One.\n   *\n   * Two.\n   */"},
		{name: "a long line", text: strings.Repeat("word ", 30), want: "  /**\n   * word word"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := jsdoc(2, c.text)
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			for line := range strings.SplitSeq(got, "\n") {
				if len(line) > typescriptWidth {
					t.Errorf("a line has %d bytes: %s", len(line), line)
				}
			}
		})
	}
}

func TestAnOptionalFieldMayBeUndefinedWhereItIsSent(t *testing.T) {
	t.Parallel()
	list := typeRef{List: &typeRef{Simple: "uuid"}}
	cases := []struct {
		name string
		f    field
		sent bool
		want string
	}{
		{name: "required", f: field{Name: "n", Type: typeRef{Simple: "integer"}, Required: true}, want: "n: number"},
		{name: "nullable", f: field{Name: "n", Type: typeRef{Simple: "integer"}, Required: true, Nullable: true}, want: "n: number | null"},
		{name: "optional in a reply", f: field{Name: "n", Type: list}, want: "n?: string[]"},
		{name: "optional in a request", f: field{Name: "n", Type: list}, sent: true, want: "n?: readonly string[] | undefined"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := c.f.TypeScript(c.sent); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestNamesAndStringsInTypeScript(t *testing.T) {
	t.Parallel()
	if got := camel("get_history"); got != "getHistory" {
		t.Errorf("got %s", got)
	}
	if got := camel("claim"); got != "claim" {
		t.Errorf("got %s", got)
	}
	if got, want := typescriptString("it's\na \\"), `'it\'s a \\'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
