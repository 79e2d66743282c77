package store

import (
	"context"
	"testing"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/model"
)

// It may have been stopped for a while, and have gone on between the look and the burial.
func TestAWorkerThatHasBeatenSinceIsNotDeclaredDead(t *testing.T) {
	t.Parallel()
	ctx, s, id := context.Background(), open(t), uuid.New()
	if err := s.Register(ctx, id, model.StartWorkerRequest{Queues: []string{"default"}, HeartbeatTimeoutMS: 1000}); err != nil {
		t.Fatal(err)
	}
	heartbeat := func() Silence {
		silences, err := s.Silences(ctx, []uuid.UUID{id})
		if err != nil || len(silences) != 1 {
			t.Fatalf("%v, %v", silences, err)
		}
		return silences[0]
	}
	before := heartbeat()
	if alive, _, err := s.Beat(ctx, id); err != nil || !alive {
		t.Fatalf("alive: %v, %v", alive, err)
	}
	if dead, err := s.Bury(ctx, id, before.HeartbeatAt); err != nil || dead {
		t.Fatalf("it was buried alive: %v, %v", dead, err)
	}
	if dead, err := s.Bury(ctx, id, heartbeat().HeartbeatAt); err != nil || !dead || !heartbeat().Dead {
		t.Fatalf("it was not buried: %v, %v", dead, err)
	}
	if alive, _, err := s.Beat(ctx, id); err != nil || alive {
		t.Fatalf("the dead beats: %v, %v", alive, err)
	}
}
