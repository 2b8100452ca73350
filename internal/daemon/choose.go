package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// selection is what a request asked of a version.
type selection struct {
	*bids.Result
	view *tree.View
	// Nodes, in byte order of their paths: of the files in the view, of those
	// that were asked for themselves, and of those at the root that were named.
	files, primary, root []int
}

// chooser answers questions about the names of a version's files, and about
// what the few files say that decide which belong together.
type chooser struct {
	d       *daemon
	v       *version
	owner   string // of what has to be fetched
	r       *reply
	catalog *bids.Catalog
	nodes   []int // of the catalog's paths

	missing []int        // asked for and not here; nodes
	tried   map[int]bool // to fetch
	kept    map[annex.Key][]byte
	ahead   ahead
}

func (d *daemon) newChooser(v *version, owner string, r *reply) *chooser {
	c := &chooser{d: d, v: v, owner: owner, r: r, nodes: v.sortedFiles(), tried: make(map[int]bool), kept: make(map[annex.Key][]byte)}
	c.catalog = bids.NewCatalog(len(c.nodes), func(i int) string { return v.Path(c.nodes[i]) }).Remembering(c)
	return c
}

// choose applies a selection to the version.
func (c *chooser) choose(ctx context.Context, s bids.Selection) (*selection, error) {
	return c.chooseBeside(ctx, s, nil)
}

// chooseBeside is choose where files of other selections are shown, too.
func (c *chooser) chooseBeside(ctx context.Context, s bids.Selection, beside func(path string) bool) (*selection, error) {
	var result *bids.Result
	err := c.run(ctx, func(catalog *bids.Catalog, read bids.Read) (err error) {
		result, err = catalog.SelectBeside(s, read, beside)
		return err
	})
	if err != nil || len(result.Files) == 0 {
		err = c.nothingFound(ctx, err)
	}
	if err != nil {
		return nil, err
	}
	chosen := &selection{Result: result, files: make([]int, len(result.Files))}
	for i, f := range result.Files {
		chosen.files[i] = c.nodes[f]
	}
	for _, f := range result.Primary {
		chosen.primary = append(chosen.primary, c.nodes[f])
	}
	for _, f := range result.Root {
		chosen.root = append(chosen.root, c.nodes[f])
	}
	replaced := make(map[int][]byte, len(result.Replaced))
	for f, content := range result.Replaced {
		replaced[c.nodes[f]] = content
	}
	chosen.view = c.v.View(slices.Sorted(slices.Values(chosen.files)), replaced)
	return chosen, nil
}

// plain leaves a selection at the files that were asked for, as they are in the
// dataset.
func (s *selection) plain(v *version) {
	asked := make(map[int]bool, len(s.primary))
	for _, n := range slices.Concat(s.primary, s.root) {
		asked[n] = true
	}
	s.files = slices.DeleteFunc(s.files, func(n int) bool { return !asked[n] })
	s.view = v.View(slices.Sorted(slices.Values(s.files)), nil)
}

// maxDeciding is the size in bytes of the largest file that is read to choose.
const maxDeciding = 64 << 20

// maxRounds bounds how often what was fetched may show that something else is
// needed. In datasets that were not made for it, that ends after two or three.
const maxRounds = 20

// run asks a question. When git-annex holds sidecars or tables that it depends
// on and they are not here, it fetches them and asks again.
func (c *chooser) run(ctx context.Context, ask func(*bids.Catalog, bids.Read) error) error {
	for round := 1; ; round++ {
		c.missing = nil
		err := ask(c.catalog.Until(ctx), func(i int) ([]byte, error) { return c.read(ctx, i) })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if len(c.missing) == 0 || round == maxRounds {
			c.keep()
			return err
		}
		if err := c.fetch(ctx); err != nil {
			return err
		}
	}
}

// read returns the content of a file, by its number in the catalog.
func (c *chooser) read(ctx context.Context, i int) ([]byte, error) {
	n := c.nodes[i]
	switch {
	case c.v.Size(n) > maxDeciding:
		return nil, fmt.Errorf("%s is too large", c.v.Path(n))
	case c.v.Kind(n) == tree.Git:
		return c.readGit(ctx, i)
	case c.v.Kind(n) != tree.Annexed:
		return nil, fmt.Errorf("%s is no file", c.v.Path(n))
	}
	data, err := c.d.readNow(ctx, c.v, n)
	if errors.Is(err, errNotHere) && !c.tried[n] && !c.v.request.Offline {
		c.tried[n] = true
		c.missing = append(c.missing, n)
	}
	return data, err
}

// fetch brings what is missing. What cannot be had is done without: the answer
// says so.
func (c *chooser) fetch(ctx context.Context) error {
	from, err := c.d.origin(c.v)
	if err != nil {
		return err
	}
	files := make([]chosenFile, len(c.missing))
	for i, n := range c.missing {
		key, path := c.v.Key(n), c.v.Path(n)
		files[i] = chosenFile{path, key, c.v.Size(n), cache.Use{Origin: from, Dataset: c.v.name, Owner: c.owner, Name: path}, false}
	}
	failed, err := c.d.each(ctx, files, c.v.request.Timeout, c.r, c.d.fetch)
	for _, f := range failed {
		c.d.log.Warn("a file that decides what is shown cannot be had", "path", f.Path, "why", f.Why)
	}
	return err
}

// Recall and Keep are the memory of what files say of others: by content, so
// that it holds for all versions, and after the content was evicted.
func (c *chooser) Recall(i int) (bids.Links, bool) {
	data, ok := c.d.index.Fact(c.v.Key(c.nodes[i]))
	if !ok {
		return bids.Links{}, false
	}
	l, err := bids.DecodeLinks(data)
	return l, err == nil
}

// Keep is part of the memory.
func (c *chooser) Keep(i int, l bids.Links) {
	c.kept[c.v.Key(c.nodes[i])] = l.Encode()
	if len(c.kept) >= maxKept {
		c.keep()
	}
}

// maxKept is how many files' links are stored at once.
const maxKept = 10_000

// keep stores what was learnt.
func (c *chooser) keep() {
	if err := c.d.index.SaveFacts(c.kept); err != nil {
		c.d.log.Warn("what sidecars say is not stored: they will be read again", "err", err)
	}
	clear(c.kept)
}

// errNotHere says that a file's content would have to be fetched.
var errNotHere = errors.New("its content is not here")

// readNow returns a whole annexed file that is on this machine: in the cache,
// or in the user's own repository.
func (d *daemon) readNow(ctx context.Context, v *version, n int) ([]byte, error) {
	data := make([]byte, v.Size(n))
	if local := d.openInPlace(v, n); local != nil {
		defer local.Close()
		if k, err := local.ReadAt(ctx, data, 0); err == nil || k == len(data) {
			return data, nil
		}
	}
	if d.cache.State(v.Key(n)).Presence != cache.Cached {
		return nil, errNotHere
	}
	h, err := d.cache.Open(v.Key(n), cache.Use{Name: v.Path(n), Origin: noOrigin{cache.ErrOffline}})
	if err != nil {
		return nil, err
	}
	defer h.Close()
	switch _, err := h.ReadAt(ctx, data, 0); {
	case len(data) == 0:
	case errors.Is(err, cache.ErrOffline): // it has just gone
		return nil, errNotHere
	case err != nil:
		return nil, err
	}
	return data, nil
}

// noOrigin has nothing.
type noOrigin struct{ why error }

func (o noOrigin) Sources(context.Context, annex.Key) ([]cache.Source, error) { return nil, o.why }
