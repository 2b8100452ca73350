package dataset

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/index"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

// What stays for as long as the daemon must not keep the list of files, and
// must find a key's paths without it.
func TestOriginHoldsNoSnapshot(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.org", "-C", dir}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	const text = "MD5E-s5--5d41402abc4b2a76b9719d911017c592.nii"
	git("init", "-q")
	for _, name := range []string{"sub-01_T1w.nii", "sub-02_T1w.nii"} {
		if err := os.Symlink(".git/annex/objects/aa/bb/"+text+"/"+text, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	git("add", ".")
	git("commit", "-qm", "x")
	store, err := gitstore.Open(dir, gitstore.Options{Git: fetch.FindGit()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	x, err := index.Open(t.TempDir(), index.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	r := New(Options{Index: x, Log: slog.New(slog.DiscardHandler), Guard: func(_ string, fn func()) error { fn(); return nil }})
	spec, err := fetch.ParseSpec(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	hidden := fetch.NewHidden(filepath.Join(t.TempDir(), "hidden"))
	defer hidden.Close()
	clone, err := hidden.Clone(t.Context(), spec, "", fetch.CloneOptions{Git: fetch.FindGit()})
	if err != nil {
		t.Fatal(err)
	}
	id := clone.Commit
	var used cache.Origin
	func() {
		s, err := r.listing(t.Context(), store, id, nil)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := r.listing(t.Context(), store, id, nil); again != s || err != nil {
			t.Errorf("while it is in use there is another one: %v", err)
		}
		v := &Version{
			registry: r, dataset: &dataset{origins: make(map[originID]*keptOrigin)}, Clone: clone, Git: store, Listing: s,
			Request: control.Dataset{Fetcher: "native"},
		}
		if used, err = v.Origin(); err != nil {
			t.Fatal(err)
		}
	}()
	paths := r.pathsOf(store, id)
	for n := 0; r.listings[id].Value() != nil; n++ { // it may be being stored
		if n == 100 {
			t.Error("the list of files is still there when nobody uses it")
			break
		}
		time.Sleep(50 * time.Millisecond)
		runtime.GC()
	}
	key, err := annex.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := paths(key); !slices.Equal(got, []string{"sub-01_T1w.nii", "sub-02_T1w.nii"}) {
		t.Errorf("paths of the key: %q", got)
	}
	used.(*origin).Close()
}
