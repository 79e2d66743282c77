// Package migrations holds the schema, one file up and one down a version.
package migrations

import "embed"

// Files are the migrations, for golang-migrate's iofs source.
//
//go:embed *.sql
var Files embed.FS
