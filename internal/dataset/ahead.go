package dataset

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// ahead reads small files of git before they are asked for: a selection asks
// for the sidecars and tables of one sort in the order of their paths, and git
// answers a hundred questions in the time of five. How far it reads depends on
// how much of what it read last was asked for.
type ahead struct {
	data       map[int][]byte // by node
	batch      int            // how many to read at the next miss
	read, used int            // of the last batch
}

const (
	maxAhead     = 256
	maxAheadSize = 64 << 10 // bytes of a file
	lookOfFile   = 64       // names looked at for each file of a batch
)

// readGit returns the content of a file that is in git, by its number in the
// catalog.
func (c *Chooser) readGit(ctx context.Context, i int) ([]byte, error) {
	n := c.nodes[i]
	a := &c.ahead
	if data, ok := a.data[n]; ok {
		delete(a.data, n)
		a.used++
		return data, nil
	}
	switch {
	case a.used >= a.read-a.read/4:
		a.batch = min(2*max(a.batch, 1), maxAhead)
	case a.used < a.read/2:
		a.batch = max(a.batch/2, 1)
	}
	nodes := c.alike(i, a.batch)
	ids := make([]gitstore.OID, len(nodes))
	for k, n := range nodes {
		ids[k] = gitstore.OID(c.v.Key(n).Name())
	}
	a.data = make(map[int][]byte, len(nodes))
	err := c.v.Blobs(n).ReadAll(ctx, ids, func(k int, kind string, data []byte) error {
		if kind != "blob" {
			return fmt.Errorf("%w: %q is a %s", gitstore.ErrDamaged, c.v.Path(nodes[k]), kind)
		}
		a.data[nodes[k]] = bytes.Clone(data)
		return nil
	})
	a.read, a.used = len(a.data), 1
	data, ok := a.data[n]
	delete(a.data, n)
	if !ok {
		return nil, err
	}
	return data, nil // what is wrong with another one is told when it is asked for
}

// alike returns the node of file i and up to most-1 after it whose names end
// like its own, from the last "_" on.
func (c *Chooser) alike(i, most int) (nodes []int) {
	nodes = append(nodes, c.nodes[i])
	name := c.v.Name(c.nodes[i])
	at := strings.LastIndexByte(name, '_')
	if at < 0 {
		return nodes
	}
	for _, n := range c.nodes[i+1 : min(i+lookOfFile*most, len(c.nodes))] {
		if len(nodes) >= most {
			break
		}
		if c.v.Kind(n) == tree.Git && c.v.Blobs(n) == c.v.Blobs(nodes[0]) && c.v.Size(n) <= maxAheadSize && strings.HasSuffix(c.v.Name(n), name[at:]) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}
