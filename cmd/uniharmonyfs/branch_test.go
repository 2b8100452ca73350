package main_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/gittest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// waitForBranch waits until the hidden clones have their git-annex branches.
func (u *user) waitForBranch() {
	u.t.Helper()
	for range 1000 {
		manifests, _ := filepath.Glob(filepath.Join(u.cache, "datasets", "*", "uniharmonyfs.json"))
		behind := len(manifests) == 0
		for _, path := range manifests {
			raw, err := os.ReadFile(path)
			behind = behind || err != nil || bytes.Contains(raw, []byte(`"behind"`))
		}
		if !behind {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	u.t.Fatal("the git-annex branch does not come")
}

// branchGate makes a server answer git's second visit, which is for the
// git-annex branch, and those after it as answer says.
func branchGate(s *publisher.Server, answer func() publisher.Fault) (visits *atomic.Int64) {
	visits = new(atomic.Int64)
	s.SetGitFault(func(r publisher.Request) publisher.Fault {
		if r.Method == "GET" && visits.Add(1) > 1 {
			return answer()
		}
		return nil
	})
	return visits
}

func TestFilesAreShownBeforeTheBranchIsThere(t *testing.T) {
	u := newUser(t)
	s, m := serve(t, u, files("late", 5, 5000))
	want := contents(t, m)
	open := make(chan struct{})
	visits := branchGate(s, func() publisher.Fault { <-open; return nil })
	mnt := u.path("mnt")
	u.must("mount", "--dataset", s.GitURL(m), mnt)
	if seen := walk(t, mnt); len(seen) != len(want) {
		t.Errorf("%d files are shown, want %d", len(seen), len(want))
	}
	image := m.Files[len(m.Files)-1].Path
	type result struct {
		data []byte
		err  error
	}
	read := make(chan result)
	go func() {
		data, err := os.ReadFile(filepath.Join(mnt, image))
		read <- result{data, err}
	}()
	select {
	case r := <-read:
		t.Fatalf("read %d bytes before it was known where they are: %v", len(r.data), r.err)
	case <-time.After(200 * time.Millisecond):
	}
	close(open)
	if r := <-read; r.err != nil || !bytes.Equal(r.data, want[image]) {
		t.Fatalf("%d bytes, want %d: %v", len(r.data), len(want[image]), r.err)
	}
	u.must("unmount", mnt)
	u.must("mount", "--dataset", s.GitURL(m), mnt)
	if n := visits.Load(); n > 7 {
		// The clone; the branch's beginning; where the file is, and where those
		// of the view are: two visits each.
		t.Errorf("git came %d times, want at most 7", n)
	}
}

func TestBranchThatCannotBeHad(t *testing.T) {
	u := newUser(t)
	s, m := serve(t, u, files("never", 5, 5000))
	want := contents(t, m)
	branchGate(s, func() publisher.Fault { return publisher.Status(503, 0) })
	mnt, image := u.path("mnt"), m.Files[len(m.Files)-1].Path
	u.must("mount", "--patience", "1s", "--dataset", s.GitURL(m), mnt)
	if data, err := os.ReadFile(filepath.Join(mnt, image)); !errors.Is(err, syscall.EIO) {
		t.Fatalf("read %d bytes: %v", len(data), err)
	}
	if e := u.status().Store.Errors; len(e) == 0 || !strings.Contains(e[0].Text, "where the content of") {
		t.Errorf("the reason is not told: %v", e)
	}
	u.fails(7, []string{"where the content of"}, "get", "--dataset", s.GitURL(m), "--timeout", "2s", u.path("got"))
	// A download outlasts it.
	mended := time.AfterFunc(time.Second, func() { s.SetGitFault(nil) })
	defer mended.Stop()
	u.must("get", "--dataset", s.GitURL(m), u.path("got"))
	u.must("evict", "--dataset", s.GitURL(m), "--sub", "00")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		data, err := os.ReadFile(filepath.Join(mnt, image))
		if err == nil && bytes.Equal(data, want[image]) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("with the server mended: %d bytes, %v", len(data), err)
		}
	}
}

