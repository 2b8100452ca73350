package gitstore

import "syscall"

// processAttributes keeps the terminal's signals away from a child, and a
// child from outliving us.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
