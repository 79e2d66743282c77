package engine

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/store"
)

func TestHintsAreCutToWhatANotificationHolds(t *testing.T) {
	t.Parallel()
	h := newHints(&Engine{id: uuid.New()})
	queues, workers, ended := map[string]bool{}, map[uuid.UUID]bool{}, []uuid.UUID{}
	for i := range 300 {
		queues[strings.Repeat("\x7f", 200)+string(rune('a'+i%26))+uuid.NewString()] = true
		workers[uuid.New()] = true
		ended = append(ended, uuid.New())
	}
	soon := time.UnixMilli(1_700_000_000_123)
	payloads := h.encode(queues, workers, ended, soon)
	var got hint
	for _, payload := range payloads {
		if len(payload) >= 8000 {
			t.Fatalf("a payload has %d bytes", len(payload))
		}
		var x hint
		if err := json.Unmarshal([]byte(payload), &x); err != nil {
			t.Fatal(err)
		}
		got.Queues, got.Workers, got.Ended = append(got.Queues, x.Queues...), append(got.Workers, x.Workers...), append(got.Ended, x.Ended...)
		got.SoonMS += x.SoonMS
	}
	if len(got.Queues) != 300 || len(got.Workers) != 300 || len(got.Ended) != 300 || got.SoonMS != soon.UnixMilli() {
		t.Fatalf("%d queues, %d workers, %d ended, soon %d", len(got.Queues), len(got.Workers), len(got.Ended), got.SoonMS)
	}
}

func TestAHintOfOnesOwnOrAForeignPayloadIsIgnored(t *testing.T) {
	t.Parallel()
	e := &Engine{id: uuid.New(), workers: map[uuid.UUID]*worker{}}
	e.hints, e.waiters = newHints(e), newWaiters(e)
	told := make(chan *store.Read, 1)
	id := uuid.New()
	e.waiters.byID[id] = []*wait{{told: told}}
	e.hints.hear("not json")
	e.hints.hear(hint{From: e.id, Ended: []uuid.UUID{id}}.text())
	if len(told) != 0 {
		t.Fatal("its own hint was heard")
	}
	e.hints.hear(hint{From: uuid.New(), Ended: []uuid.UUID{id}}.text())
	if len(told) != 1 {
		t.Fatal("another's hint was not heard")
	}
}
