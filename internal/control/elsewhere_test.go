package control

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/place"
)

// in says hello from a place.
func in(at place.Place, mounts int, idle time.Duration) http.HandlerFunc {
	raw, err := json.Marshal(Hello{Version: "same", PID: at.PID, Mounts: mounts, Work: []string{}, Idle: idle, Place: at})
	if err != nil {
		panic(err)
	}
	return says(string(raw))
}

// A daemon that will not do where it is stays while it has something mounted, and makes
// way when nothing is; one that has only just begun is left to whoever began it.
func TestDaemonThatWillNotDo(t *testing.T) {
	there := place.Place{Host: "n1", Boot: place.Here().Boot, PID: 4711, Job: "Slurm job 7"}
	not := func(at place.Place) string {
		if at.PID == there.PID {
			return "it will not do"
		}
		return ""
	}
	for _, c := range []struct {
		name     string
		mounts   int
		idle     []time.Duration // at one hello after the other
		replaced bool
	}{
		{"mounts", 1, []time.Duration{0}, false},
		{"idle", 0, []time.Duration{time.Minute}, true},
		{"has just begun", 0, []time.Duration{time.Millisecond, 2 * time.Millisecond, time.Second}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f *fake
			var hellos, stops atomic.Int64
			f = newFake(t, map[string]http.HandlerFunc{
				"GET /v1/hello": func(w http.ResponseWriter, r *http.Request) {
					n := min(int(hellos.Add(1)), len(c.idle))
					in(there, c.mounts, c.idle[n-1])(w, r)
				},
				"POST /v1/stop": func(w http.ResponseWriter, r *http.Request) {
					if n := int(hellos.Load()); n < len(c.idle) {
						t.Errorf("it was asked to end after %d hellos", n)
					}
					stops.Add(1)
					w.WriteHeader(http.StatusNoContent)
					go f.stop()
				},
			})
			if _, err := Connect(t.Context(), f.dir, "same", nil, noStart(t)); err != nil {
				t.Errorf("any will do: %v", err)
			}
			hellos.Store(0)
			started := false
			_, err := Connect(t.Context(), f.dir, "same", not, func() *exec.Cmd {
				f.stop()
				if !started {
					started = true
					newFakeIn(t, f.dir, nil)
				}
				return exec.Command("echo", "ready")
			})
			var elsewhere *ElsewhereError
			switch {
			case c.replaced && (err != nil || !started || stops.Load() == 0):
				t.Errorf("%v; started %v, asked to end %d times", err, started, stops.Load())
			case !c.replaced && (!errors.As(err, &elsewhere) || elsewhere.At.PID != 4711 || started || stops.Load() != 0):
				t.Errorf("%v; started %v, asked to end %d times", err, started, stops.Load())
			}
		})
	}
}

// A cache that is served on another host is told at once; what that host has left there
// when it went is nothing.
func TestCacheOfAnotherHost(t *testing.T) {
	away := place.Place{Host: "node17", Boot: "another", PID: 5, Job: "Slurm job 99"}
	again := place.Place{Host: place.Here().Host, Boot: "before", PID: 5} // before this host was started again
	for _, c := range []struct {
		name  string
		by    place.Place
		since time.Duration
		held  bool
		is    bool
	}{
		{"locked", away, time.Hour, true, true},
		{"not locked, alive", away, time.Second, false, true},
		{"not locked, silent", away, SilentAfter + time.Second, false, false},
		{"this host, before", again, time.Second, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := newDir(t)
			if err := dir.Make(); err != nil {
				t.Fatal(err)
			}
			lock, err := dir.Lock()
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Close()
			raw, err := json.Marshal(c.by)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := lock.Write(raw); err != nil {
				t.Fatal(err)
			}
			then := time.Now().Add(-c.since)
			if err := os.Chtimes(dir.LockPath(), then, then); err != nil {
				t.Fatal(err)
			}
			if err := HeldInSpite(dir); (err != nil) != (c.is && !c.held) {
				t.Errorf("in spite of the lock: %v", err)
			}
			if !c.held {
				lock.Close()
			}
			if IsServed(dir) != c.is {
				t.Errorf("it is served: %v", !c.is)
			}
			started := errors.New("started")
			_, err = Connect(t.Context(), dir, "same", nil, func() *exec.Cmd {
				return exec.Command("echo", `{"what":"started"}`)
			})
			var elsewhere *ElsewhereError
			switch {
			case c.is && (!errors.As(err, &elsewhere) || !strings.Contains(err.Error(), "process 5 of Slurm job 99 on the host node17")):
				t.Errorf("%v", err)
			case !c.is && (err == nil || err.Error() != started.Error()):
				t.Errorf("%v", err)
			}
		})
	}
}

// Whoever lends is asked only while it answers, and is never started.
func TestLender(t *testing.T) {
	key, err := annex.ParseKey("MD5E-s3--202cb962ac59075b964b07152d234b70.nii.gz")
	if err != nil {
		t.Fatal(err)
	}
	f := newFake(t, map[string]http.HandlerFunc{"POST /v1/lend": says(`{"result":{"there":true,"file":{"device":1,"inode":2,"size":3,"mtime":4,"ctime":5}}}`)})
	l := NewLender(f.dir)
	if id, ok := l.Vouched(key); !ok || id.Inode != 2 || id.CTime != 5 {
		t.Errorf("%+v, %v", id, ok)
	}
	f.stop()
	for range 3 {
		if _, ok := l.Vouched(key); ok {
			t.Error("nobody is there")
		}
	}
	gone := newDir(t)
	if _, ok := NewLender(gone).Vouched(key); ok {
		t.Error("nothing is there")
	}
	if _, err := os.Lstat(string(gone)); err == nil {
		t.Error("a cache was made")
	}
}
