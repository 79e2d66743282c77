// Package failpoint lets tests break the library at a place of their choice: before a
// transaction is sent, after its commit but before its reply is used, at the start of an
// exported function or a goroutine.
//
// Only a build with the tag failpoints has any. In others the functions are empty, and
// the compiler leaves nothing of them. In one that has them, WORKFLOWS_FAILPOINTS says
// what is to happen, by rules with commas between them:
//
//	where:name:nth:what
//
// where is before or after. name begins what a point is called, or is all of it with =
// in front: a statement, as in "=finish", or export_*, goroutine_* and loop_*, which are
// passed before what they name. nth is the only time at which it happens, or * for each.
// what is kill, panic, error, or hang=DURATION.
package failpoint

// Where a point is.
const (
	Before = "before"
	After  = "after"
)
