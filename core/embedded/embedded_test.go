package embedded

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/fault"
)

func TestAServerOfItsOwnIsDurableAndPrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), ".workflows", "postgres")
	s := mustOpen(t, dir)

	for setting, want := range map[string]string{
		"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on",
		"listen_addresses": "", "server_encoding": "UTF8", "max_connections": "200",
	} {
		if got := query(t, s.URL(), "SELECT current_setting('"+setting+"')"); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	if got := query(t, s.URL(), "SELECT current_database() || ' ' || current_user"); got != "workflows workflows" {
		t.Errorf("database and user are %q", got)
	}
	info, err := os.Stat(filepath.Join(dir, "socket"))
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the socket directory's mode is %v", info.Mode())
	}
	must(t, s.Close())
	must(t, s.Close())
	if pid := serverOf(t, dir); pid != 0 {
		t.Errorf("process %d still serves after the last close", pid)
	}
}

func TestTheServerIsSharedUntilTheLastProcessCloses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	exec1(t, s.URL(), "CREATE TABLE kept AS SELECT 'safe' AS word")
	pid := serverOf(t, dir)

	other := startHelper(t, dir)
	if url := other.opened(); url != s.URL() {
		t.Errorf("the second process was told %s, the first %s", url, s.URL())
	}
	must(t, s.Close())
	if got := serverOf(t, dir); got != pid {
		t.Fatalf("the server went from process %d to %d though somebody uses it", pid, got)
	}
	other.close()
	if got := serverOf(t, dir); got != 0 {
		t.Errorf("process %d still serves after the last close", got)
	}
	again := mustOpen(t, dir)
	if got := query(t, again.URL(), "SELECT word FROM kept"); got != "safe" {
		t.Errorf("the table holds %q after a restart", got)
	}
}

func TestSeveralOpensInOneProcessShareTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := mustOpen(t, dir)
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(dir, link))
	second := mustOpen(t, link)
	if first.URL() != second.URL() {
		t.Errorf("%s and %s are two servers", first.URL(), second.URL())
	}
	must(t, first.Close())
	query(t, second.URL(), "SELECT 'still here'")
}

func TestAKilledProcessLeavesTheServerToTheNext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	holder := startHelper(t, dir)
	holder.opened()
	pid := serverOf(t, dir)
	holder.kill()

	s := mustOpen(t, dir)
	if got := serverOf(t, dir); got != pid || pid == 0 {
		t.Errorf("the next opener got process %d, not the orphan %d", got, pid)
	}
	must(t, s.Close())
	eventually(t, "the orphan is stopped", func() bool { return serverOf(t, dir) == 0 })
}

func TestTwentyProcessesAtOnceMakeOneCluster(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "postgres")
	helpers := make([]*helper, 20)
	for i := range helpers {
		helpers[i] = startHelper(t, dir)
	}
	urls := map[string]int{}
	for _, h := range helpers {
		urls[h.opened()]++
	}
	if len(urls) != 1 {
		t.Errorf("the processes disagree about the server: %v", urls)
	}
	drafts, err := filepath.Glob(filepath.Join(dir, unfinished+"*"))
	must(t, err)
	if len(drafts) != 0 {
		t.Errorf("drafts of clusters are left: %v", drafts)
	}
	for _, h := range helpers {
		_ = h.stdin.Close()
	}
	for _, h := range helpers {
		h.close()
	}
	if pid := serverOf(t, dir); pid != 0 {
		t.Errorf("process %d still serves after the last close", pid)
	}
}

func TestOpeningAndClosingInTurmoilAlwaysGivesALiveServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 5 {
				s, err := Open(t.Context(), dir, nil, "fsync=off")
				if err != nil {
					t.Errorf("Open: %v", err)
					return
				}
				if conn, err := pgx.Connect(t.Context(), s.URL()); err != nil {
					t.Errorf("a server that was open could not be reached: %v", err)
				} else {
					_ = conn.Close(t.Context())
				}
				mustClose(t, s)
			}
		})
	}
	all.Wait()
}

func TestAnUnfinishedClusterIsMadeAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	draft := filepath.Join(dir, unfinished+"killed")
	must(t, os.MkdirAll(filepath.Join(draft, "base"), 0o700))
	must(t, os.WriteFile(filepath.Join(draft, "PG_VERSION"), []byte("15\n"), 0o600))

	mustOpen(t, dir)
	if _, err := os.Stat(draft); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the draft that a killed process left is still there: %v", err)
	}
}

func TestAProcessKilledWhileItMakesTheClusterHarmsNobody(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startHelper(t, dir)
	eventually(t, "initdb is at work", func() bool {
		drafts, _ := filepath.Glob(filepath.Join(dir, unfinished+"*", "PG_VERSION"))
		return len(drafts) > 0
	})
	first.kill()
	s := mustOpen(t, dir)
	query(t, s.URL(), "SELECT 'works'")
}

func TestAServerThatCrashedIsStartedByTheNextOpener(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	exec1(t, s.URL(), "CREATE TABLE kept AS SELECT 'safe' AS word")
	pid := serverOf(t, dir)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	eventually(t, "the server is dead", func() bool { return serverOf(t, dir) == 0 })

	next := mustOpen(t, dir)
	if got := query(t, next.URL(), "SELECT word FROM kept"); got != "safe" {
		t.Errorf("the table holds %q after a crash", got)
	}
}

