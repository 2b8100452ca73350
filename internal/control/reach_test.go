package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
)

func newDir(t *testing.T) cachedir.Dir { return cachedir.Dir(filepath.Join(t.TempDir(), "cache")) }

// hasAdvice reports what is wrong with an error that a person is to understand.
func hasAdvice(err error, kind advice.Kind, words ...string) error {
	var a *advice.Error
	if !errors.As(err, &a) {
		return fmt.Errorf("%v is no advice", err)
	}
	said := a.Error() + "\n" + strings.Join(a.Do, "\n")
	for _, w := range words {
		if !strings.Contains(said, w) {
			return fmt.Errorf("%q does not say %q", said, w)
		}
	}
	if a.Kind != kind {
		return fmt.Errorf("%q is of kind %s, not %s", said, a.Kind, kind)
	}
	return nil
}

// Where no daemon runs, one is started in a session of its own, away from the
// directory of the command, and its standard error is the log.
func TestDaemonIsStarted(t *testing.T) {
	dir := newDir(t)
	var started atomic.Int64
	var f *fake
	c, err := Connect(t.Context(), dir, "same", func() *exec.Cmd {
		started.Add(1)
		f = newFakeIn(t, dir, nil)
		return exec.Command("sh", "-c", `echo ready; pwd >&2; cut -d" " -f6 /proc/$$/stat >&2; echo $$ >&2`)
	})
	if err != nil || c == nil || started.Load() != 1 {
		t.Fatalf("%v, started %d times", err, started.Load())
	}
	var said []string
	for range 1000 {
		log, err := os.ReadFile(dir.LogPath())
		if err != nil {
			t.Fatal(err)
		}
		if said = strings.Fields(string(log)); len(said) == 3 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if len(said) != 3 || said[0] != "/" || said[1] != said[2] {
		t.Errorf("it is in, of session, is: %q", said)
	}
	// The next command finds it.
	if _, err := Connect(t.Context(), dir, "same", noStart(t)); err != nil {
		t.Error(err)
	}
	f.stop()
}

// A daemon that cannot start says why.
func TestDaemonThatCannotStart(t *testing.T) {
	for name, c := range map[string]struct {
		start func() *exec.Cmd
		kind  advice.Kind
		words []string
	}{
		"it says why":    {starts(`{"kind":"no-space","what":"the disk is full","do":["free some"]}` + "\n"), advice.NoSpace, []string{"the disk is full", "free some"}},
		"without an end": {starts(`{"kind":"no-space","what":"the disk is full"}`), advice.NoSpace, []string{"the disk is full"}},
		"silence":        {starts(""), advice.Failed, []string{"ended while starting", "daemon.log"}},
		"babble":         {starts("panic: mistaken\n"), advice.Failed, []string{"ended while starting", "daemon.log"}},
		"empty advice":   {starts("{}\n"), advice.Failed, []string{"ended while starting", "daemon.log"}},
		"no program":     {func() *exec.Cmd { return exec.Command("/none/such") }, advice.Failed, []string{"cannot start the daemon"}},
	} {
		if _, err := Connect(t.Context(), newDir(t), "same", c.start); err == nil {
			t.Errorf("%s: no error", name)
		} else if err := hasAdvice(err, c.kind, c.words...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// One that says nothing and does not end is waited for within a bound, and so
// is one that is ready and does not answer.
func TestStartIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		words  []string
	}{
		"silent":           {"exec sleep 60", []string{"does not become ready", "daemon.log"}},
		"ready":            {"echo ready", []string{"does not answer", "daemon.log"}},
		"another's turn":   {"echo locked", []string{"does not answer", "daemon.log"}},
		"no end of a line": {"printf ready; exec sleep 60", []string{"does not become ready", "daemon.log"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var cmd *exec.Cmd
			client := newClient(newDir(t), "same", func() *exec.Cmd {
				cmd = exec.Command("sh", "-c", c.script)
				return cmd
			})
			client.waits.reach = 100 * time.Millisecond
			if strings.Contains(c.script, "sleep") {
				client.waits.start = 100 * time.Millisecond
			}
			err := client.reach(t.Context())
			if err := hasAdvice(err, advice.Failed, c.words...); err != nil {
				t.Error(err)
			}
			cmd.Process.Kill()
		})
	}
}

func TestStartIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var cmd *exec.Cmd
	_, err := Connect(ctx, newDir(t), "same", func() *exec.Cmd {
		cmd = exec.Command("sleep", "60")
		cancel()
		return cmd
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	cmd.Process.Kill()
	if _, err := Connect(ctx, newDir(t), "same", noStart(t)); err == nil || ToAdvice(err).Kind != advice.Interrupted {
		t.Errorf("interrupted before: %v", err)
	}
}

// A cache that cannot be is refused before anything is started.
func TestNoDaemonForWhatIsNoCache(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Connect(t.Context(), cachedir.Dir(file), "same", noStart(t))
	if err := hasAdvice(err, advice.Failed, "cannot use", "--cache"); err != nil {
		t.Error(err)
	}
}

// Commands that come at the same time, the first of all, have one daemon in the
// end, and none of them fails.
func TestFirstCommandsSideBySide(t *testing.T) {
	for range 20 {
		dir := newDir(t)
		var mu sync.Mutex
		var serving []*fake
		start := func() *exec.Cmd {
			mu.Lock()
			defer mu.Unlock()
			if len(serving) > 0 {
				return exec.Command("echo", "locked")
			}
			serving = append(serving, newFakeIn(t, dir, nil))
			return exec.Command("echo", "ready")
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if _, err := Connect(t.Context(), dir, "same", start); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(serving) != 1 {
			t.Fatalf("%d daemons", len(serving))
		}
		serving[0].stop()
	}
}

// A cache that another command has just removed is made again.
func TestCacheThatWasJustRemoved(t *testing.T) {
	dir := newDir(t)
	f := newFakeIn(t, makeDir(t, dir), map[string]http.HandlerFunc{"POST /v1/files": func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "stopping", http.StatusServiceUnavailable)
	}})
	c := f.client()
	c.run = func() *exec.Cmd {
		makeDir(t, dir)
		newFakeIn(t, dir, map[string]http.HandlerFunc{"POST /v1/files": says(`{"result":{"files":7}}`)})
		return exec.Command("echo", "ready")
	}
	f.stop()
	if err := os.RemoveAll(string(dir)); err != nil {
		t.Fatal(err)
	}
	if res, err := c.Files(t.Context(), FilesRequest{}, nil); err != nil || res.Files != 7 {
		t.Errorf("%+v, %v", res, err)
	}
	if !dir.Exists() {
		t.Error("it is no cache")
	}
}

// Also when it is removed between the look for a daemon and the start of one.
func TestCacheThatIsRemovedWhileADaemonIsStarted(t *testing.T) {
	dir := newDir(t)
	started := 0
	_, err := Connect(t.Context(), dir, "same", func() *exec.Cmd {
		if started++; started == 1 {
			if err := os.RemoveAll(string(dir)); err != nil {
				t.Fatal(err)
			}
			return exec.Command("echo", "locked")
		}
		newFakeIn(t, dir, nil)
		return exec.Command("echo", "ready")
	})
	if err != nil || started != 2 || !dir.Exists() {
		t.Errorf("%v; started %d times", err, started)
	}
}

func makeDir(t *testing.T, dir cachedir.Dir) cachedir.Dir {
	t.Helper()
	if err := dir.Make(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The next daemon is asked when one is stopping or has gone before it answered.
func TestRequestGoesToTheNextDaemon(t *testing.T) {
	for name, refuse := range map[string]http.HandlerFunc{
		"stopping": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
		},
		"gone": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			var old *fake
			asked := 0
			old = newFake(t, map[string]http.HandlerFunc{"POST /v1/files": func(w http.ResponseWriter, r *http.Request) {
				asked++
				go old.stop()
				refuse(w, r)
			}})
			c := old.client()
			var once sync.Once
			c.run = func() *exec.Cmd {
				if lock, err := old.dir.Lock(); err != nil {
					return exec.Command("echo", "locked")
				} else {
					lock.Close()
				}
				once.Do(func() {
					newFakeIn(t, old.dir, map[string]http.HandlerFunc{"POST /v1/files": says(`{"result":{"files":7}}`)})
				})
				return exec.Command("echo", "ready")
			}
			res, err := c.Files(t.Context(), FilesRequest{Do: "pin"}, nil)
			if err != nil || res.Files != 7 {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
}

// One that goes on refusing is given up.
func TestRefusalsEnd(t *testing.T) {
	f := newFake(t, map[string]http.HandlerFunc{"POST /v1/files": func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "stopping", http.StatusServiceUnavailable)
	}})
	_, err := f.client().Files(t.Context(), FilesRequest{}, nil)
	if err := hasAdvice(err, advice.Failed, "refuses", "503"); err != nil {
		t.Error(err)
	}
	if n := len(f.requests()); n < 2 || n > 20 {
		t.Errorf("it was asked %d times", n)
	}
	// What it does not know is not asked again.
	if _, err := f.client().Status(t.Context(), StatusRequest{}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("unknown: %v", err)
	}
	if n := slices.IndexFunc(f.requests(), func(s string) bool { return strings.HasPrefix(s, "/v1/status") }); n != len(f.requests())-1 {
		t.Error("it was asked again")
	}
}

// One that has begun to answer may have done something: it is not asked again.
func TestRequestThatHasBegunIsNotAskedAgain(t *testing.T) {
	f := newFake(t, map[string]http.HandlerFunc{"POST /v1/files": func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}})
	_, err := f.client().Files(t.Context(), FilesRequest{}, nil)
	if err := hasAdvice(err, advice.Failed, "the daemon is gone", "run the command again", "daemon.log"); err != nil {
		t.Error(err)
	}
	if n := len(f.requests()); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}

// A daemon of another version stays while somebody has need of it, and is
// replaced else; whatever version is taken when that does not matter.
func TestDaemonOfAnotherVersion(t *testing.T) {
	for name, c := range map[string]struct {
		hello   string
		refused []string // words; nil: it is replaced
	}{
		"mounts":  {`{"version":"old","pid":1,"mounts":2,"work":[]}`, []string{"version old, this program new", "unmount TARGET", "status"}},
		"at work": {`{"version":"old","pid":1,"mounts":0,"work":["get","list"]}`, []string{"version old, this program new", "at work for: get and list", "--cache"}},
		"idle":    {`{"version":"old","pid":1,"mounts":0,"work":[]}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var f *fake
			f = newFake(t, map[string]http.HandlerFunc{
				"GET /v1/hello": says(c.hello),
				"POST /v1/stop": func(w http.ResponseWriter, r *http.Request) {
					w.WriteHeader(http.StatusNoContent)
					go f.stop()
				},
			})
			if _, err := Connect(t.Context(), f.dir, "", noStart(t)); err != nil {
				t.Errorf("any version: %v", err)
			}
			var once sync.Once
			_, err := Connect(t.Context(), f.dir, "new", func() *exec.Cmd {
				if c.refused != nil {
					t.Error("another is started")
				}
				f.stop()
				once.Do(func() {
					newFakeIn(t, f.dir, map[string]http.HandlerFunc{"GET /v1/hello": says(`{"version":"new","pid":1,"mounts":0,"work":[]}`)})
				})
				return exec.Command("echo", "ready")
			})
			if c.refused == nil {
				if err != nil {
					t.Error(err)
				}
				if got := f.requests(); !slices.Equal(got, []string{"/v1/stop?if=idle "}) {
					t.Errorf("it was asked %q", got)
				}
				return
			}
			if err := hasAdvice(err, advice.Failed, c.refused...); err != nil {
				t.Error(err)
			}
			if got := f.requests(); len(got) > 0 {
				t.Errorf("it was asked %q", got)
			}
		})
	}
}

// One that was asked to end and does not, or does not even answer, holds up
// nobody for long, and its process is named.
func TestDaemonOfAnotherVersionThatDoesNotEnd(t *testing.T) {
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, stop := range map[string]http.HandlerFunc{
		"silent":  silent,
		"yes":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"refuses": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusConflict) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, map[string]http.HandlerFunc{
				"GET /v1/hello": says(`{"version":"old","pid":4711,"mounts":0,"work":[]}`),
				"POST /v1/stop": stop,
			})
			c := newClient(f.dir, "new", noStart(t))
			c.waits.word, c.waits.idle = 3*time.Second, 100*time.Millisecond
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := hasAdvice(c.reach(ctx), advice.Failed, "version old, this program new", "asked to end", "kill 4711", "--cache"); err != nil {
				t.Error(err)
			}
		})
	}
	f := newFake(t, map[string]http.HandlerFunc{"GET /v1/hello": says(`{"version":"old","pid":0,"mounts":0,"work":[]}`), "POST /v1/stop": says("")})
	c := newClient(f.dir, "new", noStart(t))
	c.waits.idle = 10 * time.Millisecond
	if err := c.reach(t.Context()); err == nil || strings.Contains(strings.Join(ToAdvice(err).Do, "\n"), "kill") {
		t.Errorf("a process that is not known is named: %+v", err)
	}
}

// One that takes connections and never says who it is, is waited for within a
// bound.
func TestDaemonThatSaysNothing(t *testing.T) {
	for name, hello := range map[string]http.HandlerFunc{
		"silence": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"nothing": says(""),
		"no JSON": says("<html>"),
		"half":    says(`{"version":`),
		"stopping": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"version":"same"}`, http.StatusServiceUnavailable)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, map[string]http.HandlerFunc{"GET /v1/hello": hello})
			c := newClient(f.dir, "same", func() *exec.Cmd { return exec.Command("echo", "locked") })
			c.waits.reach, c.waits.word = 100*time.Millisecond, 500*time.Millisecond
			if err := hasAdvice(c.reach(t.Context()), advice.Failed, "does not answer", "daemon.log"); err != nil {
				t.Error(err)
			}
		})
	}
}

