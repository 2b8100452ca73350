package gitannex

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
	"github.com/uniharmony/uniharmonyfs/internal/source/sourcetest"
)

// begin makes a dataset with n annexed files of size bytes, which a server has in this
// way, and a git-annex that works in its repository.
func begin(t testing.TB, kind maker.Kind, n int, size int64, timeout time.Duration) (*Child, *publisher.Server, []maker.MadeFile) {
	t.Helper()
	s, err := publisher.New(publisher.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	d := maker.Dataset{Name: "ds", Remotes: []maker.Remote{{Name: "s3", Kind: kind, URL: s.URL + "/bucket"}}}
	for i := range n {
		d.Files = append(d.Files, maker.File{Path: fmt.Sprintf("sub-%02d/a.bin", i+1), Size: size, Seed: uint64(i + 1), Annexed: true})
	}
	m, err := maker.Make(filepath.Join(gittest.AnnexDir(t), "ds"), d)
	if err != nil {
		t.Fatal(err)
	}
	s.Add(m)
	for _, of := range []string{"uuid=11111111-2222-4333-8444-555555555555", "version=10", "private=true", "diskreserve=1 MB"} {
		name, value, _ := strings.Cut(of, "=")
		gittest.Run(t, m.Dir, "git", "config", "annex."+name, value)
	}
	p := Program{Dir: m.Dir, Allow: []string{"127.0.0.1"}, Tmp: filepath.Join(m.Dir, "annex", "misctmp")}
	c := New(p, timeout, func() {}, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { c.Close() })
	return c, s, m.Files
}

// get has git-annex bring a file's content, checks it and takes it away.
func get(t testing.TB, parent context.Context, c *Child, f *maker.MadeFile) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(parent, 2*time.Minute)
	defer cancel()
	object := filepath.Join(c.Dir, "annex", "objects", f.Key.ObjectPath())
	if _, err := os.Lstat(object); err != nil { // who gave it up may have been too late
		if err := c.Get(ctx, f.Key, func(int64) {}); err != nil {
			if ctx.Err() != nil && parent.Err() == nil {
				t.Error("it hangs")
			}
			return err
		}
	}
	got, err := os.ReadFile(object)
	want, _ := maker.Bytes(f.Content)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("what came is wrong: %d bytes, %v", len(got), err)
	}
	if err := errors.Join(os.Chmod(filepath.Dir(object), 0o700), os.Remove(object)); err != nil {
		t.Error(err)
	}
	return nil
}

// leavesNothing ends git-annex and checks that it left nothing half-made.
func leavesNothing(t *testing.T, c *Child) {
	t.Helper()
	c.Close()
	for _, name := range []string{"tmp", "othertmp"} {
		left, err := os.ReadDir(filepath.Join(c.Dir, "annex", name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if len(left) > 0 {
			t.Errorf("left behind in %s: %v", name, left)
		}
	}
}

// The reader that came first may leave while git-annex is set up: it is set up
// for all.
func TestGitAnnexIsSetUpWithoutItsFirstReader(t *testing.T) {
	gittest.EachAnnex(t, func(t *testing.T) {
		c, _, files := begin(t, maker.Export, 1, 1000, 20*time.Second)
		for _, wait := range []time.Duration{0, time.Millisecond, 30 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			start := time.Now()
			if err := get(t, ctx, c, &files[0]); err == nil {
				t.Log("it was faster")
			} else if d := time.Since(start); d > 5*time.Second {
				t.Errorf("an interrupted reader waits for %v", d)
			}
			cancel()
		}
		if err := get(t, t.Context(), c, &files[0]); err != nil {
			t.Error(err)
		}
	})
}

// A git-annex that says nothing about a key is ended, as an outage. Nothing of
// it stays, and later the key can be had.
func TestSilentGitAnnexIsEnded(t *testing.T) {
	gittest.EachAnnex(t, func(t *testing.T) {
		c, server, files := begin(t, maker.Web, 2, 100_000, 300*time.Millisecond)
		server.SetFault(publisher.Always(publisher.Stall(5000)))
		sourcetest.WantClass(t, get(t, t.Context(), c, &files[0]), true, "silent")
		server.SetFault(nil)
		for i := range files {
			if err := get(t, t.Context(), c, &files[i]); err != nil {
				t.Errorf("it does not heal: %v", err)
			}
		}
		leavesNothing(t, c)
	})
}

// One key that is given up, by its reader or for its silence, costs the others
// nothing but time.
func TestKeysGivenUpDoNotFailOthers(t *testing.T) {
	gittest.EachAnnex(t, func(t *testing.T) {
		c, server, files := begin(t, maker.Web, 3, 100_000, time.Second)
		server.SetFault(func(r publisher.Request) publisher.Fault {
			if strings.Contains(r.Path, "sub-01") {
				return publisher.Stall(100)
			}
			return publisher.Slow(60_000)
		})
		var all sync.WaitGroup
		for i := range files {
			all.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if i == 0 {
					time.AfterFunc(1500*time.Millisecond, cancel)
				}
				err := get(t, ctx, c, &files[i])
				if i == 0 && !errors.Is(err, context.Canceled) || i > 0 && err != nil {
					t.Errorf("key %d: %v", i, err)
				}
			})
		}
		all.Wait()
		leavesNothing(t, c)
	})
}

