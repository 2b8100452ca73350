package main_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSoakWriter writes over a view for two seconds, or for as long as
// UNIHARMONYFS_TEST_LONG says, and compares all that it reads with what it wrote. What
// lies below, the dataset and the cache's objects, is the same before and after.
func TestSoakWriter(t *testing.T) {
	number := seed(t)
	asBoth(t, func(t *testing.T, u *user) {
		s, made := serve(t, u, files("one", 40, 60_000))
		dataset := s.GitURL(made)
		d := 2 * time.Second
		if long() {
			d = longTime(t) / 2
		}
		objects := filepath.Join(u.cache, "objects")
		u.must("prefetch", "--dataset", dataset)
		before := hashes(t, objects, made.Dir)
		if len(before) < 40 {
			t.Fatalf("%d objects", len(before))
		}
		dir := u.path("written")
		self := u.path("writer") // an ordinary user cannot look into where tests are built
		program, err := os.ReadFile("/proc/self/exe")
		if err == nil {
			err = os.WriteFile(self, program, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		plain := u.env
		on := func(d time.Duration) string {
			ctx, cancel := context.WithTimeout(context.Background(), d+5*time.Minute)
			defer cancel()
			u.env = append(slices.Clone(plain), fmt.Sprintf("UNIHARMONYFS_TEST_WRITER=%d %s", number, d))
			out, err := u.command(ctx, "exec", "--dataset", dataset, "--writable", dir, "--", self).CombinedOutput()
			u.env = plain
			if err != nil {
				t.Fatalf("%v\n%s", err, tail(out, 3000))
			}
			return strings.TrimSpace(string(out))
		}
		wrote := on(d)
		t.Log(wrote)
		hash, _, _ := strings.Cut(wrote, ",")
		if again, _, _ := strings.Cut(on(0), ","); again != hash {
			t.Errorf("it wrote %s, and the next command sees %s", hash, again)
		}
		same(t, "what is below", before, hashes(t, objects, made.Dir))
		u.must("verify", "--dataset", dataset)
	})
}

// aWriter is a tree of files, as they are and as they should be.
type aWriter struct {
	rng   *rand.Rand
	root  string
	files map[string][]byte
	steps int
}

// writeOver is what [TestSoakWriter] runs on a view, with a seed and for a time. It says
// what the tree is then.
func writeOver(wants string) {
	var number uint64
	var text string
	if _, err := fmt.Sscan(wants, &number, &text); err != nil {
		panic(err)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	w := &aWriter{rng: rand.New(rand.NewPCG(number, 1)), root: os.Getenv("UNIHARMONYFS_MOUNT"), files: make(map[string][]byte)}
	w.read()
	for began := time.Now(); time.Since(began) < d; w.steps++ {
		w.step()
	}
	seen := &aWriter{root: w.root, files: make(map[string][]byte)}
	seen.read()
	if !maps.EqualFunc(w.files, seen.files, bytes.Equal) {
		panic("the tree is not as it was written")
	}
	fmt.Printf("%s, of %d files after %d steps\n", w.sum(), len(w.files), w.steps)
}

func (w *aWriter) must(err error, words ...any) {
	if err != nil {
		panic(fmt.Sprint(w.steps, words, err))
	}
}

// read takes what is there for what should be.
func (w *aWriter) read() {
	w.must(filepath.WalkDir(w.root, func(path string, e iofs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, _ := filepath.Rel(w.root, path)
		w.files[name], err = os.ReadFile(path)
		return err
	}))
}

// sum is the tree as it should be, in one word.
func (w *aWriter) sum() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(w.files)) {
		fmt.Fprintf(h, "%q %x\n", name, sha256.Sum256(w.files[name]))
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// one returns the name of one of the files.
func (w *aWriter) one() string {
	names := slices.Sorted(maps.Keys(w.files))
	return names[w.rng.IntN(len(names))]
}

// some returns up to so many.
func (w *aWriter) some(most int) []byte {
	p := make([]byte, 1+w.rng.IntN(most))
	for i := range p {
		p[i] = byte(w.rng.Uint32())
	}
	return p
}

// most bounds a file.
const mostWritten = 200_000

func (w *aWriter) step() {
	name := w.one()
	path, content := filepath.Join(w.root, name), w.files[name]
	switch w.rng.IntN(12) {
	case 0, 1, 2: // somewhere in it, or behind its end
		p, off := w.some(8_000), w.rng.IntN(min(len(content)+4_000, mostWritten))
		w.change(path, func(f *os.File) error { _, err := f.WriteAt(p, int64(off)); return err })
		if n := off + len(p) - len(content); n > 0 {
			content = append(content, make([]byte, n)...)
		}
		copy(content[off:], p)
		w.files[name] = content
	case 3: // at its end
		p := w.some(4_000)
		if len(content) > mostWritten {
			return
		}
		w.change(path, func(f *os.File) error {
			_, err := f.Seek(0, io.SeekEnd)
			if err == nil {
				_, err = f.Write(p)
			}
			return errors.Join(err, f.Sync())
		})
		w.files[name] = append(content, p...)
	case 4: // shorter or longer
		n := w.rng.IntN(mostWritten)
		w.must(os.Truncate(path, int64(n)), "truncate", name)
		w.files[name] = append(slices.Clone(content[:min(n, len(content))]), make([]byte, max(n-len(content), 0))...)
	case 5: // by mapping it
		if len(content) == 0 {
			return
		}
		p, off := w.some(3_000), w.rng.IntN(len(content))
		p = p[:min(len(p), len(content)-off)]
		w.change(path, func(f *os.File) error {
			m, err := unix.Mmap(int(f.Fd()), 0, len(content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				return err
			}
			copy(m[off:], p)
			return errors.Join(unix.Msync(m, unix.MS_SYNC), unix.Munmap(m))
		})
		copy(content[off:], p)
	case 6: // replaced by another
		p := w.some(20_000)
		w.must(os.WriteFile(path+".new", p, 0o666), "write", name)
		w.must(os.Rename(path+".new", path), "rename", name)
		w.files[name] = p
	case 7: // under another name
		to := w.name()
		w.must(os.MkdirAll(filepath.Dir(filepath.Join(w.root, to)), 0o777), "mkdir", to)
		w.must(os.Rename(path, filepath.Join(w.root, to)), "rename", name, to)
		delete(w.files, name)
		w.files[to] = content
	case 8: // a new one
		to, p := w.name(), w.some(20_000)
		if len(w.files) > 100 {
			return
		}
		w.must(os.MkdirAll(filepath.Dir(filepath.Join(w.root, to)), 0o777), "mkdir", to)
		w.must(os.WriteFile(filepath.Join(w.root, to), p, 0o666), "write", to)
		w.files[to] = p
	case 9: // deleted, sometimes with all that is beside it
		if len(w.files) < 30 {
			return
		}
		w.must(os.Remove(path), "remove", name)
		delete(w.files, name)
		if dir := filepath.Dir(name); dir != "." && w.rng.IntN(20) == 0 {
			w.must(os.RemoveAll(filepath.Dir(path)), "remove", dir)
			maps.DeleteFunc(w.files, func(n string, _ []byte) bool { return strings.HasPrefix(n, dir+"/") })
		}
	default: // read
		got, err := os.ReadFile(path)
		w.must(err, "read", name)
		if !bytes.Equal(got, content) {
			panic(fmt.Sprintf("step %d: %s is not as it was written: %d bytes, want %d", w.steps, name, len(got), len(content)))
		}
	}
}

func (w *aWriter) name() string {
	return fmt.Sprintf("d%d/e%d/f%d", w.rng.IntN(4), w.rng.IntN(4), w.rng.IntN(50))
}

func (w *aWriter) change(path string, how func(*os.File) error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(how(f), f.Close())
	}
	w.must(err, "change", path)
}
