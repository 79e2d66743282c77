package ops

import (
	"context"

	"github.com/libworkflows/libworkflows/core/engine"
	"github.com/libworkflows/libworkflows/core/model"
)

// Open opens an engine for the floor above, which calls it by operations only.
//
// Errors: invalid_config, database_unavailable.
func Open(ctx context.Context, config model.Config) (*engine.Engine, error) {
	return engine.Open(ctx, config)
}
