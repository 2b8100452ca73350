package fetch

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/uniharmony/uniharmonyfs/internal/plain"
)

// errPanic is what a panic in here becomes: the program has mounts that must
// not end with it.
var errPanic = errors.New("a fault in this program")

// attempt runs fn and turns a panic into an error.
func attempt(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %s\n%s", errPanic, plain.Short(fmt.Sprint(p), maxSaid), debug.Stack())
		}
	}()
	return fn()
}

// guarded runs fn in a goroutine of work. A panic in it ends fn and nothing
// else: what others wait for, fn must do in a deferred call.
func guarded(work *sync.WaitGroup, fn func()) {
	work.Go(func() {
		attempt(func() error { fn(); return nil })
	})
}

// startLocked starts a command from a thread that lives as long as it: the
// kernel ties Pdeathsig to the thread. then must wait for the command.
func startLocked(cmd *exec.Cmd, then func()) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		var err error
		if p := attempt(func() error { err = cmd.Start(); return nil }); p != nil {
			err = p
		}
		started <- err
		if err == nil {
			attempt(func() error { then(); return nil })
		}
	}()
	return <-started
}
