package index

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// nowhere is the target of links that mean nothing and that no file system
// could show.
const nowhere = "/"

// maxHops is how many links to links are followed.
const maxHops = 40

type link struct{ path, target string }

// links makes sense of symlinks that are not git-annex's: one to a file of the
// dataset becomes that file, one to a directory stays a link, and the rest can
// mean nothing inside a mount and are hidden, as are annexed files whose keys
// say no size.
type links struct {
	list     []link
	sizeless map[string]string // keys by path
}

func (l *links) add(p *part) {
	l.list = append(l.list, p.links...)
	maps.Copy(l.sizeless, p.sizeless)
}

// resolve returns the tree as it is shown, and what is hidden.
func (l *links) resolve(s *tree.Snapshot) (*tree.Snapshot, []Hidden, error) {
	var hidden []Hidden
	hide := func(path, why string) { hidden = append(hidden, Hidden{Path: path, Why: why}) }
	for path, key := range l.sizeless {
		hide(path, noSize+key)
	}
	gone := make(map[int]bool)
	become := make(map[int]int)
	for _, link := range l.list {
		n, _ := s.Find(link.path)
		to, end := l.follow(s, n)
		switch {
		case to >= 0 && s.Kind(to) == tree.Dir:
			continue
		case to >= 0:
			become[n] = to
			continue
		}
		gone[n] = true
		if key, ok := l.sizeless[end]; ok {
			hide(link.path, noSize+key)
		} else {
			hide(link.path, fmt.Sprintf("a symlink to nothing inside the dataset: %.200q", link.target))
		}
	}
	slices.SortFunc(hidden, func(a, b Hidden) int { return cmp.Compare(a.Path, b.Path) })
	if len(gone)+len(become) == 0 {
		return s, hidden, nil
	}
	s, err := rebuild(s, gone, become)
	return s, hidden, err
}

const noSize = "its git-annex key says no size: "

// follow returns the file or directory that a link leads to inside the commit,
// by name only: -1 when there is none, and then where it ends.
func (l *links) follow(s *tree.Snapshot, n int) (to int, end string) {
	for range maxHops {
		at, target := s.Path(n), s.Target(n)
		if path.IsAbs(target) {
			return -1, ""
		}
		end = path.Join(path.Dir(at), target)
		if end == ".." || strings.HasPrefix(end, "../") {
			return -1, ""
		}
		if end == "." {
			end = ""
		}
		var ok bool
		if n, ok = s.Find(end); !ok {
			return -1, end
		}
		if s.Kind(n) != tree.Link {
			return n, end
		}
	}
	return -1, ""
}

// rebuild returns the tree without the nodes that are gone, where others are
// what yet others are.
func rebuild(s *tree.Snapshot, gone map[int]bool, become map[int]int) (*tree.Snapshot, error) {
	b := tree.NewBuilder()
	for d := range s.Len() {
		if s.Kind(d) != tree.Dir {
			continue
		}
		first, count := s.Children(d)
		entries := make([]tree.Entry, 0, count)
		for n := first; n < first+count; n++ {
			if gone[n] {
				continue
			}
			e := s.Entry(n)
			if to, ok := become[n]; ok {
				name := e.Name
				e = s.Entry(to)
				e.Name = name
			}
			entries = append(entries, e)
		}
		if err := b.AddDir(s.Path(d), entries); err != nil {
			return nil, err
		}
	}
	return b.Snapshot()
}
