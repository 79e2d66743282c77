//go:build failpoints

package failpoint

import (
	"strings"
	"testing"
)

// with runs under rules of its own, so these tests are not parallel.
func with(t *testing.T, text string) {
	t.Helper()
	parsed, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	before := rules
	rules = parsed
	t.Cleanup(func() { rules = before })
}

func TestARuleHoldsForItsPointAtItsTime(t *testing.T) {
	with(t, "before:finish:2:error,after:=claim:*:error")
	for i, c := range []struct {
		where, name string
		fails       bool
	}{
		{Before, "finish", false},
		{After, "finish_roots", false},
		{Before, "claim", false},
		{Before, "finish_roots", true}, // the second that begins so
		{Before, "finish", false},
		{After, "claim_suspect", false},
		{After, "claim", true},
		{After, "claim", true},
	} {
		if err := Hit(c.where, c.name); (err != nil) != c.fails {
			t.Errorf("%d: %s %s: %v", i, c.where, c.name, err)
		}
	}
}

func TestAPanicNamesItsPoint(t *testing.T) {
	with(t, "before:loop_set_aside:1:panic")
	defer func() {
		if r := recover(); r != "failpoint before:loop_set_aside" {
			t.Errorf("the panic was %v", r)
		}
	}()
	Pass("loop", "set aside")
}

func TestPassedListsWhatWasPassed(t *testing.T) {
	with(t, "")
	_ = Hit(After, "somewhere")
	if got := strings.Join(Passed(), " "); !strings.Contains(got, "after:somewhere") {
		t.Errorf("passed: %s", got)
	}
}

func TestARuleThatCannotBeReadIsRefused(t *testing.T) {
	for _, text := range []string{"before", "during:claim:1:kill", "before::1:kill", "before:claim:0:kill", "before:claim:x:kill", "before:claim:1:explode", "before:claim:1:hang=long"} {
		if _, err := parse(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
