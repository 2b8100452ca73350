package dataset

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/bids/sidecar"
	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/index"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/bulk"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// A Selection is what was asked of a version.
type Selection struct {
	*bids.Result
	View *tree.View
	// Nodes, in byte order of their paths: of the files in the view, of those
	// that were asked for themselves, and of those at the root that were named.
	Files, Primary, Root []int
}

// A Chooser answers questions about the names of a version's files, and about
// what the few files say that decide which belong together. It is used by one
// goroutine.
type Chooser struct {
	v       *Version
	owner   string // of what has to be fetched
	tell    bulk.Tell
	catalog *bids.Catalog // nil before the first question, as nodes are
	nodes   []int         // of the catalog's paths

	// Below says that subdatasets are shown as directories, for who looks into them.
	Below bool

	missing []int          // asked for and not here; nodes
	tried   map[int]bool   // to fetch
	types   map[int]string // of datasets, by the nodes of their descriptions
	unread  map[int]bool   // descriptions that are not here
	kept    map[annex.Key][]byte
	ahead   ahead
}

// Chooser returns a chooser. What has to be fetched belongs to owner in the cache.
func (v *Version) Chooser(owner string, tell bulk.Tell) *Chooser {
	return &Chooser{v: v, owner: owner, tell: tell, tried: make(map[int]bool), types: make(map[int]string), unread: make(map[int]bool), kept: make(map[annex.Key][]byte)}
}

// Choose applies a selection to the version.
func (c *Chooser) Choose(ctx context.Context, s bids.Selection) (*Selection, error) {
	return c.ChooseBeside(ctx, s, nil)
}

// ChooseBeside is Choose where files of other selections are shown, too.
func (c *Chooser) ChooseBeside(ctx context.Context, s bids.Selection, beside func(path string) bool) (*Selection, error) {
	var result *bids.Result
	var below []int
	err := c.run(ctx, func(catalog *bids.Catalog, read bids.Read) (err error) {
		if c.Below {
			below = c.reached(ctx, s)
		}
		result, err = catalog.Select(s, read, beside)
		return err
	})
	if err != nil || len(result.Files)+len(below) == 0 {
		err = c.nothingFound(ctx, err)
	}
	if err != nil {
		return nil, err
	}
	result.Hints = append(result.Hints, c.unknown()...)
	chosen := &Selection{Result: result, Files: make([]int, len(result.Files))}
	for i, f := range result.Files {
		chosen.Files[i] = c.nodes[f]
	}
	for _, f := range result.Primary {
		chosen.Primary = append(chosen.Primary, c.nodes[f])
	}
	for _, f := range result.Root {
		chosen.Root = append(chosen.Root, c.nodes[f])
	}
	replaced := make(map[int][]byte, len(result.Replaced))
	for f, content := range result.Replaced {
		replaced[c.nodes[f]] = content
	}
	chosen.View = c.v.View(slices.Sorted(slices.Values(slices.Concat(chosen.Files, below))), replaced)
	return chosen, nil
}

// reached returns the subdatasets that a selection may show files of.
func (c *Chooser) reached(ctx context.Context, s bids.Selection) (nodes []int) {
	for _, sub := range c.v.Subdatasets {
		if s.IsWhole() && s.Reaches(c.v.Path(sub.Node), descriptions{c, ctx}) {
			nodes = append(nodes, sub.Node)
		}
	}
	return nodes
}

// Plain leaves a selection at the files that were asked for, as they are in the
// dataset.
func (s *Selection) Plain(v *Version) {
	asked := make(map[int]bool, len(s.Primary))
	for _, n := range slices.Concat(s.Primary, s.Root) {
		asked[n] = true
	}
	s.Files = slices.DeleteFunc(s.Files, func(n int) bool { return !asked[n] })
	s.View = v.View(slices.Sorted(slices.Values(s.Files)), nil)
}

// Facets says what there is to select by.
func (c *Chooser) Facets(ctx context.Context, s bids.Selection) (all []bids.Facet, err error) {
	err = c.run(ctx, func(catalog *bids.Catalog, read bids.Read) (err error) {
		all, err = catalog.Facets(s, read, func(i int) int64 { return c.v.Size(c.nodes[i]) })
		return err
	})
	if err != nil || len(all) == 0 {
		err = c.nothingFound(ctx, err)
	}
	return all, err
}

// Explain says whether a path is in the view of a selection, and why.
func (c *Chooser) Explain(ctx context.Context, s bids.Selection, path string) (e control.Explanation, err error) {
	e.Path = path
	err = c.run(ctx, func(catalog *bids.Catalog, read bids.Read) (err error) {
		e.Shown, e.Why, err = catalog.Explain(s, read, path)
		return err
	})
	return e, err
}

