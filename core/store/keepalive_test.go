package store

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestWhatTheURLSaysOfKeepalivesHolds(t *testing.T) {
	t.Parallel()
	config, err := pgx.ParseConfig("postgres://somebody@localhost/db?tcp_user_timeout=60000")
	if err != nil {
		t.Fatal(err)
	}
	r := newRoute(config)
	if given, ours := config.RuntimeParams["tcp_user_timeout"], config.RuntimeParams["tcp_keepalives_idle"]; given != "60000" || ours != "5" {
		t.Errorf("a direct session begins with %q and %q", given, ours)
	}
	r.pooled.Store(true)
	if err := r.prepare(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	for name := range connectionSettings {
		if value, is := config.RuntimeParams[name]; is != (name == "tcp_user_timeout") {
			t.Errorf("a pooler is asked for %s = %q", name, value)
		}
	}
}
