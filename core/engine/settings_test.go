package engine

import (
	"testing"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

func TestSettingsComeFromTheConfigThenTheEnvironmentThenTheDefaults(t *testing.T) {
	t.Setenv("WORKFLOWS_DATABASE_URL", "postgresql://env")
	t.Setenv("WORKFLOWS_SCHEMA", "")
	s, err := resolve(model.Config{})
	if err != nil || s.databaseURL != "postgresql://env" || s.schema != "workflows" || s.migrate || !s.chosen {
		t.Fatalf("%+v, %v", s, err)
	}
	if s, _ = resolve(model.Config{DatabaseURL: "embedded:/x", Schema: "s"}); !s.migrate || s.schema != "s" {
		t.Fatalf("%+v", s)
	}
	t.Setenv("WORKFLOWS_DATABASE_URL", "")
	if s, _ = resolve(model.Config{}); s.chosen || !s.isEmbedded() || !s.migrate {
		t.Fatalf("%+v", s)
	}
}

func TestNonsenseInTheConfigIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []model.Config{{PoolSize: -1}, {PoolSize: 100_000}, {MaxPayloadBytes: -1}, {MaxHistory: -1}, {MaxHistory: 99}, {MaxHistory: 10_000_001}} {
		if _, err := resolve(c); fault.CodeOf(err) != fault.InvalidConfig {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
