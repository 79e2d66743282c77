package embedded

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// capabilitiesOf answers the effective capabilities of a process, as a number.
func capabilitiesOf(t *testing.T, pid int) uint64 {
	t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	must(t, err)
	_, rest, _ := strings.Cut(string(status), "CapEff:")
	line, _, _ := strings.Cut(rest, "\n")
	held, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	must(t, err)
	return held
}

func TestRootRunsTheServerAsSomebodyElse(t *testing.T) {
	t.Parallel()
	needRoot(t)
	cases := []struct {
		name    string
		barrier os.FileMode
		want    uint64
	}{
		{"where its user may go, without capabilities", 0o755, 0},
		{"behind root's private directory, with the one to enter it", 0o700, 1 << capDacReadSearch},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			parent := publicDir(t)
			must(t, os.Chmod(parent, c.barrier))
			dir := filepath.Join(parent, "below", "postgres")
			s := mustOpen(t, dir)
			if uid, _, _ := owner(filepath.Join(dir, "data")); uid == 0 {
				t.Error("the cluster belongs to root")
			}
			query(t, s.URL(), "SELECT 'works'")
			if got := capabilitiesOf(t, serverOf(t, dir)); got != c.want {
				t.Errorf("the server has capabilities %x, want %x", got, c.want)
			}
		})
	}
}

// A virtualenv below /root is such a place for binaries.
func TestRootRunsBinariesBelowAPrivateDirectory(t *testing.T) {
	t.Parallel()
	needRoot(t)
	cases := []struct {
		name    string
		program os.FileMode
		want    uint64
	}{
		{"that every user may run", 0o755, 1 << capDacReadSearch},
		{"that root keeps to itself", 0o700, 1 << capDacOverride},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			found, err := Locate(t.Context(), nil)
			must(t, err)
			root := t.TempDir()
			must(t, exec.Command("cp", "-rL", filepath.Dir(found.Dir), filepath.Join(root, "pg")).Run())
			bin := filepath.Join(root, "pg", "bin")
			must(t, os.Chmod(filepath.Join(bin, "postgres"), c.program))
			a, err := serverAccount("")
			must(t, err)
			cmd := a.command(t.Context(), filepath.Join(bin, "postgres"), "-C", "data_directory", "-D", "/nowhere")
			cmd.Env = append(cmd.Env, "PGDATA=")
			out, err := startAndRead(a, cmd)
			// It gets past looking for its own executable, and stops at the missing cluster.
			mustContain(t, out, "/nowhere")
			if err == nil || strings.Contains(out, "could not locate") {
				t.Errorf("postgres answered %q, %v", out, err)
			}
			if got := cmd.SysProcAttr.AmbientCaps; len(got) != 1 || 1<<got[0] != c.want {
				t.Errorf("it was given capabilities %v, want the mask %x", got, c.want)
			}
		})
	}
}

func startAndRead(a account, cmd *exec.Cmd) (string, error) {
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := a.start(cmd); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return out.String(), err
}

func TestTheThreadThatStartsAServerGivesItsPrivilegeBack(t *testing.T) {
	t.Parallel()
	needRoot(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	bits := func() uintptr {
		bits, _, _ := syscall.RawSyscall(syscall.SYS_PRCTL, prGetSecurebits, 0, 0)
		return bits
	}
	before := bits()
	var during uintptr
	reset, err := keepingAccess(func() error { during = bits(); return nil })
	must(t, err)
	if during != before|secbitNoSetuidFixup || bits() != before || !reset {
		t.Errorf("the thread's secure bits went from %x to %x to %x (reset %v)", before, during, bits(), reset)
	}
}

func TestAnOrdinaryUserRunsItsOwnServer(t *testing.T) {
	t.Parallel()
	nobody := needRoot(t)
	home := publicDir(t)
	must(t, os.Chown(home, int(nobody.uid), int(nobody.gid)))
	dir := filepath.Join(home, "postgres")
	h := startHelper(t, dir, asUser(t, nobody))
	h.opened()
	if uid, _, _ := owner(filepath.Join(dir, "data")); uid != nobody.uid {
		t.Errorf("the cluster belongs to uid %d, not %d", uid, nobody.uid)
	}

	// Root may look in, and the user goes on as if it had not.
	s := mustOpen(t, dir)
	query(t, s.URL(), "SELECT 'works'")
	h.close()
	must(t, s.Close())
	s = mustOpen(t, dir)
	if uid, _, _ := owner("/proc/" + strconv.Itoa(serverOf(t, dir))); uid != nobody.uid {
		t.Errorf("root runs the user's server as uid %d", uid)
	}
	must(t, s.Close())
	startHelper(t, dir, asUser(t, nobody)).opened()
}

func TestAnotherUsersDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	nobody := needRoot(t)
	dir := filepath.Join(publicDir(t), "postgres")
	mustOpen(t, dir)
	h := startHelper(t, dir, asUser(t, nobody))
	line, err := h.out.ReadString('\n')
	must(t, err)
	mustContain(t, line, "invalid_config", "belongs to another user", dir)
	h.kill()
}
