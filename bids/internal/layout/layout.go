package layout

import (
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// Layout is the parsed names of one dataset. It is immutable and safe for
// concurrent use. It keeps about 70 bytes for each file, and the function that
// gives the paths.
type Layout struct {
	path  func(int) string
	Words words
	Dirs  []Dir
	Files []File
	pairs []Pair // the entities of all files

	inDir    []int32 // files, ordered by directory, then suffix and extension
	dirStart []int32 // of each directory: its first in inDir; one more at the end

	subjectSuffix []bool // by suffix: files below subjects have it

	KeySub, keySes, KeyTpl, keyCohort Word
}

// File is a file, or an opaque directory with all that is in it.
type File struct {
	First, Count int32 // paths
	Dir          int32
	pairs        int32 // the first in Layout.pairs
	EntityCount  uint8
	Place        Place
	Opaque       bool // a directory
	Suffix, Ext  Word
}

// Pair is an entity in a file name.
type Pair struct{ Key, Value Word }

// New parses the names of one dataset: n paths relative to its root, in
// byte order, path(i) being one of them. path is called again by methods. isRaw
// reports whether a directory of the sourcedata of a dataset is a raw dataset of its
// own; nil means that none is.
func New(n int, path func(i int) string, isRaw func(dir string) bool) *Layout {
	c := &Layout{path: path, Words: newWords(), Files: make([]File, 0, n)}
	c.KeySub, c.keySes = c.Words.intern("sub"), c.Words.intern("ses")
	c.KeyTpl, c.keyCohort = c.Words.intern("tpl"), c.Words.intern("cohort")
	b := builder{Layout: c, isRaw: isRaw, known: map[string]int32{"": 0}}
	c.Dirs = []Dir{{Parent: -1, Opaque: -1, Place: Root}}
	for i := range n {
		b.add(i, path(i))
	}
	c.Files = slices.Clip(c.Files)
	c.pairs = slices.Clip(c.pairs)
	c.subjectSuffix = make([]bool, len(c.Words.Text))
	for i := range c.Files {
		if f := &c.Files[i]; f.Place == Subject {
			c.subjectSuffix[f.Suffix] = true
		}
	}
	c.sortDirs()
	return c
}

// builder is what only the making of a layout needs.
type builder struct {
	*Layout
	isRaw    func(dir string) bool
	known    map[string]int32 // directories by path
	last     int32            // the directory of the path before
	lastPath string           // its path
}

func (b *builder) add(i int, path string) {
	parent, name := schema.SplitPath(path)
	if parent != b.lastPath {
		b.last, b.lastPath = b.dir(parent, i), parent
	}
	if r := b.Dirs[b.last].Opaque; r >= 0 {
		b.Files[r].Count++
		return
	}
	b.addFile(File{First: int32(i), Count: 1, Dir: b.last}, name)
}

// addFile adds a file or, at its first path, an opaque directory.
func (b *builder) addFile(f File, name string) {
	d := f.Dir
	f.pairs, f.Place = int32(len(b.pairs)), b.Dirs[d].Place
	if strings.HasPrefix(name, ".") && (name != bidsignore || b.Dirs[d].Place != Root || b.Dirs[d].Pipeline != 0) {
		f.Place = Hidden
	}
	suffix, ext := schema.ParseName(name, func(key, value string) {
		k := b.Words.intern(key)
		if f.EntityCount < 255 && b.Value(f, k) == 0 {
			b.pairs = append(b.pairs, Pair{k, b.Words.intern(value)})
			f.EntityCount++
		}
	})
	f.Suffix, f.Ext = b.Words.intern(suffix), b.Words.intern(ext)
	b.Files = append(b.Files, f)
}

// sortDirs lists the files of each directory by suffix and extension, so that
// the candidates of a companion rule lie together.
func (l *Layout) sortDirs() {
	l.dirStart = make([]int32, len(l.Dirs)+1)
	for i := range l.Files {
		l.dirStart[l.Files[i].Dir+1]++
	}
	for d := range l.Dirs {
		l.dirStart[d+1] += l.dirStart[d]
	}
	next := slices.Clone(l.dirStart)
	l.inDir = make([]int32, len(l.Files))
	for i := range l.Files {
		d := l.Files[i].Dir
		l.inDir[next[d]] = int32(i)
		next[d]++
	}
	for d := range l.Dirs {
		slices.SortFunc(l.FilesIn(int32(d)), func(a, b int32) int {
			fa, fb := &l.Files[a], &l.Files[b]
			if fa.Suffix != fb.Suffix {
				return int(fa.Suffix) - int(fb.Suffix)
			}
			if fa.Ext != fb.Ext {
				return int(fa.Ext) - int(fb.Ext)
			}
			return int(a - b)
		})
	}
}

// FilesIn returns the files directly in a directory.
func (l *Layout) FilesIn(d int32) []int32 { return l.inDir[l.dirStart[d]:l.dirStart[d+1]] }

// find returns the files of a directory with a suffix and an extension in the
// range [from, to] of words.
func (l *Layout) find(d int32, suffix, from, to Word) []int32 {
	in := l.FilesIn(d)
	compare := func(i int32, want Pair) int {
		if f := &l.Files[i]; f.Suffix != want.Key {
			return int(f.Suffix) - int(want.Key)
		} else {
			return int(f.Ext) - int(want.Value)
		}
	}
	first, _ := slices.BinarySearchFunc(in, Pair{suffix, from}, compare)
	end, _ := slices.BinarySearchFunc(in, Pair{suffix, to}, func(i int32, want Pair) int {
		if l := compare(i, want); l != 0 {
			return l
		}
		return -1 // after the last
	})
	return in[first:end]
}

// Entities returns the entities in a file's name.
func (l *Layout) Entities(f File) []Pair { return l.pairs[f.pairs : f.pairs+int32(f.EntityCount)] }

// Value returns the value of an entity in a file's name, or 0.
func (l *Layout) Value(f File, key Word) Word {
	for _, p := range l.Entities(f) {
		if p.Key == key {
			return p.Value
		}
	}
	return 0
}

// Effective returns the value of an entity of a file, which for the subject
// and the session is that of its directory, if it has one.
func (l *Layout) Effective(f File, key Word) Word {
	d := &l.Dirs[f.Dir]
	switch {
	case key == d.SubKey && d.Sub != 0:
		return d.Sub
	case key == d.SesKey && d.Ses != 0:
		return d.Ses
	}
	return l.Value(f, key)
}

// PathOf returns the path of a file; of what is in an opaque directory, that of the
// directory.
func (l *Layout) PathOf(i int32) string {
	f := &l.Files[i]
	p := l.path(int(f.First))
	if d := l.Dirs[f.Dir].Path; f.Opaque {
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
