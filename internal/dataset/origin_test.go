package dataset

import (
	"log/slog"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/commit"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

// An origin is shared by those who want the same of it, and closed when neither
// a mount, nor a request, nor a transfer can reach it.
func TestUnusedOriginIsClosed(t *testing.T) {
	r := New(Options{
		Log:   slog.New(slog.DiscardHandler),
		Guard: func(_ string, fn func()) error { fn(); return nil },
	})
	hidden := fetch.NewHidden(filepath.Join(t.TempDir(), "hidden"))
	defer hidden.Close()
	ds := &dataset{hidden: hidden, origins: make(map[originID]*keptOrigin)}
	repository := t.TempDir()
	for _, args := range [][]string{{"init", "-q"}, {"commit", "-q", "--allow-empty", "-m", "x"}} {
		cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.org", "-C", repository}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	store, err := gitstore.Open(repository, gitstore.Options{Git: fetch.FindGit()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	spec, err := fetch.ParseSpec(repository, "")
	if err != nil {
		t.Fatal(err)
	}
	clone, err := hidden.Clone(t.Context(), spec, "", fetch.CloneOptions{Git: fetch.FindGit()})
	if err != nil {
		t.Fatal(err)
	}
	get := func(env ...string) any {
		o, err := (&Version{
			registry: r, dataset: ds, Clone: clone, Git: store, Listing: &commit.Listing{Commit: clone.Commit},
			Request: control.Dataset{Fetcher: "native", Env: env},
		}).Origin()
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	kept := get("A=1")
	if get("A=1") != kept {
		t.Error("the same is made twice")
	}
	if get("A=2") == kept {
		t.Error("others' surroundings are used")
	}
	count := func() int {
		ds.mu.Lock()
		defer ds.mu.Unlock()
		return len(ds.origins)
	}
	for n := 0; count() != 1; n++ {
		if n == 1000 {
			t.Fatalf("%d origins are kept, want 1", count())
		}
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
	}
	if get("A=1") != kept {
		t.Error("the one in use was closed")
	}
	runtime.KeepAlive(kept)
}
