package bids

import (
	"github.com/uniharmony/uniharmonyfs/bids/sidecar"
)

// links are what one file says of others, as far as it is known.
type links struct {
	sidecar.Links
	unknown bool // the file cannot be read
}

// Memory keeps links from one selection to the next, so that files need not be
// read again.
type Memory interface {
	Recall(i int) (sidecar.Links, bool)
	Keep(i int, l sidecar.Links)
}

// Remembering returns the catalog with a memory of its files' links.
func (c *Catalog) Remembering(m Memory) *Catalog {
	with := *c
	with.memory = m
	return &with
}

// linksOf returns the links of one file.
func (sel *selector) linksOf(g int32) *links {
	if l, done := sel.links[g]; done {
		return l
	}
	first := int(sel.Files[g].First)
	if sel.memory != nil {
		if l, ok := sel.memory.Recall(first); ok {
			sel.links[g] = &links{Links: l}
			return sel.links[g]
		}
	}
	data, ok := sel.content(g)
	l := &links{unknown: !ok}
	if ok && sel.Words.Text[sel.Files[g].Ext] == ".tsv" {
		l.Links = sidecar.OfTable(data)
	} else if ok {
		l.Links = sidecar.Of(data)
	}
	sel.links[g] = l
	if sel.memory != nil && ok {
		sel.memory.Keep(first, l.Links)
	}
	return l
}

// content reads a file of the dataset; ok is false when it cannot be had.
func (sel *selector) content(i int32) (data []byte, ok bool) {
	if sel.read == nil || sel.Files[i].Opaque {
		return nil, false
	}
	data, err := sel.read(int(sel.Files[i].First))
	if !sel.more(1 + len(data)/bytesOfStep) {
		return nil, false
	}
	if err != nil {
		sel.unread[i] = true
	}
	return data, err == nil
}

// merged returns the links of a file's sidecars: of each field the nearest.
func (sel *selector) merged(i int32) (l links) {
	f := sel.Files[i]
	for d := f.Dir; d >= 0 && sel.more(1); d = sel.Dirs[d].Parent {
		for _, g := range sel.candidates(f, d, sel.Words.Text[f.Suffix], ".json", nil) {
			if !sel.more(1) {
				return l
			}
			if !sel.Applies(sel.Files[g], f, nil) {
				continue
			}
			one := sel.linksOf(g)
			l.unknown = l.unknown || one.unknown
			l.IntendedFor = nearer(l.IntendedFor, one.IntendedFor)
			l.B0FieldSource = nearer(l.B0FieldSource, one.B0FieldSource)
			l.B0FieldIdentifier = nearer(l.B0FieldIdentifier, one.B0FieldIdentifier)
			l.AssociatedEmptyRoom = nearer(l.AssociatedEmptyRoom, one.AssociatedEmptyRoom)
		}
		if d == sel.Dirs[f.Dir].Root {
			break
		}
	}
	return l
}

func nearer(have, next []string) []string {
	if have != nil {
		return have
	}
	return next
}
