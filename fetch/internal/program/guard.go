package program

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
	"github.com/uniharmony/uniharmonyfs/internal/plain"
)

// ErrPanic is what a panic in here becomes: the program has mounts that must
// not end with it.
var ErrPanic = errors.New("a fault in this program")

// Attempt runs fn and turns a panic into an error that says where it was.
func Attempt(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %s (%s)", ErrPanic, plain.Short(fmt.Sprint(p), remedy.MaxSaid), origins())
		}
	}()
	return fn()
}

// origins names the functions that a panic came out of.
func origins() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	var names []string
	for len(names) < 4 {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			names = append(names, fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line))
		}
		if !more {
			break
		}
	}
	return strings.Join(names, ", ")
}

// StartLocked starts a command from a thread that lives as long as it: the
// kernel ties Pdeathsig to the thread. then must wait for the command; what
// has to be known of a panic in it, it must see to itself.
func StartLocked(cmd *exec.Cmd, then func()) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		var err error
		if p := Attempt(func() error { err = cmd.Start(); return nil }); p != nil {
			err = p
		}
		started <- err
		if err == nil {
			Attempt(func() error { then(); return nil })
		}
	}()
	return <-started
}
