package dataset_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/index"
	"github.com/uniharmony/uniharmonyfs/internal/commit"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset/datasettest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// nested publishes a dataset whose subdataset parts/outer has the subdataset deep/inner.
// Each has a link that leads nowhere, and the outer two a subdataset that cannot be had.
func nested(t *testing.T) (s *publisher.Server, inner, outer, top *maker.Made) {
	t.Helper()
	s, inner = datasettest.Publish(t, maker.Dataset{Name: "inner", Files: []maker.File{
		{Path: "sub-01/anat/sub-01_T1w.nii.gz", Size: 2000, Seed: 1, Annexed: true}, {Path: "x/lost", Link: "../nowhere"},
	}})
	with := func(name, path string, below *maker.Made) *maker.Made {
		return datasettest.PublishAt(t, s, maker.Dataset{Name: name, Files: []maker.File{
			{Path: "dataset_description.json", Data: []byte(`{"Name": "x", "BIDSVersion": "1.9.0"}`)},
			{Path: "x/lost", Link: "../nowhere"},
			{Path: path, Commit: below.Commit()}, {Path: "absent", Commit: strings.Repeat("1", 40)},
			{Path: ".gitmodules", Data: fmt.Appendf(nil, "[submodule \"a\"]\n\tpath = %s\n\turl = %s\n", path, s.GitURL(below))},
		}})
	}
	outer = with("outer", "deep/inner", inner)
	return s, inner, outer, with("top", "parts/outer", outer)
}

// Of the datasets that a version is of, what cannot be shown is known by its place in the
// version, and so are the subdatasets that are not at theirs.
func TestReachedVersionKnowsWhatIsNotShown(t *testing.T) {
	c := datasettest.New(t, 0)
	s, _, _, top := nested(t)
	for limit, want := range []struct{ subdatasets, hidden []string }{
		{[]string{"absent", "parts/outer"}, []string{"x/lost"}},
		{[]string{"absent", "parts/outer/absent", "parts/outer/deep/inner"}, []string{"x/lost", "parts/outer/x/lost"}},
		{[]string{"absent", "parts/outer/absent"}, []string{"x/lost", "parts/outer/x/lost", "parts/outer/deep/inner/x/lost"}},
	} {
		req := datasettest.Request(s, top)
		req.Recursive, req.RecursionLimit = true, &limit
		v, err := c.Datasets.Reach(t.Context(), req, bids.Selection{}, new(datasettest.Told).Tell)
		if err != nil {
			t.Fatal(err)
		}
		var subdatasets, hidden []string
		for _, sub := range v.Subdatasets {
			subdatasets = append(subdatasets, v.Path(sub.Node))
		}
		for _, h := range v.Hidden {
			hidden = append(hidden, h.Path)
		}
		slices.Sort(subdatasets)
		if !slices.Equal(subdatasets, want.subdatasets) || !slices.Equal(hidden, want.hidden) {
			t.Errorf("%d levels: subdatasets %q, hidden %q, want %q", limit, subdatasets, hidden, want)
		}
		if !slices.IsSortedFunc(v.Subdatasets, func(a, b commit.Subdataset) int { return a.Node - b.Node }) {
			t.Errorf("%d levels: %v", limit, v.Subdatasets)
		}
		v.Release()
	}
	areFree(t, c)
}

// areFree checks that nobody holds any dataset.
func areFree(t *testing.T, c *datasettest.Cache) {
	t.Helper()
	for _, name := range c.Datasets.Names() {
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := c.Datasets.Remove(ctx, name, func(control.Progress) { cancel() }); err != nil {
			t.Errorf("%s is still held: %v", name, err)
		}
		cancel()
	}
}

// A panic while subdatasets are opened leaves no dataset held for ever.
func TestPanicHoldsNoDataset(t *testing.T) {
	s, _, outer, top := nested(t)
	for name, broken := range map[string]*maker.Made{"in the dataset": top, "in a subdataset": outer} {
		t.Run(name, func(t *testing.T) {
			c := datasettest.New(t, 0)
			v := mustOpen(t, c, datasettest.Request(s, broken))
			eventually(t, "the listing is kept", func() bool {
				_, err := c.Index.Table(index.Listings).Load(string(v.Commit) + "/m")
				return err == nil
			})
			listing := v.Listing // it is that of whoever opens the version while it is in use
			listing.Subdatasets = append(listing.Subdatasets, commit.Subdataset{Node: listing.Len()})
			v.Release()
			func() {
				defer func() {
					if recover() == nil {
						t.Error("no panic: the test shows nothing")
					}
				}()
				req := datasettest.Request(s, top)
				req.Recursive = true
				c.Datasets.Reach(t.Context(), req, bids.Selection{}, new(datasettest.Told).Tell)
			}()
			runtime.KeepAlive(listing)
			areFree(t, c)
		})
	}
}

// A panic while one subdataset is opened is the failure of that one.
func TestPanicInASubdatasetIsItsFailure(t *testing.T) {
	c := datasettest.New(t, 0)
	c.Datasets.Guard = func(_ string, fn func()) (err error) {
		defer func() {
			if recover() != nil {
				err = errors.New("a mistake")
			}
		}()
		fn()
		return nil
	}
	s, _, _, top := nested(t)
	req := datasettest.Request(s, top)
	req.Recursive = true
	v, err := c.Datasets.Reach(t.Context(), req, bids.Selection{}, func(p control.Progress) {
		if strings.HasPrefix(p.Text, "parts/outer/deep/inner: ") {
			panic("x")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := v.Chooser("x", new(datasettest.Told).Tell).Choose(t.Context(), bids.Selection{})
	if err != nil || !slices.ContainsFunc(chosen.Hints, func(h string) bool {
		return strings.Contains(h, "parts/outer/deep/inner") && strings.Contains(h, "a mistake")
	}) {
		t.Errorf("%+v, %v", chosen, err)
	}
	v.Release()
	areFree(t, c)
}
