package main

import "testing"

// The constants are numbers of places in known: each must stand where it says.
func TestSymbolsStandWhereTheyAreKnown(t *testing.T) {
	t.Parallel()
	for x, want := range map[symbol]string{
		scheduled: "scheduled", cancelled: "cancelled", workflow: "workflow", deleted: "D", workersTable: "workers", evContinued: "continued",
		stClaim: "claim", stFinishLone: "finish_lone", stPlainChild: "plain_child", stAdvance: "advance", stRetry: "retry", dead: "dead",
		outcomeUnknown: "unknown", opState: "state", lineChose: "chose", lineSaw: "saw",
	} {
		if got := newSymbols().name(x); got != want {
			t.Errorf("%d is %s, want %s", x, got, want)
		}
	}
	if int(lineSaw) != len(known)-1 || len(newSymbols().byKey) != len(known) {
		t.Errorf("%d constants of %d different names", lineSaw+1, len(newSymbols().byKey))
	}
}

func TestIDsAreReadWithAndWithoutDashes(t *testing.T) {
	t.Parallel()
	const text = "01a22921-e5aa-7d95-a998-f7382832beb2"
	x, ok := parseID(text)
	y, ok2 := parseID("01A22921E5AA7D95A998F7382832BEB2")
	if !ok || !ok2 || x != y || x.String() != text {
		t.Errorf("read %s and %s", x, y)
	}
	for _, text := range []string{"", "01a2", text + "0", "g1a22921-e5aa-7d95-a998-f7382832beb2"} {
		if _, ok := parseID(text); ok {
			t.Errorf("%q was read as an id", text)
		}
	}
}