// A mount that is interrupted is given up by its name, and taken away if it came
// all the same; one that is made has no second word.
func TestInterruptedMountIsGivenUp(t *testing.T) {
	began := make(chan struct{})
	f := newFake(t, map[string]http.HandlerFunc{
		"POST /v1/mount": func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			close(began)
			<-r.Context().Done()
		},
		"POST /v1/unmount": says(`{"result":{}}`),
	})
	c := f.client()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	_, err := c.Mount(ctx, MountRequest{Target: "/t", ID: "of the caller"}, nil)
	if ToAdvice(err).Kind != advice.Interrupted {
		t.Errorf("error %v", err)
	}
	var req MountRequest
	var gone UnmountRequest
	said := f.requests()
	if len(said) != 2 {
		t.Fatalf("asked: %q", said)
	}
	scan(t, said[0], "/v1/mount", &req)
	scan(t, said[1], "/v1/unmount", &gone)
	if req.ID == "" || req.ID == "of the caller" || gone != (UnmountRequest{Target: "/t", ID: req.ID, Force: true}) {
		t.Errorf("mount %+v, unmount %+v", req, gone)
	}

	f = newFake(t, map[string]http.HandlerFunc{"POST /v1/mount": says(`{"result":{"target":"/t","files":7}}`)})
	if info, err := f.client().Mount(t.Context(), MountRequest{Target: "/t"}, nil); err != nil || info.Files != 7 {
		t.Errorf("%+v, %v", info, err)
	}
	if n := len(f.requests()); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// When a cache was removed the answer comes once it is gone.
