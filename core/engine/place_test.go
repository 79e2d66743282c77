package engine

import "testing"

func TestAPlaceIsWrittenAsAPath(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]place{
		"wait_ms":                     fieldAt("wait_ms"),
		"items[0]":                    itemAt(0),
		"items[12].retry.factor":      itemAt(12).at(".retry").at(".factor"),
		"items[3].events[0].name":     itemAt(3).in("events", 0).at(".name"),
		"items[0].carry[7]":           itemAt(0).in("carry", 7),
		"items[1].commands[2].type":   itemAt(1).in("commands", 2).at(".type"),
		"items[1].signals[0].payload": itemAt(1).in("signals", 0).at(".payload"),
	} {
		if got := p.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestAPlaceThatNobodyReadsCostsNothing(t *testing.T) {
	var p place
	if n := testing.AllocsPerRun(100, func() { p = itemAt(3).at(".name") }); n > 0 {
		t.Errorf("%v of %v allocations", n, p)
	}
}
