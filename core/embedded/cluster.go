package embedded

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	roleName     = "workflows"
	databaseName = "workflows"
	port         = "5432" // only a part of the socket's name

	// longestSocket is what fits into sun_path on every Unix: 108 bytes on
	// Linux, 104 on macOS, both with a closing NUL.
	longestSocket = 103

	// unfinished names the directories in which clusters are made.
	unfinished = "initdb-"
)

// initialSettings end postgresql.conf, where the owner of a cluster may change
// them. fsync stays on: durability is what libworkflows promises.
const initialSettings = `
# libworkflows: settings of the embedded cluster.
max_connections = 200
shared_buffers = 128MB
log_checkpoints = off
`

// cluster is a directory and the user that its server runs as.
type cluster struct {
	dir  string // absolute, without symbolic links: all openers must agree on it
	user account
}

func (c cluster) startLock() string { return filepath.Join(c.dir, "start.lock") }
func (c cluster) usersLock() string { return filepath.Join(c.dir, "users.lock") }
func (c cluster) data() string      { return filepath.Join(c.dir, "data") }
func (c cluster) log() string       { return filepath.Join(c.dir, "server.log") }

func prepareCluster(dir string) (cluster, error) {
	dir, err := makeDirectory(dir)
	if err != nil {
		return cluster{}, misconfigured("cannot use %s for the embedded PostgreSQL (choose a directory that you may write to): %w", dir, err)
	}
	c := cluster{dir: dir}
	c.user, err = serverAccount(c.data())
	return c, err
}

// makeDirectory answers the directory's one true path.
func makeDirectory(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return dir, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return dir, err
	}
	if err := makePrivate(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return dir, err
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return dir, err
	}
	return resolved, nil
}

// makePrivate leaves the way open to the server's user when that is not us: its
// own data lies within.
func makePrivate(path string) error {
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711
	}
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode) // past the umask
}

// binaries answers the ones to run the cluster with, and makes the cluster if
// there is none.
func (c cluster) binaries(ctx context.Context, given, settings []string) (Binaries, error) {
	version, err := os.ReadFile(filepath.Join(c.data(), "PG_VERSION"))
	if err == nil {
		major, err := strconv.Atoi(strings.TrimSpace(string(version)))
		if err != nil {
			return Binaries{}, unavailable("%s holds %q instead of a PostgreSQL version: restore the cluster, or choose another directory", c.data(), version)
		}
		return locateMajor(ctx, c.data(), major, given)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return Binaries{}, unavailable("cannot read the embedded cluster (run as the user who made it): %w", err)
	}
	b, err := Locate(ctx, given)
	if err != nil {
		return Binaries{}, err
	}
	return b, c.make(ctx, b, settings)
}

// make builds the cluster beside its place and renames it there complete, so
// that one that was killed half-way is never taken for a cluster.
func (c cluster) make(ctx context.Context, b Binaries, settings []string) error {
	c.sweepUnfinished()
	draft, err := os.MkdirTemp(c.dir, unfinished)
	if err != nil {
		return unavailable("cannot make a cluster for the embedded PostgreSQL: %w", err)
	}
	defer os.RemoveAll(draft) // nothing there any more once renamed
	if err := c.user.give(draft); err != nil {
		return unavailable("cannot hand %s to the server's user: %w", draft, err)
	}
	if err := c.fill(ctx, b, draft, slices.Contains(settings, "fsync=off")); err != nil {
		return err
	}
	_ = os.Remove(c.data()) // an empty directory is no obstacle
	if err := os.Rename(draft, c.data()); err != nil {
		return unavailable("cannot put the new cluster in place (is %s something else than a PostgreSQL cluster?): %w", c.data(), err)
	}
	return syncDirectory(c.dir)
}

// sweepUnfinished may leave something of a draft whose initdb lost its parent and
// still runs; the next one to make a cluster would remove it.
func (c cluster) sweepUnfinished() {
	drafts, _ := filepath.Glob(filepath.Join(c.dir, unfinished+"*"))
	for _, draft := range drafts {
		_ = os.RemoveAll(draft)
	}
}

