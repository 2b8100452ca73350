package main_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// gate holds back all replies of a server until it is opened.
func gate(t testing.TB, server *publisher.Server) (open func()) {
	shut := make(chan struct{})
	open = sync.OnceFunc(func() { close(shut) })
	server.SetFault(func(publisher.Request) publisher.Fault {
		<-shut
		return nil
	})
	t.Cleanup(open)
	return open
}

// within fails when something takes too long: it waits for what it must not
// wait for.
func within(t testing.TB, d time.Duration, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(d):
		t.Errorf("%s waits", what)
	}
}

// A thousand readers of as many files that are not here take few connections,
// processes and little memory, and nothing but they waits.
func TestAThousandFilesAtOnce(t *testing.T) {
	for fetcher, n := range map[string]int{"native": 1000, "annex": 100} {
		t.Run(fetcher, func(t *testing.T) {
			u := newUser(t)
			server, m := serve(t, u, files("thousand", n, 8000))
			want := contents(t, m)
			mnt := u.path("mnt")
			u.must("mount", "--fetcher", fetcher, "--dataset", m.Dir, mnt)
			u.waitForBranch()
			open := gate(t, server)
			type read struct {
				name string
				data []byte
				err  error
			}
			results := make(chan read)
			for _, i := range annexedFiles(m) {
				go func() {
					name := m.Files[i].Path
					data, err := os.ReadFile(filepath.Join(mnt, name))
					results <- read{name, data, err}
				}()
			}
			eventually(t, "readers to wait", func() bool { return server.Counts().Requests > 0 && len(u.status().Store.Transfers) > 0 })
			within(t, time.Minute, "looking and opening", func() { u.lookAtAll(m, mnt) })
			within(t, time.Minute, "a command", func() { u.must("list", "--dataset", m.Dir, "--count") })
			// How many threads wait for the disk at once is a matter of the machine's
			// load; those that wait for the network are none.
			if p := u.processOf(u.daemon()); p.threads > 500 || p.peak > 256<<20 || p.children > 16 {
				t.Errorf("the daemon: %+v", p)
			}
			open()
			for range n {
				r := <-results
				if r.err != nil || !bytes.Equal(r.data, want[r.name]) {
					t.Errorf("%s: %d bytes, %v", r.name, len(r.data), r.err)
				}
			}
			if c := server.Counts(); c.Concurrent > 16 || c.Connections > 32 {
				t.Errorf("the server saw %+v", c)
			}
			u.must("unmount", "--clean", mnt)
		})
	}
}

// lookAtAll looks at all names and sizes of a mount, and opens the files.
func (u *user) lookAtAll(m *maker.Made, mnt string) {
	seen := 0
	err := filepath.WalkDir(mnt, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, _ := filepath.Rel(mnt, path)
		st, err := os.Stat(path)
		if err != nil {
			return err
		}
		if f := m.Find(name); f != nil && f.Annexed {
			if st.Size() != f.Content.Size() {
				return fmt.Errorf("%s has %d bytes, not %d", name, st.Size(), f.Content.Size())
			}
			seen++
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return f.Close()
	})
	if err != nil || seen == 0 {
		u.t.Errorf("%d annexed files seen, %v", seen, err)
	}
}

// process is what a process takes.
type process struct {
	threads, children int
	peak              int64 // bytes of memory
}

func (u *user) processOf(pid int) (p process) {
	u.t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		u.t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), ":")
		number, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch name {
		case "Threads":
			p.threads = number
		case "VmHWM":
			p.peak = int64(number) << 10
		}
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		list, _ := os.ReadFile(t)
		p.children += len(strings.Fields(string(list)))
	}
	return p
}

// A mount in use is not taken away, and who uses it is named. In force it goes at
// once: who waits for content gets an error, nobody wrong bytes, and the cache is
// clean when they have gone.
func TestUnmountUnderReaders(t *testing.T) {
	u := newUser(t)
	server, m := serve(t, u, files("busy", 3, 300_000))
	want := contents(t, m)
	mnt := u.path("mnt")
	at := annexedFiles(m)
	here, away := m.Files[at[0]].Path, m.Files[at[1]].Path
	u.must("mount", "--dataset", m.Dir, "--no-readahead", mnt)
	if _, err := os.ReadFile(filepath.Join(mnt, here)); err != nil {
		t.Fatal(err)
	}
	gate(t, server)
	held, err := os.Open(filepath.Join(mnt, here))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	cat := exec.Command("cat", filepath.Join(mnt, away))
	var got, said bytes.Buffer
	cat.Stdout, cat.Stderr = &got, &said
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "cat to wait", func() bool { return len(u.status().Store.Transfers) > 0 })
	u.fails(6, []string{"in use by", fmt.Sprintf("cat (process %d)", cat.Process.Pid), "--force"}, "unmount", mnt)
	within(t, time.Minute, "unmount --force", func() { u.must("unmount", "--force", "--clean", mnt) })
	if entries, err := os.ReadDir(mnt); err == nil && len(entries) > 0 {
		t.Errorf("%d entries are left", len(entries))
	}
	within(t, time.Minute, "the reader", func() {
		if err := cat.Wait(); err == nil || got.Len() > 0 {
			t.Errorf("it read %d bytes, and ended with %v: %s", got.Len(), err, said.String())
		}
	})
	data := make([]byte, len(want[here]))
	if n, err := held.ReadAt(data, 0); err == nil && !bytes.Equal(data[:n], want[here]) {
		t.Error("who had it open reads wrong bytes")
	}
	held.Close()
	eventually(t, "the daemon to end", func() bool { return u.daemon() == 0 })
	u.must("clean", "--all")
	if _, err := os.Stat(u.cache); !os.IsNotExist(err) {
		t.Errorf("the cache is still there: %v", err)
	}
}

// What would have to wait for itself is refused.
func TestWhatWouldWaitForItself(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, files("itself", 3, 9000))
	mnt := u.path("mnt")
	u.must("mount", "--dataset", m.Dir, mnt)
	inside := filepath.Join(mnt, "sub-00", "cache")
	within(t, time.Minute, "a cache in its own mount", func() {
		u.fails(1, []string{"cannot", inside}, "mount", "--cache", inside, "--dataset", m.Dir, u.path("other"))
	})
	within(t, time.Minute, "a home in a mount", func() {
		cmd := u.command(t.Context(), "mount", "--dataset", m.Dir, u.path("other"))
		cmd.Env = append(cmd.Env, "UNIHARMONYFS_CACHE=", "HOME="+mnt)
		if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("cannot")) {
			t.Errorf("%v: %s", err, out)
		}
	})
	within(t, time.Minute, "a dataset in a mount", func() {
		u.fails(4, []string{mnt}, "mount", "--dataset", mnt, u.path("other"))
	})
	within(t, time.Minute, "a download into a mount", func() {
		u.fails(2, []string{"inside a mount"}, "get", "--dataset", m.Dir, filepath.Join(mnt, "target"))
	})
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", u.daemon())); err != nil || strings.HasPrefix(cwd, mnt) {
		t.Errorf("the daemon works in %s, %v", cwd, err)
	}
	u.must("unmount", mnt)
	// From within the target: neither command nor daemon hold it.
	if err := os.MkdirAll(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := u.command(t.Context(), "mount", "--dataset", m.Dir, ".")
	cmd.Dir = mnt
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	u.must("unmount", "--clean", mnt)
}
