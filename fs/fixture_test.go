package fs_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	uhfs "github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// A fixture is a small dataset that the test and its server both know. What
// is in a file follows from its path; how it behaves from its name.
type fixture struct {
	view *tree.View
	tree *tree.Tree
}

var fixtures = map[string]map[string]int{
	"plain": plainFiles(),
	"odd": {
		"a b": 10, `back\slash`: 11, "-rf": 12, "ünï": 13, "\xff\xfe": 14, "*": 15, "~": 16,
		"ta'b\"q": 17, strings.Repeat("x", 255): 18, " ": 19, "dir with space/$HOME": 20, "...": 21,
	},
	"trouble": {
		"good.nii": 300_000, "broken.nii": 100, "full.nii": 100, "gone.nii": 100, "own.nii": 100, "noopen.nii": 100,
		"short.nii": 100_000, "panic.nii": 100, "panicopen.nii": 100, "late.nii": 5000, "left.nii": 100, "sub/stuck.nii": 200_000,
		"sub/deaf.nii": 200_000, "sub/stuck-1.nii": 9, "sub/stuck-2.nii": 9,
	},
	"many-stuck": stuckFiles(),
	"fio":        {"fio.bin": 2 << 20},
	"nested":     {"README": 77, "sub-01/anat/x.nii": 5000, "deep/er/y.nii": 300_000},
	"flip":       {"flip-0": 4 << 10, "flip-1": 70_000, "flip-2": 300_000, "flip-3": 1},
}

func plainFiles() map[string]int {
	m := map[string]int{
		"README": 77, "dataset_description.json": 120, "participants.tsv": 4096, "empty.txt": 0,
		"sub-01/anat/sub-01_T1w.nii.gz": 40_123, "sub-01/anat/sub-01_T1w.json": 4095,
		"sub-01/func/sub-01_task-rest_bold.nii.gz": 1 << 14, "sub-01/func/sub-01_task-rest_events.tsv": 4097,
		"sub-02/anat/sub-02_T1w.nii.gz": 5<<20 + 123, "sub-02/hidden/not-shown": 5, "zz": 1,
	}
	for i := range 5000 {
		m[fmt.Sprintf("many/file-%04d_a-rather-long-name-as-BIDS-has-them_bold.nii.gz", i)] = i % 50
	}
	return m
}

const (
	laterSize  = 3 << 20 // more than what is read ahead at once
	laterFiles = 20
)

func stuckFiles() map[string]int {
	m := map[string]int{"good.nii": laterSize}
	for i := range laterFiles {
		m[fmt.Sprintf("later-%d", i)] = laterSize
	}
	return m
}

// content is what a file of the fixture holds.
func content(name string, size int) []byte {
	data := make([]byte, size)
	r := rand.NewChaCha8(sha256.Sum256([]byte(name)))
	r.Read(data)
	return data
}

func newFixture(name string) (*fixture, error) {
	dirs := map[string][]tree.Entry{"": nil}
	var add func(p string, e tree.Entry)
	add = func(p string, e tree.Entry) {
		dir := path.Dir(p)
		if dir == "." {
			dir = ""
		}
		if _, ok := dirs[dir]; !ok {
			add(dir, tree.Entry{})
			dirs[dir] = nil
		}
		e.Name = path.Base(p)
		dirs[dir] = append(dirs[dir], e)
	}
	for p, size := range fixtures[name] {
		sum := sha256.Sum256([]byte(p))
		k, err := annex.ParseKey(fmt.Sprintf("SHA256-s%d--%x", size, sum))
		if err != nil {
			return nil, err
		}
		add(p, tree.Entry{Kind: tree.Annexed, Size: int64(size), Key: k})
	}
	if name == "nested" {
		for _, border := range []string{"again", "deep/er/again", "unreachable", "offline", "denied", "stuck", "panic"} {
			add(border, tree.Entry{})
			dirs[border] = nil
		}
		add("empty", tree.Entry{})
		dirs["empty"] = nil
	}
	if name == "plain" {
		add("sub-01/link", tree.Entry{Kind: tree.Link, Target: "anat/sub-01_T1w.json"})
		add("dangling", tree.Entry{Kind: tree.Link, Target: "../no/where"})
	}
	paths := slices.Collect(func(yield func(string) bool) {
		for p := range dirs {
			if !yield(p) {
				return
			}
		}
	})
	slices.SortFunc(paths, func(a, b string) int { return len(a) - len(b) })
	b := tree.NewBuilder()
	for _, p := range paths {
		if err := b.AddDir(p, dirs[p]); err != nil {
			return nil, err
		}
	}
	s, err := b.Tree()
	if err != nil {
		return nil, err
	}
	var files []int
	for n := range s.Len() {
		if (s.Kind(n) != tree.Dir || name == "nested") && s.Name(n) != "not-shown" {
			files = append(files, n)
		}
	}
	return &fixture{s.View(files, nil), s}, nil
}

