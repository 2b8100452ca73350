package daemon

import (
	"fmt"
	"runtime/debug"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
)

// guarded calls fn and makes an error of its panic: a mistake in one request or
// mount must not take the others' away. The stack goes to the log.
func (d *daemon) guarded(what string, fn func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			d.log.Error("panic", "in", what, "what", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = advice.New(advice.Failed, "the daemon made a mistake", fmt.Errorf("%v", p), "its log tells more: "+d.dir.LogPath())
		}
	}()
	fn()
	return nil
}
