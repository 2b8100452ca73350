//go:build !linux

package gitstore

import "syscall"

// processAttributes keeps the terminal's signals away from a child. It ends
// with the end of its input when we are gone.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// boundMemory is not possible here.
func boundMemory(int, uint64) {}
