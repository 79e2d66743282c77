package embedded

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// From linux/capability.h, linux/prctl.h and linux/securebits.h.
const (
	capDacOverride      = 1
	capDacReadSearch    = 2
	prGetSecurebits     = 27
	prSetSecurebits     = 28
	secbitNoSetuidFixup = 1 << 2
)

const unreachableForServer = "the embedded PostgreSQL cannot run as root and must run as uid %d, which may not enter %s:" +
	" use a directory that every user may enter, or run as an ordinary user (passing the barrier by a capability failed: %v)"

// start starts a program that account.command prepared and that uses the given
// paths.
//
// Root's own directories are closed to the server's user: /root, and with it a
// virtualenv or a project below it. Then the program gets one ambient capability
// to pass them, the one that opens directories and no more if that is enough.
func (a account) start(cmd *exec.Cmd, paths ...string) error {
	if !a.switched {
		return cmd.Start()
	}
	barrier := a.barrier(cmd.Path, paths)
	if barrier == "" {
		return cmd.Start()
	}
	capability, err := passingCapability(a.mayRun(cmd.Path))
	if err != nil {
		return misconfigured(unreachableForServer, a.uid, barrier, err)
	}
	cmd.SysProcAttr.AmbientCaps = []uintptr{capability}
	if err := startKeepingAccess(cmd); err != nil {
		return misconfigured(unreachableForServer, a.uid, barrier, err)
	}
	return nil
}

// barrier answers the first directory on the way to the program or the paths that
// the account may not enter, or the program if that is what it may not run; "" if
// there is none.
func (a account) barrier(program string, paths []string) string {
	for _, path := range append(paths, program) {
		if dir := a.closedAbove(path); dir != "" {
			return dir
		}
		target, err := filepath.EvalSymlinks(path)
		if err != nil {
			continue // not made yet: the directory that will hold it was looked at
		}
		if dir := a.closedAbove(target); dir != "" {
			return dir
		}
	}
	if !a.mayRun(program) {
		return program
	}
	return ""
}

func (a account) closedAbove(path string) string {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if !a.mayRun(dir) {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// mayRun reports whether the permission bits let the account execute a file or
// enter a directory.
func (a account) mayRun(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch mode := info.Mode().Perm(); {
	case ok && stat.Uid == a.uid:
		return mode&0o100 != 0
	case ok && stat.Gid == a.gid:
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}

// passingCapability prefers the one that only reads and enters. It does not let
// a file be executed, and Docker takes it away by default but leaves the other.
func passingCapability(mayRunProgram bool) (uintptr, error) {
	held, err := permittedCapabilities()
	if err != nil {
		return 0, err
	}
	wanted := []uintptr{capDacOverride}
	if mayRunProgram {
		wanted = []uintptr{capDacReadSearch, capDacOverride}
	}
	i := slices.IndexFunc(wanted, func(c uintptr) bool { return held>>c&1 == 1 })
	if i < 0 {
		return 0, fmt.Errorf("this process has neither CAP_DAC_READ_SEARCH nor CAP_DAC_OVERRIDE")
	}
	return wanted[i], nil
}

func permittedCapabilities() (uint64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if hex, ok := strings.CutPrefix(line, "CapPrm:"); ok {
			return strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		}
	}
	return 0, fmt.Errorf("/proc/self/status does not tell this process's capabilities")
}

// startKeepingAccess starts a program under SECBIT_NO_SETUID_FIXUP. PostgreSQL
// asks access(2) whether its own executable is there, and access(2) leaves a
// user other than root no capabilities unless that bit is set.
//
// The bit belongs to a thread and is inherited by what it starts, so it is set on
// a thread of its own, which ends with its goroutine if it cannot be reset.
func startKeepingAccess(cmd *exec.Cmd) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		reset, err := keepingAccess(cmd.Start)
		started <- err
		if reset {
			runtime.UnlockOSThread()
		}
	}()
	return <-started
}

// keepingAccess reports whether the thread is again as it was.
func keepingAccess(start func() error) (reset bool, err error) {
	before, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prGetSecurebits, 0, 0)
	if errno == 0 {
		_, _, errno = syscall.RawSyscall(syscall.SYS_PRCTL, prSetSecurebits, before|secbitNoSetuidFixup, 0)
	}
	if errno != 0 {
		return true, fmt.Errorf("setting the secure bits, which needs CAP_SETPCAP: %w", errno)
	}
	err = start()
	_, _, errno = syscall.RawSyscall(syscall.SYS_PRCTL, prSetSecurebits, before, 0)
	return errno == 0, err
}

// isServer reports whether a process is the server of a cluster. A process id
// alone proves nothing: after a crash of the machine, or seen from another
// container, it may belong to anybody.
func isServer(pid int, data string) bool {
	commandLine, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(commandLine, []byte("\x00-D\x00"+data+"\x00"))
}
