package gitstore

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// processAttributes keeps the terminal's signals away from a child, and a
// child from outliving us.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// boundMemory bounds what a child may take of memory, mapped files left out.
// One that is gone already needs no bound.
func boundMemory(pid int, bytes uint64) {
	unix.Prlimit(pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: bytes, Max: bytes}, nil)
}
