package commit

import (
	"cmp"
	"context"
	"errors"
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
// mean nothing inside a mount and are hidden, as are annexed files that cannot
// be shown.
type links struct {
	list   []link
	unfit  map[string]string // why annexed files cannot be shown, by path
	budget *budget

	subdatasets []gitlink
}

func (l *links) add(p *part) error {
	if err := l.budget.takeContent(p); err != nil {
		return err
	}
	for _, link := range p.links {
		if err := l.budget.take(0, 0, len(link.path), link.path); err != nil {
			return err
		}
	}
	for path, why := range p.unfit {
		if err := l.budget.take(0, 0, len(path)+len(why), path); err != nil {
			return err
		}
	}
	l.list = append(l.list, p.links...)
	maps.Copy(l.unfit, p.unfit)
	return nil
}

// resolve returns the tree as it is shown, and what is hidden.
func (l *links) resolve(ctx context.Context, s *tree.Tree) (*tree.Tree, []Hidden, error) {
	var hidden []Hidden
	hide := func(path, why string) { hidden = append(hidden, Hidden{Path: path, Why: why}) }
	for path, why := range l.unfit {
		hide(path, why)
	}
	gone := make(map[int]bool)
	become := make(map[int]int)
	f := follower{s: s, known: make(map[int]followed), subdatasets: make(map[int]bool)}
	for _, g := range l.subdatasets {
		if n, ok := s.Find(g.Path); ok {
			f.subdatasets[n] = true
		}
	}
	for _, link := range l.list {
		if err := errors.Join(ctx.Err(), f.tooMuch()); err != nil {
			return nil, nil, err
		}
		n, _ := s.Find(link.path)
		to := f.follow(n, 1)
		switch {
		case to.node >= 0 && s.Kind(to.node) == tree.Dir:
			continue
		case to.node >= 0:
			become[n] = to.node
			continue
		}
		gone[n] = true
		if why, ok := l.unfit[to.missing]; ok {
			hide(link.path, why)
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

const (
	noSize     = "its git-annex key says no size: "
	absurdSize = "its git-annex key says a size that no file has: "
)

// A follower finds where links lead, as the kernel will: component by
// component, going on from what a link leads to (path_resolution(7)). One that
// leaves the tree anywhere on its way leads to nothing, even if it came back:
// what lies around a mount is not the dataset's. One that goes on into a subdataset
// counts as one to a directory. It must not come out again: where ".." leads from what
// is not known, nobody can say.
type follower struct {
	s           *tree.Tree
	subdatasets map[int]bool
	known       map[int]followed
	steps       int
}

// followed is where a link leads.
type followed struct {
	node    int    // a file or directory, or -1
	hops    int    // links that were followed, itself included
	missing string // of a link to nothing: what is not there, if that is known
	beyond  bool   // somewhere in the subdataset at node
}

// maxSteps bounds the components of all links that are gone through.
const maxSteps = 200_000_000

func (f *follower) tooMuch() error {
	if f.steps > maxSteps {
		return fmt.Errorf("%w: its symbolic links lead too far round", tree.ErrTooLarge)
	}
	return nil
}

// follow follows link n, which is the depth-th on its way.
func (f *follower) follow(n, depth int) followed {
	if to, ok := f.known[n]; ok {
		return to
	}
	if depth > maxHops {
		return followed{node: -1}
	}
	to := f.walk(n, depth)
	if to.node >= 0 || depth == 1 { // deeper down it may have failed for the depth
		f.known[n] = to
	}
	return to
}

func (f *follower) walk(n, depth int) followed {
	rest := f.s.Target(n)
	if strings.HasPrefix(rest, "/") {
		return followed{node: -1}
	}
	at, hops := f.s.Parent(n), 1
	for more := true; more; {
		var part string
		part, rest, more = strings.Cut(rest, "/")
		f.steps++
		switch part {
		case "", ".":
			continue
		case "..":
			if at == 0 {
				return followed{node: -1}
			}
			at = f.s.Parent(at)
			continue
		}
		next, ok := f.s.Lookup(at, part)
		switch {
		case !ok && f.subdatasets[at]:
			return f.beyond(at, hops, rest)
		case !ok && more:
			return followed{node: -1}
		case !ok:
			return followed{node: -1, missing: path.Join(f.s.Path(at), part)}
		case f.s.Kind(next) == tree.Link:
			to := f.follow(next, depth+1)
			if hops += to.hops; to.node < 0 || hops > maxHops {
				return followed{node: -1, missing: to.missing}
			}
			if to.beyond {
				return f.beyond(to.node, hops, rest)
			}
			next = to.node
		}
		if more && f.s.Kind(next) != tree.Dir {
			return followed{node: -1}
		}
		at = next
	}
	return followed{node: at, hops: hops}
}

// beyond is what a way leads to that goes on into a subdataset, with rest.
func (f *follower) beyond(subdataset, hops int, rest string) followed {
	if slices.Contains(strings.Split(rest, "/"), "..") {
		return followed{node: -1}
	}
	return followed{node: subdataset, hops: hops, beyond: true}
}

// rebuild returns the tree without the nodes that are gone, where others are
// what yet others are.
func rebuild(s *tree.Tree, gone map[int]bool, become map[int]int) (*tree.Tree, error) {
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
	return b.Tree()
}
