//go:build !linux

package embedded

import (
	"os/exec"
	"syscall"
)

// start starts a program that account.command prepared.
func (a account) start(cmd *exec.Cmd, _ ...string) error { return cmd.Start() }

// isServer reports whether a process may be the server of a cluster. Without
// /proc, a process that exists is believed to be.
func isServer(pid int, _ string) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || err == syscall.EPERM
}
