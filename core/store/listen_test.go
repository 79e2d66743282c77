package store

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestAListenerHearsWhatIsNotifiedInItsSchemaOnly(t *testing.T) {
	t.Parallel()
	one, other := open(t), open(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ready, heard, ended := make(chan struct{}), make(chan string, 10), make(chan error, 1)
	go func() {
		ended <- one.Listen(ctx, "", func() { close(ready) }, func(payload string) { heard <- payload })
	}()
	<-ready
	for _, s := range []*Store{other, one} {
		if err := s.Notify(ctx, []string{s.schema}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case got := <-heard:
		if got != one.schema {
			t.Fatalf("heard %q", got)
		}
	case <-ctx.Done():
		t.Fatal("heard nothing")
	}
	cancel()
	if err := <-ended; err == nil {
		t.Fatal("it ended without a reason")
	}
}

func TestAConnectionThatHasGoneDeafIsNoticed(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, listens := range []bool{true, false} {
		conn, err := pgx.ConnectConfig(ctx, s.config.ConnConfig)
		if err != nil {
			t.Fatal(err)
		}
		if listens {
			if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{s.channel()}.Sanitize()); err != nil {
				t.Fatal(err)
			}
		}
		ended := make(chan error, 1)
		life, end := context.WithTimeout(ctx, 1500*time.Millisecond)
		go func() {
			ended <- s.hear(life, conn, 20*time.Millisecond, 300*time.Millisecond, func(payload string) { t.Errorf("heard %q", payload) })
		}()
		if err := <-ended; err == nil {
			t.Error("it ended without a reason")
		}
		if deaf := life.Err() == nil; deaf == listens {
			t.Errorf("listens: %v, but found deaf: %v", listens, deaf)
		}
		end()
		_ = conn.Close(ctx)
	}
}
