package main_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// large makes a dataset of n annexed files of size bytes each.
func large(name string, n int, size int64) maker.Dataset {
	d := files(name, n, 0)
	for i := range d.Files {
		if d.Files[i].Annexed {
			d.Files[i].Size = size
		}
	}
	return d
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 600 {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("it never came true that %s", what)
}

// Headers of many files cost little of them, also after a kill.
func TestHeadersMoveKilobytes(t *testing.T) {
	u := newUser(t)
	const n, size = 40, 3600 << 10
	server, m := serve(t, u, large("headers", n, size))
	want := contents(t, m)
	scan := func() {
		t.Helper()
		for name, data := range want {
			f, err := os.Open(filepath.Join(u.path("mnt"), name))
			if err != nil {
				t.Fatal(err)
			}
			head := make([]byte, min(352, len(data)))
			if _, err := io.ReadFull(f, head); err != nil || !bytes.Equal(head, data[:len(head)]) {
				t.Errorf("%s: %v", name, err)
			}
			f.Close()
		}
	}
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	scan()
	eventually(t, "all is closed", func() bool { return u.status().Store.Reserved == 0 })
	sent := server.Counts().Bytes
	if most := int64(n * size * 3 / 100); sent > most {
		t.Errorf("%d bytes were sent, more than %d", sent, most)
	}
	if err := syscall.Kill(u.daemon(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	u.must("unmount", u.path("mnt"))
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	scan()
	if again := server.Counts().Bytes; again != sent {
		t.Errorf("%d bytes were sent again after a kill", again-sent)
	}
}

// Tools of every kind read a large file while it is on its way.
func TestReadersOfAFileOnItsWay(t *testing.T) {
	u := newUser(t)
	const size = 24<<20 + 12345
	server, m := serve(t, u, large("coming", 6, size))
	server.SetFault(publisher.Always(publisher.Slow(24 << 20)))
	want := contents(t, m)
	var names []string
	for name, data := range want {
		if len(data) == size {
			names = append(names, name)
		}
	}
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))

	t.Run("offsets", func(t *testing.T) {
		var all sync.WaitGroup
		for k := range 16 {
			all.Go(func() {
				f, err := os.Open(filepath.Join(u.path("mnt"), names[0]))
				if err != nil {
					t.Error(err)
					return
				}
				defer f.Close()
				from, to := int64(k)*size/16, int64(k+1)*size/16
				got, err := io.ReadAll(io.NewSectionReader(f, from, to-from))
				if err != nil || !bytes.Equal(got, want[names[0]][from:to]) {
					t.Errorf("reader %d: %d bytes, %v", k, len(got), err)
				}
			})
		}
		all.Wait()
	})
	t.Run("mmap", func(t *testing.T) {
		var pieces [][2]int
		var whole []byte
		for range 20 { // in no order
			at := rand.IntN(size - 100)
			pieces = append(pieces, [2]int{at, 100})
			whole = append(whole, want[names[1]][at:at+100]...)
		}
		got, err := mapping(filepath.Join(u.path("mnt"), names[1]), append(pieces, [2]int{0, size})...)
		if err != nil || !bytes.Equal(got, append(whole, want[names[1]]...)) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("O_DIRECT", func(t *testing.T) {
		f, err := os.OpenFile(filepath.Join(u.path("mnt"), names[2]), os.O_RDONLY|syscall.O_DIRECT, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, want[names[2]]) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("sendfile", func(t *testing.T) {
		f, err := os.Open(filepath.Join(u.path("mnt"), names[3]))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		to, err := os.Create(u.path("sent"))
		if err != nil {
			t.Fatal(err)
		}
		defer to.Close()
		for sent := 0; sent < size; {
			n, err := syscall.Sendfile(int(to.Fd()), int(f.Fd()), nil, size-sent)
			if err != nil || n == 0 {
				t.Fatalf("after %d bytes: %d, %v", sent, n, err)
			}
			sent += n
		}
		if got, err := os.ReadFile(u.path("sent")); err != nil || !bytes.Equal(got, want[names[3]]) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("cp and cmp", func(t *testing.T) {
		from := filepath.Join(u.path("mnt"), names[4])
		if out, err := exec.Command("cp", from, u.path("copied")).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if out, err := exec.Command("cmp", from, u.path("copied")).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got, err := os.ReadFile(u.path("copied")); err != nil || !bytes.Equal(got, want[names[4]]) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("first bytes before the last", func(t *testing.T) {
		// In a cache of its own: in the other, the file may have come ahead.
		u := newUser(t)
		u.must("mount", "--dataset", m.Dir, u.path("mnt"))
		server.SetFault(publisher.Always(publisher.Slow(1 << 20)))
		f, err := os.Open(filepath.Join(u.path("mnt"), names[5]))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		got := make([]byte, 1<<20)
		if _, err := io.ReadFull(f, got); err != nil || !bytes.Equal(got, want[names[5]][:1<<20]) {
			t.Error(err)
		}
		if out := u.must("list", "--dataset", m.Dir, "--cached"); strings.Contains(out, names[5]) {
			t.Error("complete already: nothing was shown")
		}
	})
}

// Wrong bytes that were served before they were found out do not stay in the
// kernel's cache.
func TestWrongBytesLeaveThePageCache(t *testing.T) {
	u := newUser(t)
	const size = 3 << 20
	server, m := serve(t, u, large("liar", 1, size))
	server.SetFault(publisher.Always(publisher.Flip(100)))
	u.must("mount", "--dataset", m.Dir, "--fetcher", "native", u.path("mnt"))
	var name string
	want := contents(t, m)
	for n, data := range want {
		if len(data) == size {
			name = n
		}
	}
	path := filepath.Join(u.path("mnt"), name)
	holder, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	head := make([]byte, 4096)
	if _, err := holder.ReadAt(head, 0); err != nil || bytes.Equal(head, want[name][:4096]) {
		t.Fatalf("the fault does not show: %v", err)
	}
	if got, err := os.ReadFile(path); err == nil {
		t.Fatalf("%d wrong bytes were read to the end", len(got))
	}
	if _, err := holder.ReadAt(head, 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("who has read wrong bytes goes on: %v", err)
	}
	server.SetFault(nil)
	eventually(t, "the file can be read", func() bool {
		got, err := os.ReadFile(path)
		if err == nil && !bytes.Equal(got, want[name]) {
			t.Fatal("wrong bytes")
		}
		return err == nil
	})
}

// Files come and go under readers, so that the kernel reads now by itself and
// now through the daemon: nobody notices.
func TestModeFlips(t *testing.T) {
	opens := 4000
	if os.Getenv("UNIHARMONYFS_TEST_ALL") != "" {
		opens = 100_000
	}
	u := newUser(t)
	_, m := serve(t, u, files("flips", 6, 20_000))
	want := contents(t, m)
	var names []string
	for name := range want {
		names = append(names, name)
	}
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	stop := make(chan struct{})
	var evictor, all sync.WaitGroup
	evictor.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				u.must("evict", u.path("mnt"))
			}
		}
	})
	const threads = 8
	for k := range threads {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(k), 1))
			buf := make([]byte, 100)
			for range opens / threads {
				name := names[rnd.IntN(len(names))]
				data := want[name]
				f, err := os.Open(filepath.Join(u.path("mnt"), name))
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				at := rnd.IntN(len(data))
				n, err := f.ReadAt(buf, int64(at))
				if err != nil && err != io.EOF || !bytes.Equal(buf[:n], data[at:min(at+len(buf), len(data))]) {
					t.Errorf("%s: %d bytes at %d, %v", name, n, at, err)
				}
				f.Close()
			}
		})
	}
	all.Wait()
	close(stop)
	evictor.Wait()
}

// What is likely to be read next comes by itself, and only when that is wished.
func TestReadAheadOverFiles(t *testing.T) {
	u := newUser(t)
	const size = 3 << 20
	server, m := serve(t, u, large("siblings", 12, size))
	var names []string
	for _, f := range m.Files {
		if f.Annexed {
			names = append(names, filepath.Join(u.path("mnt"), f.Path))
		}
	}
	look := func(name string) {
		t.Helper()
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := io.ReadFull(f, make([]byte, 352)); err != nil {
			t.Error(err)
		}
	}
	u.must("mount", "--no-readahead", "--dataset", m.Dir, u.path("mnt"))
	for _, name := range names[:3] {
		look(name)
	}
	if n := server.Counts().Requests; n != 3 {
		t.Errorf("three looks were %d requests", n)
	}
	u.must("unmount", "--clean", u.path("mnt"))

	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	partials := func(n int) func() bool {
		return func() bool { s := u.status().Store; return s.Partials == n && s.Objects == 0 && s.Reserved == 0 }
	}
	look(names[0])
	eventually(t, "the next header is here", partials(2))
	look(names[1])
	look(names[2])
	eventually(t, "more of them are", partials(7))
	if n := server.Counts().Bytes; n > 12*256<<10 {
		t.Errorf("%d bytes were fetched for headers", n)
	}
	for _, name := range names[3:5] {
		if _, err := os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the files after two whole ones are here", func() bool { return u.status().Store.Objects >= 6 })
	u.must("unmount", "--clean", u.path("mnt"))
}

func TestMountPrefetch(t *testing.T) {
	u := newUser(t)
	server, m := serve(t, u, files("ahead", 30, 100_000))
	u.must("mount", "--prefetch", "--dataset", m.Dir, u.path("mnt"))
	eventually(t, "all is cached", func() bool { return u.status().Store.Objects == 30 })
	before := server.Counts().Bytes
	readers(t, u.path("mnt"), contents(t, m), 4)()
	if n := server.Counts().Bytes - before; n != 0 {
		t.Errorf("%d bytes were sent again", n)
	}
	u.must("unmount", "--clean", u.path("mnt"))
	// More than the budget: as much as it holds, and a word about the rest.
	r := u.run("mount", "--prefetch", "--budget", "1MiB", "--dataset", m.Dir, u.path("mnt"))
	if r.code != 0 || !strings.Contains(r.errout, "only the first") {
		t.Errorf("nothing is said of the budget: %+v", r)
	}
	u.must("unmount", "--clean", u.path("mnt"))
	for _, bad := range []string{"never", ""} {
		u.fails(2, []string{"auto", "strict"}, "mount", "--verify="+bad, "--dataset", m.Dir, u.path("mnt"))
	}
}
