package dataset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/bulk"
	"github.com/uniharmony/uniharmonyfs/internal/commit"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// graft is a subdataset whose files are among those of a version.
type graft struct {
	path    string
	version *Version
}

// whole is what a version has of other datasets.
type whole struct {
	grafts  []graft  // in the order in which they were opened
	of      []uint16 // by node: 0 is the version itself, n the graft n-1; nil: all are its own
	leftOut []string // subdatasets that could not be had, and why; for people
}

// atOnce is how many subdatasets are opened at the same time.
const atOnce = 4

// maxGrafts bounds them; whole.of counts them.
const maxGrafts = 10_000

// room is what a version with its subdatasets may yet have. All of them may be the same
// small repository: git has a directory once, wherever it stands.
type room struct{ nodes, dirs, bytes int }

// wholeRoom is as much as one commit may have.
var wholeRoom = room{nodes: 12_000_000, dirs: 3_000_000, bytes: 1 << 30}

var errRoom = advice.New(advice.Usage, "the selection reaches into subdatasets that have too many files in all", errors.New("ten million are shown at once"), "narrow it, for example by --derivatives NAME", "or use --recursion-limit")

func (r *room) take(nodes, dirs, bytes int) error {
	r.nodes, r.dirs, r.bytes = r.nodes-nodes, r.dirs-dirs, r.bytes-bytes
	if min(r.nodes, r.dirs, r.bytes) < 0 {
		return errRoom
	}
	return nil
}

// takeDir takes the room of a directory's entries.
func (r *room) takeDir(dir string, entries []tree.Entry) error {
	dirs, bytes := 0, 0
	for i := range entries {
		bytes += len(entries[i].Name)
		if entries[i].Kind == tree.Dir {
			dirs++
			bytes += len(dir) + len(entries[i].Name)
		}
	}
	return r.take(len(entries), dirs, bytes)
}

// Reach opens a dataset as [Registry.Open] does, with the files of the subdatasets that
// a selection needs at their places: of those that it names with its words for
// derivatives, sourcedata and code, and, when it is narrowed or the request is recursive,
// of all that it may show files of, the raw datasets of a study among them. Those that
// cannot be had are left out, and told as hints of what is chosen.
func (r *Registry) Reach(ctx context.Context, req control.Dataset, s bids.Selection, tell bulk.Tell) (*Version, error) {
	v, err := r.Open(ctx, req, tell)
	if err != nil {
		return nil, err
	}
	return r.reachFrom(ctx, v, req.Levels(), s, tell)
}

// reachFrom is Reach for a version that is open, which is released after an error.
func (r *Registry) reachFrom(ctx context.Context, v *Version, levels int, s bids.Selection, tell bulk.Tell) (*Version, error) {
	ready := false
	defer func() { // also after a panic
		if !ready {
			v.Release()
		}
	}()
	failed := make(map[string]bool)
	for range levels {
		wanted, err := v.Chooser(v.ID()+":", tell).needed(ctx, s, failed)
		if err != nil {
			return nil, err
		}
		if len(wanted) == 0 {
			break
		}
		more, err := r.reach(ctx, v, wanted, failed, tell)
		if err != nil {
			return nil, err
		}
		v = more
	}
	ready = true
	return v, nil
}

// reach returns the version with the subdatasets at some of its directories. failed takes
// note of those that cannot be had.
func (r *Registry) reach(ctx context.Context, v *Version, wanted []int, failed map[string]bool, tell bulk.Tell) (*Version, error) {
	if len(v.grafts)+len(wanted) > maxGrafts {
		return nil, advice.New(advice.Usage, fmt.Sprintf("the selection reaches into more than %d subdatasets", maxGrafts), nil, "narrow it, for example by --derivatives NAME", "or use --recursion-limit")
	}
	opened, why, err := r.openAll(ctx, v, wanted, tell)
	if err != nil {
		return nil, err
	}
	joined := false
	defer func() { // also after a panic
		if !joined {
			release(opened)
		}
	}()
	all, err := v.with(ctx, opened, wholeRoom)
	if err != nil {
		return nil, err
	}
	for _, at := range why {
		failed[at.path] = true
		all.leftOut = append(all.leftOut, fmt.Sprintf("the subdataset %s is left out: %v", at.path, at.err))
	}
	joined = true
	return all, nil
}

func release(all []graft) {
	for _, g := range all {
		g.version.Release()
	}
}

// isNamed reports whether a path lies where files are shown only when they were asked
// for by the name of the place.
func isNamed(at string) bool {
	top, _, _ := strings.Cut(at, "/")
	return top == "derivatives" || top == "sourcedata" || top == "code"
}

type unreached struct {
	path string
	err  error
}

// openAll opens subdatasets, several at a time. Its error is ctx's alone.
func (r *Registry) openAll(ctx context.Context, v *Version, nodes []int, tell bulk.Tell) (opened []graft, failed []unreached, err error) {
	grafts, errs := make([]graft, len(nodes)), make([]error, len(nodes))
	for i, n := range nodes {
		grafts[i].path = v.Path(n)
	}
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, n := range nodes {
		g.Go(func() error {
			at := &grafts[i]
			errs[i] = r.Guard.Do("opening a subdataset", func() (err error) {
				at.version, err = r.Below(ctx, v, n, func(p control.Progress) {
					p.Text = strings.TrimSpace(at.path + ": " + p.Text)
					tell(p)
				})
				return err
			})
			return nil
		})
	}
	g.Wait()
	for i, at := range grafts {
		if errs[i] == nil {
			opened = append(opened, at)
		} else {
			failed = append(failed, unreached{at.path, errs[i]})
		}
	}
	if ctx.Err() != nil {
		release(opened)
		return nil, nil, ctx.Err()
	}
	return opened, failed, nil
}

