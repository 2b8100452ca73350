package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	c, err := Connect(t.Context(), dir, "same", nil, func() *exec.Cmd {
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
	if _, err := Connect(t.Context(), dir, "same", nil, noStart(t)); err != nil {
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
		if _, err := Connect(t.Context(), newDir(t), "same", nil, c.start); err == nil {
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
	_, err := Connect(ctx, newDir(t), "same", nil, func() *exec.Cmd {
		cmd = exec.Command("sleep", "60")
		cancel()
		return cmd
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	cmd.Process.Kill()
	if _, err := Connect(ctx, newDir(t), "same", nil, noStart(t)); err == nil || ToAdvice(err).Kind != advice.Interrupted {
		t.Errorf("interrupted before: %v", err)
	}
}

// A cache that cannot be is refused before anything is started.
func TestNoDaemonForWhatIsNoCache(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Connect(t.Context(), cachedir.Dir(file), "same", nil, noStart(t))
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
				if _, err := Connect(t.Context(), dir, "same", nil, start); err != nil {
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
	_, err := Connect(t.Context(), dir, "same", nil, func() *exec.Cmd {
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
