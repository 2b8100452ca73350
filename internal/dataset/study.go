package dataset

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// descriptions are what the datasets within a version say of themselves, as far as a
// chooser can read it.
type descriptions struct {
	c   *Chooser
	ctx context.Context
}

// maxDescription is the size in bytes of the largest dataset_description.json that is
// read to know what kind of dataset it is about.
const maxDescription = 1 << 20

func (d descriptions) find(dir string) (node int, ok bool) {
	n, ok := d.c.v.Find(path.Join(dir, "dataset_description.json"))
	return n, ok && d.c.v.Kind(n) != tree.Dir
}

// Has reports whether a directory has a description.
func (d descriptions) Has(dir string) bool {
	_, ok := d.find(dir)
	return ok
}

// Type is the type of the dataset at a directory.
func (d descriptions) Type(dir string) string {
	n, ok := d.find(dir)
	if !ok {
		return ""
	}
	if t, known := d.c.types[n]; known {
		return t
	}
	data, err := d.c.readNow(d.ctx, n, maxDescription)
	if err != nil {
		if errors.Is(err, errNotHere) {
			d.c.unread[n] = true
		}
		return ""
	}
	delete(d.c.unread, n)
	d.c.types[n] = bids.DatasetType(data)
	return d.c.types[n]
}

// unknown says what could not be known, for people.
func (c *Chooser) unknown() []string {
	all := slices.Clone(c.v.leftOut)
	for k, n := range slices.Sorted(maps.Keys(c.unread)) {
		if k == maxUnread {
			return append(all, "others cannot be read either")
		}
		all = append(all, fmt.Sprintf("%s cannot be read now, so it is not known what kind of dataset is there", c.v.Path(n)))
	}
	return all
}

// maxUnread is how many files that cannot be read are named.
const maxUnread = 3

// needed returns the subdatasets that a selection needs files of, as [Registry.Reach]
// says, but for those that could not be had.
func (c *Chooser) needed(ctx context.Context, s bids.Selection, failed map[string]bool) (nodes []int, err error) {
	err = c.rounds(ctx, func() error {
		nodes = nil
		for _, sub := range c.v.Subdatasets {
			at := c.v.Path(sub.Node)
			if failed[at] {
				continue
			}
			asked := c.v.Request.Recursive || !s.IsWhole() || isNamed(at) && s.Reaches(at, nil)
			if asked && s.Reaches(at, descriptions{c, ctx}) {
				nodes = append(nodes, sub.Node)
			}
		}
		return nil
	})
	return nodes, err
}
