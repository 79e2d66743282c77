package engine

import (
	"context"

	"github.com/libworkflows/libworkflows/core/model"
)

// Migrate brings the schema to this library's version, removes it, or only
// tells its version.
//
// Many processes may migrate at once: one works, the others wait for it.
//
// With roles it also makes an owner, which gets the schema and whose members may migrate, and roles for
// workers, for clients and for who only reads. Later migrations keep their privileges up to date.
//
// Errors: invalid_request, invalid_state, permission_denied, schema_too_new, timeout, database_unavailable.
func (e *Engine) Migrate(ctx context.Context, req model.MigrateRequest) (model.MigrateReply, error) {
	reply := model.MigrateReply{Schema: e.store.Schema(), Latest: model.SchemaVersion}
	var act func(context.Context) error
	switch req.Direction {
	case "", "up":
		act = e.store.MigrateUp
		if req.Roles != "" {
			act = func(ctx context.Context) error { return e.store.MigrateRoles(ctx, req.Roles) }
		}
	case "down":
		if req.Confirm != reply.Schema {
			return reply, invalid(fieldAt("confirm"), "must be %q, the schema that down would remove with everything in it", reply.Schema)
		}
		act = e.store.MigrateDown
	case "status":
		act = func(context.Context) error { return nil }
	default:
		return reply, invalid(fieldAt("direction"), "is %q; it must be up, down or status", req.Direction)
	}
	if req.Roles != "" && req.Direction != "" && req.Direction != "up" {
		return reply, invalid(fieldAt("roles"), "belong to the direction up, not to %s", req.Direction)
	}
	var err error
	if reply.From, err = e.store.Version(ctx); err != nil {
		return reply, err
	}
	e.checked.Store(false)
	if err := act(ctx); err != nil {
		return reply, err
	}
	reply.Version, err = e.store.Version(ctx)
	return reply, err
}