// What fails leaves nothing, also while git-annex stays.
func TestFailedKeysLeaveNothing(t *testing.T) {
	gittest.EachAnnex(t, func(t *testing.T) {
		c, server, files := begin(t, maker.Web, 1, 100_000, 20*time.Second)
		server.SetFault(publisher.Always(publisher.Drop(5000)))
		if err := get(t, t.Context(), c, &files[0]); err == nil {
			t.Error("no error")
		}
		leavesNothing(t, c)
	})
}

// A key may be given up just when git-annex ends by itself: what it has of it goes all
// the same.
func TestKeyGivenUpAsGitAnnexEnds(t *testing.T) {
	key, err := annex.ParseKey("MD5E-s5--5d41402abc4b2a76b9719d911017c592.nii")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 40 {
		dir := t.TempDir()
		tmp := filepath.Join(dir, "annex", "tmp", key.FileName())
		if err := errors.Join(os.MkdirAll(filepath.Dir(tmp), 0o700), os.WriteFile(tmp, []byte("he"), 0o600)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/bin/true")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		r, err := startRun(dir, cmd)
		if err != nil {
			t.Fatal(err)
		}
		if n%2 == 0 {
			<-r.ended
		}
		r.abandon(key)
		<-r.ended
		if _, err := os.Lstat(tmp); err == nil {
			t.Fatalf("try %d: what git-annex had of the key is left", n)
		}
	}
}

// More than the whole, put aside by an earlier try, would make git-annex ask for
// the rest of it for ever.
func TestTooMuchPutAsideIsInNobodysWay(t *testing.T) {
	gittest.EachAnnex(t, func(t *testing.T) {
		c, _, files := begin(t, maker.Web, 1, 20_000, 20*time.Second)
		tmp := filepath.Join(c.Dir, "annex", "tmp", files[0].Key.FileName())
		if err := errors.Join(os.MkdirAll(filepath.Dir(tmp), 0o700), os.WriteFile(tmp, make([]byte, 30_000), 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := get(t, t.Context(), c, &files[0]); err != nil {
			t.Error(err)
		}
	})
}

// What git-annex says of the network is an outage, that a place has not got it
// is final.
func TestFailuresOfServersHaveAClass(t *testing.T) {
	gittest.EachAnnex(t, func(t *testing.T) {
		c, server, files := begin(t, maker.Web, 1, 1000, 20*time.Second)
		for _, f := range []struct {
			fault  publisher.Fault
			outage bool
		}{{publisher.Status(404, 0), false}, {publisher.Status(503, 0), true}, {publisher.Flip(10), false}} {
			server.SetFault(publisher.Always(f.fault))
			sourcetest.WantClass(t, get(t, t.Context(), c, &files[0]), f.outage, "")
		}
		server.Close()
		sourcetest.WantClass(t, get(t, t.Context(), c, &files[0]), true, "")
	})
}

// A git-annex that ends, or speaks nonsense without end, is an error.
func TestBrokenGitAnnex(t *testing.T) {
	gittest.NeedGit(t)
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
			c, _, files := begin(t, maker.Web, 1, 1000, 100*time.Millisecond)
			sourcetest.WantClass(t, get(t, t.Context(), c, &files[0]), name != "nonsense", "")
		})
	}
}
