package program

import (
	"errors"
	"os/exec"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/source/sourcetest"
)

// A fault of this program in a goroutine of its own ends what that did, not the
// process and its mounts.
func TestPanicsEndOneThingOnly(t *testing.T) {
	err := Attempt(func() error { panic("\x1b[2J") })
	sourcetest.WantClass(t, err, false, "panic_test.go")
	if !errors.Is(err, ErrPanic) {
		t.Error(err)
	}
	ended := make(chan struct{})
	err = StartLocked(exec.Command("true"), func() {
		defer close(ended)
		panic("x")
	})
	if err != nil {
		t.Error(err)
	}
	<-ended
	if err := StartLocked(exec.Command("/nothing"), func() {}); err == nil {
		t.Error("no error")
	}
}
