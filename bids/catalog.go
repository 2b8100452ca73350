package bids

import (
	"context"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// Catalog is the parsed names of one dataset. It is immutable and safe for
// concurrent use. It keeps about 70 bytes for each file, and the function that
// gives the paths.
type Catalog struct {
	path   func(int) string
	paths  int
	memory Memory          // may be nil
	ctx    context.Context // of the one who asks; may be nil
	steps  int             // that a selection may take; see work
	words  words
	dirs   []dir
	files  []file
	pairs  []pair // the entities of all files

	inDir    []int32 // files, ordered by directory, then suffix and extension
	dirStart []int32 // of each directory: its first in inDir; one more at the end

	subjectSuffix []bool // by suffix: files below subjects have it

	keySub, keySes, keyTpl, keyCohort word
}

// file is a file, or a directory recording with all that is in it.
type file struct {
	first, count int32 // paths
	dir          int32
	pairs        int32 // the first in Catalog.pairs
	npairs       uint8
	place        place
	recording    bool // a directory
	suffix, ext  word
}

type pair struct{ key, value word }

// NewCatalog parses the names of one dataset: n paths relative to its root, in
// byte order, path(i) being one of them. path is called again by Select.
func NewCatalog(n int, path func(i int) string) *Catalog {
	c := &Catalog{path: path, paths: n, steps: stepsAtAll, words: newWords(), files: make([]file, 0, n)}
	c.keySub, c.keySes = c.words.intern("sub"), c.words.intern("ses")
	c.keyTpl, c.keyCohort = c.words.intern("tpl"), c.words.intern("cohort")
	b := builder{Catalog: c, known: map[string]int32{"": 0}}
	c.dirs = []dir{{parent: -1, recording: -1, place: root}}
	for i := range n {
		b.add(i, path(i))
	}
	c.files = slices.Clip(c.files)
	c.pairs = slices.Clip(c.pairs)
	c.subjectSuffix = make([]bool, len(c.words.text))
	for i := range c.files {
		if f := &c.files[i]; f.place == subject {
			c.subjectSuffix[f.suffix] = true
		}
	}
	c.sortDirs()
	return c
}

// builder is what only the making of a catalog needs.
type builder struct {
	*Catalog
	known    map[string]int32 // directories by path
	last     int32            // the directory of the path before
	lastPath string           // its path
}

func (b *builder) add(i int, path string) {
	parent, name := schema.SplitPath(path)
	if parent != b.lastPath {
		b.last, b.lastPath = b.dir(parent, i), parent
	}
	if r := b.dirs[b.last].recording; r >= 0 {
		b.files[r].count++
		return
	}
	b.addFile(file{first: int32(i), count: 1, dir: b.last}, name)
}

// addFile adds a file or, at its first path, a recording.
func (b *builder) addFile(f file, name string) {
	d := f.dir
	f.pairs, f.place = int32(len(b.pairs)), b.dirs[d].place
	if strings.HasPrefix(name, ".") && (d != 0 || name != bidsignore) {
		f.place = hidden
	}
	suffix, ext := schema.ParseName(name, func(key, value string) {
		k := b.words.intern(key)
		if f.npairs < 255 && b.value(f, k) == 0 {
			b.pairs = append(b.pairs, pair{k, b.words.intern(value)})
			f.npairs++
		}
	})
	f.suffix, f.ext = b.words.intern(suffix), b.words.intern(ext)
	b.files = append(b.files, f)
}

// sortDirs lists the files of each directory by suffix and extension, so that
// the candidates of a companion rule lie together.
func (c *Catalog) sortDirs() {
	c.dirStart = make([]int32, len(c.dirs)+1)
	for i := range c.files {
		c.dirStart[c.files[i].dir+1]++
	}
	for d := range c.dirs {
		c.dirStart[d+1] += c.dirStart[d]
	}
	next := slices.Clone(c.dirStart)
	c.inDir = make([]int32, len(c.files))
	for i := range c.files {
		d := c.files[i].dir
		c.inDir[next[d]] = int32(i)
		next[d]++
	}
	for d := range c.dirs {
		slices.SortFunc(c.filesIn(int32(d)), func(a, b int32) int {
			fa, fb := &c.files[a], &c.files[b]
			if fa.suffix != fb.suffix {
				return int(fa.suffix) - int(fb.suffix)
			}
			if fa.ext != fb.ext {
				return int(fa.ext) - int(fb.ext)
			}
			return int(a - b)
		})
	}
}

// filesIn returns the files directly in a directory.
func (c *Catalog) filesIn(d int32) []int32 { return c.inDir[c.dirStart[d]:c.dirStart[d+1]] }

// find returns the files of a directory with a suffix and an extension in the
// range [from, to] of words.
func (c *Catalog) find(d int32, suffix, from, to word) []int32 {
	in := c.filesIn(d)
	compare := func(i int32, want pair) int {
		if f := &c.files[i]; f.suffix != want.key {
			return int(f.suffix) - int(want.key)
		} else {
			return int(f.ext) - int(want.value)
		}
	}
	first, _ := slices.BinarySearchFunc(in, pair{suffix, from}, compare)
	end, _ := slices.BinarySearchFunc(in, pair{suffix, to}, func(i int32, want pair) int {
		if c := compare(i, want); c != 0 {
			return c
		}
		return -1 // after the last
	})
	return in[first:end]
}

// entities returns the entities in a file's name.
func (c *Catalog) entities(f file) []pair { return c.pairs[f.pairs : f.pairs+int32(f.npairs)] }

// value returns the value of an entity in a file's name, or 0.
func (c *Catalog) value(f file, key word) word {
	for _, p := range c.entities(f) {
		if p.key == key {
			return p.value
		}
	}
	return 0
}

// effective returns the value of an entity of a file, which for the subject
// and the session is that of its directory, if it has one.
func (c *Catalog) effective(f file, key word) word {
	d := &c.dirs[f.dir]
	switch {
	case key == d.subKey && d.sub != 0:
		return d.sub
	case key == d.sesKey && d.ses != 0:
		return d.ses
	}
	return c.value(f, key)
}

// pathOf returns the path of a file; of a recording, that of its directory.
func (c *Catalog) pathOf(i int32) string {
	f := &c.files[i]
	p := c.path(int(f.first))
	if d := c.dirs[f.dir].path; f.recording {
		start := 0
		if d != "" {
			start = len(d) + 1
		}
		if end := strings.IndexByte(p[start:], '/'); end >= 0 {
			return p[:start+end]
		}
	}
	return p
}