func TestCleanWhileTheBranchComes(t *testing.T) {
	u := newUser(t)
	s, m := serve(t, u, files("stuck", 5, 5000))
	stop := make(chan struct{})
	defer close(stop)
	branchGate(s, func() publisher.Fault { <-stop; return nil })
	mnt := u.path("mnt")
	u.must("mount", "--dataset", s.GitURL(m), mnt)
	u.must("unmount", "--clean", mnt)
	for range 500 {
		if _, err := os.Stat(u.cache); errors.Is(err, fs.ErrNotExist) && u.daemon() == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the cache or its daemon is still there")
}

// A git that was killed leaves locks that would stop every other.
func TestKilledWhileTheBranchComes(t *testing.T) {
	u := newUser(t)
	s, m := serve(t, u, files("killed", 5, 5000))
	want := contents(t, m)
	stop := make(chan struct{})
	branchGate(s, func() publisher.Fault { <-stop; return nil })
	mnt, image := u.path("mnt"), m.Files[len(m.Files)-1].Path
	u.must("mount", "--dataset", s.GitURL(m), mnt)
	clone := u.status().Mounts[0].Clone
	syscall.Kill(u.daemon(), syscall.SIGKILL)
	close(stop)
	for _, name := range []string{"shallow.lock", "refs/heads/git-annex.lock", "objects/pack/tmp_pack_x"} {
		path := filepath.Join(clone, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	u.must("unmount", "--force", mnt)
	u.must("mount", "--dataset", s.GitURL(m), mnt)
	if data, err := os.ReadFile(filepath.Join(mnt, image)); err != nil || !bytes.Equal(data, want[image]) {
		t.Errorf("%d bytes, want %d: %v", len(data), len(want[image]), err)
	}
	if left, _ := filepath.Glob(filepath.Join(clone, "objects", "pack", "tmp_*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A server that says nothing more holds no reader for ever.
func TestBranchThatNeverEnds(t *testing.T) {
	u := newUser(t)
	u.env = append(u.env, "GIT_HTTP_LOW_SPEED_LIMIT=1", "GIT_HTTP_LOW_SPEED_TIME=1")
	s, m := serve(t, u, files("silent", 5, 5000))
	stop := make(chan struct{})
	defer close(stop)
	branchGate(s, func() publisher.Fault { <-stop; return nil })
	mnt := u.path("mnt")
	u.must("mount", "--patience", "1s", "--dataset", s.GitURL(m), mnt)
	if data, err := os.ReadFile(filepath.Join(mnt, m.Files[len(m.Files)-1].Path)); !errors.Is(err, syscall.EIO) {
		t.Errorf("read %d bytes: %v", len(data), err)
	}
}

// Of the git-annex branch only what is read comes. It is there when git's server is
// gone, and what is cached needs nothing of it.
func TestPartOfTheBranchIsEnough(t *testing.T) {
	u := newUser(t)
	s, m := serve(t, u, files("part", 1200, 50))
	want, mnt := contents(t, m), u.path("mnt")
	u.must("mount", "--no-readahead", "--dataset", s.GitURL(m), mnt)
	read := func(i int) {
		t.Helper()
		image := m.Files[i].Path
		if data, err := os.ReadFile(filepath.Join(mnt, image)); err != nil || !bytes.Equal(data, want[image]) {
			t.Errorf("%s: %d bytes, want %d: %v", image, len(data), len(want[image]), err)
		}
	}
	read(10)
	read(11)
	clone := u.status().Mounts[0].Clone
	if missing := strings.Count(git(t, "--git-dir", clone, "-c", "protocol.allow=never", "rev-list", "--objects", "--quiet", "--missing=print", "git-annex"), "?"); missing < 500 {
		t.Errorf("of the branch only %d objects are not there", missing)
	}
	s.SetGitFault(func(publisher.Request) publisher.Fault { return publisher.Status(503, 0) })
	read(12) // where it is came along
	u.must("unmount", mnt)
	u.must("mount", "--offline", "--dataset", s.GitURL(m), mnt)
	read(10)
	read(11)
	u.must("unmount", mnt)
	u.must("mount", "--patience", "1s", "--dataset", s.GitURL(m), mnt)
	last := filepath.Join(mnt, filepath.FromSlash(m.Files[len(m.Files)-1].Path))
	if data, err := os.ReadFile(last); !errors.Is(err, syscall.EIO) {
		t.Errorf("where it is cannot be known, and %d bytes are read: %v", len(data), err)
	}
	s.SetGitFault(nil)
	u.must("prefetch", mnt)
	s.Close() // nothing more is needed
	for i := range m.Files {
		if m.Files[i].Annexed {
			read(i)
		}
	}
}

// The first mount of a real dataset takes less than 40 % of what its list of files
// and its git-annex branch have.
func TestFirstMountOfARealDatasetIsSmall(t *testing.T) {
	repository := t.TempDir()
	git(t, "clone", "-q", "--bare", "-b", "main", gittest.Dataset(t, "ds004712.bundle"), repository)
	sent := func(filter string) int64 {
		s, err := publisher.New(publisher.Options{GitConfig: []string{"uploadpack.allowFilter=" + filter}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		made := &maker.Made{Dataset: maker.Dataset{Name: "ds"}, Dir: repository, GitDir: repository}
		s.Add(made)
		var bytes atomic.Int64
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.ServeHTTP(countingWriter{w, &bytes}, r)
		}))
		defer front.Close()
		u := newUser(t)
		mnt := u.path("mnt")
		u.must("mount", "--sub", "03286", "--suffix", "T1w", "--dataset", front.URL+strings.TrimPrefix(s.GitURL(made), s.URL), mnt)
		u.waitForBranch()
		u.must("unmount", "--clean", mnt) // waits for what is on its way
		return bytes.Load()
	}
	whole, part := sent("false"), sent("true")
	if whole < 10<<20 || part > whole*4/10 {
		t.Errorf("%d bytes of git, and %d from a server that leaves out what is not wanted", whole, part)
	}
}

type countingWriter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c countingWriter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return c.ResponseWriter.Write(b)
}