// with returns the version with subdatasets at their places. It takes their place: what
// releases it releases all.
func (v *Version) with(ctx context.Context, more []graft, left room) (*Version, error) {
	all := *v
	if len(more) == 0 {
		return &all, nil
	}
	all.grafts = append(slices.Clone(v.grafts), more...)
	own := v.own
	if own == nil {
		own = v.Listing
	}
	all.own = own
	at := make(map[string]int, len(all.grafts))
	for i, g := range all.grafts {
		at[g.path] = i
	}
	b := tree.NewBuilder()
	var add func(prefix string, of *commit.Listing) error
	add = func(prefix string, of *commit.Listing) error {
		for _, h := range of.Hidden {
			if err := left.take(1, 0, len(prefix)+len(h.Path)+len(h.Why)); err != nil {
				return err
			}
		}
		var inside []int // grafts, after all directories above them
		for n := range of.Len() {
			if of.Kind(n) != tree.Dir || n == 0 && prefix != "" {
				continue
			}
			dir, from := path.Join(prefix, of.Path(n)), n
			entries := of
			if i, ok := at[dir]; ok && dir != prefix {
				entries, from = all.grafts[i].version.Listing, 0
				inside = append(inside, i)
			}
			first, count := entries.Children(from)
			list := make([]tree.Entry, count)
			for k := range list {
				list[k] = entries.Entry(first + k)
			}
			if err := cmp.Or(ctx.Err(), left.takeDir(dir, list)); err != nil {
				return err
			}
			if err := b.AddDir(dir, list); err != nil {
				return err
			}
		}
		for _, i := range inside {
			if err := add(all.grafts[i].path, all.grafts[i].version.Listing); err != nil {
				return err
			}
		}
		return nil
	}
	if err := add("", own); err != nil {
		return nil, err
	}
	t, err := b.Tree()
	if err != nil {
		return nil, err
	}
	all.Listing = &commit.Listing{Tree: t, Commit: own.Commit, Time: own.Time}
	all.of = make([]uint16, t.Len())
	for i, g := range all.grafts { // those within others come later
		n, ok := t.Find(g.path)
		if !ok {
			return nil, fmt.Errorf("there is no place for the subdataset %.200q", g.path)
		}
		all.mark(n, uint16(i+1))
	}
	all.collect("", own, at)
	for _, g := range all.grafts {
		all.collect(g.path, g.version.Listing, at)
	}
	slices.SortFunc(all.Subdatasets, func(a, b commit.Subdataset) int { return cmp.Compare(a.Node, b.Node) })
	return &all, nil
}

// mark says that all below a directory is a graft's.
func (v *Version) mark(dir int, graft uint16) {
	first, count := v.Children(dir)
	for n := first; n < first+count; n++ {
		v.of[n] = graft
		if v.Kind(n) == tree.Dir {
			v.mark(n, graft)
		}
	}
}

// collect adds what a listing knows beside its files: hidden ones, and subdatasets that
// are not among the grafts.
func (v *Version) collect(prefix string, of *commit.Listing, grafts map[string]int) {
	for _, h := range of.Hidden {
		v.Hidden = append(v.Hidden, commit.Hidden{Path: path.Join(prefix, h.Path), Why: h.Why})
	}
	for _, sub := range of.Subdatasets {
		at := path.Join(prefix, of.Path(sub.Node))
		if _, ok := grafts[at]; ok {
			continue
		}
		if n, ok := v.Find(at); ok {
			v.Subdatasets = append(v.Subdatasets, commit.Subdataset{Node: n, Commit: sub.Commit})
		}
	}
}

// Of returns the dataset that a node belongs to, and the node's path in it. A directory
// that stands for a subdataset belongs to the dataset that has it.
func (v *Version) Of(n int) (of *Version, at string) {
	if v.of == nil || v.of[n] == 0 {
		return v, v.Path(n)
	}
	g := v.grafts[v.of[n]-1]
	return g.version, strings.TrimPrefix(strings.TrimPrefix(v.Path(n), g.path), "/")
}

// Datasets are the names in the cache of the datasets that the version has files of.
func (v *Version) Datasets() []string {
	names := []string{v.ID()}
	for _, g := range v.grafts {
		names = append(names, g.version.ID())
	}
	return names
}

// Uses says how files of the version are used: as use does, from the sources of the
// dataset that each belongs to.
func (v *Version) Uses(use cache.Use) (of func(n int) cache.Use, err error) {
	origins := make([]cache.Origin, 1+len(v.grafts))
	origins[0], err = v.Origin()
	for i, g := range v.grafts {
		var one error
		origins[i+1], one = g.version.Origin()
		err = errors.Join(err, one)
	}
	if err != nil {
		return nil, err
	}
	return func(n int) cache.Use {
		use := use
		use.Name, use.Dataset, use.Origin = v.Path(n), v.ID(), origins[0]
		if v.of != nil && v.of[n] > 0 {
			use.Dataset, use.Origin = v.grafts[v.of[n]-1].version.ID(), origins[v.of[n]]
		}
		return use
	}, nil
}
