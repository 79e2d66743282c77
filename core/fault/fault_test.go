package fault

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAMessageIsBriefWhateverItQuotes(t *testing.T) {
	t.Parallel()
	for _, text := range []string{strings.Repeat("x", 1<<20), strings.Repeat("\u20ac", 1<<20), strings.Repeat("\U0001f600", 1<<20)} {
		got := New(InvalidRequest, nil, "kind is %q; choose another", text).Message
		if len(got) > 1000 || !utf8.ValidString(got) || !strings.HasPrefix(got, `kind is "`) || !strings.HasSuffix(got, `"; choose another`) {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	}
	if got := New(Busy, nil, "%s", strings.Repeat("y", 800)).Message; got != strings.Repeat("y", 800) {
		t.Errorf("what is short enough became %q", got)
	}
}