// maxDeciding is the size in bytes of the largest file that is read to choose.
const maxDeciding = 64 << 20

// maxRounds bounds how often what was fetched may show that something else is
// needed. In datasets that were not made for it, that ends after two or three.
const maxRounds = 20

// run asks a question.
func (c *Chooser) run(ctx context.Context, ask func(*bids.Catalog, bids.Read) error) error {
	if err := c.parse(ctx); err != nil {
		return err
	}
	err := c.rounds(ctx, func() error {
		return ask(c.catalog.Until(ctx), func(i int) ([]byte, error) { return c.read(ctx, i) })
	})
	if ctx.Err() == nil {
		c.keep()
	}
	return err
}

// parse parses the names of the version's files, once.
func (c *Chooser) parse(ctx context.Context) error {
	if c.catalog != nil {
		return nil
	}
	c.nodes = c.v.sortedFiles()
	var catalog *bids.Catalog
	err := c.rounds(ctx, func() error {
		catalog = bids.NewCatalog(len(c.nodes), func(i int) string { return c.v.Path(c.nodes[i]) }, descriptions{c, ctx})
		return nil
	})
	if err == nil {
		c.catalog = catalog.Remembering(c)
	}
	return err
}

// rounds finds something out. When git-annex holds sidecars or tables that it depends
// on and they are not here, it fetches them and does it again.
func (c *Chooser) rounds(ctx context.Context, find func() error) error {
	for round := 1; ; round++ {
		c.missing = nil
		err := find()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if len(c.missing) == 0 || round == maxRounds {
			return err
		}
		if err := c.fetch(ctx); err != nil {
			return err
		}
	}
}

// read returns the content of a file, by its number in the catalog.
func (c *Chooser) read(ctx context.Context, i int) ([]byte, error) {
	if n := c.nodes[i]; c.v.Kind(n) != tree.Git || c.v.Size(n) > maxDeciding {
		return c.readNow(ctx, n, maxDeciding)
	}
	return c.readGit(ctx, i)
}

// readNow returns the content of a file of at most so many bytes if it is here, and
// else takes note that it is missing.
func (c *Chooser) readNow(ctx context.Context, n int, most int64) ([]byte, error) {
	switch k := c.v.Kind(n); {
	case c.v.Size(n) > most:
		return nil, fmt.Errorf("%s is too large", c.v.Path(n))
	case k != tree.Git && k != tree.Annexed:
		return nil, fmt.Errorf("%s is no file", c.v.Path(n))
	}
	data, err := c.v.ReadNow(ctx, n)
	if errors.Is(err, errNotHere) && !c.tried[n] && !c.v.Request.Offline {
		c.tried[n] = true
		c.missing = append(c.missing, n)
	}
	return data, err
}

// fetch brings what is missing. What cannot be had is done without: the answer
// says so.
func (c *Chooser) fetch(ctx context.Context) error {
	use, err := c.v.Uses(cache.Use{Owner: c.owner})
	if err != nil {
		return err
	}
	files := make([]bulk.File, len(c.missing))
	for i, n := range c.missing {
		files[i] = bulk.File{Path: c.v.Path(n), Key: c.v.Key(n), Size: c.v.Size(n), Use: use(n)}
	}
	failed, err := c.v.registry.work.Each(ctx, files, c.v.Request.Timeout, c.tell, c.v.registry.work.Fetch)
	for _, f := range failed {
		c.v.registry.Log.Warn("a file that decides what is shown cannot be had", "path", f.Path, "why", f.Why)
	}
	return err
}

// Recall and Keep are the memory of what files say of others: by content, so
// that it holds for all versions, and after the content was evicted.
func (c *Chooser) Recall(i int) (sidecar.Links, bool) {
	data, err := c.facts().Load(c.v.Key(c.nodes[i]).String())
	if err != nil {
		return sidecar.Links{}, false
	}
	l, err := sidecar.Decode(data)
	return l, err == nil
}

// Keep is part of the memory.
func (c *Chooser) Keep(i int, l sidecar.Links) {
	c.kept[c.v.Key(c.nodes[i])] = l.Encode()
	if len(c.kept) >= maxKept {
		c.keep()
	}
}

// maxKept is how many files' links are stored at once.
const maxKept = 10_000

func (c *Chooser) facts() index.Table { return c.v.registry.Index.Table(index.Facts) }

// keep stores what was learnt.
func (c *Chooser) keep() {
	err := c.facts().Save(func(b *index.Batch) error {
		for k, l := range c.kept {
			if err := b.Set(k.String(), l); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		c.v.registry.Log.Warn("what sidecars say is not stored: they will be read again", "err", err)
	}
	clear(c.kept)
}