func TestAPostmasterFileWhoseProcessIdWasRecycledIsNoObstacle(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	must(t, s.Close())
	// The test's own process stands for an unrelated one that got the id.
	c := s.cluster
	stale := strconv.Itoa(os.Getpid()) + "\n" + c.data() + "\n1\n5432\n" + filepath.Join(dir, "socket") + "\n\n\nready   \n"
	must(t, os.WriteFile(c.postmasterFile(), []byte(stale), 0o600))
	must(t, c.user.give(c.postmasterFile()))

	again := mustOpen(t, dir)
	query(t, again.URL(), "SELECT 'works'")
}

func TestTheServerHasASessionAndFilesOfItsOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustOpen(t, dir)
	pid := serverOf(t, dir)
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Skip("needs /proc")
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if session := fields[3]; session != strconv.Itoa(pid) {
		t.Errorf("the server is in session %s, so Ctrl-C would reach it", session)
	}
	links, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/fd/*")
	must(t, err)
	for _, link := range links {
		if target, _ := os.Readlink(link); strings.HasSuffix(target, ".lock") && strings.HasPrefix(target, dir) {
			t.Errorf("the server inherited %s", target)
		}
	}
}

func TestPathsThatAreLongOrOdd(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, below string }{
		{"a path too long for a socket", strings.Repeat("long/", 30)},
		{"a path with a space, a comma and quotes", `it's "a b",c`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "d", c.below)
			s := mustOpen(t, dir)
			query(t, s.URL(), "SELECT 'works'")
			other := startHelper(t, dir, func(cmd *exec.Cmd) {
				cmd.Env = append(cmd.Env, "TMPDIR="+t.TempDir()) // it must not matter to those who join
			})
			if url := other.opened(); url != s.URL() {
				t.Errorf("the second process was told %s, the first %s", url, s.URL())
			}
			other.close()
			must(t, s.Close())
			if _, err := os.Stat(s.cluster.shortSocketDirectory()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the short socket directory outlives the server: %v", err)
			}
		})
	}
}

func TestASocketDirectoryOfSomebodyElseIsRefused(t *testing.T) {
	t.Parallel()
	stranger := needRoot(t)
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 30))
	must(t, os.MkdirAll(dir, 0o755))
	c, err := prepareCluster(dir)
	must(t, err)
	if c.user.uid == stranger.uid {
		t.Skip("the server runs as nobody here")
	}
	squatted := c.shortSocketDirectory()
	must(t, os.Mkdir(squatted, 0o777))
	t.Cleanup(func() { _ = os.Remove(squatted) })
	must(t, os.Chown(squatted, int(stranger.uid), -1))

	_, err = Open(t.Context(), dir, nil)
	if fault.CodeOf(err) != fault.DatabaseUnavailable {
		t.Fatalf("Open answered %v", err)
	}
	mustContain(t, err.Error(), squatted, "remove it")
}

func TestCancelledOpensLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() { _, err := Open(ctx, dir, nil); failed <- err }()
	eventually(t, "initdb is at work", func() bool {
		drafts, _ := filepath.Glob(filepath.Join(dir, unfinished+"*", "PG_VERSION"))
		return len(drafts) > 0
	})
	cancel()
	if err := <-failed; fault.CodeOf(err) != fault.Cancelled || !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled Open answered %v", err)
	}
	if pid := serverOf(t, dir); pid != 0 {
		t.Errorf("process %d serves nobody", pid)
	}
	query(t, mustOpen(t, dir).URL(), "SELECT 'works'")
}

func TestAnOpenWaitsForTheStartLockNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := prepareCluster(dir)
	must(t, err)
	turn, err := lockExclusive(t.Context(), c.startLock())
	must(t, err)
	defer turn.release()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err = Open(ctx, dir, nil)
	if fault.CodeOf(err) != fault.Timeout {
		t.Errorf("Open answered %v", err)
	}
	mustContain(t, err.Error(), c.startLock())
}

func TestAServerThatDoesNotStartShowsItsLog(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), t.TempDir(), nil, "fsync=off", "shared_buffers=nonsense")
	if fault.CodeOf(err) != fault.DatabaseUnavailable {
		t.Fatalf("Open answered %v", err)
	}
	mustContain(t, err.Error(), "server.log", `"shared_buffers"`, "nonsense")
}

func TestSomethingElseInTheClustersPlaceIsNotTouched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mine := filepath.Join(dir, "data", "mine.txt")
	must(t, os.Mkdir(filepath.Dir(mine), 0o755))
	must(t, os.WriteFile(mine, nil, 0o644))
	_, err := Open(t.Context(), dir, nil, "fsync=off")
	if err == nil {
		t.Fatal("Open made a cluster over somebody's files")
	}
	mustContain(t, err.Error(), filepath.Dir(mine), "something else")
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

func TestADirectoryThatIsAFileIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, nil, 0o644))
	if _, err := Open(t.Context(), path, nil); err == nil {
		t.Error("Open took a file for a directory")
	}
}
