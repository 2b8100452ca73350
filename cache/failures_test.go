package cache

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/shelf"
)

// A failure is one dataset's, stands for a while, and is then forgotten: those that
// pass are not kept for ever. Wrong bytes are remembered for longer each time.
func TestFailuresStandForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fs failures
		id, others := shelf.ID{Dataset: "a"}, shelf.ID{Dataset: "b"}
		no := errors.New("no")
		fs.note(id, no, 3*time.Second)
		if fs.recent(id) != no || fs.recent(others) != nil || fs.suspect(id) {
			t.Error("of a failure")
		}
		time.Sleep(3 * time.Second)
		if fs.recent(id) != nil {
			t.Error("it stands for ever")
		}
		last := time.Duration(0)
		for range 12 {
			fs.note(id, fmt.Errorf("%w", ErrMismatch), 3*time.Second)
			from := time.Now()
			for fs.recent(id) != nil {
				time.Sleep(time.Second)
			}
			took := time.Since(from)
			if took < last || took > longest {
				t.Errorf("after %v it stands for %v", last, took)
			}
			last = took
		}
		if last != longest || !fs.suspect(id) {
			t.Errorf("wrong bytes stand for %v", last)
		}
		fs.over(id)
		if fs.suspect(id) {
			t.Error("what was had is still suspect")
		}
		for i := range 100_000 {
			fs.note(shelf.ID{Dataset: fmt.Sprint(i)}, no, time.Second)
			time.Sleep(time.Second)
		}
		if n := len(fs.by); n > 2000 {
			t.Errorf("%d failures are remembered", n)
		}
	})
}
