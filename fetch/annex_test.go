package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
	"github.com/uniharmony/uniharmonyfs/internal/source"
	"github.com/uniharmony/uniharmonyfs/internal/source/sourcetest"
)

// needGit skips a test where there is no git.
func needGit(t testing.TB) {
	t.Helper()
	if FindGit() == "" {
		t.Skip("git is not installed")
	}
}

// eachAnnex runs a test with every git-annex at hand, the only one in PATH, and
// with a home of its own.
func eachAnnex(t *testing.T, test func(t *testing.T)) {
	needGit(t)
	var dirs []string
	if p := AnnexProgram(); p != "" {
		dirs = append(dirs, filepath.Dir(p))
	}
	if dir := os.Getenv("UNIHARMONYFS_TEST_NEW_ANNEX"); dir != "" {
		dirs = append(dirs, dir)
	}
	if len(dirs) == 0 {
		t.Skip("git-annex is not installed")
	}
	path := os.Getenv("PATH")
	for _, dir := range dirs {
		t.Setenv("PATH", dir+string(os.PathListSeparator)+path)
		t.Run(AnnexVersion(t.Context()), func(t *testing.T) {
			t.Setenv("HOME", t.TempDir())
			test(t)
		})
	}
}

// run runs a command and returns what it prints.
func run(t testing.TB, dir string, args ...string) string {
	t.Helper()
	c := exec.Command(args[0], args[1:]...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
	var said bytes.Buffer // git-annex says there what it thinks of a remote
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", args, err, out, said.String())
	}
	return string(out)
}

