package store

import (
	"strings"
	"testing"

	"github.com/libworkflows/libworkflows/core/fault"
)

// A URL that is refused may still hold the password.
func FuzzDatabaseURLs(f *testing.F) {
	for _, seed := range []string{
		"postgres://u:%s@h:5432/d", "postgresql://u:%s@[::1", "host=h password=%s port=x", "postgres://%s", "user=u password='%s", "postgres://u:%s@h/d?sslmode=no",
		"postgres://u:%s@h/d?pool_max_conns=-1", "postgres://u:%s@h/d?connect_timeout=1e9", "postgres://u:%s@a,b:1,c/d", "%s", "postgres://u@h/d?password=%s&sslrootcert=none",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		const secret = "hunter2hunter2"
		_, err := poolConfig(Config{URL: strings.ReplaceAll(pattern, "%s", secret), Schema: "workflows"})
		if err != nil && (fault.CodeOf(err) != fault.InvalidConfig || strings.Contains(err.Error(), secret)) {
			t.Errorf("%q: %v", pattern, err)
		}
	})
}
