//go:build !failpoints

package failpoint

// Enabled says whether this build has any points. Code that only serves them stands behind it.
const Enabled = false

// Hit does nothing in this build.
func Hit(string, string) error { return nil }

// Pass does nothing in this build.
func Pass(string, string) {}
