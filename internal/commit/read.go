package commit

import (
	"context"
	"fmt"
	"path"
	"runtime"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

const (
	// maxTarget is the longest target of a symlink on Linux, in bytes.
	maxTarget = 4095

	// maxFile is the size in bytes of the largest file that is shown: a PiB. A
	// larger one is a key's lie.
	maxFile = 1 << 50

	// maxDepth bounds directories below each other; Linux paths end near it.
	maxDepth = 1000

	// partEntries is about how many entries are read, and in memory in full, at
	// a time.
	partEntries = 8192
)

// parts is how many parts are read at a time: git inflates some while others
// are put in order.
var parts = min(max(2, runtime.GOMAXPROCS(0)), 4)

// dir is a directory of a commit; without an id, a subdataset, which is an empty
// directory that stands for a commit of another repository.
type dir struct {
	path    string
	id      gitstore.OID
	commit  gitstore.OID // of a subdataset
	entries int
}

// read reads one commit: first which directories there are, then what
// is in them, part by part, so that the memory it takes is that of the result.
func read(ctx context.Context, git *gitstore.Store, id gitstore.OID, limit *budget, progress Progress) (*Listing, error) {
	c, err := git.Commit(ctx, id)
	if err != nil {
		return nil, err
	}
	dirs, total, err := listDirs(ctx, git, c.Tree, limit)
	if err != nil {
		return nil, err
	}
	subdatasets := gitlinks(dirs)
	b, l := tree.NewBuilder(), links{unfit: make(map[string]string), budget: limit, subdatasets: subdatasets}
	runs := split(dirs)
	done := 0
	err = inOrder(ctx, len(runs),
		func(ctx context.Context, i int) (*part, error) { return readPart(ctx, git, runs[i], limit) },
		func(i int, p *part) error {
			for k, d := range runs[i] {
				if err := b.AddDir(d.path, p.dirs[k]); err != nil {
					return err
				}
				done += d.entries
			}
			progress(done, total)
			return l.add(p)
		})
	if err != nil {
		return nil, err
	}
	s := &Listing{Commit: c.ID, Time: c.Time}
	if s.Tree, err = b.Tree(); err != nil {
		return nil, err
	}
	if s.Tree, s.Hidden, err = l.resolve(ctx, s.Tree); err != nil {
		return nil, err
	}
	return s, s.subdatasets(subdatasets)
}

// listDirs returns the directories below root, parents first, and how many
// entries they have. A directory that is in many places counts in each of
// them, and is counted before it is there.
func listDirs(ctx context.Context, git *gitstore.Store, root gitstore.OID, limit *budget) (dirs []dir, total int, err error) {
	level := []dir{{id: root}}
	for depth := 0; len(level) > 0; depth++ {
		if depth > maxDepth {
			return nil, 0, fmt.Errorf("%w: directories are nested deeper than %d, at %.200q", tree.ErrTooLarge, maxDepth, level[0].path)
		}
		var below, empty []dir
		err := readTrees(ctx, git, level, func(at []int, list []gitstore.TreeEntry) error {
			if err := limit.takeTree(level, at, list); err != nil {
				return err
			}
			total += len(at) * len(list)
			for _, i := range at {
				level[i].entries = len(list)
				for _, e := range list {
					switch e.Mode {
					case gitstore.ModeDir:
						below = append(below, dir{path: path.Join(level[i].path, e.Name), id: e.ID})
					case gitstore.ModeSubmodule:
						empty = append(empty, dir{path: path.Join(level[i].path, e.Name), commit: e.ID})
					}
				}
			}
			return ctx.Err()
		})
		if err != nil {
			return nil, 0, err
		}
		dirs = append(append(dirs, level...), empty...)
		level = below
	}
	return dirs, total, nil
}

// gitlinks returns which directories are subdatasets.
func gitlinks(dirs []dir) (all []gitlink) {
	for _, d := range dirs {
		if d.id == "" {
			all = append(all, gitlink{d.path, d.commit})
		}
	}
	return all
}

// readTrees calls fn with the entries of directories that have an id, and which
// of dirs these are: several may be alike, and are read once.
func readTrees(ctx context.Context, git *gitstore.Store, dirs []dir, fn func(at []int, list []gitstore.TreeEntry) error) error {
	var ids []gitstore.OID
	at := make(map[gitstore.OID][]int, len(dirs))
	for i, d := range dirs {
		if d.id == "" {
			continue
		}
		if at[d.id] == nil {
			ids = append(ids, d.id)
		}
		at[d.id] = append(at[d.id], i)
	}
	return git.ReadAll(ctx, ids, func(k int, kind string, data []byte) error {
		first := dirs[at[ids[k]][0]].path
		if kind != "tree" {
			return fmt.Errorf("%w: %s of directory %q is a %s, not a tree", gitstore.ErrDamaged, ids[k], first, kind)
		}
		list, err := gitstore.ParseTree(data)
		if err != nil {
			return fmt.Errorf("directory %q: %w", first, err)
		}
		return fn(at[ids[k]], list)
	})
}

// split cuts the directories into runs of about partEntries entries.
func split(dirs []dir) (runs [][]dir) {
	first, entries := 0, 0
	for i, d := range dirs {
		if entries += d.entries; entries >= partEntries || i == len(dirs)-1 {
			runs = append(runs, dirs[first:i+1])
			first, entries = i+1, 0
		}
	}
	return runs
}

// part is what some directories contain.
type part struct {
	dirs [][]tree.Entry // what can be shown, of each
	// The paths of links that are not git-annex's, and of annexed files that
	// cannot be shown, with the reason.
	links []link
	unfit map[string]string
}

// item is an entry whose content must be looked at.
type item struct {
	tree.Entry
	id   gitstore.OID
	path string
}

// readPart reads directories: the entries, then the sizes of regular files,
// then the symlinks and whatever could be a pointer file.
func readPart(ctx context.Context, git *gitstore.Store, dirs []dir, limit *budget) (*part, error) {
	items := make([][]item, len(dirs))
	var links, files, small []*item
	err := readTrees(ctx, git, dirs, func(at []int, list []gitstore.TreeEntry) error {
		for _, i := range at {
			items[i] = make([]item, len(list))
			for k, e := range list {
				it := &items[i][k]
				*it = item{Entry: tree.Entry{Name: e.Name, Kind: tree.Git}, id: e.ID, path: path.Join(dirs[i].path, e.Name)}
				switch e.Mode {
				case gitstore.ModeDir, gitstore.ModeSubmodule:
					it.Kind = tree.Dir
				case gitstore.ModeSymlink:
					it.Kind = tree.Link
					links = append(links, it)
				default:
					files = append(files, it)
				}
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	err = git.Sizes(ctx, ids(files), func(i int, size int64) error {
		it := files[i]
		it.Size, it.Key = size, annex.GitKey(string(it.id), size)
		if size <= annex.MaxPointer {
			small = append(small, it)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	look := append(small, links...)
	err = git.ReadAll(ctx, ids(look), func(i int, kind string, data []byte) error {
		it := look[i]
		if kind != "blob" {
			return fmt.Errorf("%w: %q is a %s, not a file", gitstore.ErrDamaged, it.path, kind)
		}
		it.see(data)
		return limit.take(0, 0, len(it.Target), it.path)
	})
	if err != nil {
		return nil, err
	}
	return newPart(items), nil
}

// see makes an annexed file of an item whose content says so.
func (it *item) see(data []byte) {
	key, ok := annex.ParsePointer(data)
	if it.Kind == tree.Link {
		it.Target = string(data)
		key, ok = annex.ParseLink(it.Target)
	}
	if !ok {
		return
	}
	it.Kind, it.Key, it.Target = tree.Annexed, key, ""
	if it.Size, ok = key.Size(); !ok {
		it.Size = -1
	}
}

func newPart(items [][]item) *part {
	p := &part{dirs: make([][]tree.Entry, len(items)), unfit: make(map[string]string)}
	for i, list := range items {
		p.dirs[i] = make([]tree.Entry, 0, len(list))
		for _, it := range list {
			switch {
			case it.Size < 0:
				p.unfit[it.path] = noSize + it.Key.String()
				continue
			case it.Kind == tree.Annexed && it.Size > maxFile:
				p.unfit[it.path] = absurdSize + it.Key.String()
				continue
			case it.Kind == tree.Link:
				p.links = append(p.links, link{it.path, it.Target})
				if it.Target == "" || len(it.Target) > maxTarget || strings.Contains(it.Target, "\x00") {
					it.Target = nowhere
				}
			}
			p.dirs[i] = append(p.dirs[i], it.Entry)
		}
	}
	return p
}

func ids(items []*item) []gitstore.OID {
	out := make([]gitstore.OID, len(items))
	for i, it := range items {
		out[i] = it.id
	}
	return out
}

// inOrder calls take with what read returns for 0 to n-1, in this order; read
// is called ahead, for several at a time. The first error ends it.
func inOrder[T any](ctx context.Context, n int, read func(context.Context, int) (T, error), take func(int, T) error) error {
	ctx, cancel := context.WithCancel(ctx)
	type result struct {
		value T
		err   error
	}
	coming := make([]chan result, n)
	start := func(i int) {
		if i >= n {
			return
		}
		coming[i] = make(chan result, 1)
		go func() {
			v, err := read(ctx, i)
			coming[i] <- result{v, err}
		}()
	}
	for i := range parts {
		start(i)
	}
	for i := range n {
		r := <-coming[i]
		if r.err == nil {
			start(i + parts)
			r.err = take(i, r.value)
		}
		if r.err != nil {
			cancel()
			for _, c := range coming[i+1 : min(i+1+parts, n)] {
				if c != nil {
					<-c
				}
			}
			return r.err
		}
	}
	cancel()
	return nil
}