// dataset makes a dataset with n annexed files of size bytes, which a server
// has in this way.
func dataset(t testing.TB, kind maker.Kind, n int, size int64) (*publisher.Server, *maker.Made) {
	t.Helper()
	s, err := publisher.New(publisher.Options{DumbGit: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	d := maker.Dataset{Name: "ds", Remotes: []maker.Remote{{Name: "s3", Kind: kind, URL: s.URL + "/bucket"}}}
	for i := range n {
		d.Files = append(d.Files, maker.File{Path: fmt.Sprintf("sub-%02d/a.bin", i+1), Size: size, Seed: uint64(i + 1), Annexed: true})
	}
	m, err := maker.Make(filepath.Join(t.TempDir(), "ds"), d)
	if err != nil {
		t.Fatal(err)
	}
	s.Add(m)
	return s, m
}

// origin clones a dataset and returns its origin, and the hidden clone's
// directory. Content may come from this machine.
func origin(t testing.TB, url string, o OriginOptions) (*Origin, string) {
	t.Helper()
	needGit(t)
	spec, err := ParseSpec(url, "")
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	hidden := NewHidden(filepath.Join(cache, "datasets", spec.Name))
	t.Cleanup(hidden.Close)
	if err := os.MkdirAll(filepath.Join(cache, "objects"), 0o700); err != nil {
		t.Fatal(err)
	}
	clone, err := hidden.Clone(t.Context(), spec, "", CloneOptions{Git: FindGit(), Objects: filepath.Join(cache, "objects")})
	if err != nil {
		t.Fatal(err)
	}
	git, err := gitstore.Open(clone.Dir, gitstore.Options{Git: FindGit()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { git.Close() })
	if o.AllowAddresses == nil {
		o.AllowAddresses = []string{"127.0.0.1"}
	}
	r, err := NewOrigin(clone, git, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, clone.Dir
}

// annexOf returns the source that is git-annex.
func annexOf(t testing.TB, r *Origin, key annex.Key) source.Placer {
	t.Helper()
	list, err := r.Sources(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if p, ok := s.(*annexSource); ok {
			return p
		}
	}
	t.Fatalf("git-annex is not among %v", list)
	return nil
}

// place lets a source place the file's content and checks it.
func place(t testing.TB, parent context.Context, s source.Placer, f *maker.MadeFile) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(parent, 2*time.Minute)
	defer cancel()
	path := filepath.Join(t.TempDir(), "placed")
	err := s.Place(ctx, path, func(int64) {})
	if ctx.Err() != nil && parent.Err() == nil {
		t.Fatal("it hangs")
	}
	if err != nil {
		return err
	}
	got, err := os.ReadFile(path)
	want, _ := maker.Bytes(f.Content)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("what was placed is wrong: %d bytes, %v", len(got), err)
	}
	return nil
}

// aside lists what git-annex keeps besides objects.
func aside(t testing.TB, dir string) (names []string) {
	t.Helper()
	for _, d := range []string{"tmp", "othertmp"} {
		list, err := os.ReadDir(filepath.Join(dir, "annex", d))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range list {
			names = append(names, d+"/"+e.Name())
		}
	}
	return names
}

// The reader that came first may leave while git-annex is set up: it is set up
// for all.
func TestGitAnnexIsSetUpWithoutItsFirstReader(t *testing.T) {
	eachAnnex(t, func(t *testing.T) {
		_, m := dataset(t, maker.Export, 1, 1000)
		r, _ := origin(t, m.Dir, OriginOptions{Fetcher: "annex"})
		s := annexOf(t, r, m.Files[0].Key)
		for _, wait := range []time.Duration{0, time.Millisecond, 30 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			start := time.Now()
			if err := place(t, ctx, s, &m.Files[0]); err == nil {
				t.Log("it was faster")
			} else if d := time.Since(start); d > 5*time.Second {
				t.Errorf("an interrupted reader waits for %v", d)
			}
			cancel()
		}
		if err := place(t, t.Context(), s, &m.Files[0]); err != nil {
			t.Error(err)
		}
	})
}

// A git-annex that says nothing about a key is ended, as an outage. Nothing of
// it stays, and later the key can be had.
func TestSilentGitAnnexIsEnded(t *testing.T) {
	eachAnnex(t, func(t *testing.T) {
		server, m := dataset(t, maker.Web, 2, 100_000)
		r, dir := origin(t, m.Dir, OriginOptions{Fetcher: "annex", Timeout: 300 * time.Millisecond})
		server.SetFault(publisher.Always(publisher.Stall(5000)))
		s := annexOf(t, r, m.Files[0].Key)
		err := place(t, t.Context(), s, &m.Files[0])
		sourcetest.WantClass(t, err, true, "silent")
		server.SetFault(nil)
		for i := range m.Files {
			if err := place(t, t.Context(), annexOf(t, r, m.Files[i].Key), &m.Files[i]); err != nil {
				t.Errorf("it does not heal: %v", err)
			}
		}
		r.Close()
		leavesNothing(t, dir)
	})
}

// leavesNothing checks that git-annex left nothing half-made.
func leavesNothing(t *testing.T, dir string) {
	t.Helper()
	if left := aside(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// One key that is given up, by its reader or for its silence, costs the others
// nothing but time.
func TestKeysGivenUpDoNotFailOthers(t *testing.T) {
	eachAnnex(t, func(t *testing.T) {
		server, m := dataset(t, maker.Web, 3, 100_000)
		server.SetFault(func(r publisher.Request) publisher.Fault {
			if strings.Contains(r.Path, "sub-01") {
				return publisher.Stall(100)
			}
			return publisher.Slow(60_000)
		})
		r, dir := origin(t, m.Dir, OriginOptions{Fetcher: "annex", Timeout: time.Second})
		var all sync.WaitGroup
		for i := range m.Files {
			all.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if i == 0 {
					context.AfterFunc(t.Context(), cancel)
					time.AfterFunc(1500*time.Millisecond, cancel)
				}
				err := place(t, ctx, annexOf(t, r, m.Files[i].Key), &m.Files[i])
				if i == 0 && !errors.Is(err, context.Canceled) || i > 0 && err != nil {
					t.Errorf("key %d: %v", i, err)
				}
			})
		}
		all.Wait()
		r.Close()
		leavesNothing(t, dir)
	})
}

// What an earlier process was in the middle of is removed at the start; what
// fails leaves nothing.
func TestGitAnnexLeavesNothingAside(t *testing.T) {
	eachAnnex(t, func(t *testing.T) {
		server, m := dataset(t, maker.Web, 2, 100_000)
		r, dir := origin(t, m.Dir, OriginOptions{Fetcher: "annex"})
		tmp := filepath.Join(dir, "annex", "tmp")
		if err := os.MkdirAll(filepath.Join(tmp, "work."+m.Files[1].Key.FileName()), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tmp, m.Files[1].Key.FileName()), make([]byte, 5000), 0o600); err != nil {
			t.Fatal(err)
		}
		server.SetFault(publisher.Always(publisher.Drop(5000)))
		if err := place(t, t.Context(), annexOf(t, r, m.Files[0].Key), &m.Files[0]); err == nil {
			t.Error("no error")
		}
		leavesNothing(t, dir)
	})
}

// More than the whole, put aside by an earlier try, would make git-annex ask for
// the rest of it for ever.
func TestTooMuchPutAsideIsInNobodysWay(t *testing.T) {
	eachAnnex(t, func(t *testing.T) {
		_, m := dataset(t, maker.Web, 2, 20_000)
		r, dir := origin(t, m.Dir, OriginOptions{Fetcher: "annex"})
		// It runs, and will sweep no more.
		if err := place(t, t.Context(), annexOf(t, r, m.Files[0].Key), &m.Files[0]); err != nil {
			t.Fatal(err)
		}
		tmp := filepath.Join(dir, "annex", "tmp", m.Files[1].Key.FileName())
		if err := errors.Join(os.MkdirAll(filepath.Dir(tmp), 0o700), os.WriteFile(tmp, make([]byte, 30_000), 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := place(t, t.Context(), annexOf(t, r, m.Files[1].Key), &m.Files[1]); err != nil {
			t.Error(err)
		}
	})
}

// What git-annex says of the network is an outage, that a place has not got it
// is final.
func TestGitAnnexFailuresHaveAClass(t *testing.T) {
	eachAnnex(t, func(t *testing.T) {
		server, m := dataset(t, maker.Web, 1, 1000)
		r, _ := origin(t, m.Dir, OriginOptions{Fetcher: "annex"})
		s := annexOf(t, r, m.Files[0].Key)
		server.SetFault(publisher.Always(publisher.Status(404, 0)))
		sourcetest.WantClass(t, place(t, t.Context(), s, &m.Files[0]), false, "")
		server.SetFault(publisher.Always(publisher.Status(503, 0)))
		sourcetest.WantClass(t, place(t, t.Context(), s, &m.Files[0]), true, "")
		server.SetFault(publisher.Always(publisher.Flip(10)))
		sourcetest.WantClass(t, place(t, t.Context(), s, &m.Files[0]), false, "")
		server.Close()
		sourcetest.WantClass(t, place(t, t.Context(), s, &m.Files[0]), true, "")
	})
}

// A git-annex that ends, or speaks nonsense without end, is an error.
func TestBrokenGitAnnex(t *testing.T) {
	needGit(t)
	for name, script := range map[string]string{
		"ends":      "exit 3",
		"complains": "echo 'git-annex: \033[2J no such thing' >&2; exit 1",
		"nonsense":  "echo '{\"key\":3}'; echo nonsense; read x; echo '{\"key\":\"'$x'\",\"success\":false,\"error-messages\":[\"\\u001b[2J\\u202e no\"]}'; sleep 100",
		"one line":  "exec cat /dev/zero",
		"silent":    "exec sleep 1000",
	} {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			if err := os.WriteFile(filepath.Join(bin, "git-annex"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			_, m := dataset(t, maker.Web, 1, 1000)
			r, _ := origin(t, m.Dir, OriginOptions{Fetcher: "annex", Timeout: 100 * time.Millisecond})
			err := place(t, t.Context(), annexOf(t, r, m.Files[0].Key), &m.Files[0])
			sourcetest.WantClass(t, err, name != "nonsense", "")
		})
	}
}
