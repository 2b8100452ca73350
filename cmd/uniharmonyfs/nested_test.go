package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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

	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// nested is three datasets within each other: top has mid, and leaf twice, mid has leaf.
type nested struct {
	top, mid, leaf *maker.Made
	parts          map[string]*maker.Made // by path in top, which itself is at ""
}

// nest makes three datasets within each other, each of n annexed files with content of
// their own, and has a server serve them.
func nest(t testing.TB, u *user, s *publisher.Server, remotes []maker.Remote, n int, size int64) nested {
	t.Helper()
	add := func(name string, below map[string]*maker.Made) *maker.Made {
		d := files(name, n, size)
		for i := range d.Files {
			d.Files[i].Seed += uint64(len(name)) << 32
		}
		var modules strings.Builder
		for path, m := range below {
			fmt.Fprintf(&modules, "[submodule %q]\n\tpath = %s\n\turl = ../%s.git\n", path, path, m.Dataset.Name)
			d.Files = append(d.Files, maker.File{Path: path, Commit: m.Commit()})
		}
		if len(below) > 0 {
			d.Files = append(d.Files, maker.File{Path: ".gitmodules", Data: []byte(modules.String())})
		}
		d.Remotes = remotes
		m, err := maker.Make(u.path(name), d)
		if err != nil {
			t.Fatal(err)
		}
		s.Add(m)
		return m
	}
	leaf := add("leaf", nil)
	mid := add("middle", map[string]*maker.Made{"deep/leaf": leaf})
	top := add("topmost", map[string]*maker.Made{"mid": mid, "leaf": leaf, "again/leaf": leaf})
	return nested{top, mid, leaf, map[string]*maker.Made{"": top, "mid": mid, "leaf": leaf, "again/leaf": leaf, "mid/deep/leaf": leaf}}
}

// want is the content of all files by their paths in top.
func (n nested) want(t testing.TB) map[string][]byte {
	t.Helper()
	want := make(map[string][]byte)
	for at, m := range n.parts {
		for path, data := range contents(t, m) {
			if m.Find(path).Commit == "" {
				want[filepath.Join(at, path)] = data
			}
		}
	}
	return want
}

// image is the path in top of the i-th annexed file of a part.
func (n nested) image(at string, i int) string {
	m := n.parts[at]
	return filepath.Join(at, m.Files[annexedFiles(m)[i]].Path)
}

// asked counts what a server is asked by git, and for content.
func asked(s *publisher.Server) (sinceThen func() int) {
	var git atomic.Int64
	s.SetGitFault(func(publisher.Request) publisher.Fault { git.Add(1); return nil })
	s.ResetCounts()
	return func() int { return int(git.Load()) + s.Counts().Requests }
}