// fill uses locale C: it is the same everywhere, and no upgrade of the system
// changes its order under the indexes.
func (c cluster) fill(ctx context.Context, b Binaries, draft string, hasty bool) error {
	args := []string{"-D", draft, "-U", roleName, "-E", "UTF8", "--locale=C", "--auth=trust", "--no-instructions"}
	if hasty {
		args = append(args, "--no-sync")
	}
	if err := c.run(ctx, "", filepath.Join(b.Dir, "initdb"), args...); err != nil {
		return err
	}
	if err := c.configure(draft); err != nil {
		return unavailable("cannot configure the new cluster: %w", err)
	}
	single := []string{"--single", "-D", draft, "template1"}
	if hasty {
		single = slices.Insert(single, 1, "-F")
	}
	return c.run(ctx, "CREATE DATABASE "+databaseName+"\n", filepath.Join(b.Dir, "postgres"), single...)
}

// configure lets in nobody but root if root made the cluster: its server's user
// may have other programs. Otherwise the private socket directory is the guard.
func (c cluster) configure(draft string) error {
	if err := appendTo(filepath.Join(draft, "postgresql.conf"), initialSettings); err != nil {
		return err
	}
	if !c.user.switched {
		return overwrite(filepath.Join(draft, "pg_hba.conf"), "local all all trust\n")
	}
	if err := overwrite(filepath.Join(draft, "pg_ident.conf"), "workflows root "+roleName+"\n"); err != nil {
		return err
	}
	return overwrite(filepath.Join(draft, "pg_hba.conf"), "local all all peer map=workflows\n")
}

// run runs a program to its end, with its output in the error.
func (c cluster) run(ctx context.Context, stdin, program string, args ...string) error {
	var output strings.Builder
	cmd := c.user.command(ctx, program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &output, &output
	cmd.WaitDelay = killPatience // a killed initdb's child may still hold the output
	if err := c.user.start(cmd, c.data()); err != nil {
		return unavailable("cannot start %s: %w", program, err)
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return unavailable("%s failed to make the embedded cluster in %s: %w\n%s", program, c.dir, err, lastLines(output.String()))
	}
	return nil
}

func appendTo(path, text string) error { return write(path, os.O_APPEND, text) }

func overwrite(path, text string) error { return write(path, os.O_TRUNC, text) }

// write keeps the file's owner.
func write(path string, flag int, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|flag, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Sync(), file.Close())
}

func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// socketDirectory makes the private directory in which the server is to listen:
// inside the cluster's, or if that is too long, one in the temporary directory
// that every process would choose. Those who join read it in postmaster.pid.
func (c cluster) socketDirectory() (string, error) {
	dir := filepath.Join(c.dir, "socket")
	if len(socketPath(dir)) > longestSocket {
		dir = c.shortSocketDirectory()
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", unavailable("cannot make the embedded PostgreSQL's socket directory: %w", err)
	}
	return dir, c.claimSocketDirectory(dir)
}

func (c cluster) shortSocketDirectory() string {
	sum := sha256.Sum256([]byte(c.dir))
	name := "workflows-" + hex.EncodeToString(sum[:8])
	dir := filepath.Join(os.TempDir(), name)
	if len(socketPath(dir)) > longestSocket {
		dir = filepath.Join("/tmp", name)
	}
	return dir
}

// claimSocketDirectory refuses one that is not ours: whoever owned it could stand
// between us and the server.
func (c cluster) claimSocketDirectory(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return unavailable("cannot use the embedded PostgreSQL's socket directory: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || (stat.Uid != c.user.uid && stat.Uid != uint32(os.Geteuid())) {
		return unavailable("%s, where the embedded PostgreSQL would listen, is not a directory of its user (uid %d): remove it", dir, c.user.uid)
	}
	if err := errors.Join(os.Chmod(dir, 0o700), c.user.give(dir)); err != nil {
		return unavailable("cannot make %s private to the embedded PostgreSQL: %w", dir, err)
	}
	return nil
}

func socketPath(dir string) string { return filepath.Join(dir, ".s.PGSQL."+port) }
