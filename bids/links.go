package bids

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"

	"github.com/uniharmony/uniharmonyfs/bids/internal/tsv"
	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// Links are what one file says of others: the fields of a JSON sidecar, or the
// stimuli that a table presents. Most files have none.
type Links struct {
	IntendedFor         []string
	B0FieldSource       []string
	B0FieldIdentifier   []string
	AssociatedEmptyRoom []string
	Stimuli             []string

	unknown bool // the file cannot be read
}

// Memory keeps links from one selection to the next, so that files need not be
// read again.
type Memory interface {
	Recall(i int) (Links, bool)
	Keep(i int, l Links)
}

// Remembering returns the catalog with a memory of its files' links.
func (c *Catalog) Remembering(m Memory) *Catalog {
	with := *c
	with.memory = m
	return &with
}

// linksFormat changes when Encode or what is taken for a link does.
const linksFormat = '2'

// lists are the links by field, in the order in which they are encoded.
func (l *Links) lists() [5]*[]string {
	return [...]*[]string{&l.IntendedFor, &l.B0FieldSource, &l.B0FieldIdentifier, &l.AssociatedEmptyRoom, &l.Stimuli}
}

// Encode returns the links in a form that DecodeLinks reads: of each field the
// number of strings, and each string after its length. They may be any bytes.
func (l Links) Encode() []byte {
	out := []byte{linksFormat}
	for _, list := range l.lists() {
		if len(*list) == 0 {
			continue
		}
		for _, list := range l.lists() {
			out = binary.AppendUvarint(out, uint64(len(*list)))
			for _, s := range *list {
				out = append(binary.AppendUvarint(out, uint64(len(s))), s...)
			}
		}
		return out
	}
	return out // most files have none
}

var errLinks = errors.New("bids: damaged links, or of another format")

// DecodeLinks reads what Encode wrote. The error says that it was damaged, or
// written in another format.
func DecodeLinks(data []byte) (l Links, err error) {
	if len(data) == 0 || data[0] != linksFormat {
		return l, errLinks
	}
	if data = data[1:]; len(data) == 0 {
		return l, nil
	}
	number := func() int {
		n, used := binary.Uvarint(data)
		if used <= 0 || n > uint64(len(data)-used) { // each string has a length
			err = errLinks
			return 0
		}
		data = data[used:]
		return int(n)
	}
	for _, list := range l.lists() {
		for range number() {
			n := number()
			if err != nil {
				return Links{}, err
			}
			*list = append(*list, string(data[:n]))
			data = data[n:]
		}
	}
	if err != nil || len(data) > 0 {
		return Links{}, errLinks
	}
	return l, nil
}

// linksOf returns the links of one file.
func (sel *selector) linksOf(g int32) *Links {
	if l, done := sel.links[g]; done {
		return l
	}
	first := int(sel.files[g].first)
	if sel.memory != nil {
		if l, ok := sel.memory.Recall(first); ok {
			sel.links[g] = &l
			return &l
		}
	}
	data, ok := sel.content(g)
	l := &Links{unknown: !ok}
	if ok && sel.words.text[sel.files[g].ext] == ".tsv" {
		l.Stimuli = stimuliIn(data)
	} else if ok {
		l.fromJSON(data)
	}
	sel.links[g] = l
	if sel.memory != nil && ok {
		sel.memory.Keep(first, *l)
	}
	return l
}

// fromJSON reads the links of a sidecar. One that is no JSON has none; it is
// shown as it is.
func (l *Links) fromJSON(data []byte) {
	if !hasLinks(data) {
		return
	}
	var fields struct {
		IntendedFor, B0FieldSource, B0FieldIdentifier, AssociatedEmptyRoom oneOrMany
	}
	if json.Unmarshal(bytes.TrimPrefix(data, []byte(schema.BOM)), &fields) == nil {
		l.IntendedFor, l.B0FieldSource = fields.IntendedFor, fields.B0FieldSource
		l.B0FieldIdentifier, l.AssociatedEmptyRoom = fields.B0FieldIdentifier, fields.AssociatedEmptyRoom
	}
}

// hasLinks spares parsing the many files that have none.
func hasLinks(data []byte) bool {
	for _, field := range [...]string{"IntendedFor", "B0Field", "AssociatedEmptyRoom"} {
		if bytes.Contains(data, []byte(field)) {
			return true
		}
	}
	return false
}

// oneOrMany is a string or a list of strings. Anything else is none.
type oneOrMany []string

func (o *oneOrMany) UnmarshalJSON(data []byte) error {
	*o = nil // of a key that is there twice the last counts
	var one string
	if json.Unmarshal(data, &one) == nil {
		*o = oneOrMany{one}
		return nil
	}
	var many []any
	if json.Unmarshal(data, &many) == nil {
		for _, v := range many {
			if s, ok := v.(string); ok {
				*o = append(*o, s)
			}
		}
	}
	return nil
}

// stimuliIn returns the files that a table presents, each once.
func stimuliIn(data []byte) (names []string) {
	t := tsv.Parse(data)
	col := t.Column("stim_file")
	if col < 0 {
		return nil
	}
	seen := make(map[string]bool)
	for _, row := range t.Rows {
		if v := row.Cell(col); v != "" && v != "n/a" && !seen[v] {
			seen[v] = true
			names = append(names, v)
		}
	}
	return slices.Clip(names)
}

// content reads a file of the dataset; ok is false when it cannot be had.
func (sel *selector) content(i int32) (data []byte, ok bool) {
	if sel.read == nil || sel.files[i].recording {
		return nil, false
	}
	data, err := sel.read(int(sel.files[i].first))
	if !sel.more(1 + len(data)/bytesOfStep) {
		return nil, false
	}
	if err != nil {
		sel.unread[i] = true
	}
	return data, err == nil
}

// merged returns the links of a file's sidecars: of each field the nearest.
func (sel *selector) merged(i int32) (l Links) {
	f := sel.files[i]
	for d := f.dir; d >= 0 && sel.more(1); d = sel.dirs[d].parent {
		for _, g := range sel.candidates(f, d, sel.words.text[f.suffix], ".json", nil) {
			if !sel.more(1) {
				return l
			}
			if !sel.applies(sel.files[g], f, nil) {
				continue
			}
			one := sel.linksOf(g)
			l.unknown = l.unknown || one.unknown
			l.IntendedFor = nearer(l.IntendedFor, one.IntendedFor)
			l.B0FieldSource = nearer(l.B0FieldSource, one.B0FieldSource)
			l.B0FieldIdentifier = nearer(l.B0FieldIdentifier, one.B0FieldIdentifier)
			l.AssociatedEmptyRoom = nearer(l.AssociatedEmptyRoom, one.AssociatedEmptyRoom)
		}
		if d == sel.dirs[f.dir].root {
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
