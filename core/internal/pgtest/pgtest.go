// Package pgtest gives tests a PostgreSQL.
//
// Most share one server and take a schema each:
//
//	url, schema := pgtest.Schema(t)
//
// The server is the one in WORKFLOWS_TEST_DATABASE_URL. Without that, it is an
// embedded one that all test processes of a `go test ./...` share: the first that
// needs it starts it, and it stops a few seconds after the last has ended.
// WORKFLOWS_TEST_POSTGRES_BIN chooses its binaries, and so its version.
//
// Tests that stop or crash a server take one of their own: pgtest.Server(t).
package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/embedded"
)

const (
	urlEnv = "WORKFLOWS_TEST_DATABASE_URL"
	binEnv = "WORKFLOWS_TEST_POSTGRES_BIN"
)

// linger bridges the gap between the test processes of two packages.
const linger = 5 * time.Second

// cleanupPatience bounds dropping a schema. It fails when the test left a
// transaction open.
const cleanupPatience = 20 * time.Second

// URL answers the address of the shared test server.
func URL(t testing.TB) string {
	t.Helper()
	shared, err := sharedKeeper()
	if err != nil {
		t.Fatalf("no PostgreSQL for tests: %v", err)
	}
	return shared.url
}

// sharedKeeper keeps the server until the process ends, however it ends. It
// must stay reachable: collected, its pipe would be closed, and the server
// would stop in the middle of the tests.
var sharedKeeper = sync.OnceValues(func() (*keeper, error) {
	if url := os.Getenv(urlEnv); url != "" {
		return &keeper{url: url}, nil
	}
	return startShared("test", false)
})

// startShared starts a server, or joins it. Nothing in it outlives a test, so it
// need not outlive a crash of the machine.
func startShared(name string, lenient bool) (*keeper, error) {
	dir, err := sharedDirectory(name)
	if err != nil {
		return nil, err
	}
	return startKeeper(keeperOrder{Dir: dir, Settings: []string{"fsync=off", "full_page_writes=off"}, Linger: linger, Lenient: lenient})
}

// sharedDirectory is one per user and version of PostgreSQL. Its name can be
// foreseen, so it must be ours.
func sharedDirectory(name string) (string, error) {
	chosen, err := embedded.Locate(context.Background(), testBinaries())
	if err != nil {
		return "", err
	}
	if wanted := os.Getenv(binEnv); wanted != "" && filepath.Clean(wanted) != chosen.Dir {
		return "", fmt.Errorf("%s is %s, which cannot be used or has something in %s before it", binEnv, wanted, embedded.BinariesVariable)
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("libworkflows-%s-%d-%d", name, os.Getuid(), chosen.Major))
	if err := os.Mkdir(dir, 0o711); err != nil && !os.IsExist(err) {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || stat.Uid != uint32(os.Getuid()) {
		return "", fmt.Errorf("%s is not a directory of ours: remove it", dir)
	}
	return dir, nil
}

func testBinaries() []string {
	if dir := os.Getenv(binEnv); dir != "" {
		return []string{dir}
	}
	return nil
}

// Schema answers the address of the shared server and the name of a schema that
// is the test's own. The schema is not made. It is dropped when the test ends, or
// kept and named in the test's log if the test failed.
func Schema(t testing.TB) (url, schema string) {
	t.Helper()
	url = URL(t)
	return url, schemaIn(t, url)
}

// SchemaForLogins does so on a server that lets in whatever role says that it is one. The
// shared one may know but the one role.
func SchemaForLogins(t testing.TB) (url, schema string) {
	t.Helper()
	shared, err := lenientKeeper()
	if err != nil {
		t.Fatalf("no PostgreSQL for tests: %v", err)
	}
	return shared.url, schemaIn(t, shared.url)
}

func schemaIn(t testing.TB, url string) (schema string) {
	t.Helper()
	schema = schemaName(t.Name())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kept for you to look at: schema %s in %s", schema, url)
			return
		}
		if err := dropSchema(url, schema); err != nil {
			t.Errorf("cannot drop schema %s (did the test leave a transaction open?): %v", schema, err)
		}
	})
	return schema
}

// schemaName tells whose a kept schema is, within the 48 bytes that the store allows.
func schemaName(test string) string {
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(test))
	random := make([]byte, 6)
	_, _ = rand.Read(random) // never fails
	return plain[:min(len(plain), 34)] + "_" + hex.EncodeToString(random)
}

func dropSchema(url, schema string) error {
	return execute(url, "DROP SCHEMA IF EXISTS "+pgx.Identifier{schema}.Sanitize()+" CASCADE")
}

func execute(url, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupPatience)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// Database answers the address and the name of a database of the test's own, for tests
// that change what all schemas of a database share. It is dropped when the test ends.
func Database(t testing.TB) (at, name string) {
	t.Helper()
	shared := URL(t)
	name = schemaName(t.Name())
	quoted := pgx.Identifier{name}.Sanitize()
	if err := execute(shared, "CREATE DATABASE "+quoted+" ENCODING 'UTF8' TEMPLATE template0"); err != nil {
		t.Fatalf("no database of its own for the test: %v", err)
	}
	t.Cleanup(func() {
		if err := execute(shared, "DROP DATABASE "+quoted+" WITH (FORCE)"); err != nil {
			t.Errorf("cannot drop database %s: %v", name, err)
		}
	})
	address, err := url.Parse(shared)
	if err != nil {
		t.Fatal(err)
	}
	address.Path = "/" + name
	return address.String(), name
}
