package store

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/libworkflows/libworkflows/core/fault"
)

func TestAStandbyIsNamedHoweverItRefuses(t *testing.T) {
	t.Parallel()
	for server, named := range map[*pgconn.PgError]bool{
		{Code: "25006", Message: "cannot execute UPDATE in a read-only transaction"}:       true,
		{Code: "0A000", Message: "cannot set transaction read-write mode during recovery"}: true,
		{Code: "0A000", Message: "cached plan must not change result type"}:                false,
		{Code: "57P03", Message: "the database system is not yet accepting connections"}:   false,
	} {
		f := fault.From((&Store{}).classifyServer(server, server))
		if is := strings.Contains(f.Message, "standby"); is != named || !f.Retryable || f.Code != fault.DatabaseUnavailable {
			t.Errorf("%s %q: %v", server.Code, server.Message, f)
		}
	}
}
