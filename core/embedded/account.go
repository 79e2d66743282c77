package embedded

import (
	"context"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// account is the user that the server runs as: ourselves, unless we are root,
// whom PostgreSQL refuses.
type account struct {
	uid, gid uint32
	switched bool
}

// serverAccount chooses the user for a cluster. Root takes the owner of a cluster
// that exists, so that a user's own keeps working when root opens it once.
func serverAccount(data string) (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}, nil
	}
	if uid, gid, ok := owner(data); ok && uid != 0 {
		return account{uid, gid, true}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if a, ok := lookupAccount(name); ok {
			return a, nil
		}
	}
	return account{}, misconfigured("PostgreSQL refuses to run as root, and this machine has neither a user postgres nor a user nobody to run the embedded one as:" +
		" add one (`useradd --system postgres`), or run as an ordinary user")
}

func owner(path string) (uid, gid uint32, ok bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return stat.Uid, stat.Gid, true
}

func lookupAccount(name string) (account, bool) {
	found, err := user.Lookup(name)
	if err != nil {
		return account{}, false
	}
	uid, uidErr := strconv.ParseUint(found.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(found.Gid, 10, 32)
	return account{uint32(uid), uint32(gid), true}, uidErr == nil && gidErr == nil && uid != 0
}

// give hands a file or directory that we made to the server's user.
func (a account) give(path string) error {
	if !a.switched {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// command prepares a server program. It gets a session of its own, so that Ctrl-C
// in our terminal does not reach it; the root directory to stand in, because ours
// may be closed to its user; and none of our PG* variables, which would bend it.
func (a account) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/"
	cmd.Env = serverEnvironment(os.Environ())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if a.switched {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	return cmd
}

func serverEnvironment(ours []string) []string {
	env := []string{"LC_ALL=C"}
	for _, entry := range ours {
		if !strings.HasPrefix(entry, "PG") && !strings.HasPrefix(entry, "LC_ALL=") {
			env = append(env, entry)
		}
	}
	return env
}