// paths returns the shown nodes' paths with their numbers.
func (f *fixture) paths() map[string]int {
	m := map[string]int{}
	for n := range f.tree.Len() {
		if f.view.Shown(n) {
			m[f.tree.Path(n)] = n
		}
	}
	return m
}

// An opener serves a fixture's contents, from memory or from files in dir.
type opener struct {
	*fixture
	dir     string
	data    []byte // if any: what all files hold
	waiting atomic.Int32
	entered atomic.Int32
	gate    chan struct{} // closed: nobody is stuck any more
	pass    chan struct{} // one gets through

	mu    sync.Mutex
	files map[string]string
	made  map[string][]byte
	names []string // of members
}

func (o *opener) OpenContent(n int) (uhfs.Content, error) {
	name := o.tree.Path(n)
	switch {
	case strings.HasPrefix(name, "noopen"):
		return nil, errors.New("no source has it")
	case strings.HasPrefix(name, "panicopen"):
		panic("open")
	}
	c := &served{o: o, name: name, data: o.bytes(name, int(o.tree.Size(n)))}
	complete := o.dir != "" && !strings.HasPrefix(name, "flip") || strings.HasPrefix(name, "flip") && rand.IntN(2) == 0
	if o.dir != "" && complete && len(c.data) > 0 {
		var err error
		if c.file, err = o.object(name, c.data); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (o *opener) bytes(name string, size int) []byte {
	if o.data != nil {
		return o.data
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.made[name]; !ok {
		o.made[name] = content(name, size)
	}
	return o.made[name]
}

// object opens the file that has the content, made when first needed.
func (o *opener) object(name string, data []byte) (*os.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	file, ok := o.files[name]
	if !ok {
		file = filepath.Join(o.dir, fmt.Sprint(len(o.files)))
		if err := os.WriteFile(file, data, 0o444); err != nil {
			return nil, err
		}
		o.files[name] = file
	}
	return os.Open(file)
}

type served struct {
	o    *opener
	name string
	data []byte
	file *os.File
}

var errOwn = errors.New("an error that only the daemon knows")

func (c *served) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	base := path.Base(c.name)
	switch kind, _, _ := strings.Cut(strings.TrimSuffix(base, ".nii"), "-"); kind {
	case "broken":
		return 0, errors.New("hash mismatch")
	case "full":
		return 0, &os.PathError{Op: "write", Path: "partial", Err: syscall.ENOSPC}
	case "gone":
		return 0, fs.ErrNotExist
	case "own":
		return 0, fmt.Errorf("wrapped: %w", errOwn)
	case "panic":
		panic("read")
	case "short":
		n := copy(p, c.data[min(off, 50_000):50_000])
		return n, io.EOF
	case "late":
		go func() { // keeps on writing after it failed
			for range 1000 {
				clear(p)
			}
		}()
		return 0, errors.New("timed out")
	case "left":
		return 0, fmt.Errorf("somebody else has left: %w", context.Canceled)
	case "stuck", "deaf", "later": // later: not from the beginning
		if kind == "later" && off == 0 {
			break
		}
		c.o.waiting.Add(1)
		defer c.o.waiting.Add(-1)
		done := ctx.Done()
		if kind == "deaf" {
			done = nil
		}
		select {
		case <-done:
			return 0, ctx.Err()
		case <-c.o.gate:
		case <-c.o.pass:
		}
	}
	if off >= int64(len(c.data)) {
		return 0, io.EOF
	}
	n := copy(p, c.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (c *served) File() *os.File { return c.file }

func (c *served) Close() error {
	if c.file != nil {
		return c.file.Close()
	}
	return nil
}

type control struct{ reads atomic.Int32 }

func (c *control) Names() []string { return []string{"status", "errors"} }

func (c *control) Read(name string) ([]byte, error) {
	switch name {
	case "status":
		return fmt.Appendf(nil, "read %d times\n%s", c.reads.Add(1), strings.Repeat("x", 10_000)), nil
	case "errors":
		return nil, nil
	}
	return nil, fs.ErrNotExist
}
