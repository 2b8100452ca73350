package dataset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// hasOwnFiles reports whether the version has files beside those that are only
// for git and DataLad.
func (c *Chooser) hasOwnFiles() bool {
	for _, n := range c.nodes {
		if !strings.HasPrefix(c.v.Path(n), ".") {
			return true
		}
	}
	return len(c.v.Hidden) > 0
}

// nothingFound is asked what to say where a selection found no file: err, which
// may be nil, or that what is looked for may be in subdatasets.
func (c *Chooser) nothingFound(ctx context.Context, err error) error {
	if noMatch := new(bids.NoMatchError); err != nil && !errors.As(err, &noMatch) {
		return err
	}
	if unknown := c.unknown(); len(unknown) > 0 {
		if err == nil {
			err = errors.New("there is no file of its own")
		}
		return advice.New(advice.Unreachable, err.Error(), errors.New(strings.Join(unknown, "; ")))
	}
	if len(c.v.Subdatasets) == 0 {
		return err
	}
	number := fmt.Sprintf("%d subdatasets", len(c.v.Subdatasets))
	if len(c.v.Subdatasets) == 1 {
		number = "1 subdataset"
	}
	do := "subdatasets are not shown with it: mount one by its own URL"
	if url := c.exampleURL(ctx); url != "" {
		do += ", for example: uniharmonyfs mount --dataset " + url + " TARGET"
	}
	if !c.hasOwnFiles() {
		return advice.New(advice.NoMatch, "this dataset has no files of its own, only "+number, nil, do)
	}
	if err == nil {
		return nil
	}
	told := *control.ToAdvice(err)
	told.Do = append(told.Do, "it may be in the dataset's "+number, do)
	return &told
}

// exampleURL returns the URL of one of the subdatasets, if the dataset tells it.
func (c *Chooser) exampleURL(ctx context.Context) string {
	at := slices.IndexFunc(c.nodes, func(n int) bool { return c.v.Path(n) == ".gitmodules" })
	if at < 0 || c.v.Kind(c.nodes[at]) != tree.Git || c.v.Size(c.nodes[at]) > maxModules {
		return ""
	}
	data, err := c.readGit(ctx, at)
	if err != nil {
		return ""
	}
	return fetch.SubdatasetURL(data, func(path string) bool {
		n, ok := c.v.Find(path)
		return ok && c.v.Kind(n) == tree.Dir
	})
}