func TestRemovedCacheIsGoneOnReturn(t *testing.T) {
	for name, c := range map[string]struct {
		end   func(f *fake)
		words []string
	}{
		"gone": {func(f *fake) { f.dir.Remove(); f.stop() }, nil},
		"left": {func(f *fake) { f.stop() }, []string{"could not be removed completely", "daemon.log"}},
	} {
		for _, how := range []string{"clean", "unmount"} {
			t.Run(name+" "+how, func(t *testing.T) {
				answered := make(chan struct{})
				answer := func(w http.ResponseWriter, _ *http.Request) {
					says(`{"result":{"cache_removed":true}}`)(w, nil)
					close(answered)
				}
				f := newFake(t, map[string]http.HandlerFunc{"POST /v1/clean": answer, "POST /v1/unmount": answer})
				client := f.client()
				go func() {
					<-answered
					time.Sleep(20 * time.Millisecond)
					c.end(f)
				}()
				var err error
				if how == "clean" {
					_, err = client.Clean(t.Context(), CleanRequest{All: true})
				} else {
					_, err = client.Unmount(t.Context(), UnmountRequest{Clean: true})
				}
				if c.words == nil {
					if _, there := os.Lstat(string(f.dir)); err != nil || !os.IsNotExist(there) {
						t.Errorf("%v; the cache: %v", err, there)
					}
				} else if err := hasAdvice(err, advice.Failed, c.words...); err != nil {
					t.Error(err)
				}
				f.stop()
			})
		}
	}
	f := newFake(t, map[string]http.HandlerFunc{"POST /v1/clean": says(`{"result":{"cache_removed":true}}`)})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	// It ends at once, whether the answer has come by then or not.
	_, err := f.client().Clean(ctx, CleanRequest{All: true})
	if told := new(advice.Error); !errors.Is(err, context.Canceled) && (!errors.As(err, &told) || told.Kind != advice.Interrupted) {
		t.Errorf("interrupted: %v", err)
	}
	f = newFake(t, map[string]http.HandlerFunc{"POST /v1/clean": says(`{"result":{"cache_removed":false,"files":7}}`)})
	if res, err := f.client().Clean(t.Context(), CleanRequest{}); err != nil || res.Files != 7 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestWaitAsksForTheMount(t *testing.T) {
	f := newFake(t, map[string]http.HandlerFunc{"POST /v1/wait": says(`{"result":{}}`)})
	if err := f.client().Wait(t.Context(), "/t"); err != nil {
		t.Error(err)
	}
	var req UnmountRequest
	scan(t, f.requests()[0], "/v1/wait", &req)
	if req != (UnmountRequest{Target: "/t"}) {
		t.Errorf("%+v", req)
	}
}

// What a request cannot say exactly is not said.
func TestRequestsThatAreNoTextAreNotSent(t *testing.T) {
	f := newFake(t, nil)
	c := f.client()
	for name, err := range map[string]error{
		"mount":   second(c.Mount(t.Context(), MountRequest{Target: "/t\xff"}, nil)),
		"unmount": second(c.Unmount(t.Context(), UnmountRequest{Target: "/t\xff"})),
		"status":  second(c.Status(t.Context(), StatusRequest{Paths: []string{"/t", "/t\xff"}})),
		"wait":    c.Wait(t.Context(), "/t\xff"),
	} {
		if err := hasAdvice(err, advice.Usage, "UTF-8", "directory above"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := f.requests(); len(got) > 0 {
		t.Errorf("asked: %q", got)
	}
}

func second[T any](_ T, err error) error { return err }

func TestMountOfWhatIsNoMount(t *testing.T) {
	if dir, ok, err := MountOf(t.TempDir()); ok || err != nil {
		t.Errorf("%s, %v, %v", dir, ok, err)
	}
	if _, ok, err := MountOf("/proc"); ok || err != nil {
		t.Errorf("another's: %v, %v", ok, err)
	}
}

func TestErrorsBecomeAdvice(t *testing.T) {
	known := advice.New(advice.Partial, "known", nil)
	for _, c := range []struct {
		err  error
		kind advice.Kind
	}{
		{fmt.Errorf("above: %w", known), advice.Partial},
		{fmt.Errorf("mounting: %w", fs.ErrNoFUSE), advice.CannotMount},
		{fs.ErrNoFusermount, advice.CannotMount},
		{fs.ErrNotPermitted, advice.CannotMount},
		{fs.ErrTarget, advice.CannotMount},
		{fs.ErrStale, advice.CannotMount},
		{os.NewSyscallError("write", syscall.ENOSPC), advice.NoSpace},
		{fmt.Errorf("asking: %w", context.Canceled), advice.Interrupted},
		{fmt.Errorf("choosing: %w", &bids.NoMatchError{Dimension: "sub", Value: "9", Nearest: []string{"01"}}), advice.NoMatch},
		{fmt.Errorf("choosing: %w", &filter.UsageError{Dimension: "run", Value: "x", Why: "is no number"}), advice.Usage},
		{os.NewSyscallError("write", syscall.EDQUOT), advice.NoSpace},
		{errors.New("whatever"), advice.Failed},
	} {
		got := ToAdvice(c.err)
		if got.Kind != c.kind || got.What == "" {
			t.Errorf("%v becomes %+v, want %s", c.err, got, c.kind)
		}
		if (c.kind == advice.NoSpace && got.Why == "" || c.kind == advice.NoMatch || c.kind == advice.CannotMount) && len(got.Do) == 0 {
			t.Errorf("%v becomes %+v without advice", c.err, got)
		}
	}
	if ToAdvice(fmt.Errorf("above: %w", known)) != known {
		t.Error("advice is not kept")
	}
	if !IsLocked(fmt.Errorf("x: %w", cachedir.ErrLocked)) || IsLocked(known) {
		t.Error("locked")
	}
}

// A connection that is kept could be one that the daemon is just closing.
func TestConnectionsAreForOneRequest(t *testing.T) {
	var kept atomic.Int64
	f := newFake(t, map[string]http.HandlerFunc{"POST /v1/files": func(w http.ResponseWriter, r *http.Request) {
		if !r.Close {
			kept.Add(1)
		}
		says(`{"result":{}}`)(w, r)
	}})
	if _, err := f.client().Files(t.Context(), FilesRequest{}, nil); err != nil || kept.Load() > 0 {
		t.Errorf("%v, %d kept", err, kept.Load())
	}
}