// numbers are those of all that is below a directory, by path.
func numbers(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	all := make(map[string]uint64)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		all[rel] = info.Sys().(*syscall.Stat_t).Ino
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// killed ends the user's daemon as a power cut would.
func (u *user) killed() {
	u.t.Helper()
	pid := u.daemon()
	if pid == 0 {
		u.t.Fatal("there is no daemon")
	}
	syscall.Kill(pid, syscall.SIGKILL)
	eventually(u.t, "the daemon is dead", func() bool { return u.daemon() != pid })
}

// A daemon that is killed while subdatasets, and members of a folder of datasets, are
// read: the next mounts have the same names, numbers and bytes, and ask for nothing.
func TestNestedAfterTheDaemonWasKilled(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, top, want := tree(t, u)
	others, folder := openNeuro(t, u)
	mnt, members := u.path("mnt"), u.path("members")
	mount := func(flags ...string) {
		t.Helper()
		u.must(slices.Concat([]string{"mount", "--no-readahead", "--dataset", s.GitURL(top), mnt}, flags)...)
		u.must(slices.Concat(folder, []string{"--no-readahead", members}, flags)...)
	}
	mount()
	names := []string{"ds000001", "ds000001@1.0.0", "ds000001-fmriprep", "ds000002"}
	of := make(map[string]map[string]uint64)
	read := make(map[string]map[string][]byte)
	for _, dir := range append([]string{mnt}, inDir(members, names)...) {
		of[dir], read[dir] = numbers(t, dir), below(t, dir)
	}
	if !maps.EqualFunc(read[mnt], want, bytes.Equal) {
		t.Fatalf("found are %q", slices.Sorted(maps.Keys(read[mnt])))
	}
	for _, path := range []string{"mid/deep/leaf", "again/leaf"} {
		f, err := os.Open(filepath.Join(mnt, path, "sub-00/anat/sub-00_run-001_T1w.nii.gz"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	for _, flags := range [][]string{nil, {"--offline"}} {
		u.killed()
		ours, theirs := asked(s), asked(others)
		mount(flags...)
		for dir := range of {
			if !maps.Equal(numbers(t, dir), of[dir]) {
				t.Errorf("%q: %s has other names or numbers", flags, dir)
			}
			if !maps.EqualFunc(below(t, dir), read[dir], bytes.Equal) {
				t.Errorf("%q: %s has other bytes", flags, dir)
			}
		}
		if n := s.Counts().Requests + others.Counts().Requests; n != 0 {
			t.Errorf("%q: %d requests for content that is cached", flags, n)
		}
		// What says where content is may not all have come before.
		if n := ours() + theirs(); flags != nil && n != 0 {
			t.Errorf("%q: %d requests", flags, n)
		}
	}
	u.must("unmount", mnt)
	u.must("unmount", "--clean", members)
	if left := namesIn(u.cache); len(left) > 0 {
		t.Errorf("left in the cache: %q", left)
	}
}

// A daemon that is killed at any request that a first look into a subdataset makes: the
// next look begins anew, and all is there.
func TestFirstLookCutOffByAKill(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, unused := serve(t, u, files("unused", 1, 1000))
	n := nest(t, u, s, unused.Dataset.Remotes, 2, 20_000)
	want, mnt := n.want(t), u.path("mnt")
	maps.DeleteFunc(want, func(path string, _ []byte) bool { return !strings.HasPrefix(path, "mid/") })
	cut := 0
	for ; ; cut += 1 + cut/2 {
		u.must("mount", "--no-readahead", "--dataset", s.GitURL(n.top), mnt)
		var seen atomic.Int64
		reached, open := make(chan struct{}), make(chan struct{})
		s.SetGitFault(func(r publisher.Request) publisher.Fault {
			if strings.Contains(r.Path, "/middle.git/") && seen.Add(1) == int64(cut+1) {
				close(reached)
				<-open
			}
			return nil
		})
		ended := make(chan error, 1)
		go func() { ended <- exec.Command("cat", filepath.Join(mnt, n.image("mid", 0))).Run() }()
		var err error
		select {
		case <-reached:
			u.killed()
			err = <-ended
			if err == nil {
				t.Error("it was read of a daemon that was killed")
			}
		case err = <-ended:
			if err != nil {
				t.Errorf("it is not read: %v", err)
			}
		}
		close(open)
		s.SetGitFault(nil)
		if err == nil {
			break
		}
		u.must("mount", "--no-readahead", "--dataset", s.GitURL(n.top), mnt)
		readers(t, mnt, want, 4)()
		u.must("unmount", mnt)
		u.must("clean", "middle")
	}
	u.must("unmount", mnt)
	if cut < 2 {
		t.Errorf("only the first %d requests were cut off", cut)
	}
}

func inDir(dir string, names []string) (paths []string) {
	for _, name := range names {
		paths = append(paths, filepath.Join(dir, name))
	}
	return paths
}

// A read of a subdataset's file waits while nothing can be reached: in the middle of a
// file, and where it is not yet known where the subdataset's content is.
func TestNestedReadsWaitOutAnOutage(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, err := publisher.New(publisher.Options{GitConfig: []string{"uploadpack.allowFilter=true"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	net := newNetwork(t, s.URL)
	n := nest(t, u, s, []maker.Remote{{Name: "s3-PUBLIC", Kind: maker.Versioned, URL: "http://" + net.addr + "/openneuro.org"}}, 2, 10_000_000)
	want, mnt := n.want(t), u.path("mnt")
	u.must("mount", "--fetcher", "native", "--no-readahead", "--patience", "5m", "--dataset", "http://"+net.addr+"/git/topmost.git", mnt)
	numbers(t, mnt)
	s.SetLink(publisher.Link{Rate: 20 << 20})
	type read struct {
		path string
		data []byte
		err  error
	}
	done := make(chan read)
	begin := func(path string) {
		go func() {
			data, err := os.ReadFile(filepath.Join(mnt, path))
			done <- read{path, data, err}
		}()
	}
	begin(n.image("mid/deep/leaf", 1))
	sent(t, s, 2<<20)
	net.down()
	begin(n.image("mid", 0))
	eventually(t, "somebody is told who waits", func() bool { return strings.Contains(u.must("status"), "waits since") })
	select {
	case r := <-done:
		t.Fatalf("the reader of %s did not wait: %v", r.path, r.err)
	case <-time.After(3 * time.Second):
	}
	net.up()
	for range 2 {
		if r := <-done; r.err != nil || !bytes.Equal(r.data, want[r.path]) {
			t.Errorf("%s: %d bytes after the outage: %v", r.path, len(r.data), r.err)
		}
	}
	u.must("unmount", mnt)
}

// Many readers of all parts of a mount and of members of a folder, under a budget of a
// tenth: the bytes are right, and the budget holds.
func TestNestedUnderATenthOfTheBudget(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, unused := serve(t, u, files("unused", 1, 1000))
	n := nest(t, u, s, unused.Dataset.Remotes, 150, 12_000)
	want := n.want(t)
	total := int64(0)
	for _, m := range []*maker.Made{n.top, n.mid, n.leaf} {
		total += annexedBytes(m)
	}
	budget := total / 10
	mnt, members := u.path("mnt"), u.path("members")
	u.must("mount", "--budget", fmt.Sprint(budget), "--dataset", s.GitURL(n.top), mnt)
	u.must("mount", "--catalog", s.GitURL(n.top), members)
	all := maps.Clone(want)
	for path := range all {
		if top, _, _ := strings.Cut(path, "/"); top != "mid" && top != "leaf" {
			delete(all, path)
		}
	}
	wait, others := readers(t, mnt, want, 12), readers(t, members, all, 6)
	var most atomic.Int64
	done := make(chan struct{})
	var sampler sync.WaitGroup
	sampler.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
			}
			st := u.status().Store
			most.Store(max(most.Load(), st.Used+st.Reserved))
		}
	})
	wait()
	others()
	close(done)
	sampler.Wait()
	if most.Load() > budget || most.Load() == 0 {
		t.Errorf("up to %d bytes under a budget of %d", most.Load(), budget)
	}
	tr := &trial{user: u}
	tr.books("afterwards", false)
	for _, p := range tr.problems {
		t.Error(p)
	}
	t.Logf("%d files of %d bytes, budget %d: at most %d booked; %d requests", len(want)+len(all), total, budget, most.Load(), s.Counts().Requests)
}

// Members that cannot be had, because there is nothing, or nobody answers, leave all
// others as they are, while many programs walk over all of them.
func TestMembersThatCannotBeHad(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, unused := serve(t, u, files("unused", 1, 1000))
	super := maker.Dataset{Name: "super", Files: []maker.File{{Path: "README", Data: []byte("of many")}}}
	var modules strings.Builder
	want := make(map[string][]byte)
	for i := range 12 {
		name := fmt.Sprintf("part-%02d", i)
		d := files(name, 3, 20_000)
		for k := range d.Files {
			d.Files[k].Seed += uint64(i+1) << 32
		}
		d.Remotes = unused.Dataset.Remotes
		m, err := maker.Make(u.path(name), d)
		if err != nil {
			t.Fatal(err)
		}
		commit := m.Commit()
		switch i {
		case 3: // there is nothing
		case 7:
			s.Add(m)
			commit = strings.Repeat("7", 40) // which it has not
		default:
			s.Add(m)
		}
		super.Files = append(super.Files, maker.File{Path: name, Commit: commit})
		fmt.Fprintf(&modules, "[submodule %q]\n\tpath = %s\n\turl = ../%s.git\n", name, name, name)
		if i%4 != 3 {
			for path, data := range contents(t, m) {
				want[filepath.Join(name, path)] = data
			}
		}
	}
	super.Files = append(super.Files, maker.File{Path: ".gitmodules", Data: []byte(modules.String())})
	m, err := maker.Make(u.path("super"), super)
	if err != nil {
		t.Fatal(err)
	}
	s.Add(m)
	open := make(chan struct{})
	s.SetGitFault(func(r publisher.Request) publisher.Fault {
		if strings.Contains(r.Path, "/part-11.git/") {
			<-open
		}
		return nil
	})
	letGo := sync.OnceFunc(func() { close(open) })
	defer letGo()
	for what, mount := range map[string][]string{"folder": {"mount", "--catalog", s.GitURL(m)}, "superdataset": {"mount", "--dataset", s.GitURL(m)}} {
		mnt := u.path(what)
		u.must(append(mount, "--allow-address", "127.0.0.1", mnt)...)
		stuck := exec.Command("ls", filepath.Join(mnt, "part-11"))
		if err := stuck.Start(); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for k := range 8 {
			all.Go(func() {
				for i := range 12 {
					name := fmt.Sprintf("part-%02d", (i+k)%12)
					if name == "part-11" {
						continue
					}
					out, err := exec.Command("sh", "-c", `find "$0" -type f -exec cat {} + >/dev/null`, filepath.Join(mnt, name)).CombinedOutput()
					if gone := name == "part-03" || name == "part-07"; gone != (err != nil) {
						t.Errorf("%s: %v\n%s", name, err, out)
					}
				}
			})
		}
		all.Wait()
		readers(t, mnt, want, 4)()
		for _, name := range []string{"part-03", "part-07"} {
			if _, err := os.ReadDir(filepath.Join(mnt, name)); !errors.Is(err, syscall.EREMOTEIO) {
				t.Errorf("%s: %v", name, err)
			}
			if said := u.must("status", filepath.Join(mnt, name)); !strings.Contains(said, name+".git") {
				t.Errorf("status says\n%s", said)
			}
		}
		stuck.Process.Kill()
		stuck.Wait()
		u.must("unmount", mnt)
	}
}

// A dataset at several paths, of several mounts, is fetched once, however many read it at
// the same time.
func TestSameDatasetAtSeveralPathsIsFetchedOnce(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, unused := serve(t, u, files("unused", 1, 1000))
	n := nest(t, u, s, unused.Dataset.Remotes, 40, 20_000)
	want, mnt, members := n.want(t), u.path("mnt"), u.path("members")
	u.must("mount", "--dataset", s.GitURL(n.top), mnt)
	u.must("mount", "--catalog", s.GitURL(n.top), members)
	leaf := make(map[string][]byte)
	for path, data := range want {
		if strings.HasPrefix(path, "leaf/") {
			leaf[path] = data
		}
	}
	var all []func()
	for range 2 {
		all = append(all, readers(t, mnt, want, 8), readers(t, members, leaf, 4))
	}
	for _, wait := range all {
		wait()
	}
	for _, m := range []*maker.Made{n.top, n.mid, n.leaf} {
		for _, i := range annexedFiles(m) {
			if k := s.ObjectCounts(m.URLs(&m.Files[i])[0]).Requests; k != 1 {
				t.Errorf("%s of %s was asked for %d times", m.Files[i].Path, m.Dataset.Name, k)
			}
		}
	}
	if st := u.status().Store; st.Objects != 120 {
		t.Errorf("%d objects", st.Objects)
	}
	u.must("unmount", mnt)
	u.must("unmount", members)
}
